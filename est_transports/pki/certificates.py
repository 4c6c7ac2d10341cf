"""Certificates of other people: read where they can be, and what to call those that cannot.

Nobody vouches for what they say: names are cut, and what is not printable becomes a question mark.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto

from est_core import RemoteProtocolError
from est_core.asn1 import children, read_element
from est_transports.pki.certificate_checks import UNREADABLE
from est_transports.pki.names import name_text

_SHOWN_CHARS: Final = 64  # of a name that nobody vouches for
_VERSION: Final = 0xA0
_SUBJECT_BEHIND: Final = 4  # serial number, signature, issuer, validity
_COMMON_NAME: Final = b"\x06\x03\x55\x04\x03"


def der_of(certificate: crypto.X509) -> bytes:
    """Return a certificate of OpenSSL's in DER, b"" for one that OpenSSL could not copy.

    It does not where it cannot read the key, and hands out nothing instead.
    """
    try:
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
    except crypto.Error:
        return b""


def read_der(der: bytes) -> x509.Certificate | None:
    """Return the certificate, None for one that cannot be read."""
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE:
        return None


def read_certificate(certificate: crypto.X509) -> x509.Certificate | None:
    """Return a certificate of OpenSSL's, None for one that cannot be read."""
    return read_der(der_of(certificate))


def anchor_key(certificate: x509.Certificate) -> bytes:
    """Return what an anchor is: a name and a key. RFC 5280 6.1.1 (d).

    Two certificates of the same CA, say before and after a renewal, are one anchor, whichever of
    them a path was built with. One that cannot be read is its own bytes.
    """
    try:
        key = certificate.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return certificate.subject.public_bytes() + spki
    except UNREADABLE:
        return certificate.public_bytes(Encoding.DER)


def shown(certificate: x509.Certificate) -> str:
    """Return what a certificate is called by: its subject, or else its fingerprint."""
    try:
        return shown_name(certificate.subject) or _fingerprint_of(certificate)
    except UNREADABLE:
        return _fingerprint_of(certificate)


def shown_name(name: x509.Name) -> str:
    """Return a name that nobody vouches for, cut to what a line of the log has room for."""
    return _cut(name_text(name))


def shown_der(der: bytes) -> str:
    """Return what a certificate is called by that cannot be read: common name and fingerprint."""
    name = _common_name_untrusted(der)
    whose = f"CN={_cut(name)}, " if name else ""
    return f"{whose}SHA-256 {hashlib.sha256(der).hexdigest()}"


def _fingerprint_of(certificate: x509.Certificate) -> str:
    return f"SHA-256 {certificate.fingerprint(hashes.SHA256()).hex()}"


def _cut(name: str) -> str:
    text = "".join(each if each.isprintable() else "?" for each in name)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _common_name_untrusted(der: bytes) -> str:
    """Return the first common name of a subject, "" where none is found.

    For a text: nothing is checked, and bytes that are no UTF-8 become question marks.
    """
    try:
        tbs, *_ = children(read_element(der, ber=True), ber=True)
        fields = children(tbs, ber=True)
        subject = fields[_SUBJECT_BEHIND + (fields[0].tag == _VERSION)].der
        _, found, value = subject.partition(_COMMON_NAME)
        return read_element(value, ber=True).content.decode("utf-8", "replace") if found else ""
    except (RemoteProtocolError, IndexError, ValueError):
        return ""
