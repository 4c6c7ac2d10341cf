"""The server and the client on asyncio, over the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from math import inf
from typing import Any

import pytest

from est_core import (
    AuthScheme,
    BasicCredentials,
    CACertsReceived,
    CACertsRequested,
    ClientSession,
    CredentialsRequested,
    CSRAttrsReceived,
    Decision,
    Enrolled,
    EstUri,
    Failed,
    Instant,
    Issue,
    Limits,
    LocalProtocolError,
    Password,
    RetryLater,
    TlsVersion,
)
from est_transports import _clock
from est_transports.channel.tls import ClientTlsConfig, TlsEngine, client_context
from est_transports.client_config import ClientTimeouts
from est_transports.fairness.handshake_scheduler import LONG_AT_ONCE
from est_transports.http.settings import Timeouts
from est_transports.on_asyncio import Client, CoapServer, Server
from est_transports.on_asyncio.event_loop import AsyncioLoop
from est_transports.on_asyncio.tls import WITHOUT_TURN_MAX, TlsStream
from est_transports.on_sockets import CoapServer as SocketsCoapServer
from est_transports.pki.trust import TrustAnchors
from tests.application import PASSWORD, USER, AsyncFakeApplication, FakeApplication, HalfAsync
from tests.pki import pki
from tests.transports.coap_site import a_coap_service
from tests.transports.coap_udp import a_udp_socket
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

Test = Callable[..., Coroutine[Any, Any, None]]
PASSED = BasicCredentials(user=USER, password=PASSWORD)
TIMEOUT_S = 60


def on_asyncio(test: Test) -> Callable[..., None]:
    """Run an async test, for ten seconds at most, with what asyncio finds suspicious an error."""

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(TIMEOUT_S):
                await test(*args, **kwargs)

        asyncio.run(bounded(), debug=True)

    return run


class Ahead:
    """The clock of the running loop, and of a server in it, which can be set forward."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        self._passed_s = 0.0
        loop.time = lambda: real() + self._passed_s  # type: ignore[method-assign]

    def __call__(self) -> Instant:
        return _clock.instant().after(self._passed_s)

    def advance(self, seconds: float) -> None:
        """Let that much time have passed: less than TIMEOUT_S, which is measured by it too."""
        self._passed_s += seconds


def client_engine() -> TlsEngine:
    trust = TrustAnchors(explicit=(pki().ca.certificate,))
    return TlsEngine(client_context(ClientTlsConfig(server_name="localhost", trust=trust)))


@dataclass
class Running:
    """A server that runs, and how to reach it."""

    server: Server
    application: Any
    log: Log
    port: int
    serving: asyncio.Task[None]
    streams: list[TlsStream] = field(default_factory=list)

    @property
    def uri(self) -> EstUri:
        return EstUri.parse(f"https://localhost:{self.port}")

    def session(self, **changes: object) -> ClientSession:
        return ClientSession(self.uri, trust=(pki().ca.certificate,), **changes)  # type: ignore[arg-type]

    async def connect(self) -> TlsStream:
        stream = TlsStream(await tcp(self.port), client_engine())
        self.streams.append(stream)
        await stream.do_handshake()
        return stream

    async def ask(self, *pieces: bytes) -> bytes:
        """Send the pieces over one connection and return all there is to read."""
        stream = await self.connect()
        for piece in pieces:
            await stream.send_all(piece)
        answers = await read_all(stream)
        await stream.aclose()
        return answers


