"""`est init`: a new CA in a directory."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click
from cryptography import x509

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.cli._common import (
    CliError,
    ExitCode,
    json_option,
    print_json,
    print_line,
    say,
    verbose_option,
)
from est_transports.cli.describe import fingerprint, moment
from est_transports.cli.directory import directory_argument, local_errors
from est_transports.cli.keys import read_password_file
from est_transports.cli.server_identity import renew_server as renew_server_identity
from est_transports.founding import (
    CA_CERTIFICATE,
    DEFAULT_HOSTS,
    Founding,
    OccupiedError,
    found,
)
from est_transports.serving import own_names

_FILE = click.Path(path_type=Path, readable=False)


@click.command()
@directory_argument
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Host name or address of the server; may be repeated. Default: this machine's loopback.",
)
@click.option("--name", "--subject", metavar="CN", help="Common name of the CA.")
@click.option(
    "--ca-key-password-file",
    "password_file",
    metavar="FILE",
    type=_FILE,
    help="Encrypt the CA's key with the password in this file's first line; "
    "est.toml will say where the file is.",
)
@click.option("--force", is_flag=True, help="Move what is in DIR aside, to DIR.old-1.")
@click.option(
    "--renew-server",
    is_flag=True,
    help="Only replace the TLS certificate and key of a server that is there; the CA stays.",
)
@json_option
@verbose_option
def init(
    directory: Path,
    hosts: tuple[str, ...],
    name: str | None,
    password_file: Path | None,
    force: bool,
    renew_server: bool,
    as_json: bool,
) -> None:
    """Create a certification authority in DIR.

    DIR gets the CA's key and certificate, a TLS certificate for its server, a store for users
    and issued certificates, and est.toml, where everything can be set.
    """
    if renew_server:
        if name is not None or password_file is not None or force:
            raise CliError("--renew-server goes with --host only", ExitCode.USAGE)
        _renew(directory, hosts, as_json=as_json)
        return
    founding = _founding(hosts or DEFAULT_HOSTS, name, password_file)
    certificate = _found(directory, founding, force=force)
    if as_json:
        print_json(
            {
                "directory": str(directory.absolute()),
                "ca_certificate": str((directory / CA_CERTIFICATE).absolute()),
                "subject": certificate.subject.rfc4514_string(),
                "sha256": fingerprint(certificate),
                "hosts": list(founding.hosts),
            }
        )
        return
    print_line(f"CA {certificate.subject.rfc4514_string()} created in {directory}")
    print_line(f"SHA-256 fingerprint {fingerprint(certificate)}")
    print_line("Next:")
    for command in _next_commands(directory, founding.hosts):
        print_line(f"  {command}")


def _founding(hosts: tuple[str, ...], name: str | None, password_file: Path | None) -> Founding:
    password = None if password_file is None else read_password_file(password_file)
    try:
        return Founding(hosts=hosts, name=name, key_password=password, password_file=password_file)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE) from exc


def _found(directory: Path, founding: Founding, *, force: bool) -> x509.Certificate:
    try:
        with local_errors():
            return found(
                directory,
                founding,
                now=_clock.instant(),
                entropy=_clock.entropy,
                replace=force,
                moved=lambda aside: say(f"what was in {directory} is now in {aside}"),
            )
    except CliError as exc:
        if not isinstance(exc.__cause__, OccupiedError):
            raise
        aside = f"{os.path.abspath(directory)}.old-1"
        exc.hint = f"choose another, or use --force, which moves it to {aside}"
        raise


def _renew(directory: Path, hosts: tuple[str, ...], *, as_json: bool) -> None:
    certificate = renew_server_identity(directory, hosts)
    names = sorted(own_names(certificate))
    if as_json:
        values = {"hosts": names, "not_after": moment(certificate.not_valid_after_utc)}
        print_json({**values, "sha256": fingerprint(certificate)})
        return
    print_line(f"new TLS certificate for {', '.join(names)}")
    print_line(f"valid until {moment(certificate.not_valid_after_utc)}")
    print_line("a server that runs takes it after SIGHUP")


def _next_commands(directory: Path, hosts: tuple[str, ...]) -> tuple[str, ...]:
    place = shlex.quote(str(directory))
    trust = shlex.quote(str(directory / CA_CERTIFICATE))
    host = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
    # Without a name of its own the server is for this machine, as it listens by default.
    listen = "" if hosts[0] in DEFAULT_HOSTS else " --listen 0.0.0.0:8443"
    url = f"https://{host}:8443"
    return (
        f"est user add {place} device",
        f"est serve {place}{listen}",
        f"est enroll {url} --trust {trust} --user device --cn device-1 --out device-1",
    )
