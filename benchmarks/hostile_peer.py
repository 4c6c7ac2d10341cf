"""What all hostile peers know: where the server is, where they come from, and when they end."""

from __future__ import annotations

import socket
import time
from typing import Final

from benchmarks.site import Site

SERVER: Final = "127.0.0.1"


class Peer:
    """What all of them know: where the server is, where they come from, and when they end."""

    def __init__(self, site: Site, port: int, source: str, seconds: float) -> None:
        self.site = site
        self.port = port
        self.source = source
        self.ends_at = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """True when it is time to end."""
        return time.monotonic() >= self.ends_at

    def connected(self) -> socket.socket:
        """Return a TCP connection to the server."""
        return socket.create_connection((SERVER, self.port), 10.0, (self.source, 0))