async def tcp(port: int) -> socket.socket:
    """A connected socket."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


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


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@asynccontextmanager
async def running(application: Any = None, **changes: Any) -> AsyncIterator[Running]:
    """Run a server on a free port; stop it at the end."""
    application = application or FakeApplication()
    log, context = Log(), tls_context()
    server = Server(
        context_source=lambda: context,
        application=application,
        **{"config": service(), "observe": log, **changes},
    )
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    serving = asyncio.create_task(server.serve(listener))
    est = Running(server, application, log, port, serving)
    try:
        yield est
    finally:
        server.stop(drain_s=1)
        for stream in est.streams:
            stream.close()
        with suppress(asyncio.CancelledError):
            await serving


# The server


@on_asyncio
async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with running() as est:
        answers = await est.ask(CACERTS, CACERTS, enroll_request(b"x"), CACERTS_CLOSE)
        assert statuses(answers) == [200, 200, 401, 200]
    assert est.log.codes == [(200, ""), (200, ""), (401, "auth/missing"), (200, "")]
    assert est.log.records[0].peer.startswith("127.0.0.1:")


@on_asyncio
async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with running() as est:
        assert statuses(await est.ask(CACERTS * 5 + CACERTS_CLOSE)) == [200] * 6


@on_asyncio
async def test_a_refused_upload_is_answered_though_more_was_sent() -> None:
    raw = enroll_request(b"", framing=b"Content-Length: 150000")
    async with running() as est:
        assert statuses(await est.ask(raw + b"a" * 150000, CACERTS)) == [413]


@on_asyncio
async def test_an_application_is_asked_in_threads_or_in_the_loop() -> None:
    here = threading.get_ident()
    async with running() as est:
        await est.ask(CACERTS_CLOSE)
        assert here not in est.application.threads
    async with running(threads=0) as est:
        await est.ask(CACERTS_CLOSE)
        assert set(est.application.threads) == {here}


@on_asyncio
async def test_an_application_of_coroutine_functions_is_awaited_in_the_loop() -> None:
    async with running(AsyncFakeApplication()) as est:
        answers = await est.ask(CACERTS, enroll_request(b"x"), CACERTS_CLOSE)
        assert statuses(answers) == [200, 401, 200]
        assert set(est.application.application.threads) == {threading.get_ident()}


@on_asyncio
async def test_an_application_that_is_half_async_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        async with running(HalfAsync()):
            pass


@on_asyncio
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

    async with running(FakeApplication(before=meet), threads=2) as est:
        await asyncio.gather(*(est.ask(CACERTS_CLOSE) for _ in range(4)))
        assert [status for status, _ in est.log.codes] == [200] * 4
    assert most == 2


@on_asyncio
async def test_a_broken_application_does_not_end_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fall_over() -> None:
        raise ZeroDivisionError("by chance")

    async with running(FakeApplication(before=fall_over)) as est:
        assert statuses(await est.ask(CACERTS_CLOSE)) == [500]
        est.application.before = lambda: None
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
    assert "ZeroDivisionError" in caplog.text


@on_asyncio
async def test_a_slow_application_is_answered_for_and_the_connection_goes_on() -> None:
    gate, reached, clock = threading.Event(), threading.Event(), Ahead()

    def hang() -> None:
        reached.set()
        wait(gate)

    config = service(limits=Limits(decision_s=20))
    async with running(FakeApplication(before=hang), config=config, clock=clock) as est:
        stream = await est.connect()
        await stream.send_all(CACERTS)
        await until(reached.is_set)
        clock.advance(21)
        assert statuses(await read_answer(stream)) == [503]
        gate.set()
        await stream.send_all(CACERTS)
        assert statuses(await read_answer(stream)) == [200]


def wait(gate: threading.Event) -> None:
    gate.wait(TIMEOUT_S)


@pytest.mark.parametrize("is_whole", [True, False])
@on_asyncio
async def test_a_decision_that_comes_with_its_deadline_is_no_fault_of_the_next_request(
    is_whole: bool,
) -> None:
    clock, decision, asked = Ahead(), Future[Decision](), []

    class Awaited(FakeApplication):
        in_loop = frozenset({"ca_certs"})

        def ca_certs(self, question: CACertsRequested) -> Any:
            asked.append(question)
            return decision if len(asked) == 1 else self.decide(question)

    application = Awaited()
    config = service(limits=Limits(decision_s=20))
    async with running(application, config=config, clock=clock) as est:
        stream = await est.connect()
        await stream.send_all(CACERTS + (CACERTS_CLOSE if is_whole else CACERTS_CLOSE[:40]))
        await until(lambda: asked)
        clock.advance(21)
        decision.set_result(application.decide(asked[0]))  # is told in the turn of the deadline
        assert statuses(await read_answer(stream)) == [503]
        if not is_whole:
            await stream.send_all(CACERTS_CLOSE[40:])
        assert statuses(await read_all(stream)) == [200]
    assert est.log.codes == [(503, "server/busy"), (200, "")]


@on_asyncio
async def test_others_have_their_turns_while_requests_sent_ahead_are_answered_at_once() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    begun: list[int] = []
    async with running(FakeApplication(before=lambda: begun.append(turns)), threads=0) as est:
        stream = await est.connect()
        counting = asyncio.create_task(count())
        try:
            await stream.send_all(CACERTS * 39 + CACERTS_CLOSE)
            assert statuses(await read_all(stream)) == [200] * 40
        finally:
            counting.cancel()
    assert begun[-1] - begun[0] >= 40 // (WITHOUT_TURN_MAX + 2)


@on_asyncio
async def test_what_has_arrived_is_not_lost_to_a_read_that_is_cancelled() -> None:
    ours, theirs = socket.socketpair()
    client, server = TlsStream(ours, client_engine()), TlsStream(theirs, TlsEngine(tls_context()))
    await asyncio.gather(client.do_handshake(), server.do_handshake())
    sent = bytes(range(20))
    for each in sent:
        await client.send_all(bytes([each]))
    received = b""
    while len(received) < len(sent):
        reading = asyncio.create_task(server.receive_some())
        await asyncio.sleep(0)  # it ends in this turn, or gives one to others
        reading.cancel()
        with suppress(asyncio.CancelledError):
            received += await reading
    assert received == sent
    server.close()
    client.close()


@on_asyncio
async def test_a_late_decision_is_settled_and_the_end_waits_for_it() -> None:
    gate, device, decided = threading.Event(), new_device(), []
    config = service(limits=Limits(decision_s=1))
    application = FakeApplication()
    async with running(application, config=config) as est:
        real = application.enroll

        def late(question: Any) -> Any:
            wait(gate)
            decided.append(real(question))
            return decided[0]

        application.enroll = late
        async with Client(client_config(signer=device.signer)) as client:
            result = await client.run(est.session(credentials=PASSED).enroll(device.info))
        assert isinstance(result, Failed)
        assert [status for status, _ in est.log.codes] == [503]
        est.server.stop(drain_s=5)
        await asyncio.sleep(0)
        assert not est.serving.done()
        gate.set()
        await est.serving
        assert isinstance(decided[0], Issue)


@on_asyncio
async def test_a_question_whose_time_is_over_before_a_thread_is_free_is_not_asked() -> None:
    gate, asked, clock = threading.Event(), [], Ahead()

    def hang() -> None:
        asked.append(0)
        wait(gate)

    config = service(limits=Limits(decision_s=20))
    async with running(FakeApplication(before=hang), config=config, threads=1, clock=clock) as est:
        streams = [await est.connect() for _ in range(4)]
        for stream in streams:
            await stream.send_all(CACERTS_CLOSE)
        for _ in range(2):  # what came before these is read when they are answered
            assert statuses(await est.ask(CACERTS_CLOSE.replace(b"cacerts", b"none"))) == [404]
        await until(lambda: asked)
        clock.advance(21)
        assert [statuses(await read_all(stream)) for stream in streams] == [[503]] * 4
        gate.set()
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        assert len(asked) == 2  # the first, which hung, and the last


@on_asyncio
async def test_a_late_coroutine_is_answered_for_and_given_up_at_the_end() -> None:
    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    config = service(limits=Limits(decision_s=1))
    async with running(AsyncFakeApplication(before=hang), config=config) as est:
        assert statuses(await est.ask(CACERTS_CLOSE)) == [503]
        est.server.stop(drain_s=0)
        await est.serving
    assert cancelled.is_set()


@on_asyncio
async def test_stopping_answers_requests_in_flight_and_refuses_new_connections() -> None:
    entered, gate = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        entered.release()
        wait(gate)

    async with running(FakeApplication(before=hold)) as est:
        idle = await est.connect()
        asking = [asyncio.create_task(est.ask(CACERTS)) for _ in range(6)]
        for _ in range(6):
            await asyncio.to_thread(entered.acquire)
        est.server.stop(drain_s=5)
        assert await idle.receive_some() == b""
        await until(lambda: is_refused(est.port))
        gate.set()
        answers = await asyncio.gather(*asking)
    assert [statuses(answer) for answer in answers] == [[200]] * 6
    assert all(b"\r\nConnection: close\r\n" in answer for answer in answers)


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
    except OSError:
        return True
    return False


@on_asyncio
async def test_stopping_does_not_wait_for_ever() -> None:
    gate = threading.Event()
    async with running(FakeApplication(before=lambda: wait(gate))) as est:
        stream = await est.connect()
        await stream.send_all(CACERTS)
        await until(lambda: est.application.threads)
        est.server.stop(drain_s=0)
        await est.serving
        assert [code for _, code in est.log.codes] == ["connection/lost"]
    gate.set()


@on_asyncio
async def test_cancelling_cuts_off_what_is_under_way_and_closes_the_listener() -> None:
    gate = threading.Event()
    async with running(FakeApplication(before=lambda: wait(gate))) as est:
        stream = await est.connect()
        await stream.send_all(CACERTS)
        await until(lambda: est.application.threads)
        est.serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await est.serving
        assert is_refused(est.port)
        assert [code for _, code in est.log.codes] == ["connection/lost"]
    gate.set()


@on_asyncio
async def test_a_listener_that_is_none_ends_serve_and_the_others() -> None:
    good, bad = socket.create_server(("127.0.0.1", 0)), socket.socket()
    context = tls_context()
    server = Server(context_source=lambda: context, application=FakeApplication(), config=service())
    with pytest.raises(OSError, match="Invalid argument"):
        await server.serve([good, bad])
    assert good.fileno() == bad.fileno() == -1


@on_asyncio
async def test_a_silent_connection_gives_way_to_a_client_that_waits() -> None:
    async with running(connections_max=1) as est:
        silent = await est.connect()
        await silent.send_all(CACERTS)
        await read_answer(silent)
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        assert await silent.receive_some() == b""


@on_asyncio
async def test_failed_handshakes_are_recorded_and_harmless() -> None:
    async with running() as est:
        loop = asyncio.get_running_loop()
        with await tcp(est.port) as plain:
            await loop.sock_sendall(plain, b"GET / HTTP/1.1\r\n\r\n")
            while await loop.sock_recv(plain, 1000):
                pass
        (await tcp(est.port)).close()
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        await until(lambda: len(est.log.records) >= 3)
        assert sorted(est.log.codes) == [(0, "tls/closed"), (0, "tls/not-tls"), (200, "")]


@on_asyncio
async def test_a_client_that_vanishes_leaves_a_record_and_the_server_alone() -> None:
    async with running() as est:
        stream = await est.connect()
        await stream.send_all(enroll_request(b"x" * 100)[:-50])
        stream.close()
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        await until(lambda: len(est.log.records) >= 2)
        assert (400, "connection/lost") in est.log.codes


@pytest.mark.parametrize(
    ("sent", "bounds", "told"),
    [
        (None, {"handshake_s": 0.2}, [(0, "tls/timeout")]),
        (b"", {"head_s": 0.2, "idle_s": 0.2}, []),
        (CACERTS[:20], {"head_s": 0.2}, [(408, "http/timeout")]),
        (CACERTS, {"idle_s": 0.2}, [(200, "")]),
    ],
)
@on_asyncio
async def test_a_slow_client_is_cut_off_at_the_deadline(
    sent: bytes | None, bounds: dict[str, float], told: list[tuple[int, str]]
) -> None:
    async with running(config=service(timeouts=Timeouts(**bounds))) as est:
        if sent is None:
            with await tcp(est.port) as silent:
                assert await asyncio.get_running_loop().sock_recv(silent, 1) == b""
        else:
            stream = await est.connect()
            if sent:
                await stream.send_all(sent)
            await read_all(stream)
        await until(lambda: len(est.log.records) >= len(told))
        assert est.log.codes == told


@on_asyncio
async def test_a_client_that_does_not_close_is_closed_after_the_last_answer() -> None:
    async with running(config=service(timeouts=Timeouts(drain_s=0.2))) as est:
        stream = await est.connect()
        await stream.send_all(CACERTS_CLOSE)
        assert statuses(await read_all(stream)) == [200]
        with suppress(OSError):
            while True:
                await asyncio.get_running_loop().sock_sendall(stream.sock, b"\0")
                await asyncio.sleep(0.01)


# The client


@on_asyncio
async def test_a_client_enrolls_and_keeps_its_connection() -> None:
    device = new_device()
    async with running() as est:
        session = est.session(credentials=PASSED)
        async with Client(client_config(signer=device.signer)) as client:
            assert isinstance(await client.run(session.cacerts()), CACertsReceived)
            enrolled = await client.run(session.enroll(device.info))
            assert isinstance(enrolled, Enrolled)
            assert isinstance(await client.run(session.cacerts()), CACertsReceived)
            assert await client.run(session.csrattrs()) == CSRAttrsReceived(csrattrs=None)
        await until(lambda: len(est.log.records) >= 4)
    assert len({record.peer for record in est.log.records}) == 1
    assert est.log.records[1].issued == enrolled.certificate


@on_asyncio
async def test_a_client_asks_for_credentials_when_challenged() -> None:
    device, asked = new_device(), []

    async def credentials(question: CredentialsRequested) -> Password:
        await asyncio.sleep(0)
        asked.append(question.schemes)
        return Password(user=USER, password=PASSWORD)

    async with running() as est:
        config = client_config(signer=device.signer, credentials=credentials)
        async with Client(config) as client:
            assert isinstance(await client.run(est.session().enroll(device.info)), Enrolled)
    assert asked == [{AuthScheme.BASIC}]


@on_asyncio
async def test_a_client_has_a_connection_for_each_identity_and_version() -> None:
    mine = pki().client
    config = client_config(identities=(identity_of(mine),))
    async with running() as est, Client(config) as client:
        for session in (
            est.session(),
            est.session(identity=mine.certificate),
            est.session(identity=mine.certificate, max_version=TlsVersion.TLS_1_2),
        ):
            assert isinstance(await client.run(session.cacerts()), CACertsReceived)
        await until(lambda: len(est.log.records) >= 3)
    assert len({record.peer for record in est.log.records}) == 3


@on_asyncio
async def test_a_client_connects_anew_where_the_server_hung_up() -> None:
    async with running(config=service(requests_max=1)) as est, Client(client_config()) as client:
        for _ in range(3):
            assert isinstance(await client.run(est.session().cacerts()), CACertsReceived)


@on_asyncio
async def test_a_pending_request_is_reported_or_waited_for() -> None:
    device = new_device()
    async with running() as est:
        est.application.pend(1)
        async with Client(client_config(signer=device.signer)) as client:
            exchange = est.session(credentials=PASSED).enroll(device.info)
            assert isinstance(await client.run(exchange), RetryLater)
            assert isinstance(await client.run(exchange), RetryLater)
            assert isinstance(await client.run(exchange, wait_s=5), Enrolled)


async def failure(uri: str, **timeouts: float) -> str:
    session = ClientSession(uri, trust=(pki().ca.certificate,))
    async with Client(client_config(timeouts=ClientTimeouts(**timeouts))) as client:
        result = await client.run(session.cacerts())
    assert isinstance(result, Failed)
    return result.code


@on_asyncio
async def test_a_client_says_why_it_cannot_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert await failure(f"https://127.0.0.1:{port}", handshake_s=0.05) == "tls/timeout"
    assert await failure(f"https://127.0.0.1:{port}") == "connect/refused"
    assert await failure("https://no-such-host.invalid") == "connect/unknown-host"


@on_asyncio
async def test_a_client_refuses_a_server_that_it_cannot_verify() -> None:
    async with running() as est, Client(client_config()) as client:
        session = ClientSession(est.uri, trust=(pki().rogue.certificate,))
        result = await client.run(session.cacerts())
    assert isinstance(result, Failed)
    assert result.code == "tls/untrusted-server"


async def rude_server(answer: bytes | None) -> str:
    """The code of a client whose server answers this and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def serve() -> None:
        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        stream = TlsStream(sock, TlsEngine(tls_context()))
        try:
            await stream.do_handshake()
            await stream.receive_some()
            if answer is None:
                await asyncio.Event().wait()
            elif answer:
                await stream.send_all(answer)
        finally:
            stream.close()

    serving = asyncio.create_task(serve())
    device = new_device()
    timeouts = ClientTimeouts(response_s=0.3 if answer is None else 60.0)
    config = client_config(timeouts=timeouts, signer=device.signer)
    session = ClientSession(
        f"https://localhost:{listener.getsockname()[1]}",
        trust=(pki().ca.certificate,),
        credentials=PASSED,
    )
    async with Client(config) as client:
        result = await client.run(session.enroll(device.info))
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    listener.close()
    assert isinstance(result, Failed)
    return result.code


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
@on_asyncio
async def test_a_client_says_what_was_wrong_with_the_answer(
    answer: bytes | None, code: str
) -> None:
    assert await rude_server(answer) == code


