"""The CAs that this machine trusts, from where OpenSSL looks for them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cryptography import x509

from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.output import warn
from est_transports.pki.trust import (
    CredentialFileError,
    load_pem_certificates,
)

# How OpenSSL finds a certificate in a directory: by the hash of its subject.
_HASHED_NAME: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_MAX_SYSTEM_FILES: Final = 2000


def system_anchors() -> tuple[x509.Certificate, ...]:
    """Return the CAs that this machine trusts, from where OpenSSL looks for them.

    SSL_CERT_FILE and SSL_CERT_DIR are respected. Raises CliError (LOCAL) if there are none.
    """
    from ssl import get_default_verify_paths  # dear to load, and seldom needed: TLS is pyOpenSSL's

    paths = get_default_verify_paths()
    found: list[x509.Certificate] = []
    if paths.cafile is not None:
        found += load_pem_certificates(Path(paths.cafile), left_out=warn)
    elif paths.capath is not None:
        for path in _hashed_files(Path(paths.capath)):
            found += _certificates_or_none(path)
    if not found:
        raise CliError(
            "this machine has no trust store", ExitCode.LOCAL, "name the CA with --trust CA.pem"
        )
    return tuple(dict.fromkeys(found))


def _certificates_or_none(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of one file among many, and warn where it has none."""
    try:
        return load_pem_certificates(path, left_out=warn)
    except CredentialFileError as exc:
        warn(f"left out of the system's trust store: {exc}")
        return ()


def _hashed_files(directory: Path) -> list[Path]:
    names = sorted(path.name for path in directory.iterdir() if _HASHED_NAME.fullmatch(path.name))
    return [directory / name for name in names[:_MAX_SYSTEM_FILES]]
