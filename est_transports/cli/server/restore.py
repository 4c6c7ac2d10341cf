"""`est restore`: the directory of a CA from a backup, and what is to be done afterwards."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from est_core import LocalProtocolError
from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, warn
from est_transports.cli.paths import PATH
from est_transports.cli.server.backup import backup_errors, manifest_values, told
from est_transports.cli.server.directory import directory_argument, local_errors
from est_transports.pki.serials import printed_serial
from est_transports.service.backup.manifest import LeftOut, Reason
from est_transports.service.backup.restoring import Restored, restore_backup
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.config.settings import ServerConfig
from est_transports.service.unrecorded import Unrecorded, unrecorded
from est_transports.toml.tables import ConfigError

_SHOWN: Final = 20


@click.command()
@click.argument("file", metavar="FILE", type=PATH)
@directory_argument
@click.option(
    "--audit",
    metavar="FILE",
    type=PATH,
    help="An audit file that is newer than the backup: certificates that are only in it are told.",
)
@click.option("--force", is_flag=True, help="Move what is in DIR aside, to DIR.old-1.")
@json_option
@verbose_option
def restore(file: Path, directory: Path, audit: Path | None, force: bool, as_json: bool) -> None:
    """Make DIR of the backup FILE, all of it or nothing, and say what is still to be done.

    DIR is new or empty. Nothing is written before all of FILE was read and found whole, and nothing
    while a server uses DIR.
    """
    try:
        with backup_errors(), local_errors():
            restored = restore_backup(file, directory, replace=force)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE, "name a directory for the CA alone") from exc
    config = _config(directory)
    lacking = _lacking(config, directory, restored, audit)
    missing = tuple(_missing(restored, directory))
    if as_json:
        print_json(
            {
                "directory": str(directory.absolute()),
                "aside": None if restored.aside is None else str(restored.aside),
                "backup": manifest_values(restored.manifest),
                "put_back": [{"path": each.path, "named_by": each.named_by} for each in missing],
                "not_on_record": [
                    {**_values(each), "serial": printed_serial(each.serial)} for each in lacking
                ],
            }
        )
    else:
        _print(directory, restored, missing, lacking)


def _values(each: Unrecorded) -> dict[str, str]:
    return {"serial": each.serial, "subject": each.subject, "issued_at": each.time}


def _config(directory: Path) -> ServerConfig | None:
    """Return what the est.toml says that was restored; None, with a warning, if it is unusable."""
    try:
        return load_config(directory / CONFIG_FILE)
    except ConfigError as exc:
        warn(f"{exc}; correct it before est serve")
        return None


def _lacking(
    config: ServerConfig | None, directory: Path, restored: Restored, audit: Path | None
) -> tuple[Unrecorded, ...]:
    """Return the certificates that were issued after the backup, as far as audit files tell."""
    named = None if config is None else config.audit.file
    files = [each for each in (audit, named) if each is not None]
    if restored.aside is not None and named is not None:
        files.append(restored.aside / os.path.relpath(named, directory))
    try:
        store = SqliteStore(directory / restored.manifest.store)
        try:
            return unrecorded(store, files)
        finally:
            store.close()
    except (OSError, StoreError) as exc:
        warn(f"which certificates are not on record cannot be told: {exc}")
        return ()


def _missing(restored: Restored, directory: Path) -> Iterator[LeftOut]:
    """Yield what has to be put back: left out of the backup, and not there now."""
    for each in restored.manifest.left_out:
        is_needed = each.reason in (Reason.SECRET, Reason.OUTSIDE)
        if is_needed and not os.path.lexists(directory / each.path):
            yield each


def _print(
    directory: Path,
    restored: Restored,
    missing: tuple[LeftOut, ...],
    lacking: tuple[Unrecorded, ...],
) -> None:
    manifest, place = restored.manifest, shlex.quote(str(directory))
    print_line(f"{directory}: {told(manifest)}")
    if restored.aside is not None:
        print_line(f"What was there is now in {restored.aside}")
    if manifest.store_outside is not None:
        print_line(
            f"est.toml names the store {manifest.store_outside}, and it is in"
            f" {directory / manifest.store}: move it there, or correct [ca] store"
        )
    for each in missing:
        named = f" ({each.named_by})" if each.named_by else ""
        print_line(f"Put back {directory / each.path}{named}: it is not in the backup")
    print_line(
        f"Certificates that were issued after {moment(manifest.created)} are not on record:"
        " they are not renewed, and cannot be revoked by name. Their devices enroll anew"
    )
    for lack in lacking[:_SHOWN]:
        print_line(f"  {printed_serial(lack.serial)} {lack.subject} of {lack.time}")
    if len(lacking) > _SHOWN:
        print_line(f"  and {len(lacking) - _SHOWN} more; --json has them")
    print_line("Next:")
    print_line(f"  est serve {place}")
