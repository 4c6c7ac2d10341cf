"""Target: the machine of a server, whatever its clients and its application do."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from cryptography.x509.oid import NameOID

from est_core import (
    OPERATIONS,
    AllowedNames,
    AllowNames,
    AuthChallenge,
    AuthenticateRequested,
    Authentication,
    BasicCredentials,
    CACertsRequested,
    Challenge,
    Channel,
    CodeCredentials,
    Counted,
    CsrAttrs,
    CSRAttrsRequested,
    Decision,
    Deny,
    DigestCredentials,
    DigestScheme,
    EnrollRequested,
    Fail,
    ForeignChallenge,
    Issue,
    Label,
    LocalProtocolError,
    MalformedCredentials,
    NameRule,
    NamesRequested,
    NonceUseRequested,
    Pend,
    PolicyRow,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    RemoteProtocolError,
    Replayed,
    Request,
    Response,
    ResponseReady,
    RevocationChallenge,
    ServerExchange,
    ServerPolicy,
    ServerQuestion,
    ServerSession,
    UnreadablePayload,
    Verified,
    coapmap,
    httpmap,
)
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.asn1.pkcs10 import CertRequestInfo, parse_cert_request, signature_is_valid
from est_core.checks.identity import RegistrationAuthorities
from est_core.checks.pop import linking_values
from est_core.checks.renewal import check_renewal
from est_core.codec.authheader import basic_challenge
from est_core.policy import with_datagram_rows
from est_core.testing import FIXED_INSTANT
from fuzz import cast, corpus
from fuzz.cast import LIMITS
from fuzz.choices import Choices, pack, steps, unpack
from fuzz.target import Reach, Result, Shape, Target

_STEPS_MAX: Final = 40
_LABEL: Final = Label("factory")
_NOBODY: Final = RegistrationAuthorities()
_LISTED: Final = RegistrationAuthorities(subjects=frozenset({cast.client().certificate.subject}))
_GOOD: Final = BasicCredentials(user="device", password="secret")
_SCHEME: Final = DigestScheme(realm="est", key=bytes(32), entropy=bytes)


def _answer() -> DigestCredentials:
    parameters = {
        "realm": "est",
        "nonce": _SCHEME.challenges(FIXED_INSTANT)[0].get("nonce") or "",
        "uri": "/",
        "qop": "auth",
        "nc": "0000000a",
        "cnonce": "c",
        "response": "0" * 32,
    }
    return DigestCredentials(
        user="device", parameters=tuple(parameters.items()), method="POST", target="/"
    )


_CREDENTIALS: Final = (
    None,
    _GOOD,
    MalformedCredentials(code="auth/malformed", message="what?"),
    _answer(),
)
_DIGEST: Final = AuthChallenge(scheme="Digest", parameters=(("realm", "x"), ("nonce", "y")))
_PASSES_S: Final = (0.0, 1.0, 59.0, 61.0, 10.0**7)


def _policies() -> tuple[ServerPolicy, ...]:
    """Return a policy for each kind of authentication, loose and strict."""
    return tuple(
        ServerPolicy(
            rows=with_datagram_rows(
                tuple(
                    PolicyRow(
                        operation=operation,
                        authentication=authentication,
                        require_pop=strict and operation.is_enrollment,
                        registration_authorities=_NOBODY if strict else _LISTED,
                        enforce_csrattrs=strict,
                        names=_name_rule(foreign, strict=strict),
                    )
                    for operation in OPERATIONS
                )
            ),
            challenges=(basic_challenge("est"), _DIGEST),
            labels=frozenset({_LABEL}),
            foreign_challenge=ForeignChallenge.REFUSE if strict else foreign,
            digest=_SCHEME if foreign is ForeignChallenge.CODE else None,
            otp_challenge=foreign is ForeignChallenge.CODE,
            list_identity_linking=strict,
            revocation_challenge=_revocation_rule(foreign, strict=strict),
        )
        for authentication in Authentication
        for strict in (False, True)
        for foreign in (ForeignChallenge.IGNORE, ForeignChallenge.CODE)
    )


def _revocation_rule(foreign: ForeignChallenge, *, strict: bool) -> RevocationChallenge:
    if strict:
        return RevocationChallenge.TAKE
    code = foreign is ForeignChallenge.CODE
    return RevocationChallenge.REFUSE if code else RevocationChallenge.IGNORE


def _name_rule(foreign: ForeignChallenge, *, strict: bool) -> NameRule:
    if strict:
        return NameRule.REGISTERED
    return NameRule.IDENTITY if foreign is ForeignChallenge.CODE else NameRule.ANY


_POLICIES: Final = _policies()


def server_exchange(data: bytes) -> Result:
    """One response at most, which both wires can write; a wrong decision changes nothing.

    Whoever the client is and whatever the application says, and when. Nothing is asked of it for a
    client that the policy does not let in, and no certificate for a request that proves nothing.
    """
    parts = unpack(data)
    setup = Choices(parts[0] if parts else b"")
    session = ServerSession(
        policy=setup.pick(_POLICIES), channel=setup.pick(cast.channels()), limits=LIMITS
    )
    request = Request(
        operation=setup.pick(tuple(OPERATIONS)),
        label=setup.pick((None, _LABEL, Label("nowhere"))),
        credentials=setup.pick(_CREDENTIALS),
        payload=_payload(setup, parts[1] if len(parts) > 1 else b""),
    )
    exchange = session.receive_request(request, FIXED_INSTANT)
    seen, now, question = list[str](), FIXED_INSTANT, None
    for number, choices in steps(pack(parts[2:]), _STEPS_MAX):
        while (event := exchange.next_event()) is not None:
            seen.append(type(event).__name__)
            if isinstance(event, ResponseReady):
                seen.append(_written(event.response))
                question = None
            else:
                question = event
                _assert_admitted(event, session, request, seen)
        match number % 8:
            case 5:
                now = now.after(choices.pick(_PASSES_S))
                exchange.handle_timeout(now)
            case 6:
                exchange.abandon("went away")
            case 7:
                _decide(exchange, choices.pick(_ANY_DECISION)(choices))
            case _:
                _decide(exchange, _fitting(question, choices))
    assert sum(name == ResponseReady.__name__ for name in seen) <= 1
    reach = Reach.PASSED if any(name.endswith("Requested") for name in seen) else Reach.STOPPED
    return Result(" ".join(seen), Reach.ACCEPTED if "ok " in seen else reach)


def _assert_admitted(
    question: ServerQuestion, session: ServerSession, request: Request, seen: list[str]
) -> None:
    """See that a question may be asked: RFC 7030 3.2.3, 3.3.2, 3.5 and 4.2, written once more."""
    channel = session.channel
    row = session.policy.row(request.operation, request.label, datagram=channel.version.is_datagram)
    assert row is not None
    if isinstance(question, AuthenticateRequested):
        assert channel.can_challenge or isinstance(question.credentials, CodeCredentials)
        return
    shown = channel.trust_class in row.certificate_trust
    known = AuthenticateRequested.__name__ in seen
    assert shown or not row.authentication.needs_certificate
    assert known or not row.authentication.needs_http
    assert known or shown or row.authentication is not Authentication.CERT_OR_HTTP
    if isinstance(question, EnrollRequested | ReenrollRequested):
        _assert_proven(question, channel, required=row.require_pop)
        assert row.names is not NameRule.REGISTERED or NamesRequested.__name__ in seen
    if isinstance(question, EnrollRequested) and row.names is NameRule.IDENTITY:
        _assert_named(question)


def _assert_named(question: EnrollRequested) -> None:
    """See that a common name is the user's, or stands in the certificate, but for an RA's."""
    identity = question.identity
    known = {identity.user}
    if identity.certificate is not None:
        known |= {str(part.value) for part in identity.certificate.subject}
    asked = question.csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert identity.is_ra or {str(each.value) for each in asked} <= known


def _assert_proven(
    question: EnrollRequested | ReenrollRequested, channel: Channel, *, required: bool
) -> None:
    assert signature_is_valid(question.csr)
    binding = channel.binding
    text = "" if binding is None else base64.b64encode(binding.data).decode()
    assert question.linked == (set(linking_values(question.csr)) == {text})
    assert question.linked or not required
    if isinstance(question, ReenrollRequested) and question.current is not None:
        check_renewal(question.csr, question.current, LIMITS)
        assert question.current == channel.peer_certificate
        assert question.rekey == (question.csr.spki != cast.spki_of(cast.key_of(3)))


def _payload(setup: Choices, der: bytes) -> bytes | UnreadablePayload:
    """Return a body: as it is, or as what a good key signs, so that it comes further."""
    match setup.number(4):
        case 0:
            return der
        case 1:
            return UnreadablePayload(code="body/base64", message="not base64")
        case _:
            with suppress(LocalProtocolError, RemoteProtocolError):
                info = CertRequestInfo.of(parse_cert_request(der, LIMITS))
                return cast.signed(info, cast.key_of(3))
            return der


def _decide(exchange: ServerExchange, decision: Decision) -> None:
    before = repr(exchange), exchange.identity, exchange.issued
    try:
        exchange.decide(decision)
    except LocalProtocolError:
        assert (repr(exchange), exchange.identity, exchange.issued) == before


def _fitting(question: ServerQuestion | None, choices: Choices) -> Decision:
    """Return what the question is about, mostly."""
    match question:
        case AuthenticateRequested():
            return Verified(user="device") if choices.number(4) else Rejected()
        case NonceUseRequested():
            return Counted() if choices.number(4) else Replayed()
        case CACertsRequested():
            return ProvideCACerts(certificates=(cast.ca().certificate,))
        case CSRAttrsRequested():
            return _csrattrs(choices)
        case NamesRequested(csr=csr):
            asked = AllowedNames(subjects=(csr.subject,))
            return AllowNames(names=asked if choices.number(4) else AllowedNames())
        case EnrollRequested() | ReenrollRequested():
            return Issue(certificate=cast.client().certificate)
        case _:
            return Fail()


def _csrattrs(choices: Choices) -> Decision:
    der = choices.rest()
    with suppress(LocalProtocolError, RemoteProtocolError):
        return ProvideCSRAttrs(csrattrs=CsrAttrs(items=parse_csrattrs(der, LIMITS).items))
    return ProvideCSRAttrs(csrattrs=None)


_ANY_DECISION: Final[tuple[Callable[[Choices], Decision], ...]] = (
    lambda _: Fail(),
    lambda choices: Deny(code="a/b", reason=choices.rest().decode("latin-1")),
    lambda choices: Deny(code="a/b", reason="\0\n\x1b[31m", content=choices.flag()),
    lambda choices: Postpone(retry_after_s=1 + choices.number(256)),
    lambda choices: Pend(retry_after_s=1 + choices.number(65536)),
    lambda _: Challenge(),
    lambda _: Challenge(challenges=(_DIGEST,)),
    lambda _: Verified(user="device"),
    lambda _: Rejected(),
    lambda _: ProvideCACerts(certificates=(cast.ca().certificate,) * 3),
    lambda _: Issue(certificate=cast.server().certificate),
    _csrattrs,
)


def _written(response: Response) -> str:
    """Write a response for both wires; return what it says."""
    for head_only in (False, True):
        head, _ = httpmap.write(response, httpmap.ReplyShape(head_only=head_only))
        assert not any(b"\n" in value for _, value in head.headers)
    for accept in (None, 281, 287):
        coapmap.write(response, coapmap.ReplyShape(accept=accept), now=FIXED_INSTANT)
    assert response.reason.isprintable()
    return f"{response.outcome.value} {response.code}"


def _server_scripts() -> Iterator[bytes]:
    """Yield every operation under every policy, for clients who are let in."""
    answers = [bytes((0, 1)) + attrs for attrs in corpus.csrattrs()[:3]]
    for policy in range(len(_POLICIES)):
        for operation in range(len(OPERATIONS)):
            for channel in (0, 6):  # nobody; a client of the own CA
                setup = bytes((policy, channel, operation, 0, 1, 2))
                payload = corpus.requests()[(policy + operation) % len(corpus.requests())]
                yield pack((setup, payload, *answers, b"\7\4", b"\5\3", b"\0"))


TARGETS: Final = (
    Target(
        run=server_exchange,
        gate="is asked about",
        goal="succeeds",
        modules=(
            "est_core.server.exchange",
            "est_core.server.tables",
            "est_core.server.admission",
            "est_core.operations.definition",
            "est_core.operations.cacerts",
            "est_core.operations.csrattrs",
            "est_core.operations.simpleenroll",
            "est_core.operations.simplereenroll",
            "est_core.operations._issuing",
            "est_core.operations._certificates",
            "est_core.operations._naming",
            "est_core.checks.allowed_names",
            "est_core.checks.expiry",
        ),
        seeds=_server_scripts,
        shape=Shape.PARTS,
        words=(b"\0", b"\5\3", b"\6", b"\7"),
    ),
)
