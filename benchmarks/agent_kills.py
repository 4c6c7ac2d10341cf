"""`python -m benchmarks.agent_kills`: kill -9 at random moments, and what is left each time.

A live `est serve`, and the commands of the agent: `est renew --force`, which renews what is there,
and `est agent`, which gets the first certificate into an empty directory. Each runs in a process of
its own that is forked with everything imported, so that nearly every moment is one of work; it is
killed after a time between nothing and a little more than an undisturbed run takes. After each kill
the files that other programs read have to be of one pair, judged by their content alone.

What is counted: how far the command had come by what it left behind, how often the new pair was
there already, and certificates that the server issued and no device used.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from est_transports.cli import main as est
from est_transports.cli.agent import agent, renew
from est_transports.on_sockets import Client
from est_transports.pairs import PairDirectory

PASSWORD: Final = "correct horse battery"
NAME: Final = "gate"
IMPORTED: Final = (agent, renew)
"""What a fork would else have to import first."""
WAIT_S: Final = 60.0
_DURABLE: Final = ("save_state", "begin", "mark_sent", "receive", "promote", "discard")
_LONGER: Final = 1.15  # than an undisturbed run, so that some are not killed
_MEASURED: Final = 5


class LostError(Exception):
    """What programs read is not one pair, or there is none where there was one."""


@dataclass
class Tally:
    """What was seen. `stages` counts candidates by how far they were when the kill came."""

    kills: int = 0
    finished: int = 0
    switched: int = 0
    stages: Counter[str] = field(default_factory=Counter)

    def values(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "kills": self.kills,
            "finished": self.finished,
            "switched": self.switched,
            "stages": dict(sorted(self.stages.items())),
        }


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Make a CA, serve it, and yield its URL."""
    command = (sys.executable, "-m", "est_transports")
    ca = directory / "ca"
    subprocess.run([*command, "init", str(ca)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        [*command, "user", "add", str(ca), NAME, "--password-stdin"],
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with (directory / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "serve", str(ca), "--listen", "127.0.0.1:0"], stderr=log
        )
        try:
            yield _url(directory / "serve.log", process)
        finally:
            process.terminate()
            process.wait(WAIT_S)


def _url(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        _, found, rest = log.read_text().partition("serving https://127.0.0.1:")
        port, ended, _ = rest.partition("/")
        if found and ended:
            return f"https://localhost:{port}"
        time.sleep(0.05)
    raise LostError("the server did not start")


def device(directory: Path, url: str) -> Path:
    """Return the directory of a new device."""
    directory.mkdir()
    (directory / "password").write_text(PASSWORD)
    text = f"""url = "{url}"
trust = "{directory.parent / "ca" / "ca.pem"}"
user = "{NAME}"
password_file = "password"
hook = ["/bin/true"]
[certificate.{NAME}]
cn = "{NAME}"
"""
    (directory / "est-agent.toml").write_text(text)
    return directory


def run(
    arguments: Sequence[str],
    kill_after_s: float | None,
    ended: Callable[[], bool],
    prepared: Callable[[], None] = lambda: None,
) -> bool:
    """Run a command in a fork, and kill it after that time; True if it had ended before.

    Without a time it is asked to end, by SIGTERM, once `ended`. `prepared` is called in the fork.
    """
    child = os.fork()
    if not child:
        _become_quiet()
        prepared()
        code = est(list(arguments))
        os._exit(code)
    begun = time.monotonic()
    signalled = False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return not os.WIFSIGNALED(status)
        past_s = time.monotonic() - begun
        if kill_after_s is not None and past_s >= kill_after_s:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return not os.WIFSIGNALED(status)
        if kill_after_s is None and not signalled and ended():
            os.kill(child, signal.SIGTERM)
            signalled = True
        if past_s > WAIT_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise LostError(f"est {' '.join(arguments)} does not end")
        time.sleep(0.0005)


def _become_quiet() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def pair_in(place: Path) -> bytes | None:
    """Return the certificate that programs find, None for none. Raises LostError for no pair."""
    try:
        names = ("key.pem", "cert.pem", "pair.pem")
        key, certificate, whole = ((place / "current" / name).read_bytes() for name in names)
    except FileNotFoundError:
        if os.path.lexists(place / "current"):
            raise LostError(f"{place}/current leads to half a pair") from None
        return None
    public = load_pem_private_key(key, None).public_key()
    if x509.load_pem_x509_certificate(certificate).public_key() != public:
        raise LostError(f"{place}: key and certificate are of two pairs")
    if not whole.startswith(key) or certificate not in whole:
        raise LostError(f"{place}: pair.pem is of another pair")
    return certificate


def stage_of(place: Path) -> str:
    """Return how far the candidate is that was left behind."""
    if not (place / "pairs").exists():
        return "nothing"
    candidate = PairDirectory.look(place).candidate
    if candidate is None:
        return "no candidate"
    if candidate.certificate is not None:
        return "received"
    return "sent" if candidate.is_sent else "key and request"


def renewals(place: Path, times: int, chance: Random, tally: Tally) -> None:
    """Kill so many forced renewals of the device in `place`."""
    command = ["renew", str(place), "--force"]
    run(command, None, lambda: False)
    begun = time.monotonic()
    for _ in range(_MEASURED):
        run(command, None, lambda: False)
    usual_s = (time.monotonic() - begun) / _MEASURED
    before = pair_in(place / NAME)
    if before is None:
        raise LostError("there is no pair to begin with")
    for _ in range(times):
        finished = run(command, chance.uniform(0, _LONGER * usual_s), lambda: False)
        after = pair_in(place / NAME)
        if after is None:
            raise LostError(f"{place}: the pair is gone")
        _count(tally, finished, after != before, stage_of(place / NAME))
        before = after
    run(command, None, lambda: False)
    if pair_in(place / NAME) == before:
        raise LostError(f"{place}: it renews no more")


def first_enrollments(directory: Path, url: str, times: int, chance: Random, tally: Tally) -> None:
    """Kill so many agents while they get the first certificate; the next one has to get it."""
    usual_s = 0.0
    for number in range(times):
        place = device(directory / f"first-{number}", url)
        has_one = (place / NAME / "current").is_symlink
        command = ["agent", str(place)]
        if number == 0:
            begun = time.monotonic()
            run(command, None, has_one)
            usual_s = time.monotonic() - begun
            continue
        finished = run(command, chance.uniform(0, _LONGER * usual_s), has_one)
        found = pair_in(place / NAME)
        _count(tally, finished, found is not None, stage_of(place / NAME))
        run(["agent", str(place), "--once"], None, lambda: False)
        if pair_in(place / NAME) is None:
            raise LostError(f"{place}: nobody went on")


def at_each_step(place: Path, tally: Tally) -> list[str]:
    """Kill a forced renewal before and after each of its steps, and return what they are."""
    points: list[str] = []
    before = pair_in(place / NAME)
    while True:
        log = place / "points"
        log.unlink(missing_ok=True)
        finished = run(
            ["renew", str(place), "--force"],
            None,
            lambda: False,
            prepared=partial(_dying, log, len(points) + 1),
        )
        after = pair_in(place / NAME)
        if after is None:
            raise LostError(f"{place}: the pair is gone")
        if finished:
            return points
        points.append(log.read_text().splitlines()[-1])
        _count(tally, finished, after != before, stage_of(place / NAME))
        run(["renew", str(place), "--force"], None, lambda: False)
        before = pair_in(place / NAME)


def _dying(log: Path, at: int) -> None:
    """Have this process killed at its step of that number; write down each before."""
    passed = count(1)

    def point(name: str) -> None:
        with log.open("a") as file:
            file.write(f"{name}\n")
        if next(passed) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    for home, names in ((PairDirectory, _DURABLE), (Client, ("run",))):
        for name in names:
            setattr(home, name, _between(point, name, getattr(home, name)))


def _between(point: Callable[[str], None], name: str, step: Callable[..., Any]) -> Any:
    def stepping(*arguments: Any, **more: Any) -> Any:
        point(f"before {name}")
        result = step(*arguments, **more)
        point(f"after {name}")
        return result

    return stepping


def _count(tally: Tally, finished: bool, switched: bool, stage: str) -> None:
    tally.kills += not finished
    tally.finished += finished
    tally.switched += switched
    tally.stages[stage] += 1


def issued(ca: Path) -> int:
    """Return how many certificates the server has issued to devices."""
    done = subprocess.run(
        [sys.executable, "-m", "est_transports", "certs", "list", str(ca), "--json",
         "--limit", "100000"],
        capture_output=True, check=True,
    )  # fmt: skip
    return sum(row["operation"] != "tls-identity" for row in json.loads(done.stdout))


def measured(times: int, seed: int) -> dict[str, object]:
    """Return what so many kills found, a quarter of them at first enrollments."""
    chance, renewing, enrolling = Random(seed), Tally(), Tally()
    with tempfile.TemporaryDirectory() as scratch, serving(Path(scratch)) as url:
        directory = Path(scratch)
        firsts = times // 4
        first_enrollments(directory, url, firsts + 1, chance, enrolling)
        before = issued(directory / "ca")
        place = device(directory / "renewed", url)
        renewals(place, times - firsts, chance, renewing)
        used = renewing.switched + _MEASURED + 2
        unused = issued(directory / "ca") - before - used
        stepping = Tally()
        points = at_each_step(place, stepping)
    return {
        "seed": seed,
        "steps": stepping.values() | {"points": points},
        "renewals": renewing.values() | {"issued and not used": unused},
        "first enrollments": enrolling.values(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill as often as was asked for and print what was found; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent_kills")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(json.dumps(measured(options.count, options.seed), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
