"""Reads a ClientHello of TLS or DTLS: the suites and the extensions that a client offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_DTLS: Final = 0xFE
"""First octet of the version of every DTLS record."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers, by the numbers of IANA. `suites_at` is where the suites begin."""

    suites: tuple[int, ...]
    extensions: frozenset[int]
    suites_at: int


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
    at, kinds = at + 2, set()
    while at < end:
        kinds.add(_number(record, at))
        at += 4 + _number(record, at + 2)
    suites = tuple(_number(record, start + each) for each in range(0, size, 2))
    return ClientHello(suites, frozenset(kinds), start)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
