"""Threads that answer questions to an application, where networks have turns for a thread.

A ThreadPoolExecutor takes what was submitted first. Here each thread that is free takes what is
next by QuestionTurns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from est_transports.question_turns import QuestionTurns

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Work(Generic[_T]):
    call: Callable[[], _T]
    future: Future[_T] = field(default_factory=Future)


class FairPool(Generic[_T]):
    """At most `threads` threads, begun when they are needed. Can be used from any thread."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._turns: QuestionTurns[_Work[_T]] = QuestionTurns(threads)
        self._lock = threading.Lock()
        self._is_shut = False

    def submit(self, call: Callable[[], _T], peer: str) -> Future[_T]:
        """Return the future of a call; one that has not begun can be cancelled.

        Raises RuntimeError where there is no thread to be had, and none that is busy and will be
        free; and after `shutdown`.
        """
        work = _Work(call)
        with self._lock:
            self._turns.put(work, peer)
        try:
            self._pool.submit(self._do_next)
        except RuntimeError:
            with self._lock:
                if self._is_shut or not self._turns.begun:
                    self._turns.discard(work, peer)
                    raise
        return work.future

    def shutdown(self) -> None:
        """Begin nothing any more, and wait for nothing; what has not begun is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_shut = True
            left = self._turns.clear()
        for work in left:
            work.future.cancel()

    def _do_next(self) -> None:
        """Do what is next, if there is something; any thread may find the work of another."""
        with self._lock:
            found = self._turns.begin()
        if found is None:
            return
        work, peer = found
        try:
            if work.future.set_running_or_notify_cancel():
                _do(work)
        finally:
            with self._lock:
                self._turns.end(peer)
                is_more = len(self._turns) > 0
            if is_more:  # its network was full when a thread looked for it
                with suppress(RuntimeError):  # shut down
                    self._pool.submit(self._do_next)


def _do(work: _Work[_T]) -> None:
    try:
        result = work.call()
    except BaseException as exc:  # noqa: BLE001  # as ThreadPoolExecutor does: it is the caller's
        work.future.set_exception(exc)
    else:
        work.future.set_result(result)
