"""`est crl`: a new revocation list of the CA."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.crls import crl_issuers, make_crl
from est_transports.authority.stores import Store
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, refuse_existing, write_files
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_text, printing, warn
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

_Made = tuple[x509.CertificateRevocationList, Path]


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
            made = _filed(config, store) if out is None else _made(config, store, out, force=force)
        finally:
            store.close()
    if out is not None:
        content = made[0][0].public_bytes(Encoding.DER if der else Encoding.PEM)
        if out == _STDOUT:
            _print(content, der=der)
            return
        write_files([Output(path=out, content=content)], overwrite=True)
    _tell(made, as_json=as_json)


def _filed(config: ServerConfig, store: Store) -> list[_Made]:
    """Return a new list of each key of the CA, in its file."""
    directory, made = config.crl.directory, []
    with _errors(config):
        ca = _ca(config, store)
        for issuer in (each for each in crl_issuers(ca) if each is ca or each.signs_crls):
            record = make_crl(issuer, store, config.crl.schedule, now=_clock.instant().wall)
            path = None if directory is None else file_newest(directory, store, record.issuer_key)
            made.append((x509.load_der_x509_crl(record.der), path or _STDOUT))
    return made


def _made(config: ServerConfig, store: Store, out: Path, *, force: bool) -> list[_Made]:
    """Return a new list of the key that the CA issues with, and the file that it is for."""
    with _errors(config):
        ca = _ca(config, store)
        if out != _STDOUT and not force:
            _check_place(out, ca.certificate.subject)
        record = make_crl(ca, store, config.crl.schedule, now=_clock.instant().wall)
    return [(x509.load_der_x509_crl(record.der), out)]


def _ca(config: ServerConfig, store: Store) -> ReferenceCA:
    identity = load_identity(config.tls.certificate, config.tls.key, left_out=warn)
    return load_ca(config, identity, store, warn)


@contextmanager
def _errors(config: ServerConfig) -> Iterator[None]:
    try:
        yield
    except (CredentialFileError, SignerError) as exc:
        raise CliError(str(exc), ExitCode.LOCAL) from exc
    except LocalProtocolError as exc:
        raise CliError(f"{config.ca.certificate}: {exc.message}", ExitCode.LOCAL) from exc


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


def _tell(made: Sequence[_Made], *, as_json: bool) -> None:
    """Print what was made: first the list of the key that issues, then those of former keys."""
    values, *former = [_values(*each) for each in made]
    if as_json:
        print_json({**values, "former": former})
        return
    for each in (values, *former):
        print_line(
            f"{each['file']}: list {each['number']}, {each['entries']} revoked,"
            f" good until {each['next_update']}"
        )


def _values(crl: x509.CertificateRevocationList, path: Path) -> dict[str, object]:
    return {
        "file": str(path),
        "number": crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        "entries": len(crl),
        "this_update": moment(crl.last_update_utc),
        "next_update": "" if crl.next_update_utc is None else moment(crl.next_update_utc),
    }
