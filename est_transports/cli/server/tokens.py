"""`est token`: who may come with a bearer token, for what, and until when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from est_core import OPERATIONS
from est_transports import _clock
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.authentication.server_secret import new_token
from est_transports.authority.stores import TokenRecord
from est_transports.authority.stores.credential_records import DIGEST_BYTES
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import json_text, print_json, print_table, say
from est_transports.cli.runner import Commands
from est_transports.cli.server.directory import all_of, directory_argument, open_store, read_config
from est_transports.cli.server.expiry import NEVER, Expiry, ExpiryType, expires_at
from est_transports.cli.server.handing_out import handed_out
from est_transports.cli.server.issued_secrets import (
    known_labels,
    note_missing_scheme,
    now,
    proven_name,
    server_secret,
)

_PAGE: Final = 1000
_COLUMNS: Final = ("name", "labels", "operations", "until")

_name_argument = click.argument("name", metavar="NAME")


@click.group(cls=Commands)
def token() -> None:
    """Add, list and remove bearer tokens. A running server knows at once."""


@token.command()
@directory_argument
@_name_argument
@click.option(
    "--label",
    "labels",
    metavar="LABEL",
    multiple=True,
    help='Take it under this label only; "" is without one; repeat it for more.',
)
@click.option(
    "--operation",
    "operations",
    multiple=True,
    type=click.Choice([each.name for each in OPERATIONS]),
    help="Take it for this operation only; repeat it for more.",
)
@click.option(
    "--expires",
    metavar="WHEN",
    type=ExpiryType(never=True),
    default="90",
    show_default=True,
    help="For how long it is taken: days, 12h, 30m; until when: 2027-01-31; or never.",
)
@click.option("--force", is_flag=True, help="Replace a token of that name.")
@json_option
@verbose_option
def add(
    directory: Path,
    name: str,
    labels: tuple[str, ...],
    operations: tuple[str, ...],
    expires: Expiry | None,
    force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Add a token for user NAME and print it, once: what is kept is a hash."""
    config = read_config(directory)
    text = new_token(_clock.entropy)
    created = now()
    record = TokenRecord(
        name=proven_name(name, "a token's"),
        digest=bytes(DIGEST_BYTES),
        labels=known_labels(config, labels) if labels else None,
        operations=frozenset(operations) if operations else None,
        created_at=created,
        expires_at=None if expires is None else expires_at(expires, created),
    )
    shown = json_text({**_values(record), "token": text}) if as_json else text + "\n"
    with open_store(directory) as store:
        record = replace(record, digest=server_secret(config, store).token_digest(text))
        if not force and store.taken_tokens([record.name]):
            raise _taken(record.name)
        with handed_out(shown):
            if not store.add_token(record, replace=force):  # by somebody else, a moment ago
                raise _taken(record.name)
    note_missing_scheme(config, Scheme.BEARER, "tokens", directory)


@token.command("list")
@directory_argument
@json_option
@verbose_option
def list_(directory: Path, as_json: bool) -> None:
    """Print all tokens: their names, and what they are for. The tokens are not kept."""
    with open_store(directory) as store:
        found = list(all_of(store.list_tokens, lambda each: each.name))
    if as_json:
        print_json([_values(record) for record in found])
    else:
        print_table(_COLUMNS, [_row(record) for record in found])


@token.command()
@directory_argument
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--all", "every", is_flag=True, help="Remove all tokens.")
@verbose_option
def remove(directory: Path, name: str | None, every: bool) -> None:
    """Remove the token of NAME. Certificates that were issued stay valid."""
    if (name is None) != every:
        raise CliError("wanted is a NAME, or --all", ExitCode.USAGE)
    count = 0
    with open_store(directory) as store:
        if name is not None and not store.remove_token(name):
            raise CliError(
                f"there is no token {name}", ExitCode.LOCAL, "est token list shows those there are"
            )
        while every and (page := store.list_tokens(limit=_PAGE)):
            count += sum(store.remove_token(record.name) for record in page)
    say(
        f"{count} {'token' if count == 1 else 'tokens'} removed"
        if every
        else f"token {name} removed"
    )


def _taken(name: str) -> CliError:
    return CliError(f"token {name} exists already", ExitCode.LOCAL, "replace it with --force")


def _row(record: TokenRecord) -> tuple[str, ...]:
    until = NEVER if record.expires_at is None else moment(record.expires_at)
    if record.expires_at is not None and record.expires_at <= now():
        until += " (expired)"
    return (record.name, _scope(record.labels), _scope(record.operations), until)


def _scope(words: frozenset[str] | None) -> str:
    return "all" if words is None else ",".join(word or '""' for word in sorted(words))


def _values(record: TokenRecord) -> dict[str, object]:
    return {
        "name": record.name,
        "labels": None if record.labels is None else sorted(record.labels),
        "operations": None if record.operations is None else sorted(record.operations),
        "created_at": moment(record.created_at),
        "expires_at": None if record.expires_at is None else moment(record.expires_at),
    }
