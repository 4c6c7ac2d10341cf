"""An operation of somebody's own: what is posted to it comes back, in two parts over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from est_core import (
    Asking,
    Authentication,
    CoapAnswer,
    CoapRow,
    Decision,
    HttpRow,
    Inquiry,
    LocalProtocolError,
    NotOnWire,
    OperationDefinition,
    PartRow,
    Reading,
    Received,
    Response,
    ServerQuestion,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provide(Decision):
    """What comes back, in DER."""

    der: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoRequested(ServerQuestion):
    """What to send back? Answer: Provide."""

    method: ClassVar[str] = "echo"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({Provide})

    der: bytes


class EchoDefinition(OperationDefinition):
    """Asks for what comes back, once for all parts."""

    __slots__ = ()

    questions = (EchoRequested,)

    def examine(self, asking: Asking) -> Inquiry:
        """Ask at once."""
        question = EchoRequested(label=asking.label, channel=asking.channel, der=asking.payload)
        return Inquiry(question=question)

    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Response:
        """Send it back in every part."""
        if not isinstance(decision, Provide):
            raise LocalProtocolError("an echo is provided")
        return self.success(*(decision.der for _ in self.parts))

    def read(self, reading: Reading) -> Received:
        """Return the parts."""
        return Received(operation=self, value=reading.parts)


PART: Final = PartRow(kind="echo", content_type="application/echo")
ELSEWHERE: Final = NotOnWire(reason="it is for the other wire")

ECHO: Final = EchoDefinition(
    name="echo",
    method="POST",
    http=HttpRow(request_type="application/echo"),
    coap=ELSEWHERE,
    parts=(PART, PartRow(kind="again", content_type="application/again")),
    authentication=Authentication.OPEN,
)
HELLO: Final = EchoDefinition(
    name="hello",
    method="GET",
    http=ELSEWHERE,
    coap=CoapRow(short_path="hi", answers=(CoapAnswer(number=65000),)),
    parts=(PART,),
    authentication=Authentication.CERT,
)
GREETING: Final = EchoDefinition(
    name="greeting",
    method="GET",
    http=HttpRow(),
    coap=CoapRow(short_path="gr", answers=(CoapAnswer(number=65002),)),
    parts=(PART,),
    authentication=Authentication.OPEN,
)
