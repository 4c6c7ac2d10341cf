"""EST on asyncio: servers for HTTPS and CoAP, and a client for both."""

from __future__ import annotations

from est_transports.on_asyncio.client import Client
from est_transports.on_asyncio.coap_server import CoapServer
from est_transports.on_asyncio.server import Server

__all__ = ["Client", "CoapServer", "Server"]
