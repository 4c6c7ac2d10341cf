"""Revocation lists of the reference CA: complete ones, numbered, of everything it revoked.

The number of a list has to grow with each list (RFC 5280 5.2.3), for whoever has a list takes none
with a smaller number. A counter in the store alone would go back with a store that is restored from
a backup, and a clock alone where it is set back. So it is the larger one of both: the milliseconds
since 1970, or one more than the last. Lists are made much more seldom than each millisecond, so a
restored store goes on above all numbers that were ever given, unless the clock went back as well.
The number is written into the store before the list is signed.

A revoked certificate stays on the lists until one that was due by the schedule was made after its
end and had it (RFC 5280 3.3). A list that is made because something was revoked is not such a one,
unless it was due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError
from est_core.arguments import checked, checked_throughout
from est_core.values import value_class
from est_transports.authority.ca import ReferenceCA, spki_of
from est_transports.authority.planned_certificate import authority_key_id
from est_transports.authority.stores import CrlRecord, RevokedRecord
from est_transports.authority.stores.revocation_records import RevocationStore
from est_transports.pki.key_usage import allows
from est_transports.pki.signers import CertificateSigner, Signer

REVOCATION_REASONS: Final[Mapping[str, x509.ReasonFlags]] = MappingProxyType(
    {
        reason.value: reason
        for reason in (
            x509.ReasonFlags.unspecified,
            x509.ReasonFlags.key_compromise,
            x509.ReasonFlags.affiliation_changed,
            x509.ReasonFlags.superseded,
            x509.ReasonFlags.cessation_of_operation,
            x509.ReasonFlags.certificate_hold,
            x509.ReasonFlags.privilege_withdrawn,
        )
    }
)
"""The reasons to revoke the certificate of an end entity, as RFC 5280 5.3.1 spells them.

