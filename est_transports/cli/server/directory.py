"""What the server's commands do with DIR: read its configuration, open its store."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import click

from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.paths import PATH
from est_transports.service.audit.file import AuditFileError
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.config.settings import ServerConfig
from est_transports.service.errors import ServingError
from est_transports.service.initialisation import InitialisationError
from est_transports.toml.tables import ConfigError

_PAGE: Final = 1000
_Record = TypeVar("_Record")
_Record_co = TypeVar("_Record_co", covariant=True)
_Command = TypeVar("_Command", bound=Callable[..., Any])


def directory_argument(command: _Command) -> _Command:
    """Add the argument DIR; the command gets `directory`."""
    return click.argument("directory", metavar="DIR", type=PATH)(command)


@contextmanager
def local_errors() -> Iterator[None]:
    """Turn what is wrong with the files of this machine into a CliError (LOCAL)."""
    try:
        yield
    except (
        AuditFileError, ConfigError, InitialisationError, ServingError, StoreError
    ) as exc:  # fmt: skip
        raise CliError(str(exc), ExitCode.LOCAL) from exc


def read_config(directory: Path) -> ServerConfig:
    """Return what DIR/est.toml says. Raises CliError."""
    path = directory / CONFIG_FILE
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise _no_ca(directory) from exc
    with local_errors():
        return load_config(path)


def opened_store(config: ServerConfig) -> SqliteStore:
    """Return the store that a configuration names. Raises CliError."""
    if not config.ca.store.exists():
        raise CliError(
            f"{config.ca.store}: does not exist",
            ExitCode.LOCAL,
            f"restore it from a backup, or correct [ca] store in {CONFIG_FILE}",
        )
    with local_errors():
        return SqliteStore(config.ca.store)


@contextmanager
def open_store(directory: Path) -> Iterator[SqliteStore]:
    """Lend the store of DIR, whether or not a server uses it now. Raises CliError."""
    config = read_config(directory)
    store = opened_store(config)
    with local_errors():
        try:
            yield store
        finally:
            store.close()


class _List(Protocol[_Record_co]):
    def __call__(self, *, limit: int = ..., after: str | None = ...) -> tuple[_Record_co, ...]: ...


def all_of(
    pages: _List[_Record], key: Callable[[_Record], str], after: str | None = None
) -> Iterator[_Record]:
    """Yield all records that a method of a store lists by pages, those after the key `after`."""
    while page := pages(limit=_PAGE, after=after):
        yield from page
        after = key(page[-1])


def _no_ca(directory: Path) -> CliError:
    if directory.exists() and not directory.is_dir():
        reason, hint = "is a file, not the directory of a CA", "check the path"
    else:
        reason, hint = "is not the directory of a CA", "check the path"
        if not directory.exists() or not any(directory.iterdir()):
            hint += f", or make one with: est init {shlex.quote(str(directory))}"
    return CliError(f"{directory}: {reason}", ExitCode.LOCAL, hint)
