"""What a tunnel is: a small machine that talks to a proxy until bytes reach the server behind it.

It does no I/O. Whoever drives it connects to the proxy, and again where it asks for that::

    data = tunnel.begin()                      # on every new connection
    while not (tunnel.is_open or tunnel.needs_connection):
        write(data)
        data = tunnel.receive(read())          # b"" where the proxy ended its side

What goes wrong is a ConnectError `proxy/...`. A proxy that has opened the tunnel and said more has
broken it: in TLS the client speaks first, so those bytes can come from nobody but the proxy.
"""

from __future__ import annotations

from typing import Protocol

from est_transports.drive.client import ConnectError
from est_transports.tunnels.proxy import Proxy


class Tunnel(Protocol):
    """A way through one proxy to one server."""

    @property
    def is_open(self) -> bool:
        """True once what is written next reaches the server."""

    @property
    def needs_connection(self) -> bool:
        """True where this connection is to be closed, and the tunnel begun on a new one."""

    def begin(self) -> bytes:
        """Return what is to be written first on a new connection."""

    def receive(self, data: bytes) -> bytes:
        """Take what was read, b"" being the end, and return what is to be written next.

        Raises ConnectError.
        """


def closed(proxy: Proxy) -> ConnectError:
    """Return the error for a proxy that went away."""
    return ConnectError("proxy/closed", f"{proxy} closed the connection before the tunnel was open")


def unasked_bytes(proxy: Proxy) -> ConnectError:
    """Return the error for a proxy that speaks in the server's place."""
    return ConnectError(
        "proxy/unasked-bytes",
        f"{proxy} sent bytes of its own into the tunnel, where the server is not to speak first",
    )
