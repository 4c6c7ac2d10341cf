"""What the OpenSSL contexts of TLS and DTLS have in common: options, identities, verification.

A context cannot change once it has had a connection and takes a few tenths of a millisecond to
make, so a listener keeps one and swaps it when certificates or revocation lists are reloaded.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL, crypto

from est_core import LocalProtocolError
from est_transports.channel.verification import PeerVerifier, ca_names
from est_transports.pki.certificate_checks import Purpose
from est_transports.pki.signers import is_for_pss
from est_transports.pki.trust import TlsIdentity, TrustAnchors

_NO_AUTO_CHAIN: Final = 0x8  # SSL_MODE_NO_AUTO_CHAIN, which pyOpenSSL does not name
_RELEASE_BUFFERS: Final = 0x10  # SSL_MODE_RELEASE_BUFFERS: 12 to 18 KiB less of an idle connection
_OPTIONS: Final = (
    # Stateless tickets would drop the peer's chain. RFC 7030 3.5 and RFC 9266 4.2: without
    # renegotiation nobody has to ask which handshake a binding belongs to.
    SSL.OP_NO_TICKET
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
)
_CONVERTED_KEYS: Final = (
    ec.EllipticCurvePrivateKey,
    rsa.RSAPrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
_RSA_ENCRYPTION: Final = bytes.fromhex("300d06092a864886f70d0101010500")
_RSASSA_PSS: Final = bytes.fromhex("300b06092a864886f70d01010a")


def new_context(method: int) -> SSL.Context:
    """Return a context in which nothing is resumed, renegotiated or compressed."""
    context = SSL.Context(method)
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Left alone, OpenSSL completes our chain from the anchors at every handshake, which takes
    # time and sends roots that nobody needs.
    context.set_mode(_NO_AUTO_CHAIN | _RELEASE_BUFFERS)
    return context


def verify_clients(
    context: SSL.Context, trust: TrustAnchors, *, required: bool = False
) -> PeerVerifier:
    """Have a server ask for a certificate, which may fail; one must come where it is `required`."""
    verifier = PeerVerifier(trust, Purpose.TLS_CLIENT, tolerant=True)
    verifier.install(context, required=required)
    for anchor in ca_names(trust):
        context.add_client_ca(anchor)
    return verifier


def verify_server(
    context: SSL.Context,
    trust: TrustAnchors,
    *,
    provisional: bool = False,
    at: datetime | None = None,
    floor: datetime | None = None,
) -> PeerVerifier:
    """Have a client verify its server, and end the handshake where that fails."""
    verifier = PeerVerifier(trust, Purpose.TLS_SERVER, tolerant=provisional, at=at, floor=floor)
    verifier.install(context)
    return verifier


def present_identities(context: SSL.Context, identities: tuple[TlsIdentity, ...]) -> None:
    """Give the context its certificates and keys. The intermediates are common to all of them.

    Raises LocalProtocolError for one that OpenSSL does not accept.
    """
    try:
        for identity in identities:
            context.use_certificate(identity.certificate)
            _use_key(context, identity)
        for certificate in dict.fromkeys(c for i in identities for c in i.chain[1:]):
            context.add_extra_chain_cert(certificate)
    except (SSL.Error, crypto.Error) as exc:
        raise LocalProtocolError("OpenSSL does not accept a TLS certificate or key") from exc


def _use_key(context: SSL.Context, identity: TlsIdentity) -> None:
    key = identity.key
    for_pss = is_for_pss(identity.certificate)
    if isinstance(key, _CONVERTED_KEYS) and not for_pss:
        context.use_privatekey(key)
        return
    # pyOpenSSL converts the older kinds only; for these there is the way that it deprecated.
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if for_pss:  # cryptography forgets that the key says so too, and OpenSSL wants it said
        der = _for_pss_only(der)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_ASN1, der))


def _for_pss_only(pkcs8: bytes) -> bytes:
    """Return an RSA key's PKCS #8 with the algorithm id-RSASSA-PSS. RFC 4055 3.1."""
    _, _, rest = pkcs8.partition(_RSA_ENCRYPTION)
    content = b"\x02\x01\x00" + _RSASSA_PSS + rest
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content