@on_asyncio
async def test_a_cancelled_client_leaves_nothing_open() -> None:
    gate = threading.Event()
    async with running(FakeApplication(before=lambda: wait(gate))) as est:
        async with Client(client_config()) as client:
            asking: asyncio.Task[object] = asyncio.create_task(as_task(client, est))
            await until(lambda: est.application.threads)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        gate.set()
        await until(lambda: est.log.records)


@on_asyncio
async def test_a_client_that_is_cancelled_in_a_handshake_leaves_nothing_open() -> None:
    asking: asyncio.Task[object] | None = None
    ended = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        assert asking is not None
        asking.cancel()
        while await reader.read(4096):
            pass
        writer.close()
        ended.set()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        uri = EstUri.parse(f"https://localhost:{server.sockets[0].getsockname()[1]}")
        session = ClientSession(uri, trust=(pki().ca.certificate,))
        async with Client(client_config()) as client:
            asking = asyncio.ensure_future(client.run(session.cacerts()))
            with pytest.raises(asyncio.CancelledError):
                await asking
            await ended.wait()


@on_asyncio
async def test_what_a_peer_does_not_take_at_once_is_sent_in_order() -> None:
    ours, theirs = socket.socketpair()
    client, server = TlsStream(ours, client_engine()), TlsStream(theirs, TlsEngine(tls_context()))
    await asyncio.gather(client.do_handshake(), server.do_handshake())
    texts = [bytes([count]) * 300_000 for count in range(3)]
    sending = [asyncio.ensure_future(client.send_all(text)) for text in texts]
    await asyncio.sleep(0)
    assert not any(each.done() for each in sending)
    received = b""
    while len(received) < sum(map(len, texts)):
        received += await server.receive_some()
    await asyncio.gather(*sending)
    assert received == b"".join(texts)
    assert not client.send_now(bytes(1 << 20))
    assert not client.close_now(), "it would have to wait"
    server.close()
    client.close()


