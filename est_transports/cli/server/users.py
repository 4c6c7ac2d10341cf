"""`est user`: who may enroll with a password."""

from __future__ import annotations

from pathlib import Path

import click

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.stores import UserRecord
from est_transports.authority.stores.digest_records import digest_record, read_digest_record
from est_transports.authority.stores.passwords import SALT_BYTES, hash_password
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_table, say
from est_transports.cli.password_input import ask_password, password_from_stdin
from est_transports.cli.runner import Commands
from est_transports.cli.server.directory import all_of, directory_argument, open_store, read_config
from est_transports.service.config.settings import ServerConfig

_name_argument = click.argument("name", metavar="NAME")


@click.group(cls=Commands)
def user() -> None:
    """Add, list and remove users. A running server knows at once."""


@user.command()
@directory_argument
@_name_argument
@click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from the first line of standard input.",
)
@click.option("--force", is_flag=True, help="Give a user who exists a new password.")
@verbose_option
def add(directory: Path, name: str, from_stdin: bool, force: bool) -> None:
    """Add user NAME. The password is asked for twice, or read with --password-stdin.

    Where the server takes Digest, what answers it in its realm is kept besides.
    """
    config = read_config(directory)
    with open_store(directory) as store:
        if not force and store.find_user(name) is not None:
            raise _taken(name)
        password = password_from_stdin() if from_stdin else _asked(name)
        try:
            record = hash_password(password, _clock.entropy(SALT_BYTES))
            digest = _digest_record(config, name, password)
            added = store.add_user(name, record, digest_record=digest, replace=force)
        except LocalProtocolError as exc:
            raise CliError(exc.message, ExitCode.USAGE) from exc
        if not added:  # by somebody else, a moment ago
            raise _taken(name)
    say(f"user {name} added")


@user.command("list")
@directory_argument
@json_option
@verbose_option
def list_(directory: Path, as_json: bool) -> None:
    """Print the names of all users, and who may answer Digest."""
    realm = read_config(directory).realm
    with open_store(directory) as store:
        found = all_of(store.list_users, lambda each: each.name)
        rows = [(each.name, _digest_realm(each)) for each in found]
    if as_json:
        print_json([{"name": name, "digest_realm": answers} for name, answers in rows])
    elif all(answers is None for _, answers in rows):
        for name, _ in rows:
            print_line(name)
    else:
        print_table(("name", "digest"), [(name, _shown(answers, realm)) for name, answers in rows])


@user.command()
@directory_argument
@_name_argument
@verbose_option
def remove(directory: Path, name: str) -> None:
    """Remove user NAME. Certificates that were issued stay valid."""
    with open_store(directory) as store:
        if not store.remove_user(name):
            raise CliError(
                f"there is no user {name}", ExitCode.LOCAL, "est user list shows those there are"
            )
    say(f"user {name} removed")


def _digest_record(config: ServerConfig, name: str, password: str) -> str | None:
    if Scheme.DIGEST not in config.auth.schemes:
        return None
    return digest_record(name, config.realm, password)


def _digest_realm(record: UserRecord) -> str | None:
    """Return the realm in which a user may answer Digest, or None. Raises CliError."""
    if record.digest_record is None:
        return None
    try:
        return read_digest_record(record.digest_record).realm
    except LocalProtocolError as exc:
        raise CliError(
            f"the record of user {record.name} is damaged", ExitCode.LOCAL,
            "give a new password with est user add --force",
        ) from exc  # fmt: skip


def _shown(answers: str | None, realm: str) -> str:
    if answers is None:
        return "-"
    return "digest" if answers == realm else f"digest in realm {answers}"


def _asked(name: str) -> str:
    return ask_password(f"Password for {name}", confirm=True)


def _taken(name: str) -> CliError:
    return CliError(
        f"user {name} exists already", ExitCode.LOCAL, "give a new password with --force"
    )
