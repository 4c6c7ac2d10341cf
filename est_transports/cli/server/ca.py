"""`est ca`: a new key for the CA, and how its keys stand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from est_core import RemoteProtocolError
from est_core.codec.timestamps import parse_timestamp
from est_transports import _clock
from est_transports.authority.issuers import CA_KEYS, IssuerError
from est_transports.authority.rollover import RolloverError
from est_transports.cli.describe import fingerprint, moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_table, say
from est_transports.cli.runner import Commands
from est_transports.cli.server.directory import (
    directory_argument,
    local_errors,
    open_store,
    read_config,
)
from est_transports.pki.names import name_text
from est_transports.service.generations import Generation, generations_of
from est_transports.service.rolling_over import RolledOver, roll_over

_COLUMNS: Final = ("generation", "valid until", "counts until", "certificates", "key", "file")


@click.group(cls=Commands)
def ca() -> None:
    """Give the CA a new key, and see how its keys stand."""


@ca.command()
@directory_argument
@click.option(
    "--until",
    metavar="DATE",
    help="What the old key issued counts until then, 2027-11-28T12:00:00Z say, and not until its"
    " root ends.",
)
@click.option(
    "--ca-key",
    type=click.Choice(list(CA_KEYS), case_sensitive=False),
    help="Kind of the new key.  [default: that of the old one]",
)
@click.option(
    "--keep-server",
    is_flag=True,
    help="Leave the server's TLS certificate as it is, of the old key: for clients with GnuTLS"
    " until they have the new root.",
)
@json_option
@verbose_option
def rollover(
    directory: Path, until: str | None, ca_key: str | None, keep_server: bool, as_json: bool
) -> None:
    """Make a new key and root for the CA, and the links by which devices follow it.

    All or nothing: the CA is the old one until est.toml names the new files. A server that runs
    takes it when it reloads.
    """
    date = None if until is None else _date(until)
    with open_store(directory) as store, local_errors():
        try:
            done = roll_over(
                directory,
                store,
                now=_clock.instant(),
                entropy=_clock.entropy,
                until=date,
                kind=ca_key,
                keep_server=keep_server,
            )
        except (RolloverError, IssuerError) as exc:
            raise CliError(str(exc), ExitCode.LOCAL) from exc
    _tell(directory, done, as_json=as_json)


def _date(text: str) -> datetime:
    try:
        return parse_timestamp(text)
    except RemoteProtocolError as exc:
        raise CliError(
            f"--until: {text!r} is no date and time", ExitCode.USAGE, "write 2027-11-28T12:00:00Z"
        ) from exc


def _tell(directory: Path, done: RolledOver, *, as_json: bool) -> None:
    values = {
        "root": name_text(done.root.subject),
        "sha256": fingerprint(done.root),
        "valid_until": moment(done.root.not_valid_after_utc),
        "certificate": str(done.certificate_file),
        "key": str(done.key_file),
        "links": str(done.links_file),
        "server": None if done.server_file is None else str(done.server_file),
        "former_sha256": fingerprint(done.former),
        "former_trusted_until": moment(done.trusted_until),
    }
    if as_json:
        print_json(values)
        return
    print_line(f"new root     {values['root']}, until {values['valid_until']}")
    print_line(f"SHA-256      {values['sha256']}")
    print_line(f"for clients  {done.certificate_file}")
    print_line(f"old key      counts until {values['former_trusted_until']}")
    say(f"reload the server (SIGHUP), then: est ca status {shlex.quote(str(directory))}")
    if done.server_file is None:
        say("the server's TLS certificate stays: it is not of the old key, or is to be kept")


@ca.command()
@directory_argument
@json_option
@verbose_option
def status(directory: Path, as_json: bool) -> None:
    """Show each generation of the CA, and how many certificates in use hang on it."""
    config = read_config(directory)
    now = _clock.instant().wall
    with open_store(directory) as store, local_errors():
        found = generations_of(config, store, now)
    if as_json:
        print_json([_values(each) for each in found])
        return
    print_table(_COLUMNS, [_row(each) for each in found])
    for line in _advice(found, now, directory):
        say(line)


def _row(each: Generation) -> tuple[str, ...]:
    values = _values(each)
    return (
        each.name,
        values["valid_until"] or "",
        values["trusted_until"] or "",
        str(each.certificates),
        values["key_identifier"] or "",
        values["file"] or "",
    )


def _values(each: Generation) -> dict[str, Any]:
    certificate, key = each.certificate, each.key_identifier
    return {
        "generation": each.name,
        "subject": None if certificate is None else name_text(certificate.subject),
        "sha256": None if certificate is None else fingerprint(certificate),
        "key_identifier": None if key is None else key.hex(),
        "valid_from": None if certificate is None else moment(certificate.not_valid_before_utc),
        "valid_until": None if certificate is None else moment(certificate.not_valid_after_utc),
        "trusted_until": None if each.trusted_until is None else moment(each.trusted_until),
        "certificates": each.certificates,
        "last_ends": None if each.last_ends is None else moment(each.last_ends),
        "file": None if each.file is None else str(each.file),
    }


def _advice(found: tuple[Generation, ...], now: datetime, directory: Path) -> Iterator[str]:
    """Yield what to do next."""
    place = shlex.quote(str(directory))
    current = found[0].certificate
    if current is not None:
        life = current.not_valid_after_utc - current.not_valid_before_utc
        if now > current.not_valid_before_utc + life / 2:
            yield (
                "half of this root's life is over: a device may be away for as long as is left;"
                f" roll it over with: est ca rollover {place}"
            )
    for each in found[1:]:
        if each.certificate is None:
            yield f"{each.certificates} certificates in use are of keys that est.toml does not name"
        elif each.trusted_until is not None and each.trusted_until < now:
            yield f"{each.name}: counts no more; {each.certificates} certificates are not renewed"
        elif not each.certificates:
            yield (
                f"{each.name}: nothing in use hangs on it; keep it served for devices that only"
                " trust its root, and take it out of est.toml when its root has ended"
            )
        elif (
            each.last_ends is not None
            and each.trusted_until is not None
            and each.last_ends > each.trusted_until
        ):
            yield (
                f"{each.name}: some of its certificates last longer than it counts; they have to"
                f" be renewed until {moment(each.trusted_until)}"
            )
