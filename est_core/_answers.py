"""What a server's answer means to a client: the last step of a client exchange."""

from __future__ import annotations

from cryptography import x509

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.cms import read_certs_only
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.checks.renewal import public_key_der
from est_core.events import CACertsReceived, ClientResult, CSRAttrsReceived, Enrolled, Failed
from est_core.model import OPERATIONS, Operation, PartKind, Response
from est_core.uri import EstUri


def result_of(
    response: Response, operation: Operation, spki: bytes, limits: Limits
) -> ClientResult:
    """Return what a successful answer gives; `spki` is the key that was to be certified.

    Raises RemoteProtocolError for an answer that cannot be read or holds no certificate for
    that key.
    """
    part = response.parts[0]
    if part.kind is not OPERATIONS[operation].answer:
        raise RemoteProtocolError("response/part", "an answer of another kind")
    if part.kind is PartKind.CSRATTRS:
        attrs = parse_csrattrs(part.der, limits)
        return CSRAttrsReceived(csrattrs=None if attrs.is_empty else attrs)
    certificates = read_certs_only(part.der, limits)
    if operation is Operation.CACERTS:
        return CACertsReceived(certificates=certificates)
    return _enrolled(certificates, spki)


def _enrolled(certificates: tuple[x509.Certificate, ...], spki: bytes) -> Enrolled:
    """Pick the certificate by its key: order and company mean nothing. RFC 5272 4.1."""
    mine = [certificate for certificate in certificates if public_key_der(certificate) == spki]
    if not mine:
        raise RemoteProtocolError(
            "response/other-key", "the answer holds no certificate for the key of the request"
        )
    others = tuple(certificate for certificate in certificates if certificate != mine[0])
    return Enrolled(certificate=mine[0], others=others)


def failure_of(response: Response) -> Failed:
    """Return what a refusal means."""
    text = response.reason or "the server gave no reason"
    return Failed(code=response.code or "response/fault", message=text, response=response)


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
