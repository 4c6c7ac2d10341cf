"""Values the whole core is made of: moments, errors, names, and what is told of bad ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    AuthChallenge,
    Authentication,
    Deny,
    Fault,
    Instant,
    Limits,
    LocalProtocolError,
    PolicyRow,
    Refused,
    RemoteProtocolError,
    Request,
    ServerPolicy,
    Verified,
)
from est_core._errors import ProtocolError, check_code
from est_core.asn1 import _der
from est_core.asn1.certificates import unreadable
from est_core.asn1.cms import read_bag, read_certificate
from est_core.asn1.distinguished_name import decode_name
from est_core.client.answers import failure_of
from tests.core.asn1.build import certificate, oid, seq, tlv
from tests.core.cast import csr_der, receive

WALL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LIMITS = Limits()


@pytest.mark.parametrize("mono", ["5", None, True, 5j])
def test_a_clock_that_shows_no_number_is_none(mono: object) -> None:
    with pytest.raises(LocalProtocolError, match="mono must be a number"):
        Instant(mono=mono, wall=WALL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wall, told",
    [
        (WALL.replace(tzinfo=None), "another"),
        (WALL.astimezone(timezone(timedelta(hours=1))), "another"),
        ("2026-01-02", "str"),
        (1767323045, "int"),
    ],
)
def test_a_date_that_is_not_in_utc_is_none(wall: object, told: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"in UTC, not {told}"):
        Instant(mono=0, wall=wall)  # type: ignore[arg-type]


def test_a_later_moment_is_later_on_both_clocks() -> None:
    later = Instant(mono=1, wall=WALL).after(5)
    assert (later.mono, later.wall) == (6, WALL + timedelta(seconds=5))


def test_only_the_two_kinds_of_protocol_error_are_raised() -> None:
    with pytest.raises(TypeError):
        ProtocolError("neither")


def test_a_parameter_of_a_challenge_is_found_by_its_name_in_any_case() -> None:
    challenge = AuthChallenge(scheme="Basic", parameters=(("Realm", "est"), ("charset", "UTF-8")))
    assert challenge.get("realm") == challenge.get("REALM") == "est"
    assert challenge.get("CharSet") == "UTF-8"
    assert challenge.get("nonce") is None


def test_an_error_says_its_message_however_it_was_given() -> None:
    assert str(LocalProtocolError(message="too late")) == "too late"
    error = RemoteProtocolError(code="csr/malformed", message="no", fault=Fault.MALFORMED)
    assert str(error) == "csr/malformed: no"
    assert error.args == ("no",)


@pytest.mark.parametrize("code", [5, None, "area", "Area/reason", "area/", "x" * 100])
def test_a_code_that_is_none_is_refused_and_shown_short(code: object) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        check_code(code)
    assert f"{str(code)[:64]!r} is none" in caught.value.message


def test_a_decision_out_of_turn_is_told_which_ones_are_not(now: Instant) -> None:
    policy = ServerPolicy(
        rows=(PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.OPEN),)
    )
    exchange = receive(Request(operation=SIMPLEENROLL, payload=csr_der()), now, policy=policy)
    exchange.next_event()
    with pytest.raises(LocalProtocolError) as caught:
        exchange.decide(Verified(user="u"))
    name, _, answers = caught.value.message.partition(" is no answer to EnrollRequested: ")
    assert name == "Verified"
    assert "Issue or " in answers
    assert "Verified" not in answers
    exchange.decide(Deny(code="x/y", reason="no"))
    exchange.next_event()
    with pytest.raises(LocalProtocolError, match="nothing is"):
        exchange.decide(Deny(code="x/y", reason="no"))


@pytest.mark.parametrize(
    "status, told",
    [
        (200, "no answer to this request"),
        (299, "no answer to this request"),
        (300, "a redirect"),
        (399, "a redirect"),
        (400, "gave no reason"),
        (199, "gave no reason"),
    ],
)
def test_a_refusal_without_a_text_is_told_by_the_class_of_its_status(
    status: int, told: str
) -> None:
    response = Refused(
        operation=CACERTS,
        fault=Fault.MALFORMED,
        code=f"response/status-{status}",
        status=status,
    )
    assert told in failure_of(response).message


# Names

CN = oid("2.5.4.3")


def decoded(der: bytes) -> x509.Name:
    return decode_name(_der.read_element(der), LIMITS, "the subject")


@pytest.mark.parametrize(
    "der, told",
    [
        (tlv(0x31, tlv(0x31, seq(CN, tlv(0x0C, b"a")))), "the subject is SET, not SEQUENCE"),
        (seq(tlv(0x31)), "the subject has an RDN without a part"),
        (seq(tlv(0x31, seq(CN))), "not a type and a value"),
    ],
)
def test_what_is_no_name_is_told_by_what_is_wrong(der: bytes, told: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decoded(der)
    assert caught.value.code == "csr/name"
    assert told in caught.value.message


def test_a_unique_identifier_is_kept_as_the_bits_it_is() -> None:
    der = seq(tlv(0x31, seq(oid("2.5.4.45"), tlv(3, b"\0ab"))))
    found = decoded(der)
    assert found.public_bytes() == der
    assert [part.oid.dotted_string for part in found] == ["2.5.4.45"]


def test_the_longest_common_name_and_a_longer_one_are_read() -> None:
    for size in (64, 65):
        der = seq(tlv(0x31, seq(CN, tlv(0x0C, b"a" * size))))
        (part,) = decoded(der)
        assert (part.oid.dotted_string, part.value) == ("2.5.4.3", "a" * size)


# Certificates


def test_a_block_without_bytes_is_told_by_its_line() -> None:
    assert unreadable(b"", 3, reason="no base64", line=7).text == (
        "certificate 3 (line 7): no base64"
    )


@pytest.mark.parametrize("size, told", [(125, "CN=" + "a" * 125), (126, "CN=" + "a" * 125 + "...")])
def test_the_subject_of_what_cannot_be_read_is_told_up_to_a_length(size: int, told: str) -> None:
    subject = seq(tlv(0x31, seq(CN, tlv(0x0C, b"a" * size))))
    fields = (tlv(2, b"\1"), seq(), seq(), seq(), subject)
    assert unreadable(seq(seq(*fields)), 1).subject == told


def test_the_outer_signature_algorithm_is_looked_at_too() -> None:
    good = certificate()
    last = good.rindex(seq(oid("1.2.840.10045.4.3.2")))
    size = len(seq(oid("1.2.840.10045.4.3.2")))
    outer = _der.read_element(good)
    content = good[outer.header_bytes : last] + seq(b"") + good[last + size :]
    assert unreadable(seq(content), 1).reason == "its signature algorithm is malformed"


def test_a_certificate_by_itself_has_a_limit() -> None:
    der = certificate()
    assert read_certificate(der, LIMITS, max_bytes=len(der)).serial_number == 1
    with pytest.raises(RemoteProtocolError) as caught:
        read_certificate(der, LIMITS, max_bytes=len(der) - 1)
    assert caught.value.code == "der/too-large"
    assert read_certificate(der, Limits(body_bytes=1)).serial_number == 1


def endless(tag: int, *parts: bytes) -> bytes:
    """An element of indefinite length."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


def test_every_level_of_a_bag_may_be_of_indefinite_length() -> None:
    der = certificate()
    signed_data = endless(
        0x30,
        tlv(2, b"\1"),
        endless(0x31),
        endless(0x30, oid("1.2.840.113549.1.7.1"), endless(0xA0, endless(0x24, tlv(4)))),
        endless(0xA0, der),
        endless(0x31),
    )
    bag = read_bag(endless(0x30, oid("1.2.840.113549.1.7.2"), endless(0xA0, signed_data)), LIMITS)
    assert [each.public_bytes(Encoding.DER) for each in bag.certificates] == [der]
