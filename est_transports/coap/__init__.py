"""CoAP without I/O: messages, blocks, and both sides of an association."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.coap.client import (
        CoapClientSettings as CoapClientSettings,
        CoapLink as CoapLink,
    )
    from est_transports.coap.client_wire import (
        ClientConnection as ClientConnection,
        ClientConnectionEvent as ClientConnectionEvent,
        RequestFailed as RequestFailed,
        ResponseReceived as ResponseReceived,
    )
    from est_transports.coap.limits import (
        CoapLimits as CoapLimits,
    )
    from est_transports.coap.server import (
        CoapEndpoint as CoapEndpoint,
        CoapStep as CoapStep,
    )
    from est_transports.coap.server_wire import (
        HeadReceived as HeadReceived,
        RequestAbandoned as RequestAbandoned,
        RequestReceived as RequestReceived,
        RequestRefused as RequestRefused,
        ServerConnection as ServerConnection,
        ServerConnectionEvent as ServerConnectionEvent,
    )
    from est_transports.coap.settings import (
        CoapService as CoapService,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "client": "CoapClientSettings CoapLink",
            "client_wire": "ClientConnection ClientConnectionEvent RequestFailed ResponseReceived",
            "limits": "CoapLimits",
            "server": "CoapEndpoint CoapStep",
            "server_wire": (
                "HeadReceived RequestAbandoned RequestReceived RequestRefused ServerConnection "
                "ServerConnectionEvent"
            ),
            "settings": "CoapService",
        },
    )
