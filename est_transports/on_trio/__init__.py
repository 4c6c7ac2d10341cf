"""EST on trio: servers for HTTPS and CoAP, and a client for both."""

from __future__ import annotations

from est_transports.on_trio.client import Client
from est_transports.on_trio.coap_server import CoapServer
from est_transports.on_trio.server import Server

__all__ = ["Client", "CoapServer", "Server"]
