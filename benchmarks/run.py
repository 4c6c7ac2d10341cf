"""One run of the benchmarks: its rows, and when and where it was; as JSON, and read again."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self

from OpenSSL import SSL

from benchmarks.table import Row

KEPT: Final = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "performance.json"
"""The run that the documentation shows."""
BESIDE: Final = KEPT.with_stem("performance-before")
"""The run that the documentation shows of this version beside the one before it."""
_LIBRARIES: Final = ("cryptography", "pyOpenSSL", "trio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was measured in one go, and can be compared for that reason.

    `build` says how the interpreter was compiled, `beside` which other checkout took turns.
    """

    day: date
    machine: str
    software: str
    build: str = ""
    beside: str = ""
    rows: tuple[Row, ...]

    @classmethod
    def of_now(cls, rows: Sequence[Row], beside: Path | None = None) -> Self:
        """Return the run that ends here and now with these rows."""
        return cls(
            day=datetime.now(UTC).date(),
            machine=_machine(),
            software=software(),
            build=_build(),
            beside="" if beside is None else _commit(beside),
            rows=tuple(rows),
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the run that `written` gave, less what was rounded away."""
        found = json.loads(text)
        return cls(
            day=date.fromisoformat(found["day"]),
            machine=found["machine"],
            software=found["software"],
            build=found.get("build", ""),
            beside=found.get("beside", ""),
            rows=tuple(map(Row.of_json, found["rows"])),
        )

    def written(self) -> str:
        """Return the run as JSON."""
        fields = {
            "day": self.day.isoformat(),
            "machine": self.machine,
            "software": self.software,
            "build": self.build,
            "beside": self.beside,
            "rows": [row.as_json() for row in self.rows],
        }
        return json.dumps(fields, indent=2)


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    found = re.search(
        r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE
    )
    model = f" ({found[1].strip()})" if found else ""
    many = "one core" if cores == 1 else f"{cores} cores"
    release = ".".join(platform.release().split(".")[:2])  # the rest is the builder's business
    return f"{many}{model}, {platform.system()} {release}"


def software() -> str:
    """Return the versions of all that has a part in what is measured."""
    openssl = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii").split()[1]
    libraries = (f"{name} {version(name)}" for name in _LIBRARIES)
    return ", ".join((f"Python {platform.python_version()}", f"OpenSSL {openssl}", *libraries))


def _build() -> str:
    """Return how the interpreter was compiled: by what, and what makes it faster or slower."""
    asked = str(sysconfig.get_config_var("CONFIG_ARGS"))
    profiled = "with" if "--enable-optimizations" in asked else "without"
    linked = "with" if "--with-lto" in asked else "without"
    threaded = "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "with the GIL"
    name, compiler = platform.python_implementation(), platform.python_compiler()
    return f"{name} by {compiler}, {profiled} PGO, {linked} LTO, {threaded}"


def _commit(checkout: Path) -> str:
    """Return which commit a checkout is at; nothing where it is none of git."""
    command = ["git", "-C", str(checkout), "log", "-1", "--format=%h of %as"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip()
