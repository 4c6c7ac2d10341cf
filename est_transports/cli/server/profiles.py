"""`est profile`: what the profiles of a CA allow, and what would be issued for a request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from est_core import Label, LocalProtocolError
from est_transports.authority.issuer_limits import IssuerLimits
from est_transports.authority.profiles import Profile
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_pairs, print_table, warn
from est_transports.cli.paths import PATH
from est_transports.cli.runner import Commands
from est_transports.cli.server.directory import directory_argument, read_config
from est_transports.cli.server.profile_preview import preview_of, print_preview
from est_transports.pki.trust import CredentialFileError, load_pem_certificates
from est_transports.service.config.profile_values import profile_values
from est_transports.service.config.settings import ServerConfig

_COLUMNS: Final = ("profile", "used for", "validity", "keys", "purposes", "names")


@click.group(cls=Commands)
def profile() -> None:
    """Show what profiles allow, and try what would be issued for a request."""


@profile.command("list")
@directory_argument
@json_option
@verbose_option
def list_(directory: Path, as_json: bool) -> None:
    """Print the profiles of est.toml, and for which requests each is used."""
    config = read_config(directory)
    if as_json:
        print_json(
            [
                {"profile": name, **_used(config, name), **profile_values(found)}
                for name, found in config.profiles.items()
            ]
        )
        return
    rows = []
    for name, found in config.profiles.items():
        values = profile_values(found)
        cells = (values["validity"], values["keys"], values["extended_key_usage"], values["names"])
        rows.append((name, _used_text(config, name), *map(_text, cells)))
    print_table(_COLUMNS, rows)


@profile.command()
@directory_argument
@click.argument("name", metavar="[NAME]", required=False)
@json_option
@verbose_option
def show(directory: Path, name: str | None, as_json: bool) -> None:
    """Print all that a profile says, and what the CA can never issue by it.

    Without NAME it is the profile of requests without a label.
    """
    config = read_config(directory)
    name = name or config.ca.default_profile
    found = named_profile(config, name)
    never = _never_issued(config, found)
    values = {"profile": name, **_used(config, name), **profile_values(found)}
    if as_json:
        print_json({**values, "never_issued": list(never)})
        return
    print_pairs([(key, _text(value)) for key, value in values.items()])
    for line in never:
        print_line(f"by the limits of the CA, never {line}")


@profile.command()
@directory_argument
@click.argument("csr", metavar="CSR", type=PATH)
@click.option("--label", metavar="LABEL", help="As under this label; without, as without a label.")
@click.option("--profile", "name", metavar="NAME", help="By this profile, whatever the labels.")
@json_option
@verbose_option
def test(
    directory: Path, csr: Path, label: str | None, name: str | None, as_json: bool
) -> ExitCode:
    """Print what would be issued for the request in the file CSR, or why nothing would be.

    Nothing is issued or recorded, and the CA's key is not opened. What only the records and the
    client say is not looked at: who has which names, how often a key was certified. The exit code
    is 1 where nothing would be issued.
    """
    if label is not None and name is not None:
        raise CliError("--label and --profile exclude each other", ExitCode.USAGE)
    config = read_config(directory)
    chosen = _of_label(config, label) if name is None else named_profile(config, name)
    found = preview_of(config, chosen, csr)
    print_preview(found, as_json=as_json)
    return ExitCode.DONE if found.refusal is None else ExitCode.REFUSED


def named_profile(config: ServerConfig, name: str) -> Profile:
    """Return a profile of est.toml by its name. Raises CliError."""
    found = config.profiles.get(name)
    if found is None:
        names = ", ".join(config.profiles)
        raise CliError(f"there is no profile {name!r}", ExitCode.USAGE, f"there are: {names}")
    return found


def _of_label(config: ServerConfig, text: str | None) -> Profile:
    if text is None:
        return config.profiles[config.ca.default_profile]
    try:
        label = Label(text)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE) from exc
    for row in config.labels:
        if row.label == label:
            return config.profiles[row.profile]
    raise CliError(f"there is no label {text!r}", ExitCode.USAGE, "see: est profile list DIR")


def _used(config: ServerConfig, name: str) -> Mapping[str, object]:
    labels = [row.label.text for row in config.labels if row.profile == name]
    return {"without_label": name == config.ca.default_profile, "labels": labels}


def _used_text(config: ServerConfig, name: str) -> str:
    used = ["no label"] if name == config.ca.default_profile else []
    used += [row.label.text for row in config.labels if row.profile == name]
    return ", ".join(used) or "nothing"


def _text(value: object) -> str:
    match value:
        case None | []:
            return "none"
        case list():
            return ", ".join(map(str, value))
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _never_issued(config: ServerConfig, found: Profile) -> tuple[str, ...]:
    """Return what the certificates of the CA forbid of what a profile allows."""
    try:
        path = load_pem_certificates(config.ca.certificate, left_out=warn, needs_first=True)
        return tuple(IssuerLimits.of(path).never_issued(found))
    except CredentialFileError as exc:
        raise CliError(str(exc), ExitCode.LOCAL) from exc
    except LocalProtocolError as exc:
        raise CliError(f"{config.ca.certificate}: {exc.message}", ExitCode.LOCAL) from exc
