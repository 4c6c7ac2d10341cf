"""The CA of a configuration: its key and certificates opened, its reserved names gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core import Instant, LocalProtocolError
from est_core.arguments import checked
from est_core.checks.identity import has_cmc_ra
from est_transports import _clock
from est_transports.authority.ca import ReferenceCA, ca_subjects, spki_of
from est_transports.authority.former_cas import FormerCa
from est_transports.authority.profile_names import ReservedNames
from est_transports.authority.rollover import is_link
from est_transports.authority.stores import Store
from est_transports.pki.chains import certifier_flaw, issuer_problem
from est_transports.pki.host_verification import common_hosts, own_names
from est_transports.pki.names import name_text
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import (
    CredentialFileError,
    TlsIdentity,
    load_pem_certificates,
    load_pem_private_key,
)
from est_transports.service.config.former import FormerCaConfig
from est_transports.service.config.settings import CAConfig, ServerConfig
from est_transports.service.errors import ServingError
from est_transports.service.ra_loading import ra_certificates

MAX_PASSWORD_FILE_BYTES: Final = 4096

_WITHOUT_LABEL: Final = ""
"""The key of the default profile: no label is empty."""


@checked
def load_ca(
    config: ServerConfig, identity: TlsIdentity, store: Store, left_out: Callable[[str], None]
) -> ReferenceCA:
    """Return the CA. Raises CredentialFileError for a file, ServingError where parts do not fit."""
    certificate, *chain = load_pem_certificates(
        config.ca.certificate, left_out=left_out, needs_first=True
    )
    signer = load_ca_signer(config.ca)
    profiles = {_WITHOUT_LABEL: config.profiles[config.ca.default_profile]}
    profiles |= {row.label.text: config.profiles[row.profile] for row in config.labels}
    former = _former(config.ca, certificate, left_out)
    try:
        return ReferenceCA(
            certificate=certificate,
            chain=chain,
            signer=signer,
            store=store,
            profiles=profiles,
            default_profile=_WITHOUT_LABEL,
            own_names=_hosts_of(identity.certificate),
            reserved_subjects=tuple(_reserved_subjects(config, identity.chain, left_out)),
            former=former,
            entropy=_clock.entropy,
        )
    except LocalProtocolError as exc:
        raise ServingError(f"{config.ca.certificate}: {exc.message}") from exc


def _former(
    ca: CAConfig, current: x509.Certificate, left_out: Callable[[str], None]
) -> tuple[FormerCa, ...]:
    """Return the generations before this one. Raises CredentialFileError, ServingError."""
    found = []
    for each in ca.former:
        certificate, *chain = load_pem_certificates(
            each.certificate, left_out=left_out, needs_first=True
        )
        links = () if each.links is None else load_pem_certificates(each.links, left_out=left_out)
        until = each.trusted_until
        found.append(
            FormerCa(
                certificate=certificate,
                chain=tuple(chain),
                links=links,
                trusted_until=until,
                signer=_former_signer(each, certificate, left_out),
            )
        )
    roots = (current, *(each.certificate for each in found))
    for config, former in zip(ca.former, found, strict=True):
        if former.certificate == current:
            text = "is the certificate that the CA issues with; take it out of [[ca.former]]"
            raise ServingError(f"{config.certificate}: {text}")
        for link in former.links:
            if not is_link(link, roots):
                raise ServingError(
                    f"{config.links}: the certificate with serial number"
                    f" {serial_text(link.serial_number)} is no link between generations of this"
                    " CA; put the one there that `est ca rollover` made"
                )
    return tuple(found)


def _former_signer(
    former: FormerCaConfig, certificate: x509.Certificate, left_out: Callable[[str], None]
) -> LocalSigner | None:
    """Return the key of a generation before this one; None where it is not there any more."""
    if former.key is None:
        return None
    try:
        password = None if former.key_password_file is None else _password(former.key_password_file)
        signer = LocalSigner(load_pem_private_key(former.key, password))
    except CredentialFileError as exc:
        left_out(f"{exc}: no revocation list is made of what that key of the CA issued")
        return None
    if signer.public_key_spki != spki_of(certificate.public_key()):
        left_out(f"{former.key}: is not the key of {former.certificate}: it signs no lists")
        return None
    return signer


@checked
def load_ca_signer(ca: CAConfig) -> LocalSigner:
    """Return the signer of the CA's key, opened with the password of its file, if any.

    Raises CredentialFileError.
    """
    return LocalSigner(load_pem_private_key(ca.key, key_password(ca)))


@checked
def key_password(ca: CAConfig) -> bytes | None:
    """Return the password of the CA's key, None where it has none. Raises CredentialFileError."""
    return None if ca.key_password_file is None else _password(ca.key_password_file)


def _password(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            password = file.readline(MAX_PASSWORD_FILE_BYTES).rstrip(b"\r\n")
    except OSError as exc:
        raise CredentialFileError(path, exc.strerror or "cannot be read") from exc
    if not password:
        raise CredentialFileError(path, "holds no password")
    return password


@checked
def load_issuing_path(
    config: ServerConfig, left_out: Callable[[str], None]
) -> tuple[tuple[x509.Certificate, ...], ReservedNames]:
    """Return the certificates of the CA, the issuing one first, and the names it certifies nobody.

    No key is opened. Raises CredentialFileError.
    """
    path = load_pem_certificates(config.ca.certificate, left_out=left_out, needs_first=True)
    server = load_pem_certificates(config.tls.certificate, left_out=left_out, needs_first=True)
    subjects = _reserved_subjects(config, server, left_out)
    return path, ReservedNames.of(_hosts_of(server[0]), ca_subjects(path), subjects)


def _hosts_of(server: x509.Certificate) -> frozenset[str]:
    return own_names(server) | common_hosts(server)


def _reserved_subjects(
    config: ServerConfig, server: Sequence[x509.Certificate], left_out: Callable[[str], None]
) -> Iterator[tuple[str, x509.Name]]:
    """Yield the subjects that are the server's or configured to be somebody's, and whose."""
    for certificate in server[:1]:
        yield "this server's TLS certificate", certificate.subject
    for certificate in server[1:]:
        yield "a CA above this server's TLS certificate", certificate.subject
    for _, certificate in ra_certificates(config.ra):
        yield "a registration authority", certificate.subject
    for path in config.ca.reserved:
        for certificate in load_pem_certificates(path, left_out=left_out):
            is_ra = has_cmc_ra(certificate)
            whose = "a registration authority" if is_ra else "a certificate that is reserved"
            yield whose, certificate.subject


@checked
def ca_limits(ca: ReferenceCA, now: Instant) -> Iterator[str]:
    """Yield what the CA can never issue, whatever the profiles say."""
    *others, root = ca.ca_certificates()
    problem = issuer_problem(ca.certificate, anchors=(root,), others=others, now=now.wall)
    if problem and not ca.outdated(now.wall):  # that was told with the date
        yield f"nothing that it issues will verify: {problem}"
    for certificate in ca.ca_certificates():
        if weak := certifier_flaw(certificate):
            whose = name_text(certificate.subject)
            yield f"peers will refuse what it issues: the certificate of {whose}: {weak}"
    yield from ca.never_issued()
