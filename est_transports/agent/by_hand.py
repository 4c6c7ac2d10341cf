"""What a person does in a certificate's directory: back to the pair before, and no candidate.

Each step is durable before the next, as the agent's own are. Whoever is stopped in between finds a
whole pair in use; what is lost then is at most that the hook runs, and that the agent waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from est_core import Entropy, Instant, LocalProtocolError
from est_core.arguments import checked
from est_transports import _clock
from est_transports.agent.certificate import ROLLED_BACK, CertificateAgent
from est_transports.agent.keys import Keys
from est_transports.agent.saved import Saved, saved_of
from est_transports.agent.settings import CertificateSettings
from est_transports.agent.shown import sha256
from est_transports.agent.slots import Slots
from est_transports.pairs.errors import PairError
from est_transports.pairs.values import Candidate, Pair


@checked
def roll_back(
    settings: CertificateSettings,
    slots: Slots,
    *,
    clock: Callable[[], Instant] = _clock.instant,
    entropy: Entropy = _clock.entropy,
) -> CertificateAgent:
    """Use the pair that ran before again, and return its agent, whose hook is due.

    The pair in use is not read, for it may be damaged; it becomes the one before, so that the same
    again undoes it. The agent takes it for a failed renewal: it renews after `retry_max_s`, or half
    of what is left of the life. Raises PairError: pair/no-previous where none ran before.
    """
    previous = slots.previous
    if previous is not None and settings.hook is not None:
        saved = replace(
            _saved(slots), hook_due=sha256(previous.certificate), hook_event=ROLLED_BACK
        )
        slots.save_state(saved.text())
    slots.roll_back()
    agent = CertificateAgent(settings, slots, clock=clock, entropy=entropy)
    agent.went_back()
    return agent


@checked
def discard(settings: CertificateSettings, slots: Slots) -> Candidate | None:
    """Give the candidate up, and return it if it could be read; None where there was none.

    Its key is removed from its token, if it was made there and is to be removed at all. Raises
    PairError, and AgentError for a token; the candidate is gone then all the same.
    """
    try:
        candidate = slots.candidate
    except PairError:
        slots.discard()  # damaged, and for that to be given up
        return None
    slots.discard()
    if candidate is not None and candidate.key not in _keys_in_use(slots):
        keys = Keys(settings)
        try:
            keys.remove(candidate.key)
        finally:
            keys.close()
    return candidate


def _keys_in_use(slots: Slots) -> list[object]:
    return [
        each.key for each in (_pair(lambda: slots.running), _pair(lambda: slots.previous)) if each
    ]


def _pair(read: Callable[[], Pair | None]) -> Pair | None:
    try:
        return read()
    except PairError:
        return None


def _saved(slots: Slots) -> Saved:
    try:
        return saved_of(slots.state)
    except LocalProtocolError:  # the agent says so
        return Saved()
