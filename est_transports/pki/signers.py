"""Signers for a CA: its private key in this process, or in something that is talked to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA65PrivateKey,
    MLDSA87PrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import PublicKeyAlgorithmOID

from est_core import Limits, LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked
from est_core.asn1 import tlv
from est_core.asn1.keys import (
    PublicKeyFacts,
    SignatureAlgorithm,
    public_key_facts,
    signature_algorithm_for,
)

# Keys that take the message itself and no digest of it.
_WholeKey = (
    Ed25519PrivateKey | Ed448PrivateKey | MLDSA44PrivateKey | MLDSA65PrivateKey | MLDSA87PrivateKey
)
SigningKey = EllipticCurvePrivateKey | RSAPrivateKey | _WholeKey
"""Private keys of `cryptography`: elliptic curve, RSA, Ed25519, Ed448, ML-DSA."""

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
# By the first word of a key's name: size and curve do not show in what is signed.
_KEY_MAKERS: Final[dict[str, Callable[[], SigningKey]]] = {
    "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": Ed25519PrivateKey.generate,
    "Ed448": Ed448PrivateKey.generate,
    "ML-DSA-44": MLDSA44PrivateKey.generate,
    "ML-DSA-65": MLDSA65PrivateKey.generate,
    "ML-DSA-87": MLDSA87PrivateKey.generate,
}
_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03


class SignerError(Exception):
    """The signer cannot sign now: a token is away, locked, or refuses."""


class Signer(Protocol):
    """A private key somewhere. Implement it for a token; `LocalSigner` is one in memory."""

    @property
    def public_key_spki(self) -> bytes:
        """The public key, a SubjectPublicKeyInfo in DER."""

    def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """Return the signature over `tbs`, hashed with `algorithm.digest` if it has one.

        In the form that certificates carry (ECDSA: DER of r and s). May be called from several
        threads. Raises SignerError.
        """


@checked
class LocalSigner:
    """Signs with a private key in this process: ECDSA, RSA (PKCS #1 v1.5), EdDSA, ML-DSA.

    The key is not shown by repr. Raises LocalProtocolError for another kind of key.
    """

    __slots__ = ("_key", "_spki")

    def __init__(self, private_key: SigningKey) -> None:
        self._key = private_key
        self._spki = private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def public_key_spki(self) -> bytes:
        """The public key, a SubjectPublicKeyInfo in DER."""
        return self._spki

    def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """Return the signature over `tbs`.

        Raises LocalProtocolError for an algorithm that is not one of this key.
        """
        digest = _hash_of(algorithm)
        match self._key, digest:
            case EllipticCurvePrivateKey(), hashes.HashAlgorithm():
                return self._key.sign(tbs, ec.ECDSA(digest))
            case RSAPrivateKey(), hashes.HashAlgorithm():
                return self._key.sign(tbs, padding.PKCS1v15(), digest)
            case key, None if isinstance(key, _WholeKey):
                return key.sign(tbs)
        raise LocalProtocolError(f"{algorithm.name} is no algorithm of this key")

    def sign_certificate(
        self, builder: x509.CertificateBuilder, algorithm: SignatureAlgorithm, *, pss: bool = False
    ) -> x509.Certificate:
        """Return the certificate, built and signed in one step: half the cost of two.

        With `pss` an RSA key signs with RSASSA-PSS, by the same hash and a salt as long.
        """
        digest, scheme = _hash_and_scheme(algorithm, pss=pss)
        return builder.sign(self._key, digest, rsa_padding=scheme)  # type: ignore[arg-type]  # row of key

    def sign_crl(
        self,
        builder: x509.CertificateRevocationListBuilder,
        algorithm: SignatureAlgorithm,
        *,
        pss: bool = False,
    ) -> x509.CertificateRevocationList:
        """Return the revocation list, built and signed, as `sign_certificate`."""
        digest, scheme = _hash_and_scheme(algorithm, pss=pss)
        return builder.sign(self._key, digest, rsa_padding=scheme)  # type: ignore[arg-type]  # row of key


class LateSigner:
    """A signer that is given later: a key is made when the server has said which kind.

    Set `signer` before anything is signed; LocalProtocolError where it is not.
    """

    def __init__(self) -> None:
        self.signer: Signer | None = None

    @property
    def public_key_spki(self) -> bytes:
        """The public key of the signer that was given."""
        return self._given.public_key_spki

    def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """Return the signature of the signer that was given."""
        return self._given.sign(tbs, algorithm)

    @property
    def _given(self) -> Signer:
        if self.signer is None:
            raise LocalProtocolError("there is no key to sign with")
        return self.signer


@checked
def signer_of(key: object) -> LocalSigner | None:
    """Return the signer of a private key of `cryptography`; None for anything else."""
    return LocalSigner(key) if isinstance(key, SigningKey) else None


@checked
class CertificateSigner:
    """Signs certificates and revocation lists with any `Signer`.

    `CertificateBuilder` signs with private keys only. For a signer that keeps its key, the
    builder signs with a throw-away key of the same kind, and its signature is replaced: of the
    signing key the part that is signed holds nothing but the algorithm.

    An `issuer` whose key is for RSASSA-PSS only, as its certificate says, signs with that (RFC 4055
    1.2); LocalProtocolError where its signer is not a LocalSigner.
    """

    def __init__(self, signer: Signer, *, issuer: x509.Certificate | None = None) -> None:
        try:
            facts = public_key_facts(signer.public_key_spki, Limits())
        except RemoteProtocolError as exc:
            raise LocalProtocolError(f"the signer's public key: {exc.message}") from exc
        self._signer = signer
        self._algorithm = signature_algorithm_for(facts)
        # A class of somebody else's may tell of what it signs.
        self._local = signer if type(signer) is LocalSigner else None
        self._draft = self._local or LocalSigner(_throw_away_key(facts))
        self._pss = issuer is not None and is_for_pss(issuer)
        if self._pss and self._local is None:
            raise LocalProtocolError("a key for RSASSA-PSS only signs in this process only")

    @property
    def signs_here(self) -> bool:
        """True if the key is in this process: what it signed is nowhere else until we say it."""
        return self._local is not None

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Return the signed certificate. Raises SignerError."""
        draft = self.draft(builder)
        return draft if self.signs_here else self.finish(draft)

    def draft(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Return the certificate, signed with a key that was thrown away: nobody else is asked.

        Where `signs_here`, it is the signed certificate itself.
        """
        return self._draft.sign_certificate(builder, self._algorithm, pss=self._pss)

    def finish(self, draft: x509.Certificate) -> x509.Certificate:
        """Return the certificate of a draft, signed. Raises SignerError."""
        return x509.load_der_x509_certificate(self._signed(draft.tbs_certificate_bytes))

    def sign_crl(
        self, builder: x509.CertificateRevocationListBuilder
    ) -> x509.CertificateRevocationList:
        """Return the signed revocation list. Raises SignerError."""
        draft = self._draft.sign_crl(builder, self._algorithm, pss=self._pss)
        if self._local is not None:
            return draft
        return x509.load_der_x509_crl(self._signed(draft.tbs_certlist_bytes))

    def _signed(self, tbs: bytes) -> bytes:
        """Return what was to be signed, with the signature of the signer."""
        signature = self._signer.sign(tbs, self._algorithm)
        parts = tbs + self._algorithm.identifier + tlv(_BIT_STRING, b"\0" + signature)
        return tlv(_SEQUENCE, parts)


@checked
def is_for_pss(certificate: x509.Certificate) -> bool:
    """Return whether a certificate says that its RSA key is for RSASSA-PSS only. RFC 4055 1.2."""
    return certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS


def _hash_of(algorithm: SignatureAlgorithm) -> hashes.HashAlgorithm | None:
    return None if algorithm.digest is None else _HASHES[algorithm.digest]


def _hash_and_scheme(
    algorithm: SignatureAlgorithm, *, pss: bool
) -> tuple[hashes.HashAlgorithm | None, padding.PSS | None]:
    digest = _hash_of(algorithm)
    if not pss or digest is None:
        return digest, None
    return digest, padding.PSS(padding.MGF1(digest), digest.digest_size)


def _throw_away_key(facts: PublicKeyFacts) -> SigningKey:
    # There is one for each kind of key that `signature_algorithm_for` has an algorithm for.
    return _KEY_MAKERS[facts.name.partition(" ")[0]]()
