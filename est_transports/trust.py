"""Whom a peer must be certified by, and what we show for ourselves: anchors and identities.

RFC 7030 3.1 has two databases of trust anchors. The explicit one belongs to the EST CA, the
implicit one to third parties: a manufacturer, the web's CAs. What a certificate is good for
depends on which of them verified it, so they are kept apart from the file to the Channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key as _load_key

from est_core import LocalProtocolError, TrustDecisionRequested
from est_core.arguments import checked
from est_transports.signers import SigningKey

MAX_FILE_BYTES: Final = 64 * 1024 * 1024  # the largest public CRLs; the web's CAs are 250 KiB
NEEDS_PASSWORD: Final = "needs a password"
"""The reason where a key is encrypted and there is nothing to open it with."""
_HASHES: Final = {32: hashes.SHA256, 64: hashes.SHA512}
"""What a fingerprint is made with, by its length. RFC 7030 4.1.1."""
_CRL_BLOCK: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


@checked
class CredentialFileError(Exception):
    """A file with certificates, revocation lists or a key cannot be used.

    The text is one sentence that names the file and never quotes it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchors:
    """The two databases of trust anchors, and the revocation lists that go with them.

    Any certificate may be an anchor, a self-signed root or not. With `crls`, every certificate
    whose issuer has a list here is checked against it; one whose issuer has none is not, so that
    a manufacturer without a CRL does not lock its devices out. A list past its nextUpdate fails
    every certificate of its issuer. RFC 7030 3.1.
    """

    explicit: tuple[x509.Certificate, ...] = ()
    implicit: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """All anchors, each once, explicit ones first."""
        return tuple(dict.fromkeys(self.explicit + self.implicit))


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """A certificate with its private key. `chain` starts with the certificate itself.

    Intermediates follow, each certifying the one before; the root need not be there. Raises
    LocalProtocolError for an empty chain, or a key that is not the certificate's.
    """

    chain: tuple[x509.Certificate, ...]
    key: SigningKey = field(repr=False)

    def __post_init__(self) -> None:
        if not self.chain:
            raise LocalProtocolError("an identity needs a certificate")
        if self.key.public_key() != self.chain[0].public_key():
            raise LocalProtocolError("the private key does not belong to the certificate")

    @property
    def certificate(self) -> x509.Certificate:
        """The identity's own certificate."""
        return self.chain[0]


@checked
def by_fingerprint(
    text: str,
) -> Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]]:
    """Return what accepts the one CA certificate with this fingerprint, for `ClientConfig.trust`.

    `text` is the SHA-256 or SHA-512 of the whole certificate in hexadecimal, with or without
    colons, as `est init` and `openssl x509 -fingerprint` print it. Raises LocalProtocolError for
    another text. RFC 7030 4.1.1.
    """
    try:
        wanted = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raise LocalProtocolError("a fingerprint is written in hexadecimal") from None
    kind = _HASHES.get(len(wanted))
    if kind is None:
        raise LocalProtocolError("a fingerprint is the SHA-256 or SHA-512 of a certificate")

    def accept(question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
        return tuple(root for root in question.candidates if root.fingerprint(kind()) == wanted)

    return accept


@checked
def load_pem_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file in their order, at least one.

    Text around the PEM blocks is passed over. Raises CredentialFileError.
    """
    raw = _read(path)
    try:
        return tuple(x509.load_pem_x509_certificates(raw))
    except ValueError as exc:
        raise CredentialFileError(path, "no certificate in PEM form can be read") from exc


@checked
def load_pem_crls(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Return the revocation lists of a PEM file in their order, at least one.

    Raises CredentialFileError.
    """
    blocks: list[bytes] = _CRL_BLOCK.findall(_read(path))
    if not blocks:
        raise CredentialFileError(path, "no X509 CRL in PEM form")
    try:
        return tuple(x509.load_pem_x509_crl(block) for block in blocks)
    except ValueError as exc:
        raise CredentialFileError(path, "a CRL cannot be read") from exc


@checked
def load_pem_private_key(path: Path, password: bytes | None = None) -> SigningKey:
    """Return the private key of a PEM file; `password` opens an encrypted one.

    Raises CredentialFileError, also for a key that cannot sign.
    """
    raw = _read(path)
    try:
        key = _load_key(raw, password)
    except TypeError as exc:  # a password too many, or one missing
        reason = "is not encrypted, but a password was given" if password else NEEDS_PASSWORD
        raise CredentialFileError(path, reason) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        reason = "no private key in PEM form can be read"
        raise CredentialFileError(path, f"{reason}, or the password is wrong") from exc
    if not isinstance(key, SigningKey):
        raise CredentialFileError(path, "holds a key that cannot sign")
    return key


@checked
def load_identity(
    certificates: Path, private_key: Path, password: bytes | None = None
) -> TlsIdentity:
    """Return the identity of two PEM files: certificate with intermediates, and key.

    Raises CredentialFileError, also for a key that belongs to another certificate.
    """
    chain = load_pem_certificates(certificates)
    key = load_pem_private_key(private_key, password)
    try:
        return TlsIdentity(chain=chain, key=key)
    except LocalProtocolError as exc:
        reason = f"is not the key of the first certificate in {certificates}"
        raise CredentialFileError(private_key, reason) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise CredentialFileError(certificates, "has a key of an unknown kind") from exc


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise CredentialFileError(path, exc.strerror or "cannot be read") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise CredentialFileError(path, f"is larger than {MAX_FILE_BYTES} bytes")
    return raw
