"""The table of the core's error codes: for each code its cause and what to do about it.

`est_transports.error_codes` has these and the codes of the transports in one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from est_core.arguments import checked
from est_core.error_codes._authentication import AUTHENTICATION
from est_core.error_codes._coap import COAP
from est_core.error_codes._entry import Audience, ErrorCode, Section
from est_core.error_codes._exchange import EXCHANGE
from est_core.error_codes._http import HTTP
from est_core.error_codes._manufacturers import MANUFACTURERS
from est_core.error_codes._requests import REQUESTS
from est_core.error_codes._trust import TRUST

__all__ = ["SECTIONS", "Audience", "ErrorCode", "Section", "by_code", "table_key"]

SECTIONS: Final[tuple[Section, ...]] = (
    HTTP + COAP + AUTHENTICATION + MANUFACTURERS + REQUESTS + EXCHANGE + TRUST
)
"""All codes that the core gives, by subject."""

_STATUS: Final = "response/status-"


@checked
def by_code(sections: Iterable[Section]) -> Mapping[str, ErrorCode]:
    """Return the entries of the sections by their codes, in order."""
    return MappingProxyType({entry.code: entry for each in sections for entry in each.codes})


@checked
def table_key(code: str) -> str:
    """Return the code under which the table has `code`: `response/status-NNN` for any status."""
    digits = code.removeprefix(_STATUS)
    return f"{_STATUS}NNN" if digits != code and digits.isdecimal() else code
