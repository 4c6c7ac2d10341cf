"""What makes a certificate too weak, unreadable, or no good for its purpose, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from est_core.asn1.keys import MIN_RSA_BITS
from est_transports.pki.certificate_checks import Purpose, flaw, unreadable_part
from tests.odd_certificates import BAD_EXTENSIONS, UNKNOWN_KEYS, element, rebuilt, with_extension
from tests.pki import (
    ANY_USAGE,
    CLIENT_AUTH,
    CMC_RA,
    SERVER_AUTH,
    Authority,
    Entity,
    Key,
    Subject,
    pki,
    rsa_key,
    self_signed,
    signed_with_sha1,
    weak_rsa_key,
)

CLIENT, SERVER = Purpose.TLS_CLIENT, Purpose.TLS_SERVER


def a_client(**changes: object) -> x509.Certificate:
    """Return a client's certificate by the EST CA that is good but for the changes."""
    return pki().ca.issue(Subject(**{"name": "device-1", **changes})).certificate  # type: ignore[arg-type]  # by name


def loaded(**fields: bytes) -> x509.Certificate:
    """Return the client's certificate with other fields, signed anew."""
    return x509.load_der_x509_certificate(rebuilt(pki().client.certificate, pki().ca, **fields))


def with_key(key: dsa.DSAPrivateKey | rsa.RSAPrivateKey) -> x509.Certificate:
    """Return the client's certificate with a key that Subject does not make."""
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return loaded(subject_public_key_info=spki)


# --- Keys ---------------------------------------------------------------------------------------

STRONG: Final[dict[str, Callable[[], Key]]] = {
    "RSA of the least size": rsa_key,
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
    "ML-DSA-44": mldsa.MLDSA44PrivateKey.generate,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey.generate,
}


@pytest.mark.parametrize("kind", list(STRONG))
def test_a_strong_key_is_good_and_so_is_what_it_signs(kind: str) -> None:
    key = STRONG[kind]()
    assert flaw(a_client(key=key), CLIENT) == ""
    below = Authority(kind, key=key).issue(Subject(name="device-1")).certificate
    assert flaw(below, CLIENT) == ""


WEAK: Final[dict[str, Callable[[], x509.Certificate]]] = {
    "RSA key of 1024 bits": lambda: a_client(key=weak_rsa_key()),
    f"RSA key of {MIN_RSA_BITS - 1} bits": lambda: with_key(rsa_with_bits(MIN_RSA_BITS - 1)),
    "key on curve secp224r1": lambda: a_client(key=ec.generate_private_key(ec.SECP224R1())),
    "key on curve secp256k1": lambda: a_client(key=ec.generate_private_key(ec.SECP256K1())),
    "key of a kind that is not accepted": lambda: with_key(dsa.generate_private_key(2048)),
}


def rsa_with_bits(bits: int) -> rsa.RSAPrivateKey:
    """Return an RSA key of that many bits."""
    return rsa.generate_private_key(65537, bits)


@pytest.mark.parametrize("flawed", list(WEAK))
@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("signed", [True, False])
def test_a_weak_key_is_a_flaw_wherever_the_certificate_stands(
    flawed: str, leaf: bool, signed: bool
) -> None:
    assert flaw(WEAK[flawed](), CLIENT, leaf=leaf, signed=signed) == flawed


# --- Signatures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("leaf", [True, False])
def test_a_signature_over_sha1_is_a_flaw_where_somebody_relies_on_it(leaf: bool) -> None:
    certificate = signed_with_sha1(pki().client, pki().ca).certificate
    assert flaw(certificate, CLIENT, leaf=leaf) == "signed with sha1"
    assert flaw(certificate, CLIENT, leaf=leaf, signed=False) == ""


@pytest.mark.parametrize("digest", [hashes.SHA384(), hashes.SHA512(), hashes.SHA3_256()])
def test_longer_hashes_are_good(digest: hashes.SHA384 | hashes.SHA512 | hashes.SHA3_256) -> None:
    key = pki().ca.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    good = pki().client.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(good.subject)
        .issuer_name(good.issuer)
        .public_key(good.public_key())
        .serial_number(good.serial_number)
        .not_valid_before(good.not_valid_before_utc)
        .not_valid_after(good.not_valid_after_utc)
    )
    assert flaw(builder.sign(key, digest), CLIENT) == ""


