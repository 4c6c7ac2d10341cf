"""The sockets of `est serve`, and what it says of where they are."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from ipaddress import ip_address
from itertools import chain
from typing import Final, TypeVar

from est_core.values import value_class
from est_transports.cli.describe import fingerprint
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.terminal_text import terminal_safe
from est_transports.daemon.log_output import LogHandler
from est_transports.daemon.systemd import READY, notify
from est_transports.drive.observe import FIELDS
from est_transports.pki.host_verification import own_names
from est_transports.service.config.settings import ServerConfig
from est_transports.service.errors import ServingError
from est_transports.service.listening import open_datagram_sockets, open_sockets
from est_transports.service.loading import Service

_log: Final = logging.getLogger("est_transports")

_T = TypeVar("_T")
_OTHER_ADDRESS: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES})


@value_class
class Listeners:
    """All sockets: of HTTPS, of EST-coaps for each worker or none, of what is published."""

    https: tuple[socket.socket, ...] = ()
    coap: tuple[tuple[socket.socket, ...], ...] = ()
    published: tuple[tuple[socket.socket, ...], ...] = field(default=())

    def close(self) -> None:
        """Close all of them."""
        for each in chain(self.https, *self.coap, *self.published):
            each.close()


def open_listeners(config: ServerConfig) -> Listeners:
    """Return all sockets, or none. Raises CliError."""
    opened: list[socket.socket] = []

    def tcp() -> tuple[socket.socket, ...]:
        sockets = open_sockets(config.listen)
        opened.extend(sockets)
        return sockets

    def udp() -> tuple[tuple[socket.socket, ...], ...]:
        if config.coap.listen is None:
            return ()
        sockets = open_datagram_sockets(config.coap.listen, config.workers)
        opened.extend(chain(*sockets))
        return sockets

    def plain() -> Iterator[tuple[socket.socket, ...]]:
        for address in config.publication.listen:
            sockets = open_sockets(address)
            opened.extend(sockets)
            yield sockets

    try:
        return Listeners(
            https=_or_hint(tcp, "with --listen HOST:PORT"),
            coap=_or_hint(udp, "with --coap HOST:PORT"),
            published=_or_hint(lambda: tuple(plain()), "as listen under [publication] of est.toml"),
        )
    except CliError:
        for each in opened:
            each.close()
        raise


def _or_hint(open_all: Callable[[], _T], how: str) -> _T:
    try:
        return open_all()
    except ServingError as exc:
        system = exc.__cause__
        unusable = isinstance(system, socket.gaierror | UnicodeError) or (
            isinstance(system, OSError) and system.errno in _OTHER_ADDRESS
        )
        hint = f"use another {how}" if unusable else ""
        raise CliError(str(exc), ExitCode.LOCAL, hint) from exc


def say_published(service: Service, listeners: Listeners) -> None:
    """Say in the log what is published, and where."""
    paths = " ".join(each.path for each in service.publication.resources)
    for sockets in listeners.published:
        _log.info("publishing at %s: %s", _origin("http", service, sockets[0]), paths)


def say_ready(
    handler: LogHandler, service: Service, listeners: Listeners, *, as_json: bool
) -> None:
    """Print the one line that says where the server is and whom its clients are to trust."""
    url = _url("https", service, listeners.https)
    values = {"message": "serving", "url": url}
    if listeners.coap:
        values["coap_url"] = _url("coaps", service, listeners.coap[0])
    values["sha256"] = fingerprint(service.authority.ca.ca_certificates()[-1])
    places = " and ".join(values[key] for key in ("url", "coap_url") if key in values)
    text = f"serving {places}  CA fingerprint {values['sha256']}"
    if as_json:
        _log.info("%s", text, extra={FIELDS: values})
    else:
        handler.write_line(terminal_safe(text))
    notify(READY, f"STATUS={text}")


def _url(scheme: str, service: Service, sockets: Sequence[socket.socket]) -> str:
    return f"{_origin(scheme, service, sockets[0])}/.well-known/est"


def _origin(scheme: str, service: Service, listening: socket.socket) -> str:
    """Return the URL for clients: the address, or a name in place of a wildcard."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = min(own_names(service.identity.certificate), default=host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
