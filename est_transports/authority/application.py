"""The reference CA as an `Application`: passwords from a store, certificates by profile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509

from est_core import (
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthenticateRequested,
    CACertsRequested,
    Challenge,
    CSRAttrsPurpose,
    CSRAttrsRequested,
    Decision,
    Deny,
    EnrollRequested,
    Instant,
    Issue,
    Label,
    NamesRequested,
    NonceUseRequested,
    Operation,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    RemoteProtocolError,
    RenewalInfoRequested,
)
from est_core.arguments import checked
from est_core.asn1.csrattrs import CsrAttr, CsrAttrs
from est_transports.authority.authentication.authenticator import Authenticator
from est_transports.authority.authentication.codes import KnownCode
from est_transports.authority.authentication.digest import count_nonce
from est_transports.authority.authentication.look_ups import failed, later
from est_transports.authority.ca import CAUnavailable, Enrollment, ReferenceCA, Refused
from est_transports.authority.csr_attributes import AskedOfClients, told_to
from est_transports.authority.issue_log import IssueLog, issue_recorded
from est_transports.authority.issue_notes import AGAIN, COMPLETED, IssueNotes
from est_transports.authority.names_of_others import check_names_of_others
from est_transports.authority.registered_names import registered_names
from est_transports.authority.renewal_records import certificate_on_record
from est_transports.authority.renewal_windows import RenewalSchedule, renewal_answer
from est_transports.authority.stores import (
    PREPARED,
    CodeSpent,
    CodeUse,
    IssuedRecord,
    Store,
    StoreBusy,
    StoreError,
)
from est_transports.pki.names import name_text, subject_text
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import SignerError

_log: Final = logging.getLogger("est_transports")

CA_RETRY_S: Final = 60
"""A CA that is away takes an operator to come back."""


@checked
class Authority:
    """Answers questions with one CA, one store of users and records, and one set of labels.

    `csrattrs` holds what is asked for under a label, under None what is asked for without one
    and under labels that are not there; `key_types` the one kind of key that is certified there,
    which clients are told in any case. `authenticator` judges credentials. `issue_log` is told
    of each certificate before it is handed out. `renewals` says when they are to be renewed, to
    who asks for that. Any thread may call.
    A store, signer or CA that is away makes
    an answer of its own, and a line in the log of est_transports; nothing is raised.
    """

    in_loop: Final = frozenset({"authenticate", "ca_certs", "csr_attrs"})
    """The methods that wait for nothing."""

    def __init__(
        self,
        *,
        ca: ReferenceCA,
        store: Store,
        authenticator: Authenticator,
        clock: Callable[[], Instant],
        csrattrs: Mapping[Label | None, AskedOfClients | None] = MappingProxyType({}),
        key_types: Mapping[Label | None, CsrAttr | None] = MappingProxyType({}),
        issue_log: IssueLog | None = None,
        renewals: RenewalSchedule | None = None,
    ) -> None:
        self.ca = ca
        self.store = store
        self._authenticator = authenticator
        self._clock = clock
        self._csrattrs = dict(csrattrs)
        self._key_types = dict(key_types)
        self._notes = IssueNotes()
        self._issue_log = issue_log
        self._renewals = renewals or RenewalSchedule()

    def authenticate(self, question: AuthenticateRequested) -> Decision | Future[Decision]:
        """Return the decision on credentials, or the future of it. RFC 7030 3.2.3.

        A user that does not exist costs the time of one that does. Does not wait for the turn of a
        password, nor for the store.
        """
        return self._authenticator.authenticate(question)

    def use_nonce(self, question: NonceUseRequested) -> Decision:
        """Return Counted for a count of a Digest nonce that no worker has seen, else Replayed."""
        return count_nonce(question, self.store, self._clock().wall)

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return the certificates of all generations of the CA, whatever the label. RFC 7030 4.1.3.

        Those are their roots and chains, and the links from each to the next.
        """
        return ProvideCACerts(certificates=self.ca.published_certificates())

    def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        """Return the CSR attributes of the label. RFC 7030 4.5.2.

        The kind of key is told and not enforced: the profile judges it, and takes larger ones.
        """
        usual = self._csrattrs.get(None)
        asked = told_to(question.identity, self._csrattrs.get(question.label, usual), usual)
        key_type = self._key_types.get(question.label, self._key_types.get(None))
        if key_type is not None and question.purpose is CSRAttrsPurpose.ANSWER:
            asked = (asked or CsrAttrs(items=())).with_key_type(key_type)
        return ProvideCSRAttrs(csrattrs=asked)

    def renewal_info(self, question: RenewalInfoRequested) -> Decision:
        """Return when a certificate is to be renewed, if it is one of this CA that may be."""
        key_identifier, now = self.ca.key_identifier, self._clock().wall
        try:
            return renewal_answer(question, self._renewals, self.store, key_identifier, now)
        except StoreBusy as exc:
            return later("records", exc)
        except StoreError as exc:
            return failed(exc)

    def names(self, question: NamesRequested) -> Decision:
        """Return the names that a registered device may have; Deny for any other client."""
        try:
            return registered_names(question, self.store, self._clock().wall)
        except RemoteProtocolError as exc:
            return Deny(code=exc.code, reason=exc.message)
        except StoreBusy as exc:
            return later("devices", exc)
        except StoreError as exc:
            return failed(exc)

    def enroll(self, question: EnrollRequested) -> Decision:
        """Return Issue for a certificate by the label's profile, recorded by then, or a refusal."""
        return self._issue_recorded(question, SIMPLEENROLL)

    def reenroll(self, question: ReenrollRequested) -> Decision:
        """Return Issue for a certificate of this CA that may be renewed. RFC 7030 4.2.2.

        For a registration authority that is the newest one on record with the names of its
        request (`certificate_on_record`); the record of the new one says who asked.
        """
        return self._issue_recorded(question, SIMPLEREENROLL)

    def _issue_recorded(
        self, question: EnrollRequested | ReenrollRequested, operation: Operation
    ) -> Decision:
        return issue_recorded(self._issue_log, question, lambda: self._issue(question, operation))

    def _issue(
        self,
        question: EnrollRequested | ReenrollRequested,
        operation: Operation,
    ) -> Decision:
        now = self._clock().wall
        try:
            try:
                return self._issued(question, operation, now)
            except CodeSpent:
                return self._spent(question, operation, now)
        except Refused as refusal:
            return Deny(code=refusal.code, reason=refusal.text, content=refusal.content)
        except StoreBusy as exc:
            return later("records", exc)
        except StoreError as exc:
            return failed(exc)
        except (CAUnavailable, SignerError) as exc:
            _log.error("the CA cannot issue: %s", exc)
            # What its own certificate says everybody may know; what an HSM says nobody need.
            reason = str(exc) if isinstance(exc, CAUnavailable) else "the CA cannot sign now"
            return Postpone(retry_after_s=CA_RETRY_S, code="server/ca-unavailable", reason=reason)

    def _issued(
        self, question: EnrollRequested | ReenrollRequested, operation: Operation, now: datetime
    ) -> Decision:
        """Return Issue or a refusal. Raises what the CA and the store raise."""
        replaces = None
        shown = self._record_of(question.identity.certificate)
        if shown is not None and shown.revoked_at is not None:
            return Deny(code="auth/certificate-revoked", reason="the certificate was revoked")
        if question.identity.certificate is not None:
            self.ca.check_generation(question.identity.certificate, now)
        if question.identity.is_ra:
            _tell_of_ra(question, operation)
        spends = _spent_for(question, operation, now)
        if spends is not None and (again := self._issued_for(spends)) is not None:
            return again
        if _repeats_only(question):
            return Challenge(code="auth/code-spent")
        if isinstance(question, ReenrollRequested):
            replaces = question.current or certificate_on_record(self.ca, question.csr, now)
        enrollment = _enrollment(operation, question, spends, shown)
        self._check_others(question, enrollment)
        certificate = self.ca.issue(question.csr, enrollment, now=now, replaces=replaces)
        return Issue(certificate=certificate, note=self._notes.note(question, now, replaces))

    def _issued_for(self, spends: CodeUse) -> Issue | None:
        """Return what this code was spent for, if that was this very request.

        Where the record was left prepared, because the process ended or the signer failed, the
        certificate is signed now: the code is good for that one and for no other.
        """
        record = self.store.find_code_use(spends.digest, spends.request)
        if record is None or record.revoked_at is not None or spends.at >= record.not_after:
            return None
        if record.state == PREPARED:
            completed = self.ca.complete(record, spends.at)
            return None if completed is None else Issue(certificate=completed, note=COMPLETED)
        return Issue(certificate=x509.load_der_x509_certificate(record.der), note=AGAIN)

    def _spent(
        self, question: EnrollRequested | ReenrollRequested, operation: Operation, now: datetime
    ) -> Decision:
        """Return what a request gets whose code is spent: what another try of it got, if any."""
        spends = _spent_for(question, operation, now)
        again = None if spends is None else self._issued_for(spends)
        return Challenge(code="auth/code-spent") if again is None else again

    def _check_others(
        self, question: EnrollRequested | ReenrollRequested, enrollment: Enrollment
    ) -> None:
        """Return if a manufacturer's device asks for no name of somebody who is known here."""
        device = enrollment.manufacturer
        if device is not None and _has_new_names(question) and not question.identity.is_ra:
            check_names_of_others(question.csr, device, question.identity.user, self.store)

    def _record_of(self, certificate: x509.Certificate | None) -> IssuedRecord | None:
        """Return the record of what the client showed, where that is one of our certificates.

        It tells of a revocation sooner than the handshake, which needs a new list for that.
        """
        if certificate is None:
            return None
        record = self.store.find_certificate(serial_text(certificate.serial_number))
        is_ours = record is not None and record.is_of(certificate)
        return record if is_ours else None


