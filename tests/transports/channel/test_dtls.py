"""The DTLS engine: handshakes, facts about the peer, and what bad datagrams do to it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.channel import BindingKind, TlsVersion, TrustClass
from est_transports.channel import _openssl, dtls, peer_certificates
from est_transports.channel.dtls import (
    FRUITLESS_ANSWERS,
    HANDSHAKE_BYTES,
    UNREAD_DATAGRAMS,
    DtlsClientContext,
    DtlsEngine,
    DtlsServerConfig,
    TlsError,
    dtls_client_context,
    dtls_server_context,
)
from est_transports.channel.dtls_context import DTLS_CIPHERS
from est_transports.channel.tls import TlsEngine
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.damage import damaged
from tests.pki import (
    CMC_RA,
    SERVER_AUTH,
    YESTERDAY,
    Entity,
    Subject,
    pki,
    rsa_key,
    self_signed,
    signed_with_sha1,
)
from tests.reached import reached, reaches, refusals
from tests.transports.dtls_pair import (
    DtlsPair,
    a_dtls_client,
    a_dtls_server,
    dtls_connected,
    dtls_pair,
)
from tests.transports.tls_pair import a_client, a_server, anchors, connected, identity

SERVER = a_dtls_server()
CLIENT = a_dtls_client()
SECOND_CLIENT = a_dtls_client()


def both_ways(two: DtlsPair) -> bool:
    """True if each end can still tell the other something."""
    two.client.write(b"to the server")
    two.server.write(b"to the client")
    two.deliver()
    return (two.server.read(), two.client.read()) == (b"to the server", b"to the client")


def raw_client(
    ciphers: bytes = b"ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0",
    *,
    entity: Entity | None = None,
    version: int = 0xFEFD,
) -> DtlsClientContext:
    """Return a client made of pyOpenSSL alone, without any of our restrictions."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_cipher_list(ciphers)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    if entity is not None:
        context.use_certificate(entity.certificate)
        context.use_privatekey(entity.key)  # type: ignore[arg-type]  # P-256
    CLIENT.rules.verifier.install(context)
    return replace(CLIENT, openssl=context)


def server_failure(two: DtlsPair) -> TlsError:
    """Run a handshake that the server refuses, and return why."""
    with suppress(TlsError):
        two.shake_hands()
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    return caught.value


@pytest.mark.req("COAPS-013", "COAPS-017", "COAPS-023")
def test_two_ends_meet_with_the_mandatory_suite_and_extended_master_secret() -> None:
    two = dtls_connected(CLIENT, SERVER)
    for engine in (two.client, two.server):
        channel = engine.channel()
        assert channel.version is TlsVersion.DTLS_1_2
        assert channel.trust_class is TrustClass.EXPLICIT
        assert channel.extended_master_secret
        assert not channel.can_challenge
        assert not channel.resumed
        assert engine._connection.get_cipher_name() == "ECDHE-ECDSA-AES128-CCM8"
        assert engine._connection.get_group_name() in ("secp256r1", "x25519")
    assert two.client.channel().name_matches
    assert two.server.channel().peer_certificate == pki().client.certificate
    assert both_ways(two)


@pytest.mark.req("COAPS-074")
def test_tls_unique_is_the_same_at_both_ends_and_differs_between_associations() -> None:
    seen = set()
    for _ in range(2):
        two = dtls_connected(CLIENT, SERVER)
        ours, theirs = two.server.channel().binding, two.client.channel().binding
        assert ours is not None
        assert ours.kind is BindingKind.TLS_UNIQUE
        assert ours == theirs
        assert ours.data == two.client._connection.get_finished()
        seen.add(ours.data)
    assert len(seen) == 2


@pytest.mark.req("COAPS-074", "CB-029")
def test_fragments_of_300_bytes_change_nothing_in_the_binding() -> None:
    client = a_dtls_client(pki().client_below_intermediate, mtu_bytes=300)
    two = dtls_connected(client, a_dtls_server(mtu_bytes=300))
    assert max(two.sizes) <= 300
    assert len(two.sizes) > 6
    assert two.server.channel().peer_chain == pki().client_below_intermediate.chain
    assert two.server.channel().binding == two.client.channel().binding
    assert two.client.payload_bytes < 300
    assert both_ways(two)


