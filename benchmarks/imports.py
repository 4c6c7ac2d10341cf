"""What an import costs a fresh interpreter, in CPU time and memory."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from types import MappingProxyType
from typing import Final

from benchmarks.measure import Plan
from benchmarks.processes import RESIDENT, printed
from benchmarks.site import Site
from benchmarks.table import Row, Target

_NOTHING: Final = "pass"
_CRYPTOGRAPHY: Final = "import cryptography.x509"
_CORE: Final = "import est_core"
_CLIENT: Final = "import est_core, est_transports.coap.client_wire"
_COMMAND: Final = "import est_transports.cli, est_transports.cli.client.cacerts"
STATEMENTS: Final = (_NOTHING, _CRYPTOGRAPHY, _CORE, _CLIENT, _COMMAND)
TIME: Final = Target(bound=150.0, of_ratio=False)
COMMAND_TIME: Final = Target(bound=180.0, of_ratio=False)
"""Of `est cacerts`, which imports that and then takes some 10 ms for its exchange."""
MEMORY: Final = Target(bound=15.0, of_ratio=False)
_GROUPS: Final = MappingProxyType({"ms": "CPU time", "MiB": "memory"})
_SPENT: Final = "import time; print(time.process_time())\n"


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure each statement in interpreters of its own; the first ones only fill the caches.

    All modules are compiled ahead, as an installer leaves them.
    """
    codes = [f"{statement}\n{_SPENT}{RESIDENT}" for statement in STATEMENTS]
    compiled = site.directory / "compiled"
    every = [[printed(code, compiled=compiled) for code in codes] for _ in range(plan.rounds + 1)]
    rounds = every[1:]
    for place, (unit, scale, target) in enumerate((("ms", 1e3, TIME), ("MiB", 1 / 1024, MEMORY))):
        found = {
            statement: scale * median(each[column][place] for each in rounds)
            for column, statement in enumerate(STATEMENTS)
        }
        for statement, value in found.items():
            yield Row(
                subject="imports",
                name=statement,
                group=_GROUPS[unit],
                value=value,
                unit=unit,
                ratio=value / found[_CRYPTOGRAPHY],
                yardstick=_CRYPTOGRAPHY,
                target=COMMAND_TIME if statement == _COMMAND and unit == "ms" else None,
            )
        for statement in (_CORE, _CLIENT):
            yield Row(
                subject="imports",
                name=f"{statement}, beyond cryptography",
                group=_GROUPS[unit],
                value=found[statement] - found[_CRYPTOGRAPHY],
                unit=unit,
                target=target if statement == _CORE else None,
            )
