"""What of a CA's directory belongs into a backup: the files that est.toml names below it.

Not all that lies there: a log, an editor's copy or an older backup would come along. And not what
est.toml names elsewhere: that belongs to the machine, and has its own place in another backup. Both
are listed, so that nobody finds out when it is too late.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from est_core.values import value_class
from est_transports.service.audit.reading import audit_files
from est_transports.service.backup.archive import MEMBERS_MAX
from est_transports.service.backup.errors import BackupError
from est_transports.service.backup.manifest import LeftOut, Reason
from est_transports.service.config.reader import CONFIG_FILE, files_named
from est_transports.service.config.settings import ServerConfig
from est_transports.service.initialisation import CA_CERTIFICATE, CA_KEY, ROOT_KEY, SERVER_KEY
from est_transports.toml.tables import NamedFile

UNNAMED_MAX: Final = 20
"""So many files that nothing names are listed."""
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of any file but the store and audit files; revocation lists may be large."""

_SECRET_KEY: Final = re.compile(r"(?:.*_)?(?:keys?|secret|password_file)")
_SECRET_INSIDE: Final = b"PRIVATE KEY"
_OWN: Final = (CA_CERTIFICATE, CA_KEY, ROOT_KEY, SERVER_KEY)
"""Files of `est init` that a directory may have though est.toml names others, or none."""
_LOGS: Final = ("-wal", "-shm", "-journal")


@value_class
class Found:
    """A file to be taken: its path below the directory, and where to read it.

    `grows`: it is an audit file, of which whole lines are taken as it is at that moment.
    """

    path: str
    source: Path
    secret: bool = False
    grows: bool = False


@value_class
class Contents:
    """What is to be taken, without the store; where that goes, and what is left out."""

    files: tuple[Found, ...]
    store: str
    store_outside: Path | None
    left_out: tuple[LeftOut, ...]


def is_secret_key(key: str) -> bool:
    """True if a key of est.toml names a file that nobody else may read."""
    return _SECRET_KEY.fullmatch(key) is not None


def contents_of(
    directory: Path, config: ServerConfig, *, with_keys: bool, with_audit: bool
) -> Contents:
    """Return what belongs into a backup of a directory with that configuration.

    Raises BackupError for what cannot be in one: a directory or pipe, say, where a file should be.
    """
    gathered = _Gathered(directory)
    store = gathered.below(config.ca.store)
    gathered.add(directory / CONFIG_FILE, "", is_secret=False)
    for named in files_named(directory / CONFIG_FILE):
        if named.path == config.ca.store:
            continue
        if named.path == config.crl.directory:  # of lists that a server makes anew at its start
            gathered.pass_over(named.path)
            continue
        if named.path == config.audit.file:
            _add_audit(gathered, named, with_audit=with_audit)
        elif (named.table, named.key) != ("audit", "file"):  # which is turned off
            gathered.add(named.path, _text_of(named), is_secret=is_secret_key(named.key))
    for name in _OWN:
        gathered.add(directory / name, "", is_secret=name != CA_CERTIFICATE)
    files = list(gathered.found.values())
    if not with_keys:
        gathered.left_out += [
            LeftOut(path=each.path, named_by=gathered.named_by[each.path], reason=Reason.SECRET)
            for each in files
            if each.secret
        ]
        files = [each for each in files if not each.secret]
    place = store or config.ca.store.name
    if place in gathered.found:
        raise BackupError(f"{config.ca.store}: would have the place of another file, {place}")
    if len(files) >= MEMBERS_MAX:
        raise BackupError(f"est.toml names more than {MEMBERS_MAX} files")
    unnamed = tuple(_unnamed(directory, {*gathered.found, *gathered.passed_over, place}))
    return Contents(
        files=tuple(files),
        store=place,
        store_outside=None if store else config.ca.store,
        left_out=(*gathered.left_out, *unnamed),
    )


def _add_audit(gathered: _Gathered, named: NamedFile, *, with_audit: bool) -> None:
    """Add the audit file and those that it was rotated to, the newest first.

    In this order a rotation meanwhile has one of them taken twice, and costs but the oldest.
    """
    for path in audit_files(named.path):
        if with_audit:
            gathered.add(path, _text_of(named), is_secret=False, grows=True)
        elif (below := gathered.below(path)) is not None:
            gathered.pass_over(path)
            gathered.left_out.append(
                LeftOut(path=below, named_by=_text_of(named), reason=Reason.AUDIT)
            )


class _Gathered:
    """What was found so far."""

    def __init__(self, directory: Path) -> None:
        self._directory = Path(os.path.abspath(directory))
        self._real = directory.resolve()
        self.found: dict[str, Found] = {}
        self.named_by: dict[str, str] = {}
        self.passed_over: set[str] = set()
        self.left_out: list[LeftOut] = []

    def below(self, path: Path) -> str | None:
        """Return the path below the directory, None if it is elsewhere, or leads elsewhere."""
        place = os.path.relpath(os.path.abspath(path), self._directory)
        is_inside = place.split("/")[0] not in (".", "..")
        return place if is_inside and self._real in path.resolve().parents else None

    def pass_over(self, path: Path) -> None:
        """Take it that a file is known, and not taken."""
        self.passed_over.add(os.path.relpath(os.path.abspath(path), self._directory))

    def add(self, path: Path, named_by: str, *, is_secret: bool, grows: bool = False) -> None:
        """Take a file, if it is there and below; list it if it is there and elsewhere."""
        if not os.path.lexists(path):
            return
        place = self.below(path)
        if place is None:
            reason, text = Reason.OUTSIDE, os.path.abspath(path)
            self.pass_over(path)
            if text not in {each.path for each in self.left_out}:
                self.left_out.append(LeftOut(path=text, named_by=named_by, reason=reason))
            return
        before = self.found.get(place)
        self.named_by.setdefault(place, named_by)
        self.found[place] = Found(
            path=place,
            source=path,
            secret=is_secret or (before is not None and before.secret) or _holds_key(path),
            grows=grows,
        )


def _holds_key(path: Path) -> bool:
    """True if a file has a private key in it, whatever it is called. BackupError: not a file."""
    try:
        if not path.is_file():
            raise BackupError(f"{path}: is a directory, pipe or device, not a file")
        if path.stat().st_size > FILE_BYTES_MAX:
            return False  # which is an audit file; another one is refused when it is read
        with path.open("rb") as file:
            return _SECRET_INSIDE in file.read(FILE_BYTES_MAX)
    except OSError as exc:
        raise BackupError(f"{path}: {exc.strerror}") from exc


def _text_of(named: NamedFile) -> str:
    return f"[{named.table}] {named.key}" if named.table else named.key


def _unnamed(directory: Path, known: set[str]) -> Iterator[LeftOut]:
    """Yield what else lies in the directory; of one in it with anything known, nothing."""
    around = {each.partition("/")[0] for each in known}
    logs = {f"{each}{suffix}" for each in known for suffix in _LOGS}
    others = sorted(set(os.listdir(directory)) - around - logs)
    for name in others[:UNNAMED_MAX]:
        yield LeftOut(path=name, named_by="", reason=Reason.UNNAMED)
