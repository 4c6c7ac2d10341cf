"""The directory itself: a running pair, a candidate, and the one step from the one to the other.

What can happen at any instant: this process is killed, the power goes, the disk refuses a write,
another program reads. Why a working pair is there all the same:

1. A pair never changes while it runs. What is new is made in a directory of its own, which nothing
   refers to until all of it is on the disk: content, then names, then the directory's own name.
2. What refers to it is one symbolic link, `current`, replaced by a rename: it leads to the old pair
   or to the new one, and `previous`, which is part of the pair, changes with it.
3. Nothing is removed before the link that stopped leading to it is on the disk.
4. A key is on the disk before its request may be sent, and stays while an answer may come:
   `candidate` leads to it, and only `discard` or a promotion takes that away.
5. Whoever comes after a crash cannot see what of that the disk has: so `open` syncs the directories
   before anything is decided by what they show, and then finishes what was begun: a candidate that
   runs already is no candidate any more, and what no link leads to is removed, by its names. Files
   of others are left alone; a link of others is never followed or replaced.

Where `current` was taken away by somebody, no pair is removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography import x509

from est_core import LocalProtocolError
from est_core.arguments import checked, checked_throughout
from est_transports.files.durable import OpenDirectory
from est_transports.files.ownership import ownership_of
from est_transports.pairs.contents import check_candidate, read_candidate, read_pair, request_key
from est_transports.pairs.errors import PairError, damaged, disk_errors
from est_transports.pairs.layout import (
    CANDIDATE,
    CERTIFICATE,
    CHAIN,
    CURRENT,
    KEY,
    KEY_REFERENCE,
    MAX_BYTES,
    PAIRS,
    PREVIOUS,
    REQUEST,
    SENT,
    STATE,
    candidate_number,
    running_number,
)
from est_transports.pairs.lock import drop_lock, take_lock
from est_transports.pairs.look import (
    MAX_STATE_BYTES,
    look,
    open_pair,
    open_root,
    pairs_of,
    read_state,
)
from est_transports.pairs.numbered import NumberedPairs, default_owner
from est_transports.pairs.values import Candidate, KeyReference, Pair, PairView, read_key

_SECRET_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_COPIED: Final = (KEY, KEY_REFERENCE, CERTIFICATE, CHAIN, REQUEST)
"""What a pair with other anchors has of the one that it replaces."""


@checked_throughout
class PairDirectory:
    """A directory of pairs whose lock this process holds. `open` it, in a `with`.

    What a method did is on the disk when it returns. One that raises PairError has left the
    running pair as it was; only where `promote`, `roll_back` or `replace_anchors` could not get
    the switch onto the disk, `running` may be the new one. Either is whole.

    One thread at a time.
    """

    def __init__(self, numbered: NumberedPairs, lock: int, password: bytes | None) -> None:
        self.path: Path = numbered.root.path
        self._opened: NumberedPairs | None = numbered
        self._lock = lock
        self._password = password

    @classmethod
    @checked
    def open(
        cls, path: Path, *, create: bool = False, password: bytes | None = None, holder: str = ""
    ) -> PairDirectory:
        """Take the lock of a directory and finish what a crash left; `create` makes it, 0700.

        `password` opens encrypted keys. `holder`, such as "est agent", is shown to whoever finds
        the directory locked. Raises PairError: `pair/locked` names the process that has it.
        """
        with ExitStack() as stack, disk_errors(path):
            root = stack.enter_context(open_root(path, create=create))
            if not create:
                pairs_of(root).close()  # no lock file in a directory that is something else
            lock = take_lock(root, holder, default_owner(path, _SECRET_MODE))
            stack.callback(drop_lock, lock)
            if create and root.status(PAIRS) is None:
                root.make(PAIRS, default_owner(path, _DIRECTORY_MODE)).close()
            numbered = NumberedPairs(root, stack.enter_context(pairs_of(root)), password)
            numbered.recover()
            stack.pop_all()
            return cls(numbered, lock, password)

    @staticmethod
    @checked
    def look(path: Path) -> PairView:
        """Return what is in a directory, without its lock: all of it as it was at one moment.

        Raises PairError.
        """
        return look(path)

    def close(self) -> None:
        """Give the lock back."""
        if self._opened is not None:
            numbered, self._opened = self._opened, None
            with numbered.root, numbered.pairs:
                drop_lock(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What is there

    @property
    def running(self) -> Pair | None:
        """The pair in use, None where there was none yet. Raises PairError for one damaged."""
        with self._disk() as numbered:
            number = running_number(numbered.root)
            if number is None:
                self._check_none_lost(numbered)
                return None
            with open_pair(numbered.pairs, number, CURRENT) as files:
                return read_pair(files, self._password)

    @property
    def previous(self) -> Pair | None:
        """The pair that ran before, None for none. Raises PairError for one damaged."""
        with self._disk() as numbered:
            number = numbered.previous()
            if number is None:
                return None
            with open_pair(numbered.pairs, number, PREVIOUS) as files:
                return read_pair(files, self._password)

    @property
    def candidate(self) -> Candidate | None:
        """What is to replace the running pair, None for none. Raises PairError if damaged."""
        with self._disk() as numbered:
            number = candidate_number(numbered.root)
            if number is None:
                return None
            with open_pair(numbered.pairs, number, CANDIDATE) as files:
                return read_candidate(files, self._password)

    @property
    def state(self) -> str:
        """The text that was saved last, empty at first. Damage to it is not found here."""
        with self._disk() as numbered:
            return read_state(numbered.root)

    def save_state(self, text: str) -> None:
        """Keep a text of at most 64 KiB in place of the last one."""
        raw = text.encode("utf-8", "replace")
        if len(raw) > MAX_STATE_BYTES:
            raise LocalProtocolError(f"a state has at most {MAX_STATE_BYTES} bytes")
        with self._disk() as numbered:
            owner = ownership_of(self.path / STATE) or default_owner(self.path, _SECRET_MODE)
            numbered.root.write(STATE, raw, owner)
            numbered.root.sync()

    # A candidate, step by step

    def begin(self, key: bytes | KeyReference, request: bytes | None) -> Candidate:
        """Keep a new key, in PEM or by its reference, and the DER of the request that goes with it.

        A key that is elsewhere needs a request: by that its certificate is recognised. Raises
        LocalProtocolError for a request of another key, and PairError for a key that cannot be
        read, or where there is a candidate.
        """
        self._check_request(key, request)
        with self._disk() as numbered:
            if candidate_number(numbered.root) is not None:
                raise self._out_of_order("has a candidate already")
            try:
                with numbered.make() as (number, files):
                    if isinstance(key, KeyReference):
                        numbered.write(files, KEY_REFERENCE, f"{key.uri}\n".encode())
                    else:
                        numbered.write(files, KEY, key)
                    if request is not None:
                        numbered.write(files, REQUEST, request)
                    files.sync()
                    numbered.pairs.sync()
                    numbered.switch(CANDIDATE, number)
                    return read_candidate(files, self._password)
            except BaseException:
                numbered.clean()
                raise

    def mark_sent(self) -> None:
        """Note that a server may have seen the request from now on. Call it before it is sent."""
        with self._disk() as numbered, self._candidate_files(numbered) as (_, files):
            numbered.write(files, SENT, b"")
            files.sync()

    def receive(
        self, certificate: x509.Certificate, chain: Sequence[x509.Certificate] = ()
    ) -> None:
        """Keep the candidate's certificate and those of its issuers, its own issuer first.

        Raises PairError for the certificate of another key, and for a second certificate; the same
        one again is no error.
        """
        with self._disk() as numbered, self._candidate_files(numbered) as (_, files):
            check_candidate(files, self._password, certificate)
            present = read_candidate(files, self._password).certificate
            if present is not None and present != certificate:
                raise self._out_of_order("has a candidate with another certificate")
            if present is None:
                # The certificate says that all is there, so it comes last.
                numbered.write_certificates(files, CHAIN, chain)
                files.sync()
                numbered.write_certificates(files, CERTIFICATE, [certificate])
                files.sync()

    def discard(self) -> None:
        """Give the candidate up, if there is one: its key and its certificate are lost."""
        with self._disk() as numbered:
            numbered.forget_candidate()

    # The switch

    def promote(self, anchors: Sequence[x509.Certificate] = ()) -> Pair:
        """Make the candidate the running pair, with these trust anchors in trust.pem; return it.

        The pair that ran becomes `previous`, and the one before that is removed. Raises PairError
        for a candidate without a certificate, or with one for another key.
        """
        with self._disk() as numbered, self._candidate_files(numbered) as (number, files):
            if read_candidate(files, self._password).certificate is None:
                raise self._out_of_order("has a candidate without a certificate")
            running = running_number(numbered.root)
            before = running if running is not None and numbered.has(running) else None
            pair = numbered.complete(files, anchors, before)
            numbered.switch(CURRENT, number)
            numbered.note_used()
            with suppress(OSError):  # it is no candidate any more, by whatever link
                numbered.forget_candidate()
            return pair

    def roll_back(self) -> Pair:
        """Make the previous pair the running one, and the running one the previous; return it.

        The running one is not read: it may be damaged. Raises PairError where there is no previous.
        """
        with self._disk() as numbered:
            numbered.settle()
            running, number = running_number(numbered.root), numbered.previous()
            if number is None:
                raise PairError("pair/no-previous", f"{self.path}: no pair ran before this one")
            with open_pair(numbered.pairs, number, PREVIOUS) as files:
                pair = read_pair(files, self._password)
                files.link(PREVIOUS, f"../{running}")
                files.sync()
            numbered.switch(CURRENT, number)
            numbered.clean()
            return pair

    def replace_anchors(self, anchors: Sequence[x509.Certificate]) -> Pair:
        """Have the running pair with other trust anchors, switched as one pair is for another.

        The previous pair stays the previous one; a candidate stays. Raises PairError.
        """
        with self._disk() as numbered:
            running = running_number(numbered.root)
            if running is None:
                raise self._out_of_order("has no running pair")
            numbered.settle()
            try:
                with (
                    open_pair(numbered.pairs, running, CURRENT) as old,
                    numbered.make() as (number, new),
                ):
                    read_pair(old, self._password)
                    for name in sorted(set(_COPIED) & set(old.names())):
                        numbered.write(new, name, old.read(name, MAX_BYTES))
                    pair = numbered.complete(new, anchors, numbered.previous())
                numbered.pairs.sync()
                numbered.switch(CURRENT, number)
                return pair
            finally:
                numbered.clean()

    # Parts of it

    @contextmanager
    def _disk(self) -> Iterator[NumberedPairs]:
        if self._opened is None:
            raise LocalProtocolError(f"{self.path} is closed")
        with disk_errors(self.path):
            yield self._opened

    @contextmanager
    def _candidate_files(self, numbered: NumberedPairs) -> Iterator[tuple[int, OpenDirectory]]:
        number = candidate_number(numbered.root)
        if number is None:
            raise self._out_of_order("has no candidate")
        with open_pair(numbered.pairs, number, CANDIDATE) as files:
            yield number, files

    def _check_none_lost(self, numbered: NumberedPairs) -> None:
        """Raise PairError where a pair has run, and nothing leads to it any more."""
        if numbered.is_used():
            reason = f"is missing, although a pair has run; have it lead to one below {PAIRS}"
            raise damaged(self.path / CURRENT, reason)

    def _check_request(self, key: bytes | KeyReference, request: bytes | None) -> None:
        if isinstance(key, KeyReference):
            if request is None:
                raise LocalProtocolError("a key that is elsewhere needs a request")
            request_key(request)
            return
        public_key = read_key(self.path / KEY, key, self._password).public_key()
        if request is not None and request_key(request) != public_key:
            raise LocalProtocolError("the request is for another key")

    def _out_of_order(self, what: str) -> PairError:
        return PairError("pair/out-of-order", f"{self.path}: {what}")
