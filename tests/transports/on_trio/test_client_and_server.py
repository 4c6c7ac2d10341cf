"""The trio server and client: over loopback, and over memory with a clock that jumps."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial, wraps
from typing import Final

import pytest
import trio
import trio.testing

from est_core import (
    AuthScheme,
    BasicCredentials,
    CACertsReceived,
    ClientSession,
    CredentialsRequested,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Instant,
    Limits,
    Password,
    RetryLater,
    TlsVersion,
)
from est_transports.channel.tls import ClientTlsConfig, TlsEngine, client_context
from est_transports.client_config import ClientTimeouts
from est_transports.http.settings import Timeouts
from est_transports.on_trio import Client, Server
from est_transports.on_trio.tls import TlsBrokenError, TlsStream
from est_transports.pki.trust import TrustAnchors
from tests.application import PASSWORD, USER, FakeApplication
from tests.pki import pki
from tests.transports.coap_udp import Gate
from tests.transports.https_site import (
    CACERTS,
    CACERTS_CLOSE,
    Log,
    client_config,
    enroll_request,
    identity_of,
    new_device,
    service,
    statuses,
    tls_context,
)

WAIT_S: Final = 60.0

Test = Callable[..., Awaitable[None]]


def on_trio(test: Test) -> Callable[..., None]:
    """Run an async test; none takes longer than ten seconds."""

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        async def bounded() -> None:
            with trio.fail_after(10):
                await test(*args, **kwargs)

        trio.run(bounded)

    return run


def on_mock_clock(test: Test) -> Callable[..., None]:
    """Run an async test whose time jumps whenever everybody waits."""

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        trio.run(partial(test, *args, **kwargs), clock=trio.testing.MockClock(autojump_threshold=0))

    return run


def on_advancing_clock(test: Test) -> Callable[..., None]:
    """Run an async test whose time passes as it does, and jumps with `advance`.

    A server that is to know needs `clock=mock_instant`.
    """

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        trio.run(partial(test, *args, **kwargs), clock=trio.testing.MockClock(rate=1))

    return run


def advance(seconds: float) -> None:
    """Let that much time have passed."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(seconds)


UNHURRIED: Final = Timeouts(handshake_s=1e6, head_s=1e6, body_s=1e6, idle_s=1e6, write_s=1e6)
"""Those of a server whose decisions alone are late when the clock is advanced."""


def trust() -> TrustAnchors:
    return TrustAnchors(explicit=(pki().ca.certificate,))


def client_engine(name: str = "localhost") -> TlsEngine:
    return TlsEngine(client_context(ClientTlsConfig(server_name=name, trust=trust())))


@dataclass
class Running:
    """A server that runs, and how to reach it."""

    server: Server
    application: FakeApplication
    log: Log
    port: int
    streams: list[TlsStream] = field(default_factory=list)

    @property
    def uri(self) -> EstUri:
        return EstUri.parse(f"https://localhost:{self.port}")

    def session(self, **changes: object) -> ClientSession:
        return ClientSession(self.uri, trust=(pki().ca.certificate,), **changes)  # type: ignore[arg-type]

    async def connect(self) -> TlsStream:
        transport = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(TlsStream(transport, client_engine()))
        return self.streams[-1]

    async def ask(self, *pieces: bytes) -> bytes:
        """Send the pieces over one connection and return all there is to read."""
        async with await self.connect() as stream:
            for piece in pieces:
                await stream.send_all(piece)
            return await read_all(stream)


def wait_for(gate: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        gate.wait(5)

    return wait


async def read_all(stream: TlsStream) -> bytes:
    answers = b""
    while data := await stream.receive_some():
        answers += data
    return answers


async def read_answer(stream: TlsStream) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await stream.receive_some()
        assert data
        answer += data
    return answer


@asynccontextmanager
async def running(**changes: object) -> AsyncIterator[Running]:
    """Run a server on a free port; stop it at the end."""
    application = changes.pop("application", None) or FakeApplication()
    assert isinstance(application, FakeApplication)
    log = Log()
    context = tls_context()
    config = changes.pop("config", None) or service()
    server = Server(
        context_source=lambda: context,
        application=application,
        config=config,  # type: ignore[arg-type]  # a ServiceConfig
        **{"observe": log, **changes},  # type: ignore[arg-type]  # by name
    )
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.serve, listeners))
        est = Running(server=server, application=application, log=log, port=port)
        yield est
        server.stop(drain_s=1)
        for stream in est.streams:
            await trio.aclose_forcefully(stream)


