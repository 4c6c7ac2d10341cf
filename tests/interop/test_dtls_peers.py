"""DTLS with openssl and gnutls, both ways, with the suite that RFC 9148 makes mandatory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from est_core.channel import TlsVersion, TrustClass
from tests.conftest import PeerFinder
from tests.interop.dtls_peer import (
    EchoServer,
    Files,
    UdpClient,
    free_udp_port,
    program,
    refusal,
)
from tests.pki import SERVER_AUTH, Entity, Subject, pki
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server

CCM8 = "ECDHE-ECDSA-AES128-CCM8"
GNUTLS = "NORMAL:-VERS-ALL:+VERS-DTLS1.2:-CIPHER-ALL:+AES-128-CCM-8"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files for the programs."""
    return Files(tmp_path)


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """Our server, which serves openssl and gnutls."""
    with EchoServer(a_dtls_server()) as server:
        yield server


def s_client(openssl: str, files: Files, port: int, entity: Entity | None) -> tuple[str, ...]:
    identity: tuple[str, ...] = ()
    if entity is not None:
        certificate, key = files.of(entity)
        identity = ("-cert", certificate, "-key", key, "-cert_chain", certificate)
    return (
        *(openssl, "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", "-quiet"),
        "-no_ign_eof",
        *("-CAfile", str(files.anchor), "-verify_return_error", "-servername", "est.example"),
        *("-cipher", f"{CCM8}:@SECLEVEL=0"),
        *identity,
    )


def gnutls_cli(gnutls: str, files: Files, port: int, entity: Entity) -> tuple[str, ...]:
    certificate, key = files.of(entity)
    return (
        *(gnutls, "--udp", "--port", str(port), "--priority", GNUTLS),
        *("--x509cafile", str(files.anchor), "--x509certfile", certificate, "--x509keyfile", key),
        *("--sni-hostname", "est.example", "--verify-hostname", "est.example", "127.0.0.1"),
    )


@pytest.mark.req("COAPS-013", "COAPS-017", "COAPS-023")
def test_openssls_client_is_served(peer: PeerFinder, files: Files, echo: EchoServer) -> None:
    entity = pki().client_below_intermediate
    with program(*s_client(peer("openssl"), files, echo.port, entity)) as client:
        client.say(b"hello from openssl\n")
        client.wait_for(b"HELLO FROM OPENSSL\n")
        client.finish()
    channel = echo.established.association.channel
    assert channel.version is TlsVersion.DTLS_1_2
    assert channel.trust_class is TrustClass.EXPLICIT
    assert channel.peer_chain == entity.chain
    assert channel.extended_master_secret
    assert channel.binding is not None
    assert echo.ended.code == "dtls/closed"


@pytest.mark.parametrize("fragment_bytes", [512, 1024])
def test_openssls_client_is_answered_in_records_as_small_as_it_asked_for(
    peer: PeerFinder, files: Files, fragment_bytes: int
) -> None:
    """RFC 6066 4. Its flights are many records in a datagram, and none of them gets lost here."""
    with EchoServer(a_dtls_server(), times=1000) as server:
        command = s_client(peer("openssl"), files, server.port, pki().client_below_intermediate)
        with program(*command, "-maxfraglen", str(fragment_bytes)) as client:
            for word in (b"once", b"again"):
                client.say(word + b"\n")
                client.wait_for(word.upper() + b"\n")
            client.finish()
        repeated = len(server.flights) - len(set(server.flights))
        assert repeated < 3  # with flights in pieces the client repeats its own until they fit
        assert server.established.association.payload_bytes == fragment_bytes
        assert server.ended.code == "dtls/closed"
    assert (b"ONCE\n" * 1000)[:fragment_bytes] + b"AGAIN\n" in client.said


@pytest.mark.req("COAPS-017")
def test_openssls_client_without_a_certificate_is_refused(
    peer: PeerFinder, files: Files, echo: EchoServer
) -> None:
    with program(*s_client(peer("openssl"), files, echo.port, None)) as client:
        client.wait_for(b"alert handshake failure")


def test_openssls_client_with_a_rogue_certificate_is_a_fact(
    peer: PeerFinder, files: Files, echo: EchoServer
) -> None:
    with program(*s_client(peer("openssl"), files, echo.port, pki().rogue_client)) as client:
        client.say(b"let me in\n")
        client.wait_for(b"LET ME IN\n")
    assert echo.established.association.channel.trust_class is TrustClass.FAILED


@pytest.mark.req("COAPS-013", "COAPS-017", "COAPS-023")
def test_gnutls_client_is_served(peer: PeerFinder, files: Files, echo: EchoServer) -> None:
    with program(*gnutls_cli(peer("gnutls-cli"), files, echo.port, pki().client)) as client:
        client.wait_for(b"Handshake was completed")
        client.say(b"hello from gnutls\n")
        client.wait_for(b"HELLO FROM GNUTLS")
        client.finish()
    assert b"AES-128-CCM-8" in client.said
    channel = echo.established.association.channel
    assert channel.trust_class is TrustClass.EXPLICIT
    assert channel.binding is not None
    assert echo.ended.code == "dtls/closed"


@pytest.mark.req("COAPS-013", "COAPS-018", "COAPS-024")
def test_openssls_server_serves_our_client(peer: PeerFinder, files: Files) -> None:
    certificate, key = files.of(pki().server)
    port = free_udp_port()
    command = (
        *(peer("openssl"), "s_server", "-dtls1_2", "-listen", "-port", str(port), "-quiet"),
        *("-cert", certificate, "-key", key, "-CAfile", str(files.anchor), "-Verify", "3"),
        *("-verify_return_error", "-cipher", f"{CCM8}:@SECLEVEL=0"),
    )
    with program(*command) as server, UdpClient(a_dtls_client(), port) as client:
        client.shake_hands()
        channel = client.engine.channel()
        assert channel.is_verified
        assert channel.name_matches
        assert channel.binding is not None
        client.engine.write(b"hello from us\n")
        server.say(b"hello from openssl\n")
        assert client.answer() == b"hello from openssl\n"
        server.wait_for(b"hello from us\n")


def gnutls_serv(gnutls: str, files: Files, port: int, entity: Entity) -> tuple[str, ...]:
    certificate, key = files.of(entity)
    return (
        *(gnutls, "--udp", "--echo", "--port", str(port), "--priority", GNUTLS),
        *("--x509certfile", certificate, "--x509keyfile", key),
        *("--x509cafile", str(files.anchor), "--require-client-cert", "--verify-client-cert"),
    )


@pytest.mark.req("COAPS-013", "COAPS-018")
def test_gnutls_server_serves_our_client(peer: PeerFinder, files: Files) -> None:
    port = free_udp_port()
    command = gnutls_serv(peer("gnutls-serv"), files, port, pki().server)
    with program(*command), UdpClient(a_dtls_client(), port) as client:
        client.shake_hands()
        assert client.engine.channel().is_verified
        assert client.engine.channel().extended_master_secret
        assert client.ask(b"hello again\n") == b"hello again\n"


@pytest.mark.req("COAPS-016")
def test_our_client_says_why_it_does_not_trust_gnutls_server(
    peer: PeerFinder, files: Files
) -> None:
    port = free_udp_port()
    subject = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
    rogue = pki().rogue.issue(subject)
    command = gnutls_serv(peer("gnutls-serv"), files, port, rogue)
    with program(*command), UdpClient(a_dtls_client(), port) as client:
        failure = refusal(client)
    assert failure is not None
    assert failure.code == "tls/untrusted-server"
    assert "no trust anchor" in failure.message
