"""The HTTPS server on blocking sockets and threads, over the loopback interface."""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import suppress
from typing import NoReturn

import pytest

from est_core import (
    BasicCredentials,
    CACertsReceived,
    Enrolled,
    Instant,
    Limits,
    LocalProtocolError,
)
from est_transports._clock import instant
from est_transports.channel.tls import TlsEngine
from est_transports.client_config import ClientTimeouts
from est_transports.drive.application import Application
from est_transports.on_sockets import Client, Server, TlsSocket, serve_connection
from tests.application import PASSWORD, USER, AsyncFakeApplication, FakeApplication, HalfAsync
from tests.transports.coap_udp import Gate
from tests.transports.https_site import (
    AUTHORIZATION,
    CACERTS,
    CACERTS_CLOSE,
    SHORT,
    client_config,
    enroll_request,
    new_device,
    service,
    statuses,
    tls_context,
)
from tests.transports.sockets_site import (
    SMALL_BUFFER,
    TIMEOUT_S,
    LongWinded,
    client_engine,
    connection_threads,
    descriptors,
    hurried,
    is_whole,
    let_pass,
    reset,
    running,
    soon,
    until,
)

UNFINISHED = enroll_request(b"x" * 50)[:-1]


def test_many_clients_are_served_at_once() -> None:
    together = threading.Barrier(6, timeout=TIMEOUT_S)  # breaks unless all six are in at once

    def meet() -> None:
        together.wait()

    with running(FakeApplication(before=meet)) as est:
        clients = [est.connect().shake_hands().say(CACERTS_CLOSE) for _ in range(6)]
        assert [statuses(client.hear_all()) for client in clients] == [[200]] * 6
        assert len(est.application.threads) == 6
    assert est.log.codes == [(200, "")] * 6
    assert est.log.records[0].peer.startswith("127.0.0.1:")


def test_more_clients_than_threads_are_served_one_after_the_other() -> None:
    config = client_config(timeouts=ClientTimeouts(handshake_s=TIMEOUT_S))
    received: list[object] = []
    with running(threads=2) as est:

        def ask() -> None:
            with Client(config) as client:
                received.append(client.run(est.session().cacerts()))

        asking = [threading.Thread(target=ask) for _ in range(8)]
        for each in asking:
            each.start()
        for each in asking:
            each.join(TIMEOUT_S)
    assert [type(each) for each in received] == [CACertsReceived] * 8


def test_a_client_enrolls() -> None:
    device = new_device()
    passed = BasicCredentials(user=USER, password=PASSWORD)
    with running() as est, Client(client_config(signer=device.signer)) as client:
        result = client.run(est.session(credentials=passed).enroll(device.info))
    assert isinstance(result, Enrolled)
    assert est.log.records[-1].issued == result.certificate


# More clients than slots


def test_while_a_thread_is_free_connections_go_on() -> None:
    with running(threads=2) as est:
        client = est.connect().shake_hands()
        assert b"Connection: close" not in client.say(CACERTS).hear()
        assert b"Connection: close" not in client.say(CACERTS).hear()


