"""A server as processes: signals that stop and reload it, and several workers on one port.

SIGTERM and SIGINT stop: no new connections, requests under way are answered. SIGHUP reloads. With
more than one worker a parent holds the sockets and only passes signals on. A worker that dies is
replaced, and workers whose parent dies stop by themselves.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Final

import trio

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_transports.coap.settings import CoapService
from est_transports.daemon.file_limit import raise_file_limit
from est_transports.on_trio.coap_server import CoapServer
from est_transports.on_trio.publication_server import PublicationServer
from est_transports.on_trio.server import Server
from est_transports.service.crl_publishing import LOOK_S, CrlPublisher
from est_transports.service.loading import Service
from est_transports.service.running import Running

_log: Final = logging.getLogger("est_transports")

STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})
RELOAD: Final = signal.SIGHUP
_WORKER_SIGNALS: Final = STOP | {RELOAD}
_PARENT_SIGNALS: Final = _WORKER_SIGNALS | {signal.SIGCHLD}
RESTART_DELAY_S: Final = 1.0
FILES_BESIDES: Final = 64
"""Descriptors that are not connections: listeners, logs, the store, what a reload opens."""
GENERATION_S: Final = 3600.0
"""How long connections outlive a reload. Few live that long: each has 100 requests."""

WATCH_S: Final = 5.0
"""How often a process looks at what can go wrong by itself: a store, a date."""


@checked
def run(running: Running) -> None:
    """Serve until a signal says to stop, in this process or in several workers.

    Must be called in the main thread, of a process without other threads where there are to be
    workers.
    """
    config = running.service.config
    connections = config.connections_max + config.half_open_max
    if running.publication_sockets:
        published = config.publication.limits
        connections += published.connections_max + published.silent_max
    _raise_file_limit(connections)
    # From here on no signal is lost: they wait until somebody has been set up to take them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PARENT_SIGNALS)
    try:
        if running.service.config.workers == 1:
            _serve_here(running, 0, running.ready, None)
        else:
            _Parent(running).run()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PARENT_SIGNALS)


def _raise_file_limit(connections: int) -> None:
    """Let the process have a descriptor for each connection, as far as it may.

    Out of descriptors, a server accepts nobody and cannot even say so.
    """
    wanted = connections + FILES_BESIDES
    allowed = raise_file_limit(wanted)
    if allowed < wanted:
        _log.warning(
            "only %d files may be open: %d connections need %d; see ulimit -n",
            allowed,
            connections,
            wanted,
        )


def _serve_here(
    running: Running, number: int, ready: Callable[[], None], parent_watch: int | None
) -> None:
    """Serve in this process."""
    try:
        trio.run(_serve, running, number, ready, parent_watch)
    finally:
        running.ended()


async def _serve(
    running: Running, number: int, ready: Callable[[], None], parent_watch: int | None
) -> None:
    """Serve in this process, the worker of that number, until told to, or the parent is gone."""
    datagram_sockets = running.datagram_sockets[number] if running.datagram_sockets else ()
    generations, loading = _Generations(running, datagram_sockets), trio.Lock()

    async def obey() -> None:
        async for signalled in signals:
            if signalled in STOP:
                generations.stop()
            elif not generations.stopping:
                # In a thread: a disk may be slow, and clients are not to wait for it.
                await take(partial(_reloaded, running))

    async def take(load: Callable[[], Service | None]) -> None:
        async with loading:  # each begins with what the one before it has left
            loaded = await trio.to_thread.run_sync(load)
            if loaded is not None and not generations.stopping:
                generations.succeed(loaded)
                _log.info("reloaded")
                await look()

    async def look() -> None:
        serving = generations.service
        await trio.to_thread.run_sync(_watch, running, serving, number, abandon_on_cancel=True)

    async def watch() -> None:
        while True:
            await look()
            if not generations.stopping:
                await take(lambda: _changed(running, generations.service))
            await trio.sleep(WATCH_S)

    with trio.open_signal_receiver(*_WORKER_SIGNALS) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PARENT_SIGNALS)
        async with trio.open_nursery() as watchers:
            watchers.start_soon(obey)
            watchers.start_soon(watch)
            if number == 0:
                watchers.start_soon(_publish, generations)
            if parent_watch is not None:
                watchers.start_soon(_watch_parent, parent_watch, generations)
            ready()
            await generations.run()
            watchers.cancel_scope.cancel()


def _reloaded(running: Running) -> Service | None:
    """Return what `reload` does; nothing that it may raise ends a server that runs."""
    try:
        return running.reload()
    except Exception:  # noqa: BLE001 - whatever it is, the server goes on
        _log.exception("not reloaded, everything stays as it was: this is a bug, please report it")
        return None


def _changed(running: Running, service: Service) -> Service | None:
    if running.changed is None:
        return None
    try:
        return running.changed(service)
    except Exception:  # noqa: BLE001 - whatever it is, the server goes on
        _log.exception("not reloaded, everything stays as it was: this is a bug, please report it")
        return None


def _watch(running: Running, service: Service, number: int) -> None:
    if running.watch is None:
        return
    try:
        running.watch(service, number)
    except Exception:  # noqa: BLE001 - whatever it is, the server goes on
        _log.exception("the watch failed: this is a bug, please report it")


async def _watch_parent(descriptor: int, generations: _Generations) -> None:
    await trio.lowlevel.wait_readable(descriptor)  # nobody writes: it was closed
    generations.stop()


async def _publish(generations: _Generations) -> None:
    """Make the revocation lists, in a thread: requests are not to wait for them."""
    publisher = CrlPublisher()
    while not generations.stopping:
        await trio.to_thread.run_sync(_published, publisher, generations.service)
        await trio.sleep(LOOK_S)


def _published(publisher: CrlPublisher, service: Service) -> None:
    try:
        publisher(service)
    except Exception:  # noqa: BLE001 - whatever it is, the server goes on
        _log.exception("no new revocation list: this is a bug, please report it")


class _Generations:
    """One Server for each Service that still has connections.

    The youngest takes the new ones, an older one goes on with those it has: they keep the
    certificates and the rules with which they began. Only where trust anchors or revocation lists
    are others do they end after the request that is under way: a client that is revoked could else
    go on as long as it kept its connection. When the last of them has ended, or after
    GENERATION_S, nothing of it is left.
    """

    def __init__(self, running: Running, datagram_sockets: Sequence[socket.socket]) -> None:
        self._running = running
        self._coap = [(self._datagram_server(running.service), each) for each in datagram_sockets]
        self._listeners = [
            trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in running.sockets
        ]
        self._published: PublicationServer | None = None
        if running.publication_sockets:
            self._published = PublicationServer(
                source=lambda: self.service.publication,
                limits=running.service.config.publication.limits,
            )
        self._servers: dict[Server, Service] = {}
        self._youngest: Server | None = None
        self._turns: list[_Turn] = []
        self._served_as: CoapService | None = None
        self.service = running.service
        """What new connections get."""
        self.stopping = False

    async def run(self) -> None:
        """Serve; returns after `stop`, when the last answer is out."""
        async with trio.open_nursery() as self._nursery:
            self.succeed(self._running.service)
            for server, each in self._coap:
                await self._nursery.start(server.serve, each)
            if self._published is not None:
                sockets = self._running.publication_sockets
                await self._nursery.start(self._published.serve, sockets)

    def _datagram_server(self, service: Service) -> CoapServer:
        return CoapServer(
            source=self._coap_service,
            observe=self._running.observe,
            threads=service.config.threads,
            dtls=service.config.coap.dtls_limits(),
        )

    def _coap_service(self) -> CoapService:
        if self._served_as is None:
            raise LocalProtocolError("EST-coaps is not served")
        return self._served_as

    def succeed(self, service: Service) -> None:
        """Let new connections have this service.

        Who was let in by other anchors or revocation lists has to come again.
        """
        for turn in self._turns:
            turn.is_over = True
        for each, served in self._servers.items():
            if served.context.config.trust != service.context.config.trust:
                each.stop(service.config.stop_s)
        if self._youngest is not None:
            self._youngest.retire(GENERATION_S)
        self._turns = [_Turn(listener) for listener in self._listeners]
        self._served_as = service.coap or self._served_as
        for coap_server, _ in self._coap:
            coap_server.renew()
        server = Server(
            context_source=lambda: service.context,
            application=service.authority,
            config=service.http,
            observe=self._running.observe,
            threads=service.config.threads,
            connections_max=service.config.connections_max,
            half_open_max=service.config.half_open_max,
        )
        self._servers[server] = service
        self._youngest, self.service = server, service
        self._nursery.start_soon(self._live, server, self._turns)

    def stop(self) -> None:
        """Refuse new connections, answer the requests under way, and end `run`."""
        self.stopping = True
        for server, service in self._servers.items():
            server.stop(service.config.stop_s)
        for coap_server, _ in self._coap:
            coap_server.stop(self._running.service.config.stop_s)
        if self._published is not None:
            self._published.stop(self._running.service.config.stop_s)

    async def _live(self, server: Server, turns: Sequence[_Turn]) -> None:
        try:
            await server.serve(turns)
        finally:
            del self._servers[server]


class _Turn(trio.abc.Listener[trio.abc.Stream]):
    """A listener that several share, one after the other; who had it does not close it."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.socket = listener.socket
        self.is_over = False

    async def accept(self) -> trio.abc.Stream:
        """Return the next connection."""
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Close the shared listener, unless the turn is over."""
        if not self.is_over:
            await self._listener.aclose()


class _Parent:
    """Forks the workers and waits for signals, which are all blocked in it."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._workers: dict[int, int] = {}
        """Number of each worker, by its process."""
        self._stopping = False
        self._parent_watch, self._parent_end = os.pipe()  # its end closes with the parent

    def run(self) -> None:
        """Return when all workers have stopped after a signal to do so."""
        wanted = self._running.service.config.workers
        for number in range(wanted):
            self._fork(number)
        self._running.ready()
        while self._workers or not self._stopping:
            missing = set() if self._stopping else set(range(wanted)) - set(self._workers.values())
            delay = RESTART_DELAY_S if missing else WATCH_S
            signalled = _next_signal(delay)
            if signalled is None:
                self._renew()
                self._replace(missing)
            else:
                self._obey(signalled)

    def _obey(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number in STOP:
            self._stopping = True
            running = self._running
            for each in chain(
                running.sockets, running.publication_sockets, *running.datagram_sockets
            ):
                each.close()  # while anybody has them open, clients are let into the queue
            self._tell(signal.SIGTERM)
        elif (loaded := _reloaded(self._running)) is not None:
            # A worker that is forked later begins with it.
            self._running = replace(self._running, service=loaded)
            self._tell(RELOAD)
            _log.info("reloaded")

    def _renew(self) -> None:
        """Take changed files too: a worker that is forked later begins with what the parent has.

        It would look for itself, but by then a file may be one that cannot be used.
        """
        loaded = _changed(self._running, self._running.service)
        if loaded is not None:
            self._running = replace(self._running, service=loaded)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._workers:
            os.kill(worker, number)  # a dead one stays ours until _reap has waited for it

    def _reap(self) -> None:
        for worker in tuple(self._workers):
            found, status = os.waitpid(worker, os.WNOHANG)
            if not found:
                continue
            del self._workers[worker]
            if not self._stopping:
                code = os.waitstatus_to_exitcode(status)
                _log.error("worker %d ended with %d; another one takes its place", worker, code)

    def _replace(self, missing: set[int]) -> None:
        for number in missing:
            try:
                self._fork(number)
            except OSError as exc:  # too many processes, or too little memory, for now
                _log.error("cannot start another worker: %s; trying again", exc.strerror)

    def _fork(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        worker = os.fork()
        if worker:
            self._workers[worker] = number
            return
        code = 1
        try:
            os.close(self._parent_end)
            _serve_here(self._running, number, lambda: None, self._parent_watch)
            code = 0
        except BaseException:  # noqa: BLE001 - the parent must not go on in the child's name
            _log.exception("a worker failed")
        finally:
            logging.shutdown()
            os._exit(code)  # the parent's clean-up is not ours


def _next_signal(timeout_s: float | None) -> int | None:
    """Wait for one of the blocked signals; None after the timeout."""
    if timeout_s is None:
        return signal.sigwait(_PARENT_SIGNALS)
    found = signal.sigtimedwait(_PARENT_SIGNALS, timeout_s)
    return None if found is None else found.si_signo
