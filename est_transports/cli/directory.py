"""What the server's commands do with DIR: read its configuration, open its store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from est_transports.cli._common import CliError, ExitCode
from est_transports.config import ServerConfig
from est_transports.config_reader import CONFIG_FILE, load_config
from est_transports.founding import FoundingError
from est_transports.serving import ServingError
from est_transports.stores import StoreError
from est_transports.stores.sqlite import SqliteStore
from est_transports.toml_tables import ConfigError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def directory_argument(command: _Command) -> _Command:
    """Add the argument DIR; the command gets `directory`."""
    kind = click.Path(path_type=Path)
    return click.argument("directory", metavar="DIR", type=kind)(command)


@contextmanager
def local_errors() -> Iterator[None]:
    """Turn what is wrong with the files of this machine into a CliError (LOCAL)."""
    try:
        yield
    except (ConfigError, FoundingError, ServingError, StoreError) as exc:
        raise CliError(str(exc), ExitCode.LOCAL) from exc


def read_config(directory: Path) -> ServerConfig:
    """Return what DIR/est.toml says. Raises CliError."""
    path = directory / CONFIG_FILE
    if not path.exists():
        raise CliError(
            f"{directory}: there is no {CONFIG_FILE}", ExitCode.LOCAL, f"run: est init {directory}"
        )
    with local_errors():
        return load_config(path)


@contextmanager
def open_store(directory: Path) -> Iterator[SqliteStore]:
    """Lend the store of DIR, whether or not a server uses it now. Raises CliError."""
    config = read_config(directory)
    with local_errors():
        store = SqliteStore(config.ca.store)
        try:
            yield store
        finally:
            store.close()
