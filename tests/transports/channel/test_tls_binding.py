"""Which channel binding the TLS engine hands over, and when it hands over none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from OpenSSL import SSL

from est_core.channel import BindingKind, Channel, ChannelBinding, TlsVersion, TrustClass
from est_transports.channel import _openssl
from est_transports.channel.tls import ServerContext, TlsEngine
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.pki import SERVER_AUTH, Authority, Subject, pki
from tests.transports import raw_client
from tests.transports.raw_client import RawClient
from tests.transports.tls_pair import V12, V13, Pair, a_client, a_server, anchors, connected

_WIRE_VERSIONS = {V12: SSL.TLS1_2_VERSION, V13: SSL.TLS1_3_VERSION}
both_versions = pytest.mark.parametrize("version", [V12, V13])


def channels(pair: Pair) -> tuple[Channel, Channel]:
    """Return the channel as the client and as the server see it."""
    return pair.client.channel(), pair.server.channel()


@pytest.mark.req("CB-001", "CB-002", "CB-004", "CB-020")
def test_tls_unique_is_12_equal_bytes_at_both_ends_of_tls_1_2() -> None:
    client, server = channels(connected(a_client(pki().client, version=V12), a_server()))
    assert client.binding is not None
    assert client.binding.kind is BindingKind.TLS_UNIQUE
    assert len(client.binding.data) == 12
    assert client.binding == server.binding
    assert client.extended_master_secret
    assert server.extended_master_secret


@pytest.mark.req("CB-003")
def test_tls_unique_differs_from_connection_to_connection() -> None:
    ours, theirs = a_client(version=V12), a_server()
    seen = {connected(ours, theirs).server.channel().binding for _ in range(3)}
    assert len(seen) == 3
    assert None not in seen


def resumed_with_another_binding(
    server: ServerContext, version: TlsVersion
) -> tuple[RawClient, ChannelBinding]:
    first = RawClient(server, raw_context(version))
    first.shake_hands()
    before = first.engine.channel().binding
    second = RawClient(server, first.context, session=first.finish())
    second.shake_hands()
    channel = second.engine.channel()
    assert channel.resumed
    assert before is not None
    assert channel.binding is not None
    assert channel.binding != before
    return second, channel.binding


@pytest.mark.req("CB-003")
def test_tls_unique_of_a_resumed_session_is_another() -> None:
    resumed_with_another_binding(a_server(resumption=True), V12)


@pytest.mark.req("CB-001", "CB-002", "CB-004")
def test_tls_unique_is_the_clients_finished_message() -> None:
    raw = RawClient(a_server(), raw_context(V12))
    raw.shake_hands()
    binding = raw.engine.channel().binding
    assert binding is not None
    assert binding.data == raw.connection.get_finished()


@pytest.mark.req("CB-019", "CB-024")
def test_tls_1_3_has_no_binding_unless_asked_for() -> None:
    for channel in channels(connected(a_client(version=V13), a_server())):
        assert channel.version is V13
        assert channel.binding is None


@pytest.mark.req("CB-023")
def test_a_resumed_session_of_tls_1_3_exports_another_value() -> None:
    server = a_server(resumption=True, tls_exporter=True)
    second, binding = resumed_with_another_binding(server, V13)
    label = b"EXPORTER-Channel-Binding"
    assert binding.data == second.connection.export_keying_material(label, 32, b"")


@pytest.mark.req("CB-015", "CB-026")
def test_tls_exporter_where_both_ends_ask_is_32_equal_bytes() -> None:
    client, server = channels(
        connected(a_client(version=V13, tls_exporter=True), a_server(tls_exporter=True))
    )
    assert client.binding is not None
    assert client.binding.kind is BindingKind.TLS_EXPORTER
    assert len(client.binding.data) == 32
    assert client.binding == server.binding


@pytest.mark.req("CB-015")
def test_tls_exporter_has_a_context_of_no_bytes() -> None:
    raw = RawClient(a_server(tls_exporter=True), raw_context(V13))
    raw.shake_hands()
    binding = raw.engine.channel().binding
    assert binding is not None
    label = b"EXPORTER-Channel-Binding"
    assert binding.data == raw.connection.export_keying_material(label, 32, b"")


@pytest.mark.req("CB-017", "CB-026")
def test_exporter_mode_leaves_tls_1_2_with_tls_unique() -> None:
    client, server = channels(
        connected(a_client(version=V12, tls_exporter=True), a_server(tls_exporter=True))
    )
    assert client.binding is not None
    assert client.binding.kind is BindingKind.TLS_UNIQUE
    assert client.binding == server.binding


@pytest.mark.req("CB-025")
def test_a_listener_can_be_capped_at_tls_1_2() -> None:
    channel = connected(a_client(), a_server(version=V12)).server.channel()
    assert channel.version is V12
    assert channel.binding is not None


@pytest.mark.req("CB-021")
@pytest.mark.parametrize("known", [None, False])
def test_without_extended_master_secret_there_is_no_tls_unique(
    known: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_openssl, "extended_master_secret", lambda _connection: known)
    for channel in channels(connected(a_client(version=V12), a_server())):
        assert channel.binding is None
        assert not channel.extended_master_secret


@pytest.mark.req("CB-021")
def test_require_ems_off_hands_tls_unique_over_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_openssl, "extended_master_secret", lambda _connection: None)
    channel = connected(a_client(version=V12), a_server(require_ems=False)).server.channel()
    assert channel.binding is not None
    assert not channel.extended_master_secret


def test_the_private_names_of_openssl_are_where_we_look() -> None:
    raw = RawClient(a_server(), raw_context(V12))
    raw.shake_hands()
    assert _openssl.extended_master_secret(raw.connection) is True
    assert _openssl.session_reused(raw.connection) is False


@pytest.mark.req("EST-070")
def test_the_server_names_its_anchors_in_the_first_handshake() -> None:
    raw = RawClient(a_server(), raw_context(V12))
    with suppress(SSL.WantReadError):
        raw.connection.do_handshake()
    raw.to_server()
    assert not raw.engine.handshake()
    raw.to_client()
    with suppress(SSL.WantReadError):
        raw.connection.do_handshake()
    names = raw.connection.get_client_ca_list(as_cryptography=True)
    assert names == [pki().ca.name, pki().manufacturer.name]


@pytest.mark.parametrize("name", ["est.example", "EST.example."])
def test_a_dns_name_is_sent_to_the_server(name: str) -> None:
    client = TlsEngine(a_client(server_name=name))
    client.handshake()
    assert name.rstrip(".").encode() in client.outgoing()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "[::1]", "fe80::1%eth0"])
def test_an_address_is_not_sent_to_the_server(address: str) -> None:
    client = TlsEngine(a_client(server_name=address))
    client.handshake()
    hello = client.outgoing()
    assert b"http/1.1" in hello
    assert address.encode() not in hello


def raw_context(version: TlsVersion) -> SSL.Context:
    """Return a client context with the certificate of device-2, which has an intermediate."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(_WIRE_VERSIONS[version])
    client = pki().client_below_intermediate
    context.use_certificate(client.certificate)
    context.use_privatekey(client.key)  # type: ignore[arg-type]  # P-256
    for certificate in client.chain[1:]:
        context.add_extra_chain_cert(certificate)
    return context


