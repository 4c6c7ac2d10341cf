"""What a profile demands of who has a certificate already: when a new key, and how many at a time.

RFC 7030 4.2.2 lets a client keep its key or make a new one; RFC 5272 3.2 lets a CA forbid the
first. The rule is about the key, not about the operation: who enrolls anew with a key that was
certified before uses it again as well, or the rule would be there for honest clients alone.

How many certificates an identity has at a time is counted for each of its names, in the transaction
that records one more (`sqlite_name_bounds`). Counted for the set of all names, who leaves one out
would be somebody else. A renewal adds none: it goes on with the one that it renews.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from est_core import CertRequest, LocalProtocolError
from est_core.values import value_class
from est_transports.authority.profile_names import Refused
from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.key_history import REPEATED_FOR, KeyHistoryStore

SAME_KEY_RENEWALS_MAX: Final = 999
SAME_KEY_DAYS_MAX: Final = 36500
PER_NAME_MAX: Final = 100


@value_class
class RenewalRules:
    """The rules of a profile for who has a certificate already; None is no rule.

    A key may be certified again `same_key_renewals` times, 0 is never, and until `same_key_days`
    after it was certified first. A name has at most `certificates_per_name` at a time, each of
    which may be renewed. With `adopt_unknown` a certificate that this CA signed and that is not on
    record is put there when its holder renews it (`adoption`). Raises LocalProtocolError for
    numbers out of range.
    """

    same_key_renewals: int | None = None
    same_key_days: int | None = None
    certificates_per_name: int | None = None
    adopt_unknown: bool = False

    def __post_init__(self) -> None:
        if not 0 <= (self.same_key_renewals or 0) <= SAME_KEY_RENEWALS_MAX:
            raise LocalProtocolError(f"same_key_renewals is 0 to {SAME_KEY_RENEWALS_MAX}")
        days = self.same_key_days
        if days is not None and not 1 <= days <= SAME_KEY_DAYS_MAX:
            raise LocalProtocolError(f"same_key_days is 1 to {SAME_KEY_DAYS_MAX}")
        per_name = self.certificates_per_name
        if per_name is not None and not 1 <= per_name <= PER_NAME_MAX:
            raise LocalProtocolError(f"certificates_per_name is 1 to {PER_NAME_MAX}")


def check_key_reuse(
    csr: CertRequest,
    rules: RenewalRules,
    profile: str,
    store: KeyHistoryStore,
    *,
    now: datetime,
    replaces: IssuedRecord | None,
) -> None:
    """Return if the key of a request may be certified: for the first time, or once more.

    `replaces` is the record of the certificate that is renewed. The same renewal asked for again is
    no other use of the key: its first answer may have been lost. Raises
    Refused("renewal/rekey-required"), and what the store raises.
    """
    most, days = rules.same_key_renewals, rules.same_key_days
    if most is None and days is None:
        return
    key_sha256 = hashlib.sha256(csr.spki).digest()
    history = store.key_history(key_sha256, profile, limit=1 if most is None else most + 1)
    if history is None:
        return
    use = replaces.serial if replaces is not None and replaces.spki_sha256 == key_sha256 else None
    if use is None and now <= history.since + REPEATED_FOR:
        return
    if days is not None and now > history.since + timedelta(days=days):
        raise _rekey(f"this key was first certified more than {days} days ago")
    if most is not None and len(history.uses | {use}) > most:
        raise _rekey(
            f"a key is certified {most + 1} times in all" if most else "each renewal has one"
        )


def _rekey(why: str) -> Refused:
    return Refused("renewal/rekey-required", f"make a new key: {why}")
