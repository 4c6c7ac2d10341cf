"""EST on blocking sockets: servers for HTTPS and CoAP, and a client for both."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.on_sockets.client import (
        Client as Client,
    )
    from est_transports.on_sockets.coap_server import (
        CoapServer as CoapServer,
    )
    from est_transports.on_sockets.connection import (
        Stream as Stream,
        converse as converse,
        serve_connection as serve_connection,
    )
    from est_transports.on_sockets.server import (
        Server as Server,
    )
    from est_transports.on_sockets.ssl_sockets import (
        SslConnection as SslConnection,
        serve_ssl_connection as serve_ssl_connection,
        ssl_channel as ssl_channel,
    )
    from est_transports.on_sockets.tls import (
        TlsSocket as TlsSocket,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "client": "Client",
            "coap_server": "CoapServer",
            "connection": "Stream converse serve_connection",
            "server": "Server",
            "ssl_sockets": "SslConnection serve_ssl_connection ssl_channel",
            "tls": "TlsSocket",
        },
    )