@pytest.mark.parametrize("known", [False, None])
@pytest.mark.req("COAPS-023")
def test_without_extended_master_secret_there_is_no_tls_unique(
    known: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_openssl, "extended_master_secret", lambda _connection: known)
    assert dtls_connected(CLIENT, SERVER).server.channel().binding is None
    lenient = dtls_connected(CLIENT, a_dtls_server(require_ems=False)).server.channel()
    assert lenient.binding is not None
    assert not lenient.extended_master_secret


def test_an_association_is_never_resumed() -> None:
    for _ in range(2):
        two = dtls_connected(CLIENT, SERVER)
        assert _openssl.session_reused(two.server._connection) is False


def _failing_clients() -> dict[str, tuple[Entity, str]]:
    return {
        "rogue": (pki().rogue_client, "no trust anchor"),
        "self-signed": (pki().self_signed_client, "self-signed"),
        "expired": (pki().expired_client, "expired"),
        "not yet valid": (pki().future_client, "not yet valid"),
        "purpose": (pki().server_usage_client, "extendedKeyUsage"),
        "revoked": (pki().client, "revoked"),
        "RSA-1024": (pki().weak_client, "RSA key of 1024 bits"),
    }


@pytest.mark.parametrize("case", list(_failing_clients()))
@pytest.mark.req("COAPS-017", "COAPS-031")
def test_a_client_certificate_that_fails_is_a_fact_and_not_the_end(case: str) -> None:
    entity, reason = _failing_clients()[case]
    trust = anchors()
    if case == "revoked":
        trust = replace(trust, revocation=Revocation(crls=(pki().ca.crl(entity.certificate),)))
    two = dtls_connected(a_dtls_client(entity), a_dtls_server(trust=trust))
    channel = two.server.channel()
    assert channel.trust_class is TrustClass.FAILED
    assert reason in channel.failure
    assert channel.peer_certificate == entity.certificate
    assert both_ways(two)


@pytest.mark.req("COAPS-031")
def test_a_client_certificate_signed_with_sha_1_is_not_accepted() -> None:
    entity = signed_with_sha1(pki().ca.issue(Subject(name="d")), pki().ca)
    two = dtls_connected(raw_client(entity=entity), SERVER)
    assert two.server.channel().trust_class is TrustClass.FAILED
    assert "sha1" in two.server.channel().failure


def test_a_client_key_on_a_curve_that_is_not_offered_ends_the_handshake() -> None:
    entity = pki().ca.issue(Subject(name="d", key=ec.generate_private_key(ec.SECP224R1())))
    assert server_failure(dtls_pair(a_dtls_client(entity), SERVER)).code == "tls/handshake"


@pytest.mark.parametrize("case", ["RSA", "P-384", "manufacturer"])
@pytest.mark.req("COAPS-018")
def test_certificates_that_devices_have_are_accepted(case: str) -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())
    entity = {
        "RSA": pki().ca.issue(Subject(name="d", key=rsa_key())),
        "P-384": pki().ca.issue(Subject(name="d", key=p384)),
        "manufacturer": pki().manufacturer_client,
    }[case]
    assert dtls_connected(a_dtls_client(entity), SERVER).server.channel().is_verified


@pytest.mark.req("COAPS-017")
def test_a_client_without_a_certificate_is_refused_and_told() -> None:
    two = dtls_pair(raw_client(), SERVER)
    failure = server_failure(two)
    assert failure.code == "tls/no-certificate"
    assert "no certificate" in failure.message
    with pytest.raises(TlsError, match="requires a certificate"):
        two.client.handshake()


@pytest.mark.req("COAPS-017")
def test_a_stolen_certificate_without_its_key_ends_the_handshake() -> None:
    two = dtls_pair(CLIENT, SERVER)
    flips = {"armed": True}

    def spoil_certificate_verify(datagram: bytes) -> bytes:
        # It is the record before ChangeCipherSpec, and its signature ends it.
        at = datagram.find(b"\x14\xfe\xfd\x00\x00")
        if at < 0 or not flips["armed"]:
            return datagram
        flips["armed"] = False
        return datagram[: at - 1] + bytes([datagram[at - 1] ^ 1]) + datagram[at:]

    two.through = spoil_certificate_verify
    assert server_failure(two).code == "tls/bad-signature"


