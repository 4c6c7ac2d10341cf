"""`est certs`: what the CA has issued."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.stores import IssuedRecord, Store
from est_transports.cli.describe import fingerprint, moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_table, print_text, say
from est_transports.cli.runner import Commands
from est_transports.cli.server.directory import all_of, directory_argument, open_store
from est_transports.pki.serials import printed_serial, read_serial, serial_digits

_PREFIX_CHARS_MIN: Final = 4
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
_NARROW: Final[tuple[str, ...]] = ("serial", "subject", "until", "state")
_WIDE_CHARS: Final = 110
"""Width of a terminal that has room for all columns."""


@click.group(cls=Commands)
def certs() -> None:
    """List and show issued certificates, whether or not the server runs."""


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
@json_option
@verbose_option
def list_(
    directory: Path, limit: int, after: str | None, subject: str | None, as_json: bool
) -> None:  # fmt: skip
    """Print the certificates in the order in which they were issued."""
    with open_store(directory) as store:
        start = None if after is None else _find(store, after).serial
        found: list[IssuedRecord] = []
        more = False
        for record in _records(store, start):
            if subject is not None and subject.casefold() not in record.subject.casefold():
                continue
            if len(found) == limit:
                more = True
                break
            found.append(record)
    if as_json:
        print_json([_values(record) for record in found])
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
        record = _find(store, serial)
    if as_json:
        print_json({**_values(record), "pem": _pem(record)})
    elif as_pem:
        print_text(_pem(record))
    else:
        for name, value in _values(record).items():
            if value is not None:
                print_line(f"{name.replace('_', ' ')}: {value}")


def _records(store: Store, after: str | None) -> Iterator[IssuedRecord]:
    return all_of(store.list_certificates, lambda each: each.serial, after)


def _find(store: Store, text: str) -> IssuedRecord:
    """Return the record of a serial number, or of the only one that begins so."""
    try:
        typed = serial_digits(text)
        exact = store.find_certificate(read_serial(text))
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE) from exc
    if exact is not None:
        return exact
    matching: list[IssuedRecord] = []
    if len(typed) >= _PREFIX_CHARS_MIN:
        matching = [found for found in _records(store, None) if _begins(found.serial, typed)]
    if len(matching) > 1:
        raise CliError(f"{len(matching)} certificates begin with {typed.upper()}", ExitCode.USAGE)
    if not matching:
        raise CliError(f"there is no certificate {typed.upper()}", ExitCode.LOCAL)
    return matching[0]


def _begins(serial: str, typed: str) -> bool:
    """True if a serial begins with these digits as it is printed, or without its leading zero."""
    return serial.startswith(typed) or printed_serial(serial).lower().startswith(typed)


def _state(record: IssuedRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "expired" if _clock.instant().wall > record.not_after else "valid"


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


def certificate_row(record: IssuedRecord) -> dict[str, str]:
    """Return the cells of a record by column."""
    return {
        "serial": printed_serial(record.serial),
        "subject": record.subject,
        "until": moment(record.not_after),
        "state": _state(record),
        "operation": record.operation,
        "label": record.label or "-",
        "by": record.user or _device(record) or record.client_subject or "-",
    }


def _device(record: IssuedRecord) -> str | None:
    return None if record.manufacturer is None else str(record.manufacturer)


def _values(record: IssuedRecord) -> dict[str, object]:
    certificate = x509.load_der_x509_certificate(record.der)
    return {
        "serial": printed_serial(record.serial),
        "subject": record.subject,
        "state": _state(record),
        "not_before": moment(record.not_before),
        "not_after": moment(record.not_after),
        "sha256": fingerprint(certificate),
        "issued_at": moment(record.issued_at),
        "operation": record.operation,
        "label": record.label,
        "profile": record.profile,
        "user": record.user,
        "manufacturer": _device(record),
        "client_subject": record.client_subject,
        "peer": record.peer,
        "replaces": None if record.replaces is None else printed_serial(record.replaces),
        "revoked_at": None if record.revoked_at is None else moment(record.revoked_at),
        "revocation_reason": record.revocation_reason,
    }


def _pem(record: IssuedRecord) -> str:
    certificate = x509.load_der_x509_certificate(record.der)
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
