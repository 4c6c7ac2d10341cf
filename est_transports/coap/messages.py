"""CoAP messages as values: the header, the options EST needs, and their bytes (RFC 7252 3).

One strict reader with every bound in it. What an option may hold is a row of OPTIONS; anything
else about it that is not as its row says makes it an unknown option, as RFC 7252 5.4.3 and 5.4.5
want it: ignored where it is elective, the first critical one noted in `Options.unknown_critical`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Any, Final

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.values import unchecked_value_class
from est_core.wires.coapmap import RequestHead, ResponseHead
from est_transports.coap.limits import BLOCK_SIZES, CoapLimits

_HEADER_BYTES: Final = 4
_TOKEN_BYTES_MAX: Final = 8
_PAYLOAD_MARKER: Final = 0xFF
_BLOCK_NUMBER_MAX: Final = (1 << 20) - 1
SZX_RESERVED: Final = 7


@unique
class Kind(IntEnum):
    """The type of a message, as its two bits. RFC 7252 4.2, 4.3."""

    CON = 0
    NON = 1
    ACK = 2
    RST = 3


@dataclass(frozen=True, slots=True)
class Block:
    """Value of a Block option: `number` of the block, whether `more` follow, its size as SZX.

    `szx` 7 is reserved and has no size. RFC 7959 2.2.
    """

    number: int
    more: bool
    szx: int

    def __post_init__(self) -> None:
        if not 0 <= self.number <= _BLOCK_NUMBER_MAX:
            raise LocalProtocolError("block number out of range")
        if not 0 <= self.szx <= SZX_RESERVED:
            raise LocalProtocolError("block size out of range")

    @classmethod
    def at(cls, offset: int, *, more: bool, szx: int) -> Block:
        """Return the block that starts at `offset`, a multiple of its size, in bytes."""
        return cls(offset >> (szx + 4), more, szx)

    @property
    def size(self) -> int:
        """Bytes in a block that is not the last."""
        return BLOCK_SIZES[self.szx]

    @property
    def offset(self) -> int:
        """Where in the body the block starts, in bytes."""
        return self.number << (self.szx + 4)


@unchecked_value_class
class Options:
    """The options of one message that are understood here; None or empty where absent.

    `unknown_critical` is the number of the first critical option that is not understood, has a
    wrong length or is one too many; it is never written.
    """

    if_match: tuple[bytes, ...] = ()
    host: str | None = None
    etag: bytes | None = None
    if_none_match: bool = False
    port: int | None = None
    path: tuple[str, ...] = ()
    content_format: int | None = None
    max_age: int | None = None
    query: tuple[str, ...] = ()
    accept: int | None = None
    block2: Block | None = None
    block1: Block | None = None
    size2: int | None = None
    proxy_uri: str | None = None
    proxy_scheme: str | None = None
    size1: int | None = None
    request_tags: tuple[bytes, ...] = ()
    unknown_critical: int | None = None


@unchecked_value_class
class Message:
    """One message. `code` is the byte on the wire; an empty message has code 0 and nothing else.

    `is_oversized`: it was longer than `CoapLimits.datagram_bytes`, and only header and token
    were read.
    """

    kind: Kind
    code: int = 0
    message_id: int
    token: bytes = b""
    options: Options = field(default_factory=Options)
    payload: bytes = field(default=b"", repr=False)
    is_oversized: bool = False

    @property
    def is_empty(self) -> bool:
        """True for code 0.00."""
        return self.code == 0

    @property
    def is_request(self) -> bool:
        """True for the codes 0.01 to 0.31."""
        return 0 < self.code < 0x20

    @property
    def is_response(self) -> bool:
        """True for the classes 2 to 5; 1, 6 and 7 are reserved."""
        return 2 <= self.code >> 5 <= 5


def dotted(code: int) -> str:
    """Return a code as people write it, such as 4.08."""
    return f"{code >> 5}.{code & 0x1F:02}"


def _read_uint(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _write_uint(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _read_text(raw: bytes) -> str:
    return raw.decode("utf-8")


def _write_text(value: str) -> bytes:
    return value.encode("utf-8")


def _as_it_is(raw: bytes) -> bytes:
    return raw


def _read_presence(_raw: bytes) -> bool:
    return True


def _write_presence(_value: bool) -> bytes:
    return b""


def _read_block(raw: bytes) -> Block:
    value = _read_uint(raw)
    return Block(value >> 4, bool(value & 8), value & 7)


def _write_block(value: Block) -> bytes:
    return _write_uint(value.number << 4 | value.more << 3 | value.szx)


_UINT: Final = (_read_uint, _write_uint)
_TEXT: Final = (_read_text, _write_text)
_OPAQUE: Final = (_as_it_is, _as_it_is)
_PRESENCE: Final = (_read_presence, _write_presence)
_BLOCK: Final = (_read_block, _write_block)


@dataclass(frozen=True, slots=True)
class OptionRow:
    """What one option may hold: its name in Options, the shortest and the longest value."""

    name: str
    format: tuple[Callable[[bytes], object], Callable[[Any], bytes]]
    min_bytes: int
    max_bytes: int
    repeatable: bool = False


OPTIONS: Final[dict[int, OptionRow]] = {  # RFC 7252 5.10, RFC 7959 2.1 and 4, RFC 9175 3.2
    1: OptionRow("if_match", _OPAQUE, 0, 8, repeatable=True),
    3: OptionRow("host", _TEXT, 1, 255),
    4: OptionRow("etag", _OPAQUE, 1, 8),
    5: OptionRow("if_none_match", _PRESENCE, 0, 0),
    7: OptionRow("port", _UINT, 0, 2),
    11: OptionRow("path", _TEXT, 0, 255, repeatable=True),
    12: OptionRow("content_format", _UINT, 0, 2),
    14: OptionRow("max_age", _UINT, 0, 4),
    15: OptionRow("query", _TEXT, 0, 255, repeatable=True),
    17: OptionRow("accept", _UINT, 0, 2),
    23: OptionRow("block2", _BLOCK, 0, 3),
    27: OptionRow("block1", _BLOCK, 0, 3),
    28: OptionRow("size2", _UINT, 0, 4),
    35: OptionRow("proxy_uri", _TEXT, 1, 1034),
    39: OptionRow("proxy_scheme", _TEXT, 1, 255),
    60: OptionRow("size1", _UINT, 0, 4),
    292: OptionRow("request_tags", _OPAQUE, 0, 8, repeatable=True),
}
"""By option number, in rising order."""


def request_options(head: RequestHead) -> Options:
    """Return the options of a request's head."""
    return Options(
        host=head.host,
        port=head.port,
        path=head.path,
        query=head.query,
        content_format=head.content_format,
        accept=head.accept,
    )


