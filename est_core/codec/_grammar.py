"""The pieces of RFC 9110 5.6 and RFC 4648 4 that several header fields are made of.

A field value is a `str` with one character per octet (ISO-8859-1), as HTTP libraries hand it
over. All patterns are anchored by `match(text, pos)` and possessive, so that a scan never goes
back: time is linear in the length of the value whatever it holds.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from est_core._errors import LocalProtocolError

TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
QUOTED: Final = r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+)"'  # group: the inside

_WHOLE_TOKEN: Final = re.compile(TOKEN)
_QUOTABLE: Final = re.compile(r"[\t -~\x80-\xff]*+")
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE: Final = re.compile(r'(["\\])')


def is_token(text: str) -> bool:
    """Return whether this is a token. RFC 9110 5.6.2."""
    return _WHOLE_TOKEN.fullmatch(text) is not None


def unquoted(inside: str) -> str:
    """Return the value of a quoted-string, given what `QUOTED` found between its quotes."""
    return _QUOTED_PAIR.sub(r"\1", inside)


def quoted(value: str) -> str:
    r"""Return a quoted-string. RFC 9110 5.6.4.

    Raises LocalProtocolError for what no quoted-string can hold: control characters, above all
    CR and LF, which would let a value start a header field of its own, and characters beyond
    U+00FF.
    """
    if _QUOTABLE.fullmatch(value) is None:
        raise LocalProtocolError("a quoted header value has a character that cannot be sent")
    return '"' + _TO_ESCAPE.sub(r"\\\1", value) + '"'


def base64_octets_untrusted(text: bytes) -> bytes | None:
    """Return what strict base64 stands for, None when it is not strict. RFC 4648 4.

    No white space, full padding, no URL-safe alphabet, nothing after the padding, and unused
    trailing bits zero.
    """
    try:
        octets = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    # The decoder skips what it does not know. Each octet string has exactly one strict text, so
    # one comparison settles every rule at once.
    return octets if binascii.b2a_base64(octets, newline=False) == text else None
