"""The reference CA as an `Application`: passwords from a store, certificates by profile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthenticateRequested,
    BasicCredentials,
    CACertsRequested,
    CSRAttrsPurpose,
    CSRAttrsRequested,
    Decision,
    Deny,
    EnrollRequested,
    Fail,
    Instant,
    Issue,
    Label,
    LocalProtocolError,
    Operation,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    Verified,
)
from est_core.arguments import checked
from est_core.asn1.csrattrs import CsrAttr, CsrAttrs
from est_transports.authority.ca import CAUnavailable, Enrollment, ReferenceCA, Refused
from est_transports.authority.renewal_records import certificate_on_record
from est_transports.authority.stores import Store, StoreBusy, StoreError, UserRecord
from est_transports.authority.stores.passwords import PasswordBusy, PasswordChecks
from est_transports.pki.names import subject_text
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import SignerError

_log: Final = logging.getLogger("est_transports")

BUSY_RETRY_S: Final = 2
"""A queue of passwords or of writers is empty again after about a second."""
CA_RETRY_S: Final = 60
"""A CA that is away takes an operator to come back."""


@checked
class Authority:
    """Answers questions with one CA, one store of users and records, and one set of labels.

    `csrattrs` holds what is asked for under a label, under None what is asked for without one
    and under labels that are not there; `key_types` the one kind of key that is certified there,
    which clients are told in any case. `passwords` bounds the password checks of the process:
    share it between authorities. Any thread may call. A store, signer or CA that is away makes
    an answer of its own, and a line in the log of est_transports; nothing is raised.
    """

    in_loop: Final = frozenset({"authenticate", "ca_certs", "csr_attrs"})
    """The methods that wait for nothing."""

    def __init__(
        self,
        *,
        ca: ReferenceCA,
        store: Store,
        passwords: PasswordChecks,
        clock: Callable[[], Instant],
        csrattrs: Mapping[Label | None, CsrAttrs | None] = MappingProxyType({}),
        key_types: Mapping[Label | None, CsrAttr | None] = MappingProxyType({}),
    ) -> None:
        self.ca = ca
        self.store = store
        self._passwords = passwords
        self._clock = clock
        self._csrattrs = dict(csrattrs)
        self._key_types = dict(key_types)

    def authenticate(self, question: AuthenticateRequested) -> Decision | Future[Decision]:
        """Return the future of Verified for a user's password; Rejected but for Basic.

        A user that does not exist costs the time of one that does. RFC 7030 3.2.3. Does not wait
        for the password's turn.
        """
        credentials = question.credentials
        if not isinstance(credentials, BasicCredentials):
            return Rejected()
        decision: Future[Decision] = Future()

        def settle(checked_user: Future[UserRecord | None]) -> None:
            try:
                decision.set_result(_identified(checked_user))
            except BaseException as exc:  # noqa: BLE001  # raised where somebody waits for it
                decision.set_exception(exc)

        self._passwords.submit(
            credentials.user,
            credentials.password,
            self.store,
            peer=question.channel.peer_address,
        ).add_done_callback(settle)
        return decision

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return the CA's certificate and its chain, whatever the label. RFC 7030 4.1.3."""
        return ProvideCACerts(certificates=self.ca.ca_certificates())

    def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        """Return the CSR attributes of the label. RFC 7030 4.5.2.

        The kind of key is told and not enforced: the profile judges it, and takes larger ones.
        """
        asked = self._csrattrs.get(question.label, self._csrattrs.get(None))
        key_type = self._key_types.get(question.label, self._key_types.get(None))
        if key_type is not None and question.purpose is CSRAttrsPurpose.ANSWER:
            asked = (asked or CsrAttrs(items=())).with_key_type(key_type)
        return ProvideCSRAttrs(csrattrs=asked)

    def enroll(self, question: EnrollRequested) -> Decision:
        """Return Issue for a certificate by the label's profile, recorded by then, or a refusal."""
        return self._issue(question, SIMPLEENROLL)

    def reenroll(self, question: ReenrollRequested) -> Decision:
        """Return Issue for a certificate of this CA that may be renewed. RFC 7030 4.2.2.

        For a registration authority that is the newest one on record with the names of its
        request (`certificate_on_record`); the record of the new one says who asked.
        """
        return self._issue(question, SIMPLEREENROLL)

    def _issue(
        self,
        question: EnrollRequested | ReenrollRequested,
        operation: Operation,
    ) -> Decision:
        now, replaces = self._clock().wall, None
        try:
            if self._is_revoked(question.identity.certificate):
                return Deny(code="auth/certificate-revoked", reason="the certificate was revoked")
            if isinstance(question, ReenrollRequested):
                replaces = question.current or certificate_on_record(self.ca, question.csr, now)
            certificate = self.ca.issue(
                question.csr, _enrollment(operation, question), now=now, replaces=replaces
            )
        except Refused as refusal:
            return Deny(code=refusal.code, reason=refusal.text, content=refusal.content)
        except StoreBusy as exc:
            return _later("records", exc)
        except StoreError as exc:
            return _failed(exc)
        except (CAUnavailable, SignerError) as exc:
            _log.error("the CA cannot issue: %s", exc)
            # What its own certificate says everybody may know; what an HSM says nobody need.
            reason = str(exc) if isinstance(exc, CAUnavailable) else "the CA cannot sign now"
            return Postpone(retry_after_s=CA_RETRY_S, code="server/ca-unavailable", reason=reason)
        return Issue(certificate=certificate)

    def _is_revoked(self, certificate: x509.Certificate | None) -> bool:
        """True if the client showed one of our certificates that we took back.

        A revocation list tells the handshake of it too, but only once there is a new one.
        """
        if certificate is None:
            return False
        record = self.store.find_certificate(serial_text(certificate.serial_number))
        return (
            record is not None
            and record.revoked_at is not None
            and record.der == certificate.public_bytes(Encoding.DER)
        )


def _identified(checked_user: Future[UserRecord | None]) -> Decision:
    """Return who gave the right password, once that is known."""
    try:
        user = checked_user.result()
    except PasswordBusy as exc:
        return _later("passwords", exc)
    except StoreBusy as exc:
        return _later("users", exc)
    except (StoreError, LocalProtocolError) as exc:  # the latter: a damaged record
        return _failed(exc)
    return Rejected() if user is None else Verified(user=user.name)


def _enrollment(operation: Operation, question: EnrollRequested | ReenrollRequested) -> Enrollment:
    label, shown = question.label, question.identity.certificate
    return Enrollment(
        operation=operation.name,
        label=None if label is None else label.text,
        user=question.identity.user,
        client_subject=None if shown is None else subject_text(shown),
        peer=question.channel.peer_address or None,
    )


def _later(what: str, exc: Exception) -> Decision:
    _log.warning("too busy with %s: %s", what, exc)
    return Postpone(retry_after_s=BUSY_RETRY_S)


def _failed(exc: Exception) -> Decision:
    _log.error("the store failed: %s", exc)
    return Fail(code="server/store")
