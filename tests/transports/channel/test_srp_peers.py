"""TLS-SRP with peers that do not keep to the protocol: a refusal, and never another error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tlslite.constants import ContentType
from tlslite.messages import ClientKeyExchange, Message, ServerKeyExchange

from est_transports.channel.client_hello import Hello, judge_hello
from est_transports.channel.engines import server_engine
from est_transports.channel.srp_connection import Connection
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.pki.srp_verifiers import GROUPS
from tests.damage import damaged
from tests.pki import pki
from tests.reached import reached, reaches
from tests.transports.client_hello import client_hello
from tests.transports.srp_pair import srp_connected, srp_pair, srp_server, user
from tests.transports.tls_pair import a_client

PRIME = GROUPS[2048].prime


def first_flight() -> bytes:
    """Return the ClientHello of our own client."""
    two = srp_pair(srp_server())
    two.client.handshake()
    return two.client.outgoing()


HELLO = first_flight()


class Lying(Connection):
    """Sends another public value than it has."""

    value = 0

    def _sendMsg(self, msg: Any, *args: Any, **options: Any) -> Iterator[Any]:  # noqa: N802
        if isinstance(msg, ClientKeyExchange):
            msg.srp_A = self.value
        elif isinstance(msg, ServerKeyExchange):
            msg.srp_B = self.value
        yield from super()._sendMsg(msg, *args, **options)


@pytest.mark.req("EST-072")
@pytest.mark.parametrize("multiple", [0, 1, 2, 3])
@pytest.mark.parametrize("liar", ["client", "server"])
def test_a_public_value_that_is_a_multiple_of_the_prime_is_refused(
    liar: str, multiple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lying, "value", multiple * PRIME)
    two = srp_pair(srp_server())
    if liar == "server":
        two.client.handshake()
        two.deliver()
    lying = getattr(two, liar)
    lying._end._connection.__class__ = Lying
    honest = two.server if liar == "client" else two.client
    with pytest.raises(TlsError):
        two.shake_hands()
    with pytest.raises(TlsError, match="illegal parameter was the answer"):
        honest.handshake()


def test_a_name_that_is_no_text_is_refused_before_anything_is_looked_up() -> None:
    asked: list[str] = []
    server = srp_server()
    assert server.config.srp is not None
    srp = replace(server.config.srp, find=asked.append)
    engine = server_engine(replace(server, config=replace(server.config, srp=srp)))
    engine.receive(HELLO.replace(b"device-7", b"\xffevice-7"))
    with pytest.raises(TlsError) as caught:
        engine.handshake()
    assert caught.value.code == "tls/handshake"
    assert asked == []


@pytest.mark.parametrize("size", [0, 1, 4, 5, len(HELLO) - 1])
def test_a_hello_is_judged_when_its_record_is_whole(size: int) -> None:
    assert judge_hello(HELLO[:size]) is Hello.INCOMPLETE
    assert judge_hello(HELLO) is Hello.SRP
    assert judge_hello(HELLO + b"more") is Hello.SRP


@pytest.mark.parametrize(
    "other",
    [
        b"G",
        b"\x15\x03\x03\0\2\2\x28",
        b"\x80\x2e\1",
        b"\x16\x03\x03\xff\xff",
        b"\x16\x03\x03\0\0",
        b"\x16\x03\x03\0\1\1",
        HELLO.replace(b"\xc0\x1d", b"\x13\x01").replace(b"\xc0\x20", b"\x13\x02"),
        HELLO.replace(b"\0\x0c\0\x09\x08device-7", b"\xff\x0c\0\x09\x08device-7"),
    ],
)
def test_everything_else_is_for_openssl(other: bytes) -> None:
    assert judge_hello(other) is Hello.OTHER


def test_a_hello_of_another_client_is_for_openssl_and_ours_names_its_user() -> None:
    engine = TlsEngine(a_client(pki().client))
    engine.handshake()
    assert judge_hello(engine.outgoing()) is Hello.OTHER
    assert client_hello(HELLO).extensions[12] == b"\x08device-7"


@reaches(srp=30, other=5, incomplete=2)
@given(damaged([HELLO], changes=4))
def test_a_damaged_hello_is_judged_without_an_error(raw: bytes) -> None:
    reached(judge_hello(raw).value)


def test_a_stream_that_ends_before_it_is_judged_is_openssls_to_report() -> None:
    engine = server_engine(srp_server())
    engine.receive(HELLO[:20])
    assert not engine.handshake()
    engine.receive(b"")
    with pytest.raises(TlsError) as caught:
        engine.handshake()
    assert caught.value.code == "tls/closed"


Damage = tuple[int, float, int, bool]
damages: st.SearchStrategy[Damage] = st.tuples(
    st.integers(0, 3), st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.booleans()
)


def spoiled(damage: Damage, flight: int, raw: bytes) -> bytes:
    """Return a flight with one octet changed or left out, where it is the one to be damaged."""
    which, where, flip, cut = damage
    if which != flight or not raw:
        return raw
    at = int(where * len(raw))
    return raw[:at] + (b"" if cut else bytes([raw[at] ^ flip])) + raw[at + 1 :]


@reaches(answered=45, connected=18, read=8, refused=40)
@given(damages)
@settings(max_examples=60)
def test_a_damaged_flight_of_a_client_ends_in_an_error_of_ours_or_in_none(damage: Damage) -> None:
    two = srp_pair(srp_server())
    try:
        for flight in range(2):
            two.client.handshake()
            two.server.receive(spoiled(damage, flight, two.client.outgoing()))
            two.server.handshake()
            if answer := two.server.outgoing():
                reached("answered")
                two.client.receive(answer)
        if not two.client.handshake():
            return
        reached("connected")
        two.client.write(b"hello")
        two.server.receive(spoiled(damage, 2, two.client.outgoing()))
        text = two.server.read()
        assert text in (b"hello", None)
        reached(*(["read"] if text else []))
    except TlsError:
        reached("refused")


@reaches(refused=40, accepted=15)
@given(damages)
@settings(max_examples=60)
def test_a_damaged_flight_of_a_server_ends_in_an_error_of_ours_or_in_none(damage: Damage) -> None:
    two = srp_pair(srp_server())
    try:
        for flight in range(2):
            two.client.handshake()
            two.server.receive(two.client.outgoing())
            two.server.handshake()
            two.client.receive(spoiled(damage, flight, two.server.outgoing()))
        if two.client.handshake():
            reached("accepted")
    except TlsError:
        reached("refused")


def test_a_client_cannot_renegotiate_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("est_transports.channel.tls.FRUITLESS_BYTES", 4096)
    two = srp_connected()
    engine: Any = two.client
    connection = engine._end._connection

    def ask_again() -> None:
        hello = Message(ContentType.handshake, bytearray(b"\1\0\0\2\3\3"))
        list(connection._sendMsg(hello))
        two.server.receive(two.client.outgoing())
        assert two.server.read() is None

    def ask_for_ever() -> None:
        for _ in range(200):
            ask_again()

    ask_again()
    with pytest.raises(TlsError, match="no data") as caught:
        ask_for_ever()
    assert caught.value.code == "tls/protocol"


def test_a_user_of_another_password_is_not_the_one_before() -> None:
    server = srp_server(user("a", "one"), user("b", "two"))
    assert srp_pair(server, "a", "one").shake_hands().server.channel().user == "a"
    with pytest.raises(TlsError):
        srp_pair(server, "b", "one").shake_hands()
