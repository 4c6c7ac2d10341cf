"""Peers whose certificates OpenSSL takes and `cryptography` cannot read: what they are worth.

One that nobody needs hurts nobody. One that is needed fails the peer, and is named.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.channel import Channel, TlsVersion, TrustClass
from est_transports.channel.dtls import DtlsEngine
from est_transports.channel.peer_certificates import MAX_PEER_CERTIFICATES, SentCertificates
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.pki.certificates import shown, shown_der
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.odd_certificates import (
    BAD_EXTENSIONS,
    ODD,
    UNKNOWN_KEYS,
    UNREADABLE,
    element,
    rebuilt,
    unreadable,
)
from tests.pki import SERVER_AUTH, Entity, Subject, pki
from tests.transports.dtls_pair import a_dtls_server
from tests.transports.odd_peers import alert_of, odd_peer, shake_hands, shake_hands_over_dtls
from tests.transports.tls_pair import a_client, a_server, anchors

VERSIONS = [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def client_of(*chain: bytes, entity: Entity | None = None, **options: int) -> SSL.Connection:
    """Return a TLS client with the usual client's key."""
    return odd_peer(SSL.TLS_CLIENT_METHOD, (entity or pki().client).key, chain, **options)


def server_of(*chain: bytes, **options: int) -> SSL.Connection:
    """Return a TLS server with the usual server's key."""
    return odd_peer(SSL.TLS_SERVER_METHOD, pki().server.key, chain, **options)


def seen_by_server(peer: SSL.Connection, trust: TrustAnchors | None = None) -> Channel:
    return shake_hands(TlsEngine(a_server(trust=trust)), peer).channel()


def seen_by_client(peer: SSL.Connection) -> Channel:
    return shake_hands(TlsEngine(a_client()), peer).channel()


def refusal(peer: SSL.Connection) -> TlsError:
    with pytest.raises(TlsError) as caught:
        seen_by_client(peer)
    return caught.value


@cache
def foreign_certificates() -> dict[str, bytes]:
    """Return certificates of an unknown CA that cannot be read, by what is wrong with them."""
    found = unreadable(pki().rogue_client.certificate, pki().rogue)
    for name, key in UNKNOWN_KEYS.items():
        found[name] = rebuilt(
            pki().rogue_client.certificate, pki().rogue, subject_public_key_info=key
        )
    return found


WRONG = [*UNREADABLE, *BAD_EXTENSIONS, "RDN without a part"]
NOT_LOADED = list(UNREADABLE)
RENAMED = ("PrintableString with other characters", "RDN without a part")
"""Whose subject is another one then. A CA of that name leads nowhere."""


# Certificates that nobody needs.


@pytest.mark.parametrize("max_version", VERSIONS)
@pytest.mark.parametrize("wrong", [*WRONG, *UNKNOWN_KEYS])
def test_a_server_may_send_what_nobody_can_read_beside_its_path(
    wrong: str, max_version: int
) -> None:
    peer = server_of(
        der(pki().server.certificate), foreign_certificates()[wrong], max_version=max_version
    )
    channel = seen_by_client(peer)
    assert (channel.trust_class, channel.failure) == (TrustClass.EXPLICIT, "")
    assert channel.peer_chain[0] == pki().server.certificate
    assert channel.name_matches


@pytest.mark.parametrize("max_version", VERSIONS)
@pytest.mark.parametrize("wrong", [*WRONG, *UNKNOWN_KEYS])
def test_a_client_may_send_what_nobody_can_read_beside_its_path(
    wrong: str, max_version: int
) -> None:
    entity = pki().client_below_intermediate
    own, issuer = map(der, entity.chain)
    peer = client_of(
        own, foreign_certificates()[wrong], issuer, entity=entity, max_version=max_version
    )
    channel = seen_by_server(peer)
    assert (channel.trust_class, channel.failure) == (TrustClass.EXPLICIT, "")
    assert channel.peer_certificate == entity.certificate


