"""What can be told of a DTLS datagram from its record headers, without any state.

Most of what reaches an open UDP port is not for us. These are the cheap looks that come before
the expensive ones; OpenSSL judges what they let through. RFC 6347 4.1, 4.2.2.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_HEADER_BYTES: Final = 13  # type, version, epoch, sequence number, length
_SEQUENCE: Final = slice(5, 11)
_SEQUENCES: Final = 1 << 48
_CONTENT_TYPES: Final = frozenset({20, 21, 22, 23})
_VERSIONS: Final = frozenset({b"\xfe\xfd", b"\xfe\xff"})
"""DTLS 1.2, and 1.0 in the records of a ClientHello that offers 1.2. RFC 6347 4.1."""
_CLIENT_HELLO: Final = b"\x01"
_RANDOM_AT: Final = _HEADER_BYTES + 12 + 2  # handshake header, client_version
_RANDOM_BYTES: Final = 32

RECORD_BYTES: Final = 16 * 1024
"""The most plaintext that a record holds. RFC 6347 4.1."""
_MAX_FRAGMENT_LENGTH: Final = b"\0\1"
_FRAGMENT_BYTES: Final = MappingProxyType({b"\1": 512, b"\2": 1024, b"\3": 2048, b"\4": 4096})
"""The extension of a ClientHello that asks for less, and its values. RFC 6066 4."""


def is_dtls(datagram: bytes) -> bool:
    """True if a datagram begins with what can be a whole record of DTLS 1.2."""
    return (
        len(datagram) > _HEADER_BYTES
        and datagram[0] in _CONTENT_TYPES
        and datagram[1:3] in _VERSIONS
        and _record_end(datagram, 0) <= len(datagram)
    )


def client_random(datagram: bytes) -> bytes | None:
    """Return the random of the ClientHello that a datagram begins with, None if it has none.

    Only a hello of epoch 0 in one piece counts, for one in several could not be answered without
    state. The random is the client's name for its attempt: the hello that returns a cookie, and
    every repetition, must carry the same one. RFC 6347 4.2.1.
    """
    if not is_dtls(datagram) or _record_end(datagram, 0) < _RANDOM_AT + _RANDOM_BYTES:
        return None
    message = datagram[_HEADER_BYTES:]
    length, offset, fragment_length = message[1:4], message[6:9], message[9:12]
    in_one_piece = offset == b"\0\0\0" and fragment_length == length
    of_epoch_0 = datagram[0] == 22 and datagram[3:5] == b"\0\0"
    if not (of_epoch_0 and in_one_piece and message[:1] == _CLIENT_HELLO):
        return None
    return datagram[_RANDOM_AT : _RANDOM_AT + _RANDOM_BYTES]


def latest_hello(datagram: bytes, random: bytes) -> bytes:
    """Return the last ClientHello of a datagram, which begins with one of this random.

    A client whose timer runs out while the HelloVerifyRequest is on its way repeats the first hello
    before the one with the cookie, and both fit into one datagram. RFC 6347 4.2.4.
    """
    latest, start = datagram, 0
    while start < len(datagram):
        record = datagram[start : _record_end(datagram, start)]
        if client_random(record) == random:
            latest = record
        start += max(len(record), _HEADER_BYTES)
    return latest


def fragment_bytes(hello: bytes) -> int:
    """Return the most plaintext that either end of this client's association puts in a record.

    `hello` has a `client_random`. RECORD_BYTES where max_fragment_length is absent, or is none
    that OpenSSL would take. RFC 6066 4.
    """
    at = _RANDOM_AT + _RANDOM_BYTES
    for width in (1, 1, 2, 1):  # session id, cookie, cipher suites, compression methods
        at = _vector_end(hello, at, width)
    extensions = hello[at + 2 : _vector_end(hello, at, 2)]
    at = 0
    while at < len(extensions):
        end = _vector_end(extensions, at + 2, 2)
        if extensions[at : at + 2] == _MAX_FRAGMENT_LENGTH:
            return _FRAGMENT_BYTES.get(extensions[at + 4 : end], RECORD_BYTES)
        at = end
    return RECORD_BYTES


def sequence_number(datagram: bytes) -> int:
    """Return the number of the record that a datagram begins with, 0 if it begins with none."""
    return int.from_bytes(datagram[_SEQUENCE], "big")


def renumbered(records: bytes, by: int) -> bytes:
    """Return a run of whole records with the numbers of those of epoch 0 so much higher.

    Nothing protects them there; those of later epochs are part of what is authenticated.
    """
    if by == 0:
        return records
    changed, start = bytearray(records), 0
    while start < len(records):
        end = _record_end(records, start)
        if records[start + 3 : start + 5] == b"\0\0":
            number = (sequence_number(records[start:end]) + by) % _SEQUENCES
            changed[start + 5 : start + 11] = number.to_bytes(6, "big")
        start = end
    return bytes(changed)


def datagrams(records: bytes, mtu_bytes: int) -> tuple[bytes, ...]:
    """Pack a run of whole records into datagrams of at most `mtu_bytes`, in their order.

    A record larger than that has a datagram of its own. RFC 6347 4.1.1: no record may be split.
    """
    if 0 < len(records) <= mtu_bytes:
        return (records,)
    packed, start, end = [], 0, 0
    while end < len(records):
        record_end = _record_end(records, end)
        if record_end - start > mtu_bytes and end > start:
            packed.append(records[start:end])
            start = end
        end = record_end
    if end > start:
        packed.append(records[start:end])
    return tuple(packed)


def _record_end(records: bytes, start: int) -> int:
    return _vector_end(records, start + _HEADER_BYTES - 2, 2)


def _vector_end(raw: bytes, at: int, width: int) -> int:
    """Return where a vector ends whose length is told in so many bytes. RFC 5246 4.3."""
    return at + width + int.from_bytes(raw[at : at + width], "big")
