"""How the TLS engine fails: a stable code and a clear sentence, and never another exception."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import keys as asn1_keys
from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.channel import TlsVersion, TrustClass
from est_transports.channel.errors import tls_error
from est_transports.channel.tls import (
    UNREAD_BYTES,
    ClientTlsConfig,
    ServerTlsConfig,
    TlsEngine,
    TlsError,
    client_context,
)
from est_transports.channel.tls import server_context as make_server_context
from est_transports.channel.tls_context import TLS_1_2_CIPHERS
from est_transports.pki import certificate_checks
from est_transports.pki.host_verification import names_host
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TlsIdentity
from tests.damage import damaged
from tests.pki import SERVER_AUTH, YESTERDAY, Entity, Subject, new_key, pki, self_signed
from tests.reached import reached, reaches, refusals
from tests.transports.client_hello import client_hello
from tests.transports.tls_pair import (
    V12,
    V13,
    a_client,
    a_server,
    anchors,
    connected,
    identity,
    pair,
)

both_versions = pytest.mark.parametrize("version", [V12, V13])

SERVER = a_server()
CLIENT = a_client()


def failure_of(*calls: Callable[[], object]) -> TlsError:
    """Make the calls in turn and return the TlsError that one of them raises."""
    with pytest.raises(TlsError) as caught:  # noqa: PT012
        for call in calls:
            call()
    return caught.value


def code_of(first_bytes: bytes) -> str:
    """Return the code with which a server answers these first bytes."""
    engine = TlsEngine(a_server())
    engine.receive(first_bytes)
    with pytest.raises(TlsError) as caught:
        engine.handshake()
    return caught.value.code


@pytest.mark.parametrize(
    "first_bytes",
    [
        b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT est.example:443 HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
)
def test_a_peer_without_tls_is_named_as_such(first_bytes: bytes) -> None:
    assert code_of(first_bytes) == "tls/not-tls"


@pytest.mark.req("EST-053", "EST-037")
@pytest.mark.parametrize("wire", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_versions_before_1_2_are_refused(wire: int) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(wire)
    context.set_max_proto_version(wire)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    old = SSL.Connection(context, None)
    old.set_connect_state()
    with suppress(SSL.WantReadError):
        old.do_handshake()
    assert code_of(old.bio_read(65536)) == "tls/version"


@pytest.mark.parametrize("wire", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
@pytest.mark.req("EST-053", "EST-037")
def test_a_client_does_not_go_on_with_a_server_of_an_old_version(wire: int) -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(wire)
    context.set_max_proto_version(wire)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.use_certificate(pki().server.certificate)
    context.use_privatekey(pki().server.key)  # type: ignore[arg-type]  # P-256
    with pytest.raises(TlsError):
        connected(CLIENT, replace(SERVER, openssl=context))


@pytest.mark.req("EST-038", "EST-056", "EST-291", "EST-059")
@pytest.mark.parametrize("suites", [b"AES128-SHA", b"NULL", b"ECDHE-ECDSA-AES128-SHA", b"aNULL"])
def test_weak_suites_are_refused(suites: bytes) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(suites + b":@SECLEVEL=0")
    weak = SSL.Connection(context, None)
    weak.set_connect_state()
    with suppress(SSL.WantReadError):
        weak.do_handshake()
    assert code_of(weak.bio_read(65536)) == "tls/no-shared-cipher"


TLS_1_3_SUITES = {0x1301, 0x1302, 0x1303}
ECDHE_WITH_AEAD = {0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9}
RENEGOTIATION_INFO = 0x00FF
"""No suite: it says that renegotiation would be secure. RFC 5746 3.3."""


@pytest.mark.req("EST-056", "EST-291")
@pytest.mark.parametrize("version", [None, V12])
def test_a_client_offers_no_weak_suite(version: TlsVersion | None) -> None:
    engine = TlsEngine(a_client(version=version))
    engine.handshake()
    offered = set(client_hello(engine.outgoing()).suites) - {RENEGOTIATION_INFO}
    assert offered == ECDHE_WITH_AEAD | (TLS_1_3_SUITES if version is None else set())


@pytest.mark.req("EST-056", "EST-291", "EST-059", "EST-038")
@pytest.mark.parametrize("suites", [b"AES128-SHA", b"NULL", b"ECDHE-ECDSA-AES128-SHA", b"aNULL"])
def test_a_client_does_not_go_on_with_a_server_of_weak_suites(suites: bytes) -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(suites + b":@SECLEVEL=0")
    context.use_certificate(pki().server.certificate)
    context.use_privatekey(pki().server.key)  # type: ignore[arg-type]  # P-256
    weak = replace(SERVER, openssl=context)
    with pytest.raises(TlsError) as caught:
        connected(CLIENT, weak)
    assert caught.value.code in ("tls/handshake", "tls/no-shared-cipher")


@pytest.mark.req("EST-056", "EST-038")
def test_only_ephemeral_authenticated_encryption_can_be_configured() -> None:
    for name in TLS_1_2_CIPHERS:
        assert name.startswith("ECDHE-")
        assert "GCM" in name or "POLY1305" in name
    for wrong in (("NULL-SHA256",), ("DES-CBC3-SHA",), ()):
        with pytest.raises(LocalProtocolError):
            ClientTlsConfig(server_name="est.example", ciphers=wrong)


def _servers_not_to_be_trusted() -> dict[str, tuple[Entity, str]]:
    subject = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
    return {
        "unknown CA": (pki().rogue.issue(subject), "no trust anchor"),
        "self-signed": (self_signed(subject), "self-signed"),
        "expired": (
            pki().ca.issue(
                replace(subject, not_after=YESTERDAY, not_before=YESTERDAY.replace(year=2020))
            ),
            "expired",
        ),
        "a client's": (pki().client, "extendedKeyUsage"),
    }


@both_versions
@pytest.mark.parametrize("case", list(_servers_not_to_be_trusted()))
@pytest.mark.req("EST-060", "EST-061")
def test_a_client_says_why_it_does_not_trust_the_server(case: str, version: TlsVersion) -> None:
    entity, reason = _servers_not_to_be_trusted()[case]
    two = pair(a_client(pki().client, version=version), a_server(entities=(entity,)))
    with pytest.raises(TlsError) as caught:
        two.shake_hands()
    assert caught.value.code == "tls/untrusted-server"
    assert reason in caught.value.message
    assert failure_of(two.server.handshake, two.server.read).code == "tls/peer-refused-certificate"


@pytest.mark.req("EST-061")
def test_a_client_says_that_the_server_is_revoked() -> None:
    revoking = Revocation(crls=(pki().ca.crl(pki().server.certificate),))
    trust = replace(anchors(), revocation=revoking)
    with pytest.raises(TlsError, match="revoked"):
        connected(a_client(trust=trust), a_server())


@both_versions
@pytest.mark.parametrize("case", list(_servers_not_to_be_trusted()))
def test_provisionally_the_channel_says_that_the_server_failed(
    case: str, version: TlsVersion
) -> None:
    entity, reason = _servers_not_to_be_trusted()[case]
    two = connected(a_client(version=version, provisional=True), a_server(entities=(entity,)))
    channel = two.client.channel()
    assert channel.trust_class is TrustClass.FAILED
    assert reason in channel.failure
    assert channel.peer_certificate == entity.certificate


def key_that_claims_to_be_of(victim: Entity) -> bytes:
    """Return a key file with the victim's public point and another key's scalar.

    OpenSSL compares the points only and signs with the scalar: a thief who has a certificate
    and not its key.
    """
    own, stolen = new_key(), victim.key
    assert isinstance(stolen, ec.EllipticCurvePrivateKey)
    point = stolen.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    sec1 = asn1_keys.ECPrivateKey(
        {
            "version": 1,
            "private_key": own.private_numbers().private_value,
            "parameters": asn1_keys.ECDomainParameters(name="named", value="secp256r1"),
            "public_key": point,
        }
    )
    armoured: bytes = pem.armor("EC PRIVATE KEY", sec1.dump())
    return armoured


@both_versions
@pytest.mark.req("EST-065")
def test_a_stolen_certificate_without_its_key_ends_the_handshake(
    version: TlsVersion, tmp_path: Path
) -> None:
    key_file = tmp_path / "thief.key"
    key_file.write_bytes(key_that_claims_to_be_of(pki().client))
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version({V12: SSL.TLS1_2_VERSION, V13: SSL.TLS1_3_VERSION}[version])
    context.use_certificate(pki().client.certificate)
    context.use_privatekey_file(str(key_file))
    two = pair(replace(a_client(provisional=True), openssl=context), a_server())
    with suppress(TlsError):
        two.shake_hands()
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    assert caught.value.code == "tls/bad-signature"


@both_versions
def test_a_refused_client_certificate_is_named_at_the_client(version: TlsVersion) -> None:
    strict = SSL.Context(SSL.TLS_SERVER_METHOD)
    strict.use_certificate(pki().server.certificate)
    strict.use_privatekey(pki().server.key)  # type: ignore[arg-type]  # P-256
    strict.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    for entity in (None, pki().rogue_client):
        server = replace(a_server(), openssl=strict)
        two = pair(a_client(entity, version=version), server)
        with suppress(TlsError):
            two.shake_hands()
        failure = failure_of(two.client.handshake, two.client.read)
        if version is V13 or entity is not None:
            assert failure.code == "tls/peer-refused-certificate"
        else:  # TLS 1.2 has no alert of its own for a missing certificate
            assert "requires a certificate" in failure.message


@both_versions
def test_the_end_of_the_stream_in_a_handshake_is_closed(version: TlsVersion) -> None:
    two = pair(a_client(version=version), a_server())
    two.client.handshake()
    two.deliver()
    two.server.handshake()
    two.server.receive(b"")
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    assert caught.value.code == "tls/closed"


@both_versions
def test_a_stream_cut_without_close_notify_is_truncated(version: TlsVersion) -> None:
    two = connected(a_client(version=version), a_server())
    two.client.write(b"half a message")
    two.deliver()
    two.server.receive(b"")
    assert two.server.read() == b"half a message"
    with pytest.raises(TlsError) as caught:
        two.server.read()
    assert caught.value.code == "tls/truncated"


@both_versions
def test_close_notify_is_the_clean_end(version: TlsVersion) -> None:
    two = connected(a_client(version=version), a_server())
    two.client.write(b"all of it")
    two.client.close()
    two.deliver()
    two.server.receive(b"")
    assert two.server.read() == b"all of it"
    assert two.server.read() == b""
    assert two.server.read() == b""
    two.server.write(b"an answer is still possible")
    two.deliver()
    assert two.client.read() == b"an answer is still possible"
    with pytest.raises(LocalProtocolError):
        two.client.write(b"x")


def test_a_handshake_without_end_is_cut_off() -> None:
    engine = TlsEngine(a_server())
    engine.receive(b"\x16\x03\x01\x40\x00\x01\x00\xff\xff")
    failure = failure_of(*[lambda: engine.receive(bytes(1024))] * 300)
    assert failure.code == "tls/handshake-too-large"
    with pytest.raises(TlsError):
        engine.handshake()


def test_unread_bytes_are_bounded() -> None:
    two = connected(a_client(), a_server())
    record = b"x" * 16000
    for _ in range(UNREAD_BYTES // 17_000):
        two.client.write(record)
        two.deliver()
    for _ in range(10):
        two.client.write(record)
    with pytest.raises(LocalProtocolError):
        two.deliver()
    assert two.server.read() == record


def test_methods_out_of_turn_are_the_callers_mistake_and_change_nothing() -> None:
    two = pair(a_client(), a_server())
    for method in (two.client.read, two.client.channel, lambda: two.client.write(b"x")):
        with pytest.raises(LocalProtocolError):
            method()
    two.client.close()
    two.shake_hands()
    assert two.client.handshake()


def test_a_failure_is_final() -> None:
    engine = TlsEngine(a_server())
    engine.receive(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(TlsError) as first:
        engine.handshake()
    engine.receive(b"more")
    for method in (engine.handshake, engine.read, lambda: engine.write(b"x")):
        with pytest.raises(TlsError) as again:
            method()
        assert again.value is first.value
    assert str(first.value) == f"{first.value.code}: {first.value.message}"


@pytest.mark.parametrize("offered", [[b"http/1.1"], [b"h2", b"http/1.1"], [b"http/1.0"], [b"h2"]])
def test_nobody_is_turned_away_over_alpn(offered: list[bytes]) -> None:
    client = a_client()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos(offered)
    client.rules.verifier.install(context)
    two = connected(replace(client, openssl=context), a_server())
    assert two.server.channel().version is V13


@pytest.mark.req("EST-060", "EST-061")
def test_a_server_that_openssl_would_trust_and_we_do_not_hears_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certificate_checks, "STRONG_HASHES", frozenset[str]())
    two = pair(a_client(pki().client), a_server())
    assert failure_of(two.shake_hands).code == "tls/untrusted-server"
    assert not two.server.handshake()


@pytest.mark.req("EST-059")
def test_configurations_that_contradict_themselves_are_refused() -> None:
    server = identity(pki().server)
    for wrong in (
        lambda: ServerTlsConfig(identities=()),
        lambda: ServerTlsConfig(identities=(server, server)),
        lambda: ServerTlsConfig(identities=(server,), max_version=TlsVersion.DTLS_1_2),
        lambda: ClientTlsConfig(server_name=""),
        lambda: ClientTlsConfig(server_name="bücher.example"),
        lambda: ClientTlsConfig(server_name="a b"),
        lambda: TlsIdentity(chain=(), key=new_key()),
        lambda: make_server_context(ServerTlsConfig(identities=(identity(pki().weak_client),))),
        lambda: client_context(
            ClientTlsConfig(server_name="x", identity=identity(pki().weak_client))
        ),
    ):
        with pytest.raises(LocalProtocolError):
            wrong()


def test_openssl_errors_without_a_reason_have_a_general_code() -> None:
    assert tls_error(SSL.Error(), handshaking=True).code == "tls/handshake"
    assert tls_error(SSL.Error([]), handshaking=False).code == "tls/protocol"
    assert tls_error(SSL.Error("text"), handshaking=False).code == "tls/protocol"


@given(size=st.integers(1, 40), version=st.sampled_from([V12, V13]))
@settings(max_examples=20)
def test_any_size_of_delivery_gives_the_same_channel(size: int, version: TlsVersion) -> None:
    two = pair(a_client(pki().client, version=version), a_server())
    two.feed_bytes = size
    two.shake_hands()
    assert two.server.channel().trust_class is TrustClass.EXPLICIT
    two.client.write(b"hello")
    two.deliver()
    assert two.server.read() == b"hello"


def first_flights(version: TlsVersion) -> tuple[bytes, bytes]:
    """What a client says first, and what a server answers."""
    two = pair(a_client(version=version), SERVER)
    two.client.handshake()
    hello = two.client.outgoing()
    two.server.receive(hello)
    two.server.handshake()
    return hello, two.server.outgoing()


FLIGHTS = (*first_flights(V12), *first_flights(V13))


@reaches(answered=10, refused=60)
@given(garbage=damaged(FLIGHTS) | st.binary(max_size=400))
@settings(max_examples=100)
def test_garbage_raises_nothing_but_tls_error(garbage: bytes) -> None:
    for engine in (TlsEngine(SERVER), TlsEngine(CLIENT)):
        try:
            engine.receive(garbage)
            engine.handshake()
            if engine.outgoing().startswith(b"\x16\x03"):
                reached("answered")
            engine.receive(b"")
            engine.handshake()
        except TlsError:
            reached("refused")
        engine.outgoing()
        engine.close()


@reaches(handshake=10)
@given(
    turn=st.integers(0, 4),
    where=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
    version=st.sampled_from([V12, V13]),
)
@settings(max_examples=100)
def test_a_changed_byte_anywhere_raises_nothing_but_tls_error(
    turn: int, where: float, flip: int, version: TlsVersion
) -> None:
    two = pair(a_client(pki().client, version=version), SERVER)
    source, sink = two.client, two.server
    with refusals(error=TlsError):
        for step in range(6):
            if source.handshake():
                reached("handshake")
                source.write(b"data")
            data = bytearray(source.outgoing())
            if step == turn and data:
                data[int(where * len(data))] ^= flip
            if data:
                sink.receive(bytes(data))
            if sink.handshake():
                sink.read()
            source, sink = sink, source


@given(cut=st.floats(0, 1, exclude_max=True), version=st.sampled_from([V12, V13]))
@settings(max_examples=40)
def test_a_flight_cut_anywhere_is_a_connection_closed(cut: float, version: TlsVersion) -> None:
    two = pair(a_client(version=version), SERVER)
    two.client.handshake()
    data = two.client.outgoing()
    two.server.receive(data[: int(cut * len(data))] or b"\x16")
    server = two.server
    failure = failure_of(server.handshake, lambda: server.receive(b""), server.handshake)
    assert failure.code == "tls/closed"


@reaches(read=30, flawless=10)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=150)
def test_a_mutated_certificate_is_judged_without_another_exception(where: float, flip: int) -> None:
    der = bytearray(pki().server.certificate.public_bytes(Encoding.DER))
    der[int(where * len(der))] ^= flip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns of sloppy encodings
        try:
            certificate = x509.load_der_x509_certificate(bytes(der))
        except certificate_checks.UNREADABLE:
            return
        reached("read")
        if not certificate_checks.flaw(certificate, certificate_checks.Purpose.TLS_SERVER):
            reached("flawless")
        names_host(certificate, "est.example")
        names_host(certificate, "127.0.0.1")
