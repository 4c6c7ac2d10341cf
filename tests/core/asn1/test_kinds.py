"""What bytes and PEM labels are taken for, in the forms that older writers have too."""

from __future__ import annotations

import pytest
from hypothesis import given

from est_core.asn1.kinds import Kind, is_secret, kind_of, kind_of_label, named_kind, not_a
from tests.core.asn1.build import EC_KEY, certificate, oid, p256, request, seq, spki, tlv
from tests.damage import damaged
from tests.reached import reached, reaches

SIGNED_DATA = oid("1.2.840.113549.1.7.2")
DATA = oid("1.2.840.113549.1.7.1")
ALGORITHM = seq(oid("1.2.840.10045.4.3.2"))
BITS = tlv(3, b"\0")
ONE = tlv(2, b"\1")
UTC, GENERALIZED = tlv(0x17, b"260101000000Z"), tlv(0x18, b"20260101000000Z")
LONG_NULL = b"\5\x81\0"  # in BER alone


def signed(*parts: bytes) -> bytes:
    return seq(seq(*parts), ALGORITHM, BITS)


@pytest.mark.parametrize(
    "der, kind",
    [
        (certificate(), Kind.CERTIFICATE),
        (certificate(version=b""), Kind.CERTIFICATE),
        (signed(ONE, ALGORITHM, seq(), seq(), seq(), seq()), Kind.CERTIFICATE),
        (signed(ONE, ALGORITHM, seq(), seq(), seq()), Kind.UNKNOWN),
        (signed(tlv(0xA0, ONE), ONE), Kind.CERTIFICATE),
        (signed(tlv(0xA0, ONE), seq()), Kind.UNKNOWN),
        (signed(tlv(0xA1, ONE), ONE), Kind.UNKNOWN),
        (signed(*[seq()] * 7), Kind.UNKNOWN),
        (signed(tlv(0xA0, ONE), ONE, LONG_NULL), Kind.CERTIFICATE),
        (request(), Kind.REQUEST),
        (signed(ONE, seq(), spki(p256())), Kind.REQUEST),
        (signed(ONE, seq(), spki(p256()), tlv(0xA1)), Kind.UNKNOWN),
        (signed(ONE, ALGORITHM, seq(), UTC), Kind.CRL),
        (signed(ONE, ALGORITHM, seq(), GENERALIZED, UTC, seq(), seq()), Kind.CRL),
        (signed(ALGORITHM, seq(), UTC), Kind.CRL),
        (signed(ALGORITHM, seq(), GENERALIZED, UTC), Kind.CRL),
        (signed(ONE, ALGORITHM, seq(), seq(), UTC), Kind.UNKNOWN),
        (signed(ALGORITHM, seq(), seq(), UTC), Kind.UNKNOWN),
        (signed(ALGORITHM, seq()), Kind.UNKNOWN),
        (signed(tlv(4), ALGORITHM, seq(), UTC), Kind.UNKNOWN),
        (signed(), Kind.UNKNOWN),
        (seq(tlv(4), ALGORITHM, BITS), Kind.UNKNOWN),
    ],
)
def test_what_is_signed_is_told_by_what_it_begins_with(der: bytes, kind: Kind) -> None:
    assert kind_of(der) is kind


@pytest.mark.parametrize(
    "der, kind",
    [
        (seq(ONE, tlv(4, b"x")), Kind.PRIVATE_KEY),
        (seq(ONE, tlv(4, b"x"), tlv(0xA0, oid(EC_KEY)), tlv(0xA1, BITS)), Kind.PRIVATE_KEY),
        (seq(tlv(2, b"\0"), ALGORITHM, tlv(4, b"x")), Kind.PRIVATE_KEY),
        (seq(ONE, ALGORITHM, tlv(4, b"x"), tlv(0xA0), tlv(0x81)), Kind.PRIVATE_KEY),
        (seq(tlv(2, b"\3"), seq(DATA), seq()), Kind.PKCS12),
        (seq(tlv(2, b"\3"), seq(DATA)), Kind.PKCS12),
        (seq(tlv(2, b"\3"), seq(DATA), LONG_NULL), Kind.PKCS12),
        (seq(tlv(2, b"\2"), seq(DATA), seq()), Kind.UNKNOWN),
        (seq(tlv(2, b"\3"), tlv(0x31)), Kind.UNKNOWN),
        (seq(ONE), Kind.UNKNOWN),
        (seq(ONE, ONE), Kind.PUBLIC_KEY),
        (seq(ONE, ONE, ONE), Kind.UNKNOWN),
        (seq(*[ONE] * 6), Kind.PRIVATE_KEY),
        (seq(*[ONE] * 7), Kind.UNKNOWN),
        (seq(*[ONE] * 9), Kind.PRIVATE_KEY),
        (seq(*[ONE] * 10), Kind.UNKNOWN),
        (seq(ONE, BITS), Kind.UNKNOWN),
        (seq(*[ONE] * 8, BITS), Kind.UNKNOWN),
        (spki(p256()), Kind.PUBLIC_KEY),
        (seq(ALGORITHM, tlv(4, b"x")), Kind.ENCRYPTED_KEY),
        (seq(ALGORITHM, ONE), Kind.UNKNOWN),
    ],
)
def test_keys_and_their_files_are_told_by_the_members(der: bytes, kind: Kind) -> None:
    assert kind_of(der) is kind