@pytest.mark.req("COAPS-031")
def test_a_handshake_signed_with_sha_1_is_refused() -> None:
    context = raw_client(entity=pki().client)
    assert _openssl.restrict_signatures(context.openssl, "ECDSA+SHA1")
    failure = server_failure(dtls_pair(context, SERVER))
    assert failure.code == "tls/no-shared-cipher"


def test_without_the_means_to_refuse_sha_1_there_is_no_dtls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_openssl, "_SET_SIGNATURES", None)
    for make in (a_dtls_server, a_dtls_client):
        with pytest.raises(LocalProtocolError, match="SHA-1"):
            make()


@pytest.mark.parametrize(
    "suites",
    [b"NULL", b"aNULL", b"ECDHE-ECDSA-AES128-SHA", b"AES128-GCM-SHA256"],
)
@pytest.mark.req("COAPS-013", "COAPS-022")
def test_other_suites_are_refused(suites: bytes) -> None:
    two = dtls_pair(raw_client(suites + b":@SECLEVEL=0", entity=pki().client), SERVER)
    assert server_failure(two).code == "tls/no-shared-cipher"


@pytest.mark.req("COAPS-021", "COAPS-022")
def test_only_ephemeral_ecdsa_with_authenticated_encryption_can_be_configured() -> None:
    assert DTLS_CIPHERS[0] == "ECDHE-ECDSA-AES128-CCM8"
    for name in DTLS_CIPHERS:
        assert name.startswith("ECDHE-ECDSA-AES128-")
        assert "CCM" in name or "GCM" in name


def test_dtls_1_0_is_refused() -> None:
    suites = b"ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"
    client = raw_client(suites, entity=pki().client, version=0xFEFF)
    failure = server_failure(dtls_pair(client, SERVER))
    assert failure.code in ("tls/version", "tls/no-shared-cipher")


def _servers_not_to_be_trusted() -> dict[str, tuple[Entity, str]]:
    subject = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
    past = replace(subject, not_after=YESTERDAY, not_before=YESTERDAY.replace(year=2020))
    return {
        "unknown CA": (pki().rogue.issue(subject), "no trust anchor"),
        "self-signed": (self_signed(subject), "self-signed"),
        "expired": (pki().ca.issue(past), "expired"),
        "a client's": (pki().client, "extendedKeyUsage"),
        "SHA-1": (signed_with_sha1(pki().ca.issue(subject), pki().ca), "sha1"),
    }


@pytest.mark.parametrize("case", list(_servers_not_to_be_trusted()))
@pytest.mark.req("COAPS-016", "COAPS-031")
def test_a_client_says_why_it_does_not_trust_the_server(case: str) -> None:
    entity, reason = _servers_not_to_be_trusted()[case]
    two = dtls_pair(CLIENT, a_dtls_server(entity=entity))
    with pytest.raises(TlsError) as caught:
        two.shake_hands()
    assert caught.value.code == "tls/untrusted-server"
    assert reason in caught.value.message
    if case == "SHA-1":  # found by us, after OpenSSL's part was over
        assert two.server.read() == b""
        return
    with pytest.raises(TlsError) as told:
        two.server.handshake()
    assert told.value.code == "tls/peer-refused-certificate"


def test_a_server_marked_with_cmc_ra_alone_is_trusted_and_its_name_is_a_fact() -> None:
    entity = pki().ca.issue(Subject(name="ra", dns=("ra.example",), eku=(CMC_RA,)))
    channel = dtls_connected(CLIENT, a_dtls_server(entity=entity)).client.channel()
    assert channel.is_verified
    assert not channel.name_matches


@pytest.mark.parametrize("name, matches", [("127.0.0.1", True), ("::1", True), ("x.org", False)])
@pytest.mark.req("COAPS-032")
def test_a_server_is_known_by_name_or_address(name: str, matches: bool) -> None:
    two = dtls_connected(a_dtls_client(server_name=name), SERVER)
    assert two.client.channel().name_matches is matches


def test_more_certificates_than_anybody_needs_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_certificates, "MAX_PEER_CERTIFICATES", 1)
    two = dtls_pair(a_dtls_client(pki().client_below_intermediate), SERVER)
    assert server_failure(two).code == "tls/bad-certificate"
    assert two.client.read() == b""


