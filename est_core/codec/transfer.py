"""The base64 in which HTTP bodies carry DER. RFC 8951 3, RFC 4648 4.

The Content-Transfer-Encoding header plays no part: a body is what it looks like. Besides base64
two forms are met in the field and read by default: PEM with its armour, and the DER itself. Every
EST payload is a SEQUENCE. Its DER starts with 0x30, which is the letter "0"; its base64 starts
with "M". One octet is enough to tell them apart.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core.codec._grammar import base64_octets_untrusted

_WHITE_SPACE: Final = b"\r\n \t"  # exactly the four of RFC 8951 3.1
_SEQUENCE: Final = b"\x30"
_DASHES: Final = b"-----"
# A label has no two hyphens in a row, so the first five after it end the line. RFC 7468 3.
_BEGIN: Final = re.compile(rb"-----BEGIN ([!-,.-~ ](?:-?[!-,.-~ ]){0,63})-----")


def encode(der: bytes, *, columns: int | None = None) -> bytes:
    """Return base64 on one line that ends with LF; with `columns`, in lines of that many octets.

    One line is what most peers read; libEST needs lines of 64 in one place. No octets give no
    octets. Raises LocalProtocolError when `columns` is not a positive multiple of four.
    """
    if columns is not None and (columns <= 0 or columns % 4):
        raise LocalProtocolError("columns must be a positive multiple of four")
    if not der:
        return b""
    text = binascii.b2a_base64(der)
    if columns is None:
        return text
    text = text[:-1]
    return b"".join(text[at : at + columns] + b"\n" for at in range(0, len(text), columns))


def decode(
    body: bytes, *, max_bytes: int, accept_pem: bool = True, accept_der: bool = True
) -> bytes:
    """Return the octets that a body stands for; whether they are DER is for others to say.

    White space (CR, LF, SP, TAB) may stand anywhere; the rest must be strict base64. NUL octets
    at the end are ignored, because libEST's server sends one after its csrattrs. PEM is one
    block with any label and nothing but white space around it.

    Raises RemoteProtocolError: "body/too-large" for more than `max_bytes` octets before
    decoding, "body/empty", "body/base64", "body/pem" for armour that is not one whole block,
    "body/not-accepted" for PEM or DER where these are switched off. RFC 8951 3, RFC 7468.
    """
    if len(body) > max_bytes:
        raise RemoteProtocolError(
            "body/too-large", f"the body is longer than {max_bytes} bytes", Fault.BODY_TOO_LARGE
        )
    if accept_der and body.startswith(_SEQUENCE):
        return body
    # Only after the look at DER, which may well end with a zero octet.
    text = body.rstrip(b"\0").strip(_WHITE_SPACE)
    if text.startswith(_DASHES):
        if not accept_pem:
            raise RemoteProtocolError("body/not-accepted", "PEM is not accepted, send base64")
        text = _inside_armour_untrusted(text)
    text = text.translate(None, _WHITE_SPACE)
    if not text:
        raise RemoteProtocolError("body/empty", "the body is empty")
    octets = base64_octets_untrusted(text)
    if octets is None:
        if body.startswith(_SEQUENCE):
            raise RemoteProtocolError("body/not-accepted", "raw DER is not accepted, send base64")
        raise RemoteProtocolError("body/base64", "the body is not base64 of RFC 4648 section 4")
    return octets


def _inside_armour_untrusted(text: bytes) -> bytes:
    begin = _BEGIN.match(text)
    if begin is None:
        raise RemoteProtocolError("body/pem", "the PEM block has no proper first line")
    end = b"-----END " + begin[1] + _DASHES
    inside = text[begin.end() :]
    if not inside.endswith(end):
        raise RemoteProtocolError("body/pem", "the PEM block does not end with its own label")
    inside = inside[: -len(end)]
    if _DASHES in inside:
        raise RemoteProtocolError("body/pem", "the body has more than one PEM block")
    return inside
