"""Questions to an application from an event loop: in threads, in tasks, or in the loop itself.

What matters is what becomes of a late decision. A question that nobody has begun to answer when
its deadline comes is taken back. One that somebody is answering goes on: its client gets 503, and
what is decided is settled when it comes, so that a certificate that was issued is on record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from est_core import AuthenticateRequested, Decision, Fail, Instant
from est_transports.drive.event_loop import Event, EventLoop
from est_transports.drive.open_request import Ask
from est_transports.fairness.fair_pool import FairPool

_log: Final = logging.getLogger("est_transports")

AUTHENTICATION_THREADS: Final = 40
"""Apart from the others: to authenticate may take long, and whoever guesses must not keep out those
who show a certificate. An application that returns a future needs hardly one of them."""

Decided = Decision | Future[Decision | None] | None
Consult = Callable[[], Decided]
Decide = Callable[[Decision | None], None]


class Submitted(Protocol):
    """A question that was given to threads."""

    def cancel(self) -> bool:
        """Take it back; False where a thread has begun to answer it."""


class Threads(Protocol):
    """Threads that an application is asked in, shared fairly among networks."""

    def submit(self, consult: Consult, decide: Decide, peer: str) -> Submitted:
        """Have a thread call `consult`, and then the event loop `decide` with what it returned.

        Where that is a future no thread waits for it, and `decide` gets its result. Where
        `consult` or the start of a thread fails, the log has the reason and `decide` gets Fail.
        """


class PooledThreads:
    """Threads of a FairPool.

    `threadsafe` returns what has the running loop call something, from any thread, and raises
    RuntimeError once that loop is closed.
    """

    def __init__(
        self,
        at_once: int,
        name: str,
        threadsafe: Callable[[], Callable[[Callable[[], None]], object]],
    ) -> None:
        self._pool: FairPool[Decision | None] = FairPool(at_once, name)
        self._threadsafe = threadsafe

    def submit(self, consult: Consult, decide: Decide, peer: str) -> Future[Decision | None]:
        """Ask in a thread, as `Threads` says."""
        in_loop = self._threadsafe()

        def tell(working: Future[Decision | None]) -> None:
            if not working.cancelled():
                with suppress(RuntimeError):  # nobody is left to be told
                    in_loop(lambda: decide(_outcome(working)))

        try:
            working = self._pool.submit(consult, peer)
        except RuntimeError:  # no thread to be had
            decide(failed())
            return Future()
        working.add_done_callback(tell)
        return working

    def close(self) -> None:
        """Take nothing more, and wait for nothing; what was submitted is done."""
        self._pool.close()

    def shutdown(self) -> None:
        """Begin no question any more; a thread that answers one ends when it has."""
        self._pool.shutdown()


class Conversation(Protocol):
    """What takes decisions, and answers without one after the deadline."""

    def decide(self, asked: Ask, decision: Decision | None, now: Instant) -> None:
        """Take a decision, however late."""

    def handle_timeout(self, now: Instant) -> None:
        """Note that the deadline has passed."""


class Questions:
    """The way to one application.

    Without `threads` it is asked in the event loop itself. `tasks` is how many questions may be
    awaited at once, of an AsyncApplication.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        threads: Threads | None,
        authentication_threads: Threads,
        tasks: int,
        clock: Callable[[], Instant],
    ) -> None:
        self._loop = loop
        self._threads = threads
        self._authentication_threads = authentication_threads
        self._tasks = loop.semaphore(tasks)
        self._clock = clock
        self._owed: set[Event] = set()

    async def ask(self, conversation: Conversation, asked: Ask) -> None:
        """Have the question decided, or answered for where its deadline comes first."""
        is_async = asked.is_async
        if self._threads is None and not is_async:
            return conversation.decide(asked, asked.consult(), self._clock())
        decided = self._loop.event()

        def decide(decision: Decision | None) -> None:
            conversation.decide(asked, decision, self._clock())
            self._owed.discard(decided)
            decided.set()

        ask = self._in_a_task if is_async else self._in_a_thread
        begun = await ask(asked, decide, decided)
        if not decided.is_set():
            conversation.handle_timeout(self._clock())
            if begun:
                self._owed.add(decided)
        return None

    async def settled(self) -> None:
        """Return when every late decision has come, or was given up."""
        while self._owed:
            await next(iter(self._owed)).wait()

    def give_up(self) -> None:
        """Wait for no decision any more."""
        while self._owed:
            self._owed.pop().set()

    async def _in_a_thread(self, asked: Ask, decide: Decide, decided: Event) -> bool:
        """Wait for the decision until the deadline; return whether the question was begun."""
        question, threads = asked.question, self._threads
        if threads is None or isinstance(question, AuthenticateRequested):
            threads = self._authentication_threads
        submitted = threads.submit(asked.begin_to_consult, decide, question.channel.peer_address)
        try:
            async with self._loop.scope(self._left(asked)):
                await decided.wait()
        finally:
            taken_back = not decided.is_set() and submitted.cancel()
        return not taken_back

    async def _in_a_task(self, asked: Ask, decide: Decide, decided: Event) -> bool:
        """The same for an AsyncApplication."""
        begun = False
        async with self._loop.scope(self._left(asked)):
            await self._tasks.acquire()
            self._loop.start(partial(self._await, asked, decide))
            begun = True
            await decided.wait()
        return begun

    async def _await(self, asked: Ask, decide: Decide) -> None:
        try:
            decide(await asked.consult_async())
        finally:
            self._tasks.release()

    def _left(self, asked: Ask) -> float:
        return max(0.0, asked.deadline - self._clock().mono)


def failed() -> Decision:
    """Return the decision in place of one that there is not, with the reason in the log."""
    _log.exception("the application could not be asked")
    return Fail()


def _outcome(working: Future[Decision | None]) -> Decision | None:
    try:
        return working.result()
    except BaseException:  # noqa: BLE001  # raised in the thread: it must not end the loop
        return failed()
