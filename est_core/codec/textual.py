"""Finds the DER in what people store and send: PEM with text around it, base64, or DER itself.

Tools print text before and after PEM (`openssl req -text`, GnuTLS's certtool), put key parameters
before a key, mark the byte order, end files with NULs, and encode PEM in base64 once more. One
reader takes all of that for bodies, files and configuration. What it returns is not decoded
further. RFC 7468, RFC 4648 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import field
from enum import Enum, unique
from typing import Final

from est_core._errors import Fault, RemoteProtocolError
from est_core.asn1 import _der
from est_core.asn1.kinds import Kind, kind_of, kind_of_label, named_kind
from est_core.codec._grammar import base64_octets_untrusted
from est_core.values import unchecked_value_class

WHITE_SPACE: Final = b"\r\n \t"  # exactly the four of RFC 8951 3.1
_PADDING: Final = WHITE_SPACE + b"\0"
_DASHES: Final = b"-----"
_ARMOUR: Final = b"-----BEGIN "
_SEQUENCE: Final = b"\x30"
# A label has no two hyphens in a row, so the first five after it end the line. RFC 7468 3.
_BEGIN: Final = re.compile(rb"-----BEGIN ([!-,.-~ ](?:-?[!-,.-~ ]){0,63})-----")
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_ENCRYPTED: Final = re.compile(rb"^Proc-Type:\s*4\s*,\s*ENCRYPTED", re.MULTILINE)
_URL_SAFE: Final = re.compile(rb"[A-Za-z0-9_-]+={0,2}")
_MAGIC: Final = (
    (b"\xfe\xed\xfe\xed", Kind.KEYSTORE),
    (b"\xce\xce\xce\xce", Kind.KEYSTORE),
    (b"ssh-", Kind.SSH_PUBLIC_KEY),
    (b"ecdsa-sha2-", Kind.SSH_PUBLIC_KEY),
    (b"PuTTY-User-Key-File", Kind.OPENSSH_KEY),
)


@unique
class Form(Enum):
    """How the bytes stood there."""

    PEM = "PEM"
    DER = "DER"
    BASE64 = "base64"
    OTHER = "another format"


@unchecked_value_class
class Block:
    """One piece of DER, or a PEM block whose DER cannot be had: `problem` says why.

    `position` counts from 1, `line` is where the PEM block begins, None without armour. `text` is
    the PEM block as it stood. Neither is shown by repr: it may be a key. `code` goes with
    `problem`.
    """

    kind: Kind
    position: int
    der: bytes = field(default=b"", repr=False)
    label: str = ""
    line: int | None = None
    text: bytes = field(default=b"", repr=False)
    problem: str = ""
    code: str = ""

    @property
    def where(self) -> str:
        """The place for messages: " (line 12)", or nothing."""
        return "" if self.line is None else f" (line {self.line})"


@unchecked_value_class
class Textual:
    """What was found, in its order, and the form that it stood in."""

    form: Form
    blocks: tuple[Block, ...]


def read_textual(
    raw: bytes,
    *,
    max_bytes: int,
    max_blocks: int,
    accept_pem: bool = True,
    accept_der: bool = True,
) -> Textual:
    """Return everything that stands in `raw`, at least one block.

    Without `accept_pem` base64 is not looked into for PEM, and without `accept_der` what could be
    DER or base64 is base64: whether the form is accepted is for the caller to say.

    A broken PEM block is one with a `problem`. Raises RemoteProtocolError, whose message is what
    to say of the thing ("is empty"): body/too-large above `max_bytes`, body/empty, body/pem for
    more than `max_blocks` or for a first line of PEM that is none, body/base64 for what is
    neither PEM nor DER nor strict base64.
    """
    if len(raw) > max_bytes:
        message = f"has {len(raw)} bytes, {max_bytes} are allowed"
        raise RemoteProtocolError("body/too-large", message, Fault.BODY_TOO_LARGE)
    found = _read_untrusted(raw, max_blocks, accept_der=accept_der)
    if found.form is Form.BASE64 and accept_pem:
        octets = found.blocks[0].der
        if _BEGIN.search(octets) and not octets.startswith(_SEQUENCE):
            return Textual(form=Form.PEM, blocks=tuple(_pem_blocks(_unmarked(octets), max_blocks)))
    return found


def _read_untrusted(raw: bytes, max_blocks: int, *, accept_der: bool) -> Textual:
    # A text may begin with the letter "0", which is 0x30.
    if raw.startswith(_SEQUENCE) and (_is_no_text(raw) or (accept_der and _is_one_element(raw))):
        return Textual(form=Form.DER, blocks=tuple(_der_blocks(raw, max_blocks)))
    for magic, kind in _MAGIC:
        if raw.startswith(magic):
            return Textual(form=Form.OTHER, blocks=(Block(kind=kind, position=1),))
    text = _unmarked(raw).lstrip(WHITE_SPACE).rstrip(_PADDING)
    if not text:
        raise RemoteProtocolError("body/empty", "is empty")
    if _ARMOUR in text or text.startswith(_DASHES):
        return Textual(form=Form.PEM, blocks=tuple(_pem_blocks(text, max_blocks)))
    octets = base64_octets_untrusted(text.translate(None, WHITE_SPACE))
    if octets is None:
        raise RemoteProtocolError("body/base64", _not_base64(text))
    # Base64 says exactly what it holds: nothing is taken off its end.
    block = Block(kind=kind_of(octets), position=1, der=octets)
    return Textual(form=Form.BASE64, blocks=(block,))


def _not_base64(text: bytes) -> str:
    text = text.translate(None, WHITE_SPACE)
    if _URL_SAFE.fullmatch(text) and (b"-" in text or b"_" in text):
        return "is base64 of the URL-safe alphabet (- and _), not of RFC 4648 section 4"
    if base64_octets_untrusted(text + b"=" * (-len(text) % 4)) is not None:
        return "is base64 without the padding (=) at its end, RFC 4648 section 3.2"
    return "is neither PEM, nor DER, nor base64 of RFC 4648 section 4"


def _unmarked(raw: bytes) -> bytes:
    """Return text without a byte order mark, in an encoding that has ASCII in it."""
    if raw.startswith(_UTF8_MARK):
        return raw[len(_UTF8_MARK) :]
    codec = _UTF16_MARKS.get(raw[:2])
    if codec is None:
        # Without a mark, every other octet of ASCII in UTF-16 is zero all the same.
        codec = {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get(
            (raw[:1] == b"\0", raw[1:2] == b"\0")
        )
        return raw if codec is None else raw.decode(codec, "replace").encode("utf-8", "replace")
    return raw[2:].decode(codec, "replace").encode("utf-8", "replace")


# --- DER -------------------------------------------------------------------------------------


def _is_no_text(raw: bytes) -> bool:
    if _ARMOUR in raw:
        return False
    text = raw.rstrip(_PADDING).translate(None, WHITE_SPACE)
    return base64_octets_untrusted(text) is None


def _is_one_element(raw: bytes) -> bool:
    try:
        element = _der.read_element(raw, ber=True)
    except RemoteProtocolError:
        return False
    return not raw[len(element.der) :].strip(_PADDING)


def _der_blocks(raw: bytes, max_blocks: int) -> Iterator[Block]:
    """Yield one element after the other; what cannot be divided is one, and for a decoder."""
    pos, position, end = 0, 0, len(raw)
    while pos < end:
        position += 1
        _check_count(position, max_blocks)
        try:
            element = _der.read_element(raw, pos, ber=True)
        except RemoteProtocolError:
            yield Block(kind=kind_of(raw[pos:]), position=position, der=raw[pos:])
            return
        stop = pos + len(element.der)
        rest = raw[stop : stop + 1]
        if rest != _SEQUENCE and raw[stop:].strip(_PADDING):
            yield Block(kind=kind_of(raw[pos:]), position=position, der=raw[pos:])
            return
        yield Block(kind=kind_of(element.der), position=position, der=element.der)
        pos = stop if rest == _SEQUENCE else end


def _check_count(position: int, max_blocks: int) -> None:
    if position > max_blocks:
        raise RemoteProtocolError("body/pem", f"has more than {max_blocks} blocks")


# --- PEM -------------------------------------------------------------------------------------


def _pem_blocks(text: bytes, max_blocks: int) -> Iterator[Block]:
    pos, line, position = 0, 1, 0
    while (start := text.find(_DASHES + b"BEGIN", pos)) >= 0:
        position += 1
        _check_count(position, max_blocks)
        line += text.count(b"\n", pos, start)
        begin = _BEGIN.match(text, start)
        if begin is None:
            raise RemoteProtocolError("body/pem", f"has no proper first line of PEM (line {line})")
        label = begin[1].decode("ascii")
        inside = begin.end()
        # Base64 and headers have no five dashes: the next ones are the last line, or none is.
        dashes = text.find(_DASHES, inside)
        last = _DASHES + b"END " + begin[1] + _DASHES
        if text.startswith(last, dashes):
            stop = dashes + len(last)
            yield _pem_block(text[start:stop], text[inside:dashes], label, line, position)
        else:
            stop = inside
            problem = f"lacks its last line, END {label}"
            yield Block(
                kind=kind_of_label(label),
                position=position,
                label=label,
                line=line,
                problem=problem,
                code="body/pem",
            )
        line += text.count(b"\n", start, stop)
        pos = stop
    if not position:
        raise RemoteProtocolError("body/pem", "has a line of dashes and no PEM block")


def _pem_block(whole: bytes, inside: bytes, label: str, line: int, position: int) -> Block:
    kind, problem, code, der = kind_of_label(label), "", "", b""
    headers, octets = _apart(inside)
    if kind is Kind.PRIVATE_KEY and _ENCRYPTED.search(headers):
        kind = Kind.ENCRYPTED_KEY  # of RFC 1421: what is inside is no DER
    elif kind is not Kind.OPENSSH_KEY:
        stripped = octets.translate(None, WHITE_SPACE)
        found = base64_octets_untrusted(stripped)
        if not stripped:
            problem, code = "is empty", "body/empty"
        elif found is None:
            problem, code = "is not base64 of RFC 4648 section 4", "body/base64"
        else:
            der = _first_element(found, label)
            seen = kind_of(der)
            # The structure counts: some put a bag under CERTIFICATE, or a PKCS#8 key under RSA.
            kind = kind if seen is Kind.UNKNOWN else seen
    return Block(
        kind=kind,
        position=position,
        der=der,
        label=label,
        line=line,
        text=whole,
        problem=problem,
        code=code,
    )


def _apart(inside: bytes) -> tuple[bytes, bytes]:
    """Return the headers of RFC 1421 4.4, if there are any, and the base64 after them."""
    if b":" not in inside:
        return b"", inside
    text = inside.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    headers, blank, octets = text.lstrip(b"\n").partition(b"\n\n")
    return (headers, octets) if blank else (b"", inside)


def _first_element(der: bytes, label: str) -> bytes:
    """Return DER; of a TRUSTED CERTIFICATE the certificate, without OpenSSL's remarks on it."""
    if label != "TRUSTED CERTIFICATE":
        return der
    try:
        return _der.read_element(der).der
    except RemoteProtocolError:
        return der


