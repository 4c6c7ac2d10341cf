"""The words all wires share: labels, the table of operations, requests and responses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    BasicCredentials,
    Fault,
    Label,
    LocalProtocolError,
    Operation,
    Outcome,
    Part,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    Success,
    TrustClass,
)
from est_core.model import shown_text
from tests.answers import response_of
from tests.damage import damaged_text
from tests.reached import reaches, refusals

PART = Part(kind="certs-only", content=b"\x30\x00")
CLASSES: set[Any] = set(get_args(Response))


def names_of(kind: Any) -> set[str]:
    """The names of what the class of a response has."""
    return {each.name for each in fields(kind)}


# Labels

OPERATION_SEGMENTS = (
    *("cacerts", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen", "csrattrs"),
)
EXTENSION_SEGMENTS = (
    *("renewal-info", "crts", "sen", "sren", "att", "skg", "skc", "requestvoucher"),
    *("voucher_status", "enrollstatus", "requestauditlog", "pal", "eecerts", "crls"),
    *("symmetrickeys", "firmware", "tamp"),
)
IMPOSSIBLE = ("", ".", "..", "a/b", "a b", "ä", "a%62", "a\0", "a?", "a#", "a" * 129)


@pytest.mark.req("EST-004", "EST-008")
@pytest.mark.parametrize(
    "text", ["printers", "a", "CACERTS", "v1.2", "...", "a" * 128, "-._~!$&'()*+,;=:@"]
)
def test_a_label_is_one_path_segment_and_keeps_its_case(text: str) -> None:
    assert str(Label(text)) == text
    assert Label.from_untrusted(text) == Label(text)


@pytest.mark.req("EST-005", "EST-007", "EST-008")
@pytest.mark.parametrize("text", [*OPERATION_SEGMENTS, *EXTENSION_SEGMENTS, *IMPOSSIBLE])
def test_a_label_is_no_operation_and_nothing_a_segment_cannot_be(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        Label(text)
    with pytest.raises(RemoteProtocolError) as refusal:
        Label.from_untrusted(text)
    assert (refusal.value.code, refusal.value.fault) == ("path/label", Fault.NOT_FOUND)


@reaches(accepted=15)
@given(text=damaged_text(["printers", "v1.2", "-._~!$&'()*+,;=:@"], "ab./%ä é\0?#*"))
def test_only_remote_protocol_error_escapes_from_a_peers_label(text: str) -> None:
    with refusals():
        assert Label.from_untrusted(text).text == text


def test_of_text_that_is_shown_no_more_is_looked_at_than_twice_what_fits() -> None:
    assert shown_text(" " * 7 + "seen", 8) == "seen"
    assert shown_text(" " * 16 + "not seen", 8) == ""


# Operations


@pytest.mark.req("EST-002", "EST-001", "EST-010")
def test_the_table_says_how_each_operation_is_asked_for() -> None:
    assert {
        operation.name: (operation.method, operation.http_row.request_type)
        for operation in OPERATIONS
    } == {
        "cacerts": ("GET", None),
        "csrattrs": ("GET", None),
        "simpleenroll": ("POST", "application/pkcs10"),
        "simplereenroll": ("POST", "application/pkcs10"),
    }


@pytest.mark.req("EST-137", "EST-239")
def test_only_enrollments_can_be_pending_and_only_csrattrs_can_be_missing() -> None:
    pending = {operation for operation in OPERATIONS if has(operation, Outcome.PENDING)}
    missing = {operation for operation in OPERATIONS if has(operation, Outcome.NOT_AVAILABLE)}
    assert pending == {SIMPLEENROLL, SIMPLEREENROLL}
    assert missing == {CSRATTRS}


def has(operation: Operation, outcome: Outcome) -> bool:
    return outcome in operation.outcomes


@pytest.mark.req("EST-158", "EST-063")
def test_a_renewal_takes_only_a_certificate_of_the_own_ca() -> None:
    row = SIMPLEREENROLL
    assert row.certificate_trust == {TrustClass.EXPLICIT}


def test_no_failed_certificate_counts_anywhere() -> None:
    for row in OPERATIONS:
        assert not row.certificate_trust & {TrustClass.FAILED, TrustClass.NONE}


# Requests and responses


@pytest.mark.req("EST-297")
def test_a_request_does_not_show_its_credentials() -> None:
    request = Request(
        operation=CACERTS, credentials=BasicCredentials(user="estuser", password="hunter2")
    )
    assert "hunter2" not in repr(request)


def test_a_success_has_parts_and_nothing_else_has() -> None:
    Success(operation=CACERTS, parts=(PART,))
    with pytest.raises(LocalProtocolError):
        Success(operation=CACERTS, parts=())
    with pytest.raises(TypeError):
        Success(operation=CACERTS)  # type: ignore[call-arg]
    for kind in CLASSES - {Success}:
        assert "parts" not in names_of(kind)


def test_a_refusal_has_a_fault_and_nothing_else_has() -> None:
    Refused(operation=CACERTS, fault=Fault.FORBIDDEN)
    with pytest.raises(TypeError):
        Refused(operation=CACERTS)  # type: ignore[call-arg]
    for kind in CLASSES - {Refused}:
        assert "fault" not in names_of(kind)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_refusal_may_belong_to_no_operation(outcome: Outcome) -> None:
    nothing: Any = None
    if outcome in (Outcome.DENIED, Outcome.FAULT):
        assert response_of(outcome, nothing).operation is None
    else:
        with pytest.raises(LocalProtocolError, match="operation must be an Operation, not None"):
            response_of(outcome, nothing, parts=(PART,))


def test_each_outcome_belongs_to_one_class_of_response() -> None:
    found = {outcome: type(response_of(outcome, CACERTS, parts=(PART,))) for outcome in Outcome}
    assert set(found.values()) == CLASSES
    for outcome in Outcome:
        assert response_of(outcome, CACERTS, parts=(PART,)).outcome is outcome


@pytest.mark.parametrize("fault", list(Fault))
def test_a_peers_mistake_becomes_an_answer_with_its_code(fault: Fault) -> None:
    error = RemoteProtocolError("area/reason", "in short", fault)
    response = Refused.of_error(error, CACERTS)
    assert response.outcome is (Outcome.DENIED if fault is Fault.FORBIDDEN else Outcome.FAULT)
    assert (response.fault, response.code, response.reason) == (fault, "area/reason", "in short")
