"""What goes wrong by itself while a server runs: said when it begins, and when it ends.

A store is replaced, a disk runs full, a revocation list lapses: requests then fail, one by one,
and what needs none of it goes on looking healthy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from est_core import Instant
from est_core.values import unchecked_value_class
from est_transports import _clock
from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite_files import LOW_BELOW_BYTES, free_bytes
from est_transports.service.loading import Service
from est_transports.service.validity import Standing

_log: Final = logging.getLogger("est_transports")

REPEAT_S: Final = 3600.0
"""How often what is still wrong is said again."""


class WatchedStore(Protocol):
    """A store in one file."""

    path: Path

    def open(self) -> None:
        """Open it in this process. Raises StoreError."""

    def check_place(self) -> None:
        """Raise StoreError if it was removed or replaced."""


@unchecked_value_class
class Trouble:
    """Something that is wrong now; `is_bad` if requests fail. `about` is what it is known by."""

    about: str
    text: str
    is_bad: bool = True


class Watch:
    """Looks at one store and at what is served; any thread of a process may call it."""

    def __init__(
        self, store: WatchedStore, *, clock: Callable[[], Instant] = _clock.instant
    ) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[str, tuple[bool, float]] = {}
        """How bad each trouble was when it was said last, and when, in monotonic seconds."""
        self._is_over = False

    def told(self, service: Service) -> None:
        """Take it that what the clock has ended by now was said, at a start or a reload."""
        with self._lock:
            now = self._clock()
            for trouble in _lapses(service, now):
                self._said[trouble.about] = trouble.is_bad, now.mono

    def end(self) -> None:
        """Say nothing from now on: what is closed next is closed on purpose.

        It takes no lock: a look that is under way may wait for a disk that is slow.
        """
        self._is_over = True

    def __call__(self, service: Service, number: int) -> None:
        """Look at all that the worker of that number serves, and log what is to be said.

        The store is looked at in each worker: each has it open. What is the same for all is
        said by the first one.
        """
        with self._lock:
            now = self._clock()
            found = list(self._troubles(service, number, now))
            if self._is_over:
                return
            for trouble in found:
                self._say(trouble, now)
            present = {trouble.about for trouble in found}
            for about in [each for each in self._said if each not in present]:
                if number == 0 or about == _STORE:
                    del self._said[about]
                    _log.info("%s: in order again", about.partition("\n")[0])

    def _say(self, trouble: Trouble, now: Instant) -> None:
        was_bad, when = self._said.get(trouble.about, (None, 0.0))
        if was_bad is trouble.is_bad and (not was_bad or now.mono - when < REPEAT_S):
            return
        self._said[trouble.about] = trouble.is_bad, now.mono
        _log.log(logging.ERROR if trouble.is_bad else logging.WARNING, "%s", trouble.text)

    def _troubles(self, service: Service, number: int, now: Instant) -> Iterator[Trouble]:
        try:
            self._store.check_place()
            self._store.open()
        except StoreError as exc:
            yield Trouble(
                about=_STORE, text=f"{exc}; until then nobody can enroll, though /cacerts answers"
            )
        if number == 0:
            yield from self._disk()
            yield from _lapses(service, now)

    def _disk(self) -> Iterator[Trouble]:
        free = free_bytes(self._store.path)
        if free is not None and free < LOW_BELOW_BYTES:
            yield Trouble(
                about=f"the disk of {self._store.path.parent}",
                text=f"the disk of {self._store.path.parent} has only {free // 1024} KiB free:"
                " nothing can be issued when it is full; make room there",
                is_bad=False,
            )


_STORE: Final = "the store"


def _lapses(service: Service, now: Instant) -> Iterator[Trouble]:
    for validity in service.validities:
        standing = validity.standing(now.wall)
        if standing is not Standing.GOOD:
            # There may be several in one file.
            about = f"{validity.what}\n{validity.starts} {validity.ends}"
            yield Trouble(about=about, text=validity.text(now.wall), is_bad=standing.is_bad)