@on_trio
async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with running() as est:
        answers = await est.ask(CACERTS, CACERTS, enroll_request(b"x"), CACERTS_CLOSE)
        assert statuses(answers) == [200, 200, 401, 200]
    assert est.log.codes == [(200, ""), (200, ""), (401, "auth/missing"), (200, "")]
    assert est.log.records[0].peer.startswith("127.0.0.1:")


@on_trio
async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with running() as est:
        assert statuses(await est.ask(CACERTS * 5 + CACERTS_CLOSE)) == [200] * 6


@on_trio
async def test_the_hundredth_answer_closes_the_connection() -> None:
    async with running(threads=0) as est:
        assert statuses(await est.ask(CACERTS * 101)) == [200] * 100


@on_trio
async def test_a_refused_upload_is_answered_though_more_was_sent() -> None:
    raw = enroll_request(b"", framing=b"Content-Length: 150000")
    async with running() as est:
        answers = await est.ask(raw + b"a" * 150000, CACERTS)
        assert statuses(answers) == [413]


@on_trio
async def test_the_application_runs_in_threads_or_where_the_server_runs() -> None:
    here = threading.get_ident()
    async with running() as est:
        await est.ask(CACERTS_CLOSE)
        assert here not in est.application.threads
    async with running(threads=0) as est:
        await est.ask(CACERTS_CLOSE)
        assert est.application.threads == {here}


@on_trio
async def test_no_more_threads_than_allowed() -> None:
    gate = threading.Barrier(2, timeout=5)  # breaks unless two are in at once
    lock, inside, most = threading.Lock(), 0, 0

    def meet() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait()
        with lock:
            inside -= 1

    async with running(application=FakeApplication(before=meet), threads=2) as est:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(est.ask, CACERTS_CLOSE)
        assert [status for status, _ in est.log.codes] == [200] * 4
        assert most == 2


@on_trio
async def test_a_broken_application_does_not_end_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fall_over() -> None:
        raise ZeroDivisionError("by chance")

    async with running(application=FakeApplication(before=fall_over)) as est:
        assert statuses(await est.ask(CACERTS_CLOSE)) == [500]
        est.application.before = lambda: None
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
    assert "ZeroDivisionError" in caplog.text


@on_trio
async def test_a_broken_observer_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    def fall_over(_record: object) -> None:
        raise ZeroDivisionError("by chance")

    async with running(observe=fall_over) as est:
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
    assert "the observer failed" in caplog.text


@on_trio
async def test_stopping_answers_six_requests_in_flight_and_refuses_new_connections() -> None:
    entered, gate = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        entered.release()
        gate.wait(5)

    answers: list[bytes] = []

    async with running(application=FakeApplication(before=wait)) as est:

        async def ask() -> None:
            answers.append(await est.ask(CACERTS))

        async with trio.open_nursery() as nursery:
            idle = await est.connect()
            await idle.do_handshake()
            for _ in range(6):
                nursery.start_soon(ask)
            for _ in range(6):
                await trio.to_thread.run_sync(entered.acquire)
            est.server.stop(drain_s=5)
            assert await idle.receive_some() == b""
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", est.port)
            gate.set()
    assert [statuses(answer) for answer in answers] == [[200]] * 6
    assert all(b"\r\nConnection: close\r\n" in answer for answer in answers)


@on_trio
async def test_stopping_does_not_wait_for_ever() -> None:
    gate = threading.Event()
    application = FakeApplication(before=wait_for(gate))
    async with running(application=application) as est:
        stream = await est.connect()
        await stream.send_all(CACERTS)
        while not application.threads:
            await trio.sleep(0)
        est.server.stop(drain_s=0)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    gate.set()


@on_trio
async def test_a_client_over_the_cap_waits_until_another_leaves() -> None:
    async with running(connections_max=2) as est:
        first, second = await est.connect(), await est.connect()
        await first.do_handshake()
        await second.do_handshake()
        third = await est.connect()
        async with trio.open_nursery() as nursery:
            served = trio.Event()

            async def third_one() -> None:
                await third.send_all(CACERTS)
                await read_answer(third)
                served.set()

            nursery.start_soon(third_one)
            await second.send_all(CACERTS)
            await read_answer(second)
            assert not served.is_set()
            await first.aclose()
            await served.wait()


