"""Questions to an application from an event loop of asyncio: in threads, in tasks, or in the loop.

What matters is what becomes of a late decision. A question that nobody has begun to answer when
its deadline comes is taken back. One that somebody is answering goes on: its client gets 503, and
what is decided is settled when it comes, so that a certificate that was issued is on record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from est_core import AuthenticateRequested, Decision, Fail, Instant
from est_transports.drive.application import Application, AsyncApplication, told_apart
from est_transports.drive.open_request import Ask
from est_transports.fairness.fair_pool import FairPool
from est_transports.http.server import Conversation

_log: Final = logging.getLogger("est_transports")

AUTHENTICATION_THREADS: Final = 40
"""Apart from the others: to authenticate may take long, and whoever guesses must not keep out those
who show a certificate. An application that returns a future needs hardly one of them."""


class Questions:
    """The way to one application. `tasks` is how many may be awaited at once, of an async one."""

    def __init__(
        self,
        application: Application | AsyncApplication,
        *,
        threads: int,
        tasks: int,
        clock: Callable[[], Instant],
    ) -> None:
        self._is_async = told_apart(application)[1] is not None
        self._in_loop = threads == 0
        self._pool: FairPool[Decision | None] = FairPool(max(threads, 1), "est-application")
        self._authentication_pool: FairPool[Decision | None] = FairPool(
            AUTHENTICATION_THREADS, "est-authentication"
        )
        self._tasks = asyncio.Semaphore(tasks)
        self._clock = clock
        self._owed: set[asyncio.Future[None]] = set()
        self._awaited: set[asyncio.Task[None]] = set()

    async def ask(self, conversation: Conversation, asked: Ask) -> None:
        """Have the question decided, or answered for where its deadline comes first."""
        if self._in_loop and not self._is_async:
            return conversation.decide(asked, asked.consult(), self._clock())
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def decide(decision: Decision | None) -> None:
            conversation.decide(asked, decision, self._clock())
            if not decided.done():
                decided.set_result(None)

        left = max(0.0, asked.deadline - self._clock().mono)
        ask = self._in_a_task if self._is_async else self._in_a_thread
        begun = await ask(asked, decide, decided, left)
        if decided.done():
            return None
        conversation.handle_timeout(self._clock())
        if begun:
            self._owed.add(decided)
            decided.add_done_callback(self._owed.discard)
        return None

    async def settled(self) -> None:
        """Return when every late decision has come, or was given up."""
        while self._owed:
            await asyncio.wait(self._owed)

    def give_up(self) -> None:
        """Wait for no decision any more, and cancel what is awaited."""
        for task in self._awaited:
            task.cancel()
        for decided in tuple(self._owed):
            decided.cancel()

    def close(self) -> None:
        """Begin no question any more; a thread that answers one ends when it has."""
        for pool in (self._pool, self._authentication_pool):
            pool.shutdown()

    async def _in_a_thread(
        self,
        asked: Ask,
        decide: Callable[[Decision | None], None],
        decided: asyncio.Future[None],
        left: float,
    ) -> bool:
        """Return whether the question was begun; wait for the decision until then."""
        loop = asyncio.get_running_loop()
        question = asked.question
        pool = (
            self._authentication_pool if isinstance(question, AuthenticateRequested) else self._pool
        )
        try:
            working = pool.submit(asked.begin_to_consult, question.channel.peer_address)
        except RuntimeError:  # no thread to be had
            _log.exception("the application could not be asked")
            decide(Fail())
            return True

        def finish() -> None:
            decide(_outcome(working))

        def tell(_working: Future[Decision | None]) -> None:
            if not working.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(finish)

        working.add_done_callback(tell)
        try:
            await asyncio.wait((decided,), timeout=left)
        finally:
            taken_back = not decided.done() and working.cancel()
        return not taken_back

    async def _in_a_task(
        self,
        asked: Ask,
        decide: Callable[[Decision | None], None],
        decided: asyncio.Future[None],
        left: float,
    ) -> bool:
        """The same for an AsyncApplication."""
        began_at = self._clock().mono
        try:
            await asyncio.wait_for(self._tasks.acquire(), left)
        except TimeoutError:
            return False
        task = asyncio.create_task(self._await(asked, decide))
        self._awaited.add(task)
        task.add_done_callback(self._awaited.discard)
        await asyncio.wait((decided,), timeout=max(0.0, left - (self._clock().mono - began_at)))
        return True

    async def _await(self, asked: Ask, decide: Callable[[Decision | None], None]) -> None:
        try:
            decide(await asked.consult_async())
        finally:
            self._tasks.release()


def _outcome(working: Future[Decision | None]) -> Decision | None:
    try:
        return working.result()
    except BaseException:  # noqa: BLE001  # raised in the thread: it must not end the loop
        _log.exception("the application could not be asked")
        return Fail()
