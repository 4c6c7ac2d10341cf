"""`python -m benchmarks.hostile`: what honest clients get beside peers that mean harm.

It runs `est serve` and the peers itself, on the loopback interface, for a bounded time. Quiet and
loaded turns alternate, for the machine drifts; what counts is how much longer an honest client
takes, and how often it is refused.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from statistics import quantiles
from typing import Final

from OpenSSL import SSL

from benchmarks import load
from benchmarks.hostile_logins import LOGINS
from benchmarks.load import CoapsClient, HttpsClient, LoadError, Manner
from benchmarks.processes import HERE, Origin, Serving, est_serve
from benchmarks.site import PASSWORD, USER, Site
from est_core import TlsVersion

OTHER: Final = "127.0.0.2"
SAME: Final = "127.0.0.1"
CODES: Final = "codes.csv"
SCHEMES: Final = "basic,digest,bearer,otp,cert"
SETTLE_S: Final = 3.0
PASSWORDS: Final = Manner(version=TlsVersion.TLS_1_3, certified=False, kept=False)
_FAILURES: Final = (LoadError, SSL.Error, OSError)

Enroll = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An honest client, which is at SAME, beside a peer that comes from `source`."""

    honest: str
    peer: str
    source: str
    wire: str = "https"

    def __str__(self) -> str:
        where = "the same address" if self.source == SAME else "another address"
        return f"{self.honest}, beside {self.peer} from {where}"


CONTROLS: Final = tuple(
    Trial(honest=honest, peer="a busy process", source=SAME, wire=wire)
    for honest, wire in (("password", "https"), ("certificate", "https"), ("coaps", "coaps"))
)
"""Peers that only compute: what beside them is slower lacks a processor, and not a share."""

