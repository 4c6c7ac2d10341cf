"""What the tests of the machines share: CSRs, channels, and an application that answers."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from est_core import (
    BindingKind,
    Channel,
    ChannelBinding,
    Instant,
    Limits,
    Request,
    Response,
    ResponseReady,
    ServerExchange,
    ServerPolicy,
    ServerSession,
    SignatureRequested,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import CertRequestInfo, assemble
from tests.application import FakeApplication
from tests.pki import Entity, common_name, new_key, pki

LIMITS = Limits()
BINDING = ChannelBinding(kind=BindingKind.TLS_UNIQUE, data=b"first finish")
EXPORTER = ChannelBinding(kind=BindingKind.TLS_EXPORTER, data=b"e" * 32)

Key = ec.EllipticCurvePrivateKey


def spki(key: Key) -> bytes:
    """The public half in DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(info: CertRequestInfo, key: Key) -> bytes:
    """A PKCS#10 in DER."""
    algorithm = signature_algorithm_for(public_key_facts(info.spki, LIMITS))
    return assemble(info.der(), algorithm, key.sign(info.der(), ec.ECDSA(hashes.SHA256())), LIMITS)


def signer(key: Key) -> Callable[[SignatureRequested], bytes]:
    """Answers SignatureRequested with this P-256 key."""
    return lambda question: key.sign(question.tbs, ec.ECDSA(hashes.SHA256()))


def info(key: Key, name: str = "device-1") -> CertRequestInfo:
    """What a plain CSR says."""
    return CertRequestInfo(subject=common_name(name), spki=spki(key))


def csr_der(
    key: Key | None = None, *, challenge: str | None = None, name: str = "device-1"
) -> bytes:
    """A signed CSR, linked by that text if given."""
    key = key or new_key()
    wanted = info(key, name)
    return sign(wanted if challenge is None else wanted.with_challenge_password(challenge), key)


def channel(
    trust: TrustClass = TrustClass.NONE,
    *,
    peer: Entity | None = None,
    version: TlsVersion = TlsVersion.TLS_1_2,
    binding: ChannelBinding | None = BINDING,
    can_challenge: bool = True,
    user: str | None = None,
) -> Channel:
    """What a server's transport knows of a client."""
    cast = pki()
    shown = {
        TrustClass.NONE: (),
        TrustClass.FAILED: cast.rogue_client.chain,
        TrustClass.IMPLICIT: cast.manufacturer_client.chain,
        TrustClass.EXPLICIT: cast.client.chain,
    }[trust]
    fits = binding is not None and (
        (binding.kind is BindingKind.TLS_UNIQUE) == (version is TlsVersion.TLS_1_2)
    )
    return Channel(
        version=version,
        trust_class=trust,
        peer_chain=shown if peer is None else peer.chain,
        binding=binding if fits else None,
        can_challenge=can_challenge,
        user=user,
    )


def server_channel(
    *,
    version: TlsVersion = TlsVersion.TLS_1_2,
    trust: TrustClass = TrustClass.EXPLICIT,
    server: Entity | None = None,
    name_matches: bool = True,
) -> Channel:
    """What a client's transport knows of a server; `joined` adds the binding."""
    return Channel(
        version=version,
        trust_class=trust,
        peer_chain=(server or pki().server).chain if trust is not TrustClass.NONE else (),
        name_matches=name_matches,
    )


def receive(
    request: Request,
    now: Instant,
    *,
    on: Channel | None = None,
    policy: ServerPolicy | None = None,
) -> ServerExchange:
    """The exchange of one request on a channel of its own."""
    session = ServerSession(policy=policy or default_policy(), channel=on or channel())
    return session.receive_request(request, now)


def finish(exchange: ServerExchange, application: FakeApplication | None = None) -> Response:
    """The response, with the application answering."""
    application = application or FakeApplication()
    while (event := exchange.next_event()) is not None:
        if isinstance(event, ResponseReady):
            return event.response
        exchange.decide(application.decide(event))
    raise AssertionError("no response")
