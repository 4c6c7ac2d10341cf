"""What became of one request: the values that log lines and metrics are made of."""

from __future__ import annotations

from dataclasses import field
from enum import Enum, unique
from typing import Final

from cryptography import x509

from est_core import (
    CertificateFailure,
    CertRequest,
    Channel,
    ClientIdentity,
    Label,
    Operation,
)
from est_core.arguments import checked
from est_core.checks.issued import name_text as alt_name_text
from est_core.values import value_class
from est_transports.channel.errors import SRP_REFUSED, SRP_THROTTLED, TlsError
from est_transports.drive.authentication_results import (
    AuthenticationOutcome,
    AuthenticationResult,
    Judged,
    ProvenBy,
    printable,
)
from est_transports.pki.names import name_text, subject_text

CERTIFICATE_CODES: Final = frozenset(each.value for each in CertificateFailure)
"""The codes of a refusal where the certificate that was shown does not count."""
_SRP_OUTCOMES: Final = {
    SRP_REFUSED: AuthenticationOutcome.REJECTED,
    SRP_THROTTLED: AuthenticationOutcome.POSTPONED,
}


@unique
class Wire(Enum):
    """What a request came over."""

    HTTPS = "https"
    COAPS = "coaps"


@value_class
class Phases:
    """What a request took, in seconds, one after the other.

    `reading` until it was complete; over CoAP that is not measured, and 0. `authentication` is what
    the application took for credentials, a wait for its turn included, and `deciding` what it took
    for all other questions: to issue, mostly. `answering` is what was left: to write the answer.
    """

    reading: float = 0.0
    authentication: float = 0.0
    deciding: float = 0.0
    answering: float = 0.0


@value_class
class Requested:
    """The names that a certificate request asks for; nothing else of it."""

    subject: x509.Name
    alt_names: tuple[x509.GeneralName, ...] = ()

    @classmethod
    def of_csr(cls, csr: CertRequest) -> Requested:
        """Return the names in a request that was read."""
        try:
            found = csr.decoded.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return cls(subject=csr.subject)
        return cls(subject=csr.subject, alt_names=tuple(found.value))

    @property
    def subject_text(self) -> str:
        """The subject as RFC 4514 text, "" for an empty one."""
        return name_text(self.subject)

    @property
    def names(self) -> tuple[str, ...]:
        """The alternative names with the word for the kind of each, as DNS:gate.example."""
        return tuple(alt_name_text(each) for each in self.alt_names)


@value_class
class Record:
    """What became of one request: all that a log line or a metric needs, and no secret.

    `peer` is the address; `target` is as the client wrote it, printable ASCII, cut. `status` is
    the number that was, or would have been, sent; of a CoAP code, which people write 4.04, it is
    404. `code` is empty for a plain success; "connection/lost" where the client did not wait for
    the answer. `issued` may be there then too: the certificate exists. `refusal_id` is what the
    client was told to name a refusal by, "" where it was told none. `note` is what the application
    said beside that (`Issue`, `Deny`), and `requested` are the names in a certificate request, None
    where it was not read. `channel` tells what the client showed, accepted or not; None where there
    was none yet. `judged` is what credentials came to, and `authentications` what to read of it.
    `seconds` run from the request's head to the answer's last byte, and `phases` are what they are
    made of.
    """

    peer: str
    wire: Wire = Wire.HTTPS
    method: str = ""
    target: str = ""
    operation: Operation | None = None
    label: Label | None = None
    identity: ClientIdentity = field(default_factory=ClientIdentity)
    channel: Channel | None = field(default=None, repr=False)
    status: int
    code: str = ""
    reason: str = ""
    note: str = ""
    refusal_id: str = ""
    requested: Requested | None = None
    issued: x509.Certificate | None = None
    seconds: float = 0.0
    phases: Phases = field(default_factory=Phases)
    received_bytes: int = 0
    sent_bytes: int = 0
    judged: tuple[Judged, ...] = ()

    @property
    def authentications(self) -> tuple[AuthenticationResult, ...]:
        """The authentications that were decided for this request, in their order.

        What the handshake proved comes first. Made when it is asked for: a request costs nothing
        where nobody looks.
        """
        return tuple(
            AuthenticationResult(
                peer=self.peer,
                scheme=each.scheme,
                user=each.user,
                operation=self.operation,
                label=self.label,
                outcome=each.outcome,
                code="" if each.outcome is AuthenticationOutcome.ACCEPTED else self.code,
                seconds=each.seconds,
            )
            for each in (*_by_handshake(self), *self.judged)
        )


def _by_handshake(record: Record) -> list[Judged]:
    """Return what came of the certificate, and of the user whom TLS-SRP proved."""
    channel, found = record.channel, []
    if record.identity.certificate is not None:
        found.append(_judged(ProvenBy.CERTIFICATE, subject_text(record.identity.certificate)))
    elif record.code in CERTIFICATE_CODES and channel is not None:
        subject = "" if channel.peer_certificate is None else subject_text(channel.peer_certificate)
        refused = AuthenticationOutcome.REJECTED
        found.append(_judged(ProvenBy.CERTIFICATE, subject, refused))
    if channel is not None and channel.user is not None and record.operation is not None:
        found.append(_judged(ProvenBy.SRP, channel.user))
    return found


def _judged(
    scheme: ProvenBy,
    user: str,
    outcome: AuthenticationOutcome = AuthenticationOutcome.ACCEPTED,
) -> Judged:
    return Judged(scheme=scheme, user=printable(user), outcome=outcome)


@checked
def handshake_failed(peer: str, error: Exception) -> Record:
    """Return the record of a connection on which no request could be made."""
    user = ""
    if isinstance(error, TlsError):
        code, reason, user = error.code, error.message, error.user
    elif isinstance(error, TimeoutError):
        code, reason = "tls/timeout", "the handshake took too long"
    else:
        code, reason = "tls/closed", "the connection broke during the handshake"
    judged = (_judged(ProvenBy.SRP, user, _SRP_OUTCOMES[code]),) if code in _SRP_OUTCOMES else ()
    return Record(peer=peer, status=0, code=code, reason=reason, judged=judged)
