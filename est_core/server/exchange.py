"""The server's machine: one request in, questions to the application, one response out.

What can happen, in this order. The policy admits the client, refuses it, or wants its credentials
judged first: a question. Then the operation examines the request: a refusal, or a question of its
own. A decision leads to the next question or to the response. At any question the application may
want credentials that the policy did not ask for (`Challenge`): those that the request carries are
judged, and then the operation examines the request again, with what is now known of the client.

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
from est_core.credentials import AuthChallenge
from est_core.decisions import (
    Challenge,
    Decision,
    Deny,
    Fail,
    Issue,
    Postpone,
    Rejected,
    Verified,
)
from est_core.events import (
    AuthenticateRequested,
    ClientIdentity,
    ResponseReady,
    ServerEvent,
    ServerQuestion,
)
from est_core.model import Refused, Request, Response, UnreadablePayload, shown_text
from est_core.operations.definition import Asking, Inquiry, defined
from est_core.policy import ServerPolicy
from est_core.server.admission import NOBODY, Admission, admit, demand, unauthorized
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
    """What a decision leads to, and what is known from then on."""

    step: Inquiry | Response
    identity: ClientIdentity
    challenges: tuple[AuthChallenge, ...]


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
        self._challenges: tuple[AuthChallenge, ...] = session.policy.challenges
        self.issued: x509.Certificate | None = None
        self.abandoned: str = ""
        self.deadline: Instant = now.after(session.limits.decision_s)
        self._row = session.policy.row(
            request.operation, request.label, datagram=session.channel.version.is_datagram
        )
        admission = admit(request, session.channel, session.policy, self._row)
        self.identity = admission.identity
        self._take(self._after(admission, admission.identity))

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
            self.identity, self._challenges = turn.identity, turn.challenges
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
        identity, challenges = self.identity, self._challenges
        step: Inquiry | Response
        is_about_credentials = isinstance(question, AuthenticateRequested)
        match decision:
            # To a question of an operation these are answers like others: nobody is let in by them.
            case Verified(user=user) if is_about_credentials:
                identity = replace(identity, user=user)
                step = self._examined(identity)
            case Rejected() if is_about_credentials:
                step = unauthorized(self.request, challenges, "auth/wrong-credentials")
            case Challenge(challenges=others, code=code):
                challenges = others or challenges
                is_known = is_about_credentials or identity.user is not None
                if is_known:  # these credentials were judged, and are not enough
                    step = unauthorized(self.request, challenges, code)
                else:
                    asked = demand(self.request, self.channel, challenges, identity, code)
                    step = self._after(asked, identity)
            case Deny() | Postpone() | Fail():
                step = self._refusal(decision)
            case _:
                step = self._answered(decision)
        return _Turn(step, identity, challenges)

    def _after(self, admission: Admission, identity: ClientIdentity) -> Inquiry | Response:
        """Return what follows from a judgement on the client."""
        if admission.refusal is not None:
            return admission.refusal
        if admission.to_verify is None:
            return self._examined(identity)
        question = AuthenticateRequested(
            operation=self.request.operation,
            label=self.request.label,
            credentials=admission.to_verify,
            channel=self.channel,
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
