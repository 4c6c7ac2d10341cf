"""Proxies on loopback that do what a test tells them to, and keep what they were sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

TIMEOUT_S = 20.0
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"

Address = tuple[str, int]
Converse = Callable[[socket.socket, "ProxySite"], Address | None]
"""Talks to a client, and returns where its bytes are to be passed on to; None closes."""


@dataclass
class ProxySite:
    """Where a proxy listens. `heads` are what clients sent it before a tunnel was open."""

    port: int
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    passed_on: int = 0

    def url(self, scheme: str = "http", login: str = "") -> str:
        """Return the proxy's URL; `login` ends in an @."""
        return f"{scheme}://{login}127.0.0.1:{self.port}"


@contextmanager
def proxy_site(converse: Converse) -> Iterator[ProxySite]:
    """Run a proxy that talks like this to each of its clients."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = ProxySite(listener.getsockname()[1])

        def serve(client: socket.socket) -> None:
            with client, suppress(OSError):
                place = converse(client, site)
                if place is None:
                    return
                with socket.create_connection(place, TIMEOUT_S) as server:
                    sockets.append(server)
                    site.passed_on += 1
                    _pass_on(client, server)

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                client.settimeout(TIMEOUT_S)
                sockets.append(client)
                site.connections += 1
                threads.append(threading.Thread(target=serve, args=(client,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield site
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(TIMEOUT_S)
            for each in sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(TIMEOUT_S)


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(server, client))
    back.start()
    _copy(client, server)
    back.join(TIMEOUT_S)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def read_head(client: socket.socket) -> bytes:
    """Return a request up to its blank line, or as much as comes."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (data := client.recv(1)):
        head += data
    return head


def asked_for(head: bytes) -> Address:
    """Return host and port of a CONNECT."""
    host, _, port = head.split(b" ")[1].decode().rpartition(":")
    return host.strip("[]"), int(port)


def answering(*answers: bytes) -> Converse:
    """Return a proxy with these answers to its clients' requests, the last one for all others.

    A tunnel is open after a 200; after another answer it waits for the next request.
    """

    def converse(client: socket.socket, site: ProxySite) -> Address | None:
        while head := read_head(client):
            site.heads.append(head)
            answer = answers[min(len(site.heads), len(answers)) - 1]
            client.sendall(answer)
            if answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                return asked_for(head)
            if b"Connection: close" in answer:
                return None
        return None

    return converse


def silent(client: socket.socket, site: ProxySite) -> None:
    """Say nothing until the client goes."""
    while client.recv(4096):
        pass


def socks5(client: socket.socket, site: ProxySite) -> Address | None:
    """Speak SOCKS5 without a login; the site's heads are the hosts that were asked for."""
    client.sendall(b"\x05\x00" if client.recv(1) + client.recv(2) else b"")
    kind = client.recv(4)[3]
    if kind == 3:
        host = client.recv(client.recv(1)[0]).decode()
    else:
        family = socket.AF_INET if kind == 1 else socket.AF_INET6
        host = socket.inet_ntop(family, client.recv(4 if kind == 1 else 16))
    port = int.from_bytes(client.recv(2), "big")
    site.heads.append(host.encode())
    client.sendall(b"\x05\x00\x00\x01" + bytes(6))
    return host, port


def socks4(client: socket.socket, site: ProxySite) -> Address | None:
    """Speak SOCKS4, and 4a; the site's heads are the hosts that were asked for."""
    start = client.recv(8)
    port, address = int.from_bytes(start[2:4], "big"), start[4:]
    _text(client)
    host = _text(client) if address[:3] == bytes(3) else socket.inet_ntoa(address)
    site.heads.append(host.encode())
    client.sendall(b"\x00\x5a" + bytes(6))
    return host, port


def _text(client: socket.socket) -> str:
    text = b""
    while (octet := client.recv(1)) not in (b"\x00", b""):
        text += octet
    return text.decode()
