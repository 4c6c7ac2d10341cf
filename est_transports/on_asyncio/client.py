"""EST on asyncio: an HTTPS server for many connections at once, and a client.

The client speaks EST-coaps too, to servers with coaps URIs; for a server see `CoapServer`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

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
from est_transports.on_asyncio.connecting import connect
from est_transports.on_asyncio.dtls import DtlsSocket
from est_transports.on_asyncio.event_loop import AsyncioLoop
from est_transports.on_asyncio.tls import TlsStream
from est_transports.tunnels.failures import no_datagrams


@checked_throughout
class Client(EventLoopClient[TlsStream | DtlsSocket]):
    """Runs client exchanges, one at a time, and keeps the connection for the next one.

    A kept connection is used again where it has the same origin, trust and identity and a TLS
    version that the exchange allows. Use it in an `async with` statement. What the config holds
    is called in the event loop: a signer or a prompt that waits stops everybody.
    """

    _broken = (TlsError, OSError)

    def __init__(
        self, config: ClientConfig, *, clock: Callable[[], Instant] = _clock.instant
    ) -> None:
        super().__init__(AsyncioLoop(), config, clock)
        self._config = config

    async def _open(self, driver: ClientDriver, wanted: Connect) -> None:
        if wanted.uri.scheme == "coaps":
            return await self._associate(driver, wanted)
        uri, timeouts, made = wanted.uri, self._config.timeouts, None
        try:
            engine = client_engine(client_context(wanted.config))
            made = TlsStream(await self._reach(uri), engine)
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
        return self._keep(driver, HttpLink(wanted, channel, self._config), made)

    async def _reach(self, uri: EstUri) -> socket.socket:
        """Return a connection to the server. Raises OSError."""
        proxy, seconds = self._config.proxy_for(uri), self._config.timeouts.connect_s
        if proxy is None:
            return await connect(uri.host, uri.port, seconds)
        # Not before: most clients have none.
        from est_transports.on_asyncio.tunnels import AsyncioNetwork
        from est_transports.tunnels.event_loop import reach

        settings, network = self._config, AsyncioNetwork(seconds)
        return await reach(uri, proxy, network, loop=self._loop, seconds=seconds, settings=settings)

    async def _associate(self, driver: ClientDriver, wanted: Connect) -> None:
        try:
            if (proxy := self._config.proxy_for(wanted.uri)) is not None:
                raise no_datagrams(proxy, wanted.uri)
            made = await DtlsSocket.connect(wanted, self._config, self._clock, _clock.entropy)
        except (TlsError, OSError) as exc:
            return driver.connect_failed(*connect_failure(exc, wanted.uri, connected=False))
        return self._keep(driver, made.link, made)

    async def _send(self, stream: TlsStream | DtlsSocket, pieces: tuple[bytes, ...]) -> None:
        if isinstance(stream, DtlsSocket):
            stream.send_all(pieces)
        else:
            await stream.send_all(b"".join(pieces))
