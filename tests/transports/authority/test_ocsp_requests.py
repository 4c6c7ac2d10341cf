"""OCSP requests: what is asked, and whatever hostile peers may send instead."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from est_transports.authority.ocsp_requests import (
    MAX_NONCE_BYTES,
    MAX_REQUEST_BYTES,
    read_ocsp_request,
)
from tests.damage import damaged
from tests.reached import reached, reaches
from tests.transports.authority.ocsp_site import (
    asking,
    asking_of_serial,
    cert_id,
    make_ca,
    message,
    raw_nonce,
    tlv,
)

CA = make_ca().certificate
GOOD = asking(CA, CA, nonce=b"n" * 16)


def test_a_request_says_whose_status_it_asks_for() -> None:
    asked = read_ocsp_request(asking(CA, CA, hashes.SHA256(), nonce=b"nonce"))
    assert asked is not None
    assert asked.serial == CA.serial_number
    assert isinstance(asked.algorithm, hashes.SHA256)
    assert len(asked.issuer_name_hash) == len(asked.issuer_key_hash) == 32
    assert asked.nonce == x509.OCSPNonce(b"nonce")


def test_a_hash_that_is_not_known_is_no_error() -> None:
    asked = read_ocsp_request(message(cert_id(algorithm="300706052b0e030263")))
    assert asked is not None
    assert asked.algorithm is None


@pytest.mark.parametrize("size", [1, MAX_NONCE_BYTES])
def test_a_nonce_has_up_to_32_octets(size: int) -> None:
    asked = read_ocsp_request(message(cert_id(), extensions=raw_nonce(tlv(4, b"n" * size))))
    assert asked is not None
    assert asked.nonce == x509.OCSPNonce(b"n" * size)


NOT_ASKED = {
    "nothing": b"",
    "garbage": b"\xff" * 40,
    "another structure": tlv(0x30, tlv(2, b"\1")),
    "text": b"GET / HTTP/1.1",
    "a request and more": GOOD + b"\0",
    "the half of one": GOOD[:-9],
    "no id": message(),
    "two ids": message(cert_id(b"\1"), cert_id(b"\2")),
    "ten thousand ids": message(*[cert_id(b"\1")] * 900)[:MAX_REQUEST_BYTES],
    "64 KiB": asking(CA, CA).ljust(MAX_REQUEST_BYTES, b"\0"),
    "more than 64 KiB": message(cert_id(b"\1" * MAX_REQUEST_BYTES)),
    "a serial of 60,000 octets": message(cert_id(b"\1" * 60_000)),
    "a serial of 21 octets": message(cert_id(b"\1" * 21)),
    "a negative serial": message(cert_id(b"\xff")),
    "the serial 0": message(cert_id(b"\0")),
    "no serial": message(cert_id(b"")),
    "version 6": message(cert_id(), version=tlv(0xA0, tlv(2, b"\5"))),
    "an empty nonce": message(cert_id(), extensions=raw_nonce(tlv(4, b""))),
    "no nonce in it": message(cert_id(), extensions=raw_nonce(b"")),
    "a nonce of 33 octets": message(cert_id(), extensions=raw_nonce(tlv(4, b"n" * 33))),
    "a nonce of 60,000": message(cert_id(), extensions=raw_nonce(tlv(4, b"n" * 60_000))),
    "two nonces": message(cert_id(), extensions=raw_nonce(tlv(4, b"n")) * 2),
    "a critical extension": asking(
        CA, CA, critical=(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x"),)
    ),
    "deep nesting": b"\x30\x80" * 30_000,
}


@pytest.mark.parametrize("der", NOT_ASKED.values(), ids=NOT_ASKED)
def test_what_is_no_such_request_is_malformed(der: bytes) -> None:
    assert read_ocsp_request(der) is None


def test_ten_thousand_ids_are_refused() -> None:
    whole = message(*[cert_id(b"\1")] * 10_000)
    assert len(whole) > MAX_REQUEST_BYTES
    assert read_ocsp_request(whole) is None
    assert read_ocsp_request(message(*[cert_id(b"\1")] * 900)) is None  # within the bound


def test_serials_of_20_octets_are_read() -> None:
    serial = (1 << 159) - 1
    asked = read_ocsp_request(asking_of_serial(serial, CA))
    assert asked is not None
    assert asked.serial == serial


@reaches(read=5)
@given(st.data())
def test_a_damaged_request_is_read_or_malformed(data: st.DataObject) -> None:
    if read_ocsp_request(data.draw(damaged((GOOD,)))) is not None:
        reached("read")
