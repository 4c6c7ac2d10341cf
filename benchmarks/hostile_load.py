"""Peers that mean harm, to be measured beside: `python -m benchmarks.hostile_load KIND ...`.

A process of its own, which says that it is at work, works for so many seconds and ends; or when
its standard input does. It connects to the loopback interface only, and all that it opens is
bounded. It is there to be run against your own server.
"""

from __future__ import annotations

import argparse
import os
import resource
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from benchmarks.hostile_logins import LOGINS, guess
from benchmarks.hostile_peer import SERVER, Peer
from benchmarks.site import HOST, Site
from est_transports.channel.dtls import DtlsEngine, dtls_client_context
from est_transports.channel.tls import ClientTlsConfig
from est_transports.pki.trust import TlsIdentity, TrustAnchors

SILENT: Final = 5000
HELLOS: Final = 2000
REOPENED_PER_S: Final = 500
SECONDS_MAX: Final = 120.0
_GET: Final = b"\x40\x01\0\0" + b"\xbb.well-known\x03est\x04crts"
_BURST: Final = 64


def flood(peer: Peer, ready: Callable[[], None], *, trusted: bool) -> None:
    """Ask for the same over one DTLS association, as fast as can be, and read next to nothing."""
    context = dtls_client_context(
        ClientTlsConfig(
            server_name=HOST,
            trust=TrustAnchors(explicit=(peer.site.ca.certificate,)),
            identity=_own(peer.site) if trusted else _self_signed(),
        )
    )
    is_first = True
    while not peer.is_over:
        with socket.socket(type=socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.bind((peer.source, 0))
            sock.connect((SERVER, peer.port))
            sock.settimeout(2.0)
            engine = DtlsEngine(context)
            if not _associated(engine, sock):
                continue
            if is_first:
                is_first = False
                ready()
            _flood_one(peer, engine, sock)


def _associated(engine: DtlsEngine, sock: socket.socket) -> bool:
    try:
        while not engine.handshake():
            for datagram in engine.outgoing():
                sock.send(datagram)
            engine.receive(sock.recv(65536))
    except Exception:  # noqa: BLE001  # refused, or lost: another one follows
        time.sleep(0.01)
        return False
    for datagram in engine.outgoing():
        sock.send(datagram)
    return True


def _flood_one(peer: Peer, engine: DtlsEngine, sock: socket.socket) -> None:
    sock.setblocking(False)
    number = 0
    while not peer.is_over:
        for _ in range(_BURST):
            number = (number + 1) % 65536
            engine.write(_GET[:2] + number.to_bytes(2, "big") + _GET[4:])
        for datagram in engine.outgoing():
            with suppress(BlockingIOError):
                sock.send(datagram)
        with suppress(BlockingIOError):
            while True:
                engine.receive(sock.recv(65536))
        while (said := engine.read()) is not None:
            if not said:
                return  # the server ended it


def _own(site: Site) -> TlsIdentity:
    return TlsIdentity(chain=(site.device.certificate,), key=site.device.key)


def _self_signed() -> TlsIdentity:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    return TlsIdentity(chain=(builder.sign(key, hashes.SHA256()),), key=key)


def open_many(peer: Peer, ready: Callable[[], None], *, count: int, says: bytes) -> None:
    """Open connections, say so much on each and no more, and replace those that were closed."""
    selector = selectors.DefaultSelector()
    _open_some(peer, selector, count, says)
    ready()
    while not peer.is_over:
        begun = time.monotonic()
        gone = 0
        for key, _ in selector.select(0.1):
            with suppress(OSError):
                if key.fileobj.recv(65536):  # type: ignore[union-attr]  # they are sockets
                    continue
            selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
            gone += 1
        _open_some(peer, selector, min(gone, REOPENED_PER_S // 10), says)
        time.sleep(max(0.0, begun + 0.1 - time.monotonic()))


def _open_some(peer: Peer, selector: selectors.BaseSelector, count: int, says: bytes) -> None:
    for _ in range(count):
        if peer.is_over:
            return
        with suppress(OSError):
            sock = peer.connected()
            sock.sendall(says)
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)


def keep_busy(peer: Peer, ready: Callable[[], None]) -> None:
    """Take a processor and ask for nothing: what a peer costs by its own work alone."""
    ready()
    while not peer.is_over:
        sum(range(1000))


def _hello() -> bytes:
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65536)


KINDS: Final = MappingProxyType[str, Callable[[Peer, Callable[[], None]], None]](
    {
        "a busy process": keep_busy,
        **{name: partial(guess, login=login) for name, login in LOGINS.items()},
        "strange association": lambda peer, ready: flood(peer, ready, trusted=False),
        "trusted association": lambda peer, ready: flood(peer, ready, trusted=True),
        "silent": lambda peer, ready: open_many(peer, ready, count=SILENT, says=b""),
        "hellos": lambda peer, ready: open_many(peer, ready, count=HELLOS, says=_hello()),
    }
)


def main() -> int:
    """Be what was asked for, for so long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile_load")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--source", default=SERVER, help="address of 127.0.0.0/8 to come from")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    if not options.source.startswith("127."):
        parser.error("--source is of 127.0.0.0/8")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    seconds = min(options.seconds, SECONDS_MAX)
    peer = Peer(Site(options.directory), options.port, options.source, seconds)
    KINDS[options.kind](peer, lambda: print("ready", flush=True))
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
