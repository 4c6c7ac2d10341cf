"""Whether a certificate names a host. RFC 6125 6.4, RFC 9525."""

from __future__ import annotations

from ipaddress import ip_address

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from est_transports.pki.flaws import UNREADABLE


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Return whether a certificate names the host in its subjectAltName.

    `host` is a DNS name in A-labels, or an IP address, which matches iPAddress only. The common
    name is not looked at. A wildcard stands for the whole left-most label. RFC 6125 6.4, RFC 9525.
    """
    address = ip_literal(host)
    try:
        if address:
            verify_certificate_ip_address(certificate, address)
        else:
            verify_certificate_hostname(certificate, host.rstrip("."))
    except (VerificationError, CertificateError, *UNREADABLE):
        return False
    return True


def ip_literal(host: str) -> str:
    """Return the IP address that a host name is, without brackets and zone, or "" if none."""
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return ""
