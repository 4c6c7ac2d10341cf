"""What the TLS engine reports about the peer: trust class, chain, names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from OpenSSL import SSL

from est_core.channel import CertificateFailure, TlsVersion, TrustClass
from est_transports.channel.peer_certificates import MAX_PEER_CERTIFICATES
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.channel.verification import ca_names
from est_transports.pki.certificate_checks import Purpose, flaw
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.pki import (
    ANY_USAGE,
    CLIENT_AUTH,
    CMC_RA,
    SERVER_AUTH,
    YESTERDAY,
    Authority,
    Entity,
    Subject,
    pki,
    rsa_key,
    self_signed,
    signed_with_sha1,
    weak_rsa_key,
)
from tests.transports.tls_pair import V12, V13, a_client, a_server, anchors, connected

both_versions = pytest.mark.parametrize("version", [V12, V13])


def classified(
    entity: Entity | None, version: TlsVersion = V12, trust: TrustAnchors | None = None
) -> tuple[TrustClass, str]:
    """Return trust class and failure that a server sees for a client."""
    pair = connected(a_client(entity, version=version), a_server(trust=trust))
    channel = pair.server.channel()
    return channel.trust_class, channel.failure


@pytest.mark.req("EST-053")
@both_versions
def test_versions_1_2_and_1_3_are_spoken(version: TlsVersion) -> None:
    pair = connected(a_client(version=version), a_server())
    assert pair.server.channel().version is version
    assert pair.client.channel().version is version


@pytest.mark.req("EST-070")
@both_versions
def test_a_client_without_certificate_is_served(version: TlsVersion) -> None:
    channel = connected(a_client(version=version), a_server()).server.channel()
    assert channel.trust_class is TrustClass.NONE
    assert channel.peer_chain == ()
    assert channel.failure == ""


@both_versions
@pytest.mark.req("EST-062", "EST-063", "EST-065")
def test_the_est_ca_verifies_as_explicit_on_both_sides(version: TlsVersion) -> None:
    pair = connected(a_client(pki().client, version=version), a_server())
    seen = pair.server.channel()
    assert seen.trust_class is TrustClass.EXPLICIT
    assert seen.peer_certificate == pki().client.certificate
    assert pair.client.channel().trust_class is TrustClass.EXPLICIT
    assert pair.client.channel().peer_certificate == pki().server.certificate


@both_versions
@pytest.mark.req("EST-063", "EST-068")
def test_a_manufacturer_verifies_as_implicit(version: TlsVersion) -> None:
    assert classified(pki().manufacturer_client, version) == (TrustClass.IMPLICIT, "")


@pytest.mark.req("EST-063")
def test_an_anchor_in_both_databases_is_explicit() -> None:
    ca = pki().ca.certificate
    trust = TrustAnchors(explicit=(ca,), implicit=(ca,))
    assert classified(pki().client, trust=trust) == (TrustClass.EXPLICIT, "")


@pytest.mark.req("EST-062")
def test_the_client_keeps_the_class_of_the_anchor_too() -> None:
    trust = TrustAnchors(implicit=(pki().ca.certificate,))
    pair = connected(a_client(trust=trust), a_server())
    assert pair.client.channel().trust_class is TrustClass.IMPLICIT


@both_versions
@pytest.mark.req("EST-061")
def test_a_chain_through_an_intermediate_verifies(version: TlsVersion) -> None:
    entity = pki().client_below_intermediate
    channel = connected(a_client(entity, version=version), a_server()).server.channel()
    assert channel.trust_class is TrustClass.EXPLICIT
    assert channel.peer_chain == entity.chain


def test_an_intermediate_alone_may_be_the_anchor() -> None:
    trust = TrustAnchors(explicit=(pki().intermediate.certificate,))
    assert classified(pki().client_below_intermediate, trust=trust) == (TrustClass.EXPLICIT, "")


def test_extra_certificates_do_no_harm() -> None:
    entity = pki().client.with_chain(pki().ca.certificate, pki().rogue.certificate)
    channel = connected(a_client(entity), a_server()).server.channel()
    assert channel.trust_class is TrustClass.EXPLICIT
    assert channel.peer_chain == entity.chain


@both_versions
def test_an_end_sends_the_chain_it_was_given_and_no_root(version: TlsVersion) -> None:
    pair = connected(a_client(pki().client, version=version), a_server())
    assert pair.client.channel().peer_chain == (pki().server.certificate,)
    assert pair.server.channel().peer_chain == (pki().client.certificate,)


def test_an_extra_certificate_of_the_est_ca_does_not_lift_a_rogue_client() -> None:
    entity = pki().rogue_client.with_chain(pki().ca.certificate)
    assert classified(entity)[0] is TrustClass.FAILED


def test_an_extra_certificate_of_the_est_ca_does_not_lift_a_manufacturers_client() -> None:
    entity = pki().manufacturer_client.with_chain(pki().ca.certificate)
    assert classified(entity) == (TrustClass.IMPLICIT, "")


def _failing_clients() -> dict[str, tuple[Entity, str]]:
    ca = pki().ca
    server_ca = Authority("Servers only", ca, eku=(SERVER_AUTH,))
    return {
        "rogue": (pki().rogue_client, "no trust anchor"),
        "self-signed": (pki().self_signed_client, "self-signed"),
        "expired": (pki().expired_client, "expired"),
        "not yet valid": (pki().future_client, "not yet valid"),
        "purpose": (pki().server_usage_client, "extendedKeyUsage"),
        "cmc-ra is no client": (ca.issue(Subject(name="ra", eku=(CMC_RA,))), "extendedKeyUsage"),
        "issuer's purpose": (server_ca.issue(Subject(name="d")), "purpose"),
        "key usage": (ca.issue(Subject(name="d", digital_signature=False)), "keyUsage"),
        "issuer is no CA": (_below_an_end_entity(), "no CA"),
    }


def _below_an_end_entity() -> Entity:
    client = pki().client
    impostor = Authority("device-1", key=client.key)
    impostor.certificate = client.certificate
    return impostor.issue(Subject(name="mallory")).with_chain(client.certificate)


@both_versions
@pytest.mark.parametrize("case", list(_failing_clients()))
@pytest.mark.req("EST-061", "EST-063", "EST-065")
def test_a_certificate_that_fails_is_a_fact_and_not_the_end(case: str, version: TlsVersion) -> None:
    entity, reason = _failing_clients()[case]
    pair = connected(a_client(entity, version=version), a_server())
    channel = pair.server.channel()
    assert channel.trust_class is TrustClass.FAILED
    assert reason in channel.failure
    assert channel.peer_certificate == entity.certificate
    pair.server.write(b"401")
    pair.deliver()
    assert pair.client.read() == b"401"


@pytest.mark.req("EST-063")
@pytest.mark.parametrize("eku", [None, (ANY_USAGE,), (CMC_RA, CLIENT_AUTH)])
def test_usages_that_make_a_client(eku: tuple[x509.ObjectIdentifier, ...] | None) -> None:
    entity = pki().ca.issue(Subject(name="d", eku=eku, digital_signature=None))
    assert classified(entity) == (TrustClass.EXPLICIT, "")


def test_rsa_2048_and_ml_dsa_are_strong_enough() -> None:
    for key in (rsa_key(), mldsa.MLDSA65PrivateKey.generate()):
        entity = pki().ca.issue(Subject(name="d", key=key))
        assert classified(entity, V13) == (TrustClass.EXPLICIT, "")


@pytest.mark.req("EST-061")
def test_keys_that_are_too_weak_are_a_flaw() -> None:
    for key, reason in (
        (weak_rsa_key(), "RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()), "key on curve secp256k1"),
        (ec.generate_private_key(ec.SECP224R1()), "key on curve secp224r1"),
    ):
        certificate = pki().ca.issue(Subject(name="d", key=key)).certificate
        assert flaw(certificate, Purpose.TLS_CLIENT) == reason


def test_a_client_with_a_weak_key_fails_though_openssl_would_shake_hands() -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.use_certificate(pki().weak_client.certificate)
    context.use_privatekey(weak_rsa_key())
    client = replace(a_client(provisional=True), openssl=context)
    channel = connected(client, a_server()).server.channel()
    assert channel.trust_class is TrustClass.FAILED
    assert "weak" in channel.failure


@pytest.mark.req("EST-061")
def test_a_sha_1_signature_fails() -> None:
    entity = signed_with_sha1(pki().ca.issue(Subject(name="d")), pki().ca)
    trust_class, failure = classified(entity)
    assert trust_class is TrustClass.FAILED
    assert "hash too weak" in failure or "sha1" in failure


@pytest.mark.parametrize(
    ("lists", "kind"),
    [
        (lambda: (pki().ca.crl(pki().client.certificate),), CertificateFailure.REVOKED),
        (
            lambda: (pki().ca.crl(next_update=YESTERDAY),),
            CertificateFailure.REVOCATION_UNKNOWN,
        ),
        (lambda: (pki().manufacturer.crl(),), CertificateFailure.REVOCATION_UNKNOWN),
        (tuple, CertificateFailure.UNVERIFIED),
    ],
    ids=["revoked", "stale", "missing", "verified"],
)
def test_what_lists_say_has_a_code_of_its_own(
    lists: Callable[[], tuple[x509.CertificateRevocationList, ...]], kind: CertificateFailure
) -> None:
    trust = TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=lists()))
    channel = connected(a_client(pki().client), a_server(trust=trust)).server.channel()
    assert channel.failure_kind is kind
    assert channel.is_verified is (kind is CertificateFailure.UNVERIFIED)


@pytest.mark.req("EST-061")
def test_a_revoked_certificate_fails_and_its_neighbours_do_not() -> None:
    trust = TrustAnchors(
        explicit=(pki().ca.certificate,),
        implicit=(pki().manufacturer.certificate,),
        revocation=Revocation(crls=(pki().ca.crl(pki().client.certificate),), accept_missing=True),
    )
    assert classified(pki().client, trust=trust) == (TrustClass.FAILED, "revoked")
    neighbour = pki().ca.issue(Subject(name="device-7"))
    assert classified(neighbour, trust=trust) == (TrustClass.EXPLICIT, "")


@pytest.mark.parametrize("accepted", [True, False])
def test_a_ca_without_a_crl_is_held_to_one_unless_that_is_accepted(
    accepted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    trust = TrustAnchors(
        explicit=(pki().ca.certificate,),
        implicit=(pki().manufacturer.certificate,),
        revocation=Revocation(crls=(pki().ca.crl(),), accept_missing=accepted),
    )
    expected = (
        (TrustClass.IMPLICIT, "")
        if accepted
        else (TrustClass.FAILED, "no revocation list that covers it")
    )
    assert classified(pki().manufacturer_client, trust=trust) == expected
    line = "in doubt: CN=idevid-1: no revocation list that covers it"
    assert (line in caplog.text) is accepted


def test_a_revoked_intermediate_fails() -> None:
    lists = (pki().ca.crl(pki().intermediate.certificate), pki().intermediate.crl())
    trust = TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=lists))
    entity = pki().client_below_intermediate
    assert classified(entity, trust=trust) == (
        TrustClass.FAILED,
        "CA certificate 2 of the path, CN=Test EST Issuing CA: revoked",
    )


def test_an_intermediate_may_be_the_anchor_though_the_list_of_its_root_is_there() -> None:
    ca, intermediate = pki().ca, pki().intermediate
    entity = pki().client_below_intermediate
    anchors = (intermediate.certificate,)
    trust = TrustAnchors(
        explicit=anchors, revocation=Revocation(crls=(ca.crl(), intermediate.crl()))
    )
    assert classified(entity, trust=trust) == (TrustClass.EXPLICIT, "")
    revoked = (ca.crl(), intermediate.crl(entity.certificate))
    trust = TrustAnchors(explicit=anchors, revocation=Revocation(crls=revoked))
    assert classified(entity, trust=trust) == (TrustClass.FAILED, "revoked")


def test_a_crl_with_the_signature_of_another_fails_closed() -> None:
    crl = Authority("Test EST CA").crl()
    trust = TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=(crl,)))
    assert classified(pki().client, trust=trust)[0] is TrustClass.FAILED


def test_a_crl_out_of_date_fails_closed() -> None:
    crl = pki().ca.crl(next_update=YESTERDAY)
    trust = TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=(crl,)))
    assert classified(pki().client, trust=trust) == (
        TrustClass.FAILED,
        "revocation list out of date",
    )


def test_without_anchors_nobody_is_trusted() -> None:
    assert classified(pki().client, trust=TrustAnchors())[0] is TrustClass.FAILED


def test_more_certificates_than_anybody_needs_are_refused() -> None:
    many = [Authority(f"Extra {n}").certificate for n in range(MAX_PEER_CERTIFICATES)]
    entity = pki().client.with_chain(*many)
    with pytest.raises(TlsError) as caught:
        connected(a_client(entity), a_server())
    assert caught.value.code == "tls/bad-certificate"


@both_versions
def test_a_server_with_two_kinds_of_keys_serves_both(version: TlsVersion) -> None:
    server = a_server(entities=(pki().server, pki().rsa_server))
    pair = connected(a_client(version=version), server)
    assert pair.client.channel().peer_certificate == pki().server.certificate


@pytest.mark.req("EST-083")
def test_a_server_marked_with_cmc_ra_alone_is_trusted_and_its_name_is_a_fact() -> None:
    entity = pki().ca.issue(Subject(name="ca.example", dns=("ca.example",), eku=(CMC_RA,)))
    channel = connected(a_client(), a_server(entities=(entity,))).client.channel()
    assert channel.trust_class is TrustClass.EXPLICIT
    assert not channel.name_matches


NAMES = [
    ("est.example", True),
    ("EST.Example", True),
    ("est.example.", True),
    ("localhost", True),
    ("other.example", False),
    ("sub.est.example", False),
    ("127.0.0.1", True),
    ("::1", True),
    ("[::1]", True),
    ("127.0.0.2", False),
    ("by-cn.example", False),
]


@pytest.mark.parametrize("name, matches", NAMES)
@pytest.mark.req("EST-083", "EST-084", "EST-085", "EST-086")
def test_the_name_asked_for_is_matched_against_subject_alt_name(name: str, matches: bool) -> None:
    pair = connected(a_client(server_name=name), a_server())
    assert pair.client.channel().name_matches is matches
    assert not pair.server.channel().name_matches


WILDCARDS = [
    ("a.example.org", True),
    ("b.a.example.org", False),
    ("example.org", False),
    ("x.partial.example", False),
]


@pytest.mark.parametrize("name, matches", WILDCARDS)
@pytest.mark.req("EST-085")
def test_a_wildcard_is_one_whole_left_most_label(name: str, matches: bool) -> None:
    entity = pki().ca.issue(
        Subject(name="w", dns=("*.example.org",), eku=(SERVER_AUTH,)),
    )
    pair = connected(a_client(server_name=name), a_server(entities=(entity,)))
    assert pair.client.channel().name_matches is matches


@pytest.mark.req("EST-085", "EST-086")
@pytest.mark.parametrize("name", ["by-cn.example", "10.0.0.1"])
def test_the_common_name_is_no_host_name(name: str) -> None:
    entity = pki().ca.issue(Subject(name=name, eku=(SERVER_AUTH,)))
    pair = connected(a_client(server_name=name), a_server(entities=(entity,)))
    assert not pair.client.channel().name_matches


@pytest.mark.req("EST-086")
def test_an_address_written_as_dns_name_does_not_match() -> None:
    entity = pki().ca.issue(Subject(name="s", dns=("10.0.0.1",), eku=(SERVER_AUTH,)))
    pair = connected(a_client(server_name="10.0.0.1"), a_server(entities=(entity,)))
    assert not pair.client.channel().name_matches


def test_self_signed_may_be_pinned_as_an_anchor() -> None:
    entity = self_signed(Subject(name="s", dns=("est.example",), eku=(SERVER_AUTH,)))
    trust = TrustAnchors(explicit=(entity.certificate,))
    pair = connected(a_client(trust=trust), a_server(entities=(entity,)))
    assert pair.client.channel().trust_class is TrustClass.EXPLICIT
    assert pair.client.channel().name_matches


def test_the_anchors_are_named_to_the_client_all_or_none() -> None:
    assert ca_names(anchors()) == anchors().certificates
    crowd = tuple(Authority(f"Root {'x' * 50} {n}").certificate for n in range(130))
    assert ca_names(TrustAnchors(implicit=crowd)) == ()


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("sent", [b"", b"unasked"])
def test_an_end_is_quiet_until_its_peer_speaks_or_sends_close_notify(
    version: TlsVersion, sent: bytes
) -> None:
    """What has arrived need not have been read: one segment may hold an answer and the end."""
    ends = connected(a_client(version=version), a_server())
    ends.server.write(b"answer")
    ends.deliver()
    assert not ends.client.is_quiet
    assert ends.client.read() == b"answer"
    assert ends.client.is_quiet
    ends.server.write(sent)
    ends.server.close()
    ends.deliver()
    assert not ends.client.is_quiet
    assert ends.client.read() == sent


def test_an_end_without_close_notify_is_not_quiet_either() -> None:
    ends = connected(a_client(), a_server())
    ends.client.receive(b"")
    assert not ends.client.is_quiet
    assert not TlsEngine(a_client()).is_quiet
