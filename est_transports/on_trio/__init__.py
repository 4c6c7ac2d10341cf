"""EST on trio: servers for HTTPS, CoAP and what is published, and a client for EST."""

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.on_trio.client import (
        Client as Client,
    )
    from est_transports.on_trio.coap_server import (
        CoapServer as CoapServer,
    )
    from est_transports.on_trio.publication_server import (
        PublicationServer as PublicationServer,
    )
    from est_transports.on_trio.server import (
        Server as Server,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "client": "Client",
            "coap_server": "CoapServer",
            "publication_server": "PublicationServer",
            "server": "Server",
        },
    )
