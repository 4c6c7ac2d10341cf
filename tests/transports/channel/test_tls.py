"""The TLS engine at its bounds, and when OpenSSL fails: exactly so much, and once and for all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_transports.channel import _openssl, tls
from est_transports.channel.tls import HANDSHAKE_BYTES, UNREAD_BYTES, TlsEngine, TlsError
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.pki import certificate_checks
from tests.pki import SERVER_AUTH, Subject, new_key, pki, rsa_key
from tests.transports.key_updates import KeyUpdates
from tests.transports.tls_pair import V12, V13, Pair, a_client, a_server, connected, pair


def key_updates() -> tuple[Pair, KeyUpdates]:
    """Two ends that are connected, and a third that writes in the client's name."""
    client, lines = a_client(), list[bytes]()
    client.openssl.set_keylog_callback(lambda _connection, line: lines.append(line))
    two = connected(client, a_server(version=V13))
    two.deliver()
    (secret,) = [line.split()[2] for line in lines if line.startswith(b"CLIENT_TRAFFIC_SECRET_0")]
    return two, KeyUpdates(bytes.fromhex(secret.decode()))


def test_a_handshake_may_have_so_many_bytes_and_not_one_more() -> None:
    engine = TlsEngine(a_server())
    engine.receive(b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(HANDSHAKE_BYTES - 9))
    with pytest.raises(TlsError) as caught:
        engine.receive(b"x")
    assert caught.value.code == "tls/handshake-too-large"


def test_so_many_bytes_may_wait_to_be_read_and_not_one_more() -> None:
    two = connected(a_client(), a_server())
    two.server.receive(bytes(UNREAD_BYTES))
    with pytest.raises(LocalProtocolError, match="read what has arrived"):
        two.server.receive(b"x")


def test_so_many_bytes_without_data_may_come_and_not_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two, records = key_updates()
    for _ in range(2):
        updates = b"".join(records.update() for _ in range(3))
        monkeypatch.setattr(tls, "FRUITLESS_BYTES", len(updates))
        two.server.receive(updates)
        assert two.server.read() is None
        two.server.receive(records.data(b"x"))
        assert two.server.read() == b"x"
        assert two.server.read() is None, "it counts anew"


