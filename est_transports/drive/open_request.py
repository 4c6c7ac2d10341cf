"""A request that is open on some wire: its head, the application's decisions, its record.

What can happen, in which order. A wire opens a request when it knows of one, and says of it what
records tell. It may refuse it by its head, or for want of room, and `finish` it: no application is
asked. Otherwise it gives the complete request to `begin`, and from there on `next_step` says what
is due: an `Ask`, or a response to be written, after which comes `finish`. Three things can come
instead of the decision to an `Ask`, each at any moment until `finish`:

* The deadline. `handle_timeout` gives the response that takes the place of the decision, and the
  request is finished with that.
* The end of the client's connection. `abandon` gives the record, for nobody is left to be answered.
* A decision that is none: the application raised, or answered another question. `consult` makes a
  Fail of the former and `decide` of the latter, and the request goes on with that.

After the first two a decision may still come, as late as it likes. It is not lost: `decide` hands
it to the exchange, which takes one that was to issue a certificate (`ServerExchange.issued`) and
nothing else, and no step follows. So `decide` is right at any time, and how late it is makes no
difference to a wire::

    take(request.handle_timeout(now))     # nothing before the deadline; the record is made here
    request.decide(asked, decision)
    take(request.next_step())             # nothing after the end

Why this is enough: what a request has left to do is in its exchange and in `is_over`, which is
set once, with the one record. Every step is asked for and none is kept, so that an event that
comes twice, or after the end, finds nothing to do. `is_over` is all that other threads read: a
question that waits for a thread is not asked any more when nobody waits for its answer.

No wire is known here: what it says of a request are plain values. A wire adds to a request of its
own class what it needs to write the answer, what it judged by the head among it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import field, replace
from inspect import iscoroutinefunction
from typing import Final, TypeVar, cast

from est_core import (
    Challenged,
    Channel,
    ClientIdentity,
    Decision,
    Entropy,
    Fail,
    Fault,
    Instant,
    Limits,
    LocalProtocolError,
    Operation,
    RefusalTag,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    ResponseReady,
    ServerExchange,
    ServerPolicy,
    ServerQuestion,
    ServerSession,
    TrustClass,
    new_refusal_id,
)
from est_core.arguments import checked
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.model import shown_text
from est_core.values import value_class
from est_transports import _clock
from est_transports.drive.application import (
    Application,
    AsyncApplication,
    answers_in_loop,
)
from est_transports.drive.authentication_results import Judged
from est_transports.drive.consult import begin_to_consult, consult, consult_async
from est_transports.drive.judging import Judging
from est_transports.drive.records import Phases, Record, Requested, Wire

_W = TypeVar("_W")

_log: Final = logging.getLogger("est_transports")

LOST: Final = "connection/lost"
"""The code of a record whose client did not wait for the answer."""
TARGET_CHARS: Final = 256
"""How much of what a client asked for is recorded."""
NOTE_CHARS: Final = 256
"""How much of what an application notes is recorded."""
_NOBODY: Final = ClientIdentity()
_OF_WHAT_IS_ASKED: Final = frozenset({"names", "pop", "renewal", "csrattrs"})
"""Areas of codes of requests that can be read."""


@checked
def session_with(
    peer: str, channel: Channel, *, policy: ServerPolicy, limits: Limits
) -> ServerSession:
    """Return the session of one channel with a client at the address `peer`.

    A channel knows nothing of addresses: here, and nowhere else, its facts are given the one that
    the application, the records and the queues of threads go by.
    """
    return ServerSession(policy=policy, channel=replace(channel, peer_address=peer), limits=limits)


@checked
class OpenRequest:
    """One request, not for two threads at a time; `is_over` may be read in any.

    `started` is in monotonic seconds. `channel` and `peer` are the session's as soon as there is
    one. The ids of refusals are made of `entropy`.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        peer: str,
        channel: Channel | None,
        started: float,
        method: str = "",
        target: str = "",
        entropy: Entropy = _clock.entropy,
    ) -> None:
        self._wire = wire
        self._entropy = entropy
        self._peer = peer
        self._channel = channel
        self.started = started
        self.application: Application | AsyncApplication | None = None
        self.method = method
        self.target = target
        self.received_bytes: int = 0
        self.is_over: bool = False
        self._exchange: ServerExchange | None = None
        self._failure: Response | None = None
        self._judging = Judging(started)
        self._note = ""
        self._begun_at = started
        self._asked_s = 0.0
        self._limits = Limits()

    @property
    def exchange(self) -> ServerExchange:
        """What `begin` began. Raises LocalProtocolError before that."""
        if self._exchange is None:
            raise LocalProtocolError("the request has not begun")
        return self._exchange

    @property
    def has_begun(self) -> bool:
        """True from `begin` on."""
        return self._exchange is not None

    def begin(
        self,
        session: ServerSession,
        request: Request,
        now: Instant,
        application: Application | AsyncApplication | None = None,
    ) -> None:
        """Give the complete request to its session.

        `application` is what `Ask.consult` asks; None where somebody else decides. An operation
        that breaks on the request costs its client a 500, which is the next step.
        """
        self.application, self._limits = application, session.limits
        self._begun_at = now.mono
        self._judging.begun(now)
        try:
            self._exchange = session.receive_request(request, now)
        except Exception:  # noqa: BLE001  # an operation may be anybody's
            _log.exception("%s failed on a request", request.operation.name)
            self._failure = internal_error(request.operation)
        self._channel = session.channel
        self._peer = session.channel.peer_address or self._peer

    def next_step(self) -> Ask | Response | None:
        """Return what is due: a question, the answer, or None: a decision, or nothing any more."""
        if self.is_over:
            return None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            return failure
        match event := self.exchange.next_event():
            case None:
                return None
            case ResponseReady():
                return event.response
            case question:
                self._judging.asked(question)
                return Ask(request=self, question=question)

    def handle_timeout(self, now: Instant) -> Ask | Response | None:
        """Return the answer in place of a decision once the deadline has passed.

        Before it, what `next_step` returns; after the end, None.
        """
        if self.is_over:
            return None
        self.exchange.handle_timeout(now)
        step = self.next_step()
        if isinstance(step, Response):
            self._asked_s = now.mono - self._begun_at
            self._judging.timed_out(now)
        return step

    def decide(self, asked: Ask, decision: Decision | None, now: Instant | None = None) -> None:
        """Take the decision on a question; None after the end: the application was not asked.

        One that comes late, or is no answer to the question, does no harm: the former is
        settled (what was issued is on record), the latter logged and answered as a failure.
        `now` is for the record: how long it took to authenticate somebody.
        """
        exchange = self.exchange
        if not exchange.is_open or (decision is None and self.is_over):
            return
        try:
            exchange.decide(cast(Decision, decision))  # before the end, None is no answer
        except Exception:  # noqa: BLE001  # an application can put anything into a decision
            _log.exception("the application gave no answer to %s", type(asked.question).__name__)
            decision = Fail()
            exchange.decide(decision)  # legal at every question, which is open as it was
        self._note = getattr(decision, "note", "") or self._note
        self._asked_s = self._asked_s if now is None else now.mono - self._begun_at
        self._judging.decided(cast(Decision, decision), exchange.identity, now)

    def written(self, response: Response, write: Callable[[Response], _W]) -> tuple[Response, _W]:
        """Return the response and what `write` makes of it; the internal error where it cannot.

        A refusal gets an id, by which its record is found. One that only asks for credentials, of
        a client that showed none, is no refusal: most exchanges begin with it. A certificate that
        does not count has been shown.
        """
        response = self._tagged(response)
        try:
            return response, write(response)
        except Exception:  # noqa: BLE001  # a format of an operation may be anybody's
            _log.exception("an answer could not be written")
            failure = self._tagged(internal_error(response.operation))
            return failure, write(failure)

    def _tagged(self, response: Response) -> Response:
        if response.tag is not None or not isinstance(response, Refused | Challenged):
            return response
        if isinstance(response, Challenged) and self._asks_first:
            return response
        # The table is for those to whom something has happened.
        from est_transports.error_codes import find_error_code

        # An application's own codes are for the log: who wrote them did not write them for peers.
        told = response.code if find_error_code(response.code) else ""
        tag = RefusalTag(id=new_refusal_id(self._entropy), code=told)
        return replace(response, tag=tag)

    @property
    def _asks_first(self) -> bool:
        exchange = self._exchange
        shown = exchange is not None and exchange.request.credentials is not None
        failed = self._channel is not None and self._channel.trust_class is TrustClass.FAILED
        return not shown and not failed and not self._judging.has_judged

    def finish(
        self, response: Response | None, *, status: int, sent_bytes: int, now: Instant
    ) -> Record:
        """Return the record of a request that is answered. No step follows.

        `response` is None for an answer that is not of EST.
        """
        self.is_over = True
        return self._record(
            now,
            operation=response.operation if response else None,
            status=status,
            code=response.code if response else "",
            reason=response.reason if response else "",
            refusal_id=response.tag.id if response and response.tag else "",
            sent_bytes=sent_bytes,
        )

    def abandon(self, reason: str, now: Instant) -> Record:
        """Return the record of a request whose client does not wait any more. No step follows.

        A decision may.
        """
        self.is_over = True
        operation = self.exchange.request.operation
        self.exchange.abandon(reason)
        return self._record(
            now, operation=operation, status=0, code=LOST, reason=reason, sent_bytes=0
        )

    def _requested(self, code: str) -> Requested | None:
        """Return the names that the request asks for, where that is known or worth reading.

        What the core refuses before it asks anything is read again, for a client that is known:
        the operator wants to know which request it was.
        """
        exchange = self._exchange
        if exchange is None:
            return None
        csr, payload = exchange.csr, exchange.request.payload
        is_told = code.partition("/")[0] in _OF_WHAT_IS_ASKED and exchange.identity != _NOBODY
        if csr is None and is_told and isinstance(payload, bytes):
            try:
                csr = parse_cert_request(payload, self._limits)
            except RemoteProtocolError:
                return None
        return None if csr is None else Requested.of_csr(csr)

    def _phases(self, judged: tuple[Judged, ...], now: Instant) -> Phases:
        begun_at = self._begun_at if self._exchange is not None else now.mono
        authentication = sum(each.seconds for each in judged)
        return Phases(
            reading=begun_at - self.started,
            authentication=authentication,
            # All that passed until the last decision, for the questions come one after the other.
            deciding=max(self._asked_s - authentication, 0.0),
            answering=now.mono - begun_at - self._asked_s,
        )

    def _record(
        self,
        now: Instant,
        *,
        operation: Operation | None,
        status: int,
        code: str,
        reason: str,
        sent_bytes: int,
        refusal_id: str = "",
    ) -> Record:
        exchange = self._exchange
        judged = self._judging.at_the_end(exchange, status, code)
        return Record(
            peer=self._peer,
            wire=self._wire,
            method=self.method,
            target=self.target[:TARGET_CHARS],
            operation=operation,
            label=exchange.request.label if exchange else None,
            identity=exchange.identity if exchange else _NOBODY,
            channel=self._channel,
            status=status,
            code=code,
            reason=reason,
            note=shown_text(self._note, NOTE_CHARS),
            refusal_id=refusal_id,
            requested=self._requested(code),
            issued=exchange.issued if exchange else None,
            seconds=now.mono - self.started,
            phases=self._phases(judged, now),
            received_bytes=self.received_bytes,
            sent_bytes=sent_bytes,
            judged=judged,
        )