@pytest.mark.parametrize("wrong", [*WRONG, *UNKNOWN_KEYS])
def test_the_same_over_dtls(wrong: str) -> None:
    chain = (der(pki().client.certificate), foreign_certificates()[wrong])
    peer = odd_peer(SSL.DTLS_CLIENT_METHOD, pki().client.key, chain)
    channel = shake_hands_over_dtls(DtlsEngine(a_dtls_server()), peer).channel()
    assert (channel.trust_class, channel.failure) == (TrustClass.EXPLICIT, "")


def test_the_log_has_the_place_and_the_name_of_what_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "est_transports")
    odd = foreign_certificates()["version 4"]
    peer = server_of(der(pki().server.certificate), der(pki().ca.certificate), odd)
    channel = seen_by_client(peer)
    assert channel.peer_chain == (pki().server.certificate, pki().ca.certificate)
    fingerprint = hashlib.sha256(odd).hexdigest()
    assert caplog.messages == [
        f"certificate 3 of 3, CN=device-1, SHA-256 {fingerprint}, is left out: it cannot be read"
    ]


def test_those_that_cannot_be_read_count_as_sent() -> None:
    odd = foreign_certificates()["version 4"]
    peer = server_of(der(pki().server.certificate), *[odd] * MAX_PEER_CERTIFICATES)
    assert refusal(peer).code == "tls/bad-certificate"


# The peer's own certificate.


@pytest.mark.parametrize("max_version", VERSIONS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_client_whose_own_certificate_cannot_be_read_is_not_authenticated(
    wrong: str, max_version: int
) -> None:
    """It proves nothing, and does no harm: the client may have a password."""
    odd = unreadable(pki().client.certificate, pki().ca)[wrong]
    channel = seen_by_server(client_of(odd, max_version=max_version))
    assert channel.trust_class is TrustClass.FAILED
    assert not channel.is_verified
    assert channel.failure


@pytest.mark.parametrize("wrong", NOT_LOADED)
def test_the_reason_names_a_client_certificate_that_cannot_be_read(wrong: str) -> None:
    odd = unreadable(pki().client.certificate, pki().ca)[wrong]
    channel = seen_by_server(client_of(odd, der(pki().ca.certificate)))
    assert channel.peer_chain == ()
    assert channel.peer_certificate is None
    assert channel.failure.startswith("certificate 1 of 2, ")
    assert hashlib.sha256(odd).hexdigest() in channel.failure
    assert channel.failure.endswith(": cannot be read")


@pytest.mark.parametrize("wrong", WRONG)
def test_over_dtls_it_is_not_authenticated_either(wrong: str) -> None:
    odd = unreadable(pki().client.certificate, pki().ca)[wrong]
    peer = odd_peer(SSL.DTLS_CLIENT_METHOD, pki().client.key, [odd])
    channel = shake_hands_over_dtls(DtlsEngine(a_dtls_server()), peer).channel()
    assert channel.trust_class is TrustClass.FAILED
    assert channel.failure


def test_a_good_certificate_beside_it_authenticates_nobody() -> None:
    odd = unreadable(pki().client.certificate, pki().ca)["version 4"]
    channel = seen_by_server(client_of(odd, der(pki().client.certificate)))
    assert (channel.trust_class, channel.peer_chain) == (TrustClass.FAILED, ())


@pytest.mark.parametrize("wrong", WRONG)
def test_a_server_whose_own_certificate_cannot_be_read_is_not_trusted(
    wrong: str,
) -> None:
    odd = unreadable(pki().server.certificate, pki().ca)[wrong]
    failure = refusal(server_of(odd))
    assert failure.code == "tls/untrusted-server"
    assert "trust anchor" not in failure.message


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("keyIdentifier twice", "extension 2.5.29.14 occurs twice"),
        ("authorityInfoAccess cut short", "extension 1.3.6.1.5.5.7.1.1 cannot be read"),
        ("certificatePolicies that is a string", "extension 2.5.29.32 cannot be read"),
        ("issuerAltName with an x400Address", "extension 2.5.29.18 cannot be read"),
        ("RDN without a part", "its subject cannot be read"),
        ("version 4", "cannot be read"),
        ("the thirtieth of February", "the beginning of its validity cannot be read"),
    ],
)
def test_what_is_wrong_with_it_is_said(wrong: str, text: str) -> None:
    odd = unreadable(pki().server.certificate, pki().ca)[wrong]
    assert refusal(server_of(odd)).message.endswith(text)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("odd", ODD)
