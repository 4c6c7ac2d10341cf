"""The engine that a TLS connection gets, by its context: with TLS-SRP or without."""

from __future__ import annotations

from est_core.arguments import checked
from est_transports.channel.tls import TlsEngine
from est_transports.channel.tls_context import ClientContext, ServerContext


@checked
def server_engine(context: ServerContext, peer: str = "") -> TlsEngine:
    """Return the engine of an accepted connection. `peer` is the client's address, as text."""
    if context.config.srp is None:
        return TlsEngine(context)
    from est_transports.channel.srp import SrpEngine

    return SrpEngine.of_server(context, context.config.srp, peer)


@checked
def client_engine(context: ClientContext) -> TlsEngine:
    """Return the engine of a connection that a client makes."""
    if context.config.srp is None:
        return TlsEngine(context)
    from est_transports.channel.srp import SrpEngine

    return SrpEngine.of_client(context)
