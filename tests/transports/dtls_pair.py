"""Two DTLS engines face to face in memory, and clients around a DTLS server, for tests of DTLS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from est_core import Entropy
from est_transports.channel.dtls import (
    DtlsClientContext,
    DtlsEngine,
    DtlsServerConfig,
    DtlsServerContext,
    dtls_client_context,
    dtls_server_context,
)
from est_transports.channel.dtls_limits import MTU_BYTES, DtlsLimits
from est_transports.channel.dtls_mux import Address, Association, DtlsEvent, DtlsServer
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.pki.trust import TrustAnchors
from tests.pki import Entity, pki
from tests.transports.tls_pair import anchors, identity

Filter = Callable[[bytes], bytes]


def a_dtls_server(
    *,
    trust: TrustAnchors | None = None,
    entity: Entity | None = None,
    require_ems: bool = True,
    mtu_bytes: int = MTU_BYTES,
) -> DtlsServerContext:
    """Return a server of the EST CA."""
    return dtls_server_context(
        DtlsServerConfig(
            identity=identity(entity or pki().server),
            trust=anchors() if trust is None else trust,
            require_ems=require_ems,
            mtu_bytes=mtu_bytes,
        )
    )


def a_dtls_client(
    entity: Entity | None = None,
    *,
    trust: TrustAnchors | None = None,
    server_name: str = "est.example",
    mtu_bytes: int = MTU_BYTES,
) -> DtlsClientContext:
    """Return a client that trusts the EST CA and shows `entity`, or the usual client's."""
    return dtls_client_context(
        ClientTlsConfig(
            server_name=server_name,
            trust=anchors() if trust is None else trust,
            identity=identity(entity or pki().client),
        ),
        mtu_bytes=mtu_bytes,
    )


@dataclass
class DtlsPair:
    """A client and a server; `through` is what happens to a datagram on its way."""

    client: DtlsEngine
    server: DtlsEngine
    through: Filter = bytes
    sizes: list[int] = field(default_factory=list)

    def deliver(self) -> None:
        """Carry what both ends have to say to the other one."""
        for source, sink in ((self.client, self.server), (self.server, self.client)):
            for datagram in source.outgoing():
                self.sizes.append(len(datagram))
                sink.receive(self.through(datagram))

    def shake_hands(self) -> DtlsPair:
        """Run the handshake to its end. Raises the first TlsError, the client's first."""
        for _ in range(8):
            try:
                self.client.handshake()
            finally:
                self.deliver()
        assert self.client.handshake()
        assert self.server.handshake()
        return self


def dtls_pair(client: DtlsClientContext, server: DtlsServerContext) -> DtlsPair:
    """Return the two ends, not yet connected."""
    return DtlsPair(DtlsEngine(client), DtlsEngine(server))


def dtls_connected(client: DtlsClientContext, server: DtlsServerContext) -> DtlsPair:
    """Return the two ends after their handshake."""
    return dtls_pair(client, server).shake_hands()


def counting_entropy() -> Entropy:
    """Return a source of bytes that never repeats a secret within one test."""
    calls = 0

    def count(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return bytes([calls]) * size

    return count


class DtlsNetwork:
    """A DTLS server in memory, and the clients at their addresses."""

    def __init__(
        self, context: DtlsServerContext | None = None, limits: DtlsLimits | None = None
    ) -> None:
        self.context = context or a_dtls_server()
        self.server = DtlsServer(
            lambda: self.context, entropy=counting_entropy(), limits=limits or DtlsLimits()
        )
        self.clients: dict[Address, DtlsEngine] = {}
        self.events: list[DtlsEvent] = []
        self.now = 1000.0

    def send(self, datagram: bytes, address: Address) -> tuple[bytes, ...]:
        """Send the server something from an address, and return what it answers there."""
        self.server.receive(datagram, address, self.now)
        return tuple(answer for to, answer in self.flush() if to == address)

    def flush(self) -> tuple[tuple[Address, bytes], ...]:
        """Take events and datagrams from the server."""
        while (event := self.server.next_event()) is not None:
            self.events.append(event)
        return self.server.outgoing()

    def deliver(self) -> None:
        """Carry everything both ways, once."""
        for address, client in self.clients.items():
            for datagram in client.outgoing():
                self.server.receive(datagram, address, self.now)
        for address, datagram in self.flush():
            if address in self.clients:
                self.clients[address].receive(datagram)

    def begin(self, address: Address, client: DtlsClientContext | None = None) -> DtlsEngine:
        """Put a new client at an address, in place of one that was there."""
        engine = self.clients[address] = DtlsEngine(client or a_dtls_client())
        engine.handshake()
        return engine

    def connect(self, address: Address, client: DtlsClientContext | None = None) -> DtlsEngine:
        """Put a new client at an address and run its handshake to the end."""
        engine = self.begin(address, client)
        for _ in range(6):
            self.deliver()
        assert engine.handshake()
        return engine

    def association(self, address: Address) -> Association:
        """Return the association of an address."""
        return next(each for each in self.server.associations if each.address == address)

    def taken(self) -> list[DtlsEvent]:
        """Return the events so far, and forget them."""
        self.flush()
        events, self.events = self.events, []
        return events