def _tell_of_ra(question: EnrollRequested | ReenrollRequested, operation: Operation) -> None:
    """Say for whom a registration authority asks: the certificate will not say who did."""
    shown = question.identity.certificate
    _log.info(
        "registration authority %s: %s for %s",
        "" if shown is None else subject_text(shown),
        operation.name,
        name_text(question.csr.subject) or "a request without a subject",
    )


def _spent_for(
    question: EnrollRequested | ReenrollRequested, operation: Operation, now: datetime
) -> CodeUse | None:
    code = question.identity.context
    if not isinstance(code, KnownCode):
        return None
    return code.use(operation, question.label, question.csr, now)


def _repeats_only(question: EnrollRequested | ReenrollRequested) -> bool:
    """True if the code of a request can be spent no more: the CA is not even asked what it says."""
    code = question.identity.context
    return isinstance(code, KnownCode) and code.repeats_only


def _enrollment(
    operation: Operation,
    question: EnrollRequested | ReenrollRequested,
    spends: CodeUse | None,
    shown: IssuedRecord | None,
) -> Enrollment:
    label, identity = question.label, question.identity
    device = identity.manufacturer
    if device is None and shown is not None and not identity.is_ra:
        device = shown.manufacturer  # whose certificate of ours it is stays so
    return Enrollment(
        operation=operation.name,
        label=None if label is None else label.text,
        user=identity.user,
        client_subject=None if identity.certificate is None else subject_text(identity.certificate),
        peer=question.channel.peer_address or None,
        spends=spends,
        manufacturer=device,
        # A renewal keeps the names that it has, unless it comes late: another may have them by now.
        # A registration authority speaks for others.
        unless_held=not identity.is_ra and (_has_new_names(question) or identity.is_expired),
        forgives_expiry=identity.is_expired,
        shown=None if shown is None else shown.serial,
        renames=isinstance(question, ReenrollRequested) and question.renamed,
    )


def _has_new_names(question: EnrollRequested | ReenrollRequested) -> bool:
    """True if a request is for names that no certificate says are its client's already."""
    return isinstance(question, EnrollRequested) or question.renamed