@pytest.mark.parametrize(
    "der, kind",
    [
        (seq(SIGNED_DATA, tlv(0xA0)), Kind.SIGNED_DATA),
        (seq(DATA, tlv(0xA0)), Kind.OTHER_CMS),
        (seq(SIGNED_DATA), Kind.UNKNOWN),
        (seq(SIGNED_DATA, tlv(0xA1)), Kind.UNKNOWN),
        (b"\x30\x80" + SIGNED_DATA + b"\xa0\x80", Kind.SIGNED_DATA),
        (b"\x30\x80\2\1\3\x30\x80", Kind.PKCS12),
        (b"\x30\x80\4\1x", Kind.UNKNOWN),
        (tlv(0x31, ONE, ONE), Kind.UNKNOWN),
        (tlv(4, spki(p256())), Kind.UNKNOWN),
        (seq(), Kind.UNKNOWN),
        (seq(b"\2\5"), Kind.UNKNOWN),
        (b"\x30\x81\4" + LONG_NULL + b"\5", Kind.UNKNOWN),
        (seq(b"\x30\x80" + ONE + b"\0\0", BITS), Kind.PUBLIC_KEY),
        (seq(b"\x30\x80" + ONE + ALGORITHM, seq(), BITS), Kind.UNKNOWN),
        (seq(b"\x30\x80" + ONE + seq() * 2 + b"\0\0", seq(), BITS), Kind.REQUEST),
        (b"", Kind.UNKNOWN),
        (spki(p256()) + b"what follows", Kind.PUBLIC_KEY),
    ],
)
def test_messages_and_other_things_are_told_apart(der: bytes, kind: Kind) -> None:
    assert kind_of(der) is kind


@reaches(secret=10)
@given(
    damaged(
        (
            *(request(), certificate(), spki(p256()), seq(ALGORITHM, tlv(4, b"x"))),
            *(seq(ONE, tlv(4, b"x")), seq(tlv(2, b"\3"), seq(DATA)), b"\x30\x80\2\1\3\x30\x80"),
        ),
        changes=1,
    )
)
def test_what_is_secret_is_what_has_a_secret_kind(der: bytes) -> None:
    if is_secret(der):
        reached("secret")
    assert is_secret(der) is kind_of(der).is_secret


@pytest.mark.parametrize(
    "label, kind",
    [
        ("CERTIFICATE", Kind.CERTIFICATE),
        ("TRUSTED CERTIFICATE", Kind.CERTIFICATE),
        ("NEW CERTIFICATE REQUEST", Kind.REQUEST),
        ("X509 CRL", Kind.CRL),
        ("PKCS7", Kind.SIGNED_DATA),
        ("CMS", Kind.SIGNED_DATA),
        ("ENCRYPTED PRIVATE KEY", Kind.ENCRYPTED_KEY),
        ("OPENSSH PRIVATE KEY", Kind.OPENSSH_KEY),
        ("SSH2 PUBLIC KEY", Kind.SSH_PUBLIC_KEY),
        ("DSA PUBLIC KEY", Kind.PUBLIC_KEY),
        ("DSA PRIVATE KEY", Kind.PRIVATE_KEY),
        ("X9.42 DH PARAMETERS", Kind.PARAMETERS),
        ("LETTER", Kind.UNKNOWN),
    ],
)
def test_a_label_that_names_an_algorithm_is_known_by_its_end(label: str, kind: Kind) -> None:
    assert kind_of_label(label) is kind


@pytest.mark.parametrize(
    "kind, words",
    [
        (Kind.CERTIFICATE, "a certificate"),
        (Kind.ENCRYPTED_KEY, "an encrypted private key"),
        (Kind.OPENSSH_KEY, "an OpenSSH private key"),
        (Kind.SSH_PUBLIC_KEY, "an SSH public key"),
        (Kind.PARAMETERS, "parameters of a key"),
        (Kind.UNKNOWN, "something unknown"),
    ],
)
def test_a_kind_has_the_article_that_belongs_to_it(kind: Kind, words: str) -> None:
    assert named_kind(kind) == words


def test_what_came_instead_is_named_where_it_is_known() -> None:
    private = seq(ONE, tlv(4, b"x"))
    assert not_a(Kind.CERTIFICATE, private) == "not a certificate but a private key"
    for der in (certificate(), seq()):
        assert not_a(Kind.CERTIFICATE, der) == "not a well-formed certificate"
