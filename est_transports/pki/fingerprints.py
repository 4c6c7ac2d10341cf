"""Fingerprints of certificates: read in every way they are written, and shown to be compared.

A fingerprint is a hash over the whole certificate in DER (RFC 7030 4.1.1), in full: a part of one
can be made to fit. SHA-1 is none, for two certificates with one SHA-1 can be had.
"""

from __future__ import annotations

import re
from dataclasses import field
from hmac import compare_digest
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import LocalProtocolError
from est_core.values import unchecked_value_class

_KINDS: Final[dict[int, hashes.HashAlgorithm]] = {
    32: hashes.SHA256(),
    48: hashes.SHA384(),
    64: hashes.SHA512(),
}
"""What a fingerprint is made with, by its length."""
# As programs write it: "SHA256:", "sha256 Fingerprint=", "SHA-256 ".
_PREFIX: Final = re.compile(r"sha-?(\d+)(?![0-9a-f])(?:\s+fingerprint)?\s*[:=]?", re.IGNORECASE)
_BETWEEN: Final = re.compile(r"[\s:]+")
_MAX_CHARS: Final = 1024
_GROUP: Final = 4
_GROUPS_IN_LINE: Final = 4


@unchecked_value_class
class CertificateFingerprint:
    """A fingerprint that somebody gave: what a certificate is held against."""

    digest: bytes = field(repr=False)

    @property
    def kind(self) -> hashes.HashAlgorithm:
        """The hash that it was made with."""
        return _KINDS[len(self.digest)]

    def is_of(self, certificate: x509.Certificate) -> bool:
        """True if it is the fingerprint of this certificate."""
        return compare_digest(certificate.fingerprint(self.kind), self.digest)


def read_fingerprint(text: str) -> CertificateFingerprint:
    """Return the SHA-256, SHA-384 or SHA-512 fingerprint that a text has in hexadecimal digits.

    In capitals or not, with or without colons and blanks anywhere, with or without the name of the
    hash in front. Raises LocalProtocolError for any other text: one that is too short, or whose
    name is that of another hash.
    """
    if len(text) > _MAX_CHARS:
        raise LocalProtocolError("a fingerprint is not as long as that")
    text = text.strip()
    named = _PREFIX.match(text)
    digits = _BETWEEN.sub("", text[named.end() :] if named else text)
    if not re.fullmatch("[0-9A-Fa-f]*", digits):
        raise LocalProtocolError("a fingerprint is written in hexadecimal digits")
    if len(digits) % 2 or len(digits) // 2 not in _KINDS:
        raise LocalProtocolError(
            "a fingerprint is the whole SHA-256, SHA-384 or SHA-512 of a certificate, of 64, 96 or "
            f"128 hexadecimal digits; this has {len(digits)}"
        )
    if named and int(named[1]) != 4 * len(digits):
        raise LocalProtocolError(
            f"a fingerprint of SHA-{named[1]} has other than {len(digits)} hexadecimal digits"
        )
    return CertificateFingerprint(digest=bytes.fromhex(digits))


def groups(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the SHA-256 fingerprint as lines of four groups of four digits, to be read aloud."""
    digits = certificate.fingerprint(hashes.SHA256()).hex().upper()
    found = [digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP)]
    lines = range(0, len(found), _GROUPS_IN_LINE)
    return tuple(" ".join(found[at : at + _GROUPS_IN_LINE]) for at in lines)
