"""The transition table of the server's exchange, and nothing else.

Everything that may change a state stands here as data: (state, step) -> state. A pair that is
absent is a LocalProtocolError and changes nothing. Which decisions answer a question is said by the
question itself; what one leads to is another question, or the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from est_core.decisions import COMMON, Decision
from est_core.events import ServerQuestion


@unique
class ServerState(Enum):
    """Where a server exchange stands."""

    RECEIVED = "received"
    ASKING = "asking"
    """A question is with the application."""
    RESPONDED = "responded"
    SETTLING = "settling"
    """Nobody waits for the answer any more, but the application may still create and record."""
    ABANDONED = "abandoned"


@unique
class ServerStep(Enum):
    """What moves a server exchange."""

    ASK = "ask"
    RESPOND = "respond"
    TIME_OUT = "time-out"
    ABANDON = "abandon"
    SETTLE = "settle"
    """A time-out or the loss of the client, where the answer may have created something."""


_S = ServerState
_T = ServerStep

SERVER_TRANSITIONS: Final[Mapping[tuple[ServerState, ServerStep], ServerState]] = MappingProxyType(
    {
        (_S.RECEIVED, _T.ASK): _S.ASKING,
        (_S.RECEIVED, _T.RESPOND): _S.RESPONDED,
        (_S.ASKING, _T.ASK): _S.ASKING,
        (_S.ASKING, _T.RESPOND): _S.RESPONDED,
        (_S.ASKING, _T.TIME_OUT): _S.RESPONDED,
        (_S.ASKING, _T.ABANDON): _S.ABANDONED,
        (_S.ASKING, _T.SETTLE): _S.SETTLING,
        (_S.SETTLING, _T.RESPOND): _S.ABANDONED,
        (_S.RESPONDED, _T.ABANDON): _S.ABANDONED,
    }
)


def legal_answers(question: type[ServerQuestion]) -> frozenset[type[Decision]]:
    """Return the decisions that answer a question: its own, and those that answer any."""
    return question.answers | COMMON


def answers(decision: object, question: ServerQuestion) -> bool:
    """Return whether a decision is an answer to a question."""
    return type(decision) in COMMON or type(decision) in question.answers


def no_answer(given: object, question: ServerQuestion | None) -> str:
    """Return the text for a decision that answers nothing, with those that would."""
    name = type(given).__name__
    if question is None:
        return f"{name} is no answer: nothing is asked"
    asked = type(question)
    legal = " or ".join(sorted(each.__name__ for each in legal_answers(asked)))
    return f"{name} is no answer to {asked.__name__}: {legal} is"
