"""`est certs`: what the CA has issued, and what of it is revoked."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from est_transports.authority.stores import PREPARED, IssuedRecord
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_table, print_text, say
from est_transports.cli.runner import Commands
from est_transports.cli.server.directory import directory_argument, open_store
from est_transports.cli.server.records import (
    certificate_row,
    every_record,
    find_record,
    record_pem,
    record_values,
)
from est_transports.cli.server.revoking import release, revoke
from est_transports.pki.serials import printed_serial

_COLUMNS: Final[tuple[str, ...]] = (
    "serial",
    "subject",
    "until",
    "state",
    "operation",
    "label",
    "by",
)
_CUT: Final = ("subject", "operation", "label", "by")
"""What gives way on a terminal that is not wide: a serial is there to be copied whole."""
_NO_SIGNATURE: Final = (
    "the certificate is prepared: whether it was signed is not known, and no signature is on record"
)
_NARROW: Final[tuple[str, ...]] = ("serial", "subject", "until", "state")
_WIDE_CHARS: Final = 110
"""Width of a terminal that has room for all columns."""


@click.group(cls=Commands)
def certs() -> None:
    """List, show and revoke issued certificates, whether or not the server runs."""


@certs.command("list")
@directory_argument
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="Print at most so many.",
)
@click.option("--after", metavar="SERIAL", help="Start after this certificate.")
@click.option("--subject", metavar="TEXT", help="Only those with TEXT in the subject, in any case.")
@click.option(
    "--prepared",
    is_flag=True,
    help="Only those that may have been signed, though no signature is on record.",
)
@json_option
@verbose_option
def list_(
    directory: Path,
    limit: int,
    after: str | None,
    subject: str | None,
    prepared: bool,
    as_json: bool,
) -> None:
    """Print the certificates in the order in which they were issued."""
    with open_store(directory) as store:
        start = None if after is None else find_record(store, after).serial
        found: list[IssuedRecord] = []
        more = False
        for record in every_record(store, start, state=PREPARED if prepared else None):
            if subject is not None and subject.casefold() not in record.subject.casefold():
                continue
            if len(found) == limit:
                more = True
                break
            found.append(record)
    if as_json:
        print_json([record_values(record) for record in found])
    else:
        _print(found)
    if more:
        say(f"there are more: go on with --after {printed_serial(found[-1].serial)}")


@certs.command()
@directory_argument
@click.argument("serial", metavar="SERIAL")
@click.option("--pem", "as_pem", is_flag=True, help="Print the certificate in PEM.")
@json_option
@verbose_option
def show(directory: Path, serial: str, as_pem: bool, as_json: bool) -> None:
    """Print all that is known of one certificate.

    SERIAL is in hexadecimal, in either case, with or without 0x, colons, blanks and leading zeros;
    its first four digits or more are enough where no other certificate begins so.
    """
    if as_pem and as_json:
        raise CliError("--pem and --json exclude each other", ExitCode.USAGE)
    with open_store(directory) as store:
        record = find_record(store, serial)
    pem = record_pem(record)
    if as_json:
        print_json({**record_values(record), "pem": pem})
    elif as_pem:
        if pem is None:
            raise CliError(_NO_SIGNATURE, ExitCode.REFUSED)
        print_text(pem)
    else:
        for name, value in record_values(record).items():
            if value is not None:
                print_line(f"{name.replace('_', ' ')}: {value}")


def _print(records: Sequence[IssuedRecord]) -> None:
    """Print all columns for a program; on a terminal what it has room for, and only dates."""
    rows = [certificate_row(record) for record in records]
    columns = _COLUMNS
    if sys.stdout.isatty():
        rows = [{**row, "until": row["until"].partition("T")[0]} for row in rows]
        columns = _COLUMNS if shutil.get_terminal_size().columns >= _WIDE_CHARS else _NARROW
    print_table(columns, [[row[name] for name in columns] for row in rows], cut=_CUT)
    if columns is _NARROW:
        left_out = ", ".join(name for name in _COLUMNS if name not in columns)
        say(f"not shown in {_WIDE_CHARS - 1} columns or fewer: {left_out}; --json has them")


certs.add_command(revoke)
certs.add_command(release)
