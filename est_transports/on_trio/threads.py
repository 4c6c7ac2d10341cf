"""Questions to an application in threads, for servers on trio.

`trio.to_thread.run_sync` would do, but for its price: with a task that outlives the deadline it
takes four turns of the event loop and two names for the thread, and this takes one turn. A FairPool
would do too, but its threads keep a process alive until they have answered.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import trio

from est_transports.drive.question_router import QuestionRouter
from est_transports.drive.question_threads import Consult, Decide, Decided, InLoop, failed
from est_transports.fairness.question_scheduler import QuestionScheduler

_T = TypeVar("_T")


class _Outcome(Protocol):
    def unwrap(self) -> Decided: ...


@dataclass(slots=True, eq=False)
class _Question:
    consult: Consult
    decide: Decide
    peer: str
    scheduler: QuestionScheduler[_Question]
    is_begun: bool = False

    def cancel(self) -> bool:
        """Take it back; False where a thread has begun to answer it."""
        if not self.is_begun:
            self.scheduler.discard(self, self.peer)
        return not self.is_begun


class QuestionThreads:
    """At most so many threads that are asked at once; who waits for one has turns by network."""

    def __init__(self, at_once: int) -> None:
        self._scheduler: QuestionScheduler[_Question] = QuestionScheduler(at_once)

    @property
    def busy(self) -> int:
        """How many threads are being asked."""
        return self._scheduler.begun

    def submit(self, consult: Consult, decide: Decide, peer: str) -> _Question:
        """Ask in a thread when it is the peer's turn: `drive.questions.Threads`."""
        question = _Question(consult, decide, peer, self._scheduler)
        self._scheduler.put(question, peer)
        self._begin_some()
        return question

    def _begin_some(self) -> None:
        while (found := self._scheduler.begin()) is not None:
            question, _ = found
            question.is_begun = True
            finish = _in_loop(partial(self._finish, question))
            try:
                trio.lowlevel.start_thread_soon(question.consult, finish)
            except RuntimeError:  # no thread to be had
                self._scheduler.end(question.peer)
                question.decide(failed())

    def _finish(self, question: _Question, outcome: _Outcome) -> None:
        self._scheduler.end(question.peer)
        self._begin_some()
        _settle(question, outcome.unwrap)


def router_with(threads: int, authentication_threads: int = 0) -> QuestionRouter:
    """Return the ways to an application; without `threads` it is asked in the event loop."""
    return QuestionRouter(
        threads=QuestionThreads(threads) if threads else None,
        authentication_threads=(
            QuestionThreads(authentication_threads) if authentication_threads else None
        ),
        threadsafe=_threadsafe,
    )


def _threadsafe() -> InLoop:
    return trio.lowlevel.current_trio_token().run_sync_soon


def _settle(question: _Question, decided: Consult) -> None:
    try:
        decision = decided()
    except BaseException:  # noqa: BLE001  # raised in the thread: it must not end the loop
        decision = failed()
    if isinstance(decision, Future):
        decision.add_done_callback(_in_loop(lambda made: _settle(question, made.result)))
    else:
        question.decide(decision)


def _in_loop(take: Callable[[_T], None]) -> Callable[[_T], None]:
    """Return what has the loop that runs now take something, from any thread."""
    token = trio.lowlevel.current_trio_token()

    def deliver(outcome: _T) -> None:
        with suppress(trio.RunFinishedError):  # nobody is left to be told
            token.run_sync_soon(take, outcome)

    return deliver
