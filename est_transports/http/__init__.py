"""HTTP/1.1 without I/O: messages, and both sides of a connection."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.http.client import (
        HttpClientSettings as HttpClientSettings,
        HttpLink as HttpLink,
    )
    from est_transports.http.client_wire import (
        ClientConnection as ClientConnection,
        ClientConnectionEvent as ClientConnectionEvent,
        ResponseReceived as ResponseReceived,
    )
    from est_transports.http.messages import (
        ConnectionEnded as ConnectionEnded,
    )
    from est_transports.http.server import (
        Close as Close,
        Conversation as Conversation,
        Receive as Receive,
        Send as Send,
        Step as Step,
    )
    from est_transports.http.server_wire import (
        BodyDropped as BodyDropped,
        BodyReceived as BodyReceived,
        HeadReceived as HeadReceived,
        ProtocolFault as ProtocolFault,
        Reading as Reading,
        ServerConnection as ServerConnection,
        ServerConnectionEvent as ServerConnectionEvent,
    )
    from est_transports.http.settings import (
        ServiceConfig as ServiceConfig,
        Timeouts as Timeouts,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "client": "HttpClientSettings HttpLink",
            "client_wire": "ClientConnection ClientConnectionEvent ResponseReceived",
            "messages": "ConnectionEnded",
            "server": "Close Conversation Receive Send Step",
            "server_wire": (
                "BodyDropped BodyReceived HeadReceived ProtocolFault Reading "
                "ServerConnection ServerConnectionEvent"
            ),
            "settings": "ServiceConfig Timeouts",
        },
    )
