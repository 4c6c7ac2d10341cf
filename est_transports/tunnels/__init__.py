"""How a connection gets to a server by way of a proxy: HTTP CONNECT and SOCKS, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.tunnels.environment import (
        proxy_from_environment as proxy_from_environment,
    )
    from est_transports.tunnels.machine import (
        Tunnel as Tunnel,
    )
    from est_transports.tunnels.opening import (
        open_tunnel as open_tunnel,
    )
    from est_transports.tunnels.proxy import (
        Proxy as Proxy,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "environment": "proxy_from_environment",
            "machine": "Tunnel",
            "opening": "open_tunnel",
            "proxy": "Proxy",
        },
    )
