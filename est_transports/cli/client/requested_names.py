"""What is to be certified: names from the command line, or a certificate request from a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core import Limits, RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request, signature_is_valid
from est_core.values import unchecked_value_class
from est_transports.cli.errors import CliError, ExitCode
from est_transports.pki.credential_files import CredentialFileError, load_request
from est_transports.pki.csr_words import SAN_KINDS
from est_transports.pki.names import name_text


@unchecked_value_class
class RequestedNames:
    """A subject and its alternative names."""

    subject: x509.Name
    names: tuple[x509.GeneralName, ...] = ()

    @property
    def text(self) -> str:
        """The subject, or the alternative names where it is empty."""
        return name_text(self.subject) or ", ".join(str(name.value) for name in self.names)


def names_from_options(
    common_name: str | None, san: Iterable[str], *, option: str = "--san"
) -> RequestedNames:
    """Return the names that --cn and --san express. Raises CliError (USAGE).

    Without a common name the subject is empty. RFC 5280 4.1.2.6. `option` is what --san is called.
    """
    parts = [] if common_name is None else [common_name]
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, part) for part in parts])
    except ValueError as exc:
        raise CliError(
            "--cn: a common name has 1 to 64 characters",
            ExitCode.USAGE,
            "use --san for longer names",
        ) from exc
    return RequestedNames(subject=subject, names=tuple(_names(san, option)))


def names_of_certificate(certificate: x509.Certificate) -> RequestedNames:
    """Return the names of a certificate, to be certified again."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return RequestedNames(subject=certificate.subject)
    return RequestedNames(subject=certificate.subject, names=tuple(found.value))


def load_csr(path: Path) -> CertRequest:
    """Return the certificate request in a file, in any form. Raises CliError (LOCAL).

    CredentialFileError where there is none, or more than one.
    """
    try:
        der = load_request(path)
    except CredentialFileError as exc:
        raise CredentialFileError(path, f"{exc.reason} (--csr)") from exc
    try:
        csr = parse_cert_request(der, Limits())
        if not signature_is_valid(csr):
            raise CliError(f"{path}: the signature does not verify", ExitCode.LOCAL)
    except RemoteProtocolError as exc:
        raise CliError(
            f"{path}: its certificate request cannot be read: {exc.message}", ExitCode.LOCAL
        ) from exc
    return csr


def _names(san: Iterable[str], called: str) -> Iterable[x509.GeneralName]:
    for text in (part.strip() for option in san for part in option.split(",")):
        kind, _, value = text.partition(":")
        make = SAN_KINDS.get(kind.lower())
        if make is None or not value:
            kinds = ", ".join(f"{name}:..." for name in SAN_KINDS)
            raise CliError(f"{called} {text}: not one of {kinds}", ExitCode.USAGE)
        try:
            yield make(value)
        except ValueError as exc:
            raise CliError(f"{called} {text}: {exc}", ExitCode.USAGE) from exc
