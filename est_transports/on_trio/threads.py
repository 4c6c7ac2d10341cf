"""Questions to an application in threads, for servers on trio.

`trio.to_thread.run_sync` would do, but for its price: with a task that outlives the deadline it
takes four turns of the event loop and two names for the thread, and this takes one turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from est_core import Decision, Fail
from est_transports.fairness.question_scheduler import QuestionScheduler

_log: Final = logging.getLogger("est_transports")


_Decided = Decision | Future[Decision | None] | None


class _Outcome(Protocol):
    def unwrap(self) -> _Decided: ...


@dataclass(slots=True, eq=False)
class _Question:
    consult: Callable[[], _Decided]
    decide: Callable[[Decision | None], None]
    is_begun: bool = False
    begun: trio.Event = field(default_factory=trio.Event)


class QuestionThreads:
    """At most so many threads that are asked at once; who waits for one has turns by network."""

    def __init__(self, at_once: int) -> None:
        self._scheduler: QuestionScheduler[_Question] = QuestionScheduler(at_once)

    @property
    def busy(self) -> int:
        """How many threads are being asked."""
        return self._scheduler.begun

    async def ask(
        self,
        consult: Callable[[], _Decided],
        decide: Callable[[Decision | None], None],
        peer: str,
    ) -> None:
        """Call `consult` in a thread, and later `decide` in the event loop with what it returned.

        Where that is a future no thread waits for it, and `decide` gets its result.

        Returns when the thread has been started, which waits for the peer's turn; only then can
        it be cancelled. The event loop does not wait for the thread. Where `consult` or the start
        of a thread fails, the log has the reason and `decide` gets Fail.
        """
        question = _Question(consult, decide)
        self._scheduler.put(question, peer)
        self._begin_some()
        if question.is_begun:
            return
        try:
            await question.begun.wait()
        except trio.Cancelled:
            self._scheduler.discard(question, peer)
            raise

    def _begin_some(self) -> None:
        while (found := self._scheduler.begin()) is not None:
            question, peer = found
            question.is_begun = True
            question.begun.set()
            try:
                trio.lowlevel.start_thread_soon(question.consult, self._delivers(question, peer))
            except RuntimeError:  # no thread to be had
                self._scheduler.end(peer)
                question.decide(_failed())

    def _delivers(self, question: _Question, peer: str) -> Callable[[_Outcome], None]:
        """Return what the thread calls with its outcome."""
        token = trio.lowlevel.current_trio_token()

        def deliver(outcome: _Outcome) -> None:
            with suppress(trio.RunFinishedError):  # nobody is left to be told
                token.run_sync_soon(partial(self._finish, question, peer, outcome))

        return deliver

    def _finish(self, question: _Question, peer: str, outcome: _Outcome) -> None:
        self._scheduler.end(peer)
        self._begin_some()
        self._settle(question, outcome.unwrap)

    def _settle(self, question: _Question, decided: Callable[[], _Decided]) -> None:
        try:
            decision = decided()
        except BaseException:  # noqa: BLE001  # raised in the thread: it must not end the loop
            decision = _failed()
        if not isinstance(decision, Future):
            return question.decide(decision)
        token = trio.lowlevel.current_trio_token()

        def deliver(made: Future[Decision | None]) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._settle, question, made.result)

        return decision.add_done_callback(deliver)


def _failed() -> Decision:
    _log.exception("the application could not be asked")
    return Fail()
