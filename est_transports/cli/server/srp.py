"""`est srp`: who may prove who they are in the handshake, by TLS-SRP."""

from __future__ import annotations

from pathlib import Path

import click

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.stores import SrpRecord
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_table, say
from est_transports.cli.password_input import ask_password, password_from_stdin
from est_transports.cli.runner import Commands
from est_transports.cli.server.directory import all_of, directory_argument, open_store, read_config
from est_transports.pki.srp_verifiers import GROUPS, SALT_BYTES, srp_salt, srp_verifier

_name_argument = click.argument("name", metavar="NAME")


@click.group(cls=Commands)
def srp() -> None:
    """Add, list and remove users of TLS-SRP. A running server knows at once."""


@srp.command()
@directory_argument
@_name_argument
@click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from the first line of standard input.",
)
@click.option(
    "--bits",
    type=click.Choice([str(bits) for bits in GROUPS]),
    help="The size of the group. Default: that of DIR/est.toml, which all users should have.",
)
@click.option("--force", is_flag=True, help="Give a user who exists a new password.")
@verbose_option
def add(directory: Path, name: str, from_stdin: bool, bits: str | None, force: bool) -> None:
    """Add user NAME of TLS-SRP. The password is asked for twice, or read with --password-stdin.

    A verifier is kept, not the password.
    """
    config = read_config(directory).srp
    size = int(bits) if bits else config.bits
    if size < config.bits:
        raise CliError(
            f"the server takes no group under {config.bits} bits", ExitCode.USAGE,
            "lower bits in [srp] of est.toml first",
        )  # fmt: skip
    with open_store(directory) as store:
        if not force and store.find_srp_user(name) is not None:
            raise _taken(name)
        password = password_from_stdin() if from_stdin else _asked(name)
        salt = srp_salt(_clock.entropy(SALT_BYTES))
        try:
            verifier = srp_verifier(name, password, salt=salt, bits=size)
            record = SrpRecord(name=name, salt=salt, verifier=verifier, bits=size)
            added = store.add_srp_user(record, replace=force)
        except LocalProtocolError as exc:
            raise CliError(exc.message, ExitCode.USAGE) from exc
        if not added:  # by somebody else, a moment ago
            raise _taken(name)
    say(f"user {name} of TLS-SRP added")
    if not config.enabled:
        say("est.toml does not turn TLS-SRP on: see [srp] there, or --auth of est serve")


@srp.command("list")
@directory_argument
@json_option
@verbose_option
def list_(directory: Path, as_json: bool) -> None:
    """Print the names of all users of TLS-SRP, and the sizes of their groups."""
    with open_store(directory) as store:
        found = list(all_of(store.list_srp_users, lambda each: each.name))
    if as_json:
        print_json([{"name": each.name, "bits": each.bits} for each in found])
        return
    print_table(("name", "bits"), [(each.name, str(each.bits)) for each in found])


@srp.command()
@directory_argument
@_name_argument
@verbose_option
def remove(directory: Path, name: str) -> None:
    """Remove user NAME of TLS-SRP. Certificates that were issued stay valid."""
    with open_store(directory) as store:
        if not store.remove_srp_user(name):
            raise CliError(
                f"there is no user {name} of TLS-SRP", ExitCode.LOCAL,
                "est srp list shows those there are",
            )  # fmt: skip
    say(f"user {name} of TLS-SRP removed")


def _asked(name: str) -> str:
    return ask_password(f"SRP password for {name}", confirm=True)


def _taken(name: str) -> CliError:
    return CliError(
        f"user {name} of TLS-SRP exists already",
        ExitCode.LOCAL,
        "give a new password with --force",
    )
