"""EST on asyncio: an HTTPS server for many connections at once, and a client.

The client speaks EST-coaps too, to servers with coaps URIs; for a server see `CoapServer`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from est_core import (
    ClientExchange,
    ClientResult,
    EstUri,
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
from est_transports.on_asyncio.dtls import DtlsSocket
from est_transports.on_asyncio.tls import TlsStream


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
            await asyncio.sleep(max(0.0, result.at.mono - self._clock().mono))

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
            if link.fits(step, self._clock()) and stream.is_quiet:
                return driver.connected(link)
            await self.aclose()
        if step.uri.scheme == "coaps":
            return await self._associate(driver, step)
        uri, timeouts, made = step.uri, self._config.timeouts, None
        try:
            made = TlsStream(
                await _reach(uri, timeouts.connect_s), TlsEngine(client_context(step.config))
            )
            async with asyncio.timeout(timeouts.handshake_s):
                channel = await made.do_handshake()
        except (TlsError, OSError) as exc:
            if made is not None:
                made.close()
            return driver.connect_failed(*connect_failure(exc, uri, connected=made is not None))
        except BaseException:  # cancelled
            if made is not None:
                made.close()
            raise
        kept = HttpLink(step, channel, self._config)
        self._kept = (kept, made)
        return driver.connected(kept)

    async def _associate(self, driver: ClientDriver, step: Connect) -> None:
        try:
            made = await DtlsSocket.connect(step, self._config, self._clock, _clock.entropy)
        except (TlsError, OSError) as exc:
            return driver.connect_failed(*connect_failure(exc, step.uri, connected=False))
        self._kept = (made.link, made)
        return driver.connected(made.link)

    async def _write(self, step: Write) -> None:
        if self._kept is None:
            return
        stream = self._kept[1]
        # If it fails, the next read tells why, or holds an early answer.
        with suppress(OSError, TlsError):  # TimeoutError too
            if isinstance(stream, DtlsSocket):
                stream.send_all(step.pieces)
            else:
                async with asyncio.timeout(self._left(step.deadline)):
                    await stream.send_all(b"".join(step.pieces))

    async def _read(self, driver: ClientDriver, step: Read) -> None:
        if self._kept is None:
            return driver.broken(None, self._clock())
        waiting = asyncio.timeout(self._left(step.deadline))
        try:
            async with waiting:
                data = await self._kept[1].receive_some()
        except TlsError as exc:
            return driver.broken(exc, self._clock())
        except OSError:
            if waiting.expired():
                return driver.handle_timeout(self._clock())
            return driver.broken(None, self._clock())
        return driver.receive(data, self._clock())

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock().mono)


async def _reach(uri: EstUri, seconds: float) -> socket.socket:
    """Return a connection with the first of the host's addresses that answers in that time."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        places = await loop.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)
    failure = OSError("no address")
    for family, kind, protocol, _, place in places:
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as exc:
            failure = exc
            continue
        try:
            sock.setblocking(False)
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, place)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:  # cancelled
            sock.close()
            raise
        else:
            return sock
    raise failure
