"""Policies: which row wins, and which policies contradict themselves."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    CoapAnswer,
    CoapRow,
    ForeignChallenge,
    HttpRow,
    Label,
    LocalProtocolError,
    NotOnWire,
    Operation,
    PartRow,
    PolicyRow,
    ServerPolicy,
    TrustClass,
    default_policy,
)
from est_core.codec.authheader import basic_challenge
from est_core.policy import with_datagram_rows
from tests.registration import ras
from tests.steps import steps

PRINTERS, CAMERAS = Label("printers"), Label("cameras")
LABELS = frozenset({PRINTERS, CAMERAS})
BASIC = basic_challenge("est")


def row(
    label: Label | None = None,
    *,
    datagram: bool | None = None,
    operation: Operation = CACERTS,
    authentication: Authentication = Authentication.OPEN,
) -> PolicyRow:
    return PolicyRow(
        operation=operation, authentication=authentication, label=label, datagram=datagram
    )


# From the one that fits best to the one that fits worst, for a labelled datagram request.
LADDER = (
    row(PRINTERS, datagram=True),
    row(PRINTERS),
    row(datagram=True),
    row(),
)


@pytest.mark.req("EST-004", "EST-006")
@pytest.mark.parametrize("kept", range(1, 5))
def test_the_row_that_fits_best_wins_in_any_order(kept: int) -> None:
    for rows in combinations(LADDER, kept):
        for policy in (
            ServerPolicy(rows=rows, labels=LABELS),
            ServerPolicy(rows=rows[::-1], labels=LABELS),
        ):
            assert policy.row(CACERTS, PRINTERS, datagram=True) == rows[0]
            fitting = [found for found in rows if found.datagram is None]
            best = next(iter(fitting), None)
            assert policy.row(CACERTS, PRINTERS) == best
            fitting = [found for found in rows if found.label is None]
            assert policy.row(CACERTS, CAMERAS, datagram=True) == next(iter(fitting), None)
            assert policy.row(CACERTS, None, datagram=True) == next(iter(fitting), None)


def test_a_thousand_labels_with_rules_of_their_own_cost_no_more_than_ten() -> None:
    def cost(number: int) -> int:
        labels = [Label(f"label-{each}") for each in range(number)]
        policy = ServerPolicy(
            rows=tuple(row(label, operation=each) for label in labels for each in OPERATIONS),
            labels=frozenset(labels),
        )
        assert policy.row(CACERTS, labels[-1]) == row(labels[-1])
        return steps(lambda: policy.row(CACERTS, labels[-1]))

    assert cost(1000) == cost(10)


def test_the_index_of_a_policy_is_no_part_of_its_value() -> None:
    policy = ServerPolicy(rows=(row(),), labels=LABELS)
    assert policy == ServerPolicy(rows=(row(),), labels=LABELS)
    assert hash(policy) == hash(ServerPolicy(rows=(row(),), labels=LABELS))
    assert "_by_key" not in repr(policy)
    changed = replace(policy, rows=(row(PRINTERS),))
    assert changed.row(CACERTS, PRINTERS) is not None
    assert changed.row(CACERTS, None) is None


def test_a_row_for_datagrams_or_for_streams_is_for_nothing_else() -> None:
    for datagram in (True, False):
        policy = ServerPolicy(rows=(row(datagram=datagram),))
        assert policy.row(CACERTS, None, datagram=datagram) is not None
        assert policy.row(CACERTS, None, datagram=not datagram) is None


@pytest.mark.req("EST-003", "EST-008")
def test_what_has_no_row_or_no_such_label_is_not_offered() -> None:
    policy = ServerPolicy(rows=(row(),), labels=frozenset({PRINTERS}))
    assert policy.row(CSRATTRS, None) is None
    assert policy.row(CACERTS, CAMERAS) is None
    assert policy.row(CACERTS, Label("Printers")) is None
    assert policy.row(CACERTS, PRINTERS) is not None


@pytest.mark.parametrize("repeated", LADDER)
def test_two_rows_with_one_key_are_refused(repeated: PolicyRow) -> None:
    other = row(repeated.label, datagram=repeated.datagram, authentication=Authentication.CERT)
    with pytest.raises(LocalProtocolError):
        ServerPolicy(rows=(*LADDER, other), labels=LABELS)


def test_a_row_for_a_label_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        ServerPolicy(rows=(row(PRINTERS),), labels=frozenset({CAMERAS}))


@pytest.mark.req("EST-279")
@pytest.mark.parametrize("mode", list(Authentication))
def test_http_authentication_cannot_be_required_without_a_challenge(mode: Authentication) -> None:
    rows = (row(authentication=mode),)
    ServerPolicy(rows=rows, challenges=(BASIC,))
    if mode in (Authentication.HTTP, Authentication.CERT_AND_HTTP):
        with pytest.raises(LocalProtocolError):
            ServerPolicy(rows=rows)
    else:
        ServerPolicy(rows=rows)


@pytest.mark.req("EST-063")
@pytest.mark.parametrize("trust", [TrustClass.FAILED, TrustClass.NONE])
def test_a_certificate_that_was_not_verified_can_never_count(trust: TrustClass) -> None:
    with pytest.raises(LocalProtocolError):
        PolicyRow(
            operation=CACERTS,
            authentication=Authentication.CERT,
            certificate_trust=frozenset({TrustClass.EXPLICIT, trust}),
        )


def of_ones_own(
    name: str = "ping", *, short_path: str | None = "pg", on_http: bool = True
) -> Operation:
    """An operation that is not of RFC 7030."""
    nowhere = NotOnWire(reason="for a test")
    answers = (CoapAnswer(number=65000),)
    return Operation(
        name=name,
        method="GET",
        http=HttpRow() if on_http else nowhere,
        coap=CoapRow(short_path=short_path, answers=answers) if short_path else nowhere,
        parts=(PartRow(kind="pong", content_type="application/pong"),),
        authentication=Authentication.OPEN,
    )


@pytest.mark.parametrize(
    ("other", "place"),
    [
        (of_ones_own("cacerts", short_path=None), "/.well-known/est/cacerts"),
        (of_ones_own(short_path="crts"), "/.well-known/est/crts"),
        (of_ones_own(short_path="cacerts"), "/.well-known/est/cacerts"),
        (of_ones_own("crts", on_http=False), "/.well-known/est/crts"),
    ],
)
def test_two_operations_in_one_place_are_refused(other: Operation, place: str) -> None:
    for rows in ((row(), row(operation=other)), (row(operation=other), row())):
        with pytest.raises(LocalProtocolError, match=f"two operations at {place}$"):
            ServerPolicy(rows=rows)
    assert ServerPolicy(rows=(row(operation=other),)).operations == (other,)


@pytest.mark.parametrize("datagram", [True, False])
def test_a_row_for_a_wire_that_its_operation_is_not_on_is_refused(datagram: bool) -> None:
    other = of_ones_own(short_path=None if datagram else "pg", on_http=datagram)
    wire = "CoAP" if datagram else "HTTP"
    with pytest.raises(LocalProtocolError, match=f"ping has a row for {wire}, and no place there"):
        ServerPolicy(rows=(row(operation=other, datagram=datagram),))
    anywhere = ServerPolicy(rows=with_datagram_rows((row(operation=other),)))
    assert anywhere.row(other, None, datagram=datagram) is None
    assert anywhere.row(other, None, datagram=not datagram) is not None


def test_a_label_is_not_the_name_of_an_operation_that_is_offered() -> None:
    labels = frozenset({Label("ping")})
    with pytest.raises(LocalProtocolError, match="label ping is the name of an operation"):
        ServerPolicy(rows=(row(operation=of_ones_own()),), labels=labels)
    ServerPolicy(rows=(row(),), labels=labels)


# The default


@pytest.mark.req("EST-002")
def test_the_default_offers_every_operation_as_its_table_says() -> None:
    policy = default_policy()
    for operation in OPERATIONS:
        found = policy.row(operation, None)
        assert found is not None
        assert found.authentication is operation.authentication
        assert found.certificate_trust == operation.certificate_trust
        assert not found.require_pop
        assert not found.registration_authorities
    assert policy.challenges == (BASIC,)


@pytest.mark.req("EST-087", "EST-113", "EST-135", "EST-236")
def test_by_default_only_certificates_and_attributes_are_for_everybody() -> None:
    policy = default_policy()
    rows = {operation.name: policy.row(operation, None) for operation in OPERATIONS}
    assert {name: row and row.authentication for name, row in rows.items()} == {
        "cacerts": Authentication.OPEN,
        "csrattrs": Authentication.OPEN,
        "simpleenroll": Authentication.CERT_OR_HTTP,
        "simplereenroll": Authentication.CERT,
    }


@pytest.mark.req("EST-170", "CB-010")
def test_the_default_refuses_challenges_that_are_not_the_binding() -> None:
    assert default_policy().foreign_challenge is ForeignChallenge.REFUSE


@pytest.mark.req("EST-168")
def test_linking_is_required_of_enrollments_alone() -> None:
    policy = default_policy(require_pop=True)
    required = {found.operation for found in policy.rows if found.require_pop}
    assert required == {SIMPLEENROLL, SIMPLEREENROLL}


@pytest.mark.req("EST-035")
def test_without_a_realm_no_http_authentication_is_offered() -> None:
    assert default_policy(realm=None).challenges == ()


@pytest.mark.req("EST-006", "EST-004")
def test_the_default_serves_its_labels_and_the_path_without_one_alike() -> None:
    policy = default_policy(labels=LABELS)
    for operation in OPERATIONS:
        assert policy.row(operation, PRINTERS) == policy.row(operation, None) is not None


# Datagrams


@pytest.mark.req("COAPS-017", "COAPS-020")
@pytest.mark.parametrize(
    "anywhere, datagrams",
    [
        (Authentication.OPEN, Authentication.CERT),
        (Authentication.CERT_OR_HTTP, Authentication.CERT),
        (Authentication.CERT, Authentication.CERT),
        (Authentication.HTTP, Authentication.CERT_AND_HTTP),
        (Authentication.CERT_AND_HTTP, Authentication.CERT_AND_HTTP),
    ],
)
def test_over_datagrams_a_certificate_takes_the_place_of_nothing_and_of_a_password(
    anywhere: Authentication, datagrams: Authentication
) -> None:
    rules = PolicyRow(
        operation=SIMPLEENROLL,
        authentication=anywhere,
        label=PRINTERS,
        certificate_trust=frozenset({TrustClass.IMPLICIT}),
        require_pop=True,
        registration_authorities=ras("ra"),
    )
    first, twin = with_datagram_rows((rules,))
    assert first == rules
    assert twin == replace(rules, datagram=True, authentication=datagrams)


def test_a_row_for_one_kind_of_wire_stays_as_it_is() -> None:
    streams, datagrams = row(datagram=False), row(datagram=True)
    assert with_datagram_rows((streams, datagrams)) == (streams, datagrams)
    assert with_datagram_rows((row(), datagrams)) == (row(), datagrams)
    both = with_datagram_rows((row(), row(PRINTERS, datagram=True)))
    assert [(each.label, each.datagram) for each in both] == [
        (None, None),
        (PRINTERS, True),
        (None, True),
    ]


@pytest.mark.req("COAPS-017")
def test_the_default_is_open_to_nobody_over_datagrams() -> None:
    policy = default_policy()
    for operation in OPERATIONS:
        found = policy.row(operation, None, datagram=True)
        assert found is not None
        assert found.authentication is Authentication.CERT
        assert found.certificate_trust == operation.certificate_trust
