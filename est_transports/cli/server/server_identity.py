"""A new TLS certificate for a server that has a CA: the old one lasts a year."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.ca import CAUnavailable, ReferenceCA, Refused
from est_transports.authority.new_ca import new_tls_identity
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, write_files
from est_transports.cli.server.directory import local_errors, open_store, read_config
from est_transports.pki.credential_files import certificates_pem, key_pem
from est_transports.pki.hosts import host_name
from est_transports.service.loading import CredentialChecks, load_service


def renew_server(directory: Path, hosts: tuple[str, ...]) -> x509.Certificate:
    """Replace the server's TLS certificate and key by new ones, for `hosts` or the names it had.

    The files are those that est.toml names; a server that runs goes on with the old ones until
    it is told to reload. Raises CliError: USAGE for a host that cannot be, LOCAL for files.
    """
    config = read_config(directory)
    with open_store(directory) as store, local_errors():
        service = load_service(config, store=store, checks=CredentialChecks())
        names = hosts or _names(service.identity.certificate)
        key = ec.generate_private_key(ec.SECP256R1())
        ca, now = service.authority.ca, _clock.instant().wall
        try:
            hosts = tuple(dict.fromkeys(map(host_name, names)))
            certificate = new_tls_identity(ca, hosts, key.public_key(), now=now)
        except LocalProtocolError as exc:
            raise CliError(exc.message, ExitCode.USAGE) from exc
        except Refused as exc:
            text = f"the server's certificate would not verify: {exc.text} [{exc.code}]"
            raise CliError(text, ExitCode.LOCAL) from exc
        except CAUnavailable as exc:
            raise CliError(str(exc), ExitCode.LOCAL) from exc
    write_files(
        [
            Output(path=config.tls.key, content=key_pem(key), secret=True),
            Output(
                path=config.tls.certificate,
                content=certificates_pem([certificate, *_intermediates(ca)]),
            ),
        ],
        overwrite=True,
    )
    return certificate


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names of a certificate in its own order: the first is also its common name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    kinds = (x509.DNSName, x509.IPAddress)
    return tuple(str(name.value) for name in found.value if isinstance(name, kinds))


def _intermediates(ca: ReferenceCA) -> list[x509.Certificate]:
    return [each for each in ca.ca_certificates() if each.issuer != each.subject]