@on_asyncio
async def test_a_block_is_left_when_it_is_cancelled_before_or_after_its_time() -> None:
    loop = AsyncioLoop()
    early = loop.scope(inf)
    early.cancel()
    early.reschedule(inf)  # too late
    async with early:
        await asyncio.sleep(TIMEOUT_S)
    late = loop.scope(0)
    async with late:
        await asyncio.sleep(TIMEOUT_S)
    late.cancel()
    late.reschedule(inf)
    assert all(each.cancel_called and each.cancelled_caught for each in (early, late))


@on_asyncio
async def test_a_step_that_nobody_waits_for_any_more_does_not_begin() -> None:
    loop, gate, done = AsyncioLoop(), threading.Event(), list[str]()

    def step(name: str) -> asyncio.Task[bool]:
        return asyncio.create_task(
            loop.in_thread(partial(gate.wait, TIMEOUT_S), partial(done.append, name))
        )

    running = [step(f"runs {count}") for count in range(LONG_AT_ONCE)]
    gone = step("gone")
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert done == ["gone"], "its place is free again"
    gate.set()
    assert all(await asyncio.gather(*running))
    await until(lambda: len(done) == LONG_AT_ONCE + 1)


@on_asyncio
async def test_a_server_of_coap_has_no_fewer_threads_than_none() -> None:
    with pytest.raises(LocalProtocolError, match="threads"):
        CoapServer(source=lambda: a_coap_service(FakeApplication()), threads=-1)