# --- Choosing --------------------------------------------------------------------------------


def one_of(found: Textual, wanted: Kind | None) -> Block:
    """Return the one block of that kind, or of any; the same one repeated counts once.

    Parameters of keys are passed over. A lone block that nobody knows is taken for the wanted
    one, and left to its decoder. Raises RemoteProtocolError: "body/pem", which says what is there
    instead or that there are several, and the code of a block with a problem.
    """
    others = [block for block in found.blocks if block.kind is not Kind.PARAMETERS]
    candidates = [block for block in others if wanted in (None, block.kind)]
    if len(others) == 1 and others[0].kind is Kind.UNKNOWN:
        candidates = others
    if not candidates:
        raise RemoteProtocolError("body/pem", instead(found.blocks, wanted))
    block = candidates[0]
    if len({each.der for each in candidates}) > 1:
        name = "block" if wanted is None else wanted.value
        raise RemoteProtocolError("body/pem", _several(candidates, name))
    if block.problem:
        message = f"has a PEM block {block.label}{block.where} that {block.problem}"
        raise RemoteProtocolError(block.code, message)
    return block


def _several(blocks: list[Block], name: str) -> str:
    where = ", ".join(str(each.line or each.position) for each in blocks[:_SHOWN])
    unit = "lines" if blocks[0].line else "positions"
    return f"has {len(blocks)} {name}s ({unit} {where}), one is expected"


_SHOWN: Final = 4


def instead(blocks: Iterable[Block], wanted: Kind | None) -> str:
    """Return that there is nothing of the wanted kind, and what there is instead."""
    name = "block of use" if wanted is None else wanted.value
    kinds = [
        f"{named_kind(block.kind)}{block.where}"
        + f" in a block {block.label}" * (block.kind is Kind.UNKNOWN and bool(block.label))
        for block in blocks
    ]
    more = f" and {len(kinds) - _SHOWN} more" * (len(kinds) > _SHOWN)
    return f"has no {name}, but {', '.join(kinds[:_SHOWN])}{more}"
