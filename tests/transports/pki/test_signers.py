"""Signers: one result whoever holds the key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import LocalProtocolError
from est_core.asn1.keys import signature_algorithm
from est_transports.authority.new_ca import new_root
from est_transports.pki.revocation import is_signed_by
from est_transports.pki.signers import CertificateSigner, LocalSigner, Signer, SigningKey, signer_of
from tests.transports.ca_fakes import CA_NAME, NOW, RemoteSigner, counting_entropy, ec_key

KEYS: dict[str, SigningKey] = {
    "1.2.840.10045.4.3.2": ec_key("ca"),
    "1.2.840.10045.4.3.3": ec.generate_private_key(ec.SECP384R1()),
    "1.2.840.10045.4.3.4": ec.generate_private_key(ec.SECP521R1()),
    "1.2.840.113549.1.1.11": rsa.generate_private_key(65537, 2048),
    "1.3.101.112": ed25519.Ed25519PrivateKey.generate(),
    "1.3.101.113": ed448.Ed448PrivateKey.generate(),
    "2.16.840.1.101.3.4.3.17": mldsa.MLDSA44PrivateKey.generate(),
    "2.16.840.1.101.3.4.3.18": mldsa.MLDSA65PrivateKey.generate(),
    "2.16.840.1.101.3.4.3.19": mldsa.MLDSA87PrivateKey.generate(),
}


def root_of(signer: Signer, key: SigningKey) -> x509.Certificate:
    return new_root(CA_NAME, signer, key.public_key(), now=NOW, entropy=counting_entropy())


@pytest.mark.parametrize("oid", KEYS)
def test_a_local_and_a_remote_signer_sign_the_same_certificate(oid: str) -> None:
    key = KEYS[oid]
    local, remote = LocalSigner(key), RemoteSigner(LocalSigner(key))
    ours, theirs = root_of(local, key), root_of(remote, key)
    assert remote.signatures == 1
    assert ours.signature_algorithm_oid.dotted_string == oid
    assert ours.tbs_certificate_bytes == theirs.tbs_certificate_bytes
    for certificate in (ours, theirs):
        certificate.verify_directly_issued_by(certificate)


@pytest.mark.parametrize("oid", KEYS)
def test_a_local_and_a_remote_signer_sign_the_same_revocation_list(oid: str) -> None:
    key = KEYS[oid]
    local, remote = LocalSigner(key), RemoteSigner(LocalSigner(key))
    builder = x509.CertificateRevocationListBuilder(CA_NAME, NOW, NOW + timedelta(days=1))
    ours, theirs = (CertificateSigner(each).sign_crl(builder) for each in (local, remote))
    assert remote.signatures == 1
    assert ours.tbs_certlist_bytes == theirs.tbs_certlist_bytes
    for crl in (ours, theirs):
        assert crl.signature_algorithm_oid.dotted_string == oid
        assert is_signed_by(crl, root_of(local, key))


def test_a_signature_is_one_of_the_algorithm_asked_for() -> None:
    algorithm = signature_algorithm("1.2.840.10045.4.3.3")
    assert algorithm is not None
    signature = LocalSigner(ec_key()).sign(b"tbs", algorithm)
    ec_key().public_key().verify(signature, b"tbs", ec.ECDSA(SHA384()))


@pytest.mark.parametrize("oid", ["1.3.101.112", "1.2.840.113549.1.1.11"])
def test_an_algorithm_of_another_key_is_refused(oid: str) -> None:
    algorithm = signature_algorithm(oid)
    assert algorithm is not None
    signer = LocalSigner(ed25519.Ed25519PrivateKey.generate() if "840" in oid else ec_key())
    with pytest.raises(LocalProtocolError):
        signer.sign(b"tbs", algorithm)


def test_a_remote_signer_whose_keys_sign_nothing_is_refused() -> None:
    class Agreement(RemoteSigner):
        @property
        def public_key_spki(self) -> bytes:
            key = x25519.X25519PrivateKey.generate().public_key()
            return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    with pytest.raises(LocalProtocolError):
        CertificateSigner(Agreement(LocalSigner(ec_key())))


def test_a_key_that_is_no_private_key_of_ours_has_no_signer() -> None:
    found = signer_of(ec_key())
    assert found is not None
    assert found.public_key_spki == LocalSigner(ec_key()).public_key_spki
    for other in (x25519.X25519PrivateKey.generate(), ec_key().public_key(), "key", None):
        assert signer_of(other) is None


def test_a_key_that_cannot_sign_certificates_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        LocalSigner(dsa.generate_private_key(2048))  # type: ignore[arg-type]  # what is refused


def test_a_signer_without_a_public_key_is_refused() -> None:
    class Broken(RemoteSigner):
        @property
        def public_key_spki(self) -> bytes:
            return b"\x30\x00"

    with pytest.raises(LocalProtocolError):
        CertificateSigner(Broken(LocalSigner(ec_key())))


def test_a_private_key_does_not_show() -> None:
    numbers = ec_key().private_numbers()
    shown = repr(LocalSigner(ec_key()))
    assert str(numbers.private_value) not in shown
    assert "private" not in shown.lower()
