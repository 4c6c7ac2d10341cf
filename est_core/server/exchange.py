"""The server's machine: one request in, questions to the application, one response out.

What can happen, in this order. The policy admits the client, refuses it, or wants its credentials
judged first: a question. A Digest answer that is right leads to another, whether its nonce was
counted before, and a one-time code in the request itself is judged where the policy takes one.
Then the operation examines the request: a refusal, or a question of its own. A decision leads to
the next question or to the response. At any question the application may want credentials that the
policy did not ask for (`Challenge`): those that the request carries are judged, and then the
operation examines the request again, with what is now known of the client.

One question is open at a time, and the exchange stands in one of five states (`server.tables`).
A decision is worked out before anything changes, so one that fails leaves the exchange as it was.
A question that may have created something is still taken after its time, or after its client is
gone: the exchange settles, `issued` holds what there is, and nobody is answered.

The machine knows no operation: it asks `examine` and `answer` of whatever the request names.
"""

from __future__ import annotations

from collections import deque
from dataclasses import field, replace
from typing import NamedTuple

from cryptography import x509

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.pkcs10 import CertRequest
from est_core.channel import Channel
from est_core.checks.pop import BindingUse
from est_core.credentials import BearerCredentials, CodeCredentials, Credentials, DigestCredentials
from est_core.decisions import (
    Challenge,
    Counted,
    Decision,
    Deny,
    Fail,
    Issue,
    Postpone,
    Rejected,
    Replayed,
    Verified,
)
from est_core.events import (
    AuthenticateRequested,
    ClientIdentity,
    NonceUseRequested,
    ResponseReady,
    ServerEvent,
    ServerQuestion,
)
from est_core.model import Refused, Request, Response, UnreadablePayload, shown_text
from est_core.operations.definition import Asking, Inquiry, defined
from est_core.policy import ServerPolicy
from est_core.server.admission import NOBODY, Admission, Offer, admit, demand, rejected
from est_core.server.tables import (
    SERVER_TRANSITIONS,
    ServerState,
    ServerStep,
    answers,
    no_answer,
)
from est_core.values import value_class


@value_class
class ServerSession:
    """One secure channel, what its binding has linked, and the rules for requests on it."""

    policy: ServerPolicy
    channel: Channel
    limits: Limits = field(default_factory=Limits)
    binding_use: BindingUse = field(default_factory=BindingUse, init=False, compare=False)

    @checked
    def receive_request(self, request: Request, now: Instant) -> ServerExchange:
        """Return the exchange that will answer this request. Never raises on peer input.

        Its first event is ready: a question, or at once the response. Raises LocalProtocolError
        for an operation that has facts only (see `est_core.operations.definition`).
        """
        return ServerExchange(self, request, now)