def request_head(message: Message) -> RequestHead:
    """Return what a request says of itself, its blocks left out."""
    options = message.options
    return RequestHead(
        code=message.code,
        path=options.path,
        query=options.query,
        content_format=options.content_format,
        accept=options.accept,
        host=options.host,
        port=options.port,
    )


def response_options(head: ResponseHead) -> Options:
    """Return the options of a response's head."""
    return Options(content_format=head.content_format, max_age=head.max_age, size1=head.size1_bytes)


def response_head(message: Message) -> ResponseHead:
    """Return what a response says of itself, its blocks left out."""
    options = message.options
    return ResponseHead(
        code=message.code,
        content_format=options.content_format,
        max_age=options.max_age,
        size1_bytes=options.size1,
    )


def read_header_untrusted(datagram: bytes) -> Message | None:
    """Return kind, code and message ID alone; None for what is no CoAP and is to be ignored.

    That is a datagram of less than four bytes, or of another version. RFC 7252 3.
    """
    if len(datagram) < _HEADER_BYTES or datagram[0] >> 6 != 1:
        return None
    message_id = int.from_bytes(datagram[2:4], "big")
    return Message(kind=Kind(datagram[0] >> 4 & 3), code=datagram[1], message_id=message_id)


def decode_untrusted(datagram: bytes, header: Message, *, limits: CoapLimits) -> Message:
    """Return the message whose header was read already.

    Raises RemoteProtocolError("coap/malformed") for a message format error in the sense of
    RFC 7252 3 and 4.1, and for more than `limits.options` options.
    """
    token_end = _HEADER_BYTES + (datagram[0] & 0x0F)
    if token_end > _HEADER_BYTES + _TOKEN_BYTES_MAX or token_end > len(datagram):
        raise _malformed("token")
    if header.is_empty and len(datagram) > _HEADER_BYTES:
        raise _malformed("empty message that is not empty")
    token = datagram[_HEADER_BYTES:token_end]
    if len(datagram) > limits.datagram_bytes:
        options, payload, is_oversized = Options(), b"", True
    else:
        values, payload = _split_untrusted(datagram, token_end, options_max=limits.options)
        options, is_oversized = _read_options(values), False
    return Message(
        kind=header.kind,
        code=header.code,
        message_id=header.message_id,
        token=token,
        options=options,
        payload=payload,
        is_oversized=is_oversized,
    )


