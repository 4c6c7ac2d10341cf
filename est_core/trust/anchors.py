"""The trust anchors of a client with their dates, and its policy for new ones and old ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.asn1.certificates import UNREADABLE
from est_core.values import value_class

DAY_S: Final = 86400.0
ANCHORS_MAX: Final = 64
"""Of one client. A CA in the middle of a rollover has two, or three."""
DROPPED_MAX: Final = 64
"""So many are remembered, the latest ones."""
_ZERO: Final = timedelta(0)
_LONGEST_S: Final = 100 * 366 * DAY_S
_ID_CHARS: Final = 64


@checked
def anchor_id(certificate: x509.Certificate) -> str:
    """Return what a CA is told apart by: SHA-256 of its subject and its public key, in hexadecimal.

    Not the name alone, which two roots may have in common, and not the certificate, which may be
    renewed for the same key. RFC 5280 6.1.1 (d). One that cannot be read is its own bytes.
    """
    try:
        key = certificate.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        whole = certificate.subject.public_bytes() + spki
    except UNREADABLE:
        whole = certificate.public_bytes(Encoding.DER)
    return hashlib.sha256(whole).hexdigest()


@value_class
class KnownAnchor:
    """A trust anchor: trusted `since`; `superseded_at` is when a successor was accepted.

    `drop_after` is when it is dropped, unless something still needs it. The dates are aware
    datetimes in UTC; LocalProtocolError otherwise, and for a date to drop what has no successor.
    """

    certificate: x509.Certificate
    since: datetime
    superseded_at: datetime | None = None
    drop_after: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.since, self.superseded_at, self.drop_after):
            if moment is not None:
                check_utc(moment)
        if (self.superseded_at is None) != (self.drop_after is None):
            raise LocalProtocolError("an anchor is dropped some time after it was superseded")


@value_class
class DroppedAnchor:
    """A CA, by its `anchor_id`, that was a trust anchor until `at`, and does not come back."""

    anchor_id: str
    at: datetime

    def __post_init__(self) -> None:
        check_utc(self.at)
        if len(self.anchor_id) != _ID_CHARS or set(self.anchor_id) - set("0123456789abcdef"):
            raise LocalProtocolError("an anchor_id is a SHA-256 in small hexadecimal digits")


@value_class
class TrustedAnchors:
    """All trust anchors of a client, and those it had before.

    Raises LocalProtocolError for more than 64, for two of one CA (`anchor_id`), and for one that
    was dropped too.
    """

    anchors: tuple[KnownAnchor, ...]
    dropped: tuple[DroppedAnchor, ...] = ()

    def __post_init__(self) -> None:
        if len(self.anchors) > ANCHORS_MAX or len(self.dropped) > DROPPED_MAX:
            raise LocalProtocolError(f"a client has at most {ANCHORS_MAX} trust anchors")
        ids = [anchor_id(each.certificate) for each in self.anchors]
        ids += [each.anchor_id for each in self.dropped]
        if len(set(ids)) != len(ids):
            raise LocalProtocolError("a CA is one trust anchor, or one that was dropped")

    @classmethod
    def of(cls, certificates: Iterable[x509.Certificate], *, now: datetime) -> TrustedAnchors:
        """Return anchors that are trusted since `now`, because a person or a program says so.

        Of several certificates of one CA the newest counts.
        """
        found: dict[str, x509.Certificate] = {}
        for each in sorted(certificates, key=age_order):
            found[anchor_id(each)] = each
        return cls(anchors=tuple(KnownAnchor(certificate=c, since=now) for c in found.values()))

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The anchors as certificates, for a TLS engine or for a file."""
        return tuple(each.certificate for each in self.anchors)


@value_class
class TrustPolicy:
    """What a client demands of a new root, and for how long it keeps an old one.

    An anchor that has a successor is dropped `keep_old_s` after that was accepted, or when it
    expires if that is earlier. `renamed`: the new root may have another name than the old one,
    which makes every CA below the old one as good as that. `late_s`: an anchor that expired, and a
    link certificate that did, count for so long after; 0 fails closed.
    Raises LocalProtocolError for times that make no sense.
    """

    keep_old_s: float = 365 * DAY_S
    renamed: bool = False
    late_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.keep_old_s <= _LONGEST_S or not 0 <= self.late_s <= _LONGEST_S:
            raise LocalProtocolError("keep_old_s and late_s are 0 to 100 years")


def age_order(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """Return what sorts certificates of CAs by age, the newest last."""
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def check_utc(moment: datetime) -> None:
    """Raise LocalProtocolError for a date that is not aware, or not in UTC."""
    if moment.utcoffset() != _ZERO:
        raise LocalProtocolError("dates are aware datetimes in UTC")
