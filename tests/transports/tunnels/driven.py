"""Tunnels driven without a network: what a proxy says, in any pieces, over any connections."""

from __future__ import annotations

from collections.abc import Sequence

from est_core import Entropy
from est_transports.drive.client import ConnectError
from est_transports.tunnels import Proxy, Tunnel, open_tunnel

Said = Sequence[bytes]
"""What a proxy says on one connection; b"" is its end."""


def no_chance(size: int) -> bytes:
    """Return bytes by no chance at all."""
    return bytes(size)


def tunnel_of(
    url: str, host: str = "est.example", port: int = 8443, *, entropy: Entropy = no_chance
) -> Tunnel:
    """Return a tunnel that was not begun."""
    return open_tunnel(Proxy.parse(url), host, port, entropy=entropy)


def drive(tunnel: Tunnel, *connections: Said) -> list[bytes]:
    """Return what was written, an element for each connection, as far as the proxy's words go."""
    written: list[bytes] = []
    for said in connections:
        assert tunnel.needs_connection
        written.append(tunnel.begin())
        for data in said:
            assert not tunnel.is_open
            assert not tunnel.needs_connection
            written[-1] += tunnel.receive(data)
    return written


def code_of(tunnel: Tunnel, *connections: Said) -> str:
    """Return what goes wrong, as code and message; "" where nothing does."""
    try:
        drive(tunnel, *connections)
    except ConnectError as error:
        assert not tunnel.is_open
        return f"{error.code} {error.message}"
    return ""
