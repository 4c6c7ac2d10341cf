"""What is wrong with a peer's path, in words: each text is true, and names who is meant."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from cryptography import x509

from est_core import RemoteProtocolError
from est_core.channel import Channel, TlsVersion, TrustClass
from est_core.checks.identity import check_server
from est_transports.channel.tls import TlsError
from est_transports.pki.trust import TrustAnchors
from tests.pki import (
    ANY_USAGE,
    CLIENT_AUTH,
    SERVER_AUTH,
    TOMORROW,
    YESTERDAY,
    Authority,
    Entity,
    Subject,
    pki,
    self_signed,
)
from tests.transports.tls_pair import a_client, a_server, connected

LONG_AGO = YESTERDAY - timedelta(days=9)


def a_subject(**changes: object) -> Subject:
    """Return what the usual server's certificate says, but for some changes."""
    usual: dict[str, object] = {"name": "est.example", "dns": ("est.example",)}
    return Subject(**{**usual, "eku": (SERVER_AUTH,), **changes})  # type: ignore[arg-type]


def an_issuer(**changes: object) -> Authority:
    """Return an intermediate CA of the EST CA, whose certificate says something else."""
    authority = Authority("Odd Issuing CA", pki().ca)
    usual: dict[str, object] = {"name": "Odd Issuing CA", "key": authority.key, "ca": True}
    subject = Subject(**{**usual, "eku": None, **changes})  # type: ignore[arg-type]
    authority.certificate = pki().ca.issue(subject).certificate
    return authority


def problem(entity: Entity, *anchors: x509.Certificate) -> str:
    """Return why a client with these anchors does not trust a server, or "" if it does.

    Without the time that its clock shows, where that may be the reason.
    """
    trust = TrustAnchors(explicit=anchors or (pki().ca.certificate,))
    try:
        connected(a_client(trust=trust), a_server(entities=(entity,)))
    except TlsError as exc:
        prefix = f"the server's certificate is not trusted: {exc.message.partition(': ')[2]}"
        text = exc.message.partition(": ")[2] if exc.message == prefix else exc.message
        return re.sub(r" \(the clock here shows [-0-9: ]{16} UTC\)$", "", text)
    return ""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"not_before": LONG_AGO, "not_after": YESTERDAY}, "expired"),
        ({"not_before": TOMORROW}, "not yet valid"),
        ({"eku": (CLIENT_AUTH,)}, "extendedKeyUsage does not allow a TLS server"),
        ({"digital_signature": False}, "keyUsage does not allow digitalSignature"),
        ({"eku": (ANY_USAGE,)}, ""),
        ({"eku": None}, ""),
    ],
)
def test_the_servers_own_certificate(changes: dict[str, object], text: str) -> None:
    assert problem(pki().ca.issue(a_subject(**changes))) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"not_before": LONG_AGO, "not_after": YESTERDAY}, "expired"),
        ({"not_before": TOMORROW}, "not yet valid"),
        ({"ca": False}, "is no CA"),
        ({"eku": (CLIENT_AUTH,)}, "is not allowed to certify for this purpose"),
    ],
)
def test_a_ca_above_it_is_named(changes: dict[str, object], text: str) -> None:
    server = an_issuer(**changes).issue(a_subject())
    assert problem(server) == f"CA certificate 2 of the path, CN=Odd Issuing CA: {text}"


def test_a_name_that_the_ca_may_not_certify_is_the_servers_own() -> None:
    names = x509.NameConstraints([x509.DNSName("other.example")], None)
    server = an_issuer(extra=(names,)).issue(a_subject())
    assert problem(server) == "name outside the issuer's permitted names"


def test_a_path_that_leads_nowhere_says_where_it_stopped() -> None:
    unknown = pki().rogue.issue(a_subject())
    assert problem(unknown) == "leads to no trust anchor (its issuer: CN=Test Rogue CA)"
    below = pki().intermediate.issue(a_subject())
    without = Entity(certificate=below.certificate, key=below.key, chain=below.chain[:1])
    assert problem(without) == "leads to no trust anchor (its issuer: CN=Test EST Issuing CA)"


def test_a_ca_that_was_made_anew_under_its_old_name_is_told_from_an_unknown_one() -> None:
    renewed = Authority("Test EST CA")
    server = renewed.issue(a_subject())
    for sent in (server, server.with_chain(renewed.certificate)):
        text = problem(sent)
        assert "trust anchor" in text
        assert "key of the trust anchor" in text or "has another key" in text


def test_a_self_signed_certificate_is_called_so() -> None:
    assert problem(self_signed(a_subject())) == "self-signed and not a trust anchor"
    server = pki().rogue.issue(a_subject()).with_chain(pki().rogue.certificate)
    assert problem(server) == (
        "CA certificate 2 of the path, CN=Test Rogue CA: is a self-signed root that is no trust "
        "anchor"
    )


# Names.


def mismatch(certificate: x509.Certificate | None) -> str:
    """Return what is said of a server that is trusted and not the one that was asked for."""
    channel = Channel(
        version=TlsVersion.TLS_1_3,
        trust_class=TrustClass.EXPLICIT,
        peer_chain=(certificate or pki().server.certificate,),
    )
    with pytest.raises(RemoteProtocolError) as caught:
        check_server(channel)
    assert caught.value.code == "server/name-mismatch"
    return caught.value.message


def test_a_certificate_with_a_common_name_alone_names_no_host() -> None:
    entity = pki().ca.issue(a_subject(dns=()))
    assert mismatch(entity.certificate) == (
        "the server's certificate names no host in subjectAltName; the common name, est.example, "
        "does not count (RFC 9525)"
    )


def test_a_certificate_for_other_hosts_says_for_which() -> None:
    assert mismatch(pki().server.certificate) == (
        "the server's certificate is for another host name: it is for est.example, localhost, "
        "127.0.0.1, ::1"
    )
    many = pki().ca.issue(a_subject(dns=tuple(f"{number}.example" for number in range(9))))
    assert mismatch(many.certificate).endswith("3.example and 5 more")


def test_a_certificate_without_any_name_says_so() -> None:
    email = x509.SubjectAlternativeName([x509.RFC822Name("a@b.example")])
    entity = pki().ca.issue(a_subject(dns=(), extra=(email,)))
    assert mismatch(entity.certificate).startswith("the server's certificate names no host in")
