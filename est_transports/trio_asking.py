"""A question on its way to the application, which may be too busy to hear it in time."""

from __future__ import annotations

import trio

from est_core import Decision
from est_transports.application import Application
from est_transports.http_server import Conversation
from est_transports.service import Ask, consult


class Asking:
    """One question. What nobody has begun to answer by its deadline is not asked any more.

    Its client was told to come again, and will. Else an application that hangs would leave more
    and more of them behind, and then answer them all.
    """

    def __init__(self, conversation: Conversation, asked: Ask) -> None:
        self.conversation = conversation
        self.asked = asked
        self.decided = trio.Event()
        self.waiting = trio.CancelScope()
        self.has_begun = False

    def consult(self, application: Application) -> Decision | None:
        """Return the decision, None if nobody waits for it any more. In a thread."""
        self.has_begun = True
        if not self.conversation.is_wanted(self.asked):
            return None
        return consult(application, self.asked.question)

    def give_up(self) -> None:
        """Forget it if nobody has begun to answer."""
        if not self.has_begun:
            self.waiting.cancel()
