"""Revocation lists of a server that runs: made by the schedule and after each change, and filed.

One process of a server makes them; all others, and other programs, find the newest in the store.
What changed is seen by a number in the store, so that a revocation of another process counts as one
of this one does. A list is made anew at each start and reload, for the store may be an older one
then, restored from a backup, with an older list.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from est_core import Instant, LocalProtocolError
from est_transports import _clock
from est_transports.authority.crls import (
    CrlIssuer,
    crl_issuer_key,
    crl_issuers,
    crl_name,
    make_crl,
)
from est_transports.authority.stores import CrlRecord, StoreError
from est_transports.authority.stores.revocation_records import RevocationStore
from est_transports.pki.signers import SignerError
from est_transports.service.loading import Service

_log: Final = logging.getLogger("est_transports")

LOOK_S: Final = 1.0
"""How often it is looked whether a list has to be made."""
RETRY_S: Final = 10.0
REST: Final = 20
"""How many times as long as a list took it is waited for the next one: a long list costs most."""
REPEAT_S: Final = 3600.0
"""How often a failure that lasts is said again."""
_FILE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755


def file_newest(directory: Path, store: RevocationStore, issuer_key: bytes) -> Path | None:
    """Write the newest list of a key into its file, and return that; None where there is no list.

    Of several processes none puts an older list over a newer one. Raises OSError, StoreError.
    """
    _make(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        crl = store.find_crl(issuer_key)
        if crl is None:
            return None
        _replace(descriptor, crl_name(issuer_key), crl.der)
    finally:
        os.close(descriptor)
    return directory / crl_name(issuer_key)


def _make(directory: Path) -> None:
    """Make a directory that belongs to whom the one around it belongs, unless it is there."""
    try:
        directory.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        return
    directory.chmod(_DIRECTORY_MODE)  # whatever the umask says
    if os.geteuid() == 0:  # a server that is somebody else's writes there too
        around = directory.parent.stat()
        os.chown(directory, around.st_uid, around.st_gid)


def _replace(directory: int, name: str, content: bytes) -> None:
    """Put a file into its place, whole or not at all, and durably."""
    temporary = f".{name}.new"
    with suppress(FileNotFoundError):  # of a process that was killed, and maybe of another user
        os.unlink(temporary, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, _FILE_MODE, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, _FILE_MODE)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


class CrlPublisher:
    """Makes the lists of what a process serves, and files them. One thread at a time may call it.

    What fails is logged once, and tried again.
    """

    def __init__(self, *, clock: Callable[[], Instant] = _clock.instant) -> None:
        self._clock = clock
        self._service: Service | None = None
        self._last: dict[bytes, CrlRecord] = {}
        self._filed: dict[bytes, int] = {}
        self._not_before = 0.0
        self._failure = ""
        self._said_at = 0.0

    def __call__(self, service: Service) -> None:
        """Make the lists that are wanted, and file the newest that there are."""
        now = self._clock()
        if not service.config.crl.enabled or now.mono < self._not_before:
            return
        if service is not self._service:
            self._service, self._last = service, {}
        try:
            for issuer in crl_issuers(service.authority.ca):
                if issuer.signs_crls:  # what does not is said as a notice of the service
                    self._publish(issuer, service, now)
        except (LocalProtocolError, OSError, SignerError, StoreError) as exc:
            self._fail(exc, now)
            return
        if self._failure:
            _log.info("revocation lists: in order again")
        self._failure = ""
        self._not_before = now.mono + REST * (self._clock().mono - now.mono)

    def _publish(self, issuer: CrlIssuer, service: Service, now: Instant) -> None:
        making, store, key = service.config.crl, service.authority.store, crl_issuer_key(issuer)
        last = self._last.get(key)
        is_due = last is None or making.schedule.is_due(last, now.wall)
        if is_due or last is None or store.revocation_changes() != last.changes:
            self._last[key] = make_crl(issuer, store, making.schedule, now=now.wall)
        if making.directory is not None:
            self._file(key, making.directory, store)

    def _file(self, key: bytes, directory: Path, store: RevocationStore) -> None:
        newer = store.find_crl(key, newer_than=self._filed.get(key, 0))
        if newer is not None or not (directory / crl_name(key)).exists():
            file_newest(directory, store, key)
            if newer is not None:
                self._filed[key] = newer.number
                _log.info("revocation list %d is filed", newer.number)

    def _fail(self, exc: Exception, now: Instant) -> None:
        self._not_before = now.mono + RETRY_S
        text = f"{exc.filename}: {exc.strerror}" if isinstance(exc, OSError) else str(exc)
        if text != self._failure or now.mono - self._said_at >= REPEAT_S:
            self._failure, self._said_at = text, now.mono
            _log.error("the revocation list was not made, or not filed: %s; trying again", text)
