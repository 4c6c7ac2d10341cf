"""An operation takes the decisions that answer its questions, and refuses others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from est_core import (
    OPERATIONS,
    RENEWAL_INFO,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Asking,
    Authentication,
    CACertsRequested,
    ClientIdentity,
    Fail,
    HttpRow,
    Inquiry,
    Issue,
    Limits,
    LocalProtocolError,
    NotOnWire,
    OperationDefinition,
    PolicyRow,
    Reading,
    Request,
    ServerQuestion,
    Verified,
    default_policy,
)
from est_core.asn1.cms import write_certs_only
from est_core.checks.pop import BindingUse
from est_core.decisions import Decision
from tests.core.cast import channel
from tests.core.echo import ECHO, EchoRequested
from tests.pki import pki

ELSEWHERE = Inquiry(
    question=CACertsRequested(label=None, channel=channel(), identity=ClientIdentity())
)

NOWHERE = NotOnWire(reason="it is a trial")


def asking(operation: OperationDefinition) -> Asking:
    return Asking(
        request=Request(operation=operation),
        payload=b"",
        identity=ClientIdentity(),
        channel=channel(),
        row=PolicyRow(operation=operation, authentication=Authentication.OPEN),
        policy=default_policy(),
        limits=Limits(),
        binding_use=BindingUse(),
    )


@pytest.mark.parametrize("operation", [*OPERATIONS, RENEWAL_INFO], ids=str)
@pytest.mark.parametrize("decision", [Fail(), Verified(user="u")], ids=repr)
def test_a_decision_that_answers_no_question_of_its_own_is_refused(
    operation: OperationDefinition, decision: Decision
) -> None:
    with pytest.raises(LocalProtocolError):
        operation.answer(asking(operation), ELSEWHERE, decision)


@pytest.mark.parametrize("operation", [SIMPLEENROLL, SIMPLEREENROLL], ids=str)
def test_a_certificate_is_issued_for_a_request_only(operation: OperationDefinition) -> None:
    certificate = pki().ca.certificate
    with pytest.raises(LocalProtocolError, match="no CSR"):
        operation.answer(asking(operation), ELSEWHERE, Issue(certificate=certificate))
    answer = operation.success(write_certs_only([certificate]))
    reading = Reading(response=answer, now=datetime(2026, 1, 1, tzinfo=UTC), limits=Limits())
    with pytest.raises(LocalProtocolError, match="without a CSR"):
        operation.read(reading)


@pytest.mark.parametrize("operation", [*OPERATIONS, RENEWAL_INFO], ids=str)
def test_an_answer_has_as_many_parts_as_the_operation(operation: OperationDefinition) -> None:
    with pytest.raises(LocalProtocolError, match="1 parts"):
        operation.success(b"0\0", b"0\0")


def with_questions(*questions: type[ServerQuestion]) -> OperationDefinition:
    kind = type("Kind", (type(ECHO),), {"questions": questions})
    made: OperationDefinition = kind(
        name="asked",
        method="GET",
        http=HttpRow(),
        coap=NOWHERE,
        parts=ECHO.parts,
        authentication=Authentication.OPEN,
    )
    return made


class Unanswerable(ServerQuestion):
    method = "unanswerable"


class Nameless(ServerQuestion):
    answers = frozenset({Issue})


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        ((), "operation 'asked': its class has no questions"),
        ((EchoRequested, Unanswerable), "Unanswerable has no method, or no answers"),
        ((Nameless,), "Nameless has no method, or no answers"),
    ],
)
def test_a_definition_whose_questions_nobody_can_answer_is_refused_where_it_is_made(
    questions: tuple[type[ServerQuestion], ...], says: str
) -> None:
    assert with_questions(EchoRequested).methods == ("echo",)
    with pytest.raises(LocalProtocolError, match=says):
        with_questions(*questions)
