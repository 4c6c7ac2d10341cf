"""A ClientHello that we write, and the flight that answers it, read from whatever bytes come."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from est_transports.doctor.hello import (
    EXTENDED_MASTER_SECRET,
    FLIGHT_BYTES,
    TLS_1_2,
    USUAL_SUITES,
    Flight,
    FlightReader,
    NotTls,
    client_hello,
)
from tests.pki import pki
from tests.reached import reached, reaches

RANDOM: Final = bytes(range(32))


def hello(name: str = "est.example") -> bytes:
    """The one that a server is asked with."""
    return client_hello(RANDOM, USUAL_SUITES, server_name=name)


def flight_of_openssl(*, asks: bool = True) -> bytes:
    """What OpenSSL answers to it, in TLS 1.2."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(pki().server.certificate)
    context.use_privatekey(pki().server.key)  # type: ignore[arg-type]  # a P-256 key
    if asks:
        context.set_verify(SSL.VERIFY_PEER)
        context.add_client_ca(pki().ca.certificate)
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    connection.bio_write(hello())
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(1 << 16)


def message(kind: int, body: str) -> bytes:
    """A handshake message, of hexadecimal digits."""
    content = bytes.fromhex(body)
    return bytes([kind]) + len(content).to_bytes(3, "big") + content


HELLO: Final = "0303" + "aa" * 32 + "00" + "c02b" + "00" + "0009" + "00170000" + "ff01000100"
MESSAGES: Final = b"".join(
    (
        message(2, HELLO),
        message(11, "000005" + "000002" + "3000"),
        message(13, "0101" + "00020403" + "00060004" + "3002" + "3000"),
        message(14, ""),
    )
)
FLIGHT: Final = b"\x16\x03\x03" + len(MESSAGES).to_bytes(2, "big") + MESSAGES


def read(data: bytes) -> Flight | None:
    """What a reader makes of bytes that come at once."""
    return FlightReader().receive(data)


def test_the_flight_of_openssl_is_read() -> None:
    flight = read(flight_of_openssl())
    assert flight is not None
    assert flight.version == TLS_1_2
    assert flight.version_name == "TLS 1.2"
    assert flight.suite_name == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert EXTENDED_MASTER_SECRET in flight.extensions
    assert len(flight.certificates) == 1
    assert flight.has_request
    assert flight.ca_names == (pki().ca.name.public_bytes(),)
    assert flight.alert is None


def test_a_server_that_asks_for_no_certificate_is_told_apart() -> None:
    flight = read(flight_of_openssl(asks=False))
    assert flight is not None
    assert not flight.has_request


def test_it_is_the_same_byte_by_byte() -> None:
    data, reader = flight_of_openssl(), FlightReader()
    found = [reader.receive(data[at : at + 1]) for at in range(len(data))]
    assert found[:-1] == [None] * (len(data) - 1)
    assert found[-1] == read(data)


def test_a_flight_by_the_book_is_read() -> None:
    flight = read(FLIGHT)
    assert flight == Flight(
        version=TLS_1_2,
        suite=0xC02B,
        extensions=frozenset({23, 0xFF01}),
        certificates=(b"\x30\x00",),
        has_request=True,
        ca_names=(b"\x30\x02\x30\x00",),
    )


def test_an_alert_ends_it() -> None:
    flight = read(bytes.fromhex("1503030002 0246"))
    assert flight is not None
    assert flight.alert == 70


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "closed"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no TLS"),
        (bytes.fromhex("1603030004 0e000000"), "cannot be read"),
        (bytes.fromhex("160303000a 020000020303 0e000000"), "cannot be read"),
    ],
    ids=["nothing", "HTTP", "no ServerHello", "half a ServerHello"],
)
def test_what_is_no_handshake_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NotTls, match=reason):
        read(data)


def test_a_flight_without_end_is_refused() -> None:
    reader, record = FlightReader(), b"\x16\x03\x03\x40\x00" + b"\xff" * 0x4000
    for _ in range(FLIGHT_BYTES // len(record)):
        assert reader.receive(record) is None
    with pytest.raises(NotTls, match="more than"):
        reader.receive(record)


def test_a_name_is_sent_where_there_is_one() -> None:
    assert b"est.example" in hello()
    assert len(hello("")) < len(hello("x"))


@reaches(refused=10, read=10)
@given(st.integers(0, len(FLIGHT) - 1), st.binary(max_size=3))
def test_nothing_else_escapes(at: int, other: bytes) -> None:
    with suppress(NotTls):
        found = read(FLIGHT[:at] + other + FLIGHT[at + len(other) :])
        reached("read" if found is not None else "unfinished")
        return
    reached("refused")
