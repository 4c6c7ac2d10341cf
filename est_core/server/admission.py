"""Who gets in: what the policy asks of a client against what the client shows.

Pure judgement on a request, its channel and a policy row. Credentials are looked at only where
they are needed to decide: a client whose certificate suffices may send a broken Authorization
header, as libEST's does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from est_core._errors import Fault, RemoteProtocolError
from est_core._instant import Instant
from est_core.auth.scheme import DigestScheme
from est_core.channel import Channel, TrustClass
from est_core.checks.expiry import expired_within, has_expired
from est_core.checks.identity import is_registration_authority
from est_core.credentials import (
    AuthChallenge,
    AuthScheme,
    BearerCredentials,
    CodeCredentials,
    Credentials,
    DigestCredentials,
    MalformedCredentials,
    ManufacturerIdentity,
)
from est_core.events import ClientIdentity
from est_core.model import Challenged, Refused, Request, Response, shown_text
from est_core.operation import Authentication
from est_core.policy import PolicyRow, ServerPolicy

NOBODY: Final = ClientIdentity()
_FAILURE_CHARS: Final = 200


class Admission(NamedTuple):
    """The judgement: a refusal, credentials to be verified first, or neither: come in.

    `needs_credentials`: what they are is still to be found out (`demand`).
    """

    identity: ClientIdentity = NOBODY
    refusal: Response | None = None
    to_verify: Credentials | None = None
    needs_credentials: bool = False


class Offer(NamedTuple):
    """The schemes that a client is offered in a 401, with what is fresh in it made when needed.

    `digest` is the policy's, and judges every Digest answer, also while an application offers
    challenges of its own instead (`is_own`): no answer gets past it unjudged and uncounted.
    """

    now: Instant
    challenges: tuple[AuthChallenge, ...] = ()
    digest: DigestScheme | None = None
    is_own: bool = False

    def fresh(self, *, stale: bool = False) -> tuple[AuthChallenge, ...]:
        """Return the challenges in order, Digest first. `stale`: its nonce was too old."""
        if self.is_own or self.digest is None:
            return self.challenges
        return (*self.digest.challenges(self.now, stale=stale), *self.challenges)

    def of_refused_token(self, error: str) -> Offer:
        """Return the offer with what was wrong with a bearer token. RFC 6750 3.1.

        Those of an application are its own to write.
        """
        if self.is_own:
            return self
        return self._replace(challenges=tuple(_with_error(each, error) for each in self.challenges))

    def bearer(self) -> tuple[AuthChallenge, ...]:
        """Return the challenges for bearer tokens alone."""
        return tuple(each for each in self.challenges if each.known_scheme is AuthScheme.BEARER)

    def __bool__(self) -> bool:
        return bool(self.challenges) or self.digest is not None


def _with_error(challenge: AuthChallenge, error: str) -> AuthChallenge:
    if challenge.known_scheme is not AuthScheme.BEARER:
        return challenge
    return replace(challenge, parameters=(*challenge.parameters, ("error", error)))


def admit(
    request: Request, channel: Channel, policy: ServerPolicy, row: PolicyRow | None, offer: Offer
) -> Admission:
    """Return how far this client gets by itself, under its row of the policy.

    RFC 7030 3.2.3, 3.3.2, 3.3.3: what the handshake proved without a certificate counts as one.
    Not offered: 404. No acceptable certificate where one is needed, and no way to make up for
    it: 403, since a 401 needs a challenge (RFC 9110 15.5.2). No credentials: a challenge. A
    manufacturer's certificate that does not say which device it is of is refused where a
    certificate is asked for, and no certificate where none is.
    """
    if row is None:
        return _refused(request, "path/not-offered", "not offered here", Fault.NOT_FOUND)
    try:
        identity = _identity(channel, policy, row, offer.now)
    except RemoteProtocolError as error:
        if row.authentication is not Authentication.OPEN:
            return Admission(refusal=Refused.of_error(error, request.operation))
        identity = ClientIdentity(user=channel.user)  # nobody is let in by that certificate
    counts = identity.certificate is not None or channel.user is not None
    if row.authentication.needs_certificate and not counts:
        return _no_certificate(request, channel, row)
    needs_http = row.authentication.needs_http or (
        row.authentication is Authentication.CERT_OR_HTTP and not counts
    )
    if not needs_http:
        return Admission(identity=identity)
    can_prove = _can_ask(channel, offer) or policy.takes_code(row)
    if not row.authentication.needs_http and not can_prove:
        return _no_certificate(request, channel, row)
    return Admission(identity=identity, needs_credentials=True)


def _identity(
    channel: Channel, policy: ServerPolicy, row: PolicyRow, now: Instant
) -> ClientIdentity:
    """Return who the client is by its handshake; its certificate is there where that counts.

    Raises RemoteProtocolError as `_manufacturer_identity` does.
    """
    is_expired = _counts_though_expired(channel, policy, row, now)
    has_certificate = is_expired or channel.trust_class in row.certificate_trust
    return ClientIdentity(
        user=channel.user,
        certificate=channel.peer_certificate if has_certificate else None,
        manufacturer=_manufacturer_identity(channel, policy) if has_certificate else None,
        is_ra=(
            has_certificate and is_registration_authority(channel, row.registration_authorities)
        ),
        is_expired=is_expired,
    )


def _counts_though_expired(
    channel: Channel, policy: ServerPolicy, row: PolicyRow, now: Instant
) -> bool:
    """True for a certificate with no other fault than its age, where that is forgiven.

    One of the own CA for some days and to be renewed (RFC 7030 2.3), one of a manufacturer where
    its devices may come with such (RFC 9148 9.1). It may have expired since the handshake too.
    """
    certificate, would_be = channel.peer_certificate, channel.expired or channel.trust_class
    if certificate is None or would_be not in row.certificate_trust:
        return False
    if would_be is TrustClass.EXPLICIT:
        return expired_within(certificate, now.wall, row.expired_days)
    manufacturer = policy.manufacturer(channel.manufacturer)
    return (
        manufacturer is not None
        and manufacturer.accept_expired
        and has_expired(certificate, now.wall)
    )


def _manufacturer_identity(channel: Channel, policy: ServerPolicy) -> ManufacturerIdentity | None:
    """Return which device of which manufacturer the client is, None where it is no such one.

    Raises RemoteProtocolError for a certificate that does not say it, and
    "manufacturer/unknown" where the policy does not say how it would.
    """
    certificate = channel.peer_certificate
    if not channel.manufacturer or certificate is None:
        return None
    manufacturer = policy.manufacturer(channel.manufacturer)
    if manufacturer is None:
        raise RemoteProtocolError(
            "manufacturer/unknown",
            f"there is no manufacturer {channel.manufacturer} here",
            Fault.FORBIDDEN,
        )
    return manufacturer.identity_of(certificate)


def demand(
    request: Request,
    channel: Channel,
    offer: Offer,
    identity: ClientIdentity,
    *,
    code: CodeCredentials | None = None,
    missing: str = "auth/missing",
) -> Admission:
    """Return what the request proves its client with, or the refusal that asks for something.

    That is its Authorization header, or without one the `code` in its CSR. Where nobody can be
    asked it is 403 "auth/no-scheme", and 400 for a header that is malformed. `missing` is the code
    of the refusal where neither is there.
    """
    credentials = request.credentials
    if credentials is None and code is not None:
        return Admission(identity=identity, to_verify=code)
    if not _can_ask(channel, offer):
        return _refused(
            request, "auth/no-scheme", "no authentication is possible here", Fault.FORBIDDEN
        )
    if credentials is None:
        return Admission(refusal=unauthorized(request, offer, missing))
    if isinstance(credentials, DigestCredentials) and offer.digest is not None:
        flaw = offer.digest.flaw(credentials, offer.now)
        if flaw is None:
            return Admission(identity=identity, to_verify=credentials)
        if flaw.message:
            return _refused(request, flaw.code, flaw.message, Fault.MALFORMED)
        return Admission(refusal=unauthorized(request, offer, flaw.code, stale=flaw.is_stale))
    if not isinstance(credentials, MalformedCredentials):
        return Admission(identity=identity, to_verify=credentials)
    if credentials.code == "auth/unknown-scheme":
        return Admission(refusal=unauthorized(request, offer, credentials.code))
    error = RemoteProtocolError(credentials.code, credentials.message, Fault.MALFORMED)
    refused = Refused.of_error(error, request.operation)
    if credentials.code == "auth/bad-bearer":
        lacking = offer.of_refused_token("invalid_request").bearer()
        refused = replace(refused, challenges=lacking)
    return Admission(refusal=refused)


def _can_ask(channel: Channel, offer: Offer) -> bool:
    return bool(offer) and channel.can_challenge


def unauthorized(request: Request, offer: Offer, code: str, *, stale: bool = False) -> Challenged:
    """Return the answer that asks for credentials, with the challenges in order."""
    return Challenged(operation=request.operation, challenges=offer.fresh(stale=stale), code=code)


def rejected(
    request: Request,
    channel: Channel,
    offer: Offer,
    code: str,
    *,
    refused: Credentials | None = None,
    stale: bool = False,
) -> Response:
    """Return the answer to `refused`, which is not good: others are asked for, if that can be."""
    if isinstance(refused, BearerCredentials):
        offer = offer.of_refused_token("invalid_token")
    if _can_ask(channel, offer):
        return unauthorized(request, offer, code, stale=stale)
    error = RemoteProtocolError(code, "these credentials are not good here", Fault.FORBIDDEN)
    return Refused.of_error(error, request.operation)


def _refused(request: Request, code: str, reason: str, fault: Fault) -> Admission:
    error = RemoteProtocolError(code, reason, fault)
    return Admission(refusal=Refused.of_error(error, request.operation))


def _no_certificate(request: Request, channel: Channel, row: PolicyRow) -> Admission:
    shown = channel.trust_class is not TrustClass.NONE  # it may be one that cannot be read
    code = channel.failure_kind.value if shown else "auth/certificate-required"
    trust = " or ".join(sorted(trust.value for trust in row.certificate_trust))
    reason = f"a client certificate with {trust} trust is required"
    if shown and channel.failure:
        reason += f"; the one shown is not verified: {shown_text(channel.failure, _FAILURE_CHARS)}"
    if channel.expired is TrustClass.EXPLICIT and row.expired_days:
        reason += f", for longer than the {row.expired_days} days in which it may be renewed"
    return _refused(request, code, reason, Fault.FORBIDDEN)
