"""The step of `est demo` that revokes a certificate: who refuses it then, and which list has it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports import _clock
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.crls import CrlSchedule, make_crl
from est_transports.cli.errors import CliError, ExitCode
from est_transports.pki.serials import printed_serial, serial_text
from est_transports.pki.trust import load_pem_certificates

REASON: Final = "keyCompromise"
LIST: Final = "list.pem"
OPENSSL_S: Final = 30.0
_REFUSED: Final = "auth/certificate-revoked"


def revoke(ca: ReferenceCA, leaf: Path, anchor: Path, renew: Callable[[], object]) -> str:
    """Revoke a certificate, prove that `renew` is refused and that a new list has it.

    The list is put beside the anchor. Raises CliError where anything else comes of it.
    """
    (certificate, *_) = load_pem_certificates(leaf)
    now, serial = _clock.instant().wall, serial_text(certificate.serial_number)
    if not ca.store.revoke_certificate(serial, at=now, reason=REASON):
        raise CliError(f"certificate {printed_serial(serial)} is not revoked", ExitCode.INTERNAL)
    try:
        renew()
    except CliError as exc:
        if exc.server_code != _REFUSED:
            raise
    else:
        raise CliError("a revoked certificate was renewed", ExitCode.INTERNAL)
    record = make_crl(ca, ca.store, CrlSchedule(), now=now)
    crl = x509.load_der_x509_crl(record.der)
    file = anchor.parent / LIST
    file.write_bytes(crl.public_bytes(Encoding.PEM))
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is None:
        raise CliError("the revocation list lacks what was revoked", ExitCode.INTERNAL)
    return (
        f"serial {printed_serial(serial)} for {REASON}: renewal refused ({_REFUSED}), on list"
        f" {record.number}{_verdict(leaf, anchor, file)}"
    )


def _verdict(leaf: Path, anchor: Path, crl: Path) -> str:
    """Return what openssl says of it, where there is one."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return ""
    command = [openssl, "verify", "-CAfile", str(anchor), "-crl_check", "-CRLfile", str(crl)]
    try:
        done = subprocess.run(  # noqa: S603  # our own files, no shell
            [*command, str(leaf)], capture_output=True, text=True, timeout=OPENSSL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CliError(f"{openssl} does not run", ExitCode.LOCAL) from exc
    if "certificate revoked" not in done.stderr:
        raise CliError(f"openssl verify says: {done.stderr.strip()}", ExitCode.REFUSED)
    return "; openssl verify -crl_check: certificate revoked"
