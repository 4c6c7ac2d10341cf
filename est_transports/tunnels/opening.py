"""Begins the tunnel that a proxy's scheme asks for."""

from __future__ import annotations

from est_core import Entropy, Limits
from est_core.arguments import checked
from est_transports.tunnels.machine import Tunnel
from est_transports.tunnels.proxy import Proxy


@checked
def open_tunnel(
    proxy: Proxy, host: str, port: int, *, entropy: Entropy, limits: Limits | None = None
) -> Tunnel:
    """Return a tunnel to that host and port, which a proxy that `looks_up_here` gets as an address.

    Raises ConnectError for a host that the proxy cannot be asked for.
    """
    # A client without a proxy loads none of it, and one of CONNECT nothing of SOCKS.
    if proxy.scheme == "http":
        from est_transports.tunnels.connect import ConnectTunnel

        return ConnectTunnel(proxy, host, port, entropy=entropy, limits=limits or Limits())
    from est_transports.tunnels.socks import SocksTunnel

    return SocksTunnel(proxy, host, port)
