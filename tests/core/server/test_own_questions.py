"""What the decisions of an authentication mean where an operation of somebody's own lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from est_core import (
    Asking,
    Decision,
    Fault,
    Inquiry,
    Refused,
    Rejected,
    RemoteProtocolError,
    Request,
    Response,
    ResponseReady,
    ServerSession,
    Success,
    Verified,
    default_policy,
)
from est_core.testing import FIXED_INSTANT
from tests.core.cast import channel
from tests.core.echo import GREETING, EchoDefinition, EchoRequested


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchRequested(EchoRequested):
    """Does somebody vouch for the client? Answer: Verified, Rejected."""

    answers: ClassVar[frozenset[type[Decision]]] = frozenset({Verified, Rejected})


class VouchDefinition(EchoDefinition):
    """Asks for a word on the client, and answers with nothing else."""

    __slots__ = ()

    questions = (VouchRequested,)

    def examine(self, asking: Asking) -> Inquiry:
        """Ask at once."""
        question = VouchRequested(label=asking.label, channel=asking.channel, der=b"")
        return Inquiry(question=question)

    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Response:
        """Say whether somebody does."""
        if isinstance(decision, Verified):
            return self.success(decision.user.encode())
        raise RemoteProtocolError("vouch/nobody", "nobody vouches", Fault.FORBIDDEN)


VOUCH = VouchDefinition(
    **{
        name: getattr(GREETING, name)
        for name in ("method", "http", "coap", "parts", "authentication")
    },
    name="vouch",
)


@pytest.mark.parametrize("decision", [Verified(user="someone"), Rejected()], ids=repr)
def test_who_answers_an_operations_question_lets_nobody_in_by_it(decision: Decision) -> None:
    session = ServerSession(policy=default_policy(operations=(VOUCH,)), channel=channel())
    exchange = session.receive_request(Request(operation=VOUCH), FIXED_INSTANT)
    assert isinstance(exchange.next_event(), VouchRequested)
    exchange.decide(decision)
    ready = exchange.next_event()
    assert isinstance(ready, ResponseReady)
    assert exchange.identity.user is None
    match ready.response:
        case Success(parts=(part,)):
            assert (type(decision), part.content) == (Verified, b"someone")
        case Refused(code=code):
            assert (type(decision), code) == (Rejected, "vouch/nobody")
        case other:
            pytest.fail(f"{other} came")
