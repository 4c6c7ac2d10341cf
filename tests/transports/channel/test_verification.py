"""What verifies peers fails closed: records of problems, names of anchors, anchors left out."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from est_core import LocalProtocolError
from est_core.channel import TrustClass
from est_transports.channel.verification import (
    CA_NAMES_BYTES,
    PeerVerifier,
    VerificationRecord,
    ca_names,
)
from est_transports.pki.certificate_checks import Purpose
from est_transports.pki.openssl_store import fill_store
from est_transports.pki.path_problems import NO_ANCHOR
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.odd_certificates import BAD_EXTENSIONS, element, rebuilt, with_extension
from tests.pki import HOUR_AGO, IN_TEN_YEARS, Authority, pki
from tests.transports.tls_pair import a_client, a_server, anchors


def test_a_record_has_each_problem_once_and_not_more_than_a_handful() -> None:
    record = VerificationRecord()
    for _ in range(2):
        for number in range(12):
            record.note(f"problem {number}")
    assert record.problems == [f"problem {number}" for number in range(8)]
    twice = VerificationRecord()
    for problem in ("expired", "expired", "revoked", "expired"):
        twice.note(problem)
    assert twice.problems == ["expired", "revoked"]


# --- Connections of a context --------------------------------------------------------------------


def shaken(client: SSL.Connection, server: SSL.Connection) -> None:
    """Run a handshake in memory to its end. Raises SSL.Error."""
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(6):
        for end, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                end.do_handshake()
            with suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(1 << 16))


def a_connection(context: SSL.Context, *, recorded: bool = True) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_app_data(VerificationRecord() if recorded else None)
    return connection


def test_no_client_is_taken_where_nothing_records_what_is_wrong_with_it() -> None:
    """A server goes on after a failure that is on record; with no record it must not."""
    client = a_client(pki().rogue_client).openssl
    server = a_server()
    accepting = a_connection(server.openssl)
    shaken(a_connection(client), accepting)
    facts = server.rules.verifier.facts(accepting, resumed=False)
    assert facts.trust_class is TrustClass.FAILED
    with pytest.raises(SSL.Error):
        shaken(a_connection(client), a_connection(server.openssl, recorded=False))
    accepting.set_app_data(None)
    with pytest.raises(LocalProtocolError, match="VerificationRecord"):
        server.rules.verifier.facts(accepting, resumed=False)


def test_a_certificate_is_asked_for_and_demanded_only_where_it_is_required() -> None:
    for required in (False, True):
        context = a_server().openssl
        verifier = PeerVerifier(anchors(), Purpose.TLS_CLIENT, tolerant=True)
        verifier.install(context, required=required)
        both = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        assert context.get_verify_mode() == (both if required else SSL.VERIFY_PEER)
        accepting = a_connection(context)
        if required:
            with pytest.raises(SSL.Error):
                shaken(a_connection(a_client().openssl), accepting)
        else:
            shaken(a_connection(a_client().openssl), accepting)
            facts = verifier.facts(accepting, resumed=False)
            assert (facts.trust_class, facts.chain) == (TrustClass.NONE, ())


class Told:
    """A connection of which OpenSSL tells this much, and that nothing was wrong."""

    def __init__(self, sent: x509.Certificate, verified: list[x509.Certificate] | None) -> None:
        self.sent = crypto.X509.from_cryptography(sent)
        self.verified = verified

    def get_app_data(self) -> VerificationRecord:
        return VerificationRecord()

    def get_peer_certificate(self) -> crypto.X509:
        return self.sent

    def get_peer_cert_chain(self) -> list[crypto.X509]:
        return [self.sent]

    def get_verified_chain(self) -> list[crypto.X509] | None:
        path = self.verified
        return None if path is None else [crypto.X509.from_cryptography(each) for each in path]


@pytest.mark.parametrize("path", ["none", "empty", "of another CA", "cut short"])
@pytest.mark.req("EST-061")
def test_a_path_that_ends_in_no_anchor_of_ours_proves_nothing(path: str) -> None:
    """OpenSSL tells of none such; what it tells is not taken for granted."""
    client, rogue = pki().client.certificate, pki().rogue_client.certificate
    told = {
        "none": (client, None),
        "empty": (client, []),
        "of another CA": (rogue, [rogue, pki().rogue.certificate]),
        "cut short": (client, [client]),
    }
    connection: Any = Told(*told[path])
    verifier = PeerVerifier(anchors(), Purpose.TLS_CLIENT, tolerant=True)
    facts = verifier.facts(connection, resumed=False)
    assert facts.trust_class is TrustClass.FAILED
    assert facts.failure == NO_ANCHOR
    whole: Any = Told(client, [client, pki().ca.certificate])
    assert verifier.facts(whole, resumed=False).trust_class is TrustClass.EXPLICIT


def test_a_path_with_a_certificate_that_cannot_be_read_proves_nothing_and_names_it() -> None:
    client = pki().client_below_intermediate.certificate
    version_4 = bytes.fromhex("a003020103")
    der = rebuilt(pki().intermediate.certificate, pki().ca, version=version_4)
    odd = crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    connection: Any = Told(client, [client])
    leaf = connection.get_verified_chain()
    connection.get_verified_chain = lambda: [*leaf, odd]
    verifier = PeerVerifier(anchors(), Purpose.TLS_CLIENT, tolerant=True)
    facts = verifier.facts(connection, resumed=False)
    assert facts.trust_class is TrustClass.FAILED
    assert facts.failure == (
        "CA certificate 2 of the path, CN=Test EST Issuing CA, "
        f"SHA-256 {hashlib.sha256(der).hexdigest()}: cannot be read"
    )


@pytest.mark.req("EST-061")
def test_what_is_wrong_with_a_resumed_session_is_said_as_in_a_handshake() -> None:
    client, ca = pki().client.certificate, pki().ca
    for crl, failure in (
        (ca.crl(client), "revoked"),
        (pki().manufacturer.crl(), "no revocation list that covers it"),
    ):
        trust = TrustAnchors(explicit=(ca.certificate,), revocation=Revocation(crls=(crl,)))
        verifier = PeerVerifier(trust, Purpose.TLS_CLIENT, tolerant=True)
        told: Any = Told(client, None)
        for _ in range(2):  # the store is made for the first
            facts = verifier.facts(told, resumed=True)
            assert (facts.trust_class, facts.failure) == (TrustClass.FAILED, failure)
        other: Any = Told(pki().server.certificate, None)
        serving = PeerVerifier(trust, Purpose.TLS_SERVER, tolerant=True)
        expected = TrustClass.EXPLICIT if failure == "revoked" else TrustClass.FAILED
        assert serving.facts(other, resumed=True).trust_class is expected


def test_a_ca_that_was_revoked_since_is_named_in_a_resumed_session() -> None:
    client, between = pki().client_below_intermediate.certificate, pki().intermediate
    lists = (pki().ca.crl(between.certificate), between.crl())
    trust = TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=lists))
    told: Any = Told(client, None)
    above = crypto.X509.from_cryptography(between.certificate)
    told.get_peer_cert_chain = lambda: [told.sent, above]
    verifier = PeerVerifier(trust, Purpose.TLS_CLIENT, tolerant=True)
    facts = verifier.facts(told, resumed=True)
    assert facts.trust_class is TrustClass.FAILED
    assert facts.failure == "CA certificate 2 of the path, CN=Test EST Issuing CA: revoked"


# --- Stores of anchors ---------------------------------------------------------------------------


def verifies(certificate: x509.Certificate, trust: TrustAnchors) -> bool:
    """True if OpenSSL verifies a certificate with a store of these anchors."""
    store = crypto.X509Store()
    fill_store(store, trust)
    leaf = crypto.X509.from_cryptography(certificate)
    try:
        crypto.X509StoreContext(store, leaf).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def test_any_certificate_may_be_an_anchor_of_a_store() -> None:
    ca, between = pki().ca, pki().intermediate
    client = pki().client.certificate
    below = pki().client_below_intermediate.certificate
    anchor = (ca.certificate, between.certificate)
    assert verifies(client, TrustAnchors(explicit=anchor))
    assert verifies(below, TrustAnchors(explicit=(between.certificate,)))  # it is no root


def test_an_anchor_that_cannot_be_read_is_left_out_with_a_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    extension = BAD_EXTENSIONS["issuerAltName that is none"]
    odd = x509.load_der_x509_certificate(
        with_extension(pki().manufacturer.certificate, pki().manufacturer, extension)
    )
    good = pki().ca.certificate
    caplog.set_level(logging.WARNING, "est_transports")
    for trust in (
        TrustAnchors(explicit=(good, odd)),
        TrustAnchors(implicit=(odd, good)),
        TrustAnchors(explicit=(good,), implicit=(odd,)),
    ):
        caplog.clear()
        assert ca_names(trust) == (good,)
        (line,) = [record.getMessage() for record in caplog.records]
        assert "CN=Test Manufacturer CA is left out: extension 2.5.29.18 cannot be read" in line
        assert verifies(pki().client.certificate, trust)
        assert not verifies(pki().manufacturer_client.certificate, trust)


def test_an_anchor_that_openssl_cannot_read_is_left_out_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`cryptography` reads a name in a VisibleString, and OpenSSL does not."""
    name = element(0x30, element(0x31, element(0x30, b"\x06\x03\x55\x04\x03", b"\x1a\x01x")))
    odd = x509.load_der_x509_certificate(
        rebuilt(pki().manufacturer.certificate, pki().manufacturer, subject=name)
    )
    caplog.set_level(logging.WARNING, "est_transports")
    trust = TrustAnchors(explicit=(odd, pki().ca.certificate))
    assert verifies(pki().client.certificate, trust)
    assert "CN=x is left out: OpenSSL cannot read it" in caplog.text


# --- Names in a CertificateRequest ---------------------------------------------------------------


def an_anchor(size: int) -> x509.Certificate:
    """Return a CA certificate whose subject has that many octets in DER."""
    for filling in range(size):
        name = x509.Name([x509.NameAttribute(NameOID.DN_QUALIFIER, "x" * (size - filling))])
        if len(name.public_bytes()) == size:
            break
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(pki().ca.key.public_key())
        .serial_number(1)
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(pki().ca.key, hashes.SHA256())
    )


def test_as_many_names_as_there_is_room_for_are_sent_or_none() -> None:
    """Each takes two octets for its length."""
    rest = CA_NAMES_BYTES - 2 * (2 + 2000) - 2
    two = (an_anchor(2000), an_anchor(2000 - 1))
    fits = (*two, an_anchor(rest + 1))
    assert ca_names(TrustAnchors(explicit=fits)) == fits
    assert ca_names(TrustAnchors(explicit=(*two, an_anchor(rest + 2)))) == ()


def test_a_name_that_two_anchors_have_is_sent_once() -> None:
    renewed = Authority("Test EST CA").certificate
    trust = TrustAnchors(explicit=(pki().ca.certificate,), implicit=(renewed,))
    assert len(ca_names(trust)) == 1
