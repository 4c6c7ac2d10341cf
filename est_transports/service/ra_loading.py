"""The registration authorities of a server: certificates of its own CA that est.toml lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from est_core.checks.identity import RegistrationAuthorities, has_cmc_ra
from est_transports.pki.names import name_text
from est_transports.pki.trust import CredentialFileError, load_pem_certificates
from est_transports.service.config.registration import RaConfig


def registration_authorities(
    config: RaConfig, cas: Sequence[x509.Certificate]
) -> RegistrationAuthorities:
    """Return the list for a policy. Raises CredentialFileError for a certificate that is no RA's.

    `cas` are the generations of the own CA, the present one first. Whether a certificate is
    valid now does not matter: another of its subject may be in use by now.
    """
    subjects = set()
    for path, certificate in ra_certificates(config):
        whose = name_text(certificate.subject)
        if not any(_is_issued_by(certificate, ca) for ca in cas):
            reason = (
                f"the certificate of {whose} is not of this CA, {name_text(cas[0].subject)}, which"
                " alone makes registration authorities; issue one to it"
            )
            raise CredentialFileError(path, reason)
        if not has_cmc_ra(certificate):
            reason = (
                f"the certificate of {whose} is not for id-kp-cmcRA; issue one to it with that"
                " extendedKeyUsage"
            )
            raise CredentialFileError(path, reason)
        subjects.add(certificate.subject)
    return RegistrationAuthorities(subjects=frozenset(subjects), fingerprints=config.fingerprints)


def ra_certificates(config: RaConfig) -> Iterator[tuple[Path, x509.Certificate]]:
    """Yield the certificates that are listed, with their files. Raises CredentialFileError."""
    for path in config.certificates:
        for certificate in load_pem_certificates(path):
            yield path, certificate


def _is_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
