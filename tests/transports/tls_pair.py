"""Two TLS engines face to face in memory, for the tests of the TLS engine and of its users."""

from __future__ import annotations

from dataclasses import dataclass

from est_core.channel import TlsVersion
from est_transports.channel.tls import (
    ClientContext,
    ClientTlsConfig,
    ServerContext,
    ServerTlsConfig,
    TlsEngine,
    TlsError,
    client_context,
    server_context,
)
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from tests.pki import Entity, pki

V12 = TlsVersion.TLS_1_2
V13 = TlsVersion.TLS_1_3


def identity(entity: Entity) -> TlsIdentity:
    """Return an entity as what a TLS end presents."""
    return TlsIdentity(chain=entity.chain, key=entity.key)


def anchors() -> TrustAnchors:
    """Return the EST CA as explicit anchor and the manufacturer as implicit one."""
    return TrustAnchors(
        explicit=(pki().ca.certificate,), implicit=(pki().manufacturer.certificate,)
    )


def a_server(
    *,
    version: TlsVersion | None = None,
    trust: TrustAnchors | None = None,
    entities: tuple[Entity, ...] = (),
    resumption: bool = False,
    require_ems: bool = True,
    tls_exporter: bool = False,
) -> ServerContext:
    """Return a server of the EST CA."""
    presented = entities or (pki().server,)
    return server_context(
        ServerTlsConfig(
            identities=tuple(identity(entity) for entity in presented),
            trust=anchors() if trust is None else trust,
            max_version=version,
            resumption=resumption,
            require_ems=require_ems,
            tls_exporter=tls_exporter,
        )
    )


def a_client(
    entity: Entity | None = None,
    *,
    version: TlsVersion | None = None,
    trust: TrustAnchors | None = None,
    server_name: str = "est.example",
    provisional: bool = False,
    tls_exporter: bool = False,
) -> ClientContext:
    """Return a client that trusts the EST CA and shows `entity`."""
    return client_context(
        ClientTlsConfig(
            server_name=server_name,
            trust=anchors() if trust is None else trust,
            identity=identity(entity) if entity else None,
            max_version=version,
            provisional=provisional,
            tls_exporter=tls_exporter,
        )
    )


@dataclass
class Pair:
    """A client and a server; `feed_bytes` limits the size of each delivery."""

    client: TlsEngine
    server: TlsEngine
    feed_bytes: int = 1 << 20

    def deliver(self) -> bool:
        """Carry what both ends have to say to the other one; True if there was anything."""
        moved = False
        for source, sink in ((self.client, self.server), (self.server, self.client)):
            data = source.outgoing()
            for start in range(0, len(data), self.feed_bytes):
                sink.receive(data[start : start + self.feed_bytes])
                moved = True
        return moved

    def shake_hands(self) -> Pair:
        """Run the handshake to its end. Raises the first TlsError, the client's first."""
        errors: dict[str, TlsError] = {}
        done: dict[str, bool] = {"client": False, "server": False}
        for _ in range(10):
            for name, engine, other in (
                ("client", self.client, self.server),
                ("server", self.server, self.client),
            ):
                if name not in errors and not done[name]:
                    try:
                        done[name] = engine.handshake()
                    except TlsError as exc:
                        errors[name] = exc
                data = engine.outgoing()
                for start in range(0, len(data), self.feed_bytes):
                    other.receive(data[start : start + self.feed_bytes])
        for name in ("client", "server"):
            if name in errors:
                raise errors[name]
        assert all(done.values()), done
        return self


def pair(client: ClientContext, server: ServerContext) -> Pair:
    """Return the two ends, not yet connected."""
    return Pair(TlsEngine(client), TlsEngine(server))


def connected(client: ClientContext, server: ServerContext) -> Pair:
    """Return the two ends after their handshake."""
    return pair(client, server).shake_hands()
