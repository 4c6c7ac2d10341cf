"""TLS-SRP over real sockets: servers and clients of each runtime, and a crowd of them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager

import pytest
import trio

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    Authentication,
    BasicCredentials,
    CACertsReceived,
    ClientResult,
    ClientSession,
    Enrolled,
    EnrollRequested,
    Failed,
    PolicyRow,
    PopMode,
    RetryLater,
    ServerPolicy,
    Verified,
    default_policy,
)
from est_transports.channel import SrpLogin
from est_transports.channel.tls import ServerContext
from est_transports.fairness.handshake_scheduler import LONG_AT_ONCE
from est_transports.http.settings import ServiceConfig
from est_transports.on_asyncio import Client as AsyncioClient
from est_transports.on_asyncio import Server as AsyncioServer
from est_transports.on_sockets import Client
from est_transports.on_trio import Client as TrioClient
from est_transports.on_trio import Server as TrioServer
from tests.application import FakeApplication
from tests.pki import pki
from tests.transports.https_site import (
    CACERTS_CLOSE,
    Log,
    client_config,
    identity_of,
    new_device,
    service,
    statuses,
)
from tests.transports.sockets_site import (
    TIMEOUT_S,
    RawClient,
    in_trio_thread,
    running,
    until,
)
from tests.transports.srp_pair import PASSWORD, User, taking, user, users

Site = Callable[[FakeApplication, ServerContext, Log], AbstractContextManager[int]]


@contextmanager
def on_sockets(application: FakeApplication, context: ServerContext, log: Log) -> Iterator[int]:
    with running(application, context_source=lambda: context, observe=log) as est:
        yield est.port


@contextmanager
def on_trio(application: FakeApplication, context: ServerContext, log: Log) -> Iterator[int]:
    ports = []

    async def begin() -> tuple[TrioServer, list[trio.SocketListener]]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ports.append(listeners[0].socket.getsockname()[1])
        server = TrioServer(
            context_source=lambda: context, application=application, config=service(), observe=log
        )
        return server, listeners

    with in_trio_thread(begin):
        yield ports[0]


@contextmanager
def on_asyncio(application: FakeApplication, context: ServerContext, log: Log) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    begun: Future[tuple[AsyncioServer, asyncio.AbstractEventLoop]] = Future()
    port = listener.getsockname()[1]

    async def serve() -> None:
        server = AsyncioServer(
            context_source=lambda: context, application=application, config=service(), observe=log
        )
        begun.set_result((server, asyncio.get_running_loop()))
        await server.serve(listener)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    server, loop = begun.result(TIMEOUT_S)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(server.stop, 0)
        thread.join(TIMEOUT_S)


SITES = pytest.mark.parametrize("site", [on_sockets, on_trio, on_asyncio])
LOGIN = SrpLogin(name="device-7", password=PASSWORD)


def enroll(port: int, login: SrpLogin = LOGIN) -> ClientResult | RetryLater:
    """Enroll without a trust anchor and without a certificate, linked to the channel."""
    device = new_device()
    session = ClientSession(f"https://localhost:{port}", pop=PopMode.ALWAYS)
    with Client(client_config(srp=login, signer=device.signer)) as client:
        return client.run(session.enroll(device.info))


@pytest.mark.req("EST-071", "EST-077")
@SITES
def test_who_knows_the_password_enrolls_linked_to_the_channel(site: Site) -> None:
    application, log = FakeApplication(), Log()
    with site(application, taking(), log) as port:
        result = enroll(port)
    assert isinstance(result, Enrolled), result
    (question,) = [each for each in application.asked if isinstance(each, EnrollRequested)]
    assert question.identity.user == "device-7"
    assert question.identity.certificate is None
    assert question.linked
    assert [(each.status, each.code) for each in log.records] == [(200, "")]


@pytest.mark.parametrize(
    ("name", "code"), [("device-7", ""), ("alice", "auth/conflicting-credentials")]
)
def test_a_password_beside_it_is_of_the_same_user(name: str, code: str) -> None:
    application, log = FakeApplication({AuthenticateRequested: Verified(user=name)}), Log()
    row = PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.CERT_AND_HTTP)
    config = ServiceConfig(policy=ServerPolicy(rows=(row,), challenges=default_policy().challenges))
    login = BasicCredentials(user=name, password="of that user")
    context = taking()
    with running(application, config, context_source=lambda: context, observe=log) as est:
        device = new_device()
        session = ClientSession(f"https://localhost:{est.port}")
        settings = client_config(srp=LOGIN, signer=device.signer, credentials=lambda _asked: login)
        with Client(settings) as client:
            result = client.run(session.enroll(device.info))
    assert isinstance(result, Failed if code else Enrolled), result
    assert [record.code for record in log.records] == ["auth/missing", code]
    assert len(application.issued) == (not code)


@SITES
def test_who_does_not_gets_no_answer_and_is_on_record(site: Site) -> None:
    log = Log()
    with site(FakeApplication(), taking(), log) as port:
        result = enroll(port, SrpLogin(name="device-7", password="wrong"))
        until(lambda: bool(log.records))
    assert isinstance(result, Failed)
    assert result.code == "tls/srp-refused"
    assert [record.code for record in log.records] == ["tls/srp-refused"]
    assert [each.user for each in log.records[0].authentications] == ["device-7"]


@SITES
def test_a_crowd_that_waits_for_a_slow_store_holds_up_nobody_else(site: Site) -> None:
    asked, go_on = [], threading.Event()

    def slow(name: str) -> User | None:
        asked.append(name)
        assert go_on.wait(TIMEOUT_S)
        return users().get(name)

    results: list[object] = []
    with site(FakeApplication(), taking(find=slow), Log()) as port:
        crowd = [
            threading.Thread(target=lambda: results.append(enroll(port)))
            for _ in range(LONG_AT_ONCE + 2)
        ]
        for each in crowd:
            each.start()
        until(lambda: len(asked) == LONG_AT_ONCE)
        honest = RawClient(port).shake_hands().say(CACERTS_CLOSE)
        assert statuses(honest.hear_all()) == [200]
        honest.close()
        assert len(asked) == LONG_AT_ONCE
        go_on.set()
        for each in crowd:
            each.join(TIMEOUT_S)
    assert [type(each) for each in results] == [Enrolled] * len(crowd)


@pytest.mark.parametrize("runtime", ["trio", "asyncio"])
def test_clients_of_event_loops_log_in_too(runtime: str) -> None:
    with on_sockets(FakeApplication(), taking(), Log()) as port:
        session = ClientSession(f"https://localhost:{port}")

        async def on_trio_loop() -> object:
            async with TrioClient(client_config(srp=LOGIN)) as client:
                return await client.run(session.cacerts())

        async def on_asyncio_loop() -> object:
            async with AsyncioClient(client_config(srp=LOGIN)) as client:
                return await client.run(session.cacerts())

        result = trio.run(on_trio_loop) if runtime == "trio" else asyncio.run(on_asyncio_loop())
    assert isinstance(result, CACertsReceived)


def test_a_bootstrap_by_srp_needs_nobody_to_trust_what_came() -> None:
    with on_sockets(FakeApplication(), taking(), Log()) as port:
        session = ClientSession(f"https://localhost:{port}")
        with Client(client_config(srp=LOGIN)) as client:
            result = client.run(session.cacerts(bootstrap=True))
    assert isinstance(result, CACertsReceived), result


def test_the_login_is_for_the_servers_own_origin_and_a_certificate_comes_first() -> None:
    """A redirect to another origin is followed without it; who has a certificate shows that."""
    application = FakeApplication()
    with on_sockets(application, taking(user("somebody-else")), Log()) as port:
        cast = pki()
        session = ClientSession(
            f"https://localhost:{port}",
            trust=(cast.ca.certificate,),
            identity=cast.client.certificate,
        )
        config = client_config(srp=LOGIN, identities=(identity_of(cast.client),))
        with Client(config) as client:
            result = client.run(session.cacerts())
    assert isinstance(result, CACertsReceived), result
