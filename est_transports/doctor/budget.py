"""What an examination may cost the server, and how long it may take: counted in one place."""

from __future__ import annotations

from collections.abc import Callable

from est_core import Instant
from est_transports.doctor.config import DoctorConfig
from est_transports.doctor.findings import NotJudged


class Budget:
    """Connections and requests, each counted before it is made, and the end of it all."""

    def __init__(self, config: DoctorConfig, clock: Callable[[], Instant]) -> None:
        self.connections: int = 0
        self.requests: int = 0
        self._config = config
        self._clock = clock
        self._ends = clock().mono + config.total_s

    def connect(self) -> None:
        """Count a connection. Raises NotJudged where no more are made."""
        self._check_time()
        if self.connections >= self._config.connections:
            raise NotJudged(f"{self._config.connections} connections were made, and no more are")
        self.connections += 1

    def request(self) -> None:
        """Count a request. Raises NotJudged where no more are made."""
        self._check_time()
        if self.requests >= self._config.requests:
            raise NotJudged(f"{self._config.requests} requests were made, and no more are")
        self.requests += 1

    def _check_time(self) -> None:
        if self._clock().mono >= self._ends:
            raise NotJudged(f"it has taken {self._config.total_s:g} seconds, and ends here")
