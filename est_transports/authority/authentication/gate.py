"""The gate that an attempt passes twice, and what is counted of what became of it.

First when it comes: a refusal there costs nothing. Once more when its turn comes in a thread, for
any number may have come before the first of them was found wrong; so no more are judged than there
are threads beyond what is free.
"""

from __future__ import annotations

from typing import Final

from est_core import Challenge, Decision, Postpone, Rejected, Verified
from est_transports.authority.authentication.back_off import Attempt, BackOff
from est_transports.authority.authentication.digest import NO_SECRET

THROTTLED: Final = "auth/throttled"
"""Too many wrong answers came before this one, which nobody has looked at."""
_NO_SECRET: Final = Challenge(code=NO_SECRET)


class Throttled(Exception):  # noqa: N818 - says what happened
    """An attempt may not be judged now; `decision` is what it gets."""

    def __init__(self, decision: Decision) -> None:
        super().__init__("too many wrong answers")
        self.decision = decision


class Gate:
    """One attempt before its back-off. Any thread may call."""

    __slots__ = ("_attempt", "_back_off")

    def __init__(self, back_off: BackOff, attempt: Attempt) -> None:
        self._back_off = back_off
        self._attempt = attempt

    def refusal(self) -> Decision | None:
        """Return what the attempt gets unless it may be judged now."""
        wait_s = self._back_off.wait_s(self._attempt)
        return throttled(wait_s) if wait_s else None

    def pass_or_raise(self) -> None:
        """Raise Throttled unless the attempt may be judged now."""
        if (refusal := self.refusal()) is not None:
            raise Throttled(refusal)

    def counted(self, decision: Decision) -> Decision:
        """Count what the attempt was judged to be; return what it gets.

        Wrong is what is rejected, and what no secret for Digest could make right: a client sees no
        difference. A token or a code that ran out, or is for something else, was not guessed and
        does not count.
        """
        if isinstance(decision, Verified):
            self._back_off.found_right(self._attempt)
        elif isinstance(decision, Rejected) or decision == _NO_SECRET:
            wait_s = self._back_off.found_wrong(self._attempt)
            return throttled(wait_s) if wait_s else decision
        return decision


def throttled(wait_s: int) -> Decision:
    """Return the answer to who has to wait."""
    reason = "too many wrong answers, try again later"
    return Postpone(retry_after_s=wait_s, code=THROTTLED, reason=reason)