def test_an_algorithm_that_is_not_known_is_a_flaw() -> None:
    unknown = element(0x30, bytes.fromhex("06082b0601040183b109"))
    good = pki().client.certificate
    der = rebuilt(good, pki().ca, signature=unknown)
    der = der.replace(bytes.fromhex("300a06082a8648ce3d040302"), unknown)
    text = "signed with an algorithm that is not known here"
    assert flaw(x509.load_der_x509_certificate(der), CLIENT) == text


# --- Purposes -----------------------------------------------------------------------------------

GOOD_FOR: Final[dict[tuple[x509.ObjectIdentifier, ...] | None, set[Purpose]]] = {
    None: {CLIENT, SERVER},
    (CLIENT_AUTH,): {CLIENT},
    (SERVER_AUTH,): {SERVER},
    (CMC_RA,): {SERVER},
    (ANY_USAGE,): {CLIENT, SERVER},
    (SERVER_AUTH, CLIENT_AUTH): {CLIENT, SERVER},
    (ExtendedKeyUsageOID.OCSP_SIGNING,): set(),
}
"""What a certificate is good for by its extendedKeyUsage, which may be missing."""


@pytest.mark.parametrize("usages", list(GOOD_FOR))
@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("leaf", [True, False])
def test_a_certificate_is_good_for_what_its_extended_key_usage_has(
    usages: tuple[x509.ObjectIdentifier, ...] | None, purpose: Purpose, leaf: bool
) -> None:
    found = flaw(a_client(eku=usages), purpose, leaf=leaf)
    fits = purpose in GOOD_FOR[usages]
    assert found == ("" if fits else f"extendedKeyUsage does not allow a {purpose.value}")


@pytest.mark.parametrize("purpose", list(Purpose))
def test_the_peers_own_certificate_may_sign_handshakes(purpose: Purpose) -> None:
    without = a_client(eku=None, digital_signature=False)
    assert flaw(without, purpose) == "keyUsage does not allow digitalSignature"
    assert flaw(without, purpose, leaf=False) == ""
    assert flaw(a_client(eku=None, digital_signature=None), purpose) == ""
    assert flaw(a_client(eku=None, digital_signature=True), purpose) == ""


# --- What cannot be read --------------------------------------------------------------------------


def test_a_good_certificate_can_be_read() -> None:
    for certificate in (pki().client.certificate, pki().ca.certificate):
        assert unreadable_part(certificate) == ""


NO_NAME: Final = element(0x30, element(0x31))

UNREADABLE_PARTS: Final[dict[str, Callable[[], x509.Certificate]]] = {
    "its subject cannot be read": lambda: loaded(subject=NO_NAME),
    "its issuer cannot be read": lambda: loaded(issuer=NO_NAME),
    "its key is of a kind that is not known here": lambda: loaded(
        subject_public_key_info=UNKNOWN_KEYS["GOST"]
    ),
    "extension 2.5.29.14 occurs twice": lambda: extended("keyIdentifier twice"),
    "extension 2.5.29.18 cannot be read": lambda: extended("issuerAltName that is none"),
    "extension 1.3.6.1.5.5.7.1.1 cannot be read": lambda: extended("authorityInfoAccess cut short"),
}


def extended(kind: str) -> x509.Certificate:
    """Return the client's certificate with an extension that cannot be read behind its own."""
    der = with_extension(pki().client.certificate, pki().ca, BAD_EXTENSIONS[kind])
    return x509.load_der_x509_certificate(der)


@pytest.mark.parametrize("part", list(UNREADABLE_PARTS))
@pytest.mark.parametrize("purpose", list(Purpose))
def test_what_cannot_be_read_is_a_flaw_and_the_part_is_named(part: str, purpose: Purpose) -> None:
    certificate = UNREADABLE_PARTS[part]()
    assert unreadable_part(certificate) == part
    for signed in (True, False):
        assert flaw(certificate, purpose, leaf=False, signed=signed) == part


def test_the_first_of_several_flaws_is_told() -> None:
    entity = Entity(
        certificate=a_client(key=weak_rsa_key(), eku=(SERVER_AUTH,), digital_signature=False),
        key=weak_rsa_key(),
        chain=(),
    )
    bad = signed_with_sha1(entity, pki().ca).certificate
    assert flaw(bad, CLIENT) == "RSA key of 1024 bits"
    strong = signed_with_sha1(
        self_signed(Subject(name="x", eku=(SERVER_AUTH,), digital_signature=False)), pki().ca
    ).certificate
    assert flaw(strong, CLIENT) == "signed with sha1"
    assert flaw(strong, CLIENT, signed=False) == "extendedKeyUsage does not allow a TLS client"
