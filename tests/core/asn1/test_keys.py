"""Facts of public keys, and which algorithm they sign with."""

from __future__ import annotations

from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.keys import (
    SIGNATURE_ALGORITHMS,
    PublicKeyFacts,
    key_digest,
    public_key_facts,
    signature_algorithm,
    signature_algorithm_for,
    spki_of,
)
from tests.core.asn1.build import EC_KEY, P256, RSA_KEY, oid, p256, rsa2048, seq, spki, tlv
from tests.reached import reaches, refusals

LIMITS = Limits()
DER, SPKI = Encoding.DER, PublicFormat.SubjectPublicKeyInfo

KEYS = {
    "EC P-256": spki(p256()),
    "EC P-384": ec.derive_private_key(7, ec.SECP384R1()).public_key().public_bytes(DER, SPKI),
    "EC P-521": ec.derive_private_key(7, ec.SECP521R1()).public_key().public_bytes(DER, SPKI),
    "EC brainpoolP256r1": (
        ec.derive_private_key(7, ec.BrainpoolP256R1()).public_key().public_bytes(DER, SPKI)
    ),
    "RSA 2048": spki(rsa2048()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(DER, SPKI),
    "Ed448": ed448.Ed448PrivateKey.generate().public_key().public_bytes(DER, SPKI),
    "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate().public_key().public_bytes(DER, SPKI),
}
X25519 = x25519.X25519PrivateKey.generate().public_key().public_bytes(DER, SPKI)
CURVES = {
    P256: p256(),
    "1.3.132.0.34": ec.derive_private_key(7, ec.SECP384R1()),
    "1.3.132.0.35": ec.derive_private_key(7, ec.SECP521R1()),
    "1.3.132.0.33": ec.derive_private_key(7, ec.SECP224R1()),
}
DEFAULT_ALGORITHM = {
    "EC P-256": "ecdsa-with-SHA256",
    "EC P-384": "ecdsa-with-SHA384",
    "EC P-521": "ecdsa-with-SHA512",
    "EC brainpoolP256r1": "ecdsa-with-SHA256",
    "RSA 2048": "sha256WithRSAEncryption",
    "Ed25519": "Ed25519",
    "Ed448": "Ed448",
    "ML-DSA-65": "ML-DSA-65",
}


def refusal(der: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        public_key_facts(der, limits)
    return caught.value.code


def message(der: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        public_key_facts(der, LIMITS)
    return caught.value.message


def rsa_spki(modulus: int, exponent: int) -> bytes:
    def number(value: int) -> bytes:
        return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))

    key = seq(number(modulus), number(exponent))
    return seq(seq(oid(RSA_KEY), b"\x05\x00"), tlv(3, b"\0" + key))


@pytest.mark.parametrize("name", KEYS)
def test_every_kind_of_key_is_named(name: str) -> None:
    facts = public_key_facts(KEYS[name], LIMITS)
    assert facts.name == name
    assert facts.spki == KEYS[name]


@pytest.mark.parametrize("spki_der", [*KEYS.values(), X25519], ids=[*KEYS, "X25519"])
def test_a_key_is_named_in_certificates_by_the_digest_of_its_octets(spki_der: bytes) -> None:
    key = cast(CertificatePublicKeyTypes, load_der_public_key(spki_der))
    assert key_digest(spki_der) == x509.SubjectKeyIdentifier.from_public_key(key).digest


def test_bits_and_curve_are_those_of_the_key() -> None:
    facts = public_key_facts(KEYS["EC P-256"], LIMITS)
    assert (facts.algorithm, facts.curve, facts.bits) == (EC_KEY, P256, 256)
    facts = public_key_facts(KEYS["RSA 2048"], LIMITS)
    assert (facts.algorithm, facts.curve, facts.bits) == (RSA_KEY, None, 2048)


@pytest.mark.parametrize("name", DEFAULT_ALGORITHM)
def test_each_key_has_its_usual_algorithm(name: str) -> None:
    assert (
        signature_algorithm_for(public_key_facts(KEYS[name], LIMITS)).name
        == (DEFAULT_ALGORITHM[name])
    )


@pytest.mark.parametrize("name", ["EC P-256", "EC P-384", "RSA 2048"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_a_digest_may_be_chosen_where_the_key_takes_one(name: str, digest: str) -> None:
    assert signature_algorithm_for(public_key_facts(KEYS[name], LIMITS), digest).digest == digest


@pytest.mark.parametrize(
    "bits, digest",
    [(256, "sha256"), (257, "sha384"), (384, "sha384"), (385, "sha512"), (521, "sha512")],
)
def test_the_digest_is_as_long_as_the_curve_asks_for(bits: int, digest: str) -> None:
    facts = PublicKeyFacts(algorithm=EC_KEY, name="EC", bits=bits, spki=b"")
    assert signature_algorithm_for(facts).digest == digest


@pytest.mark.parametrize(
    "name, digest", [("EC P-256", "sha1"), ("RSA 2048", "md5"), ("Ed25519", "sha256")]
)
def test_a_digest_that_does_not_fit_is_the_callers_mistake(name: str, digest: str) -> None:
    facts = public_key_facts(KEYS[name], LIMITS)
    with pytest.raises(LocalProtocolError):
        signature_algorithm_for(facts, digest)


def test_algorithms_are_found_by_identifier_and_begin_with_it() -> None:
    for row in SIGNATURE_ALGORITHMS:
        assert signature_algorithm(row.oid) is row
        assert row.identifier[2:].startswith(oid(row.oid))
    assert signature_algorithm("1.2.840.113549.1.1.5") is None


@pytest.mark.parametrize(
    "key",
    [
        x25519.X25519PrivateKey.generate().public_key().public_bytes(DER, SPKI),
        seq(seq(oid("1.2.840.10040.4.1")), tlv(3, b"\0\x02\x01\x05")),
        rsa2048().public_key().public_bytes(DER, PublicFormat.PKCS1),
        KEYS["EC P-256"][:-1] + bytes((KEYS["EC P-256"][-1] ^ 1,)),
        seq(seq(oid(EC_KEY), b"\x05\x00"), tlv(3, b"\0\x04" + bytes(64))),
        seq(seq(oid(EC_KEY)), tlv(3, b"\0\x04" + bytes(64))),
        seq(seq(oid(EC_KEY), oid("2.999")), tlv(3, b"\0\x04" + bytes(64))),
        seq(seq(), tlv(3, b"\0")),
        seq(),
        tlv(2, b"\1"),
    ],
    ids=[
        "x25519",
        "dsa",
        "pkcs1",
        "off-curve",
        "implicit-curve",
        "no-curve",
        "odd-curve",
        "no-algorithm",
        "empty",
        "integer",
    ],
)
@pytest.mark.req("EST-294", "CMC-080")
def test_what_is_no_key_of_ours_is_refused(key: bytes) -> None:
    assert refusal(key) == "key/unsupported"


@pytest.mark.req("EST-294", "CMC-080")
@pytest.mark.parametrize(
    "modulus, exponent, code",
    [
        (2**2047 + 1, 3, "key/weak"),
        (2**2047 + 1, 65535, "key/weak"),
        (2**2047 + 1, 65536, "key/weak"),
        (2**2047 + 1, 2**256 + 1, "key/weak"),
        (2**2047 + 1, 65540, "key/weak"),
        (2**2047, 65537, "key/weak"),
        (0, 65537, "key/weak"),
    ],
)
def test_weak_rsa_numbers_are_refused(modulus: int, exponent: int, code: str) -> None:
    assert refusal(rsa_spki(modulus, exponent)) == code


def test_a_modulus_without_its_zero_octet_is_called_negative() -> None:
    octets = (2**2048 - 1).to_bytes(256, "big")
    spki = rsa_spki(int.from_bytes(octets, "big", signed=True), 65537)
    with pytest.raises(RemoteProtocolError, match="modulus is a negative INTEGER"):
        public_key_facts(spki, LIMITS)


def test_a_modulus_beyond_any_use_is_refused() -> None:
    assert public_key_facts(rsa_spki(2**16383 + 1, 65537), LIMITS).bits == 16384
    assert refusal(rsa_spki(2**16384 + 1, 65537)) == "key/unsupported"


@pytest.mark.parametrize(
    "exponent, words",
    [
        (3, "exponent is 3,"),
        (2**64 - 2, f"exponent is {2**64 - 2},"),
        (2**64, "exponent is of 65 bits,"),
    ],
)
def test_an_exponent_is_repeated_where_it_is_short(exponent: int, words: str) -> None:
    assert words in message(rsa_spki(2**2047 + 1, exponent))


ED25519 = oid("1.3.101.112")


@pytest.mark.parametrize(
    "der, words",
    [
        (KEYS["EC P-256"][:-1] + bytes((KEYS["EC P-256"][-1] ^ 1,)), "65 bytes is no point of"),
        (seq(seq(ED25519, tlv(5)), tlv(3, bytes(33))), "Ed25519 (1.3.101.112) has parameters"),
        (seq(seq(ED25519), tlv(3, bytes(32))), "Ed25519 (1.3.101.112), 31 bytes, cannot be read"),
        (
            seq(
                seq(oid(RSA_KEY), oid(P256)), tlv(3, b"\0" + seq(tlv(2, b"\3"), tlv(2, b"\1\0\1")))
            ),
            "rsaEncryption (1.2.840.113549.1.1.1), 10 bytes, cannot be read",
        ),
    ],
    ids=["off its curve", "parameters", "too short", "RSA with parameters"],
)
def test_what_is_wrong_with_a_key_is_said_as_far_as_it_is_known(der: bytes, words: str) -> None:
    assert words in message(der)


def test_nothing_follows_a_key_or_the_numbers_inside() -> None:
    for name in ("EC P-256", "RSA 2048"):
        assert refusal(KEYS[name] + b"\0") == "der/trailing-bytes"
    numbers = seq(tlv(2, b"\0\x80" + bytes(254) + b"\1"), tlv(2, b"\1\0\1"))
    key = seq(seq(oid(RSA_KEY), tlv(5)), tlv(3, b"\0" + numbers + b"\0"))
    assert refusal(key) == "der/trailing-bytes"


def test_a_key_object_has_an_spki_if_certificates_hold_such_keys() -> None:
    assert spki_of(p256().public_key()) == spki(p256())
    for other in (p256(), b"", None):
        assert spki_of(other) is None


@pytest.mark.parametrize(
    "name, dotted",
    [
        ("P-256", P256),
        ("P-384", "1.3.132.0.34"),
        ("P-521", "1.3.132.0.35"),
        ("secp224r1", "1.3.132.0.33"),
    ],
)
def test_a_point_is_the_same_key_in_whatever_form(name: str, dotted: str) -> None:
    key = CURVES[dotted].public_key()
    usual = key.public_bytes(DER, SPKI)
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    compressed = seq(seq(oid(EC_KEY), oid(dotted)), tlv(3, b"\0" + point))
    assert compressed != usual
    facts = public_key_facts(compressed, LIMITS)
    assert facts == public_key_facts(usual, LIMITS)
    assert (facts.spki, facts.curve) == (usual, dotted)
    assert (facts.name, facts.bits) == (f"EC {name}", key.curve.key_size)


@pytest.mark.parametrize("dotted", [P256, "1.3.132.0.33"])
def test_a_point_beside_its_curve_is_refused(dotted: str) -> None:
    key = CURVES[dotted].public_key()
    der = bytearray(key.public_bytes(DER, SPKI))
    der[-1] ^= 1
    assert refusal(bytes(der)) == "key/unsupported"


@reaches(read=40, accepted=20)
@given(data=st.data())
def test_only_our_error_escapes_for_a_damaged_key(data: st.DataObject) -> None:
    key = bytearray(KEYS[data.draw(st.sampled_from(["EC P-256", "RSA 2048", "Ed25519"]))])
    key[data.draw(st.integers(0, len(key) - 1))] ^= data.draw(st.integers(1, 255))
    with refusals("der/"):
        public_key_facts(bytes(key), LIMITS)


def test_every_truncation_is_refused() -> None:
    for name in ("EC P-256", "RSA 2048"):
        for end in range(len(KEYS[name])):
            assert refusal(KEYS[name][:end]).startswith("der/")
