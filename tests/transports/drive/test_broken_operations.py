"""An operation of somebody's own that breaks costs its client a 500, and nobody else anything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from est_core import (
    CACERTS,
    OPERATIONS,
    Asking,
    Authentication,
    CoapAnswer,
    CoapRow,
    Decision,
    Fault,
    HttpRow,
    Inquiry,
    OperationDefinition,
    Pending,
    Redirected,
    Refused,
    Response,
    ServerQuestion,
    Success,
    default_policy,
)
from est_core.model import Part
from est_core.wires.coapmap import Code
from tests.application import FakeApplication
from tests.core.echo import PART, EchoDefinition, EchoRequested, Provide
from tests.transports.coap_site import CRTS, Site
from tests.transports.http.test_server import Driver
from tests.transports.https_site import service

GET = b"GET /.well-known/est/broken HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = replace(CRTS, path=(*CRTS.path[:-1], "bk"))
FAILED = [(500, "server/internal")]


def echoing() -> FakeApplication:
    """Return an application with the method of the operation."""
    return FakeApplication({EchoRequested: Provide(der=b"\x30\x00")})


class Unanswerable(ServerQuestion):
    """A question whose author has forgotten to say what answers it."""

    method = "echo"


class Broken(EchoDefinition):
    """Does one thing otherwise than it should."""

    __slots__ = ()

    def examine(self, asking: Asking) -> Inquiry:
        """Ask."""
        return self._instead("examine", asking) or super().examine(asking)

    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Response:
        """Answer."""
        return self._instead("answer", asking) or super().answer(asking, inquiry, decision)

    def _instead(self, where: str, asking: Asking) -> Any:
        at, breaks = BREAKAGES.get(self.parts[0].kind, ("", raises))
        return breaks(self, asking) if at == where else None


def raises(*_: object) -> Any:
    raise ValueError("broken")


PARTS = (Part(kind="certs-only", content=b"0"),)


BREAKAGES: dict[str, tuple[str, Callable[[OperationDefinition, Asking], object]]] = {
    "examine raises": ("examine", raises),
    "examine returns something": ("examine", lambda _, __: "something"),
    "nothing answers": (
        "examine",
        lambda _, asking: Inquiry(
            question=Unanswerable(label=asking.label, channel=asking.channel)
        ),
    ),
    "answer raises": ("answer", raises),
    "answer returns something": ("answer", lambda _, __: "something"),
    "answer redirects": ("answer", lambda own, _: Redirected(operation=own, location="")),
    "answer is undeclared": ("answer", lambda own, _: Pending(operation=own)),
    "answer is of another": ("answer", lambda _, __: Success(operation=CACERTS, parts=PARTS)),
    "answer is of none": ("answer", lambda _, __: Refused(operation=None, fault=Fault.CONTENT)),
    "answer cannot be written": (
        "answer",
        lambda own, _: Refused(operation=own, fault=Fault.BUSY, retry_after=-1),
    ),
}


def broken(how: str, **format_of: Any) -> Broken:
    return Broken(
        name="broken",
        method="GET",
        http=HttpRow(),
        coap=CoapRow(short_path="bk", answers=(CoapAnswer(number=65000, **format_of),)),
        parts=(replace(PART, kind=how),),
        authentication=Authentication.OPEN,
    )


@pytest.mark.parametrize("how", BREAKAGES)
def test_it_is_answered_500_and_the_connection_goes_on(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = default_policy(operations=(*OPERATIONS, broken(how)))
    driver = Driver(config=replace(service(), policy=policy), application=echoing())
    driver.run(GET, GET.replace(b"broken", b"cacerts"))
    assert driver.statuses == [500, 200]
    assert driver.log.codes == [*FAILED, (200, "")]
    assert any(each.levelno == logging.ERROR for each in caplog.records)


@pytest.mark.parametrize("how", BREAKAGES)
def test_over_coap_all_clients_go_on(how: str, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(echoing(), policy=default_policy(operations=(*OPERATIONS, broken(how))))
    device, other = site.connect(), site.connect(("192.0.2.2", 40002))
    assert site.ask(device, HEAD).head.code == Code.INTERNAL_SERVER_ERROR
    assert site.log.codes == FAILED
    assert [site.ask(each, CRTS).head.code for each in (device, other)] == [Code.CONTENT] * 2
    assert site.endpoint.is_idle
    assert any(each.levelno == logging.ERROR for each in caplog.records)


@pytest.mark.parametrize("write", [raises, lambda _: "text"])
def test_a_format_that_breaks_does_not_end_the_server(write: Callable[[bytes], bytes]) -> None:
    own = broken("nothing is broken", write=write)
    site = Site(echoing(), policy=default_policy(operations=(*OPERATIONS, own)))
    device = site.connect()
    assert site.ask(device, HEAD).head.code == Code.INTERNAL_SERVER_ERROR
    assert site.ask(device, CRTS).head.code == Code.CONTENT
