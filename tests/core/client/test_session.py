"""A session asks for operations that it has no method for: those of others, without a CSR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from est_core import (
    CACERTS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    CACertsReceived,
    ClientSession,
    HttpRow,
    Label,
    LocalProtocolError,
    NotOnWire,
    Operation,
    PartRow,
    Received,
    ServerSession,
    default_policy,
)
from est_core.testing import FIXED_INSTANT, ScriptedApplication
from tests.core.cast import channel
from tests.core.client_cast import URI, Network, failed, pair, sent, session
from tests.core.echo import ECHO, HELLO, EchoRequested, Provide
from tests.pki import pki

DER = b"\x30\x03\x02\x01\x05"
POLICY = default_policy(operations=(*OPERATIONS, ECHO, HELLO), labels=("factory",))
OVER_COAP = ClientSession("coaps://est.example", identity=pki().client.certificate)
FACTS = Operation(
    name="facts",
    method="GET",
    http=HttpRow(),
    coap=NotOnWire(reason="there is no need"),
    parts=(PartRow(kind="a", content_type="a/b"),),
    authentication=Authentication.OPEN,
)


def echoing() -> ScriptedApplication:
    return ScriptedApplication({EchoRequested: lambda question: Provide(der=question.der)})


@pytest.mark.parametrize("label", [None, Label("factory")])
def test_an_operation_of_ones_own_goes_to_the_application_and_back_in_parts(
    label: Label | None,
) -> None:
    server = pair(Network(), echoing(), policy=POLICY)
    result = server.run(session(replace(URI, label=label)).ask(ECHO, DER))
    assert result == Received(operation=ECHO, value=(DER, DER))
    (message,) = server.messages
    middle = b"/factory" if label else b""
    assert message.request.target == b"/.well-known/est" + middle + b"/echo"
    assert message.request.values(b"content-type") == (b"application/echo",)
    (content_type,) = message.response.values(b"content-type")
    assert content_type.startswith(b"multipart/mixed; boundary=")
    assert message.response_body.count(b"Content-Type: application/echo\r\n") == 1


def test_an_operation_that_the_server_has_not_fails_as_any_other() -> None:
    result = failed(pair(Network(), echoing()).run(session().ask(ECHO, DER)))
    assert result.code == "response/status-404"
    assert result.message == "'echo' is no operation here"


def test_what_has_a_method_of_its_own_can_be_asked_for_too() -> None:
    assert isinstance(pair(Network()).run(session().ask(CACERTS)), CACertsReceived)


def test_over_coap_it_is_asked_for_as_well() -> None:
    asked = OVER_COAP.ask(HELLO)
    assert asked.operation is HELLO
    assert sent(session().ask(ECHO, DER)).request.payload == DER


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: session().ask(SIMPLEENROLL, DER), "simpleenroll takes a CSR"),
        (lambda: session().ask(SIMPLEREENROLL), "simplereenroll takes a CSR"),
        (lambda: session().ask(CACERTS, DER), "cacerts: a POST has a payload, and a GET none"),
        (lambda: session().ask(ECHO), "echo: a POST has a payload, and a GET none"),
        (lambda: session().ask(HELLO), "hello is not on the wire of https"),
        (lambda: OVER_COAP.ask(ECHO, DER), "echo is not on the wire of coaps"),
        (lambda: session().ask(FACTS), "facts is not defined, it has facts only"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_there_is_an_exchange(
    ask: Callable[[], object], says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        ask()


def test_a_server_does_not_take_a_request_for_facts_alone() -> None:
    from est_core import Request

    policy = default_policy(operations=(*OPERATIONS, FACTS))
    with pytest.raises(LocalProtocolError, match="facts is not defined, it has facts only"):
        ServerSession(policy=policy, channel=channel()).receive_request(
            Request(operation=FACTS), FIXED_INSTANT
        )