@pytest.mark.parametrize("request_", [CACERTS, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_with_no_free_thread_an_answer_ends_its_connection(request_: bytes) -> None:
    with running(threads=1) as est:
        client = est.connect().shake_hands().say(request_)
        assert b"\r\nConnection: close\r\n" in client.hear_all()
        client.close()
        assert est.ask_once(CACERTS_CLOSE) == [200]


@pytest.mark.parametrize(
    "says", [None, b"", CACERTS[:20], UNFINISHED], ids=["hello", "handshake", "head", "body"]
)
def test_a_slow_connection_gives_its_thread_to_a_client_that_waits(says: bytes | None) -> None:
    # All deadlines are far away; only the want of slots ends it. Two seconds are 0.1 here.
    timeouts = {f"{name}_s": 3600.0 for name in ("handshake", "head", "body", "idle", "write")}
    config = service(timeouts=type(SHORT)(**timeouts, drain_s=1))
    with running(config=config, threads=1, clock=hurried(20)) as est:
        slow = est.connect()
        if says is None:
            slow.begin_to_shake_hands()
        else:
            slow.shake_hands()
        if says:
            slow.say(says)
        until(lambda: connection_threads() == 1)
        assert est.ask_once(CACERTS_CLOSE) == [200]


def test_silent_connections_have_no_thread_and_give_way_at_once() -> None:
    with running(threads=1, half_open_max=3) as est:
        silent = [est.connect() for _ in range(6)]
        assert est.ask_once(CACERTS_CLOSE) == [200]
        assert all(each.sock.recv(1) == b"" for each in silent[:3])
    assert est.log.codes == [(200, "")]


def test_a_client_that_waits_for_a_thread_and_gives_way_is_recorded() -> None:
    gate = Gate()
    with running(FakeApplication(before=gate), threads=1, half_open_max=1) as est:
        served = est.connect().shake_hands().say(CACERTS_CLOSE)
        assert gate.reached.wait(TIMEOUT_S)
        waiting = est.connect().begin_to_shake_hands()
        until(lambda: est.server._slots.is_wanted)
        late = est.connect()
        assert late.sock.recv(1) == b""  # of the same address, and nobody kept us waiting
        gate.opened.set()
        assert statuses(served.hear_all()) == [200]
        assert waiting.shake_hands().ask(CACERTS_CLOSE) == [200]


def test_a_client_that_does_not_read_gives_its_thread_to_a_client_that_waits() -> None:
    application = LongWinded()
    config = service(timeouts=type(SHORT)(write_s=3600.0, drain_s=0.5))
    with running(application, config, threads=1, clock=hurried(20)) as est:
        est.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        rude = est.connect().reads_little().shake_hands().say(CACERTS)
        assert application.reached.wait(TIMEOUT_S)
        assert est.ask_once(CACERTS_CLOSE) == [200]
        assert rude.is_cut_off()
    assert sorted(est.log.codes) == [(200, ""), (200, "connection/lost")]


def test_a_client_that_reads_late_gets_the_whole_answer() -> None:
    application = LongWinded()
    with running(application) as est:
        est.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * SMALL_BUFFER)
        client = est.connect().shake_hands().say(CACERTS_CLOSE)
        assert application.reached.wait(TIMEOUT_S)
        let_pass(0.6)  # the server has looked twice whether it is wanted elsewhere
        assert is_whole(client.hear_all())
        client.close()
    assert est.log.codes == [(200, "")]


def test_a_silent_connection_keeps_its_thread_while_nobody_waits() -> None:
    config = service(timeouts=type(SHORT)(head_s=600))
    with running(config=config, threads=1, clock=hurried(20)) as est:
        silent = est.connect().shake_hands()
        later = hurried(20)
        until(lambda: later().mono > soon())  # eight seconds there
        assert silent.say(CACERTS).hear().startswith(b"HTTP/1.1 200")


# Deadlines


def test_a_handshake_that_does_not_come_is_cut_off() -> None:
    with running(config=service(timeouts=SHORT)) as est:
        assert est.connect().sock.recv(1) == b""
        until(lambda: est.log.codes == [(0, "tls/timeout")])


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", []), (CACERTS[:20], [408]), (UNFINISHED, [408]), (CACERTS, [200])],
    ids=["first head", "head", "body", "idle"],
)
def test_a_slow_client_is_cut_off(sent: bytes, answer: list[int]) -> None:
    with running(config=service(timeouts=SHORT)) as est:
        assert est.ask_once(sent) == answer


def test_a_client_that_does_not_close_is_closed_after_the_last_answer() -> None:
    with running(config=service(timeouts=SHORT)) as est:
        client = est.connect().shake_hands().say(CACERTS_CLOSE)
        assert statuses(client.hear_all()) == [200]
        until(lambda: connection_threads() == 0)


def test_a_refused_upload_is_answered_though_more_was_sent() -> None:
    raw = enroll_request(b"", framing=b"Content-Length: 150000")
    with running() as est:
        assert est.ask_once(raw + b"a" * 150000) == [413]


