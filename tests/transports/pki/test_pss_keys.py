"""RSA keys that are for RSASSA-PSS only: as anchors, as CAs, and as what an end of TLS shows.

`cryptography` reads such a key and forgets that it is one; what says so is its certificate.
RFC 4055 1.2.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import keys as asn1_keys
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import SignatureAlgorithmOID

from est_core import LocalProtocolError
from est_core.channel import TrustClass
from est_transports.channel.tls import TlsError
from est_transports.cli import main
from est_transports.pki.chains import chain_problem
from est_transports.pki.signers import CertificateSigner, LocalSigner
from est_transports.pki.trust import TrustAnchors
from tests.odd_certificates import element, for_pss_only, pss, rebuilt
from tests.pki import (
    HOUR_AGO,
    IN_TEN_YEARS,
    SERVER_AUTH,
    Entity,
    Subject,
    common_name,
    new_key,
    pki,
    rsa_key,
)
from tests.transports.tls_pair import V12, V13, a_client, a_server, connected

A_MINUTE_AGO = HOUR_AGO + timedelta(minutes=59)


def problem(entity: Entity, anchor: x509.Certificate) -> str:
    """Return why a client with this anchor does not trust a server, or "" if it does."""
    try:
        connected(a_client(trust=TrustAnchors(explicit=(anchor,))), a_server(entities=(entity,)))
    except TlsError as exc:
        return exc.message.partition(": ")[2]
    return ""


def a_certificate(
    name: str, key: object, issuer: str, signing_key: rsa.RSAPrivateKey, *, with_pss: bool
) -> x509.Certificate:
    """Return a certificate with an RSA signature of either kind; a CA's where it signs itself."""
    is_ca = name == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(common_name(issuer))
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    kind: padding.PSS | padding.PKCS1v15 = pss() if with_pss else padding.PKCS1v15()
    return builder.sign(signing_key, hashes.SHA256(), rsa_padding=kind)


def a_pss_ca() -> x509.Certificate:
    """Return a root whose key is for RSASSA-PSS only."""
    root = a_certificate("PSS CA", rsa_key(), "PSS CA", rsa_key(), with_pss=True)
    return for_pss_only(root, rsa_key())


def test_a_ca_whose_key_is_for_pss_only_is_an_anchor_like_any_other() -> None:
    key = new_key()
    leaf = a_certificate("est.example", key, "PSS CA", rsa_key(), with_pss=True)
    server = Entity(certificate=leaf, key=key, chain=(leaf,))
    assert problem(server, a_pss_ca()) == ""
    assert chain_problem(leaf, anchors=[a_pss_ca()], now=A_MINUTE_AGO) == ""


def test_a_signature_that_such_a_key_cannot_have_made_is_said_to_be_one() -> None:
    key = new_key()
    leaf = a_certificate("est.example", key, "PSS CA", rsa_key(), with_pss=False)
    server = Entity(certificate=leaf, key=key, chain=(leaf,))
    text = problem(server, a_pss_ca())
    assert text.startswith("signed with an algorithm that is none of its issuer's key")
    assert "for RSASSA-PSS only" in text
    assert chain_problem(leaf, anchors=[a_pss_ca()], now=A_MINUTE_AGO) == text


# A CA with such a key.


def test_a_ca_with_such_a_key_signs_with_pss(tmp_path: Path) -> None:
    root, key, directory = tmp_path / "root.pem", tmp_path / "root.key", tmp_path / "ca"
    root.write_bytes(a_pss_ca().public_bytes(Encoding.PEM))
    key.write_bytes(rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = ("init", directory, "--ca-cert", root, "--ca-key-file", key, "--host", "localhost")
    assert main([str(argument) for argument in command]) == 0
    server = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
    assert server.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS
    anchor = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    assert anchor == x509.load_pem_x509_certificate(root.read_bytes())
    now = server.not_valid_before_utc + timedelta(minutes=1)
    assert chain_problem(server, anchors=[anchor], now=max(now, A_MINUTE_AGO)) == ""


class Token:
    """A signer that keeps its key."""

    public_key_spki = (
        rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )

    def sign(self, tbs: bytes, algorithm: object) -> bytes:
        return b""


def test_a_signer_that_is_somewhere_else_is_refused_for_such_a_key() -> None:
    with pytest.raises(LocalProtocolError, match="RSASSA-PSS"):
        CertificateSigner(Token(), issuer=a_pss_ca())
    CertificateSigner(Token(), issuer=pki().ca.certificate)
    CertificateSigner(LocalSigner(rsa_key()), issuer=a_pss_ca())


def test_such_a_ca_signs_its_revocation_lists_so_too() -> None:
    builder = x509.CertificateRevocationListBuilder(
        a_pss_ca().subject, A_MINUTE_AGO, A_MINUTE_AGO + timedelta(days=1)
    )
    crl = CertificateSigner(LocalSigner(rsa_key()), issuer=a_pss_ca()).sign_crl(builder)
    assert crl.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS


# An end of TLS with such a key.


def with_pss_key(entity: Entity) -> Entity:
    """Return an entity of the EST CA whose RSA key says that it is for RSASSA-PSS only."""
    spki = entity.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    bits = asn1_keys.PublicKeyInfo.load(spki)["public_key"].dump()
    only_pss = element(0x30, bytes.fromhex("300b06092a864886f70d01010a"), bits)
    der = rebuilt(entity.certificate, pki().ca, subject_public_key_info=only_pss)
    certificate = x509.load_der_x509_certificate(der)
    return Entity(certificate=certificate, key=entity.key, chain=(certificate,))


@pytest.mark.parametrize("version", [V12, V13])
def test_both_ends_may_show_such_a_key(version: object) -> None:
    subject = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,), key=rsa_key())
    server = with_pss_key(pki().ca.issue(subject))
    client = with_pss_key(pki().ca.issue(Subject(name="device-1", key=rsa_key())))
    pair = connected(
        a_client(client, version=version),  # type: ignore[arg-type]
        a_server(entities=(server,)),
    )
    assert pair.client.channel().trust_class is TrustClass.EXPLICIT
    assert pair.server.channel().peer_certificate == client.certificate
    assert pair.server.channel().trust_class is TrustClass.EXPLICIT
