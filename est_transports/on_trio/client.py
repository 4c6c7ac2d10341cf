"""EST on trio: an HTTPS server for many connections at once, and a client.

The client speaks EST-coaps too, to servers with coaps URIs; for a server see `CoapServer`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from est_core import Instant
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.engines import client_engine
from est_transports.channel.errors import TlsError
from est_transports.channel.tls import client_context
from est_transports.client_config import ClientConfig
from est_transports.drive.client import ClientDriver, Connect, connect_failure
from est_transports.drive.event_loop_client import EventLoopClient
from est_transports.http.client import HttpLink
from est_transports.on_trio.dtls import DtlsSocket
from est_transports.on_trio.event_loop import TrioLoop
from est_transports.on_trio.tls import TlsStream


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
            with trio.fail_after(timeouts.connect_s):
                transport = await trio.open_tcp_stream(uri.host, uri.port)
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

    async def _associate(self, driver: ClientDriver, wanted: Connect) -> None:
        try:
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
    """Return what trio's error stands for: it tries several addresses and reports them all."""
    if isinstance(error, TlsError):
        return error
    if isinstance(error, trio.TooSlowError):
        return TimeoutError()
    found: BaseException | None = error.__cause__
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, OSError) else error