def test_a_decision_after_the_deadline_is_replaced() -> None:
    gate, passed = Gate(), 0.0

    def clock() -> Instant:
        return instant().after(passed)

    config = service(limits=Limits(decision_s=60))
    with running(FakeApplication(before=gate), config, clock=clock) as est:
        client = est.connect().shake_hands().say(CACERTS)
        assert gate.reached.wait(TIMEOUT_S)
        passed = 61.0
        gate.opened.set()
        assert statuses(client.hear()) == [503]


def test_what_is_not_sent_at_a_deadline_is_sent_the_next_time() -> None:
    def in_a_moment() -> float:
        return instant().mono + 0.05

    ours, theirs = socket.socketpair()
    with ours, theirs:
        client, stream = client_engine(), TlsSocket(ours, TlsEngine(tls_context()), instant)
        client.handshake()
        theirs.sendall(client.outgoing())
        junk = fill(ours)
        for _ in range(2):
            with pytest.raises(TimeoutError):  # the client reads nothing
                stream.do_handshake(in_a_moment())
        theirs.settimeout(TIMEOUT_S)
        while junk:
            junk -= len(theirs.recv(junk))
        with pytest.raises(TimeoutError):  # it says nothing
            stream.do_handshake(in_a_moment())
        client.receive(theirs.recv(65536))
        assert client.handshake()


def fill(sock: socket.socket) -> int:
    """Send until the network takes no more; return how much it took."""
    sock.setblocking(False)
    taken = 0
    for size in (65536, 1):
        with suppress(BlockingIOError):
            while True:
                taken += sock.send(bytes(size))
    return taken


# The end


def test_stopping_answers_what_is_asked_and_ends_the_others_at_once() -> None:
    gate = Gate()
    with running(FakeApplication(before=gate)) as est:
        silent, idle = est.connect(), est.connect().shake_hands()
        busy = est.connect().shake_hands().say(CACERTS)
        assert gate.reached.wait(TIMEOUT_S)
        until(lambda: connection_threads() == 2)
        est.server.stop(drain_s=60)
        assert idle.hear() == b""
        assert silent.sock.recv(1) == b""
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", est.port))
        assert est.thread.is_alive()
        gate.opened.set()
        answer = busy.hear_all()
        assert statuses(answer) == [200]
        assert b"\r\nConnection: close\r\n" in answer
        busy.close()
        assert est.ended()
    assert est.log.codes == [(200, "")]  # and none of handshakes that we broke off


def test_stopping_waits_for_a_request_that_has_begun() -> None:
    with running() as est:
        client = est.connect().shake_hands()
        assert client.ask(CACERTS + CACERTS[:30]) == [200]
        est.server.stop(drain_s=60)
        assert statuses(client.say(CACERTS[30:]).hear_all()) == [200]
        client.close()
        assert est.ended()


def test_stopping_cuts_off_what_does_not_end() -> None:
    gate = Gate()
    with running(FakeApplication(before=gate)) as est:
        client = est.connect().shake_hands().say(enroll_request(b"x", AUTHORIZATION))
        assert gate.reached.wait(TIMEOUT_S)
        est.server.stop(drain_s=60)
        est.server.stop(drain_s=0.05)
        est.server.stop(drain_s=60)
        assert est.ended()
        assert client.is_cut_off()
        gate.opened.set()
    assert [code for _, code in est.log.codes] == ["connection/lost"]


def test_an_application_that_blocks_for_ever_keeps_neither_the_server_nor_the_process() -> None:
    gate = Gate()
    with running(FakeApplication(before=gate), threads=1) as est:
        est.connect().shake_hands().say(CACERTS)
        assert gate.reached.wait(TIMEOUT_S)
        waiting = est.connect()  # there is no thread for it
        est.server.stop(drain_s=0.05)
        assert est.ended()
        assert waiting.is_cut_off()
        (stuck,) = [each for each in threading.enumerate() if each.name == "est-https"]
        assert stuck.daemon
        gate.opened.set()


