"""Checks a certificate that was received, and installs it in its directory.

One that is not believed is put aside and not thrown away: it was issued, and may be what its owner
wants after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core import Enrolled
from est_core.asn1.certificates import UnreadableCertificate
from est_core.values import unchecked_value_class
from est_transports.cli.client.hints import remedy
from est_transports.cli.client.pending import PENDING_KEY, PENDING_URI
from est_transports.cli.client.token_keys import TokenKey
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import (
    CA_CERTIFICATES,
    CERTIFICATE,
    CHAIN,
    KEY,
    KEY_URI,
    UNREADABLE,
    Output,
    refuse_existing,
    refuse_pair,
    write_files,
)
from est_transports.cli.keys import NewKey
from est_transports.cli.output import say, warn
from est_transports.pki.credential_files import certificates_pem, key_pem
from est_transports.pki.issuers import issuers_of

UNTRUSTED: Final = "response/untrusted-certificate"
"""The new certificate is not issued by any CA certificate that is known."""
NOT_AS_ASKED: Final = "response/not-as-asked"
"""The new certificate is not what was asked for, in a point that is dangerous."""
REFUSED_CERTIFICATE: Final = "cert.pem.refused"
"""A certificate that was issued and not installed, and what came with it."""


@unchecked_value_class
class Destination:
    """A directory for what is received, and whether old files there may be replaced.

    `with_key` says that a new key will be written too, `in_token` that it is the URI of a key in a
    token; `with_trust` that the CA certificates are
    what the device is to trust, and replace old ones.
    """

    directory: Path
    force: bool
    with_key: bool
    with_trust: bool = False
    in_token: bool = False

    @property
    def key(self) -> Path:
        """Where the key goes, or its URI."""
        return self.directory / (KEY_URI if self.in_token else KEY)

    @property
    def other_key(self) -> Path:
        """Where a key of the other kind is, if there is one."""
        return self.directory / (KEY if self.in_token else KEY_URI)

    @property
    def certificate(self) -> Path:
        """Where the certificate goes."""
        return self.directory / CERTIFICATE

    @property
    def chain(self) -> Path:
        """Where the certificates of its issuers go, its own issuer first."""
        return self.directory / CHAIN

    @property
    def refused(self) -> Path:
        """Where a certificate goes that is not installed."""
        return self.directory / REFUSED_CERTIFICATE

    @property
    def ca_certificates(self) -> Path:
        """Where all certificates of the CA go."""
        return self.directory / CA_CERTIFICATES

    def check(self) -> None:
        """Raise CliError (LOCAL) where files are in the way, before anything is asked."""
        refuse_pair(self.directory)
        if not self.force:
            keys = [self.key, self.other_key] * self.with_key
            paths = [*keys, self.certificate, self.chain]
            refuse_existing(paths + [self.ca_certificates] * self.with_trust)


def checked_chain(
    enrolled: Enrolled,
    destination: Destination,
    *,
    trusted: Sequence[x509.Certificate],
    accept_changes: bool,
) -> tuple[x509.Certificate, ...]:
    """Return the issuers of a new certificate, its own issuer first.

    `trusted` are the EST CA's certificates and the trust anchors: one of them must be among the
    issuers (EST-149). That the key is ours, the exchange has checked. Each difference from what
    was asked for is warned of. Raises CliError (REFUSED) for an issuer that is not trusted and,
    unless `accept_changes`, for a dangerous difference; the certificate is kept aside then.
    """
    certificate = enrolled.certificate
    chain = issuers_of(certificate, (*trusted, *enrolled.others), frozenset(trusted))
    if not trusted:
        warn("no CA certificate is known: the new certificate was not verified")
    elif not any(issuer in trusted for issuer in chain):
        raise _refused(
            enrolled, destination, UNTRUSTED, "that the server sent is not issued by its CA"
        )
    dangerous = [each.text for each in enrolled.differences if each.dangerous]
    if accept_changes:
        dangerous = []
    for difference in enrolled.differences:
        if difference.text not in dangerous:
            warn(f"the certificate {difference.text}")
    if dangerous:
        raise _refused(enrolled, destination, NOT_AS_ASKED, "; it ".join(dangerous))
    return chain


def _refused(enrolled: Enrolled, destination: Destination, code: str, reason: str) -> CliError:
    """Put the certificate aside and return the error that says why and where."""
    content = certificates_pem((enrolled.certificate, *enrolled.others))
    write_files([Output(path=destination.refused, content=content)], overwrite=True)
    kept = f"nothing was installed; the certificate is in {destination.refused}"
    for pending in (destination.directory / name for name in (PENDING_KEY, PENDING_URI)):
        if pending.exists():
            kept += f", its key in {pending}"
    hint = f"{kept}; {remedy(code)}"
    return CliError(f"the certificate {reason}", ExitCode.REFUSED, hint, error_code=code)


def install(
    destination: Destination,
    *,
    certificate: x509.Certificate,
    chain: tuple[x509.Certificate, ...],
    ca_certificates: tuple[x509.Certificate, ...],
    key: NewKey | TokenKey | None,
) -> tuple[Path, ...]:
    """Write the files of a certificate and return their paths. Raises CliError.

    The key is last: if the machine dies in between, the pending one is still there.
    """
    outputs = []
    if chain:
        outputs.append(Output(path=destination.chain, content=certificates_pem(chain)))
    if ca_certificates:
        outputs += _ca_output(destination, certificates_pem(ca_certificates))
    outputs.append(Output(path=destination.certificate, content=certificates_pem((certificate,))))
    if key is not None:
        content = key.reference if isinstance(key, TokenKey) else key_pem(key.key, key.password)
        outputs.append(Output(path=destination.key, content=content, secret=True))
    write_files(outputs, overwrite=destination.force)
    if key is not None and destination.other_key.exists():
        warn(
            f"{destination.other_key} is still there, and not the key of {destination.certificate}"
        )
    return tuple(output.path for output in outputs)


def keep_unreadable(
    destination: Destination, certificates: Sequence[UnreadableCertificate]
) -> None:
    """Write certificates that nobody here can read where an operator finds them.

    The one that was issued is among them, and there may be no other copy. Raises CliError.
    """
    if not certificates:
        return
    from ssl import DER_cert_to_PEM_cert  # of all that ssl has, this alone, and hardly ever

    path = destination.directory / UNREADABLE
    content = "".join(DER_cert_to_PEM_cert(each.der) for each in certificates)
    write_files([Output(path=path, content=content.encode("ascii"))], overwrite=True)
    say(f"what the server sent is in {path}")


def _ca_output(destination: Destination, content: bytes) -> list[Output]:
    """Leave CA certificates that are there alone: somebody may trust them."""
    path = destination.ca_certificates
    if destination.with_trust or not path.exists():
        return [Output(path=path, content=content)]
    if path.read_bytes() != content:
        warn(f"{path} differs from the server's CA certificates; `est cacerts` fetches them")
    return []
