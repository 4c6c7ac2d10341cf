"""Trust anchors, CRLs and identities: by whom a peer must be certified, and what we show.

RFC 7030 3.1 has two databases of trust anchors. The explicit one belongs to the EST CA, the
implicit one to third parties: a manufacturer, the web's CAs. What a certificate is good for
depends on which of them verified it, so they are kept apart from the file to the Channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from pathlib import Path

from cryptography import x509

from est_core import LocalProtocolError, TrustDecisionRequested
from est_core.arguments import checked
from est_core.credentials import check_manufacturer_name
from est_core.values import value_class
from est_transports.pki.certificates import anchor_key, shown
from est_transports.pki.credential_files import (
    MAX_FILE_BYTES,
    NEEDS_PASSWORD,
    CredentialFileError,
    load_pem_certificates,
    load_pem_crls,
    load_pem_private_key,
)
from est_transports.pki.revocation import Revocation
from est_transports.pki.signers import SigningKey

__all__ = [
    "MAX_FILE_BYTES",
    "NEEDS_PASSWORD",
    "CredentialFileError",
    "ManufacturerAnchors",
    "Revocation",
    "TlsIdentity",
    "TrustAnchors",
    "by_fingerprint",
    "load_identity",
    "load_pem_certificates",
    "load_pem_crls",
    "load_pem_private_key",
]


@value_class
class ManufacturerAnchors:
    """The trust anchors of one manufacturer, called as in `ServerPolicy.manufacturers`.

    Raises LocalProtocolError for none, and for what is no name of a manufacturer.
    """

    name: str
    anchors: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        check_manufacturer_name(self.name)
        if not self.anchors:
            raise LocalProtocolError(f"manufacturer {self.name} has no trust anchor")


@value_class
class TrustAnchors:
    """The two databases of trust anchors, and the revocation lists that go with them.

    Any certificate may be an anchor, a self-signed root or not. With lists in `revocation`, every
    certificate below an anchor is looked up in its issuer's. RFC 7030 3.1.

    `manufacturers` have implicit anchors of their own, and a certificate below one of them is known
    as that manufacturer's. Raises LocalProtocolError for an anchor that stands elsewhere too.
    """

    explicit: tuple[x509.Certificate, ...] = ()
    implicit: tuple[x509.Certificate, ...] = ()
    revocation: Revocation = field(default_factory=Revocation)
    manufacturers: tuple[ManufacturerAnchors, ...] = ()

    def __post_init__(self) -> None:
        if len({each.name for each in self.manufacturers}) != len(self.manufacturers):
            raise LocalProtocolError("two manufacturers have one name")
        known = dict.fromkeys(map(anchor_key, self.implicit), "the other implicit anchors")
        known |= dict.fromkeys(map(anchor_key, self.explicit), "the explicit anchors")
        for maker in self.manufacturers:
            mine = {anchor_key(each): each for each in maker.anchors}
            for key, anchor in mine.items():
                if key in known:
                    where = f"of manufacturer {maker.name} and of {known[key]}"
                    raise LocalProtocolError(f"{shown(anchor)} is an anchor {where}")
            known |= dict.fromkeys(mine, f"manufacturer {maker.name}")

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """All anchors, each once, explicit ones first."""
        theirs = (anchor for maker in self.manufacturers for anchor in maker.anchors)
        return tuple(dict.fromkeys((*self.explicit, *self.implicit, *theirs)))


@value_class
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

    `text` is the SHA-256, SHA-384 or SHA-512 of the whole certificate in hexadecimal, with or
    without colons or blanks, as `est init` and `openssl x509 -fingerprint` print it, the name of
    the hash in front included. Raises LocalProtocolError for another text. RFC 7030 4.1.1.
    """
    from est_transports.pki.fingerprints import read_fingerprint  # seldom needed

    wanted = read_fingerprint(text)

    def accept(question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
        return tuple(root for root in question.candidates if wanted.is_of(root))

    return accept


@checked
def load_identity(
    certificates: Path,
    private_key: Path,
    password: bytes | None = None,
    *,
    left_out: Callable[[str], None] | None = None,
) -> TlsIdentity:
    """Return the identity of two files: certificate with intermediates, and key.

    With `left_out` intermediates that cannot be read are left out and told, as
    load_pem_certificates does. Raises CredentialFileError, also for a key that belongs to another
    certificate.
    """
    chain = load_pem_certificates(certificates, left_out=left_out, needs_first=True)
    key = load_pem_private_key(private_key, password)
    try:
        return TlsIdentity(chain=chain, key=key)
    except LocalProtocolError as exc:
        reason = f"is not the key of the first certificate in {certificates}"
        raise CredentialFileError(private_key, reason) from exc