def resumed(server: ServerContext, version: TlsVersion) -> RawClient:
    """Return a second connection that tried to resume the session of a first one."""
    return raw_client.resumed(server, raw_context(version))


@both_versions
def test_sessions_are_not_resumed_by_default(version: TlsVersion) -> None:
    second = resumed(a_server(), version)
    assert _openssl.session_reused(second.connection) is False
    assert not second.engine.channel().resumed


@both_versions
def test_sessions_are_resumed_where_that_is_configured(version: TlsVersion) -> None:
    second = resumed(a_server(resumption=True), version)
    assert _openssl.session_reused(second.connection) is True
    assert second.engine.channel().resumed


@pytest.mark.req("CB-002", "CB-004", "CB-020")
def test_the_servers_finished_message_comes_first_in_a_resumed_handshake() -> None:
    second = resumed(a_server(resumption=True), V12)
    binding = second.engine.channel().binding
    assert binding is not None
    assert binding.data == second.connection.get_peer_finished()
    assert binding.data != second.connection.get_finished()


def test_resumption_that_cannot_be_known_leaves_no_binding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_openssl, "session_reused", lambda _connection: None)
    channel = connected(a_client(version=V12), a_server(resumption=True)).server.channel()
    assert channel.binding is None
    channel = connected(a_client(version=V12), a_server()).server.channel()
    assert channel.binding is not None


@both_versions
@pytest.mark.req("EST-063")
def test_a_resumed_session_keeps_its_client_and_its_trust_class(version: TlsVersion) -> None:
    channel = resumed(a_server(resumption=True), version).engine.channel()
    assert channel.peer_chain == pki().client_below_intermediate.chain
    assert channel.trust_class is TrustClass.EXPLICIT