def test_a_server_that_was_stopped_before_it_served_ends_at_once() -> None:
    before = descriptors()
    server = Server(context_source=tls_context, application=FakeApplication(), config=service())
    server.stop()
    listener = socket.create_server(("127.0.0.1", 0))
    server.serve([listener])
    assert listener.fileno() == -1
    assert descriptors() == before


def test_no_thread_and_no_descriptor_is_left_behind() -> None:
    before, threads = descriptors(), threading.active_count()
    for _ in range(3):
        with running() as est:
            assert est.ask_once(CACERTS_CLOSE) == [200]
            est.connect()
            est.connect().shake_hands()
        est.server.stop()  # again, and too late
    until(lambda: threading.active_count() == threads)
    assert descriptors() == before


# What goes wrong


class FaultyListener(socket.socket):
    """A listener whose `accept` fails first, once for each of these numbers."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers = list(numbers)
        self.bind(("127.0.0.1", 0))
        self.listen()

    def accept(self) -> tuple[socket.socket, object]:
        """Raise, or accept."""
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.mark.parametrize(
    "number", [errno.ECONNABORTED, errno.EAGAIN, errno.EPERM, errno.EPROTO, errno.EHOSTUNREACH]
)
def test_a_client_that_vanishes_before_it_is_accepted_harms_nobody(number: int) -> None:
    with running(listener=FaultyListener(number)) as est:
        assert est.ask_once(CACERTS_CLOSE) == [200]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
def test_a_client_waits_while_there_is_no_descriptor_for_it(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with running(listener=FaultyListener(number)) as est:
        assert est.ask_once(CACERTS_CLOSE) == [200]
    assert caplog.text.count("a client has to wait") == 1


def test_a_listener_that_cannot_be_used_ends_the_server() -> None:
    listener = FaultyListener(errno.EINVAL)
    server = Server(context_source=tls_context, application=FakeApplication(), config=service())
    with socket.create_connection(listener.getsockname()), pytest.raises(OSError, match="Invalid"):
        server.serve([listener])
    assert listener.fileno() == -1


def test_a_client_for_whom_there_is_no_thread_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with running(threads=1) as est:
        with monkeypatch.context() as scarcity:
            scarcity.setattr(threading.Thread, "start", no_thread)
            assert est.connect().begin_to_shake_hands().is_cut_off()
        assert est.ask_once(CACERTS_CLOSE) == [200]
    assert "no thread for a connection" in caplog.text


def test_a_broken_application_or_observer_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by chance")

    with running(FakeApplication(before=broken), observe=broken) as est:
        client = est.connect().shake_hands()
        assert client.ask(CACERTS) == [500]
        assert client.ask(CACERTS) == [500]
    assert caplog.text.count("the observer failed") == 2


def test_a_broken_source_of_tls_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> NoReturn:
        raise ZeroDivisionError("by chance")

    with running(context_source=broken) as est:
        assert est.connect().begin_to_shake_hands().is_cut_off()
    assert "a connection failed" in caplog.text


def test_what_is_no_tls_is_recorded() -> None:
    with running() as est:
        plain = est.connect().sock
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until(lambda: est.log.codes == [(0, "tls/not-tls")])
        reset(est.connect().sock)
        until(lambda: len(est.log.codes) == 2)
    assert est.log.codes[1] == (0, "tls/closed")


@pytest.mark.parametrize("application", [AsyncFakeApplication(), HalfAsync()])
def test_an_application_that_needs_an_event_loop_is_refused(application: Application) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(LocalProtocolError):
            Server(context_source=tls_context, application=application, config=service())
        with pytest.raises(LocalProtocolError):
            serve_connection(
                ours, context_source=tls_context, application=application, config=service()
            )
        theirs.sendall(b"left alone")
        assert ours.recv(100) == b"left alone"


def test_a_server_without_threads_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        Server(
            context_source=tls_context,
            application=FakeApplication(),
            config=service(),
            threads=0,
        )
