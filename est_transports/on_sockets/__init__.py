"""EST on blocking sockets: servers for HTTPS and CoAP, and a client for both."""

from __future__ import annotations

from est_transports.on_sockets.client import Client
from est_transports.on_sockets.coap_server import CoapServer
from est_transports.on_sockets.connection import Stream, converse, serve_connection
from est_transports.on_sockets.server import Server
from est_transports.on_sockets.ssl_sockets import SslConnection, serve_ssl_connection, ssl_channel
from est_transports.on_sockets.tls import TlsSocket

__all__ = [
    "Client",
    "CoapServer",
    "Server",
    "SslConnection",
    "Stream",
    "TlsSocket",
    "converse",
    "serve_connection",
    "serve_ssl_connection",
    "ssl_channel",
]
