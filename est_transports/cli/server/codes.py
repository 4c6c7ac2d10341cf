"""`est otp`: one-time codes for devices that enroll for the first time, one or a fleet's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.stores import CodeRecord
from est_transports.authority.stores.credential_records import DIGEST_BYTES, MAX_USES
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import refuse_existing
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_table, say
from est_transports.cli.paths import PATH
from est_transports.cli.runner import Commands
from est_transports.cli.server.code_names import CODES_MAX, names_of
from est_transports.cli.server.directory import all_of, directory_argument, open_store, read_config
from est_transports.cli.server.expiry import Expiry, ExpiryType, expires_at
from est_transports.cli.server.handing_out import handed_out
from est_transports.cli.server.issued_secrets import (
    known_labels,
    note_missing_scheme,
    now,
    server_secret,
)
from est_transports.cli.server.new_codes import codes_csv, hashed_codes, made_codes

_PAGE: Final = 10_000
_COLUMNS: Final = ("name", "label", "uses", "until", "state")
_NAMED: Final = 3
"""How many of the names that are taken an error shows."""


@click.group(cls=Commands)
def otp() -> None:
    """Add, list and remove one-time codes. A running server knows at once."""


@otp.command()
@directory_argument
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--names-file", metavar="FILE", type=PATH, help="Make a code for each line of this file."
)
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(1, CODES_MAX),
    help="Make so many codes; their names are numbered.",
)
@click.option("--prefix", metavar="P", help="What those names begin with.  [default: device-]")
@click.option("--label", metavar="LABEL", help='Take them under this label only; "" is without.')
@click.option(
    "--uses",
    metavar="N",
    type=click.IntRange(1, MAX_USES),
    default=1,
    show_default=True,
    help="How many certificates each is good for.",
)
@click.option(
    "--expires",
    metavar="WHEN",
    type=ExpiryType(),
    default="7",
    show_default=True,
    help="For how long they are taken: days, 12h, 30m; or until when: 2027-01-31.",
)
@click.option("--out", metavar="FILE", type=PATH, help="Write them to this file, of mode 0600.")
@click.option("--force", is_flag=True, help="Replace codes of these names, and the file of --out.")
@verbose_option
def add(
    directory: Path,
    names: tuple[str, ...],
    names_file: Path | None,
    count: int | None,
    prefix: str | None,
    label: str | None,
    uses: int,
    expires: Expiry,
    out: Path | None,
    force: bool,
) -> None:  # fmt: skip
    """Add a code for each NAME, all or none, and print them once, as CSV: name,code,expires.

    What is kept of a code is a hash.
    """
    wanted = names_of(names, names_file, count, prefix)
    created = now()
    until = expires_at(expires, created)
    config = read_config(directory)
    if label is not None:
        known_labels(config, (label,))
    if out is not None and not force:
        refuse_existing([out])
    patterns = [
        CodeRecord(
            name=name, digest=bytes(DIGEST_BYTES), label=label, uses_max=uses,
            created_at=created, expires_at=until,
        )
        for name in wanted
    ]  # fmt: skip
    codes = made_codes(len(wanted))
    text = codes_csv(patterns, codes)
    with open_store(directory) as store:
        records = hashed_codes(patterns, codes, server_secret(config, store))
        if not force:
            _refuse_taken(store.taken_codes(wanted))
        with handed_out(text, out, overwrite=force):
            _refuse_taken(store.add_codes(records, replace=force))  # by others, a moment ago
    say(f"{len(records)} {'code' if len(records) == 1 else 'codes'} added")
    note_missing_scheme(config, Scheme.OTP, "one-time codes", directory)


@otp.command("list")
@directory_argument
@json_option
@verbose_option
def list_(directory: Path, as_json: bool) -> None:
    """Print all codes: their names, and what is left of them. The codes are not kept."""
    with open_store(directory) as store:
        found = list(_all(store))
    if as_json:
        print_json([code_values(record) for record in found])
    else:
        print_table(_COLUMNS, [_row(record) for record in found])


@otp.command()
@directory_argument
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--expired", is_flag=True, help="Remove all whose time is over.")
@click.option("--spent", is_flag=True, help="Remove all that have no use left.")
@click.option("--all", "every", is_flag=True, help="Remove all codes.")
@verbose_option
def remove(
    directory: Path, names: tuple[str, ...], expired: bool, spent: bool, every: bool
) -> None:
    """Remove codes, and what they were spent for. Certificates that were issued stay valid.

    A device that lost the answer to its request cannot ask again with a code that is removed.
    """
    if not (names or expired or spent or every):
        hint = "name codes, or use --expired, --spent, --all"
        raise CliError("nothing to remove", ExitCode.USAGE, hint)
    with open_store(directory) as store:
        gone = [name for name in dict.fromkeys(names) if not store.remove_code(name)]
        count = len(set(names)) - len(gone)
        if expired or spent or every:
            states = ("expired" if expired else "", "spent" if spent else "")
            over = [each.name for each in _all(store) if every or _state(each) in states]
            for start in range(0, len(over), _PAGE):  # a server that writes has its turn between
                store.remove_codes(over[start : start + _PAGE])
            count += len(over)
    if gone:
        raise CliError(
            f"there is no code {', '.join(gone[:_NAMED])}", ExitCode.LOCAL,
            f"{count} {'other was' if count == 1 else 'others were'} removed"
            if count
            else "est otp list shows those there are",
        )  # fmt: skip
    say(f"{count} {'code' if count == 1 else 'codes'} removed")


def _all(store: SqliteStore) -> Iterator[CodeRecord]:
    return all_of(store.list_codes, lambda each: each.name)


def _refuse_taken(names: Sequence[str]) -> None:
    if not names:
        return
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    which = f"code {shown} exists" if len(names) == 1 else f"codes {shown}{more} exist"
    raise CliError(
        f"{which} already, and none was added",
        ExitCode.LOCAL,
        "take other names, or another --prefix, or replace with --force",
    )


def _state(record: CodeRecord) -> str:
    if record.uses >= record.uses_max:
        return "spent"
    return "expired" if record.expires_at <= now() else "good"


def _row(record: CodeRecord) -> tuple[str, ...]:
    label = "all" if record.label is None else record.label or '""'
    uses = f"{record.uses}/{record.uses_max}"
    return (record.name, label, uses, moment(record.expires_at), _state(record))


def code_values(record: CodeRecord) -> dict[str, object]:
    """Return what is kept of a code, for JSON."""
    return {
        "name": record.name,
        "label": record.label,
        "uses": record.uses,
        "uses_max": record.uses_max,
        "created_at": moment(record.created_at),
        "expires_at": moment(record.expires_at),
        "state": _state(record),
    }
