"""The instructions that servers execute for an enrollment: a measure that other work cannot move.

CPU time on a shared machine is good to a tenth at best. The number of instructions repeats to half
a percent, also while the machine is busy. So it is what a change is held against: what each server
executes is on record in `instructions.json`, and a run that finds more fails (`grown`).

valgrind's callgrind counts. Starting an interpreter costs as much as three hundred enrollments, so
it counts nothing at first; when the server has enrolled a few, and nothing is new to it any more,
it is told to begin, and after each batch to say how many there were. The median of the batches is
taken: a retransmission that a slow moment causes is in one of them.

Instructions are not time: what is cold costs several times as much a piece as what is hot, and
waiting for a disk costs none. The tables of CPU time stand beside them for that reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Final, Self

from benchmarks.load import USUAL, CoapsClient, HttpsClient
from benchmarks.processes import Origin, Serving, est_serve, servers
from benchmarks.run import software
from benchmarks.site import Site
from benchmarks.table import Row, markdown

KEPT: Final = Path(__file__).with_suffix(".json")
"""What is on record."""
GROWTH: Final = 0.02
"""By how much a server may execute more than what is on record."""
YARDSTICK: Final = "floor"
WARM_UP: Final = 8
"""Enrollments that are not counted: what is done once only, caches, and what grows at first."""
BATCHES: Final = 3
BATCH: Final = 8
SETTLE_S: Final = 0.2
"""A server closes a connection, and writes its line of log, when the client has the answer."""

_TOTAL: Final = re.compile(r"^totals: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """A server that callgrind runs, and what a client does again and again."""

    pid: int
    enroll: Callable[[], None]

    @classmethod
    def over_https(cls, serving: Serving, site: Site, stack: ExitStack) -> Self:
        """Return a server as a client meets it that makes a new connection each time."""
        client = HttpsClient(site, serving.port, USUAL)
        stack.callback(client.close)
        return cls(pid=serving.pid, enroll=client.enroll)


_Started = AbstractContextManager[_Counted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What servers execute for an enrollment, by their names, and the software that it was."""

    software: str
    instructions: Mapping[str, int]

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the budget that `written` gave."""
        found = json.loads(text)
        return cls(software=found["software"], instructions=found["instructions"])

    def written(self) -> str:
        """Return the budget as JSON, its numbers rounded to thousands."""
        rounded = {name: round(number, -3) for name, number in self.instructions.items()}
        return json.dumps({"software": self.software, "instructions": rounded}, indent=2) + "\n"

    def of_yardstick(self, name: str) -> float:
        """Return how many times the yardstick's instructions a server executes."""
        return self.instructions[name] / self.instructions[YARDSTICK]


def grown(found: Budget, kept: Budget) -> list[str]:
    """Return a sentence for each server that executes more than is on record, GROWTH aside.

    With other software than that of the record, whose libraries execute another number for the
    same thing, it is the ratio to the yardstick that may not have grown. A server that is not on
    record, or was not measured, is told too.
    """
    same = found.software == kept.software
    said = [f"{name}: is not on record" for name in found.instructions - kept.instructions.keys()]
    for name, before in kept.instructions.items():
        if name not in found.instructions:
            said.append(f"{name}: was not measured")
            continue
        now = found.instructions[name]
        growth = (now / before if same else found.of_yardstick(name) / kept.of_yardstick(name)) - 1
        if growth > GROWTH:
            said.append(f"{name}: {now / 1e6:.2f} M instructions, {growth:.1%} more than on record")
    return said


@contextmanager
def _stream(kind: str, site: Site, origin: Origin) -> Iterator[_Counted]:
    with servers([kind], site, origin) as running, ExitStack() as stack:
        yield _Counted.over_https(running[kind], site, stack)


@contextmanager
def _est_serve(site: Site, origin: Origin) -> Iterator[_Counted]:
    with est_serve(site, origin=origin) as serving, ExitStack() as stack:
        yield _Counted.over_https(serving, site, stack)


@contextmanager
def _est_coaps(site: Site, origin: Origin) -> Iterator[_Counted]:
    with est_serve(site, origin=origin) as serving:
        client = CoapsClient(site, serving.coap_port, kept=False)
        yield _Counted(pid=serving.pid, enroll=client.enroll)


_STREAMS: Final = (YARDSTICK, "recording floor", "on_sockets", "on_sockets, SQLite", "on_trio")
_SERVERS: Final = MappingProxyType[str, Callable[[Site, Origin], _Started]](
    {
        **{kind: partial(_stream, kind) for kind in _STREAMS},
        "est serve": _est_serve,
        "est serve, EST-coaps": _est_coaps,
    }
)


def report(found: Budget, record: Path, *, keep: bool) -> int:
    """Print what was counted, and put it on record or hold it against that; return the exit code.

    That is 1 where a server executes more than is on record.
    """
    print(markdown(_rows(found)))
    if keep:
        record.write_text(found.written(), "ascii")
        return 0
    said = grown(found, Budget.read(record.read_text("ascii")))
    for line in said:
        print(line, file=sys.stderr)
    if said:
        print("if it has to be: python -m benchmarks --instructions --keep", file=sys.stderr)
    return 1 if said else 0


def _rows(found: Budget) -> list[Row]:
    return [
        Row(
            subject="instructions",
            name=name,
            value=number / 1e3,
            unit="k",
            ratio=found.of_yardstick(name),
            yardstick=YARDSTICK,
        )
        for name, number in found.instructions.items()
    ]


def measured() -> Budget:
    """Run each server under callgrind, as many at a time as there are cores."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        numbers = pool.map(_instructions, _SERVERS)
        found = dict(zip(_SERVERS, numbers, strict=True))
    return Budget(software=f"{software()}, {_valgrind()}", instructions=found)


def _instructions(name: str) -> int:
    """Return the instructions that a server executes for an enrollment."""
    with tempfile.TemporaryDirectory(prefix="est-instructions-") as directory:
        site = Site.made(Path(directory) / "site")
        out = Path(directory) / "callgrind"
        options = ("--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}")
        # One thread runs at a time anyhow; taking turns by a ticket keeps none of them waiting.
        origin = Origin(under=("valgrind", "-q", "--fair-sched=try", *options))
        with _SERVERS[name](site, origin) as counted:
            _repeat(counted, WARM_UP)
            _tell(counted.pid, "instrumentation on")
            for _ in range(BATCHES):
                _repeat(counted, BATCH)
                _tell(counted.pid, "dump")
        batches = [_total(Path(f"{out}.{number}")) for number in range(1, BATCHES + 1)]
    return round(median(batches) / BATCH)


def _repeat(counted: _Counted, times: int) -> None:
    for _ in range(times):
        counted.enroll()
    time.sleep(SETTLE_S)


def _tell(pid: int, command: str) -> None:
    """Have callgrind do something in the process that it runs."""
    subprocess.run(["vgdb", f"--pid={pid}", command], check=True, capture_output=True)


def _total(dump: Path) -> int:
    found = _TOTAL.search(dump.read_text("ascii", "replace"))
    if found is None:
        raise RuntimeError(f"{dump.name}: callgrind has counted nothing")
    return int(found[1])


def _valgrind() -> str:
    done = subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True)
    return done.stdout.strip().replace("-", " ")