def as_task(client: Client, est: Running) -> Coroutine[Any, Any, object]:
    async def run() -> object:
        return await client.run(est.session().cacerts())

    return run()


@on_asyncio
async def test_a_client_enrolls_over_coap() -> None:
    sock, device, mine = a_udp_socket(), new_device(), pki().client
    served = a_coap_service(FakeApplication())
    server = SocketsCoapServer(source=lambda: served)
    thread = threading.Thread(target=server.serve, args=(sock,))
    thread.start()
    try:
        config = client_config(signer=device.signer, identities=(identity_of(mine),))
        session = ClientSession(
            f"coaps://localhost:{sock.getsockname()[1]}",
            trust=(pki().ca.certificate,),
            identity=mine.certificate,
        )
        async with Client(config) as client:
            assert isinstance(await client.run(session.cacerts()), CACertsReceived)
            assert isinstance(await client.run(session.enroll(device.info)), Enrolled)
    finally:
        server.stop(1)
        thread.join(TIMEOUT_S)


@on_asyncio
async def test_an_association_that_does_not_come_about_says_why() -> None:
    sock, mine = a_udp_socket(), pki().client
    config = client_config(
        identities=(identity_of(mine),), timeouts=ClientTimeouts(handshake_s=0.2)
    )
    session = ClientSession(
        f"coaps://127.0.0.1:{sock.getsockname()[1]}",
        trust=(pki().ca.certificate,),
        identity=mine.certificate,
    )
    async with Client(config) as client:
        silent = await client.run(session.cacerts())
        sock.close()
        refused = await client.run(session.cacerts())
    assert isinstance(silent, Failed)
    assert isinstance(refused, Failed)
    assert (silent.code, refused.code) == ("connect/timeout", "connect/refused")


