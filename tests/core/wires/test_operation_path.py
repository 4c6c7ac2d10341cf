"""Which part of a refused path is wrong, alike on both wires and in the URL of the command."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    CoapAnswer,
    CoapRow,
    EstUri,
    Label,
    Limits,
    LocalProtocolError,
    Response,
    coapmap,
    default_policy,
    httpmap,
)
from est_core.wires.operation_path import NAMES, not_offered
from tests.judged import coap_refusal, http_refusal

USUAL = default_policy(labels=frozenset({Label("lab")}))
POLICY = replace(USUAL, rows=tuple(row for row in USUAL.rows if row.operation is not CSRATTRS))
BELOW = ".well-known/est"
HI = CoapRow(short_path="hi", answers=(CoapAnswer(number=65000),))


def refused(path: str) -> tuple[str, str]:
    """Code and text of the refusal, which is the same over HTTP and CoAP."""
    http = http_refusal(
        httpmap.RequestHead(method=b"GET", target=f"/{path}".encode()),
        policy=POLICY,
        limits=Limits(),
    )
    coap = coap_refusal(
        coapmap.RequestHead(code=coapmap.Code.GET, path=tuple(path.split("/"))),
        policy=POLICY,
        limits=Limits(),
    )
    assert http is not None
    assert coap is not None
    assert (coap.code, coap.reason) == (http.code, http.reason)
    return http.code, http.reason


@pytest.mark.parametrize(
    "path, code, reason",
    [
        (f"{BELOW}/lab/cacerts/", "path/unknown", "the path ends in a slash"),
        (f"{BELOW}/lab//cacerts", "path/unknown", "the path has an empty segment"),
        (
            f"{BELOW}/a/b/cacerts",
            "path/unknown",
            "a label is one segment of the path, and 'a/b' is 2",
        ),
        (BELOW, "path/unknown", "the path ends where an operation belongs"),
        (f"{BELOW}/", "path/operation", "the path ends in a slash"),
        (f"{BELOW}/cacerts/", "path/operation", "the path ends in a slash"),
        (f"{BELOW}/CACERTS", "path/operation", "'CACERTS' is no operation here"),
        (f"{BELOW}/lab/nothing\x07", "path/operation", "'nothing' is no operation here"),
        (f"{BELOW}//cacerts", "path/label", "a label has 1 to 128 characters"),
        (f"{BELOW}/cacerts/cacerts", "path/label", "'cacerts' is the name of an operation"),
        (
            f"{BELOW}/a b/cacerts",
            "path/label",
            "a label is one URI path segment of unreserved characters",
        ),
        (f"{BELOW}/x/cacerts", "path/not-offered", "there is no label 'x' here"),
        (f"{BELOW}/lab/csrattrs", "path/not-offered", "'csrattrs' is not offered here"),
    ],
)
def test_the_part_that_is_wrong_is_named(path: str, code: str, reason: str) -> None:
    assert refused(path) == (code, reason)


def test_another_root_is_named_with_those_of_the_wire() -> None:
    head = httpmap.RequestHead(method=b"GET", target=b"/est/cacerts")
    refusal = http_refusal(head, policy=POLICY, limits=Limits())
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (
        "path/unknown",
        "the path does not begin with /.well-known/est",
    )
    other = coapmap.RequestHead(code=coapmap.Code.GET, path=("pki", "crts"))
    refusal = coap_refusal(other, policy=POLICY, limits=Limits())
    assert refusal is not None
    assert refusal.reason == "the path does not begin with /.well-known/est or /est"


def test_a_root_may_begin_as_that_of_est_does_or_be_its_short_one() -> None:
    roots = {"near": (".well-known",), "far": (".well-known", "est", "lab"), "short": ("est",)}
    own = [replace(CACERTS, name=name, root=root, coap=HI) for name, root in roots.items()]
    policy = default_policy(operations=(*own, *OPERATIONS), labels=("lab",))
    paths = {
        ".well-known/near": ("near", None),
        ".well-known/lab/near": ("near", "lab"),
        ".well-known/est/lab/far": ("far", None),
        ".well-known/est/lab/lab/far": ("far", "lab"),
        "est/lab/short": ("short", "lab"),
        ".well-known/est/cacerts": ("cacerts", None),
        ".well-known/est/lab/cacerts": ("cacerts", "lab"),
        "est/lab/cacerts": ("cacerts", "lab"),
    }
    for path, (name, label) in paths.items():
        segments = tuple(path.split("/"))
        coap = coapmap.RequestHead(code=coapmap.Code.GET, path=segments)
        found: list[Any] = [coapmap.check_head(coap, policy=policy, limits=Limits())]
        if path != "est/lab/cacerts":  # a name of the root that HTTP has not
            http = httpmap.RequestHead(method=b"GET", target=f"/{path}".encode())
            found.append(httpmap.check_head(http, policy=policy, limits=Limits()))
        for each in found:
            assert not isinstance(each, Response), path
            assert (each.operation.name, each.label) == (name, label and Label(label))


@pytest.mark.parametrize("name", ["skg", "skc", "serverkeygen"])
@pytest.mark.parametrize("label", ["lab", "nope", "%"])
def test_over_coap_an_operation_that_no_server_has_is_named_before_its_label(
    name: str, label: str
) -> None:
    head = coapmap.RequestHead(code=coapmap.Code.GET, path=(*BELOW.split("/"), label, name))
    refusal = coap_refusal(head, policy=POLICY, limits=Limits())
    assert refusal is not None
    assert (refusal.code, refusal.reason) == ("path/not-offered", f"'{name}' is not offered here")


def test_a_server_without_one_of_the_operations_that_are_here_says_that_it_is_not_offered() -> None:
    assert {each.name: each.coap_row.short_path for each in OPERATIONS} == NAMES


def test_an_operation_that_is_not_offered_is_named_and_not_a_label_that_is_none() -> None:
    assert not_offered("crts", labels=(Label("lab"),)).message == "'crts' is not offered here"


@pytest.mark.parametrize(
    "path, message",
    [
        ("a/cacerts/b", "a label is one segment of the path, and 'a/cacerts/b' is 3"),
        (f"{'a' * 70}/b", f"a label is one segment of the path, and '{'a' * 64}' is 2"),
        ("a/b", "a label is one segment of the path, and 'a/b' is 2"),
        (".well-known/est/a/b", "a label is one segment of the path, and 'a/b' is 2"),
        (".well-known/est/lab/cacerts", "the path ends with the label: leave /cacerts out"),
        ("lab/simpleenroll/", "the path ends with the label: leave /simpleenroll out"),
        ("cacerts", "'cacerts' is the name of an operation"),
        (".well-known", "the path of EST begins with /.well-known/est"),
        (".well-known/x", "the path of EST begins with /.well-known/est"),
        ("/lab", "the path has an empty segment"),
        (".well-known//est", "the path has an empty segment"),
    ],
)
def test_a_url_of_the_command_is_refused_with_the_part_that_is_wrong(
    path: str, message: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        EstUri.parse(f"https://est.example/{path}")
    assert caught.value.message == message