@value_class
class Ask:
    """Have the application decide, and call `decide`; at `deadline` `handle_timeout`."""

    request: OpenRequest = field(repr=False)
    question: ServerQuestion

    @property
    def exchange(self) -> ServerExchange:
        """The exchange whose question this is."""
        return self.request.exchange

    @property
    def deadline(self) -> float:
        """Until when the decision has to be there, in monotonic seconds."""
        return self.request.exchange.deadline.mono

    @property
    def is_wanted(self) -> bool:
        """True while somebody waits for the decision. For any thread."""
        return not self.request.is_over

    @property
    def is_async(self) -> bool:
        """True where the application's method is a coroutine function: `consult_async` asks it."""
        return iscoroutinefunction(getattr(self.application, self.question.method, None))

    @property
    def is_in_loop(self) -> bool:
        """True where the application may be asked in an event loop, by `begin_to_consult`."""
        return answers_in_loop(self.application, self.question.method)

    def consult(self) -> Decision | None:
        """Return the decision of the application, None if nobody waits for it. For any thread."""
        if not self.is_wanted:
            return None
        return consult(cast(Application, self.application), self.question)

    def begin_to_consult(self) -> Decision | Future[Decision | None] | None:
        """Return the decision as `consult` does, or the future of it. Waits for no future."""
        if not self.is_wanted:
            return None
        return begin_to_consult(cast(Application, self.application), self.question)

    async def consult_async(self) -> Decision | None:
        """Return the decision of an AsyncApplication, None if nobody waits for it any more."""
        if not self.is_wanted:
            return None
        return await consult_async(cast(AsyncApplication, self.application), self.question)

    @property
    def application(self) -> Application | AsyncApplication:
        """What is to decide. Raises LocalProtocolError where that is somebody else's business."""
        if self.request.application is None:
            raise LocalProtocolError("there is no application to ask: somebody else decides")
        return self.request.application


@value_class
class Finished:
    """One request is over."""

    record: Record


@checked
def internal_error(operation: Operation | None) -> Response:
    """Return the answer that says no more than that something broke here."""
    error = RemoteProtocolError("server/internal", "internal error", Fault.INTERNAL)
    return Refused.of_error(error, operation)
