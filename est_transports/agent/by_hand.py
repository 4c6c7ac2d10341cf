"""What a person does in a certificate's directory: back to the pair before, and no candidate.

Each step is durable before the next, as the agent's own are. Whoever is stopped in between finds a
whole pair in use; what is lost then is at most that the hook runs, and that the agent waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from est_core import Entropy, Instant
from est_core.arguments import checked
from est_transports import _clock
from est_transports.agent.certificate import ROLLED_BACK, CertificateAgent
from est_transports.agent.keys import Keys, give_up_candidate
from est_transports.agent.saved import readable_saved
from est_transports.agent.settings import CertificateSettings
from est_transports.agent.shown import sha256
from est_transports.agent.slots import Slots
from est_transports.pairs.values import Candidate


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
            readable_saved(slots.state),
            hook_due=sha256(previous.certificate),
            hook_event=ROLLED_BACK,
        )
        slots.save_state(saved.text())
    slots.roll_back()
    agent = CertificateAgent(settings, slots, clock=clock, entropy=entropy)
    agent.went_back()
    return agent


@checked
def discard(settings: CertificateSettings, slots: Slots) -> Candidate | None:
    """Give the candidate up, and return it if it could be read; None where there was none.

    Its key is removed from its token, if it was made there. Raises PairError, and AgentError for a
    token; the candidate is gone then all the same.
    """
    with closing(Keys(settings)) as keys:
        return give_up_candidate(slots, keys)