# The CoAP server


@dataclass
class RunningCoap:
    """A CoAP server that runs, and how to reach it."""

    server: CoapServer
    application: Any
    log: Log
    uri: str
    serving: asyncio.Task[None]

    async def cacerts(self, **timeouts: float) -> object:
        """Ask with a client of its own."""
        mine = pki().client
        config = client_config(identities=(identity_of(mine),), timeouts=ClientTimeouts(**timeouts))
        session = ClientSession(self.uri, trust=(pki().ca.certificate,), identity=mine.certificate)
        async with Client(config) as client:
            return await client.run(session.cacerts())


@asynccontextmanager
async def running_coap(
    application: Any = None, limits: Limits | None = None, **changes: Any
) -> AsyncIterator[RunningCoap]:
    """Run a CoAP server on a free port; stop it at the end."""
    application = application or FakeApplication()
    log, sock = Log(), a_udp_socket()
    served = a_coap_service(application, limits=limits or Limits())
    server = CoapServer(source=lambda: served, observe=log, **changes)
    uri = f"coaps://localhost:{sock.getsockname()[1]}"
    serving = asyncio.create_task(server.serve(sock))
    try:
        yield RunningCoap(server, application, log, uri, serving)
    finally:
        server.stop(drain_s=0.5)
        with suppress(asyncio.CancelledError):
            await serving
        assert sock.fileno() == -1


