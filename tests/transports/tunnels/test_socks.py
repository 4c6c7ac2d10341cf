"""SOCKS without a network: what is written, how much is read, and what each refusal means."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_transports.drive.client import ConnectError
from tests.damage import damaged
from tests.reached import reached, reaches
from tests.transports.tunnels.driven import code_of, drive, tunnel_of

PORT = b"\x20\xfb"
NO_LOGIN = b"\x05\x00"
WITH_LOGIN = b"\x05\x02"
LET_IN = b"\x01\x00"
BOUND = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"
GRANTED = b"\x00\x5a" + bytes(6)


def test_socks4_asks_for_an_address() -> None:
    tunnel = tunnel_of("socks4://scar@h:1", "10.0.0.1")
    assert drive(tunnel, [GRANTED]) == [b"\x04\x01" + PORT + b"\x0a\x00\x00\x01scar\x00"]
    assert tunnel.is_open


def test_socks4a_asks_for_a_name_behind_an_address_that_is_none() -> None:
    tunnel = tunnel_of("socks4a://h:1")
    written = drive(tunnel, [GRANTED[:3], GRANTED[3:]])
    assert written == [b"\x04\x01" + PORT + b"\x00\x00\x00\x01\x00est.example\x00"]
    assert tunnel.is_open


@pytest.mark.parametrize(
    "host, asked",
    [
        ("est.example", b"\x03\x0best.example"),
        ("10.0.0.1", b"\x01\x0a\x00\x00\x01"),
        ("2001:db8::7", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x07"),
    ],
)
def test_socks5_asks_for_a_name_or_an_address(host: str, asked: bytes) -> None:
    tunnel = tunnel_of("socks5h://h:1", host)
    assert drive(tunnel, [NO_LOGIN, BOUND]) == [b"\x05\x01\x00" + b"\x05\x01\x00" + asked + PORT]
    assert tunnel.is_open


def test_socks5_logs_in_where_it_is_asked_to() -> None:
    tunnel = tunnel_of("socks5h://scar:pride@h:1")
    (written,) = drive(tunnel, [WITH_LOGIN, LET_IN, BOUND])
    assert written.startswith(b"\x05\x02\x00\x02" + b"\x01\x04scar\x05pride" + b"\x05\x01\x00")
    assert tunnel.is_open


def test_socks5_keeps_the_login_to_itself_where_nobody_asks() -> None:
    (written,) = drive(tunnel_of("socks5h://scar:pride@h:1"), [NO_LOGIN, BOUND])
    assert b"pride" not in written


@pytest.mark.parametrize(
    "bound",
    [
        BOUND,
        b"\x05\x00\x00\x04" + bytes(18),
        b"\x05\x00\x00\x03\x03abc" + bytes(2),
        b"\x05\x00\x00\x03\x00" + bytes(2),
        b"\x05\x00\x00\x03\xff" + b"a" * 255 + bytes(2),
    ],
    ids=["IPv4", "IPv6", "name", "no name", "long name"],
)
def test_the_answer_is_as_long_as_the_address_in_it(bound: bytes) -> None:
    for pieces in ([NO_LOGIN, bound], [bytes([each]) for each in NO_LOGIN + bound]):
        tunnel = tunnel_of("socks5h://h:1")
        drive(tunnel, pieces)
        assert tunnel.is_open
    tunnel = tunnel_of("socks5h://h:1")
    drive(tunnel, [NO_LOGIN, bound[:-1]])
    assert not tunnel.is_open
    assert code_of(tunnel_of("socks5h://h:1"), [NO_LOGIN, bound + b"\x16"]).startswith(
        "proxy/unasked-bytes"
    )


FIVE, LOGIN, FOUR = "socks5h://h:1", "socks5h://scar:pride@h:1", "socks4a://h:1"


def refused(code: int) -> list[bytes]:
    """Return what a SOCKS5 proxy says that refuses."""
    return [NO_LOGIN, bytes([5, code])]


@pytest.mark.parametrize(
    "url, said, expected",
    [
        (FIVE, refused(1), "proxy/server-unreachable socks5h://h:1 failed, and says no more"),
        (FIVE, refused(2), "proxy/refused"),
        (FIVE, refused(3), "proxy/server-unreachable .* no route"),
        (FIVE, refused(4), "proxy/server-unreachable .* does not reach the server's host"),
        (FIVE, refused(5), "proxy/server-unreachable .* nobody listens there"),
        (FIVE, refused(6), "proxy/server-unreachable .* in time"),
        (FIVE, refused(7), "proxy/no-tunnel"),
        (FIVE, refused(8), "proxy/target .* addresses of this kind"),
        (FIVE, refused(9), "proxy/malformed .* does not answer as SOCKS5 does"),
        (FIVE, refused(255), "proxy/malformed"),
        (FIVE, [NO_LOGIN, b"\x04\x00"], "proxy/malformed"),
        (FIVE, [NO_LOGIN, b"\x05\x00\x07\x01" + bytes(6)], "proxy/malformed"),
        (FIVE, [NO_LOGIN, b"\x05\x00\x00\x02" + bytes(6)], "proxy/malformed"),
        (FIVE, [NO_LOGIN, b"\x05\x00\x00\x03\x01\xff\x00\x00"], "proxy/malformed"),
        (FIVE, [b"\x05\xff"], "proxy/login-required .* wants a login, and has none"),
        (LOGIN, [b"\x05\xff"], "proxy/login-scheme .* GSSAPI"),
        (FIVE, [WITH_LOGIN], "proxy/malformed"),
        (LOGIN, [b"\x05\x01"], "proxy/malformed"),
        (FIVE, [b"\x05\x09"], "proxy/malformed"),
        (FIVE, [b"\x04\x00"], "proxy/malformed"),
        (FIVE, [b"HTTP/1.1 400 Bad Request\r\n"], "proxy/malformed"),
        (LOGIN, [WITH_LOGIN, b"\x01\x01"], "proxy/login-refused .* refuses the login"),
        (LOGIN, [WITH_LOGIN, b"\x05\x00"], "proxy/malformed"),
        (FIVE, [b""], "proxy/closed"),
        (FIVE, [b"\x05", b""], "proxy/closed"),
        (FIVE, [NO_LOGIN, BOUND[:-1], b""], "proxy/closed"),
        (FOUR, [b"\x00\x5b" + bytes(6)], "proxy/server-unreachable .* refuses, or does not"),
        (FOUR, [b"\x00\x5c" + bytes(6)], "proxy/login-refused .* identd"),
        (FOUR, [b"\x00\x5d" + bytes(6)], "proxy/login-refused .* another user"),
        (FOUR, [b"\x00\x5e" + bytes(6)], "proxy/malformed .* does not answer as SOCKS4 does"),
        (FOUR, [b"\x05\x5a" + bytes(6)], "proxy/malformed"),
        (FOUR, [b"HTTP/1.1 400 Bad Request\r\n"], "proxy/malformed"),
        (FOUR, [GRANTED[:-1], b""], "proxy/closed"),
        (FOUR, [GRANTED + b"\x16"], "proxy/unasked-bytes"),
    ],
)
def test_an_answer_that_opens_no_tunnel_is_told_as_what_it_is(
    url: str, said: list[bytes], expected: str
) -> None:
    found = code_of(tunnel_of(url), said)
    assert re.match(expected, found), found
    assert "pride" not in found
    assert "scar" not in found


@pytest.mark.parametrize(
    "scheme, host, why",
    [
        ("socks4", "2001:db8::7", "IPv6 address, which SOCKS4 has no place for"),
        ("socks4a", "2001:db8::7", "IPv6 address, which SOCKS4 has no place for"),
        ("socks5h", "a..b", "no host name"),
        ("socks5h", "a" * 64, "no host name"),
        ("socks5h", "1:2", "no host name"),
        ("socks5h", "010.0.0.1", "neither a name nor an address"),
        ("socks4a", "127.1", "neither a name nor an address"),
    ],
)
def test_a_host_that_the_message_has_no_place_for_is_refused(
    scheme: str, host: str, why: str
) -> None:
    with pytest.raises(ConnectError, match=why) as caught:
        tunnel_of(f"{scheme}://h:1", host)
    assert caught.value.code == "proxy/target"


GOOD = {
    FIVE: [NO_LOGIN + BOUND, NO_LOGIN + b"\x05\x05", NO_LOGIN + b"\x05\x00\x00\x04" + bytes(18)],
    LOGIN: [WITH_LOGIN + LET_IN + BOUND, WITH_LOGIN + b"\x01\x01", NO_LOGIN + BOUND],
    FOUR: [GRANTED, b"\x00\x5b" + bytes(6)],
}


@st.composite
def proxies(draw: st.DrawFn) -> tuple[str, bytes]:
    """A proxy, and what it says: nearly what it should, or anything."""
    url = draw(st.sampled_from(sorted(GOOD)))
    return url, draw(st.one_of(damaged(GOOD[url]), st.binary(max_size=32)))


@reaches(open=10, refused=20)
@given(proxy=proxies(), cut=st.integers(1, 12))
def test_a_proxy_is_understood_or_a_connect_error(proxy: tuple[str, bytes], cut: int) -> None:
    url, said = proxy
    tunnel = tunnel_of(url)
    tunnel.begin()
    refused_with = "proxy/"
    try:
        for at in range(0, len(said), cut):
            tunnel.receive(said[at : at + cut])
            if tunnel.is_open:
                break
    except ConnectError as error:
        refused_with = error.code
        reached("refused")
    assert refused_with.startswith("proxy/")
    if tunnel.is_open:
        reached("open")
    assert not tunnel.needs_connection