class _Turn(NamedTuple):
    """What a decision leads to, and what is known from then on.

    `is_judged`: credentials of the request were found good.
    """

    step: Inquiry | Response
    identity: ClientIdentity
    offer: Offer
    is_judged: bool


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
        self._operation = defined(request.operation)
        self._inquiry: Inquiry | None = None
        self._asking: Asking | None = None
        self.request = request
        self.identity: ClientIdentity = NOBODY
        self._offer = Offer(now, session.policy.challenges, session.policy.digest)
        self._is_judged = False
        self.issued: x509.Certificate | None = None
        self.abandoned: str = ""
        self.deadline: Instant = now.after(session.limits.decision_s)
        self._row = session.policy.row(
            request.operation, request.label, datagram=session.channel.version.is_datagram
        )
        admission = admit(request, session.channel, session.policy, self._row, self._offer)
        self.identity = admission.identity
        self._take(self._entered(admission))

    def __repr__(self) -> str:
        """Say which operation this is and where it stands, with the open question; no more."""
        where = self._state.value
        if (question := self._question) is not None:
            where = f"{where} {type(question).__name__}"
        return f"<ServerExchange {self.request.operation.name} {where}>"

    @property
    def channel(self) -> Channel:
        """The channel the request came on."""
        return self._session.channel

    @property
    def csr(self) -> CertRequest | None:
        """The request for a certificate that a question is about; None before, and without one."""
        if self._inquiry is None:
            return None
        found = getattr(self._inquiry.then or self._inquiry.question, "csr", None)
        return found if isinstance(found, CertRequest) else None

    @property
    def is_open(self) -> bool:
        """True while the application owes a decision."""
        return self._state in (ServerState.ASKING, ServerState.SETTLING)

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
        question = self._question
        if question is None or not answers(decision, question):
            raise LocalProtocolError(no_answer(decision, question))
        turn = self._turn(decision, question)
        if self._state is ServerState.SETTLING:  # nobody waits for the answer
            self._step(ServerStep.RESPOND)
        else:
            self.identity, self._offer = turn.identity, turn.offer
            self._is_judged = turn.is_judged
            self._take(turn.step)
        if isinstance(decision, Issue):
            self.issued = decision.certificate

    @checked
    def handle_timeout(self, now: Instant) -> None:
        """Answer 503 once the deadline has passed; before it, and after the end, do nothing.

        If the answer to the question may have created something, a late decision is still taken:
        what was issued is on record, its answer is dropped.
        """
        if self._state is not ServerState.ASKING or now.mono < self.deadline.mono:
            return
        late = Postpone(retry_after_s=self._session.limits.retry_after_default_s)
        self._leave(ServerStep.TIME_OUT)
        self._events.append(ResponseReady(response=self._refusal(late)))

    @checked
    def abandon(self, reason: str) -> None:
        """Note that the client is gone; no further event will come.

        A decision to a question that may create something may still follow and is not lost:
        `issued` holds it. `reason` is kept in `abandoned` for the log.
        """
        if self.abandoned or self._state is ServerState.ABANDONED:
            return
        if self._state is not ServerState.SETTLING:  # else a timeout was first
            self._leave(ServerStep.ABANDON)
        self._events.clear()
        self.abandoned = reason

    # Steps

    @property
    def _question(self) -> ServerQuestion | None:
        return self._inquiry.question if self._inquiry and self.is_open else None

    def _step(self, step: ServerStep) -> None:
        self._state = SERVER_TRANSITIONS[self._state, step]

    def _leave(self, step: ServerStep) -> None:
        """Wait no longer for an answer; where it may have created something, settle."""
        question = self._question
        self._step(ServerStep.SETTLE if question is not None and question.creates else step)
        self._events.clear()

    def _take(self, step: Inquiry | Response) -> None:
        """Put a question, or answer."""
        if isinstance(step, Inquiry):
            self._step(ServerStep.ASK)
            self._inquiry = step
            self._events.append(step.question)
        else:
            self._step(ServerStep.RESPOND)
            self._events.append(ResponseReady(response=step))

    def _turn(self, decision: Decision, question: ServerQuestion) -> _Turn:
        """Work out what a decision leads to. What an application put into it is used here."""
        identity, offer, is_judged = self.identity, self._offer, self._is_judged
        step: Inquiry | Response
        match decision, question:
            # To a question of an operation these are answers like others: nobody is let in by them.
            case Verified(), AuthenticateRequested(credentials=credentials):
                step, identity = self._verified(decision, credentials)
                is_judged = True
            case Rejected(), AuthenticateRequested():
                step = self._challenged("auth/wrong-credentials", question, identity, offer)
            case Counted(), NonceUseRequested():
                step = self._let_in(identity)
            case Replayed(), NonceUseRequested():
                step = rejected(self.request, self.channel, offer, "auth/replayed", stale=True)
            case Challenge(challenges=others, code=code), _:
                if others:  # the application's own, with what is fresh in them
                    offer = offer._replace(challenges=others, is_own=True)
                step = self._challenged(code, question, identity, offer)
            case Deny(), AuthenticateRequested(credentials=BearerCredentials()):
                # RFC 6750 3.1: a token that is good, and not for this.
                lacking = offer.of_refused_token("insufficient_scope").bearer()
                step = replace(self._refusal(decision), challenges=lacking)
            case Deny() | Postpone() | Fail(), _:
                step = self._refusal(decision)
            case _:
                step = self._answered(decision)
        return _Turn(step, identity, offer, is_judged)

    def _verified(
        self, decision: Verified, credentials: Credentials
    ) -> tuple[Inquiry | Response, ClientIdentity]:
        """Return what follows from credentials that are good, and who the client is by them.

        All of them are one user's: of the handshake (TLS-SRP), of the header, of a code in the
        request. Two users who are both right must not lend each other what each lacks.
        """
        if self.identity.user not in (None, decision.user):
            error = RemoteProtocolError(
                "auth/conflicting-credentials",
                "these credentials are another user's than those before them",
                Fault.FORBIDDEN,
            )
            return Refused.of_error(error, self.request.operation), self.identity
        identity = replace(self.identity, user=decision.user, context=decision.context)
        if isinstance(credentials, CodeCredentials):
            return self._examined(identity), identity
        digest = self._session.policy.digest
        if digest is None or not isinstance(credentials, DigestCredentials):
            return self._let_in(identity), identity
        question = NonceUseRequested(
            label=self.request.label,
            channel=self.channel,
            nonce=credentials.get("nonce") or "",
            count=int(credentials.get("nc") or "", 16),
            expires_at=digest.remembered_until(credentials, self._session.limits.decision_s),
        )
        return Inquiry(question=question), identity

    def _challenged(
        self, code: str, question: ServerQuestion, identity: ClientIdentity, offer: Offer
    ) -> Inquiry | Response:
        """Return what follows where the application wants credentials."""
        if isinstance(question, AuthenticateRequested):
            bad = question.credentials
            return rejected(self.request, self.channel, offer, code, refused=bad)
        if self._is_judged:  # and they are good, but not enough
            return rejected(self.request, self.channel, offer, code)
        return self._after(demand(self.request, self.channel, offer, identity, missing=code))

    def _entered(self, admission: Admission) -> Inquiry | Response:
        """Return what follows from the policy's judgement on the client."""
        if admission.refusal is not None:
            return admission.refusal
        if not admission.needs_credentials:
            return self._let_in(admission.identity)
        try:
            code = None if self.request.credentials else self._code(admission.identity)
        except RemoteProtocolError as error:
            return Refused.of_error(error, self.request.operation)
        return self._after(
            demand(self.request, self.channel, self._offer, admission.identity, code=code)
        )

    def _after(self, admission: Admission) -> Inquiry | Response:
        """Return what follows from a judgement on the client's credentials."""
        if admission.refusal is not None:
            return admission.refusal
        if admission.to_verify is None:
            return self._let_in(admission.identity)
        return self._authentication(admission.to_verify, admission.identity)

    def _let_in(self, identity: ClientIdentity) -> Inquiry | Response:
        """Judge the code that the request carries, beside what let the client in; then examine."""
        try:
            code = self._code(identity)
        except RemoteProtocolError as error:
            return Refused.of_error(error, self.request.operation)
        return self._examined(identity) if code is None else self._authentication(code, identity)

    def _code(self, identity: ClientIdentity) -> CodeCredentials | None:
        """Return the one-time code in the body. Raises RemoteProtocolError for several."""
        if isinstance(self.request.payload, UnreadablePayload):
            return None
        return self._operation.code(self._asking_as(identity))

    def _authentication(self, credentials: Credentials, identity: ClientIdentity) -> Inquiry:
        question = AuthenticateRequested(
            operation=self.request.operation,
            label=self.request.label,
            credentials=credentials,
            channel=self.channel,
            identity=identity,
        )
        return Inquiry(question=question)

    def _examined(self, identity: ClientIdentity) -> Inquiry | Response:
        """Return the operation's own question, or what is wrong with the request."""
        try:
            inquiry = self._operation.examine(self._asking_as(identity))
        except RemoteProtocolError as error:
            return Refused.of_error(error, self.request.operation)
        return self._fitting(inquiry)

    def _answered(self, decision: Decision) -> Inquiry | Response:
        """Return what a decision on the operation's own question leads to."""
        asking, inquiry = self._asking, self._inquiry
        if asking is None or inquiry is None:
            raise LocalProtocolError("the operation has asked nothing")
        try:
            step = self._operation.answer(asking, inquiry, decision)
        except RemoteProtocolError as error:
            return Refused.of_error(error, self.request.operation)
        return self._fitting(step)

    def _fitting(self, step: object) -> Inquiry | Response:
        """Return what an operation leads to. Raises LocalProtocolError for what it may not."""
        name = self.request.operation.name
        if isinstance(step, Inquiry):
            return step
        if not isinstance(step, Response):
            raise LocalProtocolError(f"{name} leads to {type(step).__name__}")
        if step.operation is not self.request.operation:
            raise LocalProtocolError(f"{name} leads to the response of another operation")
        if step.outcome not in self.request.operation.outcomes:
            raise LocalProtocolError(f"{name} has no {step.outcome.value}")
        return step

    def _asking_as(self, identity: ClientIdentity) -> Asking:
        """Return what the operation is to know. Raises RemoteProtocolError for no readable body."""
        session, row, payload = self._session, self._row, self.request.payload
        if row is None:
            raise LocalProtocolError("what is not offered is not asked about")
        if isinstance(payload, UnreadablePayload):
            if self._operation.has_body:
                raise RemoteProtocolError(payload.code, payload.message, payload.fault)
            payload = b""
        self._asking = Asking(
            request=self.request,
            payload=payload,
            identity=identity,
            channel=session.channel,
            row=row,
            policy=session.policy,
            limits=session.limits,
            binding_use=session.binding_use,
        )
        return self._asking

    def _refusal(self, decision: Deny | Postpone | Fail) -> Refused:
        operation = self.request.operation
        match decision:
            case Deny(code=code, reason=reason, content=content):
                fault = Fault.CONTENT if content else Fault.FORBIDDEN
                error = RemoteProtocolError(code, self._shown(reason), fault)
                return Refused.of_error(error, operation)
            case Postpone(retry_after_s=seconds, code=code, reason=reason):
                return Refused(
                    operation=operation,
                    fault=Fault.BUSY,
                    retry_after=seconds,
                    code=code,
                    reason=self._shown(reason),
                )
            case Fail(code=code):
                error = RemoteProtocolError(code, "internal error", Fault.INTERNAL)
                return Refused.of_error(error, operation)

    def _shown(self, reason: str) -> str:
        # An application may well quote what the client sent.
        return shown_text(reason, self._session.limits.error_text_chars)
