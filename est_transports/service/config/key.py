"""A key of est.toml in words: what the reference page says of it."""

from __future__ import annotations

from typing import Final

from est_core.values import value_class

_UNITS: Final = {
    "s": "seconds",
    "bytes": "bytes",
    "chars": "characters",
    "days": "days",
    "bits": "bits",
}


@value_class
class Key:
    """A key of est.toml. `kind` narrows the type that the reader asks for.

    `needs_restart`: a reload (SIGHUP) does not change it in a server that runs.
    """

    name: str
    meaning: str = ""
    kind: str = ""
    counted: str = ""
    """What an integer counts, where its name does not end in a unit."""
    needs_restart: bool = False

    @property
    def unit(self) -> str:
        """What a number of it is a number of; empty where it is no number."""
        last = self.name.removesuffix("_min").removesuffix("_max").rpartition("_")[2]
        return self.counted or _UNITS.get(last, "")
