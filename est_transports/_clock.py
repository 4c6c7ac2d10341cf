"""The only reader of the clocks and of the source of entropy."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Final

from est_core import Entropy, Instant

entropy: Final[Entropy] = secrets.token_bytes
"""Returns that many random bytes, fit for keys, serial numbers and nonces."""


def instant() -> Instant:
    """Return the present moment on the monotonic clock and on the UTC wall clock."""
    return Instant(mono=time.monotonic(), wall=datetime.now(UTC))
