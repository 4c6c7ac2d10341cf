"""A TLS connection as a trio stream."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn, TypeVar

import trio

from est_core import Channel
from est_transports.channel.sockets import RECEIVE_BYTES
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.fairness.handshake_scheduler import HandshakeSteps

_T = TypeVar("_T")
EAGER_MAX: Final = 4
"""How many calls in a row of an eager stream may take no turn of the event loop."""
_READS_DESCRIPTORS: Final = os.name == "posix"  # elsewhere a socket is no file


class TlsBrokenError(trio.BrokenResourceError, TlsError):
    """The TLS connection failed; `error` says how."""

    def __init__(self, error: TlsError) -> None:
        TlsError.__init__(self, error.code, error.message, user=error.user)
        self.error = error


class TlsStream(trio.abc.Stream):
    """What `TlsEngine` encrypts, over any trio stream.

    Over a socket it reads and writes directly, and has trio wait only where there is something to
    wait for: trio's own calls take a turn of the event loop for each piece that moves at once.
    Every method that is awaited is a checkpoint all the same, as trio's are. With `eager`, for a
    caller that waits for something else before long, only what waits is one, and every
    EAGER_MAX-th call in a row that did not; so a peer with much to say has no more than its turn.

    One task may send while another receives; two that do the same meet BusyResourceError. What
    TLS itself finds wrong is a TlsBrokenError, the end of the transport trio's own errors. The
    handshake comes first; `send_all` and `receive_some` do it where it was not done.
    """

    def __init__(
        self, transport: trio.abc.Stream, engine: TlsEngine, *, eager: bool = False
    ) -> None:
        self.transport = transport
        self._engine = engine
        self._without_turn_max = EAGER_MAX if eager else 0
        self._without_turn = 0
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
        await self._until(lambda: self._engine.handshake() or None, steps, shaking=True)
        self._shaken = True
        return self._engine.channel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""
        with self._sending:
            self._check_open()
            await self._shake_hands()
            await self._until(lambda: self._written(data))

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; False where something is left, which `send_all(b"")` sends.

        After the handshake. Raises what `send_all` raises.
        """
        with self._sending:
            self._check_open()
            try:
                self._engine.write(data)
            except TlsError as exc:
                raise TlsBrokenError(exc) from exc
            self._without_turn += 1
            return self._flush_now() and self._without_turn <= self._without_turn_max

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
        if self.close_now():
            if not self._without_turn_max:
                await trio.lowlevel.checkpoint()
            return
        try:
            with trio.move_on_after(0.5):
                await self._say_close()
        finally:
            self._closed = True
            await self.transport.aclose()

    def close_now(self) -> bool:
        """Do what `aclose` does, and return True, where that does not have to wait."""
        if self._closed or not isinstance(self.transport, trio.SocketStream) or self._outbox:
            return self._closed
        self._engine.close()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if not self._flush_now():
                return False
        self._closed = True
        self.transport.socket.close()
        return True

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
        self,
        step: Callable[[], _T | None],
        steps: HandshakeSteps | None = None,
        *,
        shaking: bool = False,
    ) -> _T:
        """Try the step, feed the engine, and try again, until it returns something."""
        waited = False
        if not self._without_turn_max:
            await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                if shaking and self._engine.handshake_is_long:
                    done = await (steps.long(step) if steps else trio.to_thread.run_sync(step))
                    waited = True
                else:
                    done = step()
            except TlsError as exc:
                await self._break(exc)
            waited = await self._flush() or waited
            if done is not None:
                if not waited:
                    await self._take_turns()
                return done
            if steps is not None:
                steps.peers()
            received = self._read_now()
            if received is None:
                received = await self._read()
                waited = True
            if steps is not None:
                await steps.ours()
            self._check_open()
            try:
                self._engine.receive(received)
            except TlsError as exc:
                await self._break(exc)

    async def _take_turns(self) -> None:
        """Give others a turn, but not after each of an eager caller's."""
        self._without_turn += 1
        if self._without_turn > self._without_turn_max:
            self._without_turn = 0
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _break(self, error: TlsError) -> NoReturn:
        try:
            await self._flush()  # the alert that tells the peer why
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise TlsBrokenError(error) from error
        raise TlsBrokenError(error) from error

    def _descriptor(self) -> int | None:
        """Return the transport's descriptor, None where it has none to read and write."""
        if not isinstance(self.transport, trio.SocketStream) or not _READS_DESCRIPTORS:
            return None
        descriptor = self.transport.socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this stream is closed")
        return descriptor

    def _read_now(self) -> bytes | None:
        """Return what has arrived, b"" at the end of the stream; None where nothing has."""
        descriptor = self._descriptor()
        if descriptor is None or self._without_turn > self._without_turn_max:
            return None
        self._without_turn += 1
        try:
            return os.read(descriptor, RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise trio.BrokenResourceError(f"the connection broke: {exc}") from exc

    async def _read(self) -> bytes:
        """Wait for what arrives next."""
        while (descriptor := self._descriptor()) is not None:
            await trio.lowlevel.wait_readable(descriptor)
            self._without_turn = 0
            if (received := self._read_now()) is not None:
                return received
        return bytes(await self.transport.receive_some(RECEIVE_BYTES))

    def _flush_now(self) -> bool:
        """Send what the engine has to say, as far as that goes at once; True if nothing is left."""
        self._outbox += self._engine.outgoing()
        if self._flushing.locked():  # bytes leave in order
            return False
        if not self._outbox:
            return True
        descriptor = self._descriptor()
        if descriptor is None:
            return False
        try:
            del self._outbox[: os.write(descriptor, self._outbox)]
        except BlockingIOError:
            return False
        except OSError as exc:
            raise trio.BrokenResourceError(f"the connection broke: {exc}") from exc
        return not self._outbox

    async def _flush(self) -> bool:
        """Send what the engine has to say; True if that took a wait."""
        if self._flush_now():
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
