"""`est device`: the devices that may have a certificate, and for which names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from est_core import LocalProtocolError, ManufacturerIdentity
from est_transports.authority.stores import DeviceRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_table, say
from est_transports.cli.paths import PATH
from est_transports.cli.runner import Commands
from est_transports.cli.server.codes import code_values
from est_transports.cli.server.device_files import read_devices, read_text
from est_transports.cli.server.directory import all_of, directory_argument, open_store, read_config
from est_transports.cli.server.expiry import NEVER, Expiry, ExpiryType, expires_at
from est_transports.cli.server.issued_secrets import (
    known_labels,
    known_manufacturers,
    now,
    proven_name,
)
from est_transports.cli.server.records import certificate_row
from est_transports.cli.server.registration import Registration, register

_PAGE: Final = 10_000
_COLUMNS: Final = ("id", "names", "label", "until", "state")
_CERTIFICATES_SHOWN: Final = 20
_NAMED: Final = 3

_code_expires = click.option(
    "--code-expires",
    metavar="WHEN",
    type=ExpiryType(),
    default="7",
    show_default=True,
    help="For how long codes are taken, and no longer than their device is registered.",
)
_out = click.option(
    "--out", metavar="FILE", type=PATH, help="Write codes to this file, of mode 0600."
)


@click.group(cls=Commands)
def device() -> None:
    """Register devices: who may have which names. A running server knows at once."""


@device.command()
@directory_argument
@click.argument("device_id", metavar="ID")
@click.option(
    "--name",
    "names",
    metavar="NAME",
    multiple=True,
    help="Let it have this name too, in its subject or as an alternative one; repeat it for more.",
)
@click.option("--label", metavar="LABEL", help='Register it under this label only; "" is without.')
@click.option(
    "--manufacturer",
    metavar="NAME",
    help="It is a device of this manufacturer, and nobody else: see [manufacturers.NAME].",
)
@click.option("--value", metavar="TEXT", help="Which one of that manufacturer's it is.")
@click.option(
    "--expires",
    metavar="WHEN",
    type=ExpiryType(never=True),
    default=NEVER,
    show_default=True,
    help="For how long it is registered: days, 12h, 30m; or until when: 2027-01-31.",
)
@click.option(
    "--code", "with_code", is_flag=True, help="Make a one-time code for it, and print it."
)
@_code_expires
@_out
@click.option("--force", is_flag=True, help="Replace a device of that ID, and the file of --out.")
@verbose_option
def add(
    directory: Path,
    device_id: str,
    names: tuple[str, ...],
    label: str | None,
    manufacturer: str | None,
    value: str | None,
    expires: Expiry | None,
    with_code: bool,
    code_expires: Expiry,
    out: Path | None,
    force: bool,
) -> None:  # fmt: skip
    """Register the device ID, which is the user that it is as a client.

    It may have certificates for its ID and its names. With a manufacturer it shows the certificate
    that it came with, or one that was issued to it.
    """
    if out is not None and not with_code:
        raise CliError("--out goes with --code only", ExitCode.USAGE)
    pair = _pair(manufacturer, value, with_code=with_code)
    created = now()
    config = read_config(directory)
    try:
        record = DeviceRecord(
            id=proven_name(device_id, "a device's"),
            names=tuple(names),
            label=label,
            created_at=created,
            expires_at=None if expires is None else expires_at(expires, created),
            manufacturer=pair,
        )
    except LocalProtocolError as exc:
        raise CliError(f"--name: {exc.message}", ExitCode.USAGE) from exc
    if label is not None:
        known_labels(config, (label,))
    known_manufacturers(config, (record,))
    register(
        Registration(
            directory=directory, config=config, records=(record,),
            with_code=(record.id,) if with_code else (),
            codes_end=expires_at(code_expires, created, "--code-expires"), out=out, force=force,
        )
    )  # fmt: skip


def _pair(
    manufacturer: str | None, value: str | None, *, with_code: bool
) -> ManufacturerIdentity | None:
    """Return the manufacturer's device that the options name. Raises CliError."""
    if manufacturer is None and value is None:
        return None
    if manufacturer is None or value is None:
        raise CliError("--manufacturer and --value go together", ExitCode.USAGE)
    if with_code:
        raise CliError(
            "--code excludes --manufacturer", ExitCode.USAGE,
            "the device shows its manufacturer's certificate",
        )  # fmt: skip
    try:
        return ManufacturerIdentity(manufacturer=manufacturer, value=value)
    except LocalProtocolError as exc:
        raise CliError(f"--manufacturer: {exc.message}", ExitCode.USAGE) from exc