def test_what_can_be_read_is_taken_as_before(odd: str) -> None:
    certificate = rebuilt(pki().server.certificate, pki().ca, **ODD[odd])
    assert seen_by_client(server_of(certificate)).trust_class is TrustClass.EXPLICIT


# Links of the path.


@pytest.mark.parametrize("wrong", [name for name in WRONG if name not in RENAMED])
def test_a_path_over_a_ca_that_cannot_be_read_fails_and_names_it(wrong: str) -> None:
    odd = unreadable(pki().intermediate.certificate, pki().ca)[wrong]
    entity = pki().client_below_intermediate
    channel = seen_by_server(client_of(der(entity.certificate), odd, entity=entity))
    assert channel.trust_class is TrustClass.FAILED
    assert re.search(r"CN=Test EST Issuing CA.*: .*(read|validity|twice)", channel.failure)


@pytest.mark.parametrize("wrong", [name for name in WRONG if name not in RENAMED])
def test_a_client_names_the_ca_of_its_server_that_cannot_be_read(wrong: str) -> None:
    server = pki().intermediate.issue(
        Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
    )
    odd = unreadable(pki().intermediate.certificate, pki().ca)[wrong]
    chain = (der(server.certificate), odd)
    failure = refusal(odd_peer(SSL.TLS_SERVER_METHOD, server.key, chain))
    assert failure.code == "tls/untrusted-server"
    assert "CN=Test EST Issuing CA" in failure.message


@pytest.mark.parametrize("wrong", [*UNREADABLE, *BAD_EXTENSIONS])
def test_where_another_path_can_be_read_the_unreadable_one_is_not_needed(wrong: str) -> None:
    """The issuing CA itself is an anchor: what the peer sent in its place is left alone."""
    odd = unreadable(pki().intermediate.certificate, pki().ca)[wrong]
    entity = pki().client_below_intermediate
    trust = TrustAnchors(explicit=(pki().intermediate.certificate,))
    peer = client_of(der(entity.certificate), odd, entity=entity)
    assert seen_by_server(peer, trust).trust_class is TrustClass.EXPLICIT


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_a_ca_with_an_unknown_key_leads_nowhere(key: str) -> None:
    odd = rebuilt(
        pki().intermediate.certificate, pki().ca, subject_public_key_info=UNKNOWN_KEYS[key]
    )
    entity = pki().client_below_intermediate
    channel = seen_by_server(client_of(der(entity.certificate), odd, entity=entity))
    assert channel.trust_class is TrustClass.FAILED


def test_a_revoked_ca_below_an_unreadable_one_stays_revoked() -> None:
    entity = pki().client_below_intermediate
    lists = (pki().ca.crl(pki().intermediate.certificate), pki().intermediate.crl())
    trust = TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=lists))
    own, issuer = map(der, entity.chain)
    peer = client_of(own, foreign_certificates()["version 4"], issuer, entity=entity)
    channel = seen_by_server(peer, trust)
    assert channel.trust_class is TrustClass.FAILED
    assert channel.failure.endswith("CN=Test EST Issuing CA: revoked")


