"""What a CA remembers: the record of each certificate, the users, and what a store promises.

A store is asked by any thread of a process, and by several processes at once. Whatever a method
has returned from is durable: it survives a crash of the process and of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError, ManufacturerIdentity
from est_core.values import value_class
from est_transports.authority.stores.credential_records import (
    CodeRecord as CodeRecord,
)
from est_transports.authority.stores.credential_records import (
    CodeStore,
    NonceStore,
    SecretStore,
    SrpStore,
    TokenStore,
)
from est_transports.authority.stores.credential_records import (
    CodeUse as CodeUse,
)
from est_transports.authority.stores.credential_records import (
    SrpRecord as SrpRecord,
)
from est_transports.authority.stores.credential_records import (
    TokenRecord as TokenRecord,
)
from est_transports.authority.stores.device_records import (
    DeviceRecord as DeviceRecord,
)
from est_transports.authority.stores.device_records import (
    DeviceStore,
)
from est_transports.authority.stores.errors import CodeSpent as CodeSpent
from est_transports.authority.stores.errors import DuplicateSerial as DuplicateSerial
from est_transports.authority.stores.errors import NamesFull as NamesFull
from est_transports.authority.stores.errors import NamesHeld as NamesHeld
from est_transports.authority.stores.errors import Revoked as Revoked
from est_transports.authority.stores.errors import StoreBusy as StoreBusy
from est_transports.authority.stores.errors import StoreError as StoreError
from est_transports.authority.stores.issuer_records import IssuerCount as IssuerCount
from est_transports.authority.stores.issuer_records import (
    IssuerStore,
)
from est_transports.authority.stores.key_history import KeyHistory as KeyHistory
from est_transports.authority.stores.key_history import (
    KeyHistoryStore,
)
from est_transports.authority.stores.revocation_records import HOLD as HOLD
from est_transports.authority.stores.revocation_records import CrlRecord as CrlRecord
from est_transports.authority.stores.revocation_records import (
    RevocationStore,
)
from est_transports.authority.stores.revocation_records import RevokedRecord as RevokedRecord

ISSUED: Final = "issued"
PREPARED: Final = "prepared"
"""States of a record. That of a certificate whose signature was asked for, or was about to be, and
of which nobody has said yet that it was made, is prepared: such a certificate may exist."""

_SERIAL: Final = re.compile("[1-9a-f][0-9a-f]{0,63}")


@value_class
class IssuedRecord:
    """One issued certificate, for whom, and what became of it.

    `serial` is lower-case hex without leading zeros; `subject` is RFC 4514 text; `der` is the
    certificate; `spki_sha256` is the digest of its SubjectPublicKeyInfo. `user` and
    `client_subject` say who asked: the HTTP user, and the subject of the client's certificate.
    `manufacturer` is the manufacturer's device that it was issued to, or the one that it renews.
    `issuer_key` is the identifier of the key that issued it, as it says itself.
    `peer` is the network address as text. `replaces` is the serial this one renews.
    While `state` is PREPARED, `der` has all that is signed of the certificate, and the signature of
    a key that was thrown away; `request` is a digest by which a repeat of the request finds it.
    Raises LocalProtocolError for times that are not aware UTC, a serial in another form, a
    revocation time without a reason, or an unknown state.
    """

    serial: str
    subject: str
    not_before: datetime
    not_after: datetime
    der: bytes = field(repr=False)
    spki_sha256: bytes
    issued_at: datetime
    operation: str
    label: str | None = None
    user: str | None = None
    client_subject: str | None = None
    peer: str | None = None
    profile: str | None = None
    replaces: str | None = None
    revoked_at: datetime | None = None
    revocation_reason: str | None = None
    manufacturer: ManufacturerIdentity | None = None
    state: str = ISSUED
    request: bytes | None = None
    issuer_key: bytes | None = None

    def __post_init__(self) -> None:
        for moment in (self.not_before, self.not_after, self.issued_at, self.revoked_at):
            if moment is not None and moment.utcoffset() != timedelta(0):
                raise LocalProtocolError("the times of a record are aware and in UTC")
        if not _SERIAL.fullmatch(self.serial):
            raise LocalProtocolError("a serial is lower-case hex without leading zeros")
        if (self.revoked_at is None) != (self.revocation_reason is None):
            raise LocalProtocolError("a revocation has a time and a reason")
        if self.state not in (ISSUED, PREPARED):
            raise LocalProtocolError("a record is issued or prepared")

    def is_of(self, certificate: x509.Certificate) -> bool:
        """Return whether this is the record of a certificate that was verified.

        It has the certificate byte for byte; a prepared one all of it but its signature.
        """
        if self.state == PREPARED:
            prepared = x509.load_der_x509_certificate(self.der)
            return prepared.tbs_certificate_bytes == certificate.tbs_certificate_bytes
        return self.der == certificate.public_bytes(Encoding.DER)


@value_class
class UserRecord:
    """A user who may authenticate with a password. The records are hashes, never the password.

    `digest_record` is there for who may answer Digest; what it holds is as good as the password in
    its realm. See `digest_records`.
    """

    name: str
    password_record: str = field(repr=False)
    digest_record: str | None = field(default=None, repr=False)


class Store(
    TokenStore,
    CodeStore,
    NonceStore,
    SecretStore,
    SrpStore,
    DeviceStore,
    RevocationStore,
    KeyHistoryStore,
    IssuerStore,
    Protocol,
):
    """What the reference CA needs of a database. All methods raise StoreError when it fails.

    A serial is taken in every spelling that `read_serial` reads.
    """

    def record_certificate(
        self,
        record: IssuedRecord,
        *,
        spends: CodeUse | None = None,
        names: Collection[str] = (),
        unless_held: bool = False,
        unless_revoked: Collection[str] = (),
        per_name: int | None = None,
    ) -> None:
        """Write a record durably, then return.

        With `spends`, the use of a one-time code is written in the same transaction: both, or
        neither, and then it raises CodeSpent. `names` are what the certificate's names are found
        by (`AllowedNames.search_keys`). With `unless_held`, it raises NamesHeld, and nothing is
        written, where a certificate that is neither revoked nor expired at `issued_at` has one of
        them and is another manufacturer's device's, or where the record is a manufacturer's
        device's, anybody else's. `unless_revoked` are serials: it raises Revoked, and nothing is
        written, where one of them is revoked or on hold by then, so that a revocation counts from
        its transaction on. `per_name` is how many lines of renewals of the record's profile may
        have one of `names` in a certificate that is valid; it raises NamesFull, and nothing is
        written, for one more. A line that `record` renews, or with a certificate for its key, does
        not count. Raises DuplicateSerial, or StoreBusy when too many writers wait.
        """

    def complete_certificate(
        self, serial: str, der: bytes, *, unless_revoked: Collection[str] = ()
    ) -> bool:
        """Write the certificate of a prepared record durably: it is issued then.

        True if it is on record by then and is not revoked. False, and nothing is written, where
        another certificate was written before, or there is no such record; False too where the
        record was revoked meanwhile, or one of the serials `unless_revoked`, and the certificate is
        written.
        """

    def find_prepared(self, request: bytes) -> IssuedRecord | None:
        """Return the newest prepared record with that `request`, not revoked, or None."""

    def count_prepared(self, now: datetime) -> int:
        """Return how many records are prepared, neither revoked nor expired by `now`."""

    def find_code_use(self, digest: bytes, request: bytes) -> IssuedRecord | None:
        """Return what was issued to that request for that code, or None. See `CodeUse`."""

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        """Return the record with that serial, or None."""

    def renewal_line(self, serial: str) -> int | None:
        """Return the number of the line of renewals that a certificate belongs to, or None.

        A line is a certificate that renews no other on record, and what replaced it, and that. Its
        number is that of its first one, counted in the order in which they were recorded; numbers
        may be left out.
        """

    def list_certificates(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        subject: str | None = None,
        spki_sha256: bytes | None = None,
        user: str | None = None,
        state: str | None = None,
    ) -> tuple[IssuedRecord, ...]:
        """Return at most `limit` records, in the order they were recorded.

        `after` is the serial of the last record of the page before; an unknown one gives
        nothing. `subject`, `spki_sha256`, `user` and `state` keep only the records that have
        exactly that value.
        """

    def add_user(
        self,
        name: str,
        password_record: str,
        *,
        digest_record: str | None = None,
        replace: bool = False,
    ) -> bool:
        """Add a user. False, and nothing written, if the name is taken and `replace` is False.

        Names compare in Unicode form NFC. Raises LocalProtocolError for a name that Basic
        authentication cannot carry: empty, with a colon or a control character, too long.
        """

    def find_user(self, name: str) -> UserRecord | None:
        """Return the user of that name, or None."""

    def remove_user(self, name: str) -> bool:
        """Remove a user. False if there is none of that name."""

    def list_users(self, *, limit: int = 100, after: str | None = None) -> tuple[UserRecord, ...]:
        """Return at most `limit` users by name, those after the name `after`."""

    def close(self) -> None:
        """Finish what is being written and close. Later calls raise StoreError."""
