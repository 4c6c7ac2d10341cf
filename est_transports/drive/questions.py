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
from est_transports.drive.event_loop import Event, EventLoop
from est_transports.drive.open_request import Ask
from est_transports.drive.question_router import QuestionRouter


class Conversation(Protocol):
    """What takes decisions, and answers without one after the deadline."""

    def decide(self, asked: Ask, decision: Decision | None, now: Instant) -> None:
        """Take a decision, however late."""

    def handle_timeout(self, now: Instant) -> None:
        """Note that the deadline has passed."""


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

    async def ask(self, conversation: Conversation, asked: Ask) -> None:
        """Have the question decided, or answered for where its deadline comes first."""
        question = _Question(conversation, asked, self._clock)
        if asked.is_async:
            begun = await self._in_a_task(question)
        else:
            submitted = self._router.submit(asked, question.decide)
            if question.is_decided:  # it took no wait
                return
            try:
                async with self._loop.scope(self._left(asked)):
                    await question.decided(self._loop).wait()
            finally:
                begun = not submitted.cancel()
        if not question.is_decided:
            conversation.handle_timeout(self._clock())
            if begun:
                self._owe(question)

    async def settled(self) -> None:
        """Return when every late decision has come, or was given up."""
        while self._owed:
            await next(iter(self._owed)).wait()

    def give_up(self) -> None:
        """Wait for no decision any more."""
        while self._owed:
            self._owed.pop().set()

    async def _in_a_task(self, question: _Question) -> bool:
        """Wait for an AsyncApplication until the deadline; return whether it has begun."""
        begun = False
        async with self._loop.scope(self._left(question.asked)):
            await self._tasks.acquire()
            self._loop.start(partial(self._await, question))
            begun = True
            await question.decided(self._loop).wait()
        return begun

    async def _await(self, question: _Question) -> None:
        try:
            question.decide(await question.asked.consult_async())
        finally:
            self._tasks.release()

    def _owe(self, question: _Question) -> None:
        event = question.decided(self._loop)
        self._owed.add(event)
        question.when_decided = partial(self._owed.discard, event)

    def _left(self, asked: Ask) -> float:
        return max(0.0, asked.deadline - self._clock().mono)


class _Question:
    """A question that was put to the application, until it is decided."""

    def __init__(
        self, conversation: Conversation, asked: Ask, clock: Callable[[], Instant]
    ) -> None:
        self.asked = asked
        self.is_decided = False
        self.when_decided: Callable[[], None] | None = None
        self._conversation = conversation
        self._clock = clock
        self._event: Event | None = None

    def decided(self, loop: EventLoop) -> Event:
        """Return what is set when it is decided."""
        if self._event is None:
            self._event = loop.event()
        return self._event

    def decide(self, decision: Decision | None) -> None:
        """Give the decision to the conversation, and tell who waits for it."""
        self._conversation.decide(self.asked, decision, self._clock())
        self.is_decided = True
        if self.when_decided is not None:
            self.when_decided()
        if self._event is not None:
            self._event.set()
