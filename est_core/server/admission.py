"""Who gets in: what the policy asks of a client against what the client shows.

Pure judgement on a request, its channel and a policy row. Credentials are looked at only where
they are needed to decide: a client whose certificate suffices may send a broken Authorization
header, as libEST's does.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from est_core._errors import Fault, RemoteProtocolError
from est_core.channel import Channel, TrustClass
from est_core.checks.identity import is_registration_authority
from est_core.credentials import AuthChallenge, Credentials, MalformedCredentials
from est_core.events import ClientIdentity
from est_core.model import Challenged, Refused, Request, Response, shown_text
from est_core.operation import Authentication
from est_core.policy import PolicyRow, ServerPolicy

NOBODY: Final = ClientIdentity()
_FAILURE_CHARS: Final = 200


class Admission(NamedTuple):
    """The judgement: a refusal, credentials to be verified first, or neither: come in."""

    identity: ClientIdentity = NOBODY
    refusal: Response | None = None
    to_verify: Credentials | None = None


def admit(
    request: Request, channel: Channel, policy: ServerPolicy, row: PolicyRow | None
) -> Admission:
    """Return how far this client gets by itself, under its row of the policy.

    RFC 7030 3.2.3, 3.3.2.
    Not offered: 404. No acceptable certificate where one is needed, and no way to make up for
    it: 403, since a 401 needs a challenge (RFC 9110 15.5.2). No credentials: a challenge.
    """
    if row is None:
        return _refused(request, "path/not-offered", "not offered here", Fault.NOT_FOUND)
    counts = channel.trust_class in row.certificate_trust
    identity = ClientIdentity(
        certificate=channel.peer_certificate if counts else None,
        is_ra=counts and row.accept_ra and is_registration_authority(channel),
    )
    if row.authentication.needs_certificate and not counts:
        return _no_certificate(request, channel, row)
    needs_http = row.authentication.needs_http or (
        row.authentication is Authentication.CERT_OR_HTTP and not counts
    )
    if not needs_http:
        return Admission(identity=identity)
    if not row.authentication.needs_http and not _can_ask(channel, policy.challenges):
        return _no_certificate(request, channel, row)
    return demand(request, channel, policy.challenges, identity)


def demand(
    request: Request,
    channel: Channel,
    challenges: tuple[AuthChallenge, ...],
    identity: ClientIdentity,
    code: str = "auth/missing",
) -> Admission:
    """Return the request's credentials, to be verified, or the refusal that asks for some.

    Where nobody can be asked it is 403 "auth/no-scheme", and 400 for a header that is malformed.
    """
    if not _can_ask(channel, challenges):
        return _refused(
            request, "auth/no-scheme", "no authentication is possible here", Fault.FORBIDDEN
        )
    credentials = request.credentials
    if credentials is None:
        return Admission(refusal=unauthorized(request, challenges, code))
    if not isinstance(credentials, MalformedCredentials):
        return Admission(identity=identity, to_verify=credentials)
    if credentials.code == "auth/unknown-scheme":
        return Admission(refusal=unauthorized(request, challenges, credentials.code))
    return _refused(request, credentials.code, credentials.message, Fault.MALFORMED)


def _can_ask(channel: Channel, challenges: tuple[AuthChallenge, ...]) -> bool:
    return bool(challenges) and channel.can_challenge


def unauthorized(request: Request, challenges: tuple[AuthChallenge, ...], code: str) -> Challenged:
    """Return the answer that asks for credentials, with the challenges in order."""
    return Challenged(operation=request.operation, challenges=challenges, code=code)


def _refused(request: Request, code: str, reason: str, fault: Fault) -> Admission:
    error = RemoteProtocolError(code, reason, fault)
    return Admission(refusal=Refused.of_error(error, request.operation))


def _no_certificate(request: Request, channel: Channel, row: PolicyRow) -> Admission:
    shown = channel.trust_class is not TrustClass.NONE  # it may be one that cannot be read
    code = "auth/certificate-not-accepted" if shown else "auth/certificate-required"
    trust = " or ".join(sorted(trust.value for trust in row.certificate_trust))
    reason = f"a client certificate with {trust} trust is required"
    if shown and channel.failure:
        reason += f"; the one shown is not verified: {shown_text(channel.failure, _FAILURE_CHARS)}"
    return _refused(request, code, reason, Fault.FORBIDDEN)