# Anchors of ours.


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_an_anchor_that_cannot_be_read_is_left_out_and_told(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = x509.load_der_x509_certificate(
        rebuilt(pki().rogue.certificate, pki().rogue, subject_public_key_info=UNKNOWN_KEYS[key])
    )
    trust = TrustAnchors(explicit=(odd, *anchors().explicit), implicit=(odd,))
    channel = seen_by_server(client_of(der(pki().client.certificate)), trust)
    assert channel.trust_class is TrustClass.EXPLICIT
    assert (
        "trust anchor CN=Test Rogue CA is left out: its key is of a kind that is not known here"
        in caplog.messages
    )


# The text.


def test_a_certificate_is_called_by_common_name_and_fingerprint() -> None:
    certificate = pki().client.certificate
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    assert shown_der(der(certificate)) == f"CN=device-1, SHA-256 {fingerprint}"
    for end in range(len(der(certificate))):
        cut = der(certificate)[:end]
        assert shown_der(cut).endswith(hashlib.sha256(cut).hexdigest())


def test_a_name_in_the_text_is_short_and_of_one_line() -> None:
    name = element(
        0x30,
        element(
            0x31,
            element(0x30, bytes.fromhex("0603550403"), element(0x0C, b"a\n\x1b[2J" + b"x" * 999)),
        ),
    )
    text = shown_der(rebuilt(pki().client.certificate, pki().ca, subject=name))
    assert text.isprintable()
    assert len(text) < 160


def named(name: bytes, subject: bytes | None = None) -> x509.Certificate:
    """Return a certificate with such a common name, or with such a subject."""
    common_name = element(0x30, bytes.fromhex("0603550403"), element(0x0C, name))
    subject = element(0x30, element(0x31, common_name)) if subject is None else subject
    made = rebuilt(pki().client.certificate, pki().ca, subject=subject)
    return x509.load_der_x509_certificate(made)


@pytest.mark.parametrize("size", [60, 61, 62])
def test_a_name_is_cut_where_it_has_more_than_64_characters(size: int) -> None:
    text = f"CN={'x' * size}"
    assert shown(named(b"x" * size)) == (text if len(text) <= 64 else f"{text[:64]}...")


@pytest.mark.parametrize(
    "subject", [element(0x30), element(0x30, element(0x31))], ids=["none", "cannot be read"]
)
def test_a_certificate_without_a_subject_is_called_by_its_fingerprint(subject: bytes) -> None:
    certificate = named(b"", subject)
    assert shown(certificate) == f"SHA-256 {hashlib.sha256(der(certificate)).hexdigest()}"


def test_of_those_beside_the_peers_own_the_flaws_are_told() -> None:
    odd = rebuilt(
        pki().client.certificate,
        pki().ca,
        subject_public_key_info=next(iter(UNKNOWN_KEYS.values())),
    )
    partly, ca = x509.load_der_x509_certificate(odd), pki().ca.certificate
    assert SentCertificates(chain=(partly, ca), is_shown=True).flaws() == ()
    (told,) = SentCertificates(chain=(ca, partly, ca), is_shown=True).flaws()
    assert told.startswith("beside it CN=device-1: ")
    unread = SentCertificates(chain=(ca,), unread=("certificate 2 of 2",), is_shown=True)
    assert unread.flaws() == ("beside it certificate 2 of 2: cannot be read",)


def test_provisionally_a_server_whose_certificate_cannot_be_read_names_no_host() -> None:
    odd = unreadable(pki().server.certificate, pki().ca)["version 4"]
    client = TlsEngine(a_client(provisional=True))
    channel = shake_hands(client, server_of(odd)).channel()
    assert channel.trust_class is TrustClass.FAILED
    assert (channel.peer_chain, channel.name_matches) == ((), False)


def test_only_a_failed_certificate_may_be_missing_from_the_chain() -> None:
    Channel(version=TlsVersion.TLS_1_3, trust_class=TrustClass.FAILED, failure="cannot be read")
    for verified in (TrustClass.EXPLICIT, TrustClass.IMPLICIT):
        with pytest.raises(LocalProtocolError):
            Channel(version=TlsVersion.TLS_1_3, trust_class=verified)


def test_what_openssl_cannot_read_ends_the_handshake_with_an_alert() -> None:
    """Its own strings are checked in there: the peer hears of it, as with every other client."""
    peer = server_of(der(pki().server.certificate))
    client = TlsEngine(a_client(version=TlsVersion.TLS_1_2))
    client.handshake()
    peer.bio_write(client.outgoing())
    with suppress(SSL.WantReadError):
        peer.do_handshake()
    flight = peer.bio_read(1 << 16)
    broken = flight.replace(b"\x0c\x0best.example", b"\x0c\x0b\xff\xfet.example")
    assert broken != flight
    client.receive(broken)
    with pytest.raises(TlsError) as caught:
        client.handshake()
    assert caught.value.code == "tls/bad-certificate"
    assert "cannot be read" in caught.value.message
    peer.bio_write(client.outgoing())
    assert "alert bad certificate" in alert_of(peer)
