"""The one table of all error codes: for each code its cause and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from est_core.arguments import checked
from est_core.error_codes import SECTIONS as CORE_SECTIONS
from est_core.error_codes import ErrorCode, Section, by_code, table_key
from est_transports.error_codes._agent import AGENT
from est_transports.error_codes._authority import AUTHORITY
from est_transports.error_codes._backup import BACKUP
from est_transports.error_codes._channels import CHANNELS
from est_transports.error_codes._messages import MESSAGES
from est_transports.error_codes._pairs import PAIRS
from est_transports.error_codes._tokens import TOKENS

__all__ = ["ERROR_CODES", "SECTIONS", "find_error_code"]


def _joined(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """Return the sections with those of one title made one, in order of first appearance."""
    found: dict[str, Section] = {}
    for section in sections:
        first = found.get(section.title, replace(section, codes=()))
        found[section.title] = replace(first, codes=first.codes + section.codes)
    return tuple(found.values())


SECTIONS: Final[tuple[Section, ...]] = _joined(
    CORE_SECTIONS + MESSAGES + CHANNELS + AUTHORITY + PAIRS + AGENT + TOKENS + BACKUP
)
"""The codes of the core and of the transports, by subject."""

ERROR_CODES: Final[Mapping[str, ErrorCode]] = by_code(SECTIONS)
"""The same, by code."""


@checked
def find_error_code(code: str) -> ErrorCode | None:
    """Return the entry of a code; None for one that is not ours, such as an application's."""
    return ERROR_CODES.get(table_key(code))
