"""An HTTPS server that answers as it is told, byte for byte, and closes as it is told."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path

from tests.pki import pki

TIMEOUT_S = 60.0


@unique
class Then(Enum):
    """What becomes of the connection after an answer."""

    GO_ON = "go on"
    CLOSE = "close at once"
    FORGET = "close with the next request unread"
    """What a server does that closes a moment later: the client has just begun to send."""
    CUT = "end without close_notify"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    fields: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The last segment of the path."""
        return self.path.rpartition("/")[2]

    @property
    def authorization(self) -> str:
        """The Authorization field, "" for none."""
        return self.fields.get("authorization", "")

    @property
    def csr(self) -> bytes:
        """The DER of the body."""
        return base64.b64decode(self.body)


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer as it goes out."""

    raw: bytes
    then: Then = Then.GO_ON


Answers = Callable[[Asked], Said]


@dataclass
class ForeignServer:
    """Where it listens, and what it was asked on which connection."""

    port: int
    answers: Answers
    asked: list[tuple[int, Asked]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def operations(self) -> list[str]:
        """What was asked, in order."""
        return [asked.operation for _, asked in self.asked]

    def talk(self, number: int, stream: ssl.SSLSocket) -> None:
        """Answer one connection's requests until it ends."""
        reader = stream.makefile("rb")
        while asked := _read_request(reader):
            self.asked.append((number, asked))
            said = self.answers(asked)
            stream.sendall(said.raw)
            if said.then is Then.FORGET:
                stream.recv(1)  # the next request has begun to arrive, or there is none
            if said.then is Then.CUT:
                return
            if said.then is not Then.GO_ON:
                break
        with suppress(OSError):
            stream.settimeout(0.0)  # say close_notify, and do not wait for theirs
            stream.unwrap()


def _read_request(reader: object) -> Asked | None:
    read = getattr(reader, "readline")  # noqa: B009 - a BufferedReader, which has no public type
    line = read().decode("latin-1").split()
    if len(line) != 3:
        return None
    fields: dict[str, str] = {}
    while text := read().decode("latin-1").strip():
        name, _, value = text.partition(":")
        fields[name.lower()] = value.strip()
    # Who expects an answer first sends no body yet.
    length = 0 if "expect" in fields else int(fields.get("content-length", "0"))
    body = getattr(reader, "read")(length)  # noqa: B009
    return Asked(method=line[0], path=line[1], fields=fields, body=body)


def server_tls(directory: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return the context of the test CA's server, of one TLS version or of all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki().server.write(directory, "foreign"))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@contextmanager
def foreign_server(answers: Answers, context: ssl.SSLContext) -> Iterator[ForeignServer]:
    """Serve until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = ForeignServer(port=listener.getsockname()[1], answers=answers)
    threads: list[threading.Thread] = []

    def serve(number: int, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
            server.talk(number, stream)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            thread = threading.Thread(target=serve, args=(server.connections, connection))
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(TIMEOUT_S)
        listener.close()
        for thread in threads:
            thread.join(TIMEOUT_S)