def test_configurations_that_cannot_be_are_refused() -> None:
    server, client = identity(pki().server), identity(pki().client)
    p384 = ec.generate_private_key(ec.SECP384R1())
    other_curve = pki().ca.issue(Subject(name="s", key=p384, eku=(SERVER_AUTH,)))
    for wrong in (
        lambda: DtlsServerConfig(identity=identity(pki().rsa_server)),
        lambda: DtlsServerConfig(identity=identity(other_curve)),
        lambda: DtlsServerConfig(identity=server, ciphers=()),
        lambda: DtlsServerConfig(identity=server, ciphers=("NULL-SHA256",)),
        lambda: DtlsServerConfig(identity=server, mtu_bytes=255),
        lambda: a_dtls_client(mtu_bytes=1 << 16),
        lambda: a_dtls_client(trust=TrustAnchors()),
        lambda: dtls_client_context(ClientTlsConfig(server_name="x", trust=anchors())),
        lambda: dtls_client_context(
            ClientTlsConfig(server_name="x", trust=anchors(), identity=client, provisional=True)
        ),
    ):
        with pytest.raises(LocalProtocolError):
            wrong()
    config = DtlsServerConfig(identity=server, ciphers=DTLS_CIPHERS[1:2])
    two = dtls_connected(CLIENT, dtls_server_context(replace(config, trust=anchors())))
    assert two.server._connection.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"


# Data


def test_one_write_is_one_datagram_and_one_read() -> None:
    two = dtls_connected(CLIENT, SERVER)
    sent = [b"one", b"two", b"x" * two.client.payload_bytes]
    for datagram in sent:
        two.client.write(datagram)
    datagrams = two.client.outgoing()
    assert len(datagrams) == 3
    assert max(map(len, datagrams)) == CLIENT.mtu_bytes
    for datagram in datagrams:
        two.server.receive(datagram)
    assert [two.server.read() for _ in range(4)] == [*sent, None]


def test_a_datagram_that_does_not_fit_is_the_callers_mistake() -> None:
    two = dtls_connected(CLIENT, SERVER)
    with pytest.raises(LocalProtocolError, match="at most"):
        two.client.write(bytes(two.client.payload_bytes + 1))
    two.client.write(b"")
    assert two.client.outgoing() == ()
    assert both_ways(two)


def test_several_records_in_one_datagram_are_several_datagrams_of_the_peer() -> None:
    two = dtls_connected(CLIENT, SERVER)
    two.client.write(b"one")
    two.client.write(b"two")
    two.server.receive(b"".join(two.client.outgoing()))
    assert [two.server.read() for _ in range(3)] == [b"one", b"two", None]


def test_what_nobody_reads_is_lost_beyond_a_bound() -> None:
    two = dtls_connected(CLIENT, SERVER)
    for number in range(UNREAD_DATAGRAMS + 5):
        two.client.write(b"%d" % number)
    two.deliver()
    read = [two.server.read() for _ in range(UNREAD_DATAGRAMS + 1)]
    assert read == [b"%d" % number for number in range(UNREAD_DATAGRAMS)] + [None]
    assert both_ways(two)


@pytest.mark.parametrize("closing, other", [("client", "server"), ("server", "client")])
def test_close_notify_is_the_clean_end_either_way(closing: str, other: str) -> None:
    two = dtls_connected(CLIENT, SERVER)
    leaver: DtlsEngine = getattr(two, closing)
    stayer: DtlsEngine = getattr(two, other)
    leaver.write(b"all of it")
    leaver.close()
    leaver.close()
    two.deliver()
    assert [stayer.read() for _ in range(3)] == [b"all of it", b"", b""]
    with pytest.raises(LocalProtocolError, match="after close"):
        leaver.write(b"x")
    stayer.close()
    two.deliver()
    assert leaver.read() == b""


def test_methods_out_of_turn_are_the_callers_mistake_and_change_nothing() -> None:
    two = dtls_pair(CLIENT, SERVER)
    for method in (
        two.client.read,
        two.client.channel,
        lambda: two.client.write(b"x"),
        lambda: two.client.payload_bytes,
        lambda: two.client.listen(b"", (b"c",)),
    ):
        with pytest.raises(LocalProtocolError):
            method()
    two.client.close()
    assert two.client.timeout_s() is None
    two.client.handle_timeout()
    two.shake_hands()
    with pytest.raises(LocalProtocolError):
        two.server.listen(b"", (b"c",))
    assert both_ways(two)


