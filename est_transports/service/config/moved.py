"""Keys that est.toml once had, and what is written now: who brings an older file is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOVED: Final[Mapping[tuple[str, str], str]] = {
    ("auth", "accept_ra"): (
        "is gone: put the certificate of each registration authority into certificates of [ra], and"
        " out of ca.reserved; where it is false, remove the line"
    ),
    ("tls", "crls"): "has moved: write it as files of [crls], which has what to do without a list",
}
"""By table and key; the text begins with a verb."""
