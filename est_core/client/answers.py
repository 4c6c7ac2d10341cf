"""What a server's answer means to a client: the last step of a client exchange."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.asn1.certificates import (
    CertificateBag,
    UnreadableCertificate,
    key_of_unreadable,
)
from est_core.asn1.cms import read_bag
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.channel import Channel
from est_core.checks.issued import issued_differences
from est_core.checks.renewal import public_key_der
from est_core.client.linked_csr import LinkedCsr
from est_core.credentials import Credentials, MalformedCredentials
from est_core.events import (
    CACertsReceived,
    ClientResult,
    CSRAttrsReceived,
    Enrolled,
    Failed,
    TrustDecisionRequested,
)
from est_core.model import OPERATIONS, Operation, Outcome, PartKind, Response
from est_core.uri import EstUri

_NOT_PROVISIONALLY: Final[Mapping[Outcome, tuple[str, str]]] = MappingProxyType(
    {
        Outcome.CHALLENGE: (
            "auth/provisional",
            "the server asks for credentials, and nobody has verified it",
        ),
        Outcome.REDIRECT: (
            "redirect/provisional",
            "the server points to another place, and nobody has verified it",
        ),
    }
)
"""What an unverified server may say and is not heeded: code and message."""


def result_of(
    response: Response,
    operation: Operation,
    csr: LinkedCsr | None,
    now: Instant,
    limits: Limits,
    *,
    strict: bool,
) -> ClientResult:
    """Return what a successful answer gives; `csr` is what was to be certified.

    With `strict` a certificate that is dangerously not what was asked for is Failed.

    A certificate that cannot be read is left out and told of, unless it is the one that is
    needed: then it is Failed, with its bytes. Raises RemoteProtocolError for an answer that cannot
    be read.
    """
    part = response.parts[0]
    if part.kind is not OPERATIONS[operation].answer:
        raise RemoteProtocolError("response/part", "an answer of another kind")
    if part.kind is PartKind.CSRATTRS:
        attrs = parse_csrattrs(part.der, limits)
        return CSRAttrsReceived(csrattrs=None if attrs.is_empty else attrs)
    bag = read_bag(part.der, limits)
    if operation is not Operation.CACERTS:
        if csr is None:
            raise LocalProtocolError("without a CSR nobody is enrolled")
        enrolled = _enrolled(bag, csr, now, limits)
        return _without_changes(enrolled) if strict else enrolled
    if not bag.certificates:
        raise RemoteProtocolError("cms/bad-certificate", _told(bag.left_out))
    return CACertsReceived(certificates=bag.certificates, left_out=bag.left_out)


def _enrolled(
    bag: CertificateBag, csr: LinkedCsr, now: Instant, limits: Limits
) -> Enrolled | Failed:
    """Pick the certificate by its key: order and company mean nothing. RFC 5272 4.1."""
    mine = [each for each in bag.certificates if public_key_der(each) == csr.spki]
    if mine:
        return Enrolled(
            certificate=mine[0],
            others=tuple(each for each in bag.certificates if each != mine[0]),
            left_out=bag.left_out,
            differences=issued_differences(csr.asked, mine[0], now=now.wall, limits=limits),
        )
    for each in bag.left_out:
        if key_of_unreadable(each.der) == csr.spki:
            message = f"the certificate for the key of the request cannot be read: {each.text}"
            return Failed(
                code="response/unreadable-certificate", message=message, left_out=bag.left_out
            )
    message = "the answer holds no certificate for the key of the request"
    if bag.left_out:
        message = f"{message} that can be read; {_told(bag.left_out)}"
    return Failed(code="response/other-key", message=message, left_out=bag.left_out)


def _told(left_out: tuple[UnreadableCertificate, ...]) -> str:
    """Return the first certificate that was left out, and how many more."""
    more = f"; and {len(left_out) - 1} more" * (len(left_out) > 1)
    return f"{left_out[0].text}{more}" if left_out else "there is no certificate"


def _without_changes(result: Enrolled | Failed) -> Enrolled | Failed:
    """Return the result, or Failed for a certificate that is dangerously not what was asked for."""
    if not isinstance(result, Enrolled) or not result.is_dangerous:
        return result
    text = "; ".join(each.text for each in result.differences if each.dangerous)
    message = f"the certificate {text}"
    return Failed(code="response/not-as-asked", message=message, enrolled=result)


def failure_of(response: Response) -> Failed:
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
    if response.outcome not in OPERATIONS[operation].outcomes | {Outcome.REDIRECT}:
        raise LocalProtocolError(f"{operation.value} has no {response.outcome.value}")


def not_provisionally(response: Response) -> Failed | None:
    """Return the failure that this answer is from a server that is not verified, if it is one.

    RFC 7030 4.1.1: requests for HTTP authentication "MUST NOT be responded to", and there is no
    other exchange until the CA certificates are accepted: not with another server either.
    """
    refusal = _NOT_PROVISIONALLY.get(response.outcome)
    if refusal is None:
        return None
    code, message = refusal
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
            message = f"{message} that can be read; {_told(received.left_out)}"
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


def redirect_target(location: str, base: EstUri, operation: Operation) -> EstUri:
    """Return the server a Location points to, seen from `base`. RFC 7030 3.2.1.

    Raises RemoteProtocolError("redirect/not-followed") unless it names the same operation with
    the same scheme.
    """
    if location.startswith("/"):
        location = f"{EstUri(scheme=base.scheme, host=base.host, port=base.port)}{location}"
    try:
        uri, named = EstUri.parse_operation(location)
    except LocalProtocolError as exc:
        raise RemoteProtocolError("redirect/not-followed", exc.message) from exc
    if named is not operation or uri.scheme != base.scheme:
        message = "a redirect has to lead to the same operation"
        raise RemoteProtocolError("redirect/not-followed", message)
    return uri


def sendable(credentials: Credentials | None) -> Credentials | None:
    """Return the credentials. Raises LocalProtocolError for malformed ones, which are a peer's."""
    if isinstance(credentials, MalformedCredentials):
        raise LocalProtocolError("malformed credentials are for reading only")
    return credentials
