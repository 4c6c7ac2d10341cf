"""Runs the scripted exchanges with every door to the outside watched, and says what was touched.

The first run is not watched: it is the one that imports and fills the caches of the libraries
below. Prints `clean: N operations` and exits 0, or one line per touch and exits 1.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from typing import Final, NoReturn

from tests.law.scripted_run import operations

QUIET_EVENTS: Final = frozenset({"object.__getattr__", "object.__setattr__", "builtins.id"})
"""Audit events that are no way out: attribute access and identity."""

CLOCKS_AND_CHANCE: Final = (
    (time, "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns sleep localtime"),
    (os, "urandom getrandom getenv"),
    (random, "random randint choice getrandbits"),
    (secrets, "token_bytes token_hex randbelow"),
)


def _forbid(name: str) -> object:
    def forbidden(*_: object, **__: object) -> NoReturn:
        raise AssertionError(f"{name} was called")

    return forbidden


def main() -> int:
    """Run twice, watched the second time."""
    expected = list(operations())
    touched: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event not in QUIET_EVENTS:
            touched.append(f"{event} {arguments!r:.120}")

    for module, names in CLOCKS_AND_CHANCE:
        for name in names.split():
            if hasattr(module, name):
                setattr(module, name, _forbid(f"{module.__name__}.{name}"))
    sys.addaudithook(watch)
    repeated = list(operations())
    watching = False
    if repeated != expected:
        touched.append("the second run differed from the first: something was remembered")
    print("\n".join(touched) if touched else f"clean: {len(expected)} operations")
    return 1 if touched else 0


if __name__ == "__main__":
    sys.exit(main())
