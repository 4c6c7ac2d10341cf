"""Certificates, revocation lists and keys from files: what is read and how a bad file is named."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.pki.trust import (
    CredentialFileError,
    TlsIdentity,
    TrustAnchors,
    load_identity,
    load_pem_certificates,
    load_pem_crls,
    load_pem_private_key,
)
from tests.odd_certificates import UNKNOWN_KEYS, rebuilt
from tests.pki import pki

PASSWORD = b"open sesame"


def encrypted_key(directory: Path) -> Path:
    path = directory / "encrypted.key"
    encryption = BestAvailableEncryption(PASSWORD)
    key = pki().client.key
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return path


def test_an_identity_is_read_with_its_intermediates(tmp_path: Path) -> None:
    entity = pki().client_below_intermediate
    found = load_identity(*entity.write(tmp_path, "client"))
    assert found.chain == entity.chain
    assert found.certificate == entity.certificate
    assert found.key.public_key() == entity.key.public_key()
    assert "key" not in repr(found)


def test_an_identity_has_a_certificate() -> None:
    with pytest.raises(LocalProtocolError, match="needs a certificate"):
        TlsIdentity(chain=(), key=pki().client.key)
    with pytest.raises(LocalProtocolError, match="does not belong"):
        TlsIdentity(chain=pki().client.chain, key=pki().server.key)


def test_the_certificate_of_an_identity_has_to_be_read_and_those_above_need_not(
    tmp_path: Path,
) -> None:
    certificate, key = pki().client_below_intermediate.write(tmp_path, "client")
    good = pki().client_below_intermediate.certificate.public_bytes(Encoding.PEM)
    gost = UNKNOWN_KEYS["GOST"]
    der = rebuilt(pki().client.certificate, pki().ca, subject_public_key_info=gost)
    body = base64.encodebytes(der)
    odd = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    told: list[str] = []
    certificate.write_bytes(good + odd)
    assert load_identity(certificate, key, left_out=told.append).chain == (
        pki().client_below_intermediate.certificate,
    )
    assert len(told) == 1
    certificate.write_bytes(odd + good)
    with pytest.raises(CredentialFileError, match=r"client\.pem: cannot be used: certificate 1 "):
        load_identity(certificate, key, left_out=told.append)


def test_text_around_the_pem_blocks_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    pem = pki().ca.certificate.public_bytes(Encoding.PEM)
    path.write_bytes(b"# our CA\n" + pem + b"\nIssuer: somebody\n" + pem)
    assert load_pem_certificates(path) == (pki().ca.certificate,) * 2


def test_several_crls_are_read(tmp_path: Path) -> None:
    path = tmp_path / "crls.pem"
    crls = (pki().ca.crl(pki().client.certificate), pki().manufacturer.crl())
    path.write_bytes(b"\n".join(crl.public_bytes(Encoding.PEM) for crl in crls))
    assert load_pem_crls(path) == crls


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    path = encrypted_key(tmp_path)
    key = load_pem_private_key(path, PASSWORD)
    assert key.public_key() == pki().client.key.public_key()
    with pytest.raises(CredentialFileError, match="needs a password"):
        load_pem_private_key(path)
    with pytest.raises(CredentialFileError, match="the password is wrong"):
        load_pem_private_key(path, b"close sesame")


def test_a_password_for_a_plain_key_is_refused(tmp_path: Path) -> None:
    _, key = pki().client.write(tmp_path, "client")
    with pytest.raises(CredentialFileError, match="not encrypted"):
        load_pem_private_key(key, PASSWORD)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = pki().client.write(tmp_path, "client")
    _, key = pki().server.write(tmp_path, "server")
    with pytest.raises(CredentialFileError, match="is not the key of") as caught:
        load_identity(certificate, key)
    assert caught.value.path == key


@pytest.mark.parametrize("load", [load_pem_certificates, load_pem_crls, load_pem_private_key])
@pytest.mark.parametrize("content", [None, b"", b"text", b"-----BEGIN X509 CRL-----\nAAAA\n"])
def test_a_bad_file_is_named(load: object, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)
    assert callable(load)
    with pytest.raises(CredentialFileError, match=r"file\.pem: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_crl_block_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "crl.pem"
    path.write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    with pytest.raises(CredentialFileError):
        load_pem_crls(path)


def test_anchors_of_both_databases_are_kept_apart_and_listed_once() -> None:
    ca, other = pki().ca.certificate, pki().manufacturer.certificate
    anchors = TrustAnchors(explicit=(ca,), implicit=(ca, other))
    assert anchors.certificates == (ca, other)
    assert TrustAnchors().certificates == ()


def test_the_clock_reads_utc_and_the_monotonic_clock_goes_on() -> None:
    before = datetime.now(UTC)
    first, second = _clock.instant(), _clock.instant()
    assert before <= first.wall <= second.wall <= datetime.now(UTC)
    assert first.mono <= second.mono


def test_entropy_has_the_length_asked_for() -> None:
    assert len(_clock.entropy(20)) == 20
    assert _clock.entropy(20) != _clock.entropy(20)


def test_a_key_that_cannot_sign_is_no_private_key_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "agreement.pem"
    key = X25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(CredentialFileError, match="cannot sign"):
        load_pem_private_key(path)
