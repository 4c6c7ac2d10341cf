"""EST on trio: an HTTPS server for many connections at once, and a client.

The client speaks EST-coaps too, to servers with coaps URIs; for a server see `CoapServer`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import trio

from est_core import (
    ClientExchange,
    ClientResult,
    Instant,
    RetryLater,
)
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.errors import TlsError
from est_transports.channel.tls import TlsEngine, client_context
from est_transports.client_config import ClientConfig
from est_transports.drive.client import ClientDriver, Connect, Link, Read, Write, connect_failure
from est_transports.http.client import HttpLink
from est_transports.on_trio.dtls import DtlsSocket
from est_transports.on_trio.tls import TlsBrokenError, TlsStream


@checked_throughout
class Client:
    """Runs client exchanges, one at a time, and keeps the connection for the next one.

    A kept connection is used again where it has the same origin, trust and identity and a TLS
    version that the exchange allows. Use it in an `async with` statement. What the config holds
    is called in the event loop: a signer or a prompt that waits stops everybody.
    """

    def __init__(
        self, config: ClientConfig, *, clock: Callable[[], Instant] = _clock.instant
    ) -> None:
        self._config = config
        self._clock = clock
        self._kept: tuple[Link, TlsStream | DtlsSocket] | None = None

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
            await trio.sleep(max(0.0, result.at.mono - self._clock().mono))

    async def _run(self, exchange: ClientExchange) -> ClientResult | RetryLater:
        driver = ClientDriver(exchange, self._config, self._clock())
        while True:
            match step := driver.next_step(self._clock()):
                case Connect():
                    await self._connect(driver, step)
                case Write():
                    await self._write(step)
                case Read():
                    await self._read(driver, step)
                case _:  # it is over, or put off
                    if self._kept is not None and not self._kept[0].may_stay(step):
                        await self.aclose()
                    return step

    async def _connect(self, driver: ClientDriver, step: Connect) -> None:
        if self._kept is not None:
            link, stream = self._kept
            if link.fits(step, self._clock()) and _is_quiet(stream):
                return driver.connected(link)
            await self.aclose()
        if step.uri.scheme == "coaps":
            return await self._associate(driver, step)
        uri, timeouts, transport = step.uri, self._config.timeouts, None
        try:
            with trio.fail_after(timeouts.connect_s):
                transport = await trio.open_tcp_stream(uri.host, uri.port)
            stream = TlsStream(transport, TlsEngine(client_context(step.config)))
            with trio.fail_after(timeouts.handshake_s):
                channel = await stream.do_handshake()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            if transport is not None:
                await trio.aclose_forcefully(transport)
            cause = _cause(exc)
            failed = connect_failure(cause, uri, connected=transport is not None)
            return driver.connect_failed(*failed)
        made = HttpLink(step, channel, self._config)
        self._kept = (made, stream)
        return driver.connected(made)

    async def _associate(self, driver: ClientDriver, step: Connect) -> None:
        try:
            made = await DtlsSocket.connect(step, self._config, self._clock, _clock.entropy)
        except (TlsError, OSError, trio.TooSlowError) as exc:
            return driver.connect_failed(*connect_failure(_cause(exc), step.uri, connected=False))
        self._kept = (made.link, made)
        return driver.connected(made.link)

    async def _write(self, step: Write) -> None:
        if self._kept is None:
            return
        stream = self._kept[1]
        # If it fails, the next read tells why, or holds an early answer.
        if isinstance(stream, DtlsSocket):
            with suppress(OSError):
                stream.send_all(step.pieces)
            return
        with trio.move_on_after(max(0.0, step.deadline - self._clock().mono)):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"".join(step.pieces))

    async def _read(self, driver: ClientDriver, step: Read) -> None:
        if self._kept is None:
            return driver.broken(None, self._clock())
        with trio.move_on_after(max(0.0, step.deadline - self._clock().mono)) as scope:
            try:
                data = await self._kept[1].receive_some()
            except TlsBrokenError as exc:
                return driver.broken(exc.error, self._clock())
            except (trio.BrokenResourceError, OSError):
                return driver.broken(None, self._clock())
        if scope.cancelled_caught:
            return driver.handle_timeout(self._clock())
        return driver.receive(data, self._clock())


def _is_quiet(stream: TlsStream | DtlsSocket) -> bool:
    """False if the server has said something unasked, most likely close_notify."""
    if isinstance(stream, DtlsSocket):
        return stream.is_quiet
    return stream.is_quiet


def _cause(error: Exception) -> Exception:
    """Return what trio's error stands for: it tries several addresses and reports them all."""
    if isinstance(error, TlsBrokenError):
        return error.error
    if isinstance(error, trio.TooSlowError):
        return TimeoutError()
    found: BaseException | None = error.__cause__
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, OSError) else error