def test_a_client_that_asks_for_a_new_handshake_is_refused_and_may_go_on() -> None:
    two = dtls_connected(raw_client(entity=pki().client), SERVER)
    before = two.server.channel()
    assert len(ask_for_a_new_handshake(two)) == 1
    assert two.server.read() is None
    assert two.server.channel() is before
    two.server.write(b"still here")
    assert two.server.outgoing() != ()


def test_our_client_does_not_follow_a_server_that_asks_for_a_new_handshake() -> None:
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.use_certificate(pki().server.certificate)
    context.use_privatekey(pki().server.key)  # type: ignore[arg-type]  # P-256
    two = dtls_connected(CLIENT, replace(SERVER, openssl=context))
    raw = two.server._connection
    raw.renegotiate()
    with suppress(SSL.WantReadError):
        raw.do_handshake()
    two.client.receive(raw.bio_read(65536))
    assert two.client.read() is None
    (answer,) = two.client.outgoing()
    assert answer[0] == 21  # an alert, and no handshake message, which is 22


def test_one_that_asks_without_end_is_cut_off_and_what_it_said_before_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dtls, "FRUITLESS_ANSWERS", 0)
    two = dtls_connected(raw_client(entity=pki().client), SERVER)
    two.client.write(b"before")
    two.deliver()
    ask_for_a_new_handshake(two)
    assert two.server.read() == b"before"
    for method in (two.server.read, two.server.handshake, lambda: two.server.write(b"x")):
        with pytest.raises(TlsError) as caught:
            method()
        assert caught.value.code == "tls/protocol"


def test_one_that_asks_and_says_something_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtls, "FRUITLESS_ANSWERS", 0)
    two = dtls_connected(raw_client(entity=pki().client), SERVER)
    two.client.write(b"data")
    raw = two.client._connection
    raw.renegotiate()
    with suppress(SSL.WantReadError):
        raw.do_handshake()
    two.server.receive(b"".join((*two.client.outgoing(), raw.bio_read(65536))))
    assert two.server.outgoing() != ()
    assert two.server.read() == b"data"
    assert two.server.read() is None


def test_a_fatal_alert_of_the_peer_ends_an_association_with_its_reason() -> None:
    two = dtls_connected(raw_client(entity=pki().client), SERVER)
    for refusal in ask_for_a_new_handshake(two):
        two.client.receive(refusal)
    with pytest.raises(TlsError):
        two.client.read()
    for alert in two.client.outgoing():
        two.server.receive(alert)
    with pytest.raises(TlsError, match="the peer reported: handshake failure") as caught:
        two.server.read()
    assert caught.value.code == "tls/protocol"


def test_what_openssl_cannot_encrypt_ends_an_association(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_connection: SSL.Connection, _data: bytes) -> int:
        raise SSL.Error([("SSL routines", "", "bad length")])

    two = dtls_connected(CLIENT, SERVER)
    monkeypatch.setattr(SSL.Connection, "send", fail)
    for call in (lambda: two.client.write(b"x"), two.client.read):
        with pytest.raises(TlsError, match="bad length") as caught:
            call()
        assert caught.value.code == "tls/protocol"


def ask_for_a_new_handshake(two: DtlsPair) -> tuple[bytes, ...]:
    """Let the client ask for one, and return the server's answer."""
    raw = two.client._connection
    raw.renegotiate()
    with suppress(SSL.WantReadError):
        raw.do_handshake()
    two.server.receive(raw.bio_read(65536))
    return two.server.outgoing()


# What anybody can send


