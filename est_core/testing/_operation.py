"""What every transport has to do with an operation of anybody's, as checks like those for ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from functools import partial

from est_core._errors import Fault, LocalProtocolError
from est_core.arguments import checked
from est_core.channel import Channel
from est_core.decisions import Decision, Deny, Postpone, Verified
from est_core.events import ResponseReady, ServerQuestion
from est_core.model import Label, NotAvailable, Part, Request, Response, Success
from est_core.operation import Authentication
from est_core.operations.defaults import OPERATIONS, default_policy
from est_core.operations.definition import OperationDefinition
from est_core.policy import ServerPolicy
from est_core.server.exchange import ServerSession
from est_core.testing._application import Answer
from est_core.testing._expect import expect, expect_fault, expect_kind, fail
from est_core.testing._pair import FIXED_INSTANT
from est_core.testing._transport import (
    HASTY,
    LABEL,
    Bench,
    Step,
    TransportCheck,
    decide_nothing,
)
from est_core.values import value_class


@value_class
class OperationSample:
    """A request of an operation that succeeds: its payload in DER, and what it is decided by.

    `item` is what it is about, where the operation's path says that. `decisions` answer the
    questions that it asks then, in their order. Raises LocalProtocolError for none, and for one
    that is no answer to any of its `questions`.
    """

    operation: OperationDefinition
    decisions: tuple[Decision, ...]
    payload: bytes = field(default=b"", repr=False)
    item: str = ""

    def __post_init__(self) -> None:
        if not self.decisions:
            raise LocalProtocolError("a sample has the decision that its operation succeeds by")
        self.steps()

    def steps(self) -> tuple[Step, ...]:
        """Return the kinds of questions that are asked, each with its decision."""
        return tuple((self._question(type(each)), each) for each in self.decisions)

    def _question(self, kind: type[Decision]) -> type[ServerQuestion]:
        for question in self.operation.questions:
            if kind in question.answers:
                return question
        raise LocalProtocolError(f"{self.operation.name} asks nothing that {kind.__name__} answers")


@checked
def operation_checks(
    sample: OperationSample, *, can_challenge: bool = True
) -> tuple[TransportCheck, ...]:
    """Return what a transport has to do with this operation, beside `transport_checks`.

    It has to have a place on the transport's wire. The client shows its certificate, for that is
    what the policy of these checks asks for.
    """
    name, policy = sample.operation.name, _policy(sample.operation)

    def check(what: str, does: Callable[[OperationSample, Bench], None]) -> TransportCheck:
        return TransportCheck(name=f"{name} {what}", check=partial(does, sample), policy=policy)

    checks = (
        check("is asked and answered", _answered),
        check("is refused by the application", _refused),
        check("is not asked for under a label that is not there", _not_found),
        replace(
            check("is not asked by an unauthenticated client", _unauthenticated),
            needs_challenge=True,
        ),
        replace(check("is late and replaced", _late), limits=HASTY),
        check("may be abandoned", _abandoned),
        check("harms nobody with a decision that is no answer", _no_answer),
        check("harms nobody where the application raises", _broken),
    )
    return tuple(each for each in checks if can_challenge or not each.needs_challenge)


def _policy(operation: OperationDefinition) -> ServerPolicy:
    offered = (*(each for each in OPERATIONS if each is not operation), operation)
    policy = default_policy(operations=offered, labels=frozenset({LABEL}))
    rows = (
        replace(row, authentication=Authentication.CERT) if row.operation is operation else row
        for row in policy.rows
    )
    return replace(policy, rows=tuple(rows))


def _ask(
    sample: OperationSample, bench: Bench, *steps: Step, label: Label | None = None
) -> Response:
    return bench.ask(
        sample.operation, *steps, label=label, item=sample.item, payload=sample.payload
    )


def _answered(sample: OperationSample, bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    for label in (LABEL, None, None):
        answer = _ask(sample, bench, *sample.steps(), label=label)
        question = bench.questions[0]
        shown = question.channel.peer_certificate
        success = expect_kind(answer, Success, sample.operation.name)
        expect(success.parts, _parts(sample, question.channel), "the parts of the answer")
        expect(question.label, label, "the label")
        expect(shown, bench.driver.certificate, "the client's certificate")


def _parts(sample: OperationSample, channel: Channel) -> tuple[Part, ...]:
    """Return what comes of the same exchange where there is no wire."""
    session = ServerSession(policy=_policy(sample.operation), channel=channel)
    request = Request(operation=sample.operation, item=sample.item, payload=sample.payload)
    exchange = session.receive_request(request, FIXED_INSTANT)
    for decision in sample.decisions:
        exchange.next_event()
        exchange.decide(decision)
    ready = exchange.next_event()
    if not (isinstance(ready, ResponseReady) and isinstance(ready.response, Success)):
        fail(f"the decisions of the sample do not answer {sample.operation.name}")
    return ready.response.parts


def _first(sample: OperationSample, bench: Bench, decision: Answer) -> Response:
    """Have the first question decided so, on a new channel, and nothing asked after it."""
    bench.driver.connect(certificate=True)
    return _ask(sample, bench, (sample.steps()[0][0], decision))


def _expect_service(sample: OperationSample, bench: Bench) -> None:
    """See that a client of now is served."""
    bench.driver.connect(certificate=True)
    expect_kind(_ask(sample, bench, *sample.steps()), Success, "the next client's")


def _refused(sample: OperationSample, bench: Bench) -> None:
    denied = _first(sample, bench, Deny(code="enroll/pending", reason="not for you"))
    expect_fault(denied, Fault.FORBIDDEN)
    expect("not for you" in denied.reason, True, "the reason is told")
    busy = expect_fault(_first(sample, bench, Postpone(retry_after_s=9)), Fault.BUSY)
    expect(busy.retry_after, 9, "when to come back")


def _not_found(sample: OperationSample, bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    answer = _ask(sample, bench, label=Label("nobody"))
    if isinstance(answer, NotAvailable):  # how a client reads it of an operation that may have none
        expect(answer.status, 404, "the status of what is not there")
    else:
        expect_fault(answer, Fault.NOT_FOUND)
    _expect_service(sample, bench)


def _unauthenticated(sample: OperationSample, bench: Bench) -> None:
    bench.driver.connect(certificate=False)
    expect_fault(_ask(sample, bench), Fault.FORBIDDEN)
    _expect_service(sample, bench)


def _late(sample: OperationSample, bench: Bench) -> None:
    def decide_late(_question: ServerQuestion) -> Decision:
        bench.driver.pause(HASTY.decision_s + 0.25)
        return sample.decisions[0]

    late = expect_fault(_first(sample, bench, decide_late), Fault.BUSY)
    expect(late.retry_after, HASTY.retry_after_default_s, "when to come back")
    _expect_service(sample, bench)


def _abandoned(sample: OperationSample, bench: Bench) -> None:
    def decide_for_nobody(_question: ServerQuestion) -> Decision:
        bench.driver.vanish()
        return sample.decisions[0]

    bench.driver.connect(certificate=True)
    (kind, _), *rest = sample.steps()
    steps = ((kind, decide_for_nobody), *rest)
    gone = bench.send(sample.operation, *steps, item=sample.item, payload=sample.payload)
    expect(gone, None, "an answer for a client that has gone")
    _expect_service(sample, bench)


def _no_answer(sample: OperationSample, bench: Bench) -> None:
    expect_fault(_first(sample, bench, Verified(user="x")), Fault.INTERNAL)
    _expect_service(sample, bench)


def _broken(sample: OperationSample, bench: Bench) -> None:
    expect_fault(_first(sample, bench, decide_nothing), Fault.INTERNAL)
    _expect_service(sample, bench)
