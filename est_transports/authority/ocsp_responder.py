"""An OCSP responder for one CA: what the store knows of a certificate, signed. RFC 6960, RFC 5019.

The store is asked for each answer, so that a revocation counts at once. Only the signature is kept:
an answer without a nonce is given again as long as the status is the same, for `max_age`, which is
also how long HTTP caches may keep it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import (
    OCSPCertStatus,
    OCSPRequestBuilder,
    OCSPResponderEncoding,
    OCSPResponseBuilder,
    OCSPResponseStatus,
)

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.values import unchecked_value_class, value_class
from est_transports.authority.crls import REVOCATION_REASONS, UNSPECIFIED
from est_transports.authority.ocsp_identity import OcspIdentity
from est_transports.authority.ocsp_requests import OcspQuestion, read_ocsp_request
from est_transports.authority.stores import ISSUED, IssuedRecord
from est_transports.pki.serials import serial_text

KEPT_MAX: Final = 4096
"""How many answers are kept, about 1 KiB each."""

_HASHES: Final = (
    hashes.SHA1(),  # noqa: S303  # names an issuer (RFC 5019 2.1.1), protects nothing
    hashes.SHA224(),
    hashes.SHA256(),
    hashes.SHA384(),
    hashes.SHA512(),
)


@value_class
class OcspTimes:
    """How long an answer is good (nextUpdate), and how long caches may keep it.

    Raises LocalProtocolError unless caches forget it before it ends.
    """

    validity: timedelta = timedelta(hours=12)
    max_age: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if not timedelta(0) < 2 * self.max_age <= self.validity:
            raise LocalProtocolError("an answer is good for twice as long as it is kept, or more")


@value_class
class OcspAnswer:
    """A response in DER; from when to when it is good, where it is signed.

    `max_age` is how long it may be kept: None for one that nobody else is to get.
    """

    der: bytes = field(repr=False)
    this_update: datetime | None = None
    next_update: datetime | None = None
    max_age: timedelta | None = None


class IssuedCertificates(Protocol):
    """What an answer is looked up in: a `Store`."""

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        """Return the record with that serial, or None. Raises StoreError."""


@unchecked_value_class
class _Status:
    status: OCSPCertStatus
    revoked_at: datetime | None = None
    reason: str | None = None


_UNKNOWN: Final = _Status(status=OCSPCertStatus.UNKNOWN)
_Key = tuple[str, int, _Status, bytes]


def _unsuccessful(status: OCSPResponseStatus) -> OcspAnswer:
    return OcspAnswer(der=OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER))


MALFORMED: Final = _unsuccessful(OCSPResponseStatus.MALFORMED_REQUEST)
UNAUTHORIZED: Final = _unsuccessful(OCSPResponseStatus.UNAUTHORIZED)
TRY_LATER: Final = _unsuccessful(OCSPResponseStatus.TRY_LATER)


@checked
class OcspResponder:
    """Answers for the certificates of `issuer`; from any thread.

    `identity` returns what signs, None where there is nothing that clients would accept: tryLater
    then. A certificate that the store does not have is *unknown*, and so is one of another CA in
    the same store, and one whose record is prepared and not revoked; a request about another CA is
    *unauthorized*.
    """

    def __init__(
        self,
        *,
        issuer: x509.Certificate,
        store: IssuedCertificates,
        identity: Callable[[datetime], OcspIdentity | None],
        times: OcspTimes | None = None,
        kept_max: int = KEPT_MAX,
    ) -> None:
        self._issuer_name = issuer.subject
        self._store = store
        self._identity = identity
        self._times = times or OcspTimes()
        self._names = {each.name: _issuer_hashes(issuer, each) for each in _HASHES}
        self._kept: OrderedDict[_Key, OcspAnswer] = OrderedDict()
        self._kept_max = kept_max
        self._lock = threading.Lock()

    def answer(self, request: bytes, now: datetime) -> OcspAnswer:
        """Return the answer to a request, whatever it may be. `now` is aware UTC.

        Raises StoreError, as `identity` may.
        """
        asked = read_ocsp_request(request)
        if asked is None:
            return MALFORMED
        algorithm = asked.algorithm
        names = (asked.issuer_name_hash, asked.issuer_key_hash)
        if algorithm is None or self._names.get(algorithm.name) != names:
            return UNAUTHORIZED
        identity = self._identity(now)
        if identity is None:
            return TRY_LATER
        status = self._status(asked.serial)
        if asked.nonce is not None:
            return self._signed(asked, algorithm, status, identity, now)
        key = (algorithm.name, asked.serial, status, identity.certificate.signature)
        kept = self._kept_answer(key, now)
        if kept is None:
            kept = self._signed(asked, algorithm, status, identity, now)
            self._keep(key, kept)
        return kept

    def _status(self, serial: int) -> _Status:
        record = self._store.find_certificate(serial_text(serial))
        if record is None:
            return _UNKNOWN
        if x509.load_der_x509_certificate(record.der).issuer != self._issuer_name:
            return _UNKNOWN
        if record.revoked_at is None:
            # What is prepared may exist, but nobody was given it: whoever shows it is no holder.
            is_issued = record.state == ISSUED
            return _Status(status=OCSPCertStatus.GOOD) if is_issued else _UNKNOWN
        return _Status(
            status=OCSPCertStatus.REVOKED,
            revoked_at=record.revoked_at,
            reason=record.revocation_reason,
        )

    def _signed(
        self,
        asked: OcspQuestion,
        algorithm: hashes.HashAlgorithm,
        status: _Status,
        identity: OcspIdentity,
        now: datetime,
    ) -> OcspAnswer:
        begin = now.astimezone(UTC).replace(microsecond=0)
        end = min(begin + self._times.validity, identity.certificate.not_valid_after_utc)
        reason = None if status.reason == UNSPECIFIED else status.reason
        builder = (
            OCSPResponseBuilder()
            .add_response_by_hash(
                issuer_name_hash=asked.issuer_name_hash,
                issuer_key_hash=asked.issuer_key_hash,
                serial_number=asked.serial,
                algorithm=algorithm,
                cert_status=status.status,
                this_update=begin,
                next_update=end,
                revocation_time=status.revoked_at,
                revocation_reason=None if reason is None else REVOCATION_REASONS.get(reason),
            )
            .responder_id(OCSPResponderEncoding.HASH, identity.certificate)
            .certificates([identity.certificate])
        )
        if asked.nonce is not None:
            builder = builder.add_extension(asked.nonce, critical=False)
        is_kept = asked.nonce is None and status is not _UNKNOWN
        return OcspAnswer(
            der=builder.sign(identity.key, hashes.SHA256()).public_bytes(Encoding.DER),
            this_update=begin,
            next_update=end,
            max_age=min(self._times.max_age, (end - begin) / 2) if is_kept else None,
        )

    def _kept_answer(self, key: _Key, now: datetime) -> OcspAnswer | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.this_update is None or kept.max_age is None:
                return None
            # Also where it was made by a clock that was ahead.
            if not kept.this_update <= now < kept.this_update + kept.max_age:
                return None
            self._kept.move_to_end(key)
            return kept

    def _keep(self, key: _Key, answer: OcspAnswer) -> None:
        if answer.max_age is None:
            return
        with self._lock:
            self._kept[key] = answer
            self._kept.move_to_end(key)
            if len(self._kept) > self._kept_max:
                self._kept.popitem(last=False)


def _issuer_hashes(
    issuer: x509.Certificate, algorithm: hashes.HashAlgorithm
) -> tuple[bytes, bytes]:
    """Return by what a request names an issuer: the hashes of its subject and of its key."""
    named = OCSPRequestBuilder().add_certificate(issuer, issuer, algorithm).build()
    return named.issuer_name_hash, named.issuer_key_hash
