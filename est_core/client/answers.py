"""What a server's answer means to a client: the last step of a client exchange."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.channel import Channel
from est_core.client.linked_csr import LinkedCsr
from est_core.events import (
    CACertsReceived,
    ClientResult,
    Failed,
    TrustDecisionRequested,
)
from est_core.model import (
    RESERVED_SEGMENTS,
    Challenged,
    NotAvailable,
    Redirected,
    Refused,
    Response,
    Success,
)
from est_core.operation import Operation, Outcome
from est_core.operations._certificates import told
from est_core.operations.definition import OperationDefinition, Reading
from est_core.uri import EstUri


def result_of(
    response: Success | NotAvailable,
    operation: OperationDefinition,
    csr: LinkedCsr | None,
    now: Instant,
    limits: Limits,
    *,
    strict: bool,
) -> ClientResult:
    """Return what a success gives, or the word that there is nothing.

    `csr` is what was to be certified. With `strict` a certificate that is dangerously not what was
    asked for is Failed. Raises RemoteProtocolError for an answer that cannot be read, and for
    parts that the operation has not.
    """
    if isinstance(response, Success):
        kinds = tuple(row.kind for row in operation.parts)
        if tuple(part.kind for part in response.parts) != kinds:
            raise RemoteProtocolError("response/part", "an answer of another kind")
    return operation.read(
        Reading(
            response=response,
            asked=None if csr is None else csr.asked,
            spki=None if csr is None else csr.spki,
            now=now.wall,
            limits=limits,
            is_strict=strict,
        )
    )


def failure_of(response: Refused) -> Failed:
    """Return what a refusal means."""
    text = response.reason or _unexplained(response.status or 0)
    return Failed(code=response.code or "response/fault", message=text, response=response)


def _unexplained(status: int) -> str:
    if 200 <= status < 300:
        return "no answer to this request has that status"
    if 300 <= status < 400:
        return "a redirect without a Location, or of a kind that is not followed"
    return "the server gave no reason"


def check_expected(response: Response, operation: Operation) -> None:
    """Raise LocalProtocolError for an answer that this operation cannot have."""
    if response.operation is not operation:
        raise LocalProtocolError("the response is for another operation")
    if response.outcome not in operation.outcomes | {Outcome.REDIRECT}:
        raise LocalProtocolError(f"{operation.name} has no {response.outcome.value}")


def not_provisionally(response: Response) -> Failed | None:
    """Return the failure that this answer is from a server that is not verified, if it is one.

    RFC 7030 4.1.1: requests for HTTP authentication "MUST NOT be responded to", and there is no
    other exchange until the CA certificates are accepted: not with another server either.
    """
    match response:
        case Challenged():
            code = "auth/provisional"
            message = "the server asks for credentials, and nobody has verified it"
        case Redirected():
            code = "redirect/provisional"
            message = "the server points to another place, and nobody has verified it"
        case _:
            return None
    return Failed(code=code, message=message, response=response)


def trust_question(
    received: CACertsReceived, uri: EstUri, channel: Channel | None
) -> TrustDecisionRequested:
    """Return the question which of these certificates, received on that channel, to trust.

    Candidates are the self-signed ones, the most recent (latest notAfter) first. RFC 7030 4.1.3.
    Raises RemoteProtocolError("trust/no-root") if there are none: an answer has the root, and
    everything else is trusted for leading up to it.
    """
    if channel is None:
        raise LocalProtocolError("nothing is received without a channel")
    roots = [each for each in received.certificates if _is_self_signed(each)]
    if not roots:
        message = "there is no self-signed certificate in the answer"
        if received.left_out:
            message = f"{message} that can be read; {told(received.left_out)}"
        raise RemoteProtocolError("trust/no-root", message)
    roots.sort(key=lambda root: root.not_valid_after_utc, reverse=True)
    return TrustDecisionRequested(
        uri=uri,
        channel=channel,
        certificates=received.certificates,
        candidates=tuple(roots),
        left_out=received.left_out,
    )


def _is_self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def redirect_target(location: str, base: EstUri, operation: Operation, item: str = "") -> EstUri:
    """Return the server a Location points to, seen from `base`. RFC 7030 3.2.1.

    Raises RemoteProtocolError("redirect/not-followed") unless it names the same operation, and the
    same item, with the same scheme.
    """
    if location.startswith("/"):
        location = f"{EstUri(scheme=base.scheme, host=base.host, port=base.port)}{location}"
    if item:
        if not location.endswith(f"/{item}"):
            message = "a redirect has to lead to what was asked about"
            raise RemoteProtocolError("redirect/not-followed", message)
        location = location.removesuffix(f"/{item}")
    try:
        uri, named = EstUri.parse_operation(
            location, root=operation.root, names={*RESERVED_SEGMENTS, operation.name}
        )
    except LocalProtocolError as exc:
        raise RemoteProtocolError("redirect/not-followed", exc.message) from exc
    if named != operation.name or uri.scheme != base.scheme:
        message = "a redirect has to lead to the same operation"
        raise RemoteProtocolError("redirect/not-followed", message)
    return uri
