"""Servers as processes: on a core of their own where there is one, their CPU time and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.site import Site

ROOT: Final = Path(__file__).resolve().parents[1]
START_S: Final = 120.0  # under valgrind an interpreter takes half a minute to be there
RESIDENT: Final = """\
import re
with open("/proc/self/status") as status:
    print(re.search("VmRSS:\\\\s+([0-9]+)", status.read())[1])
"""
"""A program that prints its own memory in KiB, and imports next to nothing for it."""
_PROBE: Final = Path(__file__).with_name("sqlite_probe.py")
_POLL_S: Final = 0.02
_URLS: Final = ("url", "coap_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A running server. `coap_port` is 0 where it has none."""

    pid: int
    port: int
    coap_port: int = 0

    @property
    def workers(self) -> tuple[int, ...]:
        """The processes that serve: its children, or the process itself."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split()
        return tuple(map(int, children)) or (self.pid,)

    def cpu_s(self) -> float:
        """Return the CPU time of all that serve so far, in seconds."""
        return sum(map(cpu_s, self.workers))


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has taken, all threads, in seconds.

    Linux numbers the clock of a process like this: clock_getcpuclockid(3), which Python lacks.
    """
    return time.clock_gettime((~pid << 3) | 2)


def rss_kib(pid: int) -> float:
    """Return the resident memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(r"^VmRSS:\s+([0-9]+) kB$", status, re.MULTILINE)
    if found is None:
        raise RuntimeError("the kernel does not tell the memory of a process")
    return float(found[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which code serves, and on what: a checkout, and a disk that takes so much longer to commit.

    Another checkout is run by the interpreter of its `.venv`, or else by this one. Into `counts`,
    an empty directory, goes what `sqlite_probe` counts. `under` comes before the command.
    """

    checkout: Path = ROOT
    commit_ms: float = 0.0
    counts: Path | None = None
    under: Sequence[str] = ()

    def command(self, module: str) -> list[str]:
        """Return the beginning of the command that runs a module, in `checkout`."""
        own = self.checkout / ".venv" / "bin" / "python"
        python = str(own) if self.checkout != ROOT and own.exists() else sys.executable
        if self.commit_ms == 0 and self.counts is None:
            return [*self.under, python, "-m", module]
        counts = "" if self.counts is None else str(self.counts)
        return [*self.under, python, "-P", str(_PROBE), str(self.commit_ms), counts, module]


HERE: Final = Origin()


@contextmanager
def servers(
    kinds: Iterable[str], site: Site, origin: Origin = HERE
) -> Iterator[dict[str, Serving]]:
    """Run these of benchmarks.servers, all at the same time."""
    command = origin.command("benchmarks.servers")
    with ExitStack() as stack:
        started = {}
        for kind in kinds:
            process = subprocess.Popen(
                [*command, kind, str(site.directory)],
                cwd=origin.checkout,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started[kind] = process
        yield {kind: _serving(process) for kind, process in started.items()}


def _serving(process: subprocess.Popen[bytes]) -> Serving:
    line = b"" if process.stdout is None else process.stdout.readline()
    if not line:
        raise RuntimeError("a server did not start")
    return Serving(pid=process.pid, port=int(line))


@contextmanager
def est_serve(site: Site, *options: str, origin: Origin = HERE) -> Iterator[Serving]:
    """Run `est serve` as it is, with its reference CA and store; its log goes to a file."""
    command = [*origin.command("est_transports"), "serve", str(site.directory)]
    ports = ["--listen", "127.0.0.1:0", "--coap", "127.0.0.1:0"]
    log = site.directory / f"serve-{time.monotonic_ns()}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, *ports, "--auth", "cert", "--json", *options],
            cwd=origin.checkout,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    with process:
        try:
            line = _wait_until(lambda: _ready(log, process))
            port, coap_port = (int(line[key].split("/")[2].rpartition(":")[2]) for key in _URLS)
            yield Serving(pid=process.pid, port=port, coap_port=coap_port)
        finally:
            process.terminate()
            process.wait(START_S)


@contextmanager
def apart(running: Iterable[Serving]) -> Iterator[None]:
    """Keep this process, which makes the load, to the first core, and the servers to the last.

    On a machine with one core there is nothing to be kept apart.
    """
    before = os.sched_getaffinity(0)
    for serving in running:
        os.sched_setaffinity(serving.pid, {max(before)})
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ready(log: Path, process: subprocess.Popen[bytes]) -> dict[str, str] | None:
    lines = log.read_text("utf-8")
    for line in lines.splitlines():
        if '"coap_url"' in line:
            found: dict[str, str] = json.loads(line)
            return found
    if process.poll() is not None:
        raise RuntimeError(f"est serve did not start: {lines}")
    return None


def _wait_until(look: Callable[[], dict[str, str] | None]) -> dict[str, str]:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(_POLL_S)
    raise TimeoutError("est serve did not start")


def printed(code: str, *, compiled: Path | None = None) -> Sequence[float]:
    """Return the numbers that a fresh interpreter prints when it runs the code.

    It finds and leaves compiled modules in that directory. Without one it does as its
    environment says, and may be told to compile this checkout anew each time.
    """
    environment = dict(os.environ)
    if compiled is not None:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(compiled)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, env=environment)
    return [float(word) for word in done.stdout.split()]
