"""When a server suggests to renew a certificate."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from est_core._errors import LocalProtocolError
from est_core.values import value_class

_ZERO: Final = timedelta(0)


@value_class
class RenewalWindow:
    """When a server suggests to renew. Raises LocalProtocolError unless start < end, both UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if {self.start.utcoffset(), self.end.utcoffset()} != {_ZERO}:
            raise LocalProtocolError("the ends of a window are aware datetimes in UTC")
        if self.end <= self.start:
            raise LocalProtocolError("a window ends after its start")
