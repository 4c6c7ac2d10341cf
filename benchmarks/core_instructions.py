"""The instructions of exchanges in the core alone: `python -m benchmarks.core_instructions`.

valgrind's cachegrind counts a process that does an exchange eight times, and one that does it 24
times: a sixteenth of the difference is one exchange, without the start of the interpreter, the
imports, and what is done once. It repeats to a thousand or two.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.core_overhead import contenders
from benchmarks.site import Site

_FEW: Final = 8
_MANY: Final = 24
_TOTAL: Final = re.compile(r"I +refs: +([0-9,]+)")


def main(arguments: Sequence[str]) -> None:
    """Print what each exchange executes; with a site, a name and a number do that one so often."""
    if arguments:
        directory, name, times = arguments
        _repeat(Site(Path(directory)), name, int(times))
        return
    with tempfile.TemporaryDirectory(prefix="est-core-") as directory:
        site = Site.made(Path(directory) / "site")
        names = [each.name for each in contenders(site)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            numbers = pool.map(partial(_of_one, site), names)
            for name, number in zip(names, numbers, strict=True):
                print(f"{number / 1e3:10,.0f} k  {name}")


def _of_one(site: Site, name: str) -> float:
    few, many = (_counted(site, name, times) for times in (_FEW, _MANY))
    return (many - few) / (_MANY - _FEW)


def _counted(site: Site, name: str, times: int) -> int:
    """Return the instructions of a process that does it so many times."""
    counting = (
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
    )
    child = (sys.executable, "-m", __spec__.name, str(site.directory), name, str(times))
    # Sets of texts are in another order in each process, and take another time, without this.
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*counting, *child], env=environment, capture_output=True, text=True, check=True
    )
    found = _TOTAL.search(done.stderr)
    if found is None:
        raise ValueError("valgrind has counted nothing")
    return int(found[1].replace(",", ""))


def _repeat(site: Site, name: str, times: int) -> None:
    work = next(each for each in contenders(site) if each.name == name)
    for _ in range(times):
        work.run(0.0)


if __name__ == "__main__":
    main(sys.argv[1:])
