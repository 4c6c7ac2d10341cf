"""TLS-SRP face to face in memory: who gets in, as whom, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import LocalProtocolError
from est_core.channel import BindingKind, TlsVersion, TrustClass
from est_transports.channel.engines import client_engine, server_engine
from est_transports.channel.srp_connection import SrpServerEnd
from est_transports.channel.srp_users import SrpLogin, SrpServerConfig
from est_transports.channel.tls import READ_BYTES, UNREAD_BYTES, TlsEngine, TlsError
from est_transports.channel.tls_context import ClientTlsConfig, client_context, server_context
from tests.pki import pki
from tests.transports.srp_pair import (
    PASSWORD,
    SECRET,
    srp_connected,
    srp_pair,
    srp_server,
    user,
    users,
)
from tests.transports.tls_pair import V12, Pair, a_client, a_server, identity


def refused(two: Pair) -> tuple[str, str]:
    """Return the codes that a handshake ends with, the client's and the server's."""
    codes = []
    with pytest.raises(TlsError):
        two.shake_hands()
    for engine in (two.client, two.server):
        with pytest.raises(TlsError) as caught:
            engine.handshake()
        codes.append(caught.value.code)
    return codes[0], codes[1]


@pytest.mark.req("EST-071", "EST-073")
def test_both_ends_are_told_who_logged_in_and_the_same_tls_unique() -> None:
    two = srp_connected()
    client, server = two.client.channel(), two.server.channel()
    assert client == server
    assert client.user == "device-7"
    assert client.version is TlsVersion.TLS_1_2
    assert client.trust_class is TrustClass.NONE
    assert client.extended_master_secret
    assert client.can_challenge
    assert client.binding is not None
    assert client.binding.kind is BindingKind.TLS_UNIQUE


def test_every_connection_has_a_tls_unique_of_its_own() -> None:
    bindings = {srp_connected().server.channel().binding for _ in range(2)}
    assert len(bindings) == 2


@pytest.mark.parametrize("feed_bytes", [1, 7, 1 << 20])
def test_data_goes_both_ways_and_ends_with_close_notify(feed_bytes: int) -> None:
    two = srp_pair(srp_server())
    two.feed_bytes = feed_bytes
    two.shake_hands()
    for one, other in ((two.client, two.server), (two.server, two.client)):
        assert other.read() is None
        one.write(b"")
        one.write(b"hello")
        two.deliver()
        assert not other.is_quiet
        assert other.read() == b"hello"
        assert other.is_quiet
    two.client.close()
    two.client.close()
    two.deliver()
    assert not two.server.is_quiet
    assert two.server.read() == b""
    assert two.server.read() == b""
    assert not two.server.is_quiet
    with pytest.raises(LocalProtocolError, match="after close"):
        two.client.write(b"x")


def test_who_has_said_close_notify_can_read_what_the_peer_still_says() -> None:
    two = srp_connected()
    two.server.write(b"last words")
    two.client.close()
    two.deliver()
    assert two.client.read() == b"last words"


def test_a_long_text_comes_in_pieces() -> None:
    two = srp_connected()
    text = bytes(range(256)) * 300
    two.client.write(text)
    two.deliver()
    pieces = []
    while (piece := two.server.read()) is not None:
        pieces.append(piece)
    assert b"".join(pieces) == text
    assert max(map(len, pieces)) <= READ_BYTES


@pytest.mark.parametrize("bits", [1536, 2048, 3072])
def test_a_user_is_taken_in_the_group_of_the_verifier(bits: int) -> None:
    two = srp_pair(srp_server(user(bits=bits), bits=1536), bits_min=1536)
    assert two.shake_hands().server.channel().user == "device-7"


@pytest.mark.req("EST-074", "EST-076")
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("device-7", "wrong"),
        ("nobody", PASSWORD),
        ("nobody", "wrong"),
        ("DEVICE-7", PASSWORD),
        ("device-7", PASSWORD + " "),
    ],
)
def test_a_wrong_password_and_a_name_that_nobody_has_look_alike(name: str, password: str) -> None:
    two = srp_pair(srp_server(), name, password)
    assert refused(two) == ("tls/srp-refused", "tls/srp-refused")


@pytest.mark.req("EST-072")
def test_a_small_group_is_as_good_as_none() -> None:
    two = srp_pair(srp_server(user(bits=1536)), bits_min=1536)
    assert refused(two) == ("tls/srp-refused", "tls/srp-refused")
    two = srp_pair(srp_server(user(bits=1536), bits=1536), bits_min=2048)
    assert refused(two)[0] == "tls/no-shared-cipher"


@pytest.mark.parametrize("verifier", [b"", b"\0" * 256, b"\1", b"\xff" * 256])
def test_a_verifier_that_is_none_lets_nobody_in(verifier: bytes) -> None:
    two = srp_pair(srp_server(replace(user(), verifier=verifier)))
    assert refused(two) == ("tls/srp-refused", "tls/srp-refused")


def test_names_beyond_ascii_are_taken_as_they_are() -> None:
    two = srp_pair(srp_server(user("Jürgen: 東京", "pässword")), "Jürgen: 東京", "pässword")
    assert two.shake_hands().server.channel().user == "Jürgen: 東京"


class Attempts:
    """Lets nobody try who is in `stopped`, and notes what came of the others."""

    def __init__(self, *stopped: str) -> None:
        self.stopped = stopped
        self.noted: list[tuple[str, str, str]] = []

    def may_try(self, name: str, peer: str) -> bool:
        return name not in self.stopped

    def failed(self, name: str, peer: str) -> None:
        self.noted.append(("failed", name, peer))

    def succeeded(self, name: str, peer: str) -> None:
        self.noted.append(("succeeded", name, peer))


@pytest.mark.req("EST-076")
def test_attempts_are_counted_for_known_names_and_unknown_ones_alike() -> None:
    attempts = Attempts()
    server = srp_server(attempts=attempts)
    refused(srp_pair(server, "device-7", "wrong", peer="192.0.2.1"))
    refused(srp_pair(server, "nobody", "wrong", peer="192.0.2.2"))
    srp_pair(server, peer="192.0.2.3").shake_hands()
    assert attempts.noted == [
        ("failed", "device-7", "192.0.2.1"),
        ("failed", "nobody", "192.0.2.2"),
        ("succeeded", "device-7", "192.0.2.3"),
    ]


@pytest.mark.req("EST-076")
@pytest.mark.parametrize("spelling", ["\u212belgo", "A\u030aelgo"])
def test_a_name_in_another_spelling_is_the_same_name(spelling: str) -> None:
    attempts = Attempts()
    asked: list[str] = []
    srp = SrpServerConfig(find=asked.append, secret=SECRET, attempts=attempts)
    server = server_context(replace(a_server().config, srp=srp))
    refused(srp_pair(server, spelling, "wrong"))
    assert asked == ["\u00c5elgo"]
    assert attempts.noted == [("failed", "\u00c5elgo", "")]


@pytest.mark.parametrize("spelling", ["\u212belgo", "A\u030aelgo"])
def test_a_name_is_simulated_alike_in_all_of_its_spellings(spelling: str) -> None:
    salts = []
    for name in ("\u00c5elgo", spelling):
        end = SrpServerEnd(SrpServerConfig(find=users().get, secret=SECRET), "")
        salts.append(end[name.encode()][2])
        assert end.user == "\u00c5elgo"
    assert salts[0] == salts[1]


@pytest.mark.req("EST-076")
def test_simulated_salts_begin_with_no_zero_as_those_of_users() -> None:
    config = SrpServerConfig(find=users().get, secret=SECRET)
    first = {SrpServerEnd(config, "")[f"nobody-{n}".encode()][2][0] for n in range(1000)}
    assert 0 not in first
    assert len(first) > 200


@pytest.mark.req("EST-076")
@pytest.mark.parametrize("name", ["device-7", "nobody"])
def test_who_has_tried_too_often_is_refused_with_the_right_password_too(name: str) -> None:
    attempts = Attempts(name)
    two = srp_pair(srp_server(attempts=attempts), name)
    assert refused(two) == ("tls/srp-throttled", "tls/srp-throttled")
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    assert caught.value.user == name
    assert attempts.noted == []


def test_a_client_that_goes_away_has_not_tried_a_password() -> None:
    attempts = Attempts()
    two = srp_pair(srp_server(attempts=attempts))
    two.client.handshake()
    two.deliver()
    assert not two.server.handshake()
    two.server.receive(b"")
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    assert caught.value.code == "tls/closed"
    assert attempts.noted == []


def test_a_store_that_fails_lets_nobody_in_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("the disk is gone")

    srp = SrpServerConfig(find=broken, secret=SECRET)
    two = srp_pair(server_context(replace(a_server().config, srp=srp)))
    with pytest.raises(TlsError):
        two.shake_hands()
    with pytest.raises(TlsError, match="cannot be looked up") as caught:
        two.server.handshake()
    assert caught.value.code == "tls/handshake"
    assert "the disk is gone" in caplog.text


@pytest.mark.parametrize("version", [None, V12])
def test_everybody_else_is_served_on_the_same_port(version: TlsVersion | None) -> None:
    context = a_client(pki().client, version=version)
    two = Pair(TlsEngine(context), server_engine(srp_server())).shake_hands()
    assert two.server.channel().trust_class is TrustClass.EXPLICIT
    assert two.server.channel().user is None
    two.client.write(b"hello")
    two.deliver()
    assert two.server.read() == b"hello"
    assert two.server.is_quiet
    assert not two.server.handshake_is_long


def test_a_server_without_srp_tells_its_client_so() -> None:
    login = SrpLogin(name="device-7", password=PASSWORD)
    client = client_context(ClientTlsConfig(server_name="est.example", srp=login))
    two = Pair(client_engine(client), server_engine(a_server()))
    assert refused(two)[0] == "tls/no-shared-cipher"


def test_only_the_handshake_of_srp_is_long() -> None:
    two = srp_pair(srp_server())
    assert two.client.handshake_is_long
    assert not two.server.handshake_is_long, "nobody knows yet what it will be"
    two.client.handshake()
    two.deliver()
    assert two.server.handshake_is_long
    two.shake_hands()
    assert not two.client.handshake_is_long
    assert not two.server.handshake_is_long


def test_the_bounds_of_a_tls_engine_hold() -> None:
    two = srp_connected()
    two.server.receive(bytes(UNREAD_BYTES))
    with pytest.raises(LocalProtocolError, match="read what has arrived"):
        two.server.receive(b"x")
    two = srp_pair(srp_server())
    two.client.handshake()
    two.deliver()
    with pytest.raises(TlsError) as caught:
        two.server.receive(b"\x16\x03\x03\x40\0" + bytes(32 * 1024))
    assert caught.value.code == "tls/handshake-too-large"


def test_a_stream_that_is_cut_is_no_end() -> None:
    two = srp_connected()
    two.server.receive(b"")
    with pytest.raises(TlsError) as caught:
        two.server.read()
    assert caught.value.code == "tls/truncated"
    with pytest.raises(TlsError):
        two.server.write(b"x")


def test_what_comes_after_an_end_or_a_failure_is_not_looked_at() -> None:
    two = srp_connected()
    two.client.close()
    two.deliver()
    assert two.server.read() == b""
    two.server.receive(b"more")
    assert two.server.read() == b""
    two = srp_connected()
    two.server.receive(b"\x17\x03\x03\0\x20" + bytes(32))
    assert not two.server.is_quiet, "what it is, a read tells"
    for _ in range(2):
        with pytest.raises(TlsError) as caught:
            two.server.read()
        assert caught.value.code == "tls/protocol"
        two.server.receive(b"more")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SrpLogin(name="", password="x"),
        lambda: SrpLogin(name="x", password="x", bits_min=1024),
        lambda: SrpServerConfig(find=users().get, secret=b"short"),
        lambda: SrpServerConfig(find=users().get, secret=SECRET, bits=1024),
        lambda: ClientTlsConfig(
            server_name="x",
            identity=identity(pki().client),
            srp=SrpLogin(name="x", password="x"),
        ),
        lambda: ClientTlsConfig(
            server_name="x", provisional=True, srp=SrpLogin(name="x", password="x")
        ),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(LocalProtocolError):
        wrong()


def test_no_secret_is_shown() -> None:
    login = SrpLogin(name="device-7", password=PASSWORD)
    shown = repr((login, srp_server().config, user()))
    assert PASSWORD not in shown
    assert SECRET.decode() not in shown
