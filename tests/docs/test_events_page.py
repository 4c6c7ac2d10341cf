"""The page about events and decisions says which there are, and which answer is legal when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from inspect import isclass
from typing import get_args

import pytest

import est_core
from est_core import (
    CACERTS,
    CSRATTRS,
    RENEWAL_INFO,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AllowedNames,
    AllowNames,
    Authentication,
    Challenge,
    ClientEvent,
    ClientExchange,
    ClientResult,
    Counted,
    Decision,
    Deny,
    Fail,
    Instant,
    Issue,
    LocalProtocolError,
    NameRule,
    Pend,
    PolicyRow,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ProvideRenewalInfo,
    Rejected,
    Replayed,
    Request,
    ServerExchange,
    ServerPolicy,
    ServerQuestion,
    TrustClass,
    Verified,
    default_policy,
)
from tests.application import GOOD, issue
from tests.core.auth.test_digest import answer, scheme
from tests.core.cast import channel, csr_der, receive
from tests.docs.pages import DOCS
from tests.docs.tables import codes, tables, words
from tests.pki import pki

PAGE = DOCS / "reference" / "events-and-decisions.md"
QUESTIONS, DECISIONS, METHODS, EVENTS = [rows for _, rows in tables(PAGE)]


def _public(base: type) -> tuple[type, ...]:
    """The public classes of the core that are of this kind."""
    found = (getattr(est_core, name) for name in est_core.__all__)
    return tuple(
        each for each in found if isclass(each) and issubclass(each, base) and each != base
    )


KINDS_OF_QUESTIONS = _public(ServerQuestion)
KINDS_OF_DECISIONS = _public(Decision)

REQUESTS: dict[str, Callable[[], tuple[Request, TrustClass]]] = {
    "AuthenticateRequested": lambda: (
        Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD),
        TrustClass.NONE,
    ),
    "CACertsRequested": lambda: (Request(operation=CACERTS), TrustClass.NONE),
    "CSRAttrsRequested": lambda: (Request(operation=CSRATTRS), TrustClass.NONE),
    "EnrollRequested": lambda: (
        Request(operation=SIMPLEENROLL, payload=csr_der()),
        TrustClass.EXPLICIT,
    ),
    "ReenrollRequested": lambda: (
        Request(operation=SIMPLEREENROLL, payload=csr_der()),
        TrustClass.EXPLICIT,
    ),
}
"""A request that leads to each question, and how its client is trusted."""


def asked(name: str, now: Instant) -> ServerExchange:
    """An exchange whose next event is that question."""
    if name == "NamesRequested":
        row = PolicyRow(
            operation=SIMPLEENROLL, authentication=Authentication.CERT, names=NameRule.REGISTERED
        )
        request = Request(operation=SIMPLEENROLL, payload=csr_der())
        policy = ServerPolicy(rows=(row,))
        return receive(request, now, on=channel(TrustClass.EXPLICIT), policy=policy)
    if name == "RenewalInfoRequested":
        request = Request(operation=RENEWAL_INFO, item="AA.AQ")
        return receive(request, now, policy=default_policy(operations=[RENEWAL_INFO]))
    if name != "NonceUseRequested":
        request, trust = REQUESTS[name]()
        return receive(request, now, on=channel(trust))
    policy = ServerPolicy(rows=default_policy().rows, digest=scheme())
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=answer(scheme()))
    exchange = receive(request, now, policy=policy)
    exchange.next_event()
    exchange.decide(Verified(user="somebody"))
    return exchange


def decisions(exchange: ServerExchange) -> tuple[Decision, ...]:
    """One decision of each kind, the certificate for the exchange's request."""
    spki = exchange.csr.spki if exchange.csr else None
    ca = pki().ca.certificate
    return (
        Verified(user="somebody"),
        Rejected(),
        Counted(),
        Replayed(),
        ProvideCACerts(certificates=(ca,)),
        ProvideCSRAttrs(csrattrs=None),
        ProvideRenewalInfo(window=None),
        Issue(certificate=issue(spki) if spki else ca),
        Pend(retry_after_s=5),
        AllowNames(names=AllowedNames(texts=frozenset({"device-1"}))),
        Challenge(),
        Deny(code="test/denied", reason="no"),
        Postpone(retry_after_s=5),
        Fail(),
    )


def field_names(name: str) -> list[str]:
    """The fields of a public dataclass."""
    return [each.name for each in fields(getattr(est_core, name))]


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: codes(row["question"])[0])
def test_the_legal_answers_to_a_question_are_those_listed(
    row: dict[str, str], now: Instant
) -> None:
    name = codes(row["question"])[0]
    legal = []
    for number in range(len(KINDS_OF_DECISIONS)):
        exchange = asked(name, now)
        assert type(exchange.next_event()).__name__ == name
        decision = decisions(exchange)[number]
        try:
            exchange.decide(decision)
        except LocalProtocolError:
            continue
        legal.append(type(decision).__name__)
    assert legal == codes(row["legal answers"])


def test_all_questions_and_decisions_are_listed_with_their_fields() -> None:
    assert {codes(row["question"])[0]: words(row["fields"]) for row in QUESTIONS} == {
        kind.__name__: field_names(kind.__name__) for kind in KINDS_OF_QUESTIONS
    }
    assert {codes(row["decision"])[0]: words(row["fields"]) for row in DECISIONS} == {
        kind.__name__: field_names(kind.__name__) for kind in KINDS_OF_DECISIONS
    }


def test_all_events_of_a_client_are_listed_with_their_fields() -> None:
    assert {codes(row["event"])[0]: words(row["fields"]) for row in EVENTS} == {
        kind.__name__: field_names(kind.__name__) for kind in get_args(ClientEvent)
    }
    results = {codes(row["event"])[0] for row in EVENTS if not row["what to call then"]}
    assert results == {kind.__name__ for kind in get_args(ClientResult)}


def test_every_method_of_the_exchanges_is_listed() -> None:
    server = {codes(row["method"])[0].partition("(")[0] for row in METHODS}
    assert server == _methods(ServerExchange)
    client = {name for row in EVENTS for name in codes(row["what to call then"])}
    assert client | {"next_event", "provide_entropy"} == _methods(ClientExchange)


def _methods(kind: type) -> set[str]:
    return {
        name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")
    }
