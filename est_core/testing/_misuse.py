"""Calls of a server exchange that are out of turn: each is refused and changes nothing.

For those who put something of their own between the core and an application, and want its
mistakes to be told as plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Final, cast

from cryptography import x509

from est_core._errors import LocalProtocolError
from est_core.decisions import Decision, Deny, Pend, Rejected, Verified
from est_core.events import ResponseReady
from est_core.operation import Outcome
from est_core.operations.cacerts import ProvideCACerts
from est_core.operations.csrattrs import ProvideCSRAttrs
from est_core.server.exchange import ServerExchange
from est_core.values import value_class

_Action = Callable[[ServerExchange, Decision], object]


@value_class
class ExchangeMisuse:
    """One call out of turn. `name` says it."""

    name: str
    prepare: tuple[_Action, ...] = field(repr=False)
    misuse: _Action = field(repr=False)
    is_over: bool = False

    def __str__(self) -> str:
        return self.name

    def run(self, exchange: ServerExchange, certificate: x509.Certificate) -> None:
        """Misuse a new exchange for CA certificates, and then use it as one should.

        Raises AssertionError where the misuse is not refused, changes something, or spoils what
        follows. `certificate` is any: it is what the client gets.
        """
        good = ProvideCACerts(certificates=(certificate,))
        for action in self.prepare:
            action(exchange, good)
        before = _facts(exchange)
        try:
            self.misuse(exchange, good)
        except LocalProtocolError:
            pass
        else:
            raise AssertionError(f"{self.name}: not refused")
        if _facts(exchange) != before:
            raise AssertionError(f"{self.name}: {before} became {_facts(exchange)}")
        if not self.is_over:
            self._finish(exchange, good)

    def _finish(self, exchange: ServerExchange, good: Decision) -> None:
        if not self.prepare:
            exchange.next_event()
        exchange.decide(good)
        event = exchange.next_event()
        if not isinstance(event, ResponseReady) or event.response.outcome is not Outcome.OK:
            raise AssertionError(f"{self.name}: {event!r} in place of the answer")


def exchange_misuses() -> tuple[ExchangeMisuse, ...]:
    """Return the calls out of turn that are known."""
    return _MISUSES


def _facts(exchange: ServerExchange) -> tuple[object, ...]:
    return (
        repr(exchange),
        exchange.is_open,
        exchange.deadline,
        exchange.identity,
        exchange.csr,
        exchange.issued,
        exchange.abandoned,
    )


def _take(exchange: ServerExchange, _good: Decision) -> None:
    exchange.next_event()


def _decide(exchange: ServerExchange, good: Decision) -> None:
    exchange.decide(good)


def _abandon(exchange: ServerExchange, _good: Decision) -> None:
    exchange.abandon("the client is gone")


def _time_out(exchange: ServerExchange, _good: Decision) -> None:
    exchange.handle_timeout(exchange.deadline)


def _hand_over(decision: object, exchange: ServerExchange, _good: Decision) -> None:
    # What is not typed can hand over anything.
    exchange.decide(cast(Decision, decision))


_FOREIGN: Final[tuple[tuple[str, object], ...]] = (
    ("None", None),
    ("a class", ProvideCACerts),
    ("Verified", Verified(user="nobody")),
    ("Rejected", Rejected()),
    ("Pend", Pend(retry_after_s=1)),
    ("ProvideCSRAttrs", ProvideCSRAttrs(csrattrs=None)),
)

_MISUSES: Final = (
    ExchangeMisuse(name="a decision before the question was taken", prepare=(), misuse=_decide),
    *(
        ExchangeMisuse(
            name=f"{name} is no answer to the question",
            prepare=(_take,),
            misuse=partial(_hand_over, decision),
        )
        for name, decision in _FOREIGN
    ),
    ExchangeMisuse(
        name="a decision before the response was taken",
        prepare=(_take, _decide),
        misuse=_decide,
        is_over=True,
    ),
    ExchangeMisuse(
        name="a second decision", prepare=(_take, _decide, _take), misuse=_decide, is_over=True
    ),
    ExchangeMisuse(
        name="a refusal after the answer",
        prepare=(_take, _decide, _take),
        misuse=partial(_hand_over, Deny(code="enroll/pending", reason="too late")),
        is_over=True,
    ),
    ExchangeMisuse(
        name="a decision after the deadline",
        prepare=(_take, _time_out),
        misuse=_decide,
        is_over=True,
    ),
    ExchangeMisuse(
        name="a decision after the answer that it was too late",
        prepare=(_take, _time_out, _take),
        misuse=_decide,
        is_over=True,
    ),
    ExchangeMisuse(
        name="a decision when the client is gone",
        prepare=(_take, _abandon),
        misuse=_decide,
        is_over=True,
    ),
)
