"""A server to be measured, as a process of its own: `python -m benchmarks.servers KIND DIR`.

It prints its port when clients are let in, and ends when its standard input does.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trio

from benchmarks import floor
from benchmarks.site import PASSWORD, USER, Site
from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    EnrollRequested,
    Issue,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    Verified,
    default_policy,
)
from est_core.testing import ScriptedApplication
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.channel.dtls import DtlsServerConfig, dtls_server_context
from est_transports.channel.tls import ServerContext, ServerTlsConfig, server_context
from est_transports.coap.settings import CoapService
from est_transports.http.settings import ServiceConfig, Timeouts
from est_transports.on_sockets import coap_server as sockets_coap
from est_transports.on_sockets import serve_connection
from est_transports.on_trio import Server
from est_transports.on_trio import coap_server as trio_coap
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.loading import CredentialChecks, load_service

_LONG_S: Final = 3600.0  # a kept connection waits while others have their turns
_REQUESTS: Final = 1_000_000
_THREADS: Final = 8

Serve = Callable[[Site, socket.socket], None]


def _application(site: Site) -> ScriptedApplication:
    """Return one that issues what the floor issues, and records as little: nothing."""
    known = BasicCredentials(user=USER, password=PASSWORD)

    def verify(question: AuthenticateRequested) -> Decision:
        return Verified(user=USER) if question.credentials == known else Rejected()

    def issue(question: EnrollRequested | ReenrollRequested) -> Decision:
        csr = question.csr
        return Issue(certificate=site.certify(csr.subject, csr.public_key()))

    return ScriptedApplication(
        {
            AuthenticateRequested: verify,
            # Made anew each time, as an application does that looks it up.
            CACertsRequested: lambda _: ProvideCACerts(certificates=(site.ca.certificate,)),
            CSRAttrsRequested: lambda _: ProvideCSRAttrs(csrattrs=None),
            EnrollRequested: issue,
            ReenrollRequested: issue,
        },
        asked=deque(maxlen=0),
    )


def _identity(site: Site) -> TlsIdentity:
    return TlsIdentity(chain=(site.server.certificate,), key=site.server.key)


def _config() -> ServiceConfig:
    timeouts = Timeouts(head_s=_LONG_S, idle_s=_LONG_S)
    return ServiceConfig(policy=default_policy(), timeouts=timeouts, requests_max=_REQUESTS)


def _trust(site: Site) -> TrustAnchors:
    return TrustAnchors(explicit=(site.ca.certificate,))


def _context(site: Site) -> ServerContext:
    config = ServerTlsConfig(identities=(_identity(site),), trust=_trust(site))
    return server_context(config)


def _connections(site: Site) -> Callable[[socket.socket], None]:
    context = _context(site)
    application, config = _application(site), _config()
    return lambda sock: serve_connection(
        sock, context_source=lambda: context, application=application, config=config
    )


def on_sockets(site: Site, listener: socket.socket) -> None:
    """One connection after the other, in this thread."""
    serve = _connections(site)
    while True:
        serve(listener.accept()[0])


def on_sockets_in_threads(site: Site, listener: socket.socket) -> None:
    """A thread for each connection."""
    serve = _connections(site)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def on_sockets_with_records(site: Site, listener: socket.socket) -> None:
    """One connection after the other, with the reference CA and its store."""
    config = load_config(site.directory / CONFIG_FILE)
    store = SqliteStore(config.ca.store)
    service = load_service(config, store=store, checks=CredentialChecks())
    while True:
        serve_connection(
            listener.accept()[0],
            context_source=lambda: service.context,
            application=service.authority,
            config=service.http,
        )


def on_trio(site: Site, listener: socket.socket, *, threads: int) -> None:
    """All connections in one event loop."""
    context = _context(site)
    server = Server(
        context_source=lambda: context,
        application=_application(site),
        config=_config(),
        threads=threads,
    )

    async def serve() -> None:
        await server.serve([trio.SocketListener(trio.socket.from_stdlib_socket(listener))])

    trio.run(serve)


def _coap(site: Site) -> Callable[[], CoapService]:
    config = DtlsServerConfig(identity=_identity(site), trust=_trust(site))
    context = dtls_server_context(config)
    service = CoapService(context=context, application=_application(site), policy=default_policy())
    return lambda: service


def coap_on_trio(site: Site, sock: socket.socket, *, threads: int) -> None:
    """All associations in one event loop."""

    async def serve() -> None:
        await trio_coap.CoapServer(source=_coap(site), threads=threads).serve(sock)

    trio.run(serve)


def coap_on_sockets(site: Site, sock: socket.socket) -> None:
    """All associations in this thread, the application in others."""
    sockets_coap.CoapServer(source=_coap(site)).serve(sock)


STREAMS: Final = MappingProxyType[str, Serve](
    {
        "floor": floor.serve,
        "recording floor": floor.serve_and_record,
        "on_sockets": on_sockets,
        "on_sockets, threads": on_sockets_in_threads,
        "on_sockets, SQLite": on_sockets_with_records,
        "on_trio": partial(on_trio, threads=0),
        "on_trio, threads": partial(on_trio, threads=_THREADS),
    }
)
DATAGRAMS: Final = MappingProxyType[str, Serve](
    {
        "trio_coap": partial(coap_on_trio, threads=0),
        "trio_coap, threads": partial(coap_on_trio, threads=_THREADS),
        "sockets_coap": coap_on_sockets,
    }
)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(kind: str, directory: str) -> None:
    """Serve until the standard input ends."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    datagrams = kind in DATAGRAMS
    with socket.socket(type=socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        if not datagrams:
            sock.listen(128)
        site = Site(Path(directory))
        print(sock.getsockname()[1], flush=True)
        (DATAGRAMS if datagrams else STREAMS)[kind](site, sock)


if __name__ == "__main__":
    main(*sys.argv[1:])