def encode(message: Message) -> bytes:
    """Return the message as bytes.

    Raises LocalProtocolError for an option that its row does not allow, or a token over 8 bytes.
    """
    if len(message.token) > _TOKEN_BYTES_MAX:
        raise LocalProtocolError("a token has at most 8 bytes")
    first = 1 << 6 | message.kind << 4 | len(message.token)
    header = bytes((first, message.code)) + message.message_id.to_bytes(2, "big")
    data = bytearray(header + message.token)
    previous = 0
    for number, row in OPTIONS.items():
        for raw in _write_values(row, message.options):
            delta, delta_more = _nibble(number - previous)
            length, length_more = _nibble(len(raw))
            data += bytes((delta << 4 | length,)) + delta_more + length_more + raw
            previous = number
    if message.payload:
        data.append(_PAYLOAD_MARKER)
        data += message.payload
    return bytes(data)


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("coap/malformed", f"malformed message: {what}")


def _split_untrusted(
    data: bytes, position: int, *, options_max: int
) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the options as numbers and values, and the payload."""
    values: list[tuple[int, bytes]] = []
    number = 0
    while position < len(data):
        first = data[position]
        position += 1
        if first == _PAYLOAD_MARKER:
            if position == len(data):
                raise _malformed("payload marker without a payload")
            return values, data[position:]
        delta, position = _extended(data, position, first >> 4)
        length, position = _extended(data, position, first & 0x0F)
        number += delta
        end = position + length
        if end > len(data):
            raise _malformed("option that ends too early")
        if number > 0xFFFF or len(values) == options_max:
            raise _malformed("too many options")
        values.append((number, data[position:end]))
        position = end
    return values, b""


def _extended(data: bytes, position: int, nibble: int) -> tuple[int, int]:
    """Return an option's delta or length, and where the rest starts. RFC 7252 3.1."""
    if nibble < 13:
        return nibble, position
    if nibble == 15:
        raise _malformed("option header")
    size, base = (1, 13) if nibble == 13 else (2, 269)
    end = position + size  # beyond the data where they are cut, and so the option's end is too
    return int.from_bytes(data[position:end], "big") + base, end


def _nibble(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes((value - 13,))
    return 14, (value - 269).to_bytes(2, "big")


def _read_options(values: list[tuple[int, bytes]]) -> Options:
    read: dict[str, Any] = {}
    unknown_critical = None
    for number, raw in values:
        row = OPTIONS.get(number)
        is_known = row is not None and _take(row, raw, read)
        if not is_known and number & 1 and unknown_critical is None:
            unknown_critical = number
    return Options(unknown_critical=unknown_critical, **read)


def _take(row: OptionRow, raw: bytes, read: dict[str, Any]) -> bool:
    """Note one occurrence of an option; False if it is to be treated as unknown."""
    if not row.min_bytes <= len(raw) <= row.max_bytes:
        return False
    try:
        value = row.format[0](raw)
    except UnicodeDecodeError:
        return False
    if row.repeatable:
        read[row.name] = (*read.get(row.name, ()), value)
    elif row.name in read:
        return False
    else:
        read[row.name] = value
    return True


def _write_values(row: OptionRow, options: Options) -> tuple[bytes, ...]:
    value = getattr(options, row.name)
    if value is None or value is False:
        return ()
    try:
        written = tuple(row.format[1](each) for each in (value if row.repeatable else (value,)))
    except (OverflowError, UnicodeEncodeError) as exc:
        raise LocalProtocolError(f"{row.name} cannot be written into an option") from exc
    if any(not row.min_bytes <= len(raw) <= row.max_bytes for raw in written):
        raise LocalProtocolError(f"{row.name} cannot be written into an option")
    return written
