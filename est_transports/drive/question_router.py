"""Routes a question to where its application answers it: in the event loop, or in a thread.

A question that only needs computing is answered where it comes up, without a turn for anybody. One
that may wait, for a disk or for whatever somebody's own application does, goes to a thread: what
waits never holds the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from est_core import AuthenticateRequested, Decision
from est_transports.drive.open_request import Ask
from est_transports.drive.question_threads import (
    Decide,
    InLoop,
    Submitted,
    Threads,
    outcome_of,
)


class QuestionRouter:
    """The ways to one server's application.

    Without `threads` it is asked in the event loop itself, whatever it says. `threadsafe` returns
    what has the running loop call something, from any thread.
    """

    def __init__(
        self,
        *,
        threads: Threads | None,
        authentication_threads: Threads | None,
        threadsafe: Callable[[], InLoop],
    ) -> None:
        self._threads = threads
        self._authentication_threads = authentication_threads or threads
        self._threadsafe = threadsafe

    def submit(self, asked: Ask, decide: Decide) -> Submitted:
        """Have a question decided; `decide` is called in the event loop, perhaps at once."""
        if self._threads is None or asked.is_in_loop:
            return self._in_loop(asked, decide)
        threads, question = self._threads, asked.question
        if isinstance(question, AuthenticateRequested):
            threads = self._authentication_threads or threads
        return threads.submit(asked.begin_to_consult, decide, question.channel.peer_address)

    def _in_loop(self, asked: Ask, decide: Decide) -> Submitted:
        decision = asked.begin_to_consult()
        if not isinstance(decision, Future):
            decide(decision)
            return _UNDER_WAY
        in_loop = self._threadsafe()

        def tell(made: Future[Decision | None]) -> None:
            with suppress(RuntimeError):  # nobody is left to be told
                in_loop(lambda: decide(outcome_of(made)))

        decision.add_done_callback(tell)
        return _UNDER_WAY


class _UnderWay:
    """A question that somebody answers already, or has answered."""

    def cancel(self) -> bool:
        return False


_UNDER_WAY = _UnderWay()