def test_garbage_truncations_and_changes_of_a_record_are_dropped_without_a_word() -> None:
    two = dtls_connected(CLIENT, SERVER)
    two.client.write(b"the real one")
    (datagram,) = two.client.outgoing()
    for at in range(len(datagram)):
        changed = datagram[:at] + bytes([datagram[at] ^ 1]) + datagram[at + 1 :]
        for bad in (datagram[:at], changed, changed[::-1]):
            two.server.receive(bad)
            assert two.server.read() is None
            assert two.server.outgoing() == ()
    two.server.receive(datagram)
    assert two.server.read() == b"the real one"
    assert both_ways(two)


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("record", [b"\x15\x02\x28", b"\x15\x01\x00", b"\x14\x01", b"\x17hello"])
def test_a_record_in_clear_means_nothing_after_the_handshake(record: bytes, epoch: int) -> None:
    two = dtls_connected(CLIENT, SERVER)
    kind, content = record[:1], record[1:]
    header = kind + b"\xfe\xfd" + bytes([0, epoch]) + bytes(5) + b"\x63"
    two.server.receive(header + len(content).to_bytes(2, "big") + content)
    assert two.server.read() is None
    assert both_ways(two)


def test_a_record_counts_once() -> None:
    two = dtls_connected(CLIENT, SERVER)
    two.client.write(b"first")
    two.client.write(b"second")
    first, second = two.client.outgoing()
    for datagram in (second, first, first, second):
        two.server.receive(datagram)
    assert [two.server.read() for _ in range(3)] == [b"second", b"first", None]


def test_a_flood_from_elsewhere_does_not_end_an_association() -> None:
    two, other = dtls_connected(CLIENT, SERVER), dtls_connected(SECOND_CLIENT, SERVER)
    for _ in range(FRUITLESS_ANSWERS * 4):
        other.client.write(b"x" * 1000)
        two.server.receive(*other.client.outgoing())
    assert two.server.read() is None
    assert both_ways(two)


def test_garbage_to_a_listener_leaves_no_error_for_other_connections_of_the_thread() -> None:
    listener, client = DtlsEngine(SERVER), DtlsEngine(CLIENT)
    client.handshake()
    (hello,) = client.outgoing()
    for bad in (b"x" * 20, hello[:-1], b"\x17" + hello[1:]):
        assert not listener.listen(bad, (b"cookie",))
        with pytest.raises(SSL.Error) as caught:  # it tells all that is in the thread's queue
            SSL.Context(SSL.DTLS_METHOD).set_cipher_list(b"nonsense")
        assert len(caught.value.args[0]) == 1


def test_an_answer_to_a_hello_is_smaller_than_the_hello() -> None:
    listener, client = DtlsEngine(SERVER), DtlsEngine(CLIENT)
    client.handshake()
    (hello,) = client.outgoing()
    assert not listener.listen(hello, (b"c" * 32,))
    (verify,) = listener.outgoing()
    assert len(verify) < len(hello) / 2
    client.receive(verify)
    (second,) = client.outgoing()
    assert not listener.listen(second, (b"other" * 6,))
    assert listener.outgoing() != ()
    assert listener.listen(second, (b"other" * 6, b"c" * 32))
    assert DtlsPair(client, listener).shake_hands().server.channel().is_verified


