"""What a client is to do next with its certificate."""

from __future__ import annotations

from enum import Enum, unique

from est_core._instant import Instant
from est_core.values import value_class


@value_class
class Wait:
    """Nothing until that moment on the monotonic clock; then ask again. Earlier does no harm."""

    until: Instant


@value_class
class AskRenewalInfo:
    """Ask the server when to renew; tell `informed`, also where it has no answer."""


@value_class
class FetchCACerts:
    """Fetch the CA certificates; tell `trust_fetched`, also where that failed. RFC 7030 4.1."""


@value_class
class Renew:
    """Renew the certificate; tell `renewed`, `put_off` or `failed`. RFC 7030 4.2.2.

    With `rekey` for a new key. `pending`: it was put off, and the same request is to be sent again,
    for the same key (RFC 7030 4.2.3). `expired`: by now only a server that grants grace will do it.
    """

    rekey: bool
    pending: bool = False
    expired: bool = False


@value_class
class EnrollAnew:
    """The certificate has expired: enroll as the first time; tell what came of it as of Renew."""

    pending: bool = False


@value_class
class Stop:
    """The certificate has expired, and the policy says to do nothing. Look again at `until`.

    The clock may have been wrong, and be set meanwhile.
    """

    until: Instant


Step = Wait | AskRenewalInfo | FetchCACerts | Renew | EnrollAnew | Stop
"""What is to be done next."""


@unique
class Alarm(Enum):
    """What somebody should look at."""

    LATE = "late"
    """Renewals fail or are put off, and there is little left of the certificate's life; or one is
    put off until there is nothing left."""
    EXPIRED = "expired"
    CLOCK_BEHIND = "clock-behind"
    CLOCK_AHEAD = "clock-ahead"
