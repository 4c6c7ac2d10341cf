"""TLS and DTLS without I/O: engines, their contexts, and the facts of a channel for the core."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.channel.dtls import (
        DtlsEngine as DtlsEngine,
    )
    from est_transports.channel.dtls_context import (
        DtlsClientContext as DtlsClientContext,
        DtlsContextSource as DtlsContextSource,
        DtlsServerConfig as DtlsServerConfig,
        DtlsServerContext as DtlsServerContext,
        HelloRecord as HelloRecord,
        dtls_client_context as dtls_client_context,
        dtls_server_context as dtls_server_context,
    )
    from est_transports.channel.dtls_events import (
        Association as Association,
        Ended as Ended,
        Established as Established,
        HandshakeFailed as HandshakeFailed,
        Received as Received,
    )
    from est_transports.channel.dtls_limits import (
        DtlsLimits as DtlsLimits,
    )
    from est_transports.channel.dtls_mux import (
        DtlsServer as DtlsServer,
    )
    from est_transports.channel.engines import (
        client_engine as client_engine,
        server_engine as server_engine,
    )
    from est_transports.channel.errors import (
        TlsError as TlsError,
    )
    from est_transports.channel.srp_attempts import (
        SrpBackOff as SrpBackOff,
    )
    from est_transports.channel.srp_users import (
        SrpAttempts as SrpAttempts,
        SrpLogin as SrpLogin,
        SrpServerConfig as SrpServerConfig,
    )
    from est_transports.channel.tls import (
        TlsEngine as TlsEngine,
    )
    from est_transports.channel.tls_context import (
        ClientContext as ClientContext,
        ClientTlsConfig as ClientTlsConfig,
        ContextSource as ContextSource,
        ServerContext as ServerContext,
        ServerTlsConfig as ServerTlsConfig,
        client_context as client_context,
        server_context as server_context,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "dtls": "DtlsEngine",
            "dtls_context": (
                "DtlsClientContext DtlsContextSource DtlsServerConfig DtlsServerContext "
                "HelloRecord dtls_client_context dtls_server_context"
            ),
            "dtls_events": "Association Ended Established HandshakeFailed Received",
            "dtls_limits": "DtlsLimits",
            "dtls_mux": "DtlsServer",
            "engines": "client_engine server_engine",
            "errors": "TlsError",
            "srp_attempts": "SrpBackOff",
            "srp_users": "SrpAttempts SrpLogin SrpServerConfig",
            "tls": "TlsEngine",
            "tls_context": (
                "ClientContext ClientTlsConfig ContextSource ServerContext ServerTlsConfig "
                "client_context server_context"
            ),
        },
    )
