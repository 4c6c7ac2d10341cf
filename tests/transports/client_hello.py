"""Reads a ClientHello of TLS or DTLS: the suites and the extensions that a client offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import iter_unpack
from typing import Final

SUPPORTED_GROUPS: Final = 10
_DTLS: Final = 0xFE
"""First octet of the version of every DTLS record."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers, by the numbers of IANA. `suites_at` is where the suites begin."""

    suites: tuple[int, ...]
    extensions: Mapping[int, bytes]
    suites_at: int

    @property
    def groups(self) -> tuple[int, ...]:
        """The supported groups. RFC 8422 5.1.1."""
        return tuple(each for (each,) in iter_unpack(">H", self.extensions[SUPPORTED_GROUPS][2:]))


def client_hello(record: bytes) -> ClientHello:
    """Return what the first record of a client says, in one fragment."""
    is_dtls = record[1] == _DTLS
    at = (13 + 12 if is_dtls else 5 + 4) + 2 + 32  # headers, version, random
    at += 1 + record[at]  # session ID
    if is_dtls:
        at += 1 + record[at]  # cookie
    size, start = _number(record, at), at + 2
    at = start + size
    at += 1 + record[at]  # compression
    end = at + 2 + _number(record, at)
    at, extensions = at + 2, {}
    while at < end:
        after = at + 4 + _number(record, at + 2)
        extensions[_number(record, at)] = record[at + 4 : after]
        at = after
    suites = tuple(_number(record, start + each) for each in range(0, size, 2))
    return ClientHello(suites, extensions, start)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
