"""The numbered directories below `pairs`, and the links that lead to them: made, switched, removed.

`PairDirectory` says which step fits what is there; here is what each does to the disk, and in which
order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography import x509

from est_transports.files.durable import TEMPORARY, OpenDirectory
from est_transports.files.ownership import Ownership, ownership_of
from est_transports.pairs.contents import read_pair, whole_of
from est_transports.pairs.errors import PairError
from est_transports.pairs.layout import (
    ANCHORS,
    CANDIDATE,
    CURRENT,
    PAIRS,
    PARTS,
    PREVIOUS,
    SECRETS,
    TOP,
    USED,
    WHOLE,
    candidate_number,
    leads_to,
    number_of,
    previous_number,
    running_number,
    temporaries,
)
from est_transports.pairs.values import Pair
from est_transports.pki.credential_files import certificates_pem

_SECRET_MODE: Final = 0o600
_PUBLIC_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = 0o007


class NumberedPairs:
    """The directories of pairs below an open one. Whoever changes them holds the lock."""

    def __init__(self, root: OpenDirectory, pairs: OpenDirectory, password: bytes | None) -> None:
        self.root = root
        self.pairs = pairs
        self._password = password
        self._last_number = 0

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers that are taken, in order."""
        found = (number_of(name) for name in self.pairs.names())
        return tuple(sorted(number for number in found if number is not None))

    def previous(self) -> int | None:
        """Return the number of the pair that ran before, None where there is none."""
        running = running_number(self.root)
        if running is None or not self.has(running):
            return None
        with self.pairs.directory(str(running)) as files:
            number = previous_number(files)
        return number if number is not None and self.has(number) else None

    def has(self, number: int) -> bool:
        """Return whether there is anything of that number."""
        return self.pairs.status(str(number)) is not None

    def is_used(self) -> bool:
        """Return whether a pair has run here. Then `current` is missing only if it was removed."""
        return self.pairs.status(USED) is not None

    def note_used(self) -> None:
        """Note that a pair has run here, now that its link is on the disk.

        Where that cannot be written, or is lost, it is written when the directory is opened again.
        """
        with suppress(OSError):
            if not self.is_used():
                self.pairs.write(USED, b"", default_owner(self.root.path, _SECRET_MODE))

    @contextmanager
    def make(self) -> Iterator[tuple[int, OpenDirectory]]:
        """Lend a new directory; its name is on the disk when `pairs` was synced.

        A number is not given twice: who looks at a candidate does not take another for it.
        """
        running = running_number(self.root)
        number = self._last_number = self._free_number(running)
        owner = None if running is None else ownership_of(self.pairs.path / str(running))
        owner = owner or default_owner(self.root.path, _DIRECTORY_MODE)
        with self.pairs.make(str(number), owner) as files:
            yield number, files

    def _free_number(self, running: int | None) -> int:
        """Return a number that nothing has, and no link leads to, whether it is there or not."""
        found = [self._last_number, running, candidate_number(self.root)]
        if running is not None and self.has(running):
            # Something else may be there in place of that link: it is told when it is followed.
            with suppress(PairError), self.pairs.directory(str(running)) as files:
                found.append(previous_number(files))
        number = max(each for each in found if each is not None) + 1
        while self.has(number):
            number += 1
        return number

    def write(self, files: OpenDirectory, name: str, content: bytes) -> None:
        """Write a file of a pair, for whom the running pair's file of that name is."""
        mode = _SECRET_MODE if name in SECRETS else _PUBLIC_MODE
        owner = ownership_of(self.root.path / CURRENT / name)
        owner = owner or default_owner(self.root.path, mode)
        if name in SECRETS:
            owner = Ownership(
                uid=owner.uid, gid=owner.gid, mode=owner.mode & ~_OTHERS, acl=owner.acl
            )
        files.write(name, content, owner)

    def write_certificates(
        self, files: OpenDirectory, name: str, certificates: Sequence[x509.Certificate]
    ) -> None:
        """Write a file of certificates; with none of them there is no such file."""
        if certificates:
            self.write(files, name, certificates_pem(certificates))
        else:
            files.remove(name)

    def complete(
        self, files: OpenDirectory, anchors: Sequence[x509.Certificate], before: int | None
    ) -> Pair:
        """Write what a pair has and a candidate has not, durably, and return the pair.

        It is read from the disk and checked: only what is returned may be switched to.
        """
        whole = whole_of(files)
        if whole is not None:
            self.write(files, WHOLE, whole)
        self.write_certificates(files, ANCHORS, anchors)
        if before is None:
            files.remove(PREVIOUS)
        else:
            files.link(PREVIOUS, f"../{before}")
        files.sync()
        return read_pair(files, self._password)

    def switch(self, link: str, number: int) -> None:
        """Have `current` or `candidate` lead to another pair, durably."""
        self.root.link(link, f"{PAIRS}/{number}")
        self.root.sync()

    def forget_candidate(self) -> None:
        """Take the link to the candidate away, durably, and what it led to, unless it runs."""
        if leads_to(self.root, CANDIDATE, f"{PAIRS}/") is not None:
            self.root.remove(CANDIDATE)
            self.root.sync()
        self.clean()

    def settle(self) -> None:
        """Take the link of a candidate that runs already away, durably.

        It says nothing while that pair runs, and would lead to a candidate again once another does.
        """
        number = leads_to(self.root, CANDIDATE, f"{PAIRS}/")
        if number is not None and number == running_number(self.root):
            self.root.remove(CANDIDATE)
            self.root.sync()

    def recover(self) -> None:
        """Finish what was begun by a process that was killed.

        What can be seen may not be on the disk yet; it is made so before anything depends on it.
        """
        self.root.sync()
        with suppress(PairError):  # a link of somebody else: told when it is needed
            number = leads_to(self.root, CANDIDATE, f"{PAIRS}/")
            if number is not None and self.has(number):
                with self.pairs.directory(str(number)) as files:
                    files.sync()
            self.settle()
            if running_number(self.root) is not None:
                self.note_used()
        self.clean()

    def clean(self) -> None:
        """Remove what no link leads to, by the names that it has of us.

        What cannot be removed now is left for the next time, and so are files of others with the
        directory they are in. Where the running pair is missing no other is removed.
        """
        with suppress(PairError, OSError):
            for name in temporaries(TOP):
                self.root.remove(name)
            self.pairs.remove(TEMPORARY + USED)
            running = running_number(self.root)
            is_missing = self.is_used() if running is None else not self.has(running)
            kept = {running, candidate_number(self.root), self.previous()}
            for number in self.numbers():
                if number in kept or is_missing:
                    self._remove(number, temporaries(PARTS))
                else:
                    self._remove(number, temporaries(PARTS) + PARTS)
                    with suppress(OSError):
                        self.pairs.remove_directory(str(number))

    def _remove(self, number: int, names: tuple[str, ...]) -> None:
        with suppress(OSError), self.pairs.directory(str(number)) as files:
            there = files.names()
            for name in names:
                if name in there:
                    files.remove(name)


def default_owner(path: Path, mode: int) -> Ownership:
    """Return to whom something new in a directory belongs: to whom the directory does."""
    status = path.stat()
    return Ownership(uid=status.st_uid, gid=status.st_gid, mode=mode)
