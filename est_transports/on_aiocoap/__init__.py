"""EST as a resource of an aiocoap server."""

from __future__ import annotations

from est_transports.on_aiocoap.coap_server import ChannelOf, EstResource

__all__ = ["ChannelOf", "EstResource"]
