"""What a peer's certificate proved in a handshake, as facts for a Channel.

OpenSSL builds and verifies the chain, with revocation lists, while the handshake runs. Three
things are left to us, over the chain that it verified:

* which kind of anchor it ends in (RFC 7030 3.3.1, 3.3.2), by name and key;
* what each certificate may be used for. OpenSSL's purpose check would refuse an EST server whose
  only purpose is id-kp-cmcRA, so its word on the peer's own certificate is replaced by ours;
* the strength of keys and signatures, for OpenSSL's opinion goes with its security level, which
  DTLS has to lower for its mandatory cipher suite.

On a server a certificate that fails is a fact and not the end of the handshake: the client may
still have a password. That its key is held by the peer is enforced by OpenSSL all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from est_core import LocalProtocolError
from est_core.channel import TrustClass
from est_transports.tls_errors import BAD_CERTIFICATE, NO_ANCHOR, TlsError, problem_text
from est_transports.trust import TrustAnchors

MAX_PEER_CERTIFICATES: Final = 16  # what a peer may send; OpenSSL stops at 100 KiB
MAX_CHAIN_DEPTH: Final = 8  # intermediates of a verified chain; OpenSSL's default is 100
CA_NAMES_BYTES: Final = 8 * 1024  # of a CertificateRequest; the web's CAs need 14 KiB
MIN_RSA_BITS: Final = 2048
_MAX_PROBLEMS: Final = 8
_KNOWN_MAX: Final = 256  # anchors and intermediates, which are the same few in every handshake

CMC_RA: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for certificates that OpenSSL lets through."""


@unique
class Purpose(Enum):
    """What the peer uses its certificate for."""

    TLS_CLIENT = "TLS client"
    TLS_SERVER = "TLS server"


_ACCEPTED_USAGES: Final = {
    Purpose.TLS_CLIENT: frozenset(
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    ),
    # RFC 7030 3.6.1: the EST CA may mark its server with id-kp-cmcRA.
    Purpose.TLS_SERVER: frozenset(
        {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, CMC_RA}
    ),
}

_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_STRONG_BY_KIND: Final = (
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
    mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PublicKey,
)
_HASHES: Final = frozenset(
    {"sha224", "sha256", "sha384", "sha512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"}
)

_Codes: Final = SSL.X509VerificationCodes
_UNREADABLE_TEXT: Final = "certificate cannot be read"


class VerificationRecord:
    """What the verify callback saw on one connection; a Connection's app data."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[str] = []

    def note(self, problem: str) -> None:
        """Keep a problem, once, up to a handful."""
        if problem not in self.problems and len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What the peer showed and what it proved, as Channel takes it."""

    chain: tuple[x509.Certificate, ...] = ()
    trust_class: TrustClass = TrustClass.NONE
    failure: str = ""


