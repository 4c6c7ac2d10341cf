"""Serial numbers of certificates: how they are stored, printed, and read from what people type."""

from __future__ import annotations

import re
from typing import Final

from est_core import LocalProtocolError
from est_core.arguments import checked

_SPELLING: Final = re.compile(r"(?:serial=)?(?:0x)?([0-9a-f]+(?:[:\s][0-9a-f]+)*)", re.IGNORECASE)
_MAX_DIGITS: Final = 64


@checked
def serial_text(number: int) -> str:
    """Return a serial number as stores write it: lower-case hex without leading zeros."""
    return f"{number:x}"


@checked
def printed_serial(serial: int | str) -> str:
    """Return a serial number as openssl prints it: whole bytes in upper-case hex.

    A text is one as stores write it.
    """
    digits = (serial_text(serial) if isinstance(serial, int) else serial).upper()
    return digits.rjust(len(digits) + len(digits) % 2, "0")


@checked
def read_serial(text: str) -> str:
    """Return a serial number that somebody typed or copied as stores write it.

    Hexadecimal in either case, with or without 0x, colons or blanks between the digits, and
    leading zeros. Raises LocalProtocolError for anything else, and for zero.
    """
    digits = serial_digits(text).lstrip("0")
    if not 0 < len(digits) <= _MAX_DIGITS:
        raise LocalProtocolError(f"{text[:80]!r} is no serial number in hexadecimal")
    return digits


@checked
def serial_digits(text: str) -> str:
    """Return the digits that somebody typed, in lower case, leading zeros and all.

    Raises LocalProtocolError where it is no hexadecimal number.
    """
    found = _SPELLING.fullmatch(text.strip())
    if found is None:
        raise LocalProtocolError(f"{text[:80]!r} is no serial number in hexadecimal")
    return re.sub(r"[:\s]", "", found[1]).lower()
