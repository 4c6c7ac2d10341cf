"""A TLS connection over a socket in an event loop of asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from est_core import Channel
from est_core.arguments import checked
from est_transports.channel.sockets import RECEIVE_BYTES, has_input
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.fairness.handshake_scheduler import HandshakeSteps

_T = TypeVar("_T")
CLOSE_S: Final = 0.5
WITHOUT_TURN_MAX: Final = 4
"""How many calls in a row may take no turn of the event loop."""


@checked
class TlsStream:
    """What `TlsEngine` encrypts, over a connected socket, which belongs to this object.

    What TLS finds wrong is a TlsError, what the network does an OSError. Time is up to the caller:
    a `receive_some` that was cancelled may be called again, after another method that was
    cancelled the connection is good for nothing but `close`.
    """

    def __init__(self, sock: socket.socket, engine: TlsEngine) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._engine = engine
        self._outbox = bytearray()
        self._flushing = asyncio.Lock()
        self._without_turn = 0

    async def do_handshake(self, steps: HandshakeSteps | None = None) -> Channel:
        """Return the facts of the channel once the handshake is over.

        Whenever the peer has said something, `steps` is waited for before the work goes on.
        """
        await self._until(lambda: self._engine.handshake() or None, steps, shaking=True)
        return self._engine.channel()

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; False where something is left, which `send_all(b"")` sends."""
        self._engine.write(data)
        self._without_turn += 1
        return self._flush_now() and self._without_turn < WITHOUT_TURN_MAX

    async def send_all(self, data: bytes) -> None:
        """Send all of it."""
        self._engine.write(data)
        await self._flush()
        await self._take_turns()

    async def receive_some(self) -> bytes:
        """Return some bytes; b"" once the peer has said that it will send no more."""
        return await self._until(self._engine.read)

    async def linger(self, max_bytes: int) -> None:
        """Say that there is no more, then read and forget until the peer ends its side.

        Returns also after `max_bytes`, and when the connection breaks.
        """
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            await self._say_close()
            self.sock.shutdown(socket.SHUT_WR)
            while max_bytes > 0 and (dropped := await loop.sock_recv(self.sock, RECEIVE_BYTES)):
                max_bytes -= len(dropped)

    def close_now(self) -> bool:
        """Do what `aclose` does, and return True, where that does not have to wait."""
        self._engine.close()
        with suppress(OSError):
            if not self._flush_now():
                return False
        self.close()
        return True

    async def aclose(self) -> None:
        """Say close_notify and close. A peer that takes nothing now is not waited for."""
        try:
            with suppress(OSError):  # TimeoutError too
                async with asyncio.timeout(CLOSE_S):
                    await self._say_close()
        finally:
            self.close()

    def close(self) -> None:
        """Close, without a word."""
        self.sock.close()

    @property
    def is_quiet(self) -> bool:
        """True while the peer has said nothing that was not read, such as close_notify."""
        return self._engine.is_quiet and not has_input(self.sock)

    async def _say_close(self) -> None:
        self._engine.close()
        await self._flush()

    async def _until(
        self,
        step: Callable[[], _T | None],
        steps: HandshakeSteps | None = None,
        *,
        shaking: bool = False,
    ) -> _T:
        """Try the step, feed the engine, and try again, until it returns something."""
        loop = asyncio.get_running_loop()
        await self._take_turns()  # first: what was read would be lost where it is cancelled
        try:
            while True:
                if shaking and self._engine.handshake_is_long:
                    done = await (steps.long(step) if steps else asyncio.to_thread(step))
                else:
                    done = step()
                await self._flush()
                if done is not None:
                    return done
                if steps is not None:
                    steps.peers()
                received = await loop.sock_recv(self.sock, RECEIVE_BYTES)
                if steps is not None:
                    await steps.ours()
                self._engine.receive(received)
        except TlsError:
            with suppress(OSError):
                await self._flush()  # the alert that tells the peer why
            raise

    async def _take_turns(self) -> None:
        """Give others a turn now and then: what moves at once is no wait."""
        self._without_turn += 1
        if self._without_turn >= WITHOUT_TURN_MAX:
            self._without_turn = 0
            await asyncio.sleep(0)

    def _flush_now(self) -> bool:
        """Send what the engine has to say, as far as that goes at once; True if nothing is left."""
        self._outbox += self._engine.outgoing()
        if self._outbox and not self._flushing.locked():  # bytes leave in order
            with suppress(BlockingIOError):
                del self._outbox[: self.sock.send(self._outbox)]
        return not self._outbox

    async def _flush(self) -> None:
        """Send what the engine has to say. A reader may have to, and bytes leave in order."""
        if self._flush_now():
            return
        async with self._flushing:
            outgoing = bytes(self._outbox)
            self._outbox.clear()
            if outgoing:
                await asyncio.get_running_loop().sock_sendall(self.sock, outgoing)
