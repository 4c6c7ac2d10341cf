"""Certs-only bags: one exact form is sent, and what the field sends is read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.cms import read_bag, read_certificate, read_certs_only, write_certs_only
from tests.core.asn1.build import name, oid, p256, seq, tlv, vector
from tests.damage import damaged
from tests.reached import reaches, refusals

LIMITS = Limits()
DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
VECTORS = [
    ("rfc7030/a1-cacerts-response.der", 4),
    ("rfc7030/a3-simpleenroll-response.der", 1),
    ("rfc7030/a4-serverkeygen-cert.der", 1),
    ("rfc9148/a1-cacerts-response.bin", 1),
    ("rfc9148/a2-sen-response.bin", 1),
    ("rfc9148/a3-skg-response-part2-pkcs7.bin", 1),
]


@cache
def certificate(number: int) -> x509.Certificate:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(f"device-{number}"))
        .issuer_name(name("CA"))
        .public_key(p256().public_key())
        .serial_number(number)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(p256(), hashes.SHA256())
    )


def der(number: int) -> bytes:
    return certificate(number).public_bytes(Encoding.DER)


EMPTY_SET = tlv(0x31)
ID_DATA = seq(oid(DATA))


def bag(
    *tail: bytes,
    version: int = 1,
    digests: bytes = EMPTY_SET,
    content: bytes = ID_DATA,
    signers: bytes = EMPTY_SET,
) -> bytes:
    signed = seq(tlv(2, bytes((version,))), digests, content, *tail, signers)
    return seq(oid(SIGNED_DATA), tlv(0xA0, signed))


ONE = tlv(0xA0, der(1))


def refusal(body: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        read_certs_only(body, limits)
    return caught.value.code


# --- Writing ---------------------------------------------------------------------------------


@pytest.mark.req("EST-117", "EST-148")
def test_a_bag_holds_its_certificates_and_nothing_else() -> None:
    assert write_certs_only([certificate(1)]) == bag(ONE)


@pytest.mark.req("EST-109")
def test_certificates_are_sorted_and_held_once_whatever_the_order() -> None:
    expected = bag(tlv(0xA0, *sorted(der(number) for number in (1, 2, 3))))
    for order in permutations((1, 2, 3)):
        some = [certificate(number) for number in order]
        assert write_certs_only([*some, some[0]]) == expected


def test_an_empty_bag_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        write_certs_only([])


def test_openssl_reads_a_bag(peer: Callable[[str], str], tmp_path: Path) -> None:
    file = tmp_path / "bag.der"
    file.write_bytes(write_certs_only([certificate(1), certificate(2)]))
    done = subprocess.run(
        [peer("openssl"), "pkcs7", "-inform", "DER", "-in", str(file), "-print_certs", "-noout"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "device-1" in done.stdout
    assert "device-2" in done.stdout


# --- Reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("file, count", VECTORS)
def test_published_bags_are_read_and_written_back_without_their_empty_crls(
    file: str, count: int
) -> None:
    found = read_certs_only(vector(file), LIMITS)
    assert len(found) == count
    written = write_certs_only(found)
    assert set(read_certs_only(written, LIMITS)) == set(found)
    assert b"\xa1\x00\x31\x00" in vector(file)
    assert b"\xa1\x00\x31\x00" not in written


@pytest.mark.req("EST-109")
def test_the_set_of_rfc_7030_a1_is_out_of_order_and_read_in_its_order() -> None:
    found = read_certs_only(vector("rfc7030/a1-cacerts-response.der"), LIMITS)
    names = [certificate.subject.rfc4514_string()[-3:] for certificate in found]
    assert names == ["OwO", "NwO", "OwN", "NwN"]


@pytest.mark.parametrize("version", [b"", b"\0\1", b"\xff\xff"])
def test_a_version_that_is_no_minimal_integer_is_refused(version: bytes) -> None:
    signed = seq(tlv(2, version), EMPTY_SET, ID_DATA, ONE, EMPTY_SET)
    assert refusal(seq(oid(SIGNED_DATA), tlv(0xA0, signed))) == "der/integer"


@pytest.mark.req("EST-131")
@pytest.mark.parametrize(
    "body",
    [
        bag(ONE, tlv(0xA1)),
        bag(ONE, tlv(0xA1, seq())),
        bag(ONE, digests=tlv(0x31, seq(oid("2.16.840.1.101.3.4.2.1")))),
        bag(ONE, version=3),
        bag(ONE, content=seq(oid(DATA), tlv(0xA0, tlv(4)))),
        bag(ONE, content=seq(oid(DATA), tlv(0xA0))),
        bag(tlv(0xA0, der(1), der(1))),
    ],
    ids=["empty-crls", "crls", "digests", "version-3", "empty-content", "no-content", "twice"],
)
def test_what_the_field_sends_is_read(body: bytes) -> None:
    assert read_certs_only(body, LIMITS) == (certificate(1),)


def indefinite(tag: int, *parts: bytes) -> bytes:
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


@pytest.mark.req("EST-109")
def test_a_bag_in_ber_is_read() -> None:
    content = indefinite(0x30, oid(DATA), indefinite(0xA0, indefinite(0x24, tlv(4), tlv(0x24))))
    signed = indefinite(
        0x30, tlv(2, b"\1"), EMPTY_SET, content, indefinite(0xA0, der(1), der(2)), EMPTY_SET
    )
    body = indefinite(0x30, oid(SIGNED_DATA), indefinite(0xA0, signed))
    assert read_certs_only(body, LIMITS) == (certificate(1), certificate(2))
    for end in range(len(body)):
        assert refusal(body[:end]).startswith("der/")


def test_pieces_of_no_content_may_be_in_ber() -> None:
    pieces = indefinite(0x24, indefinite(0x24, tlv(4), b"\4\x81\0"), b"\4\x82\0\0")
    body = bag(ONE, content=seq(oid(DATA), tlv(0xA0, pieces)))
    assert read_certs_only(body, LIMITS) == (certificate(1),)


@pytest.mark.parametrize(
    "odd",
    [indefinite(0x30, der(2)[4:]), indefinite(0x30, seq()), b"\x30\x83\0" + der(2)[2:]],
    ids=["indefinite", "no certificate", "long length"],
)
def test_a_certificate_in_ber_is_left_out_and_the_others_are_read(odd: bytes) -> None:
    found = read_bag(bag(tlv(0xA0, der(1), odd)), LIMITS)
    assert found.certificates == (certificate(1),)
    assert [(each.position, each.der) for each in found.left_out] == [(2, odd)]


BROKEN = tlv(0x30, b"\x30\5")


def test_a_bag_in_ber_keeps_the_others_of_one_that_is_broken_inside() -> None:
    signed = indefinite(
        0x30, tlv(2, b"\1"), EMPTY_SET, ID_DATA, indefinite(0xA0, BROKEN, der(1)), EMPTY_SET
    )
    found = read_bag(indefinite(0x30, oid(SIGNED_DATA), indefinite(0xA0, signed)), LIMITS)
    assert found.certificates == (certificate(1),)
    assert [each.der for each in found.left_out] == [BROKEN]


def test_one_that_is_broken_inside_moves_no_limit() -> None:
    body = bag(tlv(0xA0, BROKEN, der(1)))
    found = read_bag(body, Limits(certificates=2), max_bytes=len(body))
    assert len(found.certificates) == len(found.left_out) == 1
    with pytest.raises(RemoteProtocolError, match="der/too-large"):
        read_bag(body, LIMITS, max_bytes=len(body) - 1)


def test_lengths_may_be_longer_than_needed_in_ber() -> None:
    assert read_certs_only(bag(ONE, signers=b"\x31\x83\0\0\0"), LIMITS) == (certificate(1),)


SIGNED = seq(tlv(2, b"\1"), EMPTY_SET, ID_DATA, tlv(0xA0, der(1)), EMPTY_SET)
UNSUPPORTED = der(1).replace(oid("1.2.840.10045.3.1.7"), oid("1.2.840.10045.3.1.9"))


@pytest.mark.parametrize(
    "body, code",
    [
        (seq(), "cms/malformed"),
        (tlv(0x31), "cms/malformed"),
        (seq(oid(DATA), tlv(0xA0, tlv(4))), "cms/malformed"),
        (seq(oid(SIGNED_DATA), tlv(0xA0)), "cms/malformed"),
        (seq(oid(DATA), tlv(0xA0, SIGNED)), "cms/malformed"),
        (tlv(0x31, oid(SIGNED_DATA), tlv(0xA0, SIGNED)), "cms/malformed"),
        (seq(oid(SIGNED_DATA), tlv(0xA0, b"\x31" + SIGNED[1:])), "cms/malformed"),
        (seq(oid(SIGNED_DATA), tlv(0xA0, SIGNED, SIGNED)), "cms/malformed"),
        (seq(oid(SIGNED_DATA), tlv(0xA0, EMPTY_SET)), "cms/malformed"),
        (seq(oid(SIGNED_DATA), tlv(0xA0, seq())), "cms/malformed"),
        (bag(ONE, version=2), "cms/malformed"),
        (bag(ONE, ONE), "cms/malformed"),
        (bag(tlv(0xA1), ONE), "cms/malformed"),
        (bag(ONE, tlv(4)), "cms/malformed"),
        (bag(ONE, content=seq()), "cms/malformed"),
        (bag(ONE, content=tlv(0x31, oid(DATA))), "cms/malformed"),
        (bag(ONE, content=seq(tlv(6, b"\x80"))), "der/oid"),
        (bag(ONE, digests=tlv(0xA0)), "cms/malformed"),
        (bag(tlv(0xA1, seq())), "cms/no-certificates"),
        (bag(tlv(0xA1, b"\x30\5")), "der/truncated"),
        (bag(ONE, signers=tlv(0x31, indefinite(0x30))), "cms/signed"),
        (bag(ONE, signers=seq()), "cms/malformed"),
        (bag(ONE, content=seq(oid(DATA), tlv(0xA0, tlv(4, b"x")))), "cms/content"),
        (bag(ONE, content=seq(oid(DATA), tlv(0xA0, seq()))), "cms/content"),
        (bag(ONE, content=seq(oid(DATA), tlv(0xA0, tlv(0x24, tlv(4, b"x"))))), "cms/content"),
        (bag(ONE, signers=tlv(0x31, seq())), "cms/signed"),
        (bag(), "cms/no-certificates"),
        (bag(tlv(0xA0)), "cms/no-certificates"),
        (bag(tlv(0xA0, der(1), seq())), "cms/bad-certificate"),
        (bag(tlv(0xA0, tlv(0xA1, der(1)))), "cms/bad-certificate"),
        (bag(tlv(0xA0, UNSUPPORTED)), "cms/bad-certificate"),
        (bag(ONE) + b"\0", "der/trailing-bytes"),
        (b"", "der/empty"),
    ],
)
def test_each_rule_of_bags_has_its_refusal(body: bytes, code: str) -> None:
    assert refusal(body) == code


def test_what_is_counted_is_bounded() -> None:
    body = bag(tlv(0xA0, *(der(number) for number in range(1, 5))))
    assert len(read_certs_only(body, Limits(certificates=4))) == 4
    assert refusal(body, Limits(certificates=3)) == "cms/too-many-certificates"
    assert refusal(body, Limits(response_body_bytes=len(body) - 1)) == "der/too-large"
    with pytest.raises(RemoteProtocolError):
        read_certs_only(body, LIMITS, max_bytes=len(body) - 1)


def test_every_truncation_is_refused() -> None:
    body = bag(ONE)
    for end in range(len(body)):
        assert refusal(body[:end]).startswith("der/")


@reaches(read=12, accepted=3)
@given(body=damaged((bag(ONE), vector("rfc7030/a1-cacerts-response.der"))))
def test_only_our_error_escapes_for_a_damaged_bag(body: bytes) -> None:
    with refusals("der/"):
        read_certs_only(body, LIMITS)


@reaches(read=7, accepted=1)
@given(
    certificates=damaged((ONE, ONE, tlv(0xA0), tlv(0xA0, der(1), der(2))), 1),
    content=damaged((ID_DATA,), 1),
    signers=damaged((EMPTY_SET,), 1),
)
def test_only_our_error_escapes_where_one_part_is_not_what_it_should_be(
    certificates: bytes, content: bytes, signers: bytes
) -> None:
    with refusals("der/"):
        read_certs_only(bag(certificates, content=content, signers=signers), LIMITS)


@given(numbers=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_bags_round_trip(numbers: list[int]) -> None:
    some = [certificate(number) for number in numbers]
    assert set(read_certs_only(write_certs_only(some), LIMITS)) == set(some)


# One certificate by itself


def test_a_bare_certificate_is_read() -> None:
    assert read_certificate(der(1), LIMITS) == certificate(1)


def test_a_bare_certificate_is_one_certificate_and_within_the_limit() -> None:
    for bad, code in (
        (b"", "der/empty"),
        (der(1) + b"\0", "der/trailing-bytes"),
        (der(1) + der(2), "der/trailing-bytes"),
        (write_certs_only([certificate(1)]), "cms/bad-certificate"),
        (seq(), "cms/bad-certificate"),
    ):
        with pytest.raises(RemoteProtocolError) as refusal:
            read_certificate(bad, LIMITS)
        assert refusal.value.code == code
    with pytest.raises(RemoteProtocolError, match="der/too-large"):
        read_certificate(der(1), LIMITS, max_bytes=len(der(1)) - 1)


def test_no_beginning_of_a_certificate_is_one() -> None:
    for size in range(len(der(1))):
        with pytest.raises(RemoteProtocolError):
            read_certificate(der(1)[:size], LIMITS)
