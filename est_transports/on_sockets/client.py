"""EST on blocking sockets: servers for HTTPS and CoAP, and a client for both."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from est_core import (
    ClientExchange,
    ClientResult,
    EstUri,
    LocalProtocolError,
    RetryLater,
)
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.engines import client_engine
from est_transports.channel.tls import TlsError, client_context
from est_transports.client_config import ClientConfig
from est_transports.drive.client import (
    AwaitCredentials,
    ClientDriver,
    Connect,
    Link,
    Read,
    Write,
    connect_failure,
)
from est_transports.http.client import HttpLink
from est_transports.on_sockets.tls import Clock, TlsSocket

if TYPE_CHECKING:
    from est_transports.on_sockets.dtls import DtlsSocket


@checked_throughout
class Client:
    """Runs client exchanges, one at a time, and keeps the connection for the next one.

    A kept connection is used again where it has the same origin, trust and identity and a TLS
    version that the exchange allows. Close the client, or use it in a `with` statement.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        clock: Clock = _clock.instant,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._kept: tuple[Link, TlsSocket | DtlsSocket] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection that was kept, if there is one."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def run(self, exchange: ClientExchange, *, wait_s: float = 0.0) -> ClientResult | RetryLater:
        """Return the exchange's result; Failed for whatever the network or the server does.

        A pending request returns RetryLater where its moment is more than `wait_s` seconds
        away in all: run the same exchange again then. Raises LocalProtocolError where the
        exchange needs an identity or signer that the config lacks.
        """
        wait_until = self._clock().mono + wait_s
        while True:
            result = self._run(exchange)
            if not isinstance(result, RetryLater) or result.at.mono > wait_until:
                return result
            self._sleep(max(0.0, result.at.mono - self._clock().mono))

    def _run(self, exchange: ClientExchange) -> ClientResult | RetryLater:
        driver = ClientDriver(exchange, self._config, self._clock())
        while True:
            match step := driver.next_step(self._clock()):
                case Connect():
                    self._connect(driver, step)
                case Write():
                    self._write(step)
                case Read():
                    self._read(driver, step)
                case AwaitCredentials():
                    raise _not_here(step)
                case _:  # it is over, or put off
                    if self._kept is not None and not self._kept[0].may_stay(step):
                        self.close()
                    return step

    def _connect(self, driver: ClientDriver, step: Connect) -> None:
        if self._kept is not None:
            kept, quiet = self._kept[0], self._kept[1].is_quiet
            if kept.fits(step, self._clock()) and quiet:
                return driver.connected(kept)
            self.close()
        if step.uri.scheme == "coaps":
            return self._associate(driver, step)
        uri, timeouts = step.uri, self._config.timeouts
        stream: TlsSocket | None = None
        try:
            sock = self._reach(uri)
            stream = TlsSocket(sock, client_engine(client_context(step.config)), self._clock)
            channel = stream.do_handshake(self._clock().mono + timeouts.handshake_s)
        except (TlsError, OSError) as exc:
            if stream is not None:
                stream.close()
            return driver.connect_failed(*connect_failure(exc, uri, connected=stream is not None))
        link = HttpLink(step, channel, self._config)
        self._kept = (link, stream)
        return driver.connected(link)

    def _reach(self, uri: EstUri) -> socket.socket:
        """Return a connection to the server. Raises OSError."""
        proxy, seconds = self._config.proxy_for(uri), self._config.timeouts.connect_s
        if proxy is None:
            return socket.create_connection((uri.host, uri.port), seconds)
        # Not before: most clients have none.
        from est_transports.on_sockets.tunnels import reach

        deadline = self._clock().mono + seconds
        return reach(uri, proxy, deadline, clock=self._clock, config=self._config)

    def _associate(self, driver: ClientDriver, step: Connect) -> None:
        # Not before: what CoAP and DTLS need is more than HTTPS does.
        from est_transports.on_sockets.dtls import DtlsSocket
        from est_transports.tunnels.failures import no_datagrams

        try:
            if (proxy := self._config.proxy_for(step.uri)) is not None:
                raise no_datagrams(proxy, step.uri)
            made = DtlsSocket.connect(step, self._config, self._clock, _clock.entropy)
        except (TlsError, OSError) as exc:
            return driver.connect_failed(*connect_failure(exc, step.uri, connected=False))
        self._kept = (made.link, made)
        return driver.connected(made.link)

    def _write(self, step: Write) -> None:
        if self._kept is None:
            return
        transport = self._kept[1]
        # If it fails, the next read tells why, or holds an early answer.
        with suppress(OSError, TlsError):
            if isinstance(transport, TlsSocket):
                transport.send_all(b"".join(step.pieces), step.deadline)
            else:
                transport.send_all(step.pieces)

    def _read(self, driver: ClientDriver, step: Read) -> None:
        if self._kept is None:
            return driver.broken(None, self._clock())
        try:
            data = self._kept[1].receive_some(step.deadline)
        except TimeoutError:
            return driver.handle_timeout(self._clock())
        except TlsError as exc:
            return driver.broken(exc, self._clock())
        except OSError:
            return driver.broken(None, self._clock())
        return driver.receive(data, self._clock())


def _not_here(step: AwaitCredentials) -> LocalProtocolError:
    if isinstance(step.answer, Coroutine):
        step.answer.close()  # or Python warns that nobody awaits it
    return LocalProtocolError("ClientConfig.credentials is to be awaited: that takes an event loop")
