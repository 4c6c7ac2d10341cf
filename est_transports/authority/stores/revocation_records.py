"""What a store remembers of revocations: which certificates, and the lists that name them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field
from datetime import datetime
from typing import Final, Protocol

from est_core.values import value_class

HOLD: Final = "certificateHold"
"""The reason of a revocation that may end, or become final. RFC 5280 5.3.1."""


@value_class
class RevokedRecord:
    """A revoked certificate as lists name it. A store may have very many."""

    serial: str
    not_after: datetime
    revoked_at: datetime
    reason: str


@value_class
class CrlRecord:
    """The newest list of one issuer, whose key is called `issuer_key`.

    `regular_at` is when the last list was made that was due by the schedule: this one, or one
    before. `changes` is what `revocation_changes` returned before it was made.
    """

    issuer_key: bytes
    number: int
    this_update: datetime
    next_update: datetime
    regular_at: datetime
    changes: int
    der: bytes = field(repr=False)


class RevocationStore(Protocol):
    """The part of a `Store` that is about revocation."""

    def revoke_certificate(self, serial: str, *, at: datetime, reason: str) -> bool:
        """Mark a certificate revoked. False if it is unknown or was revoked before.

        One that is on hold, which is the reason HOLD, is revoked for good by another reason, as of
        the time at which the hold began: what its key did meanwhile counts no more.
        Raises LocalProtocolError for what is no serial number: a slip of the pen must not pass
        for a certificate that is unknown.
        """

    def revoke_certificates(self, serials: Collection[str], *, at: datetime, reason: str) -> bool:
        """Do the same with many in one transaction. True if any of them was marked."""

    def release_hold(self, serial: str) -> bool:
        """End a hold: the certificate counts again. False if it is not on hold.

        Raises LocalProtocolError as `revoke_certificate`.
        """

    def revoked_certificates(
        self, *, issuer_key: bytes | None = None, after: str | None = None, limit: int = 1000
    ) -> tuple[RevokedRecord, ...]:
        """Return at most `limit` revoked certificates, those on hold too, by serial as text.

        With `issuer_key` those that this key issued, and those of which it is not on record who
        did. `after` is the serial of the last one of the page before.
        """

    def revocation_changes(self) -> int:
        """Return a number that is another one after each revocation, and each end of a hold."""

    def next_crl_number(self, *, at_least: int) -> int:
        """Return the number of a list that is about to be signed, recorded durably.

        It is larger than each that was returned before, and not less than `at_least`.
        """

    def record_crl(self, crl: CrlRecord) -> bool:
        """Keep the newest list of an issuer. False if there is one with a larger number."""

    def find_crl(self, issuer_key: bytes, *, newer_than: int = 0) -> CrlRecord | None:
        """Return the newest list of an issuer, if its number is larger than `newer_than`."""