Those about CAs and attribute authorities are left out, and removeFromCRL, which delta lists have.
"""

UNSPECIFIED: Final = x509.ReasonFlags.unspecified.value
_PAGE: Final = 1000
_COMMITTED_WITHIN: Final = timedelta(hours=1)
"""No revocation becomes durable later than so long after the time that it is given."""


@value_class
class CrlSchedule:
    """How long a list is good, and how often one is made though nothing changed.

    The next one has to be there before the last one ends: LocalProtocolError otherwise.
    """

    validity: timedelta = timedelta(days=7)
    every: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.every < self.validity:
            raise LocalProtocolError("a list is good for longer than until the next one is made")

    def is_due(self, last: CrlRecord | None, now: datetime) -> bool:
        """True if a list has to be made though nothing was revoked since the last one.

        Also where that one was made by a clock that was ahead.
        """
        return last is None or now < last.this_update or now >= last.regular_at + self.every


class CrlIssuer(Protocol):
    """Whoever signs lists with one key: a `ReferenceCA`, or a `CrlSigner`."""

    certificate: x509.Certificate

    @property
    def signs_crls(self) -> bool:
        """True if the certificate lets its key sign revocation lists. RFC 5280 4.2.1.3."""

    def sign_crl(
        self, builder: x509.CertificateRevocationListBuilder
    ) -> x509.CertificateRevocationList:
        """Return the signed list. Raises SignerError, LocalProtocolError."""


@checked_throughout
class CrlSigner:
    """A key of a CA that signs lists and issues nothing: one that it issued with before."""

    def __init__(self, certificate: x509.Certificate, signer: Signer) -> None:
        if spki_of(certificate.public_key()) != signer.public_key_spki:
            raise LocalProtocolError("the key is not that of the certificate")
        self.certificate = certificate
        self._signer = CertificateSigner(signer, issuer=certificate)

    @property
    def signs_crls(self) -> bool:
        """True if the certificate lets its key sign revocation lists. RFC 5280 4.2.1.3."""
        return allows(self.certificate, "crl_sign")

    def sign_crl(
        self, builder: x509.CertificateRevocationListBuilder
    ) -> x509.CertificateRevocationList:
        """Return the signed list. Raises SignerError."""
        return self._signer.sign_crl(builder)


@checked
def crl_issuers(ca: ReferenceCA) -> tuple[CrlIssuer, ...]:
    """Return whoever signs the lists of a CA: each of its keys signs one of what it issued.

    Of the former ones, those that are still there.
    """
    former = (CrlSigner(x.certificate, x.signer) for x in ca.former if x.signer is not None)
    return (ca, *former)


@checked
def crl_issuer_key(issuer: CrlIssuer) -> bytes:
    """Return by what name the lists of a key call it. Raises LocalProtocolError for none."""
    key = authority_key_id(issuer.certificate).key_identifier
    if key is None:
        raise LocalProtocolError("the key of this CA has no identifier")
    return key


@checked
def crl_name(issuer_key: bytes) -> str:
    """Return by what name the lists of a key are filed and published."""
    return f"{issuer_key.hex()}.crl"


@checked
def make_crl(
    issuer: CrlIssuer, store: RevocationStore, schedule: CrlSchedule, *, now: datetime
) -> CrlRecord:
    """Return a new list of what this key issued and is revoked or on hold, on record by then.

    Raises LocalProtocolError where the CA's key may sign no lists, SignerError, StoreError.
    """
    issuer_key = crl_issuer_key(issuer)
    if not issuer.signs_crls:
        raise LocalProtocolError("the CA's certificate does not let its key sign CRLs (keyUsage)")
    moment = now.astimezone(UTC).replace(microsecond=0)
    last = store.find_crl(issuer_key)
    changes = store.revocation_changes()  # before what is revoked is read
    number = store.next_crl_number(at_least=int(now.timestamp() * 1000))
    builder = _builder(
        issuer, number, moment, moment + schedule.validity, _entries(store, issuer_key, last)
    )
    crl = CrlRecord(
        issuer_key=issuer_key,
        number=number,
        this_update=moment,
        next_update=moment + schedule.validity,
        regular_at=moment if last is None or schedule.is_due(last, moment) else last.regular_at,
        changes=changes,
        der=issuer.sign_crl(builder).public_bytes(Encoding.DER),
    )
    store.record_crl(crl)
    return crl


def _builder(
    issuer: CrlIssuer,
    number: int,
    this_update: datetime,
    next_update: datetime,
    entries: Iterator[x509.RevokedCertificate],
) -> x509.CertificateRevocationListBuilder:
    # Filled at once: a step for each entry would copy all those before it.
    key, crl_number = authority_key_id(issuer.certificate), x509.CRLNumber(number)
    return x509.CertificateRevocationListBuilder(
        issuer_name=issuer.certificate.subject,
        last_update=this_update.replace(tzinfo=None),
        next_update=next_update.replace(tzinfo=None),
        extensions=[
            x509.Extension(key.oid, False, key),
            x509.Extension(crl_number.oid, False, crl_number),
        ],
        revoked_certificates=list(entries),
    )


def _entries(
    store: RevocationStore, issuer_key: bytes, last: CrlRecord | None
) -> Iterator[x509.RevokedCertificate]:
    after = None
    while page := store.revoked_certificates(issuer_key=issuer_key, after=after, limit=_PAGE):
        after = page[-1].serial
        for record in page:
            if last is None or not _was_listed_after_its_end(record, last.regular_at):
                yield _entry(record)


def _was_listed_after_its_end(record: RevokedRecord, regular_at: datetime) -> bool:
    """True if the list that was due then had it, and was made when it was not valid any more."""
    return max(record.not_after, record.revoked_at + _COMMITTED_WITHIN) < regular_at


def _entry(record: RevokedRecord) -> x509.RevokedCertificate:
    return x509.RevokedCertificateBuilder(
        serial_number=int(record.serial, 16),
        revocation_date=record.revoked_at.replace(tzinfo=None, microsecond=0),
        extensions=_WITH_REASON.get(record.reason, []),
    ).build()


# RFC 5280 5.3.1: unspecified is said by no reason at all. A word that is none, which a program
# has written into the store, says as little.
_WITH_REASON: Final[dict[str, list[x509.Extension[x509.ExtensionType]]]] = {
    word: [x509.Extension(x509.CRLReason.oid, False, x509.CRLReason(flag))]
    for word, flag in REVOCATION_REASONS.items()
    if word != UNSPECIFIED
}
