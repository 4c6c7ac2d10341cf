"""EST on trio: an HTTPS server for many connections at once, and a client.

The client speaks EST-coaps too, to servers with coaps URIs; for a server see `CoapServer`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from est_core import EstUri, Instant
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.engines import client_engine
from est_transports.channel.errors import TlsError
from est_transports.channel.tls import client_context
from est_transports.client_config import ClientConfig
from est_transports.drive.client import ClientDriver, Connect, connect_failure
from est_transports.drive.event_loop_client import EventLoopClient
from est_transports.http.client import HttpLink
from est_transports.on_trio.connecting import connect
from est_transports.on_trio.dtls import DtlsSocket
from est_transports.on_trio.event_loop import TrioLoop
from est_transports.on_trio.tls import TlsStream
from est_transports.tunnels.failures import no_datagrams


@checked_throughout
class Client(EventLoopClient[TlsStream | DtlsSocket]):
    """Runs client exchanges, one at a time, and keeps the connection for the next one.

    A kept connection is used again where it has the same origin, trust and identity and a TLS
    version that the exchange allows. Use it in an `async with` statement. What the config holds
    is called in the event loop: a signer or a prompt that waits stops everybody.
    """

    _broken = (trio.BrokenResourceError, TlsError, OSError)

    def __init__(
        self, config: ClientConfig, *, clock: Callable[[], Instant] = _clock.instant
    ) -> None:
        super().__init__(TrioLoop(), config, clock)
        self._config = config

    async def _open(self, driver: ClientDriver, wanted: Connect) -> None:
        if wanted.uri.scheme == "coaps":
            return await self._associate(driver, wanted)
        uri, timeouts, transport = wanted.uri, self._config.timeouts, None
        try:
            transport = await self._reach(uri)
            stream = TlsStream(transport, client_engine(client_context(wanted.config)))
            with trio.fail_after(timeouts.handshake_s):
                channel = await stream.do_handshake()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            if transport is not None:
                await trio.aclose_forcefully(transport)
            cause = _cause(exc)
            failed = connect_failure(cause, uri, connected=transport is not None)
            return driver.connect_failed(*failed)
        except BaseException:  # cancelled
            if transport is not None:
                await trio.aclose_forcefully(transport)
            raise
        return self._keep(driver, HttpLink(wanted, channel, self._config), stream)

    async def _reach(self, uri: EstUri) -> trio.SocketStream:
        """Return a connection to the server. Raises OSError, and TooSlowError."""
        proxy, seconds = self._config.proxy_for(uri), self._config.timeouts.connect_s
        if proxy is None:
            with trio.fail_after(seconds):
                return await connect(uri.host, uri.port)
        # Not before: most clients have none.
        from est_transports.on_trio.tunnels import TrioNetwork
        from est_transports.tunnels.event_loop import reach

        settings, network = self._config, TrioNetwork()
        return await reach(uri, proxy, network, loop=self._loop, seconds=seconds, settings=settings)

    async def _associate(self, driver: ClientDriver, wanted: Connect) -> None:
        try:
            if (proxy := self._config.proxy_for(wanted.uri)) is not None:
                raise no_datagrams(proxy, wanted.uri)
            made = await DtlsSocket.connect(wanted, self._config, self._clock, _clock.entropy)
        except (TlsError, OSError, trio.TooSlowError) as exc:
            return driver.connect_failed(*connect_failure(_cause(exc), wanted.uri, connected=False))
        return self._keep(driver, made.link, made)

    async def _send(self, stream: TlsStream | DtlsSocket, pieces: tuple[bytes, ...]) -> None:
        if isinstance(stream, DtlsSocket):
            stream.send_all(pieces)
        else:
            await stream.send_all(b"".join(pieces))


def _cause(error: Exception) -> Exception:
    """Return the error as it is on other runtimes."""
    return TimeoutError() if isinstance(error, trio.TooSlowError) else error
