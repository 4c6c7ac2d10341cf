"""The base64 in which HTTP bodies carry DER. RFC 8951 3, RFC 4648 4.

The Content-Transfer-Encoding header plays no part: a body is what it looks like. What is met in
the field is read by default, as in files: PEM with text around it, DER, base64 in any lines.
"""

from __future__ import annotations

import binascii
from typing import Final

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core.asn1.kinds import Kind, is_secret, named_kind
from est_core.codec._grammar import base64_octets_untrusted
from est_core.codec.textual import WHITE_SPACE, Form, Textual, one_of, read_textual

_SEQUENCE: Final = b"\x30"
_BLOCKS_MAX: Final = 16  # a chain of certificates around the one thing that is wanted

_SWITCHED_OFF: Final = {
    Form.PEM: "PEM is not accepted, send base64",
    Form.DER: "raw DER is not accepted, send base64",
}


def encode(der: bytes, *, columns: int | None = None) -> bytes:
    """Return base64 on one line that ends with LF; with `columns`, in lines of that many octets.

    One line is what most peers read; libEST's client needs lines of 64. No octets give no
    octets. Raises LocalProtocolError when `columns` is not a positive multiple of four.
    """
    if columns is not None and (columns < 4 or columns % 4):
        raise LocalProtocolError("columns must be a positive multiple of four")
    if not der:
        return b""
    text = binascii.b2a_base64(der)
    if columns is None:
        return text
    text = text[:-1]
    return b"".join(text[at : at + columns] + b"\n" for at in range(0, len(text), columns))


def decode(
    body: bytes,
    *,
    max_bytes: int,
    accept_pem: bool = True,
    accept_der: bool = True,
    wanted: Kind | None = None,
) -> bytes:
    """Return the octets that a body stands for; whether they are DER is for others to say.

    White space (CR, LF, SP, TAB) may stand anywhere; the rest must be strict base64. NUL octets
    at the end are ignored, because libEST's server sends one after its csrattrs. PEM may have
    text around it and blocks of other kinds beside the `wanted` one, but no private key: whoever
    sends one ought to hear of it. Without `wanted` there is one block, of any kind.

    Raises RemoteProtocolError: "body/too-large" for more than `max_bytes` octets before
    decoding, "body/empty", "body/base64", "body/pem" for armour that is broken, lacks what is
    wanted or has it several times, "body/not-accepted" for PEM or DER where these are switched
    off. RFC 8951 3, RFC 7468.
    """
    if (usual := _usual_untrusted(body, max_bytes, wanted)) is not None:
        return usual
    try:
        found = read_textual(
            body,
            max_bytes=max_bytes,
            max_blocks=_BLOCKS_MAX,
            accept_pem=accept_pem,
            accept_der=accept_der,
        )
        switched_off = {Form.PEM: not accept_pem, Form.DER: not accept_der}
        if switched_off.get(found.form, False):
            raise RemoteProtocolError("body/not-accepted", _SWITCHED_OFF[found.form])
        return _decode_untrusted(found, wanted)
    except RemoteProtocolError as error:
        if error.code == "body/not-accepted":
            raise
        raise RemoteProtocolError(error.code, f"the body {error.message}", error.fault) from error


def _usual_untrusted(body: bytes, max_bytes: int, wanted: Kind | None) -> bytes | None:
    """Return what nearly every body stands for: base64 of one structure that is no secret.

    A shortcut, for what begins with a SEQUENCE is neither text nor in armour. None for any other.
    """
    if len(body) > max_bytes:
        return None
    der = base64_octets_untrusted(body.translate(None, WHITE_SPACE))
    if der is None or not der.startswith(_SEQUENCE) or (wanted is not None and is_secret(der)):
        return None
    return der


def _decode_untrusted(found: Textual, wanted: Kind | None) -> bytes:
    for block in found.blocks:
        if wanted is not None and block.kind.is_secret and block.kind is not wanted:
            message = f"has {named_kind(block.kind)}{block.where}, which nobody else may see"
            raise RemoteProtocolError("body/pem", message)
    if found.form is not Form.PEM and len(found.blocks) == 1 and found.blocks[0].der:
        return found.blocks[0].der  # its decoder says best what is wrong with it
    return one_of(found, wanted).der
