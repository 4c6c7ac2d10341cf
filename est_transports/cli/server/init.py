"""`est init`: a new CA in a directory."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.issuers import (
    CA_KEYS,
    DEFAULT_CA_KEY,
    Issuer,
    IssuerError,
    given_issuer,
)
from est_transports.cli.describe import fingerprint, moment, subject_text
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.keys import read_password_file
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, say, warn
from est_transports.cli.paths import PATH
from est_transports.cli.server.constraint_options import name_constraints
from est_transports.cli.server.directory import directory_argument, local_errors
from est_transports.cli.server.server_identity import renew_server as renew_server_identity
from est_transports.pki.host_verification import own_names
from est_transports.pki.names import name_text
from est_transports.pki.signers import SigningKey
from est_transports.pki.trust import (
    NEEDS_PASSWORD,
    CredentialFileError,
    load_pem_certificates,
    load_pem_private_key,
)
from est_transports.service.initialisation import (
    CA_CERTIFICATE,
    DEFAULT_HOSTS,
    OWN_FILES,
    CaSpec,
    InitialisedCa,
    OccupiedError,
    initialise,
)
from est_transports.service.new_directory import DirectoryError, check_movable


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
    "--ca-key",
    type=click.Choice(list(CA_KEYS), case_sensitive=False),
    help=f"Kind of key to make for the CA.  [default: {DEFAULT_CA_KEY}]",
)
@click.option(
    "--intermediate",
    is_flag=True,
    help="Make a root too, and let the CA issue below it; the root's key is for a safe place.",
)
@click.option(
    "--root-key-password-file",
    metavar="FILE",
    type=PATH,
    help="Encrypt the root's key with the password in this file's first line.",
)
@click.option(
    "--ca-cert",
    metavar="CERT.pem",
    type=PATH,
    help="Take this issuing certificate instead of making one; those above it may follow in it.",
)
@click.option("--ca-key-file", metavar="KEY.pem", type=PATH, help="Its private key.")
@click.option(
    "--ca-chain", metavar="CHAIN.pem", type=PATH, help="The certificates above it, to the root."
)
@click.option(
    "--ca-key-password-file",
    "password_file",
    metavar="FILE",
    type=PATH,
    help="Encrypt the CA's key with the password in this file's first line; it also opens "
    "--ca-key-file. est.toml will say where the file is.",
)
@click.option(
    "--permit",
    metavar="KIND:NAME",
    multiple=True,
    help="Let the CA certify names of a kind below this one only: dns:HOST, ip:NETWORK, "
    "email:HOST, uri:HOST; may be repeated.",
)
@click.option(
    "--exclude", metavar="KIND:NAME", multiple=True, help="Let it certify none below this one."
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
    *,
    hosts: tuple[str, ...],
    name: str | None,
    ca_key: str | None,
    intermediate: bool,
    root_key_password_file: Path | None,
    ca_cert: Path | None,
    ca_key_file: Path | None,
    ca_chain: Path | None,
    password_file: Path | None,
    permit: tuple[str, ...],
    exclude: tuple[str, ...],
    force: bool,
    renew_server: bool,
    as_json: bool,
) -> None:
    """Create a certification authority in DIR.

    DIR gets the CA's key and certificate, a TLS certificate for its server, a store for users
    and issued certificates, and est.toml, where everything can be set. ca.pem is the root: what
    clients are to trust. The CA is made, or was there before: --ca-cert and --ca-key-file.
    """
    about_ca = (name, ca_key, root_key_password_file, ca_cert, ca_key_file, ca_chain, password_file)
    if renew_server:
        if force or intermediate or permit or exclude or any(each is not None for each in about_ca):
            raise CliError("--renew-server goes with --host only", ExitCode.USAGE)
        _renew(directory, hosts, as_json=as_json)
        return
    password = _password(password_file)
    try:
        spec = CaSpec(
            hosts=hosts or DEFAULT_HOSTS,
            name=name,
            ca_key=ca_key,
            intermediate=intermediate,
            given=_given_ca(ca_cert, ca_key_file, ca_chain, password),
            key_password=password,
            password_file=password_file,
            root_key_password=_password(root_key_password_file),
            name_constraints=name_constraints(permit, exclude),
        )
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE) from exc
    _print(directory, spec, _initialise(directory, spec, force=force), as_json=as_json)


def _password(file: Path | None) -> bytes | None:
    return None if file is None else read_password_file(file)


def _given_ca(
    certificate: Path | None, key: Path | None, chain: Path | None, password: bytes | None
) -> Issuer | None:
    if certificate is None or key is None:
        if certificate is not None or key is not None or chain is not None:
            raise CliError("--ca-cert and --ca-key-file go together", ExitCode.USAGE)
        return None
    above = () if chain is None else load_pem_certificates(chain, left_out=warn)
    certificates = (*load_pem_certificates(certificate, left_out=warn), *above)
    try:
        return given_issuer(certificates, _given_key(key, password), now=_clock.instant().wall)
    except IssuerError as exc:
        raise CliError(f"{certificate}: {exc}", ExitCode.LOCAL) from exc


def _given_key(path: Path, password: bytes | None) -> SigningKey:
    """Return the key of a file that is encrypted or not: `password` is for our copy too."""
    try:
        return load_pem_private_key(path)
    except CredentialFileError as exc:
        if password is not None:
            return load_pem_private_key(path, password)
        hint = "give --ca-key-password-file" if exc.reason == NEEDS_PASSWORD else ""
        raise CliError(str(exc), ExitCode.LOCAL, hint) from exc


def _initialise(directory: Path, spec: CaSpec, *, force: bool) -> InitialisedCa:
    try:
        with local_errors():
            return initialise(
                directory,
                spec,
                now=_clock.instant(),
                entropy=_clock.entropy,
                replace=force,
                moved=lambda aside: say(f"what was in {directory} is now in {aside}"),
            )
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE, "name a directory for the CA alone") from exc
    except CliError as exc:
        if isinstance(exc.__cause__, OccupiedError):
            exc.hint = _instead_of(directory)
        raise


def _instead_of(directory: Path) -> str:
    """Return what can be done where a directory holds something already."""
    place = Path(os.path.abspath(directory))
    try:
        check_movable(place, OWN_FILES)
    except (DirectoryError, LocalProtocolError):
        return "choose another"
    return f"choose another, or use --force, which moves it to {place}.old-1"


def _print(directory: Path, spec: CaSpec, made: InitialisedCa, *, as_json: bool) -> None:
    root_key = None if made.root_key is None else directory / made.root_key.name
    if as_json:
        print_json(
            {
                "directory": str(directory.absolute()),
                "ca_certificate": str((directory / CA_CERTIFICATE).absolute()),
                "subject": name_text(made.root.subject),
                "sha256": fingerprint(made.root),
                "issuing_certificate": str(made.certificates_file),
                "issuing_subject": name_text(made.issuing.subject),
                "root_key": None if root_key is None else str(root_key.absolute()),
                "hosts": list(spec.hosts),
                "never_issued": list(made.never_issued),
            }
        )
        return
    print_line(f"CA {subject_text(made.issuing)} created in {directory}")
    if made.issuing != made.root:
        print_line(f"Root {subject_text(made.root)}")
    print_line(f"SHA-256 fingerprint {fingerprint(made.root)}")
    if root_key is not None:
        print_line(f"Take {root_key} to a safe place: whoever has it can make CAs")
    for line in made.never_issued:
        print_line(f"By the limits of the CA, {line}")
    print_line("Next:")
    for command in _next_commands(directory, spec.hosts):
        print_line(f"  {command}")


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
        f"est user add {place} device-1",
        f"est serve {place}{listen}",
        f"est enroll {url} --trust {trust} --user device-1 --cn device-1 --out device-1",
    )