@on_trio
async def test_failed_handshakes_are_recorded_and_harmless() -> None:
    async with running() as est:
        plain = await trio.open_tcp_stream("127.0.0.1", est.port)
        await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
        while await plain.receive_some():
            pass
        await plain.aclose()
        gone = await trio.open_tcp_stream("127.0.0.1", est.port)
        await gone.aclose()
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        while len(est.log.records) < 3:
            await trio.sleep(0)
        assert sorted(est.log.codes) == [(0, "tls/closed"), (0, "tls/not-tls"), (200, "")]


@on_trio
async def test_a_client_that_vanishes_leaves_a_record_and_the_server_alone() -> None:
    async with running() as est:
        stream = await est.connect()
        await stream.send_all(enroll_request(b"x" * 100)[:-50])
        await trio.aclose_forcefully(stream.transport)
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        while len(est.log.records) < 2:
            await trio.sleep(0)
        assert {record.code for record in est.log.records} >= {""}


# Time


@dataclass
class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts what a test puts in."""

    put: trio.MemorySendChannel[trio.abc.Stream] = field(init=False)

    def __post_init__(self) -> None:
        self.put, self._taken = trio.open_memory_channel[trio.abc.Stream](10)

    async def accept(self) -> trio.abc.Stream:
        return await self._taken.receive()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def mock_instant() -> Instant:
    return Instant(mono=trio.current_time(), wall=datetime(2026, 1, 2, tzinfo=UTC))


@asynccontextmanager
async def in_memory(
    pair: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]] = trio.testing.memory_stream_pair,
    **timeouts: float,
) -> AsyncIterator[tuple[trio.abc.Stream, Log]]:
    """Run a server whose one client is at the other end of the stream."""
    listener, log, context = MemoryListener(), Log(), tls_context()
    server = Server(
        context_source=lambda: context,
        application=FakeApplication(),
        config=service(timeouts=Timeouts(**timeouts)),
        observe=log,
        threads=0,
        clock=mock_instant,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.serve, [listener]))
        ours, theirs = pair()
        await listener.put.send(theirs)
        yield ours, log
        server.stop()


@on_mock_clock
async def test_a_handshake_that_does_not_come_is_cut_off() -> None:
    async with in_memory() as (transport, log):
        start = trio.current_time()
        assert await transport.receive_some() == b""
        assert trio.current_time() - start == pytest.approx(10)
        assert log.codes == [(0, "tls/timeout")]


@pytest.mark.parametrize(
    ("sent", "seconds", "answer"),
    [
        (b"", 10, []),
        (CACERTS[:20], 10, [408]),
        (enroll_request(b"x" * 50)[:-1], 20, [408]),
        (CACERTS, 30, [200]),
    ],
)
@on_mock_clock
async def test_a_slow_client_is_cut_off_at_the_deadline(
    sent: bytes, seconds: float, answer: list[int]
) -> None:
    async with in_memory() as (transport, log):
        stream = TlsStream(transport, client_engine())
        await stream.do_handshake()
        start = trio.current_time()
        if sent:
            await stream.send_all(sent)
        assert statuses(await read_all(stream)) == answer
        assert trio.current_time() - start == pytest.approx(seconds, abs=0.1)
        assert [status for status, _ in log.codes] == answer


@on_mock_clock
async def test_a_client_that_does_not_read_is_given_up() -> None:
    ends = trio.testing.memory_stream_pair()
    async with in_memory(lambda: ends, write_s=5) as (transport, log):
        stream = TlsStream(transport, client_engine())
        await stream.do_handshake()
        await trio.testing.wait_all_tasks_blocked()
        ends[1].send_stream.send_all_hook = trio.sleep_forever
        await stream.send_all(CACERTS)
        await trio.sleep(4.9)
        assert log.codes == []
        await trio.sleep(0.2)
        assert log.codes == [(200, "connection/lost")]


@on_mock_clock
async def test_a_client_that_does_not_close_is_closed_after_the_last_answer() -> None:
    async with in_memory() as (transport, _):
        stream = TlsStream(transport, client_engine())
        start = trio.current_time()
        await stream.send_all(CACERTS_CLOSE)
        assert statuses(await read_all(stream)) == [200]
        with suppress(trio.BrokenResourceError):
            while True:
                await transport.send_all(b"\0")
                await trio.sleep(0.1)
        assert trio.current_time() - start == pytest.approx(2, abs=0.2)


@on_advancing_clock
async def test_a_slow_application_is_answered_for_and_the_connection_goes_on() -> None:
    gate = Gate()
    config = service(limits=Limits(decision_s=60), timeouts=UNHURRIED)
    async with running(
        application=FakeApplication(before=gate), config=config, clock=mock_instant
    ) as est:
        stream = await est.connect()
        await stream.send_all(CACERTS)
        assert await trio.to_thread.run_sync(gate.reached.wait, WAIT_S)
        advance(61)
        assert statuses(await read_answer(stream)) == [503]
        gate.opened.set()
        await stream.send_all(CACERTS)
        assert statuses(await read_answer(stream)) == [200]


@on_advancing_clock
async def test_a_question_whose_time_is_over_before_a_thread_is_free_is_not_asked() -> None:
    gate, asked = threading.Event(), []

    def wait() -> None:
        asked.append(0)
        gate.wait(WAIT_S)

    application = FakeApplication(before=wait)
    config = service(limits=Limits(decision_s=60), timeouts=UNHURRIED)
    async with running(
        application=application, config=config, threads=1, clock=mock_instant
    ) as est:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(est.ask, CACERTS_CLOSE)
            while not asked:
                await trio.sleep(0)
            while len(est.log.codes) < 4:
                advance(61)
                await trio.sleep(0)
        assert [status for status, _ in est.log.codes] == [503] * 4
        gate.set()
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        assert len(asked) == 2  # the first, which hung, and the last


# The stream


async def make_streams() -> tuple[TlsStream, TlsStream]:
    ours, theirs = trio.testing.memory_stream_pair()
    client, server = TlsStream(ours, client_engine()), TlsStream(theirs, TlsEngine(tls_context()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


@on_trio
async def test_the_stream_is_a_trio_stream() -> None:
    await trio.testing.check_two_way_stream(make_streams, None)


@on_trio
async def test_what_tls_finds_wrong_has_a_code() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    server = TlsStream(theirs, TlsEngine(tls_context()))
    await ours.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(TlsBrokenError) as caught:
        await server.receive_some()
    assert caught.value.error.code == "tls/not-tls"


# The client


@on_trio
async def test_a_client_enrolls_and_keeps_its_connection() -> None:
    device = new_device()
    async with running() as est:
        session = est.session(credentials=BasicCredentials(user=USER, password=PASSWORD))
        async with Client(client_config(signer=device.signer)) as client:
            assert isinstance(await client.run(session.cacerts()), CACertsReceived)
            enrolled = await client.run(session.enroll(device.info))
            assert isinstance(enrolled, Enrolled)
            assert await client.run(session.csrattrs()) == CSRAttrsReceived(csrattrs=None)
            assert isinstance(await client.run(session.cacerts()), CACertsReceived)
            assert await client.run(session.csrattrs()) == CSRAttrsReceived(csrattrs=None)
            again = await client.run(session.enroll(device.info))  # a POST, after a 204
            assert isinstance(again, Enrolled)
        while len(est.log.records) < 6:
            await trio.sleep(0)
    peers = [record.peer for record in est.log.records]
    assert len(set(peers[:5])) == 1
    assert peers[5] != peers[4]
    assert est.log.records[1].issued == enrolled.certificate


@pytest.mark.req("EST-098")
@on_trio
async def test_a_client_that_trusts_nobody_bootstraps_and_enrolls_on_another_connection() -> None:
    device = new_device()
    config = client_config(signer=device.signer, trust=lambda question: question.candidates)
    async with running() as est, Client(config) as client:
        received = await client.run(ClientSession(est.uri).cacerts(bootstrap=True))
        assert isinstance(received, CACertsReceived)
        passed = BasicCredentials(user=USER, password=PASSWORD)
        session = ClientSession(est.uri, trust=received.trusted, credentials=passed)
        assert isinstance(await client.run(session.enroll(device.info)), Enrolled)
    assert len({record.peer for record in est.log.records}) == 2


@on_trio
async def test_a_client_asks_for_credentials_when_challenged() -> None:
    device, asked = new_device(), []

    async def credentials(question: CredentialsRequested) -> Password:
        await trio.lowlevel.checkpoint()
        asked.append(question.schemes)
        return Password(user=USER, password=PASSWORD)

    async with running() as est:
        config = client_config(signer=device.signer, credentials=credentials)
        async with Client(config) as client:
            result = await client.run(est.session().enroll(device.info))
    assert isinstance(result, Enrolled)
    assert asked == [{AuthScheme.BASIC}]


@on_trio
async def test_a_client_renews_with_its_certificate_on_a_connection_of_its_own() -> None:
    device = new_device()
    mine = pki().client
    async with running() as est:
        config = client_config(signer=device.signer, identities=(identity_of(mine),))
        async with Client(config) as client:
            await client.run(est.session().cacerts())
            session = est.session(identity=mine.certificate)
            result = await client.run(session.cacerts())
            assert isinstance(result, CACertsReceived)
        while len(est.log.records) < 2:
            await trio.sleep(0)
    assert len({record.peer for record in est.log.records}) == 2


@on_trio
async def test_a_client_connects_anew_where_the_server_hung_up() -> None:
    async with running(config=service(requests_max=1)) as est, Client(client_config()) as client:
        for _ in range(3):
            assert isinstance(await client.run(est.session().cacerts()), CACertsReceived)


@on_trio
async def test_a_pending_request_is_reported_or_waited_for() -> None:
    device = new_device()

    async with running() as est:
        est.application.pend(1)
        session = est.session(credentials=BasicCredentials(user=USER, password=PASSWORD))
        async with Client(client_config(signer=device.signer)) as client:
            exchange = session.enroll(device.info)
            assert isinstance(await client.run(exchange), RetryLater)
            assert isinstance(await client.run(exchange), RetryLater)
            assert isinstance(await client.run(exchange, wait_s=5), Enrolled)


@on_trio
async def test_a_client_goes_down_to_tls_1_2_over_a_new_connection() -> None:
    async with running() as est, Client(client_config()) as client:
        await client.run(est.session().cacerts())
        result = await client.run(est.session(max_version=TlsVersion.TLS_1_2).cacerts())
        assert isinstance(result, CACertsReceived)
        while len(est.log.records) < 2:
            await trio.sleep(0)
        assert len({record.peer for record in est.log.records}) == 2
        # 1.2 is good enough for who takes any version
        await client.run(est.session().cacerts())


async def failure(uri: str, **timeouts: float) -> str:
    session = ClientSession(EstUri.parse(uri), trust=(pki().ca.certificate,))
    config = client_config(timeouts=ClientTimeouts(**timeouts))
    async with Client(config) as client:
        result = await client.run(session.cacerts())
    assert isinstance(result, Failed)
    return result.code


@on_trio
async def test_a_client_says_why_it_cannot_connect() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    assert await failure(f"https://127.0.0.1:{port}", handshake_s=0.05) == "tls/timeout"
    await listeners[0].aclose()
    assert await failure(f"https://127.0.0.1:{port}") == "connect/refused"
    assert await failure("https://no-such-host.invalid") == "connect/unknown-host"


@on_trio
async def test_a_client_refuses_a_server_that_it_cannot_verify() -> None:
    async with running() as est:
        session = ClientSession(est.uri, trust=(pki().rogue.certificate,))
        async with Client(client_config()) as client:
            result = await client.run(session.cacerts())
    assert isinstance(result, Failed)
    assert result.code == "tls/untrusted-server"


async def rude_server(answer: bytes | None) -> tuple[str, str]:
    """Return the code and message of a client whose server answers this and hangs up."""

    async def serve(transport: trio.SocketStream) -> None:
        stream = TlsStream(transport, TlsEngine(tls_context()))
        await stream.do_handshake()
        await stream.receive_some()
        if answer is None:
            await trio.sleep_forever()
        elif answer:
            await stream.send_all(answer)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        config = client_config(
            timeouts=ClientTimeouts(response_s=0.1 if answer is None else 60.0),
            signer=(device := new_device()).signer,
        )
        session = ClientSession(
            EstUri.parse(f"https://localhost:{port}"),
            trust=(pki().ca.certificate,),
            credentials=BasicCredentials(user=USER, password=PASSWORD),
        )
        async with Client(config) as client:
            result = await client.run(session.enroll(device.info))
        nursery.cancel_scope.cancel()
    assert isinstance(result, Failed)
    return result.code, result.message


@on_trio
async def test_a_client_that_is_cancelled_in_a_handshake_leaves_nothing_open() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    uri = EstUri.parse(f"https://localhost:{listeners[0].socket.getsockname()[1]}")
    ended, asking = trio.Event(), trio.CancelScope()

    async def hear(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asking.cancel()
        while await stream.receive_some():
            pass
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, hear, listeners))
        async with Client(client_config()) as client:
            with asking:
                await client.run(ClientSession(uri, trust=(pki().ca.certificate,)).cacerts())
            await ended.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "http/timeout"),
        (b"", "connection/lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "http/truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "http/truncated"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", "tls/truncated"),
        (b"SMTP\r\n\r\n", "http/malformed-head"),
    ],
)
@on_trio
async def test_a_client_says_what_was_wrong_with_the_answer(
    answer: bytes | None, code: str
) -> None:
    assert (await rude_server(answer))[0] == code
