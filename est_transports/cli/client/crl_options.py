"""The options about revocation lists for a server's certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from cryptography import x509

from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.paths import PATH
from est_transports.pki.names import name_text
from est_transports.pki.revocation import Revocation, crl_flaw
from est_transports.pki.trust import CredentialFileError, load_pem_crls

_REFUSE: Final = "refuse"
_WORDS: Final = click.Choice([_REFUSE, "warn"])

CRL_OPTIONS: Final = (
    click.option("--crl", "crls", type=PATH, metavar="FILE", multiple=True,
                 help="Revocation lists, in PEM or DER, for the server's certificate and those "
                 "above it; may be given several times."),
    click.option("--crl-missing", type=_WORDS, default=_REFUSE, show_default=True,
                 help="What to do where --crl has no list of an issuer."),
    click.option("--crl-stale", type=_WORDS, default=_REFUSE, show_default=True,
                 help="What to do where the list of an issuer is out of date."),
)  # fmt: skip
CRL_NAMES: Final = ("crls", "crl_missing", "crl_stale")


def revocation_of(
    crls: tuple[Path, ...] = (), crl_missing: str = _REFUSE, crl_stale: str = _REFUSE
) -> Revocation:
    """Return what the options mean. Raises CliError (USAGE), and CredentialFileError."""
    if not crls and (crl_missing, crl_stale) != (_REFUSE, _REFUSE):
        raise CliError("--crl-missing and --crl-stale go with --crl", ExitCode.USAGE)
    return Revocation(
        crls=tuple(crl for path in crls for crl in _lists(path)),
        accept_missing=crl_missing != _REFUSE,
        accept_stale=crl_stale != _REFUSE,
    )


def _lists(path: Path) -> Iterator[x509.CertificateRevocationList]:
    try:
        found = load_pem_crls(path)
    except CredentialFileError as exc:
        raise CredentialFileError(path, f"{exc.reason} (--crl)") from exc
    for crl in found:
        if text := crl_flaw(crl):
            reason = f"the CRL of {name_text(crl.issuer)} is not usable: {text} (--crl)"
            raise CredentialFileError(path, reason)
        yield crl
