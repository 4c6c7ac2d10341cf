"""The server's side: one request in, questions to the application, one response out.

A session belongs to one secure channel. Each exchange has its own events, so that several can
be open on one channel. Nothing here does I/O; what to do next is asked for by events and
answered by decisions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from cryptography import x509

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request, signature_is_valid
from est_core.channel import Channel
from est_core.checks.enforcement import check_csrattrs
from est_core.checks.pop import BindingUse, check_linking
from est_core.checks.renewal import OTHER_NAMES, check_renewal, public_key_der
from est_core.credentials import AuthChallenge
from est_core.decisions import (
    Challenge,
    Decision,
    Deny,
    Fail,
    Issue,
    Pend,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    Rejected,
    Verified,
)
from est_core.events import (
    AuthenticateRequested,
    CACertsRequested,
    ClientIdentity,
    CSRAttrsPurpose,
    CSRAttrsRequested,
    EnrollRequested,
    ReenrollRequested,
    ResponseReady,
    ServerEvent,
)
from est_core.model import (
    OPERATIONS,
    Operation,
    Outcome,
    Part,
    Request,
    Response,
    UnreadablePayload,
    shown_text,
)
from est_core.policy import ForeignChallenge, PolicyRow, ServerPolicy
from est_core.server.admission import Admission, admit, demand, unauthorized
from est_core.server.tables import (
    SERVER_TRANSITIONS,
    ServerInput,
    ServerState,
    ServerStep,
    no_answer,
)

_UNFINISHED: Final = (ServerState.ADMITTED, ServerState.DEMANDING, ServerState.EXAMINED)
"""Where a decision can lead that is not yet the answer."""
_NOBODY: Final = ClientIdentity()


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSession:
    """One secure channel, what its binding has linked, and the rules for requests on it."""

    policy: ServerPolicy
    channel: Channel
    limits: Limits = field(default_factory=Limits)
    binding_use: BindingUse = field(default_factory=BindingUse, init=False, compare=False)

    @checked
    def receive_request(self, request: Request, now: Instant) -> ServerExchange:
        """Return the exchange that will answer this request. Never raises on peer input.

        Its first event is ready: a question, or at once the response.
        """
        return ServerExchange(self, request, now)


class ServerExchange:
    """One request and its answer.

    Call `next_event` until it returns None, answer each question with `decide`, and send the
    response of ResponseReady. The application has until `deadline`; then call
    `handle_timeout`. If the client goes away, call `abandon`. A call out of turn raises
    LocalProtocolError and changes nothing.
    """

    def __init__(self, session: ServerSession, request: Request, now: Instant) -> None:
        """Not for the public: `ServerSession.receive_request` makes exchanges."""
        self._session = session
        self._state = ServerState.RECEIVED
        self._events: deque[ServerEvent] = deque()
        self.request = request
        self.identity = _NOBODY
        self.csr: CertRequest | None = None
        self._challenges: tuple[AuthChallenge, ...] = session.policy.challenges
        self._question: EnrollRequested | ReenrollRequested | None = None
        self.issued: x509.Certificate | None = None
        self.abandoned = ""
        self.deadline = now.after(session.limits.decision_s)
        # Asked for at every step; the request and its channel stay what they are.
        self._row = self._row_for(request.operation)
        self._admit()

    def __repr__(self) -> str:
        """Say which operation this is and where it stands; no more."""
        return f"<ServerExchange {self.request.operation.value} {self._state.value}>"

    @property
    def channel(self) -> Channel:
        """The channel the request came on."""
        return self._session.channel

    @property
    def is_open(self) -> bool:
        """True while the application owes a decision."""
        return self._state not in (ServerState.RESPONDED, ServerState.ABANDONED)

    def next_event(self) -> ServerEvent | None:
        """Return the next event, or None until the application has decided."""
        return self._events.popleft() if self._events else None

    def decide(self, decision: Decision) -> None:
        """Answer the open question.

        Raises LocalProtocolError for a decision that is no answer to it, before the question
        was taken with `next_event`, and for an issued certificate whose key is not the CSR's.
        """
        if self._events:
            raise LocalProtocolError("take the events first")
        target = self._target(type(decision))
        self._check_decision(decision)
        if target in _UNFINISHED:
            self._go_on(decision, target)
            return
        if isinstance(decision, Challenge):
            self._challenges = decision.challenges or self._challenges
        response = self._response_to(decision)
        if self._state is not ServerState.SETTLING:  # else nobody waits for the answer
            self._events.append(ResponseReady(response=response))
        self._state = target
        if isinstance(decision, Issue):
            self.issued = decision.certificate

    @checked
    def handle_timeout(self, now: Instant) -> None:
        """Answer 503 once the deadline has passed; before it, and after the end, do nothing.

        If the question was whether to issue, a late decision is still taken: what was issued
        is on record, its answer is dropped.
        """
        if not self.is_open or self._state is ServerState.SETTLING:
            return
        if now.mono < self.deadline.mono:
            return
        self._events.clear()
        self._step(ServerStep.TIME_OUT)
        late = Postpone(retry_after_s=self._session.limits.retry_after_default_s)
        self._events.append(ResponseReady(response=self._response_to(late)))

    @checked
    def abandon(self, reason: str) -> None:
        """Note that the client is gone; no further event will come.

        A decision to a question about issuing may still follow and is not lost: `issued` holds
        it. `reason` is kept in `abandoned` for the log.
        """
        if self.abandoned or self._state is ServerState.ABANDONED:
            return
        if self._state is not ServerState.SETTLING:  # there it is by a timeout
            self._step(ServerStep.ABANDON)
        self._events.clear()
        self.abandoned = reason

    # Steps

    def _target(self, cause: ServerInput) -> ServerState:
        try:
            return SERVER_TRANSITIONS[self._state, cause]
        except KeyError:
            raise LocalProtocolError(no_answer(cause, self._state)) from None

    def _step(self, step: ServerStep) -> None:
        self._state = self._target(step)

    def _respond(self, response: Response) -> None:
        self._step(ServerStep.RESPOND)
        self._events.append(ResponseReady(response=response))

    def _admit(self) -> None:
        """Let the client in, refuse it, or ask whether its credentials are good."""
        admission = admit(self.request, self.channel, self._session.policy, self._row)
        self.identity = admission.identity
        if admission.refusal is None and admission.to_verify is None:
            self._step(ServerStep.ADMIT)
            self._proceed()
        else:
            self._stop_at_the_door(admission)

    def _stop_at_the_door(self, admission: Admission) -> None:
        if admission.refusal is not None:
            self._respond(admission.refusal)
        elif admission.to_verify is not None:
            self._step(ServerStep.ASK_CREDENTIALS)
            self._events.append(
                AuthenticateRequested(
                    operation=self.request.operation,
                    label=self.request.label,
                    credentials=admission.to_verify,
                    channel=self.channel,
                )
            )

    def _go_on(self, decision: Decision, target: ServerState) -> None:
        """Take a decision that leads to the next question.

        What an application put into it is used now. Where that fails, all is as it was before.
        """
        before = self._state, self.identity, self._challenges
        self._state = target
        try:
            match decision:
                case Verified(user=user):
                    self.identity = replace(self.identity, user=user)
                    self._proceed()
                case Challenge(challenges=challenges):
                    self._challenges = challenges or self._challenges
                    self._demand(decision)
                case ProvideCSRAttrs(csrattrs=csrattrs):
                    self._enforce(csrattrs)
                case _:
                    raise LocalProtocolError(f"{type(decision).__name__} leads to no question")
        except Exception:
            self._state, self.identity, self._challenges = before
            self._events.clear()
            raise

    def _demand(self, challenge: Challenge) -> None:
        """Have the request's credentials judged, if that was not done, or ask for some."""
        if self.identity.user is not None:  # these credentials are known, and not enough
            self._respond(self._response_to(challenge))
            return
        self._stop_at_the_door(
            demand(self.request, self.channel, self._challenges, self.identity, challenge.code)
        )

    def _proceed(self) -> None:
        """Put the operation's own question to the application."""
        request, channel = self.request, self.channel
        match request.operation:
            case Operation.CACERTS:
                self._step(ServerStep.ASK_CACERTS)
                self._events.append(
                    CACertsRequested(label=request.label, identity=self.identity, channel=channel)
                )
            case Operation.CSRATTRS:
                self._step(ServerStep.ASK_CSRATTRS)
                self._events.append(
                    CSRAttrsRequested(label=request.label, identity=self.identity, channel=channel)
                )
            case Operation.SIMPLEENROLL | Operation.SIMPLEREENROLL:
                try:
                    self._question = self._examine()
                except RemoteProtocolError as error:
                    self._respond(Response.of_error(error, request.operation))
                else:
                    self._ask_for_a_certificate()
            case _:
                assert_never(request.operation)

    def _ask_for_a_certificate(self) -> None:
        """Put the question whether to issue, after that for CSR attributes to enforce."""
        question = self._question
        if question is None:
            raise LocalProtocolError("there is no CSR to ask about")
        row = self._row
        if self._state is ServerState.ADMITTED and row is not None and row.enforce_csrattrs:
            self._step(ServerStep.ASK_ENFORCEMENT)
            self._events.append(
                CSRAttrsRequested(
                    label=self.request.label,
                    identity=self.identity,
                    channel=self.channel,
                    purpose=CSRAttrsPurpose.ENFORCE,
                )
            )
        else:
            self._step(ServerStep.ASK_DECISION)
            self._events.append(question)

    def _enforce(self, csrattrs: CsrAttrs | None) -> None:
        """Hold the CSR against what the client would be told to put into it."""
        try:
            if csrattrs is not None and self.csr is not None:
                check_csrattrs(
                    self.csr,
                    csrattrs,
                    self._session.limits,
                    renewal=self.request.operation is Operation.SIMPLEREENROLL,
                )
        except RemoteProtocolError as error:
            self._respond(Response.of_error(error, self.request.operation))
        else:
            self._ask_for_a_certificate()

    def _examine(self) -> EnrollRequested | ReenrollRequested:
        """Check the CSR in the order that tells a stranger least. RFC 7030 3.4, 3.5, 4.2."""
        payload, limits = self.request.payload, self._session.limits
        if isinstance(payload, UnreadablePayload):
            raise RemoteProtocolError(payload.code, payload.message, payload.fault)
        csr = parse_cert_request(payload, limits)
        self.csr = csr
        if not signature_is_valid(csr):
            raise RemoteProtocolError("csr/bad-signature", "the CSR's signature does not verify")
        linked = check_linking(
            csr,
            self.channel,
            required=_requires_linking(self._row) and not self.identity.is_ra,
            tolerant=self.identity.is_ra
            or self._session.policy.foreign_challenge is ForeignChallenge.IGNORE,
        )
        self._session.binding_use.note(csr, self.channel, linked=linked)
        if self.request.operation is Operation.SIMPLEENROLL:
            return EnrollRequested(
                label=self.request.label,
                identity=self.identity,
                channel=self.channel,
                csr=csr,
                linked=linked,
            )
        current, rekey = self._renewed(csr)
        return ReenrollRequested(
            label=self.request.label,
            identity=self.identity,
            channel=self.channel,
            csr=csr,
            linked=linked,
            current=current,
            rekey=rekey,
        )

    def _renewed(self, csr: CertRequest) -> tuple[x509.Certificate, bool] | tuple[None, None]:
        """Return the certificate to be renewed and whether its key changes.

        None where a registration authority asks for another: RFC 7030 3.7, 4.2.2.
        """
        current = self.identity.certificate
        if current is None:
            raise RemoteProtocolError(
                "renewal/no-certificate", "show the certificate to be renewed", Fault.FORBIDDEN
            )
        try:
            return current, check_renewal(csr, current, self._session.limits)
        except RemoteProtocolError as error:
            if self.identity.is_ra and error.code in OTHER_NAMES:
                return None, None
            raise

    # Answers

    def _check_decision(self, decision: Decision) -> None:
        issued = decision.certificate if isinstance(decision, Issue) else None
        if issued and self.csr and public_key_der(issued) != self.csr.spki:
            raise LocalProtocolError("the certificate is for another key than the CSR's")

    def _response_to(self, decision: Decision) -> Response:
        operation = self.request.operation
        match decision:
            case Rejected():
                return unauthorized(self.request, self._challenges, "auth/wrong-credentials")
            case Challenge(code=code):
                return unauthorized(self.request, self._challenges, code)
            case ProvideCACerts(certificates=certificates):
                return _ok(operation, write_certs_only(certificates))
            case ProvideCSRAttrs(csrattrs=csrattrs):
                return self._csrattrs(csrattrs)
            case Issue(certificate=certificate):
                return _ok(operation, write_certs_only([certificate]))
            case Pend(retry_after_s=seconds):
                return Response(
                    operation=operation,
                    outcome=Outcome.PENDING,
                    retry_after=seconds,
                    code="enroll/pending",
                )
            case Deny(code=code, reason=reason, content=content):
                fault = Fault.CONTENT if content else Fault.FORBIDDEN
                error = RemoteProtocolError(code, self._shown(reason), fault)
                return Response.of_error(error, operation)
            case Postpone(retry_after_s=seconds, code=code, reason=reason):
                return Response(
                    operation=operation,
                    outcome=Outcome.FAULT,
                    fault=Fault.BUSY,
                    retry_after=seconds,
                    code=code,
                    reason=self._shown(reason),
                )
            case Fail(code=code):
                error = RemoteProtocolError(code, "internal error", Fault.INTERNAL)
                return Response.of_error(error, operation)
            case Verified():
                raise LocalProtocolError("Verified has no response of its own")

    def _shown(self, reason: str) -> str:
        # An application may well quote what the client sent.
        return shown_text(reason, self._session.limits.error_text_chars)

    def _csrattrs(self, csrattrs: CsrAttrs | None) -> Response:
        """RFC 8951 4: a server that requires linking MUST list challengePassword."""
        if any(
            _requires_linking(self._row_for(operation))
            for operation, row in OPERATIONS.items()
            if row.is_enrollment
        ):
            csrattrs = (csrattrs or CsrAttrs(items=())).with_challenge_password()
        if csrattrs is None or csrattrs.is_empty:
            return Response(operation=Operation.CSRATTRS, outcome=Outcome.NOT_AVAILABLE)
        return _ok(Operation.CSRATTRS, csrattrs.der())

    def _row_for(self, operation: Operation) -> PolicyRow | None:
        return self._session.policy.row(
            operation, self.request.label, datagram=self.channel.version.is_datagram
        )


def _requires_linking(row: PolicyRow | None) -> bool:
    return row is not None and row.require_pop


def _ok(operation: Operation, der: bytes) -> Response:
    part = Part(kind=OPERATIONS[operation].answer, der=der)
    return Response(operation=operation, outcome=Outcome.OK, parts=(part,))
