"""The certificates that a peer sent, each read as far as it can be, and named where it cannot.

A peer may send certificates that nobody needs: those of other chains, or above an anchor of ours.
RFC 8446 4.4.2 tells to be ready for them. So one that `cryptography` cannot read is set aside, with
its place, subject and fingerprint for those who look for it. Nothing is proved by one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL, crypto

from est_transports.channel.errors import BAD_CERTIFICATE, TlsError
from est_transports.pki.der_walk import content_untrusted, elements_untrusted
from est_transports.pki.flaws import UNREADABLE, unreadable_part
from est_transports.pki.names import name_text

MAX_PEER_CERTIFICATES: Final = 16  # what a peer may send; OpenSSL stops at 100 KiB
_SHOWN_CHARS: Final = 64  # of a name that nobody vouches for
_VERSION: Final = 0xA0
_SUBJECT_BEHIND: Final = 4  # serial number, signature, issuer, validity
_COMMON_NAME: Final = b"\x06\x03\x55\x04\x03"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCertificates:
    """What a peer sent. `chain` has what can be read, the peer's own certificate first.

    `unread` has a few words for each of the others, in their order. `is_shown` is False for a
    peer without a certificate; `chain` is empty too where its own is one of the others.
    """

    chain: tuple[x509.Certificate, ...] = ()
    unread: tuple[str, ...] = ()
    is_shown: bool = False

    def flaws(self) -> tuple[str, ...]:
        """Return which certificates beside the peer's own cannot be read, in whole or in part."""
        parts = ((shown(each), unreadable_part(each)) for each in self.chain[1:])
        partly = (f"beside it {name}: {part}" for name, part in parts if part)
        return (*(f"beside it {each}: cannot be read" for each in self.unread), *partly)


def sent_certificates(connection: SSL.Connection) -> SentCertificates:
    """Return the certificates that the peer sent, those that can be read apart from the others.

    Raises TlsError("tls/bad-certificate") for more than MAX_PEER_CERTIFICATES.
    """
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return SentCertificates()
    own = der_of(leaf)
    sent = (connection.get_peer_cert_chain() or [])[: MAX_PEER_CERTIFICATES + 1]
    # The stack has the leaf on the client's side only.
    ders = (own, *(each for each in map(der_of, sent) if each != own))
    if len(ders) > MAX_PEER_CERTIFICATES:
        message = f"the peer sent more than {MAX_PEER_CERTIFICATES} certificates"
        raise TlsError(BAD_CERTIFICATE, message)
    read = [(der, read_der(der)) for der in ders]
    unread = tuple(
        f"certificate {place} of {len(ders)}, {shown_der(der)}"
        for place, (der, certificate) in enumerate(read, start=1)
        if certificate is None
    )
    own_is_read = read[0][1] is not None
    chain = tuple(each for _, each in read if each is not None) if own_is_read else ()
    return SentCertificates(chain=chain, unread=unread, is_shown=True)


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
        fields = list(elements_untrusted(content_untrusted(content_untrusted(der))))
        subject = fields[_SUBJECT_BEHIND + (fields[0][0] == _VERSION)]
        _, found, value = subject.partition(_COMMON_NAME)
        return content_untrusted(value).decode("utf-8", "replace") if found else ""
    except IndexError:
        return ""
