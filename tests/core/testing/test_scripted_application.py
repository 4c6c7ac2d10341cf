"""The scripted application: what it answers, what it keeps, and what a server offers with it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    CACertsRequested,
    ClientIdentity,
    CSRAttrsRequested,
    Decision,
    Deny,
    Fail,
    LocalProtocolError,
    Pend,
    ProvideCACerts,
    ProvideCSRAttrs,
    ServerQuestion,
    default_policy,
)
from est_core.testing import AsyncScriptedApplication, ScriptedApplication, in_turn
from est_transports.drive.application import offered, told_apart
from tests.core.cast import channel
from tests.core.echo import ECHO, EchoRequested
from tests.pki import pki

CERTS = ProvideCACerts(certificates=(pki().ca.certificate,))
QUESTION = CACertsRequested(label=None, channel=channel(), identity=ClientIdentity())
OTHER = CSRAttrsRequested(label=None, channel=channel(), identity=ClientIdentity())


def test_a_question_is_answered_with_the_decision_for_its_kind_and_kept() -> None:
    def told(question: CSRAttrsRequested) -> Decision:
        assert question is OTHER
        return ProvideCSRAttrs(csrattrs=None)

    application = ScriptedApplication({CACertsRequested: CERTS, CSRAttrsRequested: told})
    assert application.ca_certs(QUESTION) == CERTS
    assert application.decide(OTHER) == application.csr_attrs(OTHER)
    assert application.asked == [QUESTION, OTHER, OTHER]


def test_a_question_that_nobody_could_be_asked_is_the_authors_mistake() -> None:
    class Nameless(ServerQuestion):
        """Its author has forgotten the method."""

    with pytest.raises(LocalProtocolError, match="Nameless names no method that answers it"):
        ScriptedApplication({Nameless: Fail()})


def test_an_answer_may_be_replaced_and_the_table_given_stays_as_it_is() -> None:
    given: dict[type[ServerQuestion], Decision] = {CACertsRequested: CERTS}
    application = ScriptedApplication(given)
    application.answers[CACertsRequested] = Fail()
    assert application.ca_certs(QUESTION) == Fail()
    assert given == {CACertsRequested: CERTS}


def test_what_has_no_answer_is_the_authors_mistake_and_kept_too() -> None:
    application = ScriptedApplication({CACertsRequested: CERTS})
    with pytest.raises(LocalProtocolError, match="no answer to CSRAttrsRequested"):
        application.decide(OTHER)
    assert application.asked == [OTHER]


def test_a_server_offers_what_is_answered_and_nothing_else() -> None:
    policy = default_policy(operations=(CACERTS, SIMPLEENROLL, ECHO))
    script = ScriptedApplication({CACertsRequested: CERTS, EchoRequested: Fail()})
    for application in (script, AsyncScriptedApplication(script)):
        assert set(offered(policy, application).operations) == {CACERTS, ECHO}


def test_what_a_subclass_has_goes_before_the_table() -> None:
    class Closed(ScriptedApplication):
        def ca_certs(self, question: CACertsRequested) -> Decision:
            return Deny(code="test/closed", reason="closed")

    application = Closed({CACertsRequested: CERTS, CSRAttrsRequested: Fail()})
    assert application.ca_certs(QUESTION) == Deny(code="test/closed", reason="closed")
    assert application.csr_attrs(OTHER) == Fail()


def test_a_subclass_decides_in_all_methods_at_once() -> None:
    class Busy(ScriptedApplication):
        def decide(self, question: ServerQuestion) -> Decision:
            return Fail() if question is OTHER else super().decide(question)

    application = Busy({CACertsRequested: CERTS, CSRAttrsRequested: CERTS})
    assert (application.ca_certs(QUESTION), application.csr_attrs(OTHER)) == (CERTS, Fail())
    assert application.asked == [QUESTION]


def test_what_was_asked_may_be_forgotten() -> None:
    application = ScriptedApplication({CACertsRequested: CERTS}, asked=deque(maxlen=0))
    assert application.ca_certs(QUESTION) == CERTS
    assert not application.asked


def test_one_answer_after_the_other_and_then_the_last() -> None:
    answers = in_turn(
        Pend(retry_after_s=1), lambda question: Fail(code=f"test/{question.method[:2]}"), CERTS
    )
    application = ScriptedApplication({CACertsRequested: answers})
    assert [application.ca_certs(QUESTION) for _ in range(4)] == [
        Pend(retry_after_s=1),
        Fail(code="test/ca"),
        CERTS,
        CERTS,
    ]


def test_no_answer_is_none_in_turn() -> None:
    with pytest.raises(LocalProtocolError, match="in_turn needs an answer"):
        in_turn()


def test_for_an_event_loop_the_same_is_awaited() -> None:
    script = ScriptedApplication({CACertsRequested: CERTS})
    threads: list[object] = []

    async def after(
        decide: Callable[[ServerQuestion], Decision], asked: ServerQuestion
    ) -> Decision:
        threads.append(asked)
        await asyncio.sleep(0)
        return decide(asked)

    for application in (
        AsyncScriptedApplication(script),
        AsyncScriptedApplication(script, after),
        AsyncScriptedApplication(script, asyncio.to_thread),
    ):
        assert told_apart(application)[1] is application
        assert asyncio.run(_awaited(application)) == CERTS
    assert threads == [QUESTION]
    assert script.asked == [QUESTION] * 3


async def _awaited(application: AsyncScriptedApplication) -> Decision:
    return await application.ca_certs(QUESTION)
