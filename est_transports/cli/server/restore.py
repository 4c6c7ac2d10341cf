"""`est restore`: the directory of a CA from a backup, and what is to be done afterwards."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from est_core import LocalProtocolError
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line
from est_transports.cli.paths import PATH
from est_transports.cli.server.after_restore import After, look_after
from est_transports.cli.server.backup import backup_errors, manifest_values, told
from est_transports.cli.server.directory import directory_argument, local_errors
from est_transports.pki.serials import printed_serial
from est_transports.pki.trust import load_pem_crls
from est_transports.service.backup.restoring import Restored, restore_backup
from est_transports.service.unrecorded import Unrecorded

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
@click.option(
    "--crl",
    "crls",
    metavar="FILE",
    type=PATH,
    multiple=True,
    help="A revocation list of the CA that is newer than the backup: what is on it is revoked.",
)
@click.option("--force", is_flag=True, help="Move what is in DIR aside, to DIR.old-1.")
@json_option
@verbose_option
def restore(
    file: Path,
    directory: Path,
    audit: Path | None,
    crls: tuple[Path, ...],
    force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Make DIR of the backup FILE, all of it or nothing, and say what is still to be done.

    DIR is new or empty. Nothing is written before all of FILE was read and found whole, and nothing
    while a server uses DIR.
    """
    lists = [each for path in crls for each in load_pem_crls(path)]
    try:
        with backup_errors(), local_errors():
            restored = restore_backup(file, directory, replace=force)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE, "name a directory for the CA alone") from exc
    after = look_after(directory, restored, audit, lists)
    if as_json:
        print_json(
            {
                "directory": str(directory.absolute()),
                "aside": None if restored.aside is None else str(restored.aside),
                "backup": manifest_values(restored.manifest),
                "put_back": [
                    {"path": each.path, "named_by": each.named_by} for each in after.missing
                ],
                "not_on_record": [_values(each) for each in after.lacking],
                "newer_lists": after.newer_lists,
                "revoked_again": [printed_serial(each) for each in after.revoked.again],
                "revoked_not_on_record": [printed_serial(each) for each in after.revoked.unknown],
            }
        )
    else:
        _print(directory, restored, after)


def _values(each: Unrecorded) -> dict[str, str]:
    return {
        "serial": printed_serial(each.serial), "subject": each.subject, "issued_at": each.time,
    }  # fmt: skip


def _print(directory: Path, restored: Restored, after: After) -> None:
    manifest, place = restored.manifest, shlex.quote(str(directory))
    print_line(f"{directory}: {told(manifest)}")
    if restored.aside is not None:
        print_line(f"What was there is now in {restored.aside}")
    if manifest.store_outside is not None:
        print_line(
            f"est.toml names the store {manifest.store_outside}, and it is in"
            f" {directory / manifest.store}: move it there, or correct [ca] store"
        )
    for each in after.missing:
        named = f" ({each.named_by})" if each.named_by else ""
        print_line(f"Put back {directory / each.path}{named}: it is not in the backup")
    print_line(
        f"Certificates that were issued after {moment(manifest.created)} are not on record:"
        " they cannot be revoked, and renew only by adopt_unknown of a profile; or enroll anew"
    )
    _print_some(f"{printed_serial(each.serial)} {each.subject}" for each in after.lacking)
    if after.revoked.again:
        print_line("Revoked again, as the revocation lists of this CA say:")
        _print_some(map(printed_serial, after.revoked.again))
    elif not after.newer_lists:
        print_line("No newer revocation list was found: revoke again what was revoked since")
    if after.revoked.unknown:
        print_line("Revoked, and on no list any more, since they are not on record:")
        _print_some(map(printed_serial, after.revoked.unknown))
    print_line("Next:")
    print_line(f"  est serve {place}")


def _print_some(lines: Iterable[str]) -> None:
    every = tuple(lines)
    for line in every[:_SHOWN]:
        print_line(f"  {line}")
    if len(every) > _SHOWN:
        print_line(f"  and {len(every) - _SHOWN} more; --json has them")
