"""Certificates that a CA begins with: its root, one below it, and that of its TLS server."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_core import Entropy, LocalProtocolError
from est_transports.authority.ca import (
    BACKDATED,
    ReferenceCA,
    check_is_ca,
    new_serial,
    spki_of,
)
from est_transports.authority.enrollment_records import Enrollment
from est_transports.authority.planned_certificate import authority_key_id
from est_transports.authority.profiles import CertificatePlan, PlannedExtension
from est_transports.pki.hosts import host_name
from est_transports.pki.key_usage import key_usage
from est_transports.pki.signers import CertificateSigner, Signer

__all__ = ["new_intermediate", "new_root", "new_tls_identity"]

_ROOT_DAYS: Final = 3652  # ten years
_TLS_DAYS: Final = 365
_COMMON_NAME_CHARS: Final = 64


def new_root(
    subject: x509.Name,
    signer: Signer,
    public_key: CertificatePublicKeyTypes,
    *,
    now: datetime,
    entropy: Entropy,
    validity_days: int = _ROOT_DAYS,
    path_length: int = 0,
    name_constraints: x509.NameConstraints | None = None,
) -> x509.Certificate:
    """Return a self-signed root for ten years, with `path_length` CAs below it at most.

    Without any it may issue end-entity certificates only. `public_key` is the signer's. With
    `name_constraints` it certifies no other names. Raises LocalProtocolError if the key is another
    one, and SignerError.
    """
    if spki_of(public_key) != signer.public_key_spki:
        raise LocalProtocolError("the public key is not the signer's")
    builder = _ca_builder(subject, public_key, path_length, now, validity_days)
    builder = builder.issuer_name(subject).serial_number(new_serial(entropy))
    return CertificateSigner(signer).sign(_constrained(builder, name_constraints))


def new_intermediate(
    subject: x509.Name,
    public_key: CertificatePublicKeyTypes,
    *,
    issuer: x509.Certificate,
    signer: Signer,
    now: datetime,
    entropy: Entropy,
    validity_days: int = _ROOT_DAYS,
    name_constraints: x509.NameConstraints | None = None,
) -> x509.Certificate:
    """Return a certificate of `issuer` for a CA that may issue end-entity certificates only.

    For ten years, or as long as the issuer's own. `signer` has the issuer's key. Raises
    LocalProtocolError where it has not, or the issuer is no CA; SignerError.
    """
    check_is_ca(issuer, signer)
    left = issuer.not_valid_after_utc - now
    if left <= BACKDATED:
        raise LocalProtocolError("the issuer's certificate has expired, or is about to")
    builder = _ca_builder(subject, public_key, 0, now, min(validity_days, left.days))
    builder = builder.issuer_name(issuer.subject).serial_number(new_serial(entropy))
    builder = builder.add_extension(authority_key_id(issuer), critical=False)
    builder = _constrained(builder, name_constraints)
    return CertificateSigner(signer, issuer=issuer).sign(builder)


def _constrained(
    builder: x509.CertificateBuilder, constraints: x509.NameConstraints | None
) -> x509.CertificateBuilder:
    if constraints is None:
        return builder
    # RFC 5280 4.2.1.10: "Conforming CAs MUST mark this extension as critical".
    return builder.add_extension(constraints, critical=True)


def _ca_builder(
    subject: x509.Name,
    public_key: CertificatePublicKeyTypes,
    path_length: int,
    now: datetime,
    validity_days: int,
) -> x509.CertificateBuilder:
    moment = now.astimezone(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .not_valid_before(moment - BACKDATED)
        .not_valid_after(moment + timedelta(days=validity_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(["key_cert_sign", "crl_sign"]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def new_tls_identity(
    ca: ReferenceCA,
    names: Sequence[str],
    public_key: CertificatePublicKeyTypes,
    *,
    now: datetime,
    validity_days: int = _TLS_DAYS,
) -> x509.Certificate:
    """Return a server certificate from `ca` for host names and IP addresses, and record it.

    The first name is also the common name, where it is short enough. Raises LocalProtocolError
    for no name or one that is not ASCII (write A-labels), and what `issue_plan` raises.
    """
    if not names:
        raise LocalProtocolError("a server certificate names at least one host")
    subject = x509.Name([])
    if len(names[0]) <= _COMMON_NAME_CHARS:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alt_names = x509.SubjectAlternativeName([_host_name(name) for name in names])
    plan = CertificatePlan(
        subject=subject,
        public_key=public_key,
        extensions=(
            PlannedExtension(
                value=x509.BasicConstraints(ca=False, path_length=None), critical=True
            ),
            PlannedExtension(value=key_usage(["digital_signature"]), critical=True),
            PlannedExtension(value=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
            PlannedExtension(value=alt_names, critical=not subject.rdns),
        ),
        validity=timedelta(days=validity_days),
    )
    return ca.issue_plan(plan, Enrollment(operation="tls-identity"), now=now)


def _host_name(name: str) -> x509.GeneralName:
    host = host_name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
