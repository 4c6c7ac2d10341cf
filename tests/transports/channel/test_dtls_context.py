"""What a DTLS context made anew keeps to: versions, certificates, chains, sessions and cookies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_transports.channel import _openssl
from est_transports.channel.dtls import (
    DtlsClientContext,
    DtlsEngine,
    DtlsServerConfig,
    TlsError,
    dtls_client_context,
)
from est_transports.channel.dtls_limits import MAX_MTU_BYTES, MIN_MTU_BYTES, DtlsLimits
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.pki.trust import TrustAnchors
from tests.pki import Entity, pki
from tests.transports.client_hello import client_hello
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server, dtls_connected, dtls_pair
from tests.transports.tls_pair import anchors, identity

SERVER_NAME = 0


def plain_client(entity: Entity | None, version: int = 0xFEFD) -> DtlsClientContext:
    """Return a client made of pyOpenSSL alone, of one version and with every suite."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_options(SSL.OP_NO_QUERY_MTU)
    if entity is not None:
        context.use_certificate(entity.certificate)
        context.use_privatekey(entity.key)  # type: ignore[arg-type]  # P-256
    client = a_dtls_client()
    client.rules.verifier.install(context)
    return replace(client, openssl=context)


@pytest.mark.parametrize(
    ("client", "code"),
    [
        (lambda: plain_client(None), "tls/no-certificate"),
        (lambda: plain_client(pki().client, version=0xFEFF), "tls/version"),
    ],
    ids=["no certificate", "DTLS 1.0"],
)
@pytest.mark.req("COAPS-017")
def test_a_server_refuses_who_shows_no_certificate_or_speaks_dtls_1_0(
    client: Callable[[], DtlsClientContext], code: str
) -> None:
    two = dtls_pair(client(), a_dtls_server())
    with suppress(TlsError):
        two.shake_hands()
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    assert caught.value.code == code


def test_a_server_names_its_anchors_and_sends_none_of_them() -> None:
    two = dtls_connected(a_dtls_client(), a_dtls_server())
    named = {name.CN for name in two.client._connection.get_client_ca_list()}
    own = {each.subject.rfc4514_string().rpartition("CN=")[2] for each in anchors().certificates}
    assert named == own
    for engine in (two.client, two.server):
        assert len(engine.channel().peer_chain) == 1


def test_a_session_that_a_client_offers_again_is_not_resumed() -> None:
    server, client = a_dtls_server(), plain_client(pki().client)
    first = dtls_connected(client, server)
    session = first.client._connection.get_session()
    assert session is not None
    second = dtls_pair(client, server)
    second.client._connection.set_session(session)
    second.shake_hands()
    assert _openssl.session_reused(second.server._connection) is False
    assert second.server.channel().is_verified


@pytest.mark.parametrize("name, sent", [("est.example", b"est.example"), ("192.0.2.1", b"")])
def test_a_dns_name_is_sent_to_the_server_and_an_address_is_not(name: str, sent: bytes) -> None:
    client = DtlsEngine(a_dtls_client(server_name=name))
    client.handshake()
    (hello,) = client.outgoing()
    assert client_hello(hello).extensions.get(SERVER_NAME, b"")[5:] == sent


def test_a_client_shows_who_it_is_and_knows_whom_it_trusts() -> None:
    own = identity(pki().client)
    for config, missing in (
        (ClientTlsConfig(server_name="x", trust=anchors()), "needs an identity"),
        (ClientTlsConfig(server_name="x", trust=TrustAnchors(), identity=own), "needs trust"),
        (
            ClientTlsConfig(server_name="x", trust=anchors(), identity=own, provisional=True),
            "needs trust",
        ),
    ):
        with pytest.raises(LocalProtocolError, match=missing):
            dtls_client_context(config)


@pytest.mark.parametrize("mtu_bytes", [MIN_MTU_BYTES, MAX_MTU_BYTES])
def test_the_bounds_of_an_mtu_are_allowed_and_what_is_beyond_is_not(mtu_bytes: int) -> None:
    beyond = mtu_bytes + (1 if mtu_bytes == MAX_MTU_BYTES else -1)
    assert a_dtls_client(mtu_bytes=mtu_bytes).mtu_bytes == mtu_bytes
    assert a_dtls_server(mtu_bytes=mtu_bytes).mtu_bytes == mtu_bytes
    with pytest.raises(LocalProtocolError, match="mtu_bytes"):
        a_dtls_client(mtu_bytes=beyond)
    with pytest.raises(LocalProtocolError, match="mtu_bytes"):
        DtlsServerConfig(identity=identity(pki().server), mtu_bytes=beyond)


def test_a_hello_that_comes_while_there_is_no_cookie_leads_to_nothing() -> None:
    listener, client = DtlsEngine(a_dtls_server()), DtlsEngine(a_dtls_client())
    assert not listener.listen(b"", (b"c" * 32,))
    client.handshake()
    (hello,) = client.outgoing()
    assert not listener.listen(hello, ())
    listener.outgoing()
    assert not listener.listen(hello, (b"c" * 32,))
    (verify,) = listener.outgoing()
    client.receive(verify)
    (second,) = client.outgoing()
    assert not listener.listen(second, ())


def test_the_limits_reach_as_far_as_a_listener_looks_for_a_hello() -> None:
    assert DtlsLimits(datagram_bytes=16 * 1024).datagram_bytes == 16 * 1024
