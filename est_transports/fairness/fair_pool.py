"""Threads that answer questions to an application, shared fairly among networks.

A ThreadPoolExecutor takes what was submitted first. Here each thread that is free takes what is
next by QuestionScheduler. A call that returns a future has its result from there, and no thread
waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from est_transports.fairness.question_scheduler import QuestionScheduler

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Work(Generic[_T]):
    call: Callable[[], _T | Future[_T]]
    future: Future[_T] = field(default_factory=Future)


class FairPool(Generic[_T]):
    """At most `threads` threads, begun when they are needed. Can be used from any thread."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._scheduler: QuestionScheduler[_Work[_T]] = QuestionScheduler(threads)
        self._lock = threading.Lock()
        self._is_shut = False

    def submit(self, call: Callable[[], _T | Future[_T]], peer: str) -> Future[_T]:
        """Return the future of a call; one that has not begun can be cancelled.

        Raises RuntimeError where there is no thread to be had, and none that is busy and will be
        free; and after `close` or `shutdown`. The call is then never made.
        """
        work = _Work(call)
        with self._lock:
            if self._is_shut:
                raise RuntimeError("the pool is shut down")
            self._scheduler.put(work, peer)
        try:
            self._pool.submit(self._do_next)
        except RuntimeError:
            with self._lock:
                # What cannot be cancelled was taken by a thread that is through with it already.
                if not self._scheduler.begun and work.future.cancel():
                    self._scheduler.discard(work, peer)
                    raise
        return work.future

    def close(self) -> None:
        """Take nothing more, and wait for nothing; what was submitted is done."""
        with self._lock:
            self._is_shut = True
        self._pool.shutdown(wait=False)

    def shutdown(self) -> None:
        """Begin nothing any more, and wait for nothing; what has not begun is cancelled."""
        with self._lock:
            self._is_shut = True
            left = self._scheduler.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for work in left:
            work.future.cancel()

    def _do_next(self) -> None:
        """Do what is next, if there is something; any thread may find the work of another."""
        while self._do_one():  # there is more: its network was full when a thread looked for it
            try:
                self._pool.submit(self._do_next)
            except RuntimeError:  # closed, or no new thread
                continue
            return

    def _do_one(self) -> bool:
        """Return whether something was done, and more waits."""
        with self._lock:
            found = self._scheduler.begin()
        if found is None:
            return False
        work, peer = found
        try:
            if work.future.set_running_or_notify_cancel():
                _settle(work.future, work.call)
        finally:
            with self._lock:
                self._scheduler.end(peer)
                is_more = len(self._scheduler) > 0
        return is_more


def _settle(future: Future[_T], call: Callable[[], _T | Future[_T]]) -> None:
    try:
        result = call()
    except BaseException as exc:  # noqa: BLE001  # as ThreadPoolExecutor does: it is the caller's
        future.set_exception(exc)
    else:
        if isinstance(result, Future):
            result.add_done_callback(lambda made: _settle(future, made.result))
        else:
            future.set_result(result)
