"""`est backup`: a CA's directory in one file, whether or not its server runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from est_transports import _clock
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, say, warn
from est_transports.cli.paths import PATH
from est_transports.cli.server.directory import directory_argument, local_errors, read_config
from est_transports.error_codes import find_error_code
from est_transports.pki.serials import printed_serial
from est_transports.service.backup.errors import BackupError
from est_transports.service.backup.manifest import LeftOut, Manifest, Reason
from est_transports.service.backup.taking import take_backup

_WHY: Final = {
    Reason.SECRET: "is secret; take it with --with-keys, or keep it elsewhere",
    Reason.OUTSIDE: "is not below the directory: copy it yourself",
    Reason.AUDIT: "was not wanted",
}


@click.command()
@directory_argument
@click.argument("file", metavar="FILE", type=PATH)
@click.option(
    "--with-keys",
    is_flag=True,
    help="Take private keys and secrets too: FILE is then as good as the CA itself.",
)
@click.option("--without-audit", is_flag=True, help="Leave audit files out.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@verbose_option
def backup(
    directory: Path, file: Path, with_keys: bool, without_audit: bool, force: bool, as_json: bool
) -> None:  # fmt: skip
    """Write a backup of DIR to FILE, as it is at one moment, while a server may use it.

    It holds est.toml, the store, and the files below DIR that est.toml names. Private keys and the
    server's secret are left out without --with-keys.
    """
    read_config(directory)
    with backup_errors(), local_errors():
        taken = take_backup(
            directory,
            file,
            now=_clock.instant(),
            with_keys=with_keys,
            with_audit=not without_audit,
            replace=force,
        )
    if as_json:
        print_json({"file": str(file.absolute()), **manifest_values(taken)})
    else:
        print_line(f"{file}: {told(taken)}")
    for line in left_out_lines(taken.left_out):
        say(line)
    if with_keys:
        warn(
            f"{file} holds the CA's private key: whoever reads it can issue certificates;"
            " keep it where the key itself might be kept, or encrypt it"
        )


@contextmanager
def backup_errors() -> Iterator[None]:
    """Turn what is wrong with a backup into a CliError (LOCAL)."""
    try:
        yield
    except BackupError as exc:
        entry = find_error_code(exc.code) if exc.code else None
        hint = exc.remedy or (entry.remedy if entry else "")
        raise CliError(exc.message, ExitCode.LOCAL, hint, error_code=exc.code) from exc


def told(manifest: Manifest) -> str:
    """Return what is in a backup, in one line."""
    count = manifest.certificates
    certificates = "1 certificate" if count == 1 else f"{count} certificates"
    last = "" if manifest.newest_at is None else f", the last of {moment(manifest.newest_at)}"
    with_keys = "with private keys" if manifest.with_keys else "without private keys"
    return f"backup of {moment(manifest.created)}, {certificates}{last}; {with_keys}"


def manifest_values(manifest: Manifest) -> dict[str, object]:
    """Return what a program is told of a backup."""
    newest = manifest.newest_serial
    return {
        **manifest.as_values(),
        "newest_serial": None if newest is None else printed_serial(newest),
    }


def left_out_lines(left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Yield a line for each file that is not in a backup, and one for those that nothing names."""
    for each in left_out:
        if each.reason is not Reason.UNNAMED:
            named = f" ({each.named_by})" if each.named_by else ""
            yield f"not taken: {each.path}{named} {_WHY[each.reason]}"
    unnamed = [shlex.quote(each.path) for each in left_out if each.reason is Reason.UNNAMED]
    if unnamed:
        yield f"not taken, since nothing in est.toml names it: {' '.join(unnamed)}"