@device.command("import")
@directory_argument
@click.argument("file", metavar="FILE", type=PATH)
@_code_expires
@_out
@click.option("--force", is_flag=True, help="Replace devices of these IDs, and the file of --out.")
@verbose_option
def import_(
    directory: Path, file: Path, code_expires: Expiry, out: Path | None, force: bool
) -> None:
    """Register the devices of a CSV FILE, all or none.

    Its first line names the columns: id, names (with blanks or semicolons between), label, expires,
    code, where yes makes a one-time code, and manufacturer and value, for a device that enrolls by
    the certificate it came with. All but id may be missing or empty. Codes are printed, or go to
    --out, as CSV: name,code,expires.
    """
    created = now()
    config = read_config(directory)
    lines, faults = read_devices(read_text(file), created)
    if not faults.count and not force:
        with open_store(directory) as store:
            there = set(store.taken_devices([line.record.id for line in lines]))
        for line in lines:
            if line.record.id in there:
                faults.add(line.number, "id", f"{line.record.id!r} is registered already")
    if faults.count:
        for fault in faults.shown:
            say(f"{file}: {fault}")
        more = faults.count - len(faults.shown)
        raise CliError(
            f"{file}: {faults.count} {'fault' if faults.count == 1 else 'faults'}"
            f"{f', of which {more} are not shown' if more else ''}; nothing was added",
            ExitCode.USAGE,
            "correct them, or replace devices that are registered with --force",
        )
    known_labels(config, {line.record.label for line in lines if line.record.label is not None})
    known_manufacturers(config, [line.record for line in lines])
    register(
        Registration(
            directory=directory, config=config, records=tuple(line.record for line in lines),
            with_code=tuple(line.record.id for line in lines if line.wants_code),
            codes_end=expires_at(code_expires, created, "--code-expires"), out=out, force=force,
        )
    )  # fmt: skip


@device.command("list")
@directory_argument
@json_option
@verbose_option
def list_(directory: Path, as_json: bool) -> None:
    """Print all registered devices: their names, and until when."""
    with open_store(directory) as store:
        found = list(_all(store))
    if as_json:
        print_json([_values(record) for record in found])
    else:
        print_table(_COLUMNS, [_row(record) for record in found], cut=("names",))


@device.command()
@directory_argument
@click.argument("device_id", metavar="ID")
@json_option
@verbose_option
def show(directory: Path, device_id: str, as_json: bool) -> None:
    """Print a device: names, code, and certificates.

    Those certificates are shown that it asked for as the user ID; one that it renewed with a
    certificate is among those of est certs.
    """
    with open_store(directory) as store:
        record = store.find_device(device_id)
        if record is None:
            raise _unknown([device_id], 0)
        code = store.find_code_of(record.id)
        issued = store.list_certificates(user=record.id, limit=_PAGE)
    of_code = None if code is None else code_values(code)
    latest = [certificate_row(each) for each in issued[-_CERTIFICATES_SHOWN:]]
    if as_json:
        print_json({**_values(record), "code": of_code, "certificates": latest})
    else:
        _print(record, of_code, latest)
    if len(issued) > len(latest):
        say(f"{len(issued) - len(latest)} earlier certificates are not shown: see est certs list")


@device.command()
@directory_argument
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--expired", is_flag=True, help="Remove all whose time is over.")
@verbose_option
def remove(directory: Path, ids: tuple[str, ...], expired: bool) -> None:
    """Remove devices, and their one-time codes. Certificates that were issued stay valid."""
    if not (ids or expired):
        raise CliError("nothing to remove", ExitCode.USAGE, "name devices, or use --expired")
    with open_store(directory) as store:
        gone = [each for each in dict.fromkeys(ids) if not store.taken_devices([each])]
        over = [each.id for each in _all(store) if _state(each) == "expired"] if expired else []
        wanted = sorted({*store.taken_devices(ids), *over})
        count = 0
        for start in range(0, len(wanted), _PAGE):  # a server that writes has its turn between
            count += store.remove_devices(wanted[start : start + _PAGE], with_codes=True)
    if gone:
        raise _unknown(gone, count)
    say(f"{count} {'device' if count == 1 else 'devices'} removed")


def _all(store: SqliteStore) -> Iterator[DeviceRecord]:
    return all_of(store.list_devices, lambda each: each.id)


def _unknown(ids: list[str], removed: int) -> CliError:
    others = f"{removed} other{' was' if removed == 1 else 's were'} removed" if removed else ""
    return CliError(
        f"there is no device {', '.join(ids[:_NAMED])}", ExitCode.LOCAL,
        others or "est device list shows those there are",
    )  # fmt: skip


def _state(record: DeviceRecord) -> str:
    is_over = record.expires_at is not None and record.expires_at <= now()
    return "expired" if is_over else "registered"


def _row(record: DeviceRecord) -> tuple[str, ...]:
    label = "all" if record.label is None else record.label or '""'
    until = NEVER if record.expires_at is None else moment(record.expires_at)
    return (record.id, ", ".join(record.names) or "-", label, until, _state(record))


def _print(
    record: DeviceRecord, code: dict[str, object] | None, certificates: list[dict[str, str]]
) -> None:
    for column, cell in zip(_COLUMNS, _row(record), strict=True):
        print_line(f"{column}: {cell}")
    if record.manufacturer is not None:
        print_line(f"manufacturer's device: {record.manufacturer}")
    print_line(f"created: {moment(record.created_at)}")
    if code is not None:
        uses = f"{code['uses']}/{code['uses_max']}"
        print_line(f"code: {code['state']}, used {uses}, until {code['expires_at']}")
    for row in certificates:
        print_line(f"certificate: {row['serial']}, {row['state']}, until {row['until']}")


def _values(record: DeviceRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "names": list(record.names),
        "label": record.label,
        "manufacturer": None if record.manufacturer is None else record.manufacturer.manufacturer,
        "value": None if record.manufacturer is None else record.manufacturer.value,
        "created_at": moment(record.created_at),
        "expires_at": None if record.expires_at is None else moment(record.expires_at),
        "state": _state(record),
    }