def test_a_handshake_without_end_is_cut_off() -> None:
    two = dtls_pair(CLIENT, SERVER)
    two.client.handshake()
    two.deliver()
    for _ in range(HANDSHAKE_BYTES // 1000 + 1):
        two.server.receive(bytes(1000))
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    assert caught.value.code == "tls/handshake-too-large"
    two.server.receive(b"more")
    with pytest.raises(TlsError) as again:
        two.server.read()
    assert again.value is caught.value


def test_a_handshake_may_have_so_many_bytes_and_not_one_more() -> None:
    server = DtlsEngine(SERVER)
    for _ in range(8):
        server.receive(bytes(HANDSHAKE_BYTES // 8))
    assert not server.handshake()
    server.receive(b"x")
    with pytest.raises(TlsError) as caught:
        server.handshake()
    assert caught.value.code == "tls/handshake-too-large"


def test_a_handshake_that_failed_waits_for_nothing_more() -> None:
    client = DtlsEngine(CLIENT)
    client.handshake()
    assert client.timeout_s() is not None
    client.receive(bytes(HANDSHAKE_BYTES + 1))
    assert client.timeout_s() is None


def test_what_follows_the_alert_that_ended_a_handshake_is_not_read() -> None:
    two = dtls_pair(CLIENT, SERVER)
    two.client.handshake()
    alert = b"\x15\xfe\xfd" + bytes(7) + b"\x01\0\x02\x02\x28"
    noise = b"\x16\xfe\xfd" + bytes(8) + b"\x3f\xff" + bytes(0x3FFF)
    two.client.receive(alert + noise)
    with pytest.raises(TlsError, match="the peer refused the handshake") as caught:
        two.client.handshake()
    assert caught.value.code == "tls/handshake"


def test_a_peer_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(_connection: SSL.Connection) -> bool:
        raise SSL.Error([("SSL routines", "", "read timeout expired")])

    client, failed = DtlsEngine(CLIENT), DtlsEngine(CLIENT)
    for engine in (client, failed):
        engine.handshake()
    failed.receive(bytes(HANDSHAKE_BYTES + 1))
    monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", give_up)
    for engine, code in ((client, "tls/timeout"), (failed, "tls/handshake-too-large")):
        engine.handle_timeout()
        with pytest.raises(TlsError) as caught:
            engine.handshake()
        assert caught.value.code == code


def test_every_flight_is_repeated_when_openssl_says_so() -> None:
    client = DtlsEngine(CLIENT)
    client.handshake()
    assert len(client.outgoing()) == 1
    due_s = client.timeout_s()
    assert due_s is not None
    assert 0 < due_s <= 1
    client.handle_timeout()  # too early
    assert client.outgoing() == ()


@reaches(connected=20, lost=15)
@given(
    turn=st.integers(0, 12),
    where=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
    cut=st.booleans(),
)
@settings(max_examples=150)
def test_a_changed_datagram_anywhere_raises_nothing_but_tls_error(
    turn: int, where: float, flip: int, cut: bool
) -> None:
    two = dtls_pair(CLIENT, SERVER)
    seen = 0

    def spoil(datagram: bytes) -> bytes:
        nonlocal seen
        seen += 1
        at = int(where * len(datagram))
        if seen != turn + 1:
            return datagram
        return datagram[:at] + (b"" if cut else bytes([datagram[at] ^ flip]) + datagram[at + 1 :])

    two.through = spoil
    with refusals(error=TlsError):
        for _ in range(8):
            two.client.handshake()
            two.deliver()
        if two.client.handshake() and two.server.handshake():
            reached("connected")
            both_ways(two)
        else:
            reached("lost")


def first_datagrams() -> tuple[bytes, ...]:
    """What is said before a cookie is accepted, and the answer to the hello that has one."""
    listener, client = DtlsEngine(SERVER), DtlsEngine(CLIENT)
    client.handshake()
    (hello,) = client.outgoing()
    listener.listen(hello, (b"c" * 32,))
    (verify,) = listener.outgoing()
    client.receive(verify)
    (second,) = client.outgoing()
    engine = DtlsEngine(SERVER)
    assert engine.listen(second, (b"c" * 32,))
    engine.handshake()
    return hello, second, verify, *engine.outgoing()


@reaches(asked_for_cookie=10, listened=3, refused=20)
@given(garbage=damaged(first_datagrams()) | st.binary(max_size=300))
@settings(max_examples=100)
def test_garbage_raises_nothing_but_tls_error(garbage: bytes) -> None:
    client = DtlsEngine(CLIENT)
    client.handshake()
    for engine in (DtlsEngine(SERVER), client):
        try:
            engine.receive(garbage)
            engine.handshake()
        except TlsError:
            reached("refused")
        engine.outgoing()
        engine.close()
    other, listener = DtlsEngine(SERVER), DtlsEngine(SERVER)
    assert not other.listen(garbage, (b"d" * 32,))
    reached(*(["asked_for_cookie"] if other.outgoing() else []))
    reached(*(["listened"] if listener.listen(garbage, (b"c" * 32,)) else []))


def test_a_context_and_its_values_show_no_key() -> None:
    for context in (SERVER, CLIENT):
        assert "key=" not in repr(context)
        assert "PrivateKey" not in repr(context)


def test_a_stream_and_an_association_tell_the_same_facts() -> None:
    stream = connected(a_client(pki().client), a_server(version=TlsVersion.TLS_1_2))
    one, other = stream.server.channel(), dtls_connected(CLIENT, SERVER).server.channel()
    assert replace(one, version=other.version, binding=None, can_challenge=False) == replace(
        other, binding=None
    )
    assert isinstance(stream.server, TlsEngine)
