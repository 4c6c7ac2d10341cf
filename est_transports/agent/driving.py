"""What drivers of an agent have in common: the next action of a pass, or how it ended."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from est_core import Failed, LocalProtocolError
from est_transports.agent.actions import Action, Answer, Outcome
from est_transports.pki.pkcs11_uri import TokenError
from est_transports.pki.signers import SignerError

Pass = Generator[Action, Answer, Outcome]

CANNOT_ASK: Final = "agent/cannot-ask"
"""This machine cannot speak to the server in that way: a key that its TLS cannot use, say."""


def advance(steps: Pass, answer: Answer | None) -> Action | Outcome:
    """Tell a pass what came of its last action, None before the first, and return what is next."""
    try:
        return next(steps) if answer is None else steps.send(answer)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def cannot_ask(error: LocalProtocolError | SignerError) -> Failed:
    """Return the answer to an action that this machine cannot do, for a key that is away too."""
    if isinstance(error, TokenError):
        return Failed(code=error.code, message=error.message)
    return Failed(code=CANNOT_ASK, message=str(error))
