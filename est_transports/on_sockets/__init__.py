"""EST on blocking sockets: servers for HTTPS and CoAP, and a client for both."""

from __future__ import annotations

from est_transports.on_sockets.client import Client
from est_transports.on_sockets.coap_server import CoapServer
from est_transports.on_sockets.connection import serve_connection
from est_transports.on_sockets.server import Server
from est_transports.on_sockets.ssl_sockets import serve_ssl_connection
from est_transports.on_sockets.tls import TlsSocket

__all__ = [
    "Client",
    "CoapServer",
    "Server",
    "TlsSocket",
    "serve_connection",
    "serve_ssl_connection",
]
