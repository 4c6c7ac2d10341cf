"""The sockets that a server listens on: for every address of a host, for each worker."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from est_core.arguments import checked
from est_transports.service.config.listen import ListenAddress
from est_transports.service.errors import ServingError

BACKLOG: Final = 1024


@checked
def open_sockets(address: ListenAddress) -> tuple[socket.socket, ...]:
    """Return listening sockets for every address of a host, all on one port.

    They do not block and survive a fork. Raises ServingError.
    """
    opened = _open(address, socket.SOCK_STREAM)
    for listener in opened:
        listener.listen(BACKLOG)
    return opened


@checked
def open_datagram_sockets(
    address: ListenAddress, workers: int
) -> tuple[tuple[socket.socket, ...], ...]:
    """Return, for each of the workers, UDP sockets for every address of a host, all on one port.

    The kernel gives all datagrams from one client to the same worker, as long as each keeps its
    sockets. Raises ServingError.
    """
    opened: list[tuple[socket.socket, ...]] = []
    with ExitStack() as undo:
        for number in range(workers):
            # The first ones share their port only once they have it: with another server that
            # shares the same port, each would get some of the other's clients.
            sockets = _open(address, socket.SOCK_DGRAM, joins=number > 0)
            for each in sockets:
                undo.enter_context(each)
                if workers > 1:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.append(sockets)
            address = replace(address, port=sockets[0].getsockname()[1])
        undo.pop_all()
    return tuple(opened)


def _open(
    address: ListenAddress, kind: socket.SocketKind, *, joins: bool = False
) -> tuple[socket.socket, ...]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not a host name"
        raise ServingError(f"cannot listen on {address}: {reason}") from exc
    opened: list[socket.socket] = []
    port = address.port
    with ExitStack() as undo:
        for family, _, _, _, place in dict.fromkeys(found):
            try:
                listener = undo.enter_context(socket.socket(family, kind))
                _bind(listener, family, (place[0], port, *place[2:]), joins=joins)
            except OSError as exc:
                raise ServingError(f"cannot listen on {address}: {exc.strerror}") from exc
            port = listener.getsockname()[1]
            opened.append(listener)
        undo.pop_all()
    return tuple(opened)


def _bind(listener: socket.socket, family: int, place: tuple[object, ...], *, joins: bool) -> None:
    listener.setblocking(False)
    if listener.type is socket.SOCK_STREAM:
        # Without it a restart waits until the last connection's TIME_WAIT is over. With it, two
        # servers could have the same UDP port, and one of them would hear nothing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if joins:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(place)
