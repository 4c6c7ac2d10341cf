"""A directory that hangs holds up nobody who does not need it, whatever the server runs on."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest
import trio

from est_core import AuthenticateRequested, Decision, Verified
from est_transports.drive.question_threads import AUTHENTICATION_THREADS
from est_transports.on_trio import Server
from tests.application import FakeApplication
from tests.core.cast import csr_der
from tests.pki import pki
from tests.transports.https_site import (
    AUTHORIZATION,
    enroll_request,
    identity_of,
    service,
    statuses,
    tls_context,
)
from tests.transports.sockets_site import (
    TIMEOUT_S,
    RawClient,
    client_engine,
    in_trio_thread,
    running,
)

THREADS: Final = 8
PLACES: Final = THREADS - THREADS // 4
"""So many threads of a server on sockets may wait for a directory, but one for other networks."""
CLOSE: Final = b"Connection: close"


class Directory:
    """Answers nobody until it is told to, and counts who waits for it."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Semaphore(0)

    def authenticate(self, _question: AuthenticateRequested) -> Decision:
        """Wait, in the thread that asks."""
        self.asked.release()
        assert self.answers.wait(TIMEOUT_S)
        return Verified(user="alice")


@contextmanager
def on_sockets(application: FakeApplication) -> Iterator[int]:
    with running(application, threads=THREADS) as est:
        yield est.port


@contextmanager
def on_trio(application: FakeApplication) -> Iterator[int]:
    context, ports = tls_context(), []

    async def begin() -> tuple[Server, object]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ports.append(listeners[0].socket.getsockname()[1])
        server = Server(
            context_source=lambda: context,
            application=application,
            config=service(),
            threads=THREADS,
        )
        return server, listeners

    with in_trio_thread(begin):
        yield ports[0]


@pytest.mark.parametrize(
    ("server", "waiting"),
    [
        pytest.param(on_sockets, PLACES - 1, id="on_sockets"),  # all are of one network
        pytest.param(on_trio, AUTHENTICATION_THREADS - 1, id="on_trio"),
    ],
)
def test_while_a_directory_hangs_everybody_else_is_answered(
    server: Callable[[FakeApplication], AbstractContextManager[int]], waiting: int
) -> None:
    directory = Directory()
    application = FakeApplication({AuthenticateRequested: directory.authenticate})
    with_password = enroll_request(b64encode(csr_der()), AUTHORIZATION, CLOSE)
    with server(application) as port:
        clients = [RawClient(port).shake_hands() for _ in range(waiting)]
        for client in clients:
            client.say(with_password)
        for _ in clients:
            assert directory.asked.acquire(timeout=TIMEOUT_S)
        anybody = RawClient(port).shake_hands()
        assert anybody.ask(b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n") == [200]
        device = RawClient(port, client_engine(identity_of(pki().client))).shake_hands()
        assert device.ask(enroll_request(b64encode(csr_der()))) == [200]
        directory.answers.set()
        assert [statuses(client.hear_all()) for client in clients] == [[200]] * waiting
        for client in (anybody, device, *clients):
            client.close()


def test_one_more_password_than_may_wait_on_sockets_is_told_to_come_again() -> None:
    directory = Directory()
    application = FakeApplication({AuthenticateRequested: directory.authenticate})
    with_password = enroll_request(b64encode(csr_der()), AUTHORIZATION, CLOSE)
    with running(application, threads=THREADS) as est:
        clients = [est.connect().shake_hands() for _ in range(PLACES - 1)]
        for client in clients:
            client.say(with_password)
        for _ in clients:
            assert directory.asked.acquire(timeout=TIMEOUT_S)
        late = est.connect().shake_hands().say(with_password).hear_all()
        assert statuses(late) == [503]
        assert b"\r\nRetry-After: 5\r\n" in late
        # One network never has all places: somebody of another one is asked for.
        clients.append(est.connect(source="127.0.0.2").shake_hands().say(with_password))
        assert directory.asked.acquire(timeout=TIMEOUT_S)
        full = est.connect(source="127.0.0.3").shake_hands().say(with_password).hear_all()
        assert statuses(full) == [503]
        directory.answers.set()
        assert [statuses(client.hear_all()) for client in clients] == [[200]] * len(clients)
        assert est.ask_once(with_password) == [200]  # the places are free again
