"""`est crl`: a new revocation list of the CA."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.crls import make_crl
from est_transports.authority.stores import Store
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, refuse_existing, write_files
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_text, printing
from est_transports.cli.paths import PATH
from est_transports.cli.server.directory import (
    directory_argument,
    local_errors,
    opened_store,
    read_config,
)
from est_transports.pki.signers import SignerError
from est_transports.pki.trust import CredentialFileError, load_identity, load_pem_crls
from est_transports.service.ca_loading import load_ca
from est_transports.service.config.settings import ServerConfig
from est_transports.service.crl_publishing import file_newest

_STDOUT: Final = Path("-")


@click.command("crl")
@directory_argument
@click.option(
    "--out",
    type=PATH,
    metavar="FILE|-",
    help="Write it there, and not into the directory of [crl]; - is standard output.",
)
@click.option("--pem", is_flag=True, help="With --out: in PEM, as is usual.")
@click.option("--der", is_flag=True, help="With --out: in DER.")
@click.option("--force", is_flag=True, help="Replace a FILE that is no list of this CA.")
@json_option
@verbose_option
def crl(
    directory: Path, out: Path | None, pem: bool, der: bool, force: bool, as_json: bool
) -> None:  # fmt: skip
    """Make a new revocation list (CRL), whether or not a server runs.

    It has all that is revoked or on hold. Without --out it takes the place of the last one in the
    directory that est.toml names, where a server files its lists too.
    """
    if pem and der:
        raise CliError("--pem and --der exclude each other", ExitCode.USAGE)
    if out is None and (pem or der or force):
        raise CliError("--pem, --der and --force go with --out", ExitCode.USAGE)
    if out == _STDOUT and as_json:
        raise CliError("--json and --out - exclude each other", ExitCode.USAGE)
    config = read_config(directory)
    store = opened_store(config)
    with local_errors():
        try:
            made, path = _made(config, store, out, force=force)
        finally:
            store.close()
    if out is not None:
        content = made.public_bytes(Encoding.DER if der else Encoding.PEM)
        if out == _STDOUT:
            _print(content, der=der)
            return
        write_files([Output(path=out, content=content)], overwrite=True)
    _tell(made, path or out or _STDOUT, as_json=as_json)


def _made(
    config: ServerConfig, store: Store, out: Path | None, *, force: bool
) -> tuple[x509.CertificateRevocationList, Path | None]:
    """Return a new list, and its file, where that is the one of the configuration."""
    try:
        identity = load_identity(config.tls.certificate, config.tls.key, left_out=_nothing)
        ca = load_ca(config, identity, store, _nothing)
        if out is not None and out != _STDOUT and not force:
            _check_place(out, ca.certificate.subject)
        record = make_crl(ca, store, config.crl.schedule, now=_clock.instant().wall)
    except (CredentialFileError, SignerError) as exc:
        raise CliError(str(exc), ExitCode.LOCAL) from exc
    except LocalProtocolError as exc:
        raise CliError(f"{config.ca.certificate}: {exc.message}", ExitCode.LOCAL) from exc
    path = None
    if out is None and config.crl.directory is not None:
        path = file_newest(config.crl.directory, store, record.issuer_key)
    return x509.load_der_x509_crl(record.der), path


def _nothing(_notice: str) -> None:
    """What is left out of a file of certificates is told by the server."""


def _check_place(path: Path, issuer: x509.Name) -> None:
    """Raise CliError for a file that is there, unless it is a list of this CA."""
    try:
        found = load_pem_crls(path) if path.exists() else ()
    except CredentialFileError:
        found = ()
    if not any(each.issuer == issuer for each in found):
        refuse_existing([path])


def _print(content: bytes, *, der: bool) -> None:
    if not der:
        print_text(content.decode("ascii"))
        return
    if sys.stdout.isatty():
        raise CliError("DER is nothing for a terminal", ExitCode.USAGE, "use --out FILE")
    with printing():
        click.echo(content, nl=False)


def _tell(made: x509.CertificateRevocationList, path: Path, *, as_json: bool) -> None:
    number = made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    next_update = "" if made.next_update_utc is None else moment(made.next_update_utc)
    values = {
        "file": str(path),
        "number": number,
        "entries": len(made),
        "this_update": moment(made.last_update_utc),
        "next_update": next_update,
    }
    if as_json:
        print_json(values)
    else:
        print_line(f"{path}: list {number}, {len(made)} revoked, good until {next_update}")
