"""One run of the benchmarks: its rows, and when and where it was; as JSON, and read again."""

from __future__ import annotations

import json
import os
import platform
import re
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
_LIBRARIES: Final = ("cryptography", "pyOpenSSL", "trio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was measured in one go, and can be compared for that reason."""

    day: date
    machine: str
    software: str
    rows: tuple[Row, ...]

    @classmethod
    def of_now(cls, rows: Sequence[Row]) -> Self:
        """Return the run that ends here and now with these rows."""
        today = datetime.now(UTC).date()
        return cls(day=today, machine=_machine(), software=software(), rows=tuple(rows))

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the run that `written` gave, less what was rounded away."""
        found = json.loads(text)
        return cls(
            day=date.fromisoformat(found["day"]),
            machine=found["machine"],
            software=found["software"],
            rows=tuple(map(Row.of_json, found["rows"])),
        )

    def written(self) -> str:
        """Return the run as JSON."""
        fields = {
            "day": self.day.isoformat(),
            "machine": self.machine,
            "software": self.software,
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
