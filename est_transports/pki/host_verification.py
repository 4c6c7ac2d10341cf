"""Which hosts a certificate names, and whether it names one. RFC 6125 6.4, RFC 9525."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core.arguments import checked
from est_transports.pki.certificate_checks import UNREADABLE

_PLAIN_NAME: Final = re.compile(r"(?:[A-Za-z0-9-]+\.)*[A-Za-z][A-Za-z0-9-]*")
"""A name with no wildcard in it that no reader could take for an address."""


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Return whether a certificate names the host in its subjectAltName.

    `host` is a DNS name in A-labels, or an IP address, which matches iPAddress only. The common
    name is not looked at. A wildcard stands for the whole left-most label. RFC 6125 6.4, RFC 9525.
    """
    address = ip_literal(host)
    name = "" if address else host.rstrip(".")
    try:
        return _spells(certificate, name, address) or _matches(certificate, name, address)
    except UNREADABLE:
        return False


def _spells(certificate: x509.Certificate, name: str, address: str) -> bool:
    """Return whether all names are plain ones and addresses, and one is this, letter by letter.

    It is so as a rule. What there is to know about other names `service_identity` knows, and
    loading that costs a client as much as a tenth of all else that it needs.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    if len(hosts) + len(addresses) < len(names) or not all(map(_PLAIN_NAME.fullmatch, hosts)):
        return False
    if address:
        return address in map(str, addresses)
    return bool(_PLAIN_NAME.fullmatch(name)) and name.lower() in map(str.lower, hosts)


def _matches(certificate: x509.Certificate, name: str, address: str) -> bool:
    from service_identity import CertificateError, VerificationError
    from service_identity.cryptography import (
        verify_certificate_hostname,
        verify_certificate_ip_address,
    )

    try:
        if address:
            verify_certificate_ip_address(certificate, address)
        else:
            verify_certificate_hostname(certificate, name)
    except (VerificationError, CertificateError):
        return False
    return True


def ip_literal(host: str) -> str:
    """Return the IP address that a host name is, without brackets and zone, or "" if none."""
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return ""


@checked
def own_names(certificate: x509.Certificate) -> frozenset[str]:
    """Return the host names and addresses that a server's certificate speaks for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = names.get_values_for_type(x509.IPAddress)
    return frozenset([*names.get_values_for_type(x509.DNSName), *map(str, addresses)])


@checked
def common_hosts(certificate: x509.Certificate) -> frozenset[str]:
    """Return the common names that are hosts: of old, a server's certificate has no others."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    texts = (str(name.value) for name in names)
    return frozenset(text for text in texts if not {" "} & set(text) and {".", ":"} & set(text))
