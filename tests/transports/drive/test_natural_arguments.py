"""Paths as texts, keys as signers, one socket for a list: taken by the transports. No more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from est_core import LocalProtocolError, default_policy
from est_transports.authority.stores.passwords import PasswordChecks
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.channel.tls import ServerTlsConfig
from est_transports.client_config import ClientConfig, ClientTimeouts
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets import Client, CoapServer, Server
from est_transports.on_trio import CoapServer as TrioCoapServer
from est_transports.on_trio import Server as TrioServer
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import TlsIdentity, TrustAnchors, load_identity, load_pem_certificates
from est_transports.service.config.listen import ListenAddress, parse_listen
from est_transports.service.config.settings import CAConfig, TlsConfig
from tests.application import FakeApplication
from tests.pki import pki
from tests.transports.coap_site import a_coap_service
from tests.transports.https_site import identity_of, service, tls_context

KEY = ec.generate_private_key(ec.SECP256R1())
TIMEOUT_S = 60


def given(value: object) -> Any:
    """Of any type, for the type checker."""
    return value


def a_server(**changes: object) -> Server:
    context = tls_context()
    arguments = {
        "context_source": lambda: context,
        "application": FakeApplication(),
        "config": service(),
        **changes,
    }
    return Server(**given(arguments))


# Taken


@pytest.mark.parametrize("many", [False, True])
def test_a_server_takes_one_listener_or_a_list(many: bool) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = a_server()
    thread = threading.Thread(target=server.serve, args=([listener] if many else listener,))
    thread.start()
    socket.create_connection(listener.getsockname(), TIMEOUT_S).close()
    server.stop(0)
    thread.join(TIMEOUT_S)
    assert listener.fileno() == -1


@pytest.mark.parametrize("many", [False, True])
def test_a_server_on_trio_takes_one_listener_or_a_list(many: bool) -> None:
    async def main() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        context = tls_context()
        server = TrioServer(
            context_source=lambda: context, application=FakeApplication(), config=service()
        )
        with trio.fail_after(TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve, [listener] if many else listener)
                await trio.testing.wait_all_tasks_blocked()
                server.stop(0)

    trio.run(main)


def test_paths_may_be_texts(tmp_path: Path) -> None:
    store = SqliteStore.create(str(tmp_path / "est.db"))
    assert store.path == tmp_path / "est.db"
    store.close()
    certificate, key = pki().server.write(tmp_path, "server")
    identity = load_identity(given(str(certificate)), given(str(key)))
    assert identity.certificate == pki().server.certificate
    assert load_pem_certificates(given(str(certificate)))[0] == identity.certificate
    files = TlsConfig(certificate=given("a.pem"), key=given("b.pem"), client_trust=given(["c.pem"]))
    assert (files.certificate, files.key, files.client_trust) == (
        Path("a.pem"),
        Path("b.pem"),
        (Path("c.pem"),),
    )
    assert CAConfig(certificate=Path("a"), key=Path("b"), store=given("c")).store == Path("c")


def test_a_private_key_may_stand_for_its_signer() -> None:
    signer = ClientConfig(signer=given(KEY)).signer
    assert isinstance(signer, LocalSigner)
    assert signer.public_key_spki == LocalSigner(KEY).public_key_spki
    assert ClientConfig(signer=signer).signer is signer


def test_lists_may_stand_for_tuples() -> None:
    identity = identity_of(pki().server)
    assert TlsIdentity(chain=given([identity.certificate]), key=identity.key) == identity
    anchors = TrustAnchors(explicit=given([pki().ca.certificate]))
    assert anchors.certificates == (pki().ca.certificate,)
    assert ServerTlsConfig(identities=given([identity])).identities == (identity,)


def test_an_address_may_be_a_text() -> None:
    assert ListenAddress.from_argument("127.0.0.1:1") == parse_listen("127.0.0.1:1")
    assert ListenAddress.from_argument(5) is None


# Refused


def two_sockets() -> list[socket.socket]:
    return [socket.socket(), socket.socket()]


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: a_server().serve(given(8443)), "listeners must be a socket or a list of socket"),
    (lambda: a_server().serve(given("127.0.0.1:8443")), "not str"),
    (lambda: a_server().serve(given([8443])), "listeners must be"),
    (lambda: a_server().stop(given("now")), "drain_s must be a number"),
    (lambda: a_server(application=FakeApplication), "not the class FakeApplication"),
    (lambda: a_server(application=object()), "with one of authenticate, ca_certs"),
    (lambda: a_server(context_source=tls_context()), "context_source must be something to call"),
    (lambda: a_server(config=default_policy()), "config must be a ServiceConfig"),
    (lambda: a_server(threads="8"), "threads must be a whole number"),
    (lambda: a_server(threads=0), "needs a thread"),
    (lambda: a_server(observe=print.__name__), "observe must be something to call"),
    (lambda: ServiceConfig(policy=given({})), "policy must be a ServerPolicy"),
    (lambda: ClientConfig(signer=given(b"key")), "signer must be a Signer"),
    (lambda: ClientConfig(signer=given(KEY.public_key())), "signer must be a Signer"),
    (lambda: ClientConfig(identities=given(identity_of(pki().client))), "identities must be"),
    (lambda: ClientConfig(implicit=given([pki().ca.certificate])), "implicit must be a TrustAn"),
    (lambda: ClientConfig(credentials=given(("user", "password"))), "credentials must be"),
    (lambda: ClientTimeouts(connect_s=given("10")), "connect_s must be a number"),
    (lambda: Client(given(None)), "config must be a ClientConfig"),
    (lambda: Client(ClientConfig()).run(given(None)), "exchange must be a ClientExchange"),
    (lambda: CoapServer(source=given(a_coap_service())), "source must be something to call"),
    (lambda: CoapServer(source=a_coap_service, threads=0), "needs a thread"),
    (lambda: CoapServer(source=a_coap_service).serve(given([])), "sock must be a socket"),
    (lambda: TrioCoapServer(source=a_coap_service, threads=-1), "threads is not negative"),
    (lambda: LocalSigner(given(None)), "private_key must be"),
    (lambda: TlsIdentity(chain=(), key=given("key.pem")), "key must be"),
    (lambda: SqliteStore(given(None)), "path must be"),
    (lambda: PasswordChecks(at_once=given("2")), "at_once must be a whole number"),
    (lambda: ListenAddress(host="h", port=given("1")), "port must be a whole number"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_is_not_natural_is_refused(call: Callable[[], object], text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        call()
    assert text in str(caught.value)


def test_a_coap_server_does_not_choose_among_sockets() -> None:
    sockets = two_sockets()
    with pytest.raises(LocalProtocolError, match="sock must be a socket, not list"):
        CoapServer(source=a_coap_service).serve(given(sockets))
    for sock in sockets:
        assert sock.fileno() != -1  # left alone
        sock.close()
