"""Why a mutant that no test notices is left so: what `survivors/*.toml` says of it, by its key.

A survivor without a reason is a test that is missing.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SURVIVORS: Final = Path(__file__).with_name("survivors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What is said of survivors: `equivalent` ones change nothing that anybody could see.

    Others could be noticed, and count as missed.
    """

    text: str
    equivalent: bool


def reasons(folder: Path = SURVIVORS) -> dict[str, Reason]:
    """Return the reason of each survivor by its key. Raises ValueError if one has two."""
    found: dict[str, Reason] = {}
    for file in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(file.read_text("utf-8"))["survivors"]:
            reason = Reason(text=entry["reason"], equivalent=entry["equivalent"])
            twice = found.keys() & set(entry["keys"])
            if twice:
                raise ValueError(f"{file.name}: a second reason for {', '.join(sorted(twice))}")
            found |= dict.fromkeys(entry["keys"], reason)
    return found
