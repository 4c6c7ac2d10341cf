"""What the processes of a server run with, as `processes.run` takes it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from est_core.values import value_class
from est_transports.drive.observe import Observe
from est_transports.service.loading import Service

Reload = Callable[[], Service | None]
"""Returns what is to be served from now on, or None where it could not be loaded."""

Changed = Callable[[Service], Service | None]
"""Returns what is to be served since files of the one that is served changed, or None."""

Watch = Callable[[Service, int], None]
"""Looks at what the worker of that number serves, and says in the log what went wrong."""


def _nothing() -> None:
    return None


@value_class
class Running:
    """What a server process runs with. When a reload is done, "reloaded" is logged.

    `datagram_sockets` are those of EST-coaps, as many sets as there are workers, each for one
    of them; empty where it is not served. `publication_sockets` are those of plain HTTP. `reload`
    is called on SIGHUP, in the parent of several workers first: where it gives None there, no
    worker hears of it. `ready` is called once, when signals are obeyed and clients are let in.
    `observe` gets the record of each request. `watch` is called in each process when it begins,
    after a reload, and every `processes.WATCH_S`, and so is `changed`, in the parent too: what it
    returns is served from then on. `ended` is called in each that served, after its last request.
    What `reload`, `watch` or `changed` raises is logged, and changes nothing.
    """

    service: Service
    sockets: Sequence[socket.socket]
    datagram_sockets: Sequence[Sequence[socket.socket]] = ()
    publication_sockets: Sequence[socket.socket] = ()
    reload: Reload
    ready: Callable[[], None]
    observe: Observe
    watch: Watch | None = None
    changed: Changed | None = None
    ended: Callable[[], None] = _nothing