@pytest.mark.parametrize("threads", [0, 2])
@on_asyncio
async def test_devices_are_served_in_threads_or_in_the_loop(threads: int) -> None:
    here = threading.get_ident()
    async with running_coap(threads=threads) as est:
        results = await asyncio.gather(*(est.cacerts() for _ in range(3)))
        assert all(isinstance(result, CACertsReceived) for result in results)
        assert (here in est.application.threads) == (threads == 0)
    assert est.log.codes == [(205, "")] * 3


@on_asyncio
async def test_devices_are_served_by_coroutines() -> None:
    async with running_coap(AsyncFakeApplication()) as est:
        assert isinstance(await est.cacerts(), CACertsReceived)
        assert set(est.application.application.threads) == {threading.get_ident()}


@on_asyncio
async def test_a_device_whose_decision_is_late_is_put_off() -> None:
    gate, reached, clock = threading.Event(), threading.Event(), Ahead()

    def hang() -> None:
        reached.set()
        wait(gate)

    limits = Limits(decision_s=20)
    async with running_coap(FakeApplication(before=hang), limits, clock=clock) as est:
        asking = asyncio.create_task(est.cacerts())
        await until(reached.is_set)
        clock.advance(21)
        assert isinstance(await asking, Failed)
        assert [status for status, _ in est.log.codes] == [503]
        gate.set()
        assert isinstance(await est.cacerts(), CACertsReceived)