class PeerVerifier:
    """Verifies the peers of one context's connections.

    `tolerant` lets a handshake go on after a failure and leaves it in the facts. Each
    connection's app data must be a VerificationRecord of its own.
    """

    __slots__ = (
        "_anchors",
        "_classes",
        "_crl_issuers",
        "_purpose",
        "_store",
        "_tolerant",
    )

    def __init__(self, anchors: TrustAnchors, purpose: Purpose, *, tolerant: bool) -> None:
        self._anchors = anchors
        self._purpose = purpose
        self._tolerant = tolerant
        self._classes = (
            (frozenset(map(_anchor_key, anchors.explicit)), TrustClass.EXPLICIT),
            (frozenset(map(_anchor_key, anchors.implicit)), TrustClass.IMPLICIT),
        )
        self._crl_issuers = frozenset(_folded(crl.issuer) for crl in anchors.crls)
        self._store: crypto.X509Store | None = None  # made for the first resumed session

    def install(self, context: SSL.Context, *, required: bool = False) -> None:
        """Make the context ask its peers for a certificate and verify it.

        A client certificate is asked for in the first handshake, and there is no handshake
        without one where it is `required`. RFC 7030 3.3.2, RFC 9148 3.
        """
        store = context.get_cert_store()
        if store is None:
            raise LocalProtocolError("the context has no certificate store")
        fill_store(store, self._anchors)
        context.set_verify_depth(MAX_CHAIN_DEPTH)
        mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
        context.set_verify(mode, self._on_certificate)

    def facts(self, connection: SSL.Connection, *, resumed: bool) -> PeerFacts:
        """Return what the peer of a finished handshake showed and proved.

        A resumed session is verified again: OpenSSL would not, and a certificate may have been
        revoked since, or have failed the first time. Raises TlsError("tls/bad-certificate") for
        a certificate that cannot be read, or more than MAX_PEER_CERTIFICATES.
        """
        chain = peer_chain(connection)
        if not chain:
            return PeerFacts()
        problems = list(_record_of(connection).problems)
        verified: tuple[x509.Certificate, ...] = ()
        if resumed:
            verified = self._verify_again(chain, problems)
        elif not problems:
            verified = _verified_chain(connection, chain[0], problems)
        trust_class = TrustClass.FAILED
        if not problems:
            problems += self._flaws(verified)
        if not problems:
            trust_class = self._classify(verified, problems)
        return PeerFacts(chain=chain, trust_class=trust_class, failure="; ".join(problems))

    def _on_certificate(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        # An exception here would end up in a list that all connections of the context share, and
        # be raised in one of them: nothing below may raise.
        record = connection.get_app_data()
        if not isinstance(record, VerificationRecord):
            return False
        problem = "" if ok else self._problem_at(certificate, error, depth)
        if problem:
            record.note(problem)
        return self._tolerant or not problem

    def _problem_at(self, certificate: crypto.X509, error: int, depth: int) -> str:
        if error == _Codes.ERR_INVALID_PURPOSE and depth == 0:
            return self._flaw_untrusted(certificate)
        if error == _Codes.ERR_UNABLE_TO_GET_CRL and not self._has_crl(certificate):
            return ""
        if error == _Codes.ERR_CRL_SIGNATURE_FAILURE and self._is_anchor(certificate):
            return ""  # with an intermediate as anchor there is nobody above to verify it with
        return problem_text(error)

    def _flaw_untrusted(self, certificate: crypto.X509) -> str:
        try:
            return flaw(certificate.to_cryptography(), self._purpose)
        except UNREADABLE:
            return _UNREADABLE_TEXT

    def _has_crl(self, certificate: crypto.X509) -> bool:
        try:
            return _folded(certificate.to_cryptography().issuer) in self._crl_issuers
        except UNREADABLE:
            return True

    def _is_anchor(self, certificate: crypto.X509) -> bool:
        try:
            key = _anchor_key(certificate.to_cryptography())
            return any(key in anchors for anchors, _ in self._classes)
        except UNREADABLE:
            return False

    def _verify_again(
        self, chain: tuple[x509.Certificate, ...], problems: list[str]
    ) -> tuple[x509.Certificate, ...]:
        store = self._store
        if store is None:  # two threads may both make one; either will do
            store = crypto.X509Store()
            fill_store(store, self._anchors)
            self._store = store
        leaf, *others = (crypto.X509.from_cryptography(certificate) for certificate in chain)
        try:
            verified = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
            return tuple(certificate.to_cryptography() for certificate in verified)
        except crypto.X509StoreContextError as exc:
            # Without a callback, a missing CRL cannot be told from one that was never meant to
            # be there: it fails closed, and a full handshake puts it right.
            problems.append(problem_text(exc.errors[0]))
        except UNREADABLE:
            problems.append(_UNREADABLE_TEXT)
        return ()

    def _flaws(self, verified: tuple[x509.Certificate, ...]) -> list[str]:
        if not verified:
            return [NO_ANCHOR]
        if len(verified) > MAX_CHAIN_DEPTH + 2:
            return [problem_text(_Codes.ERR_CERT_CHAIN_TOO_LONG)]
        last = len(verified) - 1  # the anchor: nobody relies on the signature it bears
        found = [flaw(verified[0], self._purpose, signed=last > 0)]
        for place, each in enumerate(verified[1:], start=1):
            found.append(_known_flaw(each, self._purpose, leaf=False, signed=place != last))
        return [text for text in found if text]

    def _classify(self, verified: tuple[x509.Certificate, ...], problems: list[str]) -> TrustClass:
        try:
            for anchors, trust_class in self._classes:
                if anchors and any(_known_key(each) in anchors for each in reversed(verified)):
                    return trust_class
        except UNREADABLE:
            problems.append(_UNREADABLE_TEXT)
            return TrustClass.FAILED
        problems.append(NO_ANCHOR)
        return TrustClass.FAILED


def flaw(
    certificate: x509.Certificate, purpose: Purpose, *, leaf: bool = True, signed: bool = True
) -> str:
    """Return why a certificate of a chain is not good enough for `purpose`, or "".

    Keys: RSA from 2048 bits, P-256, P-384, P-521, Ed25519, Ed448, ML-DSA. Signatures, where
    `signed`: no SHA-1, no MD5. extendedKeyUsage, where it is present, must have the purpose or
    anyExtendedKeyUsage; id-kp-cmcRA makes an EST server. keyUsage, where it is present in the
    peer's own certificate (`leaf`), must have digitalSignature, for the cipher suites offered
    leave its key no other use. RFC 5280 4.2.1.3, 4.2.1.12; RFC 7030 3.6.1.
    """
    try:
        return (
            _weak_key(certificate)
            or (_weak_signature(certificate) if signed else "")
            or _wrong_extended_usage(certificate.extensions, purpose)
            or (_wrong_usage(certificate.extensions) if leaf else "")
        )
    except UNREADABLE:
        return _UNREADABLE_TEXT


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Return whether a certificate names the host in its subjectAltName.

    `host` is a DNS name in A-labels, or an IP address, which matches iPAddress only. The common
    name is not looked at. A wildcard stands for the whole left-most label. RFC 6125 6.4, RFC 9525.
    """
    address = ip_literal(host)
    try:
        if address:
            verify_certificate_ip_address(certificate, address)
        else:
            verify_certificate_hostname(certificate, host.rstrip("."))
    except (VerificationError, CertificateError, *UNREADABLE):
        return False
    return True


def ip_literal(host: str) -> str:
    """Return the IP address that a host name is, without brackets and zone, or "" if none."""
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return ""


def peer_chain(connection: SSL.Connection) -> tuple[x509.Certificate, ...]:
    """Return the certificates that the peer sent, leaf first, empty if it sent none.

    Raises TlsError("tls/bad-certificate") for one that cannot be read, or too many of them.
    """
    sent = connection.get_peer_cert_chain() or []
    try:
        leaf = connection.get_peer_certificate(as_cryptography=True)
        if leaf is None:
            return ()
        # The stack has the leaf on the client's side only.
        some = (certificate.to_cryptography() for certificate in sent[: MAX_PEER_CERTIFICATES + 1])
        chain = (leaf, *(other for other in some if other != leaf))
    except UNREADABLE as exc:
        raise TlsError(BAD_CERTIFICATE, "a certificate of the peer cannot be read") from exc
    if len(chain) > MAX_PEER_CERTIFICATES:
        message = f"the peer sent more than {MAX_PEER_CERTIFICATES} certificates"
        raise TlsError(BAD_CERTIFICATE, message)
    return chain


def fill_store(store: crypto.X509Store, anchors: TrustAnchors) -> None:
    """Put anchors and revocation lists into an OpenSSL store."""
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN  # an anchor need not be self-signed
    for certificate in anchors.certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    for crl in anchors.crls:
        store.add_crl(crl)
    if anchors.crls:
        flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
    store.set_flags(flags)


def ca_names(anchors: TrustAnchors) -> tuple[x509.Certificate, ...]:
    """Return the anchors whose names go into a CertificateRequest: all of them, or none.

    Java's clients choose their certificate by these names and send none that is not led to by
    one of them, so a part of the list would be worse than an empty one, which means "any".
    """
    by_name = {anchor.subject.public_bytes(): anchor for anchor in anchors.certificates}
    size_bytes = sum(2 + len(name) for name in by_name)
    return tuple(by_name.values()) if size_bytes <= CA_NAMES_BYTES else ()


def _record_of(connection: SSL.Connection) -> VerificationRecord:
    record = connection.get_app_data()
    if not isinstance(record, VerificationRecord):
        raise LocalProtocolError("the connection's app data must be a VerificationRecord")
    return record


def _verified_chain(
    connection: SSL.Connection, leaf: x509.Certificate, problems: list[str]
) -> tuple[x509.Certificate, ...]:
    found = connection.get_verified_chain() or []
    try:  # it begins with the leaf, which was converted once already
        return (leaf, *(above.to_cryptography() for above in found[1:])) if found else ()
    except UNREADABLE:
        problems.append(_UNREADABLE_TEXT)
        return ()


def _anchor_key(certificate: x509.Certificate) -> bytes:
    # RFC 5280 6.1.1 (d): an anchor is a name and a key. Two certificates of the same CA, say
    # before and after a renewal, are one anchor, whichever of them OpenSSL picked.
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.subject.public_bytes() + spki


# For certificates that were verified: of those, a stranger cannot make any number.
_known_flaw: Final = lru_cache(maxsize=_KNOWN_MAX)(flaw)
_known_key: Final = lru_cache(maxsize=_KNOWN_MAX)(_anchor_key)


def _folded(name: x509.Name) -> str:
    return name.rfc4514_string().casefold()  # OpenSSL compares names without regard to case


def _weak_key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA key of {key.key_size} bits" if key.key_size < MIN_RSA_BITS else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"key on curve {key.curve.name}" if key.curve.name not in _CURVES else ""
    return "" if isinstance(key, _STRONG_BY_KIND) else "key of a kind that is not accepted"


def _weak_signature(certificate: x509.Certificate) -> str:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or algorithm.name in _HASHES:  # None: the algorithm has its own
        return ""
    return f"signed with {algorithm.name}"


def _wrong_extended_usage(extensions: x509.Extensions, purpose: Purpose) -> str:
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    if _ACCEPTED_USAGES[purpose].isdisjoint(usages):
        return f"extendedKeyUsage does not allow a {purpose.value}"
    return ""


def _wrong_usage(extensions: x509.Extensions) -> str:
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    return "" if usage.digital_signature else "keyUsage does not allow digitalSignature"
