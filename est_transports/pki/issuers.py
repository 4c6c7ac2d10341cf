"""Who issued a certificate: its chain, built from whatever came with it. RFC 7030 4.2.3."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

from cryptography import x509

from est_core.arguments import checked
from est_transports.pki.chains import is_ca, is_issued_by

MAX_CHAIN: Final = 8


@checked
def issuers_of(
    certificate: x509.Certificate,
    candidates: Sequence[x509.Certificate],
    trusted: Set[x509.Certificate],
) -> tuple[x509.Certificate, ...]:
    """Return the issuers of a certificate among `candidates`, its own first, at most MAX_CHAIN.

    Each signed the one before. All but the `trusted` must be CAs; nothing else is judged, so
    a chain that ends in nobody trusted is returned too.
    """
    chain: list[x509.Certificate] = []
    current = certificate
    while len(chain) < MAX_CHAIN:
        issuer = next(
            (
                found
                for found in candidates
                if found not in (certificate, *chain) and _issued(current, found, trusted)
            ),
            None,
        )
        if issuer is None:
            break
        chain.append(issuer)
        if _issued(issuer, issuer, trusted):
            break
        current = issuer
    return tuple(chain)


def _issued(
    certificate: x509.Certificate, issuer: x509.Certificate, trusted: Set[x509.Certificate]
) -> bool:
    # A trust anchor may be older than basicConstraints; anybody else must be a CA.
    return is_issued_by(certificate, issuer) and (issuer in trusted or is_ca(issuer))
