"""The uses of a key that a certificate can allow. RFC 5280 4.2.1.3."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from cryptography import x509

KEY_USES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
"""All of them, as x509.KeyUsage calls them."""


def key_usage(uses: Collection[str]) -> x509.KeyUsage:
    """Return the extension that allows these and no others. Raises ValueError as KeyUsage does."""
    return x509.KeyUsage(**{use: use in uses for use in KEY_USES})


def allows(certificate: x509.Certificate, use: str) -> bool:
    """Return whether a certificate allows a use of KEY_USES. Without the extension it allows all.

    Not for the last two, which mean something beside key_agreement only.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return True
    return bool(getattr(found.value, use))
