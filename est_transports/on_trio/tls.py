"""A TLS connection as a trio stream."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import NoReturn, TypeVar

import trio

from est_core import Channel
from est_transports.channel.sockets import RECEIVE_BYTES
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.fairness.handshake_scheduler import HandshakeSteps

_T = TypeVar("_T")


class TlsBrokenError(trio.BrokenResourceError, TlsError):
    """The TLS connection failed; `error` says how."""

    def __init__(self, error: TlsError) -> None:
        TlsError.__init__(self, error.code, error.message)
        self.error = error


class TlsStream(trio.abc.Stream):
    """What `TlsEngine` encrypts, over any trio stream.

    One task may send while another receives; two that do the same meet BusyResourceError. What
    TLS itself finds wrong is a TlsBrokenError, the end of the transport trio's own errors. The
    handshake comes first; `send_all` and `receive_some` do it where it was not done.
    """

    def __init__(self, transport: trio.abc.Stream, engine: TlsEngine) -> None:
        self.transport = transport
        self._engine = engine
        self._closed = False
        self._shaken = False
        self._outbox = bytearray()
        self._flushing = trio.Lock()
        self._sending = _ConflictDetector("another task is sending")
        self._receiving = _ConflictDetector("another task is receiving")

    async def do_handshake(self, steps: HandshakeSteps | None = None) -> Channel:
        """Return the facts of the channel once the handshake is over; at once if it is.

        Whenever the peer has said something, `steps` is waited for before the work goes on.
        """
        await self._until(lambda: self._engine.handshake() or None, steps)
        self._shaken = True
        return self._engine.channel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""
        with self._sending:
            self._check_open()
            await self._shake_hands()
            await self._until(lambda: self._written(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport takes bytes."""
        with self._sending:
            self._check_open()
            await self.transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes; b"" once the peer has said that it will send no more.

        `max_bytes` is for trio's interface: at most one TLS record comes at a time.
        """
        with self._receiving:
            if max_bytes is not None and operator.index(max_bytes) < 1:
                raise ValueError("max_bytes must be at least 1")
            self._check_open()
            await self._shake_hands()
            return await self._until(self._engine.read)

    @property
    def is_quiet(self) -> bool:
        """True while the peer has sent nothing that was not read, not even its end."""
        transport = self.transport
        waits = isinstance(transport, trio.SocketStream) and transport.socket.is_readable()
        return self._engine.is_quiet and not waits

    async def linger(self, max_bytes: int) -> None:
        """Say that there is no more, then read and forget until the peer ends its side.

        Returns also after `max_bytes`, and when the connection breaks. Time is up to the caller.
        """
        await self._say_close()
        if isinstance(self.transport, trio.abc.HalfCloseableStream):
            try:
                await self.transport.send_eof()
                while max_bytes > 0:
                    dropped = await self.transport.receive_some(RECEIVE_BYTES)
                    if not dropped:
                        return
                    max_bytes -= len(dropped)
            except trio.BrokenResourceError:
                return

    async def aclose(self) -> None:
        """Say close_notify and close. A transport that takes nothing now is not waited for."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        try:
            with trio.move_on_after(0.5):
                await self._say_close()
        finally:
            self._closed = True
            await self.transport.aclose()

    async def _say_close(self) -> None:
        self._check_open()
        self._engine.close()
        try:
            await self._flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")

    def _written(self, data: bytes | bytearray | memoryview) -> bool:
        self._engine.write(bytes(data))
        return True

    async def _shake_hands(self) -> None:
        if not self._shaken:
            await self.do_handshake()

    async def _until(
        self, step: Callable[[], _T | None], steps: HandshakeSteps | None = None
    ) -> _T:
        """Try the step, feed the engine, and try again, until it returns something."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            try:
                done = step()
            except TlsError as exc:
                await self._break(exc)
            waited = await self._flush() or waited
            if done is not None:
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return done
            if steps is None:
                received = await self.transport.receive_some(RECEIVE_BYTES)
            else:
                steps.peers()
                received = await self.transport.receive_some(RECEIVE_BYTES)
                await steps.ours()
            waited = True
            self._check_open()
            try:
                self._engine.receive(bytes(received))
            except TlsError as exc:
                await self._break(exc)

    async def _break(self, error: TlsError) -> NoReturn:
        try:
            await self._flush()  # the alert that tells the peer why
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise TlsBrokenError(error) from error
        raise TlsBrokenError(error) from error

    async def _flush(self) -> bool:
        """Send what the engine has to say; True if there was something."""
        self._outbox += self._engine.outgoing()
        if not self._outbox and not self._flushing.locked():
            return False
        try:  # a reader may have to send, and bytes must leave in order
            self._flushing.acquire_nowait()  # not `async with`: it gives others a turn each time
        except trio.WouldBlock:
            await self._flushing.acquire()
        try:
            outgoing = bytes(self._outbox)
            self._outbox.clear()
            if outgoing:
                await self.transport.send_all(outgoing)
        finally:
            self._flushing.release()
        return True


class _ConflictDetector:
    """Lets one task in at a time, and tells the second that it is wrong."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._message)
        self._busy = True

    def __exit__(self, *_exc: object) -> None:
        self._busy = False
