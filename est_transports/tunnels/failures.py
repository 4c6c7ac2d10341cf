"""Why a proxy was not reached, or cannot be asked: what is wrong before a tunnel is begun."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from est_core import EstUri
from est_transports.drive.client import ConnectError
from est_transports.tunnels.proxy import Proxy

AddressInfo = tuple[int, int, int, str, tuple[str | int | bytes, ...]]
"""What getaddrinfo finds: family, type, protocol, canonical name, address."""


def no_datagrams(proxy: Proxy, uri: EstUri) -> ConnectError:
    """Return the error for a server that is spoken to by UDP."""
    return ConnectError(
        "proxy/no-datagrams", f"{uri} is spoken to by UDP, which does not go through {proxy}"
    )


def too_late(proxy: Proxy) -> ConnectError:
    """Return the error for a proxy that did not open the tunnel in time."""
    return ConnectError("proxy/timeout", f"{proxy} did not open the tunnel in time")


def not_reached(proxy: Proxy, error: OSError) -> ConnectError:
    """Return the error for a proxy that there is no connection to."""
    if isinstance(error, socket.gaierror):
        return ConnectError("proxy/unknown-host", f"there is no host {proxy.host}, for {proxy}")
    if isinstance(error, TimeoutError):
        return too_late(proxy)
    if isinstance(error, ConnectionRefusedError):
        return ConnectError("proxy/unreachable", f"nobody listens where {proxy} is to be")
    reason = error.strerror or str(error)
    return ConnectError("proxy/unreachable", f"{proxy} cannot be reached: {reason}")


def not_looked_up(proxy: Proxy, uri: EstUri) -> ConnectError:
    """Return the error for a server's name that nobody here knows."""
    asks = "socks4a" if proxy.scheme == "socks4" else "socks5h"
    message = f"there is no host {uri.host}, asked here; with {asks}:// the proxy is asked"
    return ConnectError("connect/unknown-host", message)


def address_for(proxy: Proxy, uri: EstUri, found: Sequence[AddressInfo]) -> str:
    """Return which of a server's addresses the proxy is asked for: the first that it has room for.

    Raises ConnectError where there is none.
    """
    families = (socket.AF_INET,) if proxy.scheme == "socks4" else (socket.AF_INET, socket.AF_INET6)
    for family, _, _, _, place in found:
        if family in families:
            return str(place[0])
    raise ConnectError(
        "proxy/target", f"{uri.host} has no IPv4 address, and SOCKS4 has no place for another"
    )
