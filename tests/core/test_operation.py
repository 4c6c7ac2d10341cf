"""An operation's facts: those that do not fit together are refused where they are written."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy
from typing import Any

import pytest

from est_core import (
    OPERATIONS,
    Authentication,
    CoapAnswer,
    CoapRow,
    HttpRow,
    LocalProtocolError,
    NotOnWire,
    Operation,
    Outcome,
    PartRow,
)
from est_core.asn1.kinds import Kind

ANSWER = CoapAnswer(number=65000)
PART = PartRow(kind="pong", content_type="application/pong")
PLAIN = PartRow(kind="plain", content_type="text/plain", is_plain=True)
NOWHERE = NotOnWire(reason="nobody wants it there")


def operation(**changes: Any) -> Operation:
    """A GET that fits, with these facts in the place of its own."""
    facts: dict[str, Any] = {
        "name": "ping",
        "method": "GET",
        "http": HttpRow(),
        "coap": CoapRow(short_path="pg", answers=(ANSWER,)),
        "parts": (PART,),
        "authentication": Authentication.OPEN,
    }
    return Operation(**{**facts, **changes})


def posted(**changes: Any) -> Operation:
    """The same as a POST."""
    facts: dict[str, Any] = {
        "method": "POST",
        "http": HttpRow(request_type="application/ping"),
        "coap": CoapRow(short_path="pg", request_format=65001, answers=(ANSWER,)),
    }
    return operation(**{**facts, **changes})


NO_SEGMENTS = ("", ".", "..", "a/b", "a b", "a%62", "ä", "a?", "a#", "a\r\n")
NO_FORMATS = (-1, 65536)
NO_TYPES = ("", "application", "application/", "a b/c", "a/b\r\nX: y", "a/b;c", 'a/b; c="\xe4"')


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *(({"name": text}, "name is one URI path segment") for text in NO_SEGMENTS),
        *(({"root": ("a", text)}, "a segment of root is one URI") for text in NO_SEGMENTS),
        ({"root": ()}, "root has at least one segment"),
        *(({"method": method}, "method is one of GET, POST") for method in ("PUT", "get", "")),
        ({"parts": ()}, "at least one part"),
        ({"http": NOWHERE, "coap": NOWHERE}, "no place on any wire"),
        ({"http": HttpRow(request_type="a/b")}, "http: a POST has a body"),
        (
            {"coap": CoapRow(short_path="pg", request_format=0, answers=(ANSWER,))},
            "coap: a POST has a body",
        ),
        ({"method": "POST", "coap": NOWHERE}, "http: a POST has a body"),
        ({"method": "POST", "http": NOWHERE}, "coap: a POST has a body"),
        ({"is_enrollment": True}, "a CSR goes into the body of a POST"),
        ({"parts": (PART, PART)}, "coap: an answer of several parts"),
        ({"parts": (PART, PLAIN), "coap": NOWHERE}, "a plain part stands alone"),
        *(({"item_chars": count}, "item_chars is 0 to 255") for count in (-1, 256)),
    ],
)
def test_facts_that_do_not_fit_together_are_refused_with_the_operations_name(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says) as refusal:
        operation(**changes)
    assert refusal.value.message.startswith(f"operation {changes.get('name', 'ping')!r}: ")


def test_what_is_refused_above_is_taken_where_it_fits() -> None:
    assert operation(root=("a", "b")).root == ("a", "b")
    assert posted(is_enrollment=True).has_body
    assert posted(coap=NOWHERE).http_row.request_type == "application/ping"
    assert posted(http=NOWHERE).coap_row.request_format == 65001
    assert len(operation(parts=(PART, PART), coap=NOWHERE).parts) == 2


@pytest.mark.parametrize(
    ("row", "facts", "says"),
    [
        *((CoapAnswer, {"number": number}, "a Content-Format is") for number in NO_FORMATS),
        *(
            (CoapRow, {"short_path": "a", "answers": (ANSWER,), "request_format": number}, "from 0")
            for number in NO_FORMATS
        ),
        *(
            (CoapRow, {"short_path": text, "answers": (ANSWER,)}, "short_path is one URI")
            for text in NO_SEGMENTS
        ),
        (CoapRow, {"short_path": "a", "answers": ()}, "an answer has a Content-Format"),
        *((PartRow, {"kind": "a", "content_type": text}, "no media type") for text in NO_TYPES),
        *(
            (PartRow, {"kind": "a", "content_type": "a/b", "is_plain": True, **more}, "no base64")
            for more in ({"is_folded": True}, {"wanted": Kind.REQUEST})
        ),
        *((HttpRow, {"request_type": text}, "no media type") for text in NO_TYPES),
    ],
)
def test_a_row_that_does_not_fit_fails_where_it_is_written(
    row: type, facts: dict[str, Any], says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        row(**facts)


def test_an_item_is_one_segment_behind_the_operation() -> None:
    about = operation(item_chars=3)
    assert about.http_path(None, "a.b") == "/.well-known/est/ping/a.b"
    assert about.http_path("lab", "x") == "/.well-known/est/lab/ping/x"
    for wrong in ("", "abcd", "a/b", "..", "%41", "ä"):
        with pytest.raises(LocalProtocolError, match="stands behind ping"):
            about.http_path(None, wrong)
    with pytest.raises(LocalProtocolError, match="nothing stands behind ping"):
        operation().http_path(None, "x")


def test_the_numbers_at_both_ends_are_content_formats() -> None:
    answers = (CoapAnswer(number=0), CoapAnswer(number=65535))
    row = CoapRow(short_path="a", request_format=65535, answers=answers)
    assert row.answer_formats == (0, 65535)


def test_an_operation_has_no_place_where_it_is_said_to_have_none() -> None:
    on_http, on_coap = operation(coap=NOWHERE), operation(http=NOWHERE)
    assert [each.is_on(datagram=False) for each in (on_http, on_coap)] == [True, False]
    assert [each.is_on(datagram=True) for each in (on_http, on_coap)] == [False, True]
    with pytest.raises(LocalProtocolError, match="ping is not on CoAP: nobody wants it there"):
        _ = on_http.coap_row
    with pytest.raises(LocalProtocolError, match="ping is not on HTTP: nobody wants it there"):
        _ = on_coap.http_row


def test_every_operation_may_succeed_ask_for_a_password_refuse_and_fail() -> None:
    always = {Outcome.OK, Outcome.CHALLENGE, Outcome.DENIED, Outcome.FAULT}
    assert operation().outcomes == always
    assert operation(outcomes=frozenset({Outcome.PENDING})).outcomes == {*always, Outcome.PENDING}


def test_two_operations_with_the_same_facts_are_two() -> None:
    assert operation() != operation()


@pytest.mark.parametrize("each", [*OPERATIONS, operation()], ids=str)
def test_a_copy_of_an_operation_is_the_operation_and_it_cannot_be_sent(each: Operation) -> None:
    assert copy(each) is each
    assert deepcopy({"rows": [each]})["rows"][0] is each
    with pytest.raises(TypeError, match="send its name"):
        pickle.dumps(each)
