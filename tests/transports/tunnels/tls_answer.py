"""A TLS server with one answer to whatever it is asked, which keeps what that was."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from est_transports import _clock
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.on_sockets import TlsSocket
from tests.transports.https_site import tls_context

TIMEOUT_S = 20.0


@dataclass
class AnsweringServer:
    """Where it listens, and the heads of the requests that came."""

    port: int
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def answering_server(answer: bytes) -> Iterator[AnsweringServer]:
    """Run it."""
    context = tls_context()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = AnsweringServer(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                stream = TlsSocket(sock, TlsEngine(context), _clock.instant)
                with suppress(OSError, TlsError):
                    _serve(stream, answer, server.requests)
                stream.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(TIMEOUT_S)


def _serve(stream: TlsSocket, answer: bytes, requests: list[bytes]) -> None:
    deadline = _clock.instant().mono + TIMEOUT_S
    stream.do_handshake(deadline)
    head = b""
    while data := stream.receive_some(deadline):
        head += data
        if head.endswith(b"\r\n\r\n"):
            requests.append(head)
            head = b""
            stream.send_all(answer, deadline)