@on_asyncio
async def test_stopping_answers_the_devices_that_asked() -> None:
    gate = threading.Event()
    async with running_coap(FakeApplication(before=lambda: wait(gate))) as est:
        asking = asyncio.create_task(est.cacerts())
        await until(lambda: est.application.threads)
        est.server.stop(drain_s=5)
        gate.set()
        assert isinstance(await asking, CACertsReceived)
        await est.serving


@on_asyncio
async def test_stopping_cancels_a_coroutine_that_does_not_answer() -> None:
    reached, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with running_coap(AsyncFakeApplication(before=hang)) as est:
        asking = asyncio.create_task(est.cacerts(response_s=0.5))
        await reached.wait()
        est.server.stop(drain_s=0)
        await est.serving
        assert cancelled.is_set()
        await asking


@on_asyncio
async def test_new_rules_end_the_associations_of_the_old_ones() -> None:
    mine = pki().client
    sock, application = a_udp_socket(), FakeApplication()
    services = [a_coap_service(application), a_coap_service(application)]
    server = CoapServer(source=lambda: services[0])
    serving = asyncio.create_task(server.serve(sock))
    session = ClientSession(
        f"coaps://localhost:{sock.getsockname()[1]}",
        trust=(pki().ca.certificate,),
        identity=mine.certificate,
    )
    async with Client(client_config(identities=(identity_of(mine),))) as client:
        assert isinstance(await client.run(session.cacerts()), CACertsReceived)
        assert server.associations == 1
        services.pop(0)
        server.renew()
        assert server.associations == 0
        assert isinstance(await client.run(session.cacerts()), CACertsReceived)
    server.stop(0)
    await serving
