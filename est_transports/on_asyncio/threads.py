"""Threads that servers on asyncio ask an application in."""

from __future__ import annotations

from est_transports.drive.question_router import QuestionRouter
from est_transports.drive.question_threads import PooledThreads
from est_transports.on_asyncio.event_loop import threadsafe


class ApplicationThreads:
    """The threads of one server, and the ways to its application. Without any it has no threads.

    They begin when they are needed. `name` is theirs, for whoever looks at the process.
    """

    def __init__(self, threads: int, name: str, *, authentication_threads: int = 0) -> None:
        asking = PooledThreads(threads, name, threadsafe) if threads else None
        authenticating = None
        if authentication_threads:
            authenticating = PooledThreads(
                authentication_threads, f"{name}-authentication", threadsafe
            )
        self._pools = [pool for pool in (asking, authenticating) if pool is not None]
        self.router: QuestionRouter = QuestionRouter(
            threads=asking,
            authentication_threads=authenticating,
            threadsafe=threadsafe,
        )

    def shutdown(self) -> None:
        """Begin no question any more; a thread that answers one ends when it has."""
        for pool in self._pools:
            pool.shutdown()
