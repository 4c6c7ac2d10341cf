"""Through a proxy on an event loop: what on_trio and on_asyncio have in common."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from est_core import Entropy, EstUri, Limits
from est_transports.drive.event_loop import Timekeeper
from est_transports.tunnels.failures import (
    AddressInfo,
    address_for,
    not_looked_up,
    not_reached,
    too_late,
)
from est_transports.tunnels.machine import Tunnel
from est_transports.tunnels.opening import open_tunnel
from est_transports.tunnels.proxy import Proxy

_S = TypeVar("_S")
RECEIVE_BYTES: Final = 4096
"""How much of what a proxy says is read at once."""


class Network(Protocol[_S]):
    """What a runtime does with connections that have no TLS yet."""

    async def look_up(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return the addresses of a host. Raises gaierror."""

    async def connect(self, host: str, port: int) -> _S:
        """Return a connection. Raises OSError."""

    async def send(self, stream: _S, data: bytes) -> None:
        """Send all of it. Where that fails nothing happens: reading tells."""

    async def receive(self, stream: _S) -> bytes:
        """Return some bytes; b"" at the end, and where the connection broke."""

    def close(self, stream: _S) -> None:
        """Close it, at once."""


class TunnelSettings(Protocol):
    """What a tunnel needs of a client's configuration."""

    @property
    def entropy(self) -> Entropy:
        """For answers to Digest."""

    @property
    def limits(self) -> Limits:
        """Bounds on what a proxy says."""


async def reach(
    uri: EstUri,
    proxy: Proxy,
    network: Network[_S],
    *,
    loop: Timekeeper,
    seconds: float,
    settings: TunnelSettings,
) -> _S:
    """Return a connection that leads through the proxy to the server, made in that time.

    Raises ConnectError.
    """
    async with loop.scope(seconds):
        tunnel = await _begin(uri, proxy, network, settings)
        while True:
            try:
                stream = await network.connect(proxy.host, proxy.port)
            except OSError as exc:
                raise not_reached(proxy, exc) from exc
            try:
                is_open = await _talk(tunnel, network, stream)
            except BaseException:
                network.close(stream)
                raise
            if is_open:
                return stream
            network.close(stream)
    raise too_late(proxy)


async def _begin(
    uri: EstUri, proxy: Proxy, network: Network[_S], settings: TunnelSettings
) -> Tunnel:
    host = uri.host
    if proxy.looks_up_here:
        try:
            found = await network.look_up(host, uri.port)
        except socket.gaierror as exc:
            raise not_looked_up(proxy, uri) from exc
        host = address_for(proxy, uri, found)
    return open_tunnel(proxy, host, uri.port, entropy=settings.entropy, limits=settings.limits)


async def _talk(tunnel: Tunnel, network: Network[_S], stream: _S) -> bool:
    """Return True once the tunnel is open, False where it needs another connection."""
    data = tunnel.begin()
    while not (tunnel.is_open or tunnel.needs_connection):
        if data:
            await network.send(stream, data)
        data = tunnel.receive(await network.receive(stream))
    return tunnel.is_open