_TRIALS: Final = CONTROLS + tuple(
    Trial(honest=honest, peer=peer, source=source, wire=wire)
    for honest, peer, wire in (
        ("password", "guesses", "https"),
        ("certificate", "guesses", "https"),
        ("coaps", "strange association", "coaps"),
        ("certificate", "strange association", "coaps"),
        ("coaps", "trusted association", "coaps"),
        ("certificate", "trusted association", "coaps"),
        ("certificate", "silent", "https"),
        ("certificate", "hellos", "https"),
    )
    for source in (OTHER, SAME)
)
LOGIN_TRIALS: Final = tuple(
    Trial(honest=honest, peer=peer, source=source)
    for peer in LOGINS
    if peer != "guesses"
    for honest in ("password", "certificate", "code")
    for source in (OTHER, SAME)
    # The owner of a name waits for who guesses at it from the same address: there are no times.
    if not (honest == "password" and source == SAME and peer.endswith("its name"))
)
"""Those of wrong logins, a thousand in a second."""
TRIALS: Final = _TRIALS + LOGIN_TRIALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one trial found, in seconds. `refused` are enrollments that failed while loaded."""

    trial: str
    tries: int
    refused: int
    quiet_p50: float
    quiet_p99: float
    loaded_p50: float
    loaded_p99: float


def measured(site: Site, serving: Serving, trial: Trial, rounds: int, tries: int) -> Found:
    """Let an honest client enroll in turns, quiet and loaded."""
    quiet: list[float] = []
    loaded: list[float] = []
    refused = 0
    enroll = _honest(site, serving, trial.honest, codes_of(site))
    enroll()
    for _ in range(rounds):
        refused_of(enroll, tries, quiet)
        with peer(site, serving, trial):
            refused += refused_of(enroll, tries, loaded)
        time.sleep(SETTLE_S)
    quiet_at, loaded_at = (_percentiles(times) for times in (quiet, loaded))
    return Found(
        trial=str(trial),
        tries=rounds * tries,
        refused=refused,
        quiet_p50=quiet_at[0],
        quiet_p99=quiet_at[1],
        loaded_p50=loaded_at[0],
        loaded_p99=loaded_at[1],
    )


def refused_of(enroll: Enroll, tries: int, times: list[float]) -> int:
    """Enroll so often, note how long each took that worked; return how many were refused."""
    refused = 0
    for _ in range(tries):
        begun = time.perf_counter()
        try:
            enroll()
        except _FAILURES:
            refused += 1
        else:
            times.append(time.perf_counter() - begun)
    return refused


def _percentiles(times: Sequence[float]) -> tuple[float, float]:
    if len(times) < 2:
        return nan, nan
    at = quantiles(times, n=100, method="inclusive")
    return at[49], at[98]


def _honest(site: Site, serving: Serving, kind: str, codes: Iterator[str]) -> Enroll:
    """Return what enrolls once, on a connection of its own."""

    def enroll() -> None:
        match kind:
            case "coaps":
                CoapsClient(site, serving.coap_port, kept=False).enroll()
            case "password":
                HttpsClient(site, serving.port, PASSWORDS).enroll()
            case "code":
                HttpsClient(site, serving.port, PASSWORDS, login=("", next(codes))).enroll()
            case _:
                HttpsClient(site, serving.port, load.USUAL).enroll()

    return enroll


@contextmanager
def peer(site: Site, serving: Serving, trial: Trial) -> Iterator[None]:
    """Run the peer of a trial in a process of its own until the block is left."""
    port = serving.coap_port if trial.wire == "coaps" else serving.port
    command = [sys.executable, "-m", "benchmarks.hostile_load", trial.peer, str(site.directory)]
    process = subprocess.Popen(
        [*command, str(port), "--source", trial.source, "--seconds", "90"],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("the peer did not begin")
            yield
        finally:
            process.kill()


def table(found: Sequence[Found]) -> str:
    """Return the findings in Markdown, in milliseconds."""
    lines = [
        "| honest client | quiet p50 | p99 | loaded p50 | p99 | p99 loaded / quiet | refused |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in found:
        numbers = (each.quiet_p50, each.quiet_p99, each.loaded_p50, each.loaded_p99)
        cells = " | ".join(f"{number * 1e3:.0f} ms" for number in numbers)
        ratio = each.loaded_p99 / each.quiet_p99
        lines.append(f"| {each.trial} | {cells} | {ratio:.1f} | {each.refused} of {each.tries} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and print what was found."""
    options = _parser().parse_args(arguments)
    found = []
    origin = Origin(checkout=options.checkout.resolve()) if options.checkout else HERE
    for trial in TRIALS:
        if options.only and not any(word in str(trial) for word in options.only):
            continue
        print(f"{trial} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="est-hostile-") as directory:
            site = Site.made(Path(directory) / "site")
            add_user(site, origin)
            add_codes(site, origin, 2 * options.rounds * options.tries + 1)
            asked = ("--auth", SCHEMES, *_workers(options.workers))
            with est_serve(site, *asked, origin=origin) as serving:
                found.append(measured(site, serving, trial, options.rounds, options.tries))
        print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(json.dumps([asdict(each) for each in found]) if options.as_json else table(found))
    return 0


def _workers(count: int) -> tuple[str, ...]:
    return ("--workers", str(count))


def add_user(site: Site, origin: Origin = HERE) -> None:
    """Let the user of the benchmarks be known to the server of this site."""
    command = [*origin.command("est_transports"), "user", "add", str(site.directory), USER]
    subprocess.run(
        [*command, "--password-stdin"],
        input=PASSWORD.encode(),
        check=True,
        cwd=origin.checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def add_codes(site: Site, origin: Origin, count: int) -> None:
    """Let so many one-time codes be known to the server of this site; `codes_of` has them."""
    command = [*origin.command("est_transports"), "otp", "add", str(site.directory)]
    subprocess.run(
        [*command, "--count", str(count), "--out", str(site.directory / CODES)],
        check=True,
        cwd=origin.checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def codes_of(site: Site) -> Iterator[str]:
    """Return the codes that were added, one after the other."""
    with (site.directory / CODES).open(encoding="utf-8", newline="") as rows:
        return iter([row["code"] for row in csv.DictReader(rows)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile",
        description="Measure honest clients beside hostile ones, on this machine. Linux only.",
    )
    add = parser.add_argument
    add("--json", dest="as_json", action="store_true", help="print JSON")
    add("--only", action="append", help="trials with this in their name; may be repeated")
    add("--rounds", type=int, default=4, help="quiet and loaded turns of each (%(default)s)")
    add("--tries", type=int, default=25, help="enrollments in a turn (%(default)s)")
    add("--workers", type=int, default=1, help="processes of the server (%(default)s)")
    add("--checkout", type=Path, help="serve with the code in this directory, to compare")
    return parser


if __name__ == "__main__":
    sys.exit(main())
