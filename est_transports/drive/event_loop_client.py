"""A client on an event loop: does what `ClientDriver` says, and keeps the connection.

What on_trio and on_asyncio have in common. A runtime adds how a connection is made and written to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from est_core import ClientExchange, ClientResult, Instant, RetryLater
from est_core.arguments import checked_throughout
from est_transports.channel.errors import TlsError
from est_transports.drive.client import (
    AwaitCredentials,
    ClientDriver,
    Connect,
    ExchangeSettings,
    Link,
    Read,
    Write,
)
from est_transports.drive.event_loop import Timekeeper


class Stream(Protocol):
    """A connection of a runtime, of either wire."""

    @property
    def is_quiet(self) -> bool:
        """True while the server has sent nothing that was not read, such as close_notify."""

    async def receive_some(self) -> bytes:
        """Return some bytes, b"" being the end of a stream, or a datagram."""

    async def aclose(self) -> None:
        """Say close_notify and close."""


_S = TypeVar("_S", bound=Stream)


@checked_throughout
class EventLoopClient(ABC, Generic[_S]):
    """Runs client exchanges, one at a time, and keeps the connection for the next one."""

    _broken: tuple[type[Exception], ...]
    """What a stream raises where TLS or the network fails; those of TLS are a TlsError too."""

    def __init__(
        self, loop: Timekeeper, settings: ExchangeSettings, clock: Callable[[], Instant]
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._clock = clock
        self._kept: tuple[Link, _S] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection that was kept, if there is one."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            await kept[1].aclose()

    async def run(
        self, exchange: ClientExchange, *, wait_s: float = 0.0
    ) -> ClientResult | RetryLater:
        """Return the exchange's result; Failed for whatever the network or the server does.

        A pending request returns RetryLater where its moment is more than `wait_s` seconds
        away in all: run the same exchange again then. Raises LocalProtocolError where the
        exchange needs an identity or signer that the config lacks.
        """
        wait_until = self._clock().mono + wait_s
        while True:
            result = await self._run(exchange)
            if not isinstance(result, RetryLater) or result.at.mono > wait_until:
                return result
            await self._loop.sleep(self._left(result.at.mono))

    async def _run(self, exchange: ClientExchange) -> ClientResult | RetryLater:
        driver = ClientDriver(exchange, self._settings, self._clock())
        while True:
            match step := driver.next_step(self._clock()):
                case Connect():
                    await self._connect(driver, step)
                case Write():
                    await self._write(step)
                case Read():
                    await self._read(driver, step)
                case AwaitCredentials():
                    driver.provide_credentials(await step.answer)
                case _:  # it is over, or put off
                    if self._kept is not None and not self._kept[0].may_stay(step):
                        await self.aclose()
                    return step

    async def _connect(self, driver: ClientDriver, step: Connect) -> None:
        if self._kept is not None:
            link, stream = self._kept
            if link.fits(step, self._clock()) and stream.is_quiet:
                return driver.connected(link)
            await self.aclose()
        return await self._open(driver, step)

    async def _write(self, step: Write) -> None:
        if self._kept is None:
            return
        async with self._loop.scope(self._left(step.deadline)):
            with suppress(*self._broken):  # the next read tells why, or holds an early answer
                await self._send(self._kept[1], step.pieces)

    async def _read(self, driver: ClientDriver, step: Read) -> None:
        if self._kept is None:
            return driver.broken(None, self._clock())
        data = b""
        scope = self._loop.scope(self._left(step.deadline))
        async with scope:
            try:
                data = await self._kept[1].receive_some()
            except self._broken as exc:
                error = exc if isinstance(exc, TlsError) else None
                return driver.broken(error, self._clock())
        if scope.cancelled_caught:
            return driver.handle_timeout(self._clock())
        return driver.receive(data, self._clock())

    def _keep(self, driver: ClientDriver, link: Link, stream: _S) -> None:
        """Go on with a connection that was made."""
        self._kept = (link, stream)
        driver.connected(link)

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock().mono)

    @abstractmethod
    async def _open(self, driver: ClientDriver, wanted: Connect) -> None:
        """Make a connection and `_keep` it, or tell the driver why it failed."""

    @abstractmethod
    async def _send(self, stream: _S, pieces: tuple[bytes, ...]) -> None:
        """Send pieces of a stream, or datagrams."""
