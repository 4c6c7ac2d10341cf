"""Whether a client wants TLS-SRP, told from the first record that it sends. RFC 5054 2.3.

A client that does names a user in an extension and offers a suite of SRP without a certificate.
Everything else is for OpenSSL, broken hellos and those in several records among it. No state.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

SRP_SUITES: Final = frozenset({0xC01D, 0xC020})
"""TLS_SRP_SHA_WITH_AES_128_CBC_SHA and with AES_256. RFC 5054 2.7."""

_HEADER_BYTES: Final = 5  # of a record: type, version, length
_RECORD_BYTES: Final = 16 * 1024
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SRP_EXTENSION: Final = 12
_SESSION_AT: Final = 4 + 2 + 32  # handshake header, version, random


@unique
class Hello(Enum):
    """What the first bytes of a client turn out to be."""

    INCOMPLETE = "incomplete"
    """The record is not whole; more has to come."""
    SRP = "srp"
    """A ClientHello that wants TLS-SRP."""
    OTHER = "other"
    """Anything else."""


def judge_hello(received: bytes) -> Hello:
    """Return what a client wants by the bytes that came first. Needs a record at most."""
    if not received:
        return Hello.INCOMPLETE
    if received[0] != _HANDSHAKE:
        return Hello.OTHER
    if len(received) < _HEADER_BYTES:
        return Hello.INCOMPLETE
    length = int.from_bytes(received[3:_HEADER_BYTES], "big")
    if length > _RECORD_BYTES:
        return Hello.OTHER
    record = received[_HEADER_BYTES : _HEADER_BYTES + length]
    if len(record) < length:
        return Hello.INCOMPLETE
    return Hello.SRP if _wants_srp_untrusted(record) else Hello.OTHER


def _wants_srp_untrusted(message: bytes) -> bool:
    if len(message) <= _SESSION_AT or message[0] != _CLIENT_HELLO:
        return False
    at = _end(message, _SESSION_AT, 1)
    suites_end = _end(message, at, 2)
    offered = memoryview(message)[at + 2 : suites_end]
    pairs = zip(offered[::2], offered[1::2], strict=False)
    if not any((high << 8 | low) in SRP_SUITES for high, low in pairs):
        return False
    at = _end(message, suites_end, 1) + 2  # compression methods, length of the extensions
    while at + 4 <= len(message):
        if int.from_bytes(message[at : at + 2], "big") == _SRP_EXTENSION:
            return at + 5 < _end(message, at + 2, 2) <= len(message)  # a name of a byte or more
        at = _end(message, at + 2, 2)
    return False


def _end(raw: bytes, at: int, width: int) -> int:
    """Return where a vector ends whose length is told in so many bytes. RFC 5246 4.3."""
    return at + width + int.from_bytes(raw[at : at + width], "big")
