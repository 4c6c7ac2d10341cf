"""A connection to a host on trio, or the one error that says why there is none."""

from __future__ import annotations

import trio


async def connect(host: str, port: int) -> trio.SocketStream:
    """Return a connection with whichever of the host's addresses answers first. Raises OSError."""
    try:
        return await trio.open_tcp_stream(host, port)
    except OSError as exc:  # of several addresses it tells all that went wrong, in its cause
        found: BaseException | None = exc.__cause__
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if isinstance(found, OSError):
            raise found from None
        raise
