"""Questions to an application from an event loop, and what becomes of a decision that comes late.

A question that nobody has begun to answer when its deadline comes is taken back. One that somebody
is answering goes on: its client gets 503, and what is decided is settled when it comes, so that a
certificate that was issued is on record.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from est_core import Decision, Instant
from est_transports.drive.event_loop import Event, EventLoop, Scope
from est_transports.drive.open_request import Ask
from est_transports.drive.question_router import QuestionRouter
from est_transports.drive.question_threads import Decide


class Conversation(Protocol):
    """What takes decisions, and answers without one after the deadline."""

    def decide(self, asked: Ask, decision: Decision | None, now: Instant) -> None:
        """Take a decision, however late."""


class Questions:
    """The questions of one server to its application.

    `tasks` is how many may be awaited at once, of an AsyncApplication; `router` has the ways to
    another.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        router: QuestionRouter,
        tasks: int,
        clock: Callable[[], Instant],
    ) -> None:
        self._loop = loop
        self._router = router
        self._tasks = loop.semaphore(tasks)
        self._clock = clock
        self._owed: set[Event] = set()
        self._gives_up = False

    async def ask(self, conversation: Conversation, asked: Ask, scope: Scope) -> None:
        """Have the question decided, in `scope`, which is left at its deadline.

        Then `handle_timeout` of the conversation is to follow. A decision that comes later is given
        to the conversation all the same.
        """

        def decide(decision: Decision | None) -> None:
            conversation.decide(asked, decision, self._clock())
            decided.set()

        decided = _Decided(self._loop)
        if asked.is_async:
            scope.reschedule(self._left(asked))
            await self._in_a_task(asked, decide, decided)
            return
        submitted = self._router.submit(asked, decide)
        if decided.is_set():  # it took no wait
            return
        try:
            scope.reschedule(self._left(asked))
            await decided.wait()
        finally:
            if not decided.is_set() and not submitted.cancel():
                self._owe(decided)

    async def settled(self) -> None:
        """Return when every late decision has come, or was given up."""
        while self._owed:
            await next(iter(self._owed)).wait()

    def give_up(self) -> None:
        """Wait for no decision any more, whatever becomes late from now on."""
        self._gives_up = True
        while self._owed:
            self._owed.pop().set()

    async def _in_a_task(self, asked: Ask, decide: Decide, decided: _Decided) -> None:
        """Wait for an AsyncApplication."""
        begun = False
        try:
            await self._tasks.acquire()
            self._loop.start(partial(self._await, asked, decide))
            begun = True
            await decided.wait()
        finally:
            if begun and not decided.is_set():
                self._owe(decided)

    async def _await(self, asked: Ask, decide: Decide) -> None:
        try:
            decide(await asked.consult_async())
        finally:
            self._tasks.release()

    def _owe(self, decided: _Decided) -> None:
        """Keep in mind that a decision is to come which nobody waits for."""
        if not self._gives_up:
            event = decided.event()
            self._owed.add(event)
            decided.then = partial(self._owed.discard, event)

    def _left(self, asked: Ask) -> float:
        return max(0.0, asked.deadline - self._clock().mono)


class _Decided:
    """Whether a question is decided, and an event only where somebody waits for that."""

    __slots__ = ("_event", "_is_set", "_loop", "then")

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._event: Event | None = None
        self._is_set = False
        self.then: Callable[[], None] | None = None

    def event(self) -> Event:
        if self._event is None:
            self._event = self._loop.event()
        return self._event

    async def wait(self) -> None:
        await self.event().wait()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if self.then is not None:
            self.then()
        if self._event is not None:
            self._event.set()
