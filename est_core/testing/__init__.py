"""For tests of programs built on the core: exchanges joined in memory, checks for transports.

`ExchangePair` carries what a ClientExchange sends into a ServerSession and back, without sockets
or a clock. `ScriptedApplication` is an application that answers by a table. `transport_checks` are
what every transport has to pass, yours too, and `operation_checks` the same for an operation of
yours.
"""

from est_core.testing._application import (
    Answer,
    AsyncScriptedApplication,
    ScriptedApplication,
    in_turn,
)
from est_core.testing._expect import CheckFailedError
from est_core.testing._misuse import ExchangeMisuse, exchange_misuses
from est_core.testing._operation import OperationSample, operation_checks
from est_core.testing._pair import (
    FIXED_INSTANT,
    CountingEntropy,
    ExchangePair,
    Link,
    Message,
    joined,
)
from est_core.testing._transport import (
    TransportCheck,
    TransportDriver,
    TransportService,
    transport_checks,
)

__all__ = [
    "FIXED_INSTANT",
    "Answer",
    "AsyncScriptedApplication",
    "CheckFailedError",
    "CountingEntropy",
    "ExchangeMisuse",
    "ExchangePair",
    "Link",
    "Message",
    "OperationSample",
    "ScriptedApplication",
    "TransportCheck",
    "TransportDriver",
    "TransportService",
    "exchange_misuses",
    "in_turn",
    "joined",
    "operation_checks",
    "transport_checks",
]