@both_versions
@pytest.mark.parametrize("case", ["no anchor", "usage of the issuer", "revoked", "no list"])
@pytest.mark.req("EST-061")
def test_a_certificate_that_failed_once_fails_in_the_resumed_session_too(
    version: TlsVersion, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "no anchor":
        server = a_server(trust=TrustAnchors(), resumption=True)
    elif case in ("revoked", "no list"):
        named = (pki().client_below_intermediate.certificate,) if case == "revoked" else ()
        lists = (pki().ca.crl(), pki().intermediate.crl(*named))
        revocation = Revocation(crls=lists if named else lists[:1])
        server = a_server(trust=replace(anchors(), revocation=revocation), resumption=True)
    else:
        issuer = Authority("Servers only", pki().ca, eku=(SERVER_AUTH,))
        monkeypatch.setattr(pki(), "client_below_intermediate", issuer.issue(Subject(name="d")))
        server = a_server(resumption=True)
    channel = resumed(server, version).engine.channel()
    assert channel.resumed
    assert channel.trust_class is TrustClass.FAILED


def test_a_client_never_resumes() -> None:
    ours, theirs = a_client(pki().client, version=V12), a_server(resumption=True)
    for _ in range(2):
        pair = connected(ours, theirs)
        assert not pair.server.channel().resumed
        assert not pair.client.channel().resumed


@pytest.mark.req("CB-005", "CB-006", "CB-007", "EST-055", "EST-177")
def test_renegotiation_is_refused() -> None:
    raw = RawClient(a_server(), raw_context(V12))
    raw.shake_hands()
    before = raw.engine.channel()
    raw.connection.renegotiate()
    with suppress(SSL.WantReadError):
        raw.connection.do_handshake()
    raw.to_server()
    assert raw.engine.read() is None
    raw.to_client()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        raw.connection.do_handshake()
    assert raw.engine.channel() is before


@pytest.mark.req("CB-006", "EST-055")
def test_a_client_does_not_renegotiate_either() -> None:
    """OpenSSL's servers refuse by themselves; its clients go along unless they are told."""
    server = raw_server()
    client = TlsEngine(a_client(version=V12))
    for _ in range(4):
        client.handshake()
        carried(client, server)
    before = client.channel()
    server.renegotiate()
    carried(client, server)
    assert client.read() is None
    server.bio_write(client.outgoing())
    with pytest.raises(SSL.Error, match="no renegotiation"):
        server.recv(1)
    assert client.channel() is before


def raw_server() -> SSL.Connection:
    """A server made of pyOpenSSL alone, which renegotiates."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(pki().server.certificate)
    context.use_privatekey(pki().server.key)  # type: ignore[arg-type]  # P-256
    server = SSL.Connection(context, None)
    server.set_accept_state()
    return server


def carried(client: TlsEngine, server: SSL.Connection) -> None:
    """Deliver what both have to say, and let the server go on with its handshake."""
    if data := client.outgoing():
        server.bio_write(data)
    with suppress(SSL.WantReadError):
        server.do_handshake()
    with suppress(SSL.WantReadError):
        client.receive(server.bio_read(65536))


@pytest.mark.req("CB-005", "CB-006", "CB-007", "EST-177")
def test_a_client_does_not_follow_a_server_that_asks_for_renegotiation() -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(pki().server.certificate)
    context.use_privatekey(pki().server.key)  # type: ignore[arg-type]  # P-256
    pair = connected(a_client(), replace(a_server(), openssl=context))
    raw = pair.server._connection
    raw.renegotiate()
    with suppress(SSL.WantReadError):
        raw.do_handshake()
    pair.client.receive(pair.server.outgoing())
    assert pair.client.read() is None
    content_type = pair.client.outgoing()[0]
    assert content_type == 21  # an alert, and no handshake message, which is 22


def test_a_context_reloaded_between_connections_changes_nothing_for_old_ones() -> None:
    before = connected(a_client(), a_server())
    after = connected(a_client(pki().client), a_server(trust=TrustAnchors()))
    before.server.write(b"still here")
    before.deliver()
    assert before.client.read() == b"still here"
    assert after.server.channel().trust_class is TrustClass.FAILED


def test_values_of_a_channel_show_no_key() -> None:
    server = a_server()
    assert "key=" not in repr(server.config.identities[0])
    assert replace(server).config is server.config
