"""The transition table of the server's exchange, and nothing else.

Everything that may change a state stands here as data: (state, input) -> state. A pair that is
absent is a LocalProtocolError and changes nothing. Inputs are decisions, by their class, and
`Step`s that an exchange takes by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from est_core.decisions import (
    Challenge,
    Deny,
    Fail,
    Issue,
    Pend,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    Rejected,
    Verified,
)


@unique
class ServerState(Enum):
    """Where a server exchange stands."""

    RECEIVED = "received"
    AUTHENTICATING = "authenticating"
    DEMANDING = "demanding"
    """The application wants HTTP credentials that the policy did not ask for."""
    ADMITTED = "admitted"
    ANSWERING_CACERTS = "answering-cacerts"
    ANSWERING_CSRATTRS = "answering-csrattrs"
    ENFORCING = "enforcing"
    """The CSR attributes are asked for, to hold the CSR against them."""
    EXAMINED = "examined"
    DECIDING = "deciding"
    RESPONDED = "responded"
    SETTLING = "settling"
    """Nobody waits for the answer any more, but the CA may still issue and record."""
    ABANDONED = "abandoned"


@unique
class ServerStep(Enum):
    """What a server exchange does by itself."""

    ASK_CREDENTIALS = "ask-credentials"
    ADMIT = "admit"
    ASK_CACERTS = "ask-cacerts"
    ASK_CSRATTRS = "ask-csrattrs"
    ASK_ENFORCEMENT = "ask-enforcement"
    ASK_DECISION = "ask-decision"
    RESPOND = "respond"
    TIME_OUT = "time-out"
    ABANDON = "abandon"


ServerInput = type | ServerStep

_S = ServerState
_REFUSALS: Final = (Deny, Postpone, Fail)
_SETTLEMENTS: Final = (Issue, Pend, *_REFUSALS)


def _question(
    state: ServerState, answers: Mapping[ServerInput, ServerState]
) -> dict[tuple[ServerState, ServerInput], ServerState]:
    """Return what may follow a question that creates nothing: its own answers, and a refusal."""
    return {
        (state, Challenge): _S.DEMANDING,
        **{(state, refusal): _S.RESPONDED for refusal in _REFUSALS},
        (state, ServerStep.TIME_OUT): _S.RESPONDED,
        (state, ServerStep.ABANDON): _S.ABANDONED,
        **{(state, answer): target for answer, target in answers.items()},
    }


SERVER_TRANSITIONS: Final[Mapping[tuple[ServerState, ServerInput], ServerState]] = MappingProxyType(
    {
        (_S.RECEIVED, ServerStep.ASK_CREDENTIALS): _S.AUTHENTICATING,
        (_S.RECEIVED, ServerStep.ADMIT): _S.ADMITTED,
        (_S.RECEIVED, ServerStep.RESPOND): _S.RESPONDED,
        **_question(
            _S.AUTHENTICATING,
            {Verified: _S.ADMITTED, Rejected: _S.RESPONDED, Challenge: _S.RESPONDED},
        ),
        (_S.DEMANDING, ServerStep.ASK_CREDENTIALS): _S.AUTHENTICATING,
        (_S.DEMANDING, ServerStep.RESPOND): _S.RESPONDED,
        (_S.ADMITTED, ServerStep.ASK_CACERTS): _S.ANSWERING_CACERTS,
        (_S.ADMITTED, ServerStep.ASK_CSRATTRS): _S.ANSWERING_CSRATTRS,
        (_S.ADMITTED, ServerStep.ASK_ENFORCEMENT): _S.ENFORCING,
        (_S.ADMITTED, ServerStep.ASK_DECISION): _S.DECIDING,
        (_S.ADMITTED, ServerStep.RESPOND): _S.RESPONDED,
        **_question(_S.ANSWERING_CACERTS, {ProvideCACerts: _S.RESPONDED}),
        **_question(_S.ANSWERING_CSRATTRS, {ProvideCSRAttrs: _S.RESPONDED}),
        **_question(_S.ENFORCING, {ProvideCSRAttrs: _S.EXAMINED}),
        (_S.EXAMINED, ServerStep.ASK_DECISION): _S.DECIDING,
        (_S.EXAMINED, ServerStep.RESPOND): _S.RESPONDED,
        (_S.DECIDING, Challenge): _S.DEMANDING,
        **{(_S.DECIDING, decision): _S.RESPONDED for decision in _SETTLEMENTS},
        (_S.DECIDING, ServerStep.TIME_OUT): _S.SETTLING,
        (_S.DECIDING, ServerStep.ABANDON): _S.SETTLING,
        **{(_S.SETTLING, decision): _S.ABANDONED for decision in (*_SETTLEMENTS, Challenge)},
        (_S.RESPONDED, ServerStep.ABANDON): _S.ABANDONED,
    }
)


def no_answer(given: ServerInput, state: ServerState) -> str:
    """Return the text for a decision or step that has no row in a state, with those that have."""
    name = given.value if isinstance(given, ServerStep) else given.__name__
    rows = [row for at, row in SERVER_TRANSITIONS if at is state]
    answers = " or ".join(row.__name__ for row in rows if not isinstance(row, ServerStep))
    return f"{name} is no answer while {state.value}: {answers or 'nothing'} is"
