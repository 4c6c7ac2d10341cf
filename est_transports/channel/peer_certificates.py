"""The certificates that a peer sent, each read as far as it can be, and named where it cannot.

A peer may send certificates that nobody needs: those of other chains, or above an anchor of ours.
RFC 8446 4.4.2 tells to be ready for them. So one that `cryptography` cannot read is set aside, with
its place, subject and fingerprint for those who look for it. Nothing is proved by one.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from OpenSSL import SSL

from est_core.values import unchecked_value_class
from est_transports.channel.errors import BAD_CERTIFICATE, TlsError
from est_transports.pki.certificate_checks import unreadable_part
from est_transports.pki.certificates import der_of, read_der, shown, shown_der

MAX_PEER_CERTIFICATES: Final = 16  # what a peer may send; OpenSSL stops at 100 KiB


@unchecked_value_class
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
