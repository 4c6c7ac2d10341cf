"""What an exchange asks of, or tells, whoever drives it.

`ClientEvent` is a union that `match` with `assert_never` exhausts. `ServerEvent` is open: an
operation may ask questions of its own, each a `ServerQuestion`. Questions end in `Requested`.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import ClassVar, Final

from cryptography import x509

from est_core._instant import Instant
from est_core.asn1.certificates import UnreadableCertificate
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.channel import Channel, TlsVersion
from est_core.checks.issued import Difference
from est_core.credentials import AuthChallenge, AuthScheme, Credentials, ManufacturerIdentity
from est_core.decisions import Counted, Decision, Rejected, Replayed, Verified
from est_core.model import Label, Request, Response
from est_core.operation import Operation
from est_core.renewal_window import RenewalWindow
from est_core.uri import EstUri
from est_core.values import value_class


@value_class
class ClientIdentity:
    """Who the client is, as far as the policy asked. RFC 7030 3.7.

    `user` was proven by credentials of the request, or without such by the handshake itself
    (TLS-SRP); `certificate` by the handshake, and is there only if its trust class counts for this
    operation. `manufacturer` is which device of which manufacturer that is, where an anchor of one
    of `ServerPolicy.manufacturers` has verified it. `is_ra`: the certificate, issued by the own CA,
    carries id-kp-cmcRA, and the policy lists it. `context` is what the application said of the
    user (`Verified.context`). `is_expired`: the certificate had expired, and is taken all the same,
    by `PolicyRow.expired_days` or `Manufacturer.accept_expired`.
    """

    user: str | None = None
    certificate: x509.Certificate | None = None
    manufacturer: ManufacturerIdentity | None = None
    is_ra: bool = False
    is_expired: bool = False
    context: object = field(default=None, repr=False, compare=False)


# Server


@value_class
class ServerQuestion:
    """What a server exchange asks of the application. Every such event is one.

    `method` is the application's method that answers it, `answers` are the decisions that do,
    beside those that answer any (`decisions.COMMON`). `creates`: an answer may have made something,
    a certificate say, so that one that comes too late is taken all the same and not lost.
    """

    method: ClassVar[str]
    answers: ClassVar[frozenset[type[Decision]]]
    creates: ClassVar[bool] = False

    label: Label | None
    channel: Channel


@value_class
class AuthenticateRequested(ServerQuestion):
    """Are these credentials good? Answer: Verified, Rejected, Challenge, Deny, Postpone, Fail.

    `identity` is what is known of the client without them: its certificate where that counts, the
    user of TLS-SRP. A Digest answer that gets here is well formed, for this URI, with a nonce of
    ours that is not stale: what is left is whether it proves the password (`digest_proves`).
    """

    method: ClassVar[str] = "authenticate"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({Verified, Rejected})

    operation: Operation
    credentials: Credentials
    identity: ClientIdentity = field(default_factory=ClientIdentity)


@value_class
class NonceUseRequested(ServerQuestion):
    """Is this count of a Digest nonce new? Answer: Counted, Replayed, Deny, Postpone, Fail.

    Asked once the answer is known to prove its password, so that only who has one can make a
    server remember anything. It is to be answered by one step that compares and writes: two
    workers may be asked at once. After `expires_at` it can be forgotten, and not before: that is
    later than the nonce's own end, by the time that a decision may take and by what clocks may
    differ. RFC 7616 3.4.3, 5.5.
    """

    method: ClassVar[str] = "use_nonce"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({Counted, Replayed})

    nonce: str
    count: int
    expires_at: datetime


@value_class
class ResponseReady:
    """The answer to send. The exchange is over."""

    response: Response


ServerEvent = ServerQuestion | ResponseReady


# Client


@value_class
class ConnectRequested:
    """Have a secure channel to `uri`'s origin; then call `connected` or `connect_failed`.

    A connection that is open and fits may be used again: same origin, same trust and identity,
    and a version not above `max_version`. `trust` holds the explicit trust anchors; empty means
    the driver's implicit ones. `identity` is the certificate to show, if any; its key is with
    the driver. RFC 7030 3.3.
    `provisional`: let the handshake finish with a server that does not verify, on a connection
    that was not used before, shows no certificate, and is closed at the end of the exchange.
    RFC 7030 4.1.1.
    `idempotent`: what will be sent may be sent twice. Otherwise do not use a connection of HTTPS
    whose last answer was not a plain 200: servers close it without saying so, a moment after a
    401, 202, 204, a redirect or an error (libEST 3.2.0p), and what is sent in between is lost.
    """

    uri: EstUri
    trust: tuple[x509.Certificate, ...]
    identity: x509.Certificate | None
    max_version: TlsVersion | None
    provisional: bool = False
    idempotent: bool = False


@value_class
class SignatureRequested:
    """Sign `tbs` with the key that is to be certified; then call `provide_signature`.

    `tbs` is not shown by repr: a CSR may hold a one-time password.
    """

    tbs: bytes = field(repr=False)
    algorithm: SignatureAlgorithm


@value_class
class SendRequest:
    """Send this request on exactly this channel; then `receive_response` or `connection_lost`."""

    request: Request
    uri: EstUri
    channel: Channel


@value_class
class CredentialsRequested:
    """Answer one of the challenges; then `provide_credentials`, with None to give up.

    `uri` is the server that asks: after a redirect another one than the session's, for which its
    passwords are not meant. `challenges` is empty after a 401 that names no scheme, asked once:
    servers that do so take Basic. A Password answers Basic and Digest, a one-time code as the
    password of one with `basic_only`; credentials of a scheme that is not asked for end in Failed.
    """

    uri: EstUri
    challenges: tuple[AuthChallenge, ...]
    attempt: int

    @property
    def schemes(self) -> frozenset[AuthScheme]:
        """Return the schemes that are asked for, of those that are known here."""
        known = (challenge.known_scheme for challenge in self.challenges)
        return frozenset(scheme for scheme in known if scheme is not None)


@value_class
class RedirectRequested:
    """The server points to another origin. `provide_redirect(follow)`. RFC 7030 3.2.1."""

    uri: EstUri


@value_class
class TrustDecisionRequested:
    """Which of the candidates are trust anchors? `provide_trust`, with none to refuse them all.

    They come from a server that nobody has verified (`channel` says why not). So the answer has to
    come from elsewhere: a human, or a fingerprint given in advance, over the whole certificate.
    `candidates` are the self-signed ones of the `certificates` received, the most recent first.
    `left_out` are those that cannot be read; a trust anchor may be among them.
    RFC 7030 4.1.1, 4.1.3.
    """

    uri: EstUri
    channel: Channel
    certificates: tuple[x509.Certificate, ...]
    candidates: tuple[x509.Certificate, ...]
    left_out: tuple[UnreadableCertificate, ...] = ()

    def accepted(self, anchors: tuple[x509.Certificate, ...]) -> CACertsReceived:
        """Return how the bootstrap ends in which these candidates are accepted."""
        return CACertsReceived(
            certificates=self.certificates, trusted=anchors, left_out=self.left_out
        )


@value_class
class RetryLater:
    """The request is pending; call `handle_timeout` at that moment or later. RFC 7030 4.2.3."""

    at: Instant


@value_class
class CACertsReceived:
    """The CA certificates, in the order received, which means nothing. RFC 7030 4.1.3.

    `trusted` are the trust anchors that a bootstrap ended with: the `trust` of the next session.
    Of the other certificates nothing is known until they are validated up to one of these. It is
    empty where the server was verified; then all that is known is that they came from it.
    `left_out` are those that cannot be read; a trust anchor may be among them, so say it.
    """

    certificates: tuple[x509.Certificate, ...]
    trusted: tuple[x509.Certificate, ...] = ()
    left_out: tuple[UnreadableCertificate, ...] = ()


@value_class
class CSRAttrsReceived:
    """The CSR attributes; None where the server has none. RFC 7030 4.5.2.

    `not_found`: it has none because it answered 404, which is also what a server without that
    label says, or one without EST. The CA certificates, which every EST server has, tell which.
    """

    csrattrs: CsrAttrs | None
    not_found: bool = False


@value_class
class RenewalInfoReceived:
    """When a server suggests to renew; None where it does not say, or not in that order.

    `retry_after_s` is for how long not to ask again, and at most, within bounds whatever the server
    says. `explanation_url` is a page for people, "" for none: it came from the server, and nothing
    here follows it.
    """

    window: RenewalWindow | None
    retry_after_s: int
    explanation_url: str = ""


@value_class
class Enrolled:
    """The certificate for the key that was asked for, and whatever else came with it.

    `left_out` are certificates beside it that cannot be read.
    `differences` are the points in which it is not what was asked for, the dangerous ones first;
    they do not end an exchange unless the session says so (`accept_changes`).
    """

    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...]
    left_out: tuple[UnreadableCertificate, ...] = ()
    differences: tuple[Difference, ...] = field(default=(), compare=False)

    @property
    def is_dangerous(self) -> bool:
        """True if a difference is one that nobody should take unasked. See `Difference`."""
        return any(each.dangerous for each in self.differences)


_NOTHING_ARRIVED: Final = frozenset(
    {"auth", "connect", "pop", "proxy", "redirect", "server", "tls"}
)
"""First halves of codes of exchanges that ended before a request was taken."""


@value_class
class Failed:
    """It did not work. `code` is stable; `response` is the server's answer, if it gave one.

    `left_out` are certificates of an answer that cannot be read. With
    "response/unreadable-certificate" the one that was issued is among them: keep its bytes.
    `enrolled` is a certificate that was issued and not accepted, so that it is not lost.
    """

    code: str
    message: str
    response: Response | None = None
    left_out: tuple[UnreadableCertificate, ...] = ()
    enrolled: Enrolled | None = None

    @property
    def may_be_issued(self) -> bool:
        """True if the server may have issued a certificate although the exchange failed.

        So it is where the request may have arrived and no answer that can be read came back.
        """
        area = self.code.partition("/")[0]
        if self.response is not None or area in _NOTHING_ARRIVED:
            return False
        return self.code != "connection/too-many"


@value_class
class Received:
    """What an operation that is not of this core has brought: `value` is as its `read` gives it."""

    operation: Operation
    value: object = field(repr=False)


ClientEvent = (
    ConnectRequested
    | SignatureRequested
    | SendRequest
    | CredentialsRequested
    | RedirectRequested
    | TrustDecisionRequested
    | RetryLater
    | CACertsReceived
    | CSRAttrsReceived
    | RenewalInfoReceived
    | Enrolled
    | Received
    | Failed
)
ClientResult = (
    CACertsReceived | CSRAttrsReceived | RenewalInfoReceived | Enrolled | Received | Failed
)
"""How a client exchange ends."""
