"""Through a proxy on a blocking socket, with a deadline for all of it."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

from est_core import EstUri
from est_transports.client_config import ClientConfig
from est_transports.on_sockets.tls import Clock
from est_transports.tunnels.failures import address_for, not_looked_up, not_reached, too_late
from est_transports.tunnels.machine import Tunnel
from est_transports.tunnels.opening import open_tunnel
from est_transports.tunnels.proxy import Proxy

_RECEIVE_BYTES = 4096


def reach(
    uri: EstUri, proxy: Proxy, deadline: float, *, clock: Clock, config: ClientConfig
) -> socket.socket:
    """Return a connection that leads through the proxy to the server.

    Raises ConnectError, also at the deadline, in monotonic seconds.
    """
    host = uri.host
    if proxy.looks_up_here:
        try:
            found = socket.getaddrinfo(host, uri.port, type=socket.SOCK_STREAM)
        except socket.gaierror as exc:
            raise not_looked_up(proxy, uri) from exc
        host = address_for(proxy, uri, found)
    tunnel = open_tunnel(proxy, host, uri.port, entropy=config.entropy, limits=config.limits)
    while True:
        try:
            sock = _connected(proxy, deadline, clock)
        except OSError as exc:
            raise not_reached(proxy, exc) from exc
        try:
            is_open = _talk(tunnel, sock, deadline, clock)
        except BaseException as exc:
            sock.close()
            if isinstance(exc, TimeoutError):
                raise too_late(proxy) from exc
            raise
        if is_open:
            return sock
        sock.close()


def _connected(proxy: Proxy, deadline: float, clock: Clock) -> socket.socket:
    """Return a connection with the first of the proxy's addresses that answers. Raises OSError.

    `socket.create_connection` would give each of them all the time that is left.
    """
    failure = OSError("no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(
        proxy.host, proxy.port, type=socket.SOCK_STREAM
    ):
        seconds = _left(deadline, clock)
        try:
            with ExitStack() as opened:  # closed by ctrl-C too
                sock = opened.enter_context(socket.socket(family, kind, protocol))
                sock.settimeout(seconds)
                sock.connect(place)
                opened.pop_all()
                return sock
        except OSError as exc:
            failure = exc
    raise failure


def _talk(tunnel: Tunnel, sock: socket.socket, deadline: float, clock: Clock) -> bool:
    """Return True once the tunnel is open, False where it needs another connection."""
    data = tunnel.begin()
    while not (tunnel.is_open or tunnel.needs_connection):
        if data:
            sock.settimeout(_left(deadline, clock))
            with suppress(OSError):  # reading tells, or the time is over
                sock.sendall(data)
        sock.settimeout(_left(deadline, clock))
        data = tunnel.receive(_received(sock))
    return tunnel.is_open


def _received(sock: socket.socket) -> bytes:
    """Return some bytes; b"" at the end, and where the connection broke. Raises TimeoutError."""
    try:
        return sock.recv(_RECEIVE_BYTES)
    except TimeoutError:
        raise
    except OSError:
        return b""


def _left(deadline: float, clock: Clock) -> float:
    seconds = deadline - clock().mono
    if seconds <= 0:
        raise TimeoutError("too late")
    return seconds