@pytest.mark.parametrize("at_once", [1, 3])
def test_one_more_is_the_end_however_it_comes(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, records = key_updates()
    updates = [records.update() for _ in range(4)]
    size = sum(map(len, updates[:3]))
    monkeypatch.setattr(tls, "FRUITLESS_BYTES", size)
    for begin in range(0, 3, at_once):
        two.server.receive(b"".join(updates[begin : begin + at_once]))
        assert two.server.read() is None
    two.server.receive(updates[3][:1])
    with pytest.raises(TlsError, match="no data") as caught:
        two.server.read()
    assert caught.value.code == "tls/protocol"


def test_the_first_bytes_without_data_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    two, records = key_updates()
    updates = b"".join(records.update() for _ in range(3))
    monkeypatch.setattr(tls, "FRUITLESS_BYTES", len(updates) - 1)
    two.server.receive(updates)
    with pytest.raises(TlsError, match="no data"):
        two.server.read()


def test_what_comes_after_the_end_is_not_kept() -> None:
    failed = TlsEngine(a_server())
    failed.receive(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(TlsError):
        failed.handshake()
    two = connected(a_client(), a_server())
    two.client.close()
    two.deliver()
    assert two.server.read() == b""
    for engine in (failed, two.server):
        for _ in range(3):
            engine.receive(bytes(UNREAD_BYTES // 2))


@pytest.mark.parametrize("version", [V12, V13])
def test_a_handshake_says_when_it_is_over(version: object) -> None:
    two = pair(a_client(version=version), a_server())  # type: ignore[arg-type]
    answers = []
    for _ in range(3):
        for name, engine in (("client", two.client), ("server", two.server)):
            answers.append((name, engine.handshake()))
            two.deliver()
    over = {name: answers.index((name, True)) for name in ("client", "server")}
    assert over == ({"client": 4, "server": 3} if version is V12 else {"client": 2, "server": 3})


def test_a_server_that_is_not_trusted_in_the_end_is_not_spoken_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = pair(a_client(pki().client), a_server())
    with monkeypatch.context() as patch:
        patch.setattr(certificate_checks, "STRONG_HASHES", frozenset[str]())
        with pytest.raises(TlsError) as first:
            two.shake_hands()
    for call in (two.client.handshake, two.client.read, lambda: two.client.write(b"x")):
        with pytest.raises(TlsError) as again:
            call()
        assert again.value is first.value


def test_the_master_secret_of_tls_1_3_is_extended_whoever_can_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_openssl, "extended_master_secret", lambda _connection: None)
    assert connected(a_client(), a_server(version=V13)).server.channel().extended_master_secret
    assert not connected(a_client(), a_server(version=V12)).server.channel().extended_master_secret


def failing(*_arguments: object) -> None:
    raise SSL.Error([("SSL routines", "", "bad length")])


@pytest.mark.parametrize("name", ["sendall", "shutdown"])
def test_what_openssl_cannot_send_is_the_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    two = connected(a_client(), a_server())
    with monkeypatch.context() as patch:
        patch.setattr(SSL.Connection, name, failing)
        if name == "shutdown":
            two.server.close()
        else:
            with pytest.raises(TlsError, match="bad length"):
                two.server.write(b"x")
    for call in (two.server.read, lambda: two.server.write(b"x")):
        with pytest.raises(TlsError, match="bad length") as caught:
            call()
        assert caught.value.code == "tls/protocol"
    assert not two.server.is_quiet


def test_a_forged_record_is_the_end_of_a_stream() -> None:
    two = connected(a_client(), a_server())
    two.client.write(b"data")
    record = two.client.outgoing()
    two.server.receive(record[:-1] + bytes([record[-1] ^ 1]))
    assert not two.server.is_quiet
    with pytest.raises(TlsError) as caught:
        two.server.read()
    assert caught.value.code == "tls/protocol"


def test_nothing_is_sent_for_no_bytes_and_more_than_a_buffer_comes_whole() -> None:
    two = connected(a_client(), a_server())
    two.server.outgoing()
    two.server.write(b"")
    assert two.server.outgoing() == b""
    sent = bytes(range(256)) * 1024
    two.server.write(sent)
    assert len(two.server.outgoing()) > len(sent)


def test_an_end_sends_close_notify_once_and_not_before_it_is_open() -> None:
    two = pair(a_client(), a_server())
    two.server.close()
    assert two.server.outgoing() == b""
    two.shake_hands()
    two.deliver()
    two.server.close()
    assert two.server.outgoing() != b""
    two.server.close()
    assert two.server.outgoing() == b""
    with pytest.raises(LocalProtocolError, match="after close"):
        two.server.write(b"x")


def test_what_arrived_can_be_read_after_a_close_notify_however_often_it_is_said() -> None:
    two = connected(a_client(), a_server())
    two.client.write(b"late")
    two.deliver()
    two.server.close()
    two.server.close()
    assert two.server.read() == b"late"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([b"h2", b"http/1.1"], b"http/1.1"), ([b"http/1.1"], b"http/1.1"), ([b"h2"], b"")],
)
def test_a_server_chooses_http_1_1_where_it_is_offered(offered: list[bytes], chosen: bytes) -> None:
    client = a_client()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos(offered)
    client.rules.verifier.install(context)
    two = connected(replace(client, openssl=context), a_server())
    assert two.client._connection.get_alpn_proto_negotiated() == chosen


@pytest.mark.parametrize("name", ["est\0.example", "est.example\x7f", " ", "est.ex\tample"])
def test_a_server_is_not_named_in_characters_that_cannot_be_seen(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="server_name"):
        ClientTlsConfig(server_name=name)


def test_what_two_identities_have_in_common_is_sent_once() -> None:
    issuer = pki().intermediate
    subject = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
    entities = tuple(issuer.issue(replace(subject, key=key)) for key in (new_key(), rsa_key()))
    client = a_client()
    two = connected(client, a_server(entities=entities))
    assert two.client.channel().peer_chain == entities[0].chain
    sent = two.client._connection.get_peer_cert_chain()
    assert sent is not None
    assert [each.to_cryptography() for each in sent] == list(entities[0].chain)
