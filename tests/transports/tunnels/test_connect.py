"""HTTP CONNECT without a network: logins, refusals, bounds, and answers in any pieces."""

from __future__ import annotations

import re
from hashlib import md5, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Limits
from est_transports.drive.client import ConnectError
from est_transports.tunnels import Proxy, open_tunnel
from tests.damage import damaged
from tests.reached import reached, reaches
from tests.transports.tunnels.driven import code_of, drive, no_chance, tunnel_of

PLAIN = "http://proxy.example:3128"
WITH_LOGIN = "http://Mufasa:Circle%20of%20Life@proxy.example:3128"
ASK = b"CONNECT est.example:8443 HTTP/1.1\r\nHost: est.example:8443\r\n\r\n"
BASIC = b"Proxy-Authorization: Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl\r\n"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


def denied(*challenges: bytes, body: bytes = b"no", close: bool = False) -> bytes:
    """Return a 407."""
    fields = [b"Proxy-Authenticate: " + each for each in challenges]
    fields += [b"Connection: close"] if close else []
    fields += [b"Content-Length: %d" % len(body)]
    return b"\r\n".join([b"HTTP/1.1 407 Who are you", *fields]) + b"\r\n\r\n" + body


ASKS_BASIC = denied(b'Basic realm="p"')
ASKS_DIGEST = denied(b'Digest realm="p", nonce="n1", qop="auth", algorithm=SHA-256')


def answered(status: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """Return any answer."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields]) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "answer",
    [
        OPEN,
        b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
        b"HTTP/1.1 204 No Content\n\n",
        answered(b"200 OK", b"Content-Length: 17", b"Transfer-Encoding: chunked"),
        answered(b"100 Continue") + answered(b"102 Wait") + OPEN,
    ],
)
def test_any_2xx_opens_the_tunnel_whatever_it_says_of_a_body(answer: bytes) -> None:
    for size in (len(answer), 1):
        tunnel = tunnel_of(PLAIN)
        pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
        assert drive(tunnel, pieces) == [ASK]
        assert tunnel.is_open


def test_an_ipv6_address_stands_in_brackets() -> None:
    (asked,) = drive(tunnel_of(PLAIN, "2001:db8::7"), [OPEN])
    assert asked.startswith(b"CONNECT [2001:db8::7]:8443 HTTP/1.1\r\nHost: [2001:db8::7]:8443\r\n")


@pytest.mark.parametrize(
    "host", ["a\r\nX: y", "a b", "", "a/b", "ä", "a" * 254, "a@b", "%0d%0a", "a\n"]
)
@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
def test_what_is_no_host_is_not_asked_for(host: str, scheme: str) -> None:
    with pytest.raises(ConnectError) as caught:
        tunnel_of(f"{scheme}://h:1", host)
    assert caught.value.code == "proxy/target"


def test_a_login_is_sent_once_it_is_asked_for_and_over_the_same_connection() -> None:
    tunnel = tunnel_of(WITH_LOGIN)
    written = drive(tunnel, [ASKS_BASIC[:20], ASKS_BASIC[20:-1], ASKS_BASIC[-1:], OPEN])
    assert written == [ASK + ASK[:-2] + BASIC + b"\r\n"]
    assert tunnel.is_open


@pytest.mark.parametrize(
    "said",
    [
        denied(b"Basic", close=True),
        denied(b"Basic", body=b"x" * (16 * 1024 + 1)),
        denied(b"Basic").replace(b"HTTP/1.1", b"HTTP/1.0"),
        answered(b"407 No", b"Proxy-Authenticate: Basic"),
        answered(b"407 No", b"Proxy-Authenticate: Basic", b"Transfer-Encoding: chunked"),
        denied(b"Basic") + b"more",
    ],
    ids=["close", "long page", "HTTP/1.0", "until its end", "chunked", "bytes after the page"],
)
def test_after_a_407_that_ends_the_connection_a_new_one_carries_the_login(said: bytes) -> None:
    tunnel = tunnel_of(WITH_LOGIN)
    written = drive(tunnel, [said], [OPEN])
    assert written == [ASK, ASK[:-2] + BASIC + b"\r\n"]
    assert tunnel.is_open


def test_a_proxy_that_closes_within_the_page_of_a_407_is_asked_anew() -> None:
    tunnel = tunnel_of(WITH_LOGIN)
    assert len(drive(tunnel, [ASKS_BASIC[:-1], b""], [OPEN])) == 2
    assert tunnel.is_open


def test_digest_is_answered_for_connect_and_the_authority() -> None:
    tunnel = tunnel_of(WITH_LOGIN)
    (written,) = drive(tunnel, [ASKS_DIGEST, OPEN])
    sent = dict(re.findall(rb'(\w+)="?([^",\r]*)"?', written.partition(b"Digest ")[2]))
    assert sent[b"uri"] == b"est.example:8443"
    assert sent[b"username"] == b"Mufasa"
    one = sha256(b"Mufasa:p:Circle of Life").hexdigest()
    two = sha256(b"CONNECT:est.example:8443").hexdigest()
    proof = f"{one}:n1:00000001:{sent[b'cnonce'].decode()}:auth:{two}".encode()
    assert sent[b"response"].decode() == sha256(proof).hexdigest()
    assert b"Circle" not in written
    assert tunnel.is_open


@pytest.mark.parametrize("first", [0, 1])
def test_the_strongest_scheme_is_answered_in_whatever_order_they_stand(first: int) -> None:
    weak = [b'Basic realm="p"', b'Digest realm="p", nonce="a", qop="auth", algorithm=MD5']
    strong = b'Digest realm="p", nonce="b", qop="auth", algorithm=SHA-256'
    (written,) = drive(tunnel_of(WITH_LOGIN), [denied(*weak[first:], strong, *weak[:first]), OPEN])
    assert b"Basic" not in written
    assert b"algorithm=SHA-256" in written


def test_md5_is_answered_where_there_is_no_more() -> None:
    challenge = b'Digest realm="p", nonce="a", qop="auth"'
    (written,) = drive(tunnel_of(WITH_LOGIN), [denied(challenge), OPEN])
    one = md5(b"Mufasa:p:Circle of Life").hexdigest()
    two = md5(b"CONNECT:est.example:8443").hexdigest()
    nonce = re.findall(rb'cnonce="([^"]*)"', written)[0].decode()
    assert md5(f"{one}:a:00000001:{nonce}:auth:{two}".encode()).hexdigest().encode() in written


STALE = denied(b'Digest realm="p", nonce="n2", qop="auth", algorithm=SHA-256, stale=true')


def test_a_stale_nonce_is_answered_once_more() -> None:
    tunnel = tunnel_of(WITH_LOGIN)
    (written,) = drive(tunnel, [ASKS_DIGEST, STALE, OPEN])
    assert tunnel.is_open
    assert written.count(b"CONNECT ") == 3
    assert b'nonce="n2"' in written


@pytest.mark.parametrize(
    "url, said, expected",
    [
        (PLAIN, [ASKS_BASIC], "proxy/login-required http://proxy.example:3128 wants a login, by B"),
        (PLAIN, [denied()], "proxy/login-required .* by no scheme that it names"),
        (WITH_LOGIN, [denied()], "proxy/login-scheme .* by no scheme that it names"),
        (WITH_LOGIN, [ASKS_BASIC, ASKS_BASIC], "proxy/login-refused .* refuses the login$"),
        (WITH_LOGIN, [ASKS_BASIC, answered(b"401 Unauthorized")], "proxy/login-refused"),
        (PLAIN, [answered(b"401 Unauthorized")], "proxy/status .* answered 401 Unauthorized"),
        (WITH_LOGIN, [ASKS_DIGEST, ASKS_DIGEST], "proxy/login-refused"),
        (WITH_LOGIN, [ASKS_DIGEST, STALE, STALE], "proxy/login-refused"),
        (WITH_LOGIN, [ASKS_BASIC, STALE], "proxy/login-refused"),
        (
            WITH_LOGIN,
            [denied(b"Negotiate", b"NTLM")],
            "proxy/login-scheme .* takes a login by Negotiate, NTLM, which is not supported",
        ),
        (
            WITH_LOGIN,
            [denied(b"NTLM TlRMTVNTUAACAAAA")],
            "proxy/login-scheme .* by NTLM, which is not supported: Basic and Digest are$",
        ),
        (
            WITH_LOGIN,
            [denied(b'Digest realm="p", nonce="n"')],
            "proxy/login-scheme .* are: the server's Digest challenge has no qop",
        ),
        (WITH_LOGIN, [denied(b"\x00")], "proxy/malformed"),
        (PLAIN, [answered(b"403 Filtered")], "proxy/refused .*: it answered 403 Filtered$"),
        (PLAIN, [answered(b"451 Law")], "proxy/refused"),
        (PLAIN, [answered(b"405 No")], "proxy/no-tunnel .* would read all that goes through"),
        (PLAIN, [answered(b"501 No")], "proxy/no-tunnel"),
        (PLAIN, [answered(b"502 Bad")], "proxy/server-unreachable"),
        (PLAIN, [answered(b"503 Bad")], "proxy/server-unreachable"),
        (PLAIN, [answered(b"504 Slow")], "proxy/server-unreachable .* in vain"),
        (
            PLAIN,
            [answered(b"302 Found", b"Location: https://evil.example/")],
            "proxy/status .* opens no tunnel: it answered 302 Found$",
        ),
        (PLAIN, [answered(b"500 Oops\x1b[2J")], r"proxy/status .* 500 Oops \[2J$"),
        (PLAIN, [answered("500 \x9b2Jé".encode("latin-1"))], "proxy/status .* 500 2Jé$"),
        (PLAIN, [b"SSH-2.0-OpenSSH_9.2\r\n"], "proxy/malformed .* another protocol is spoken"),
        (PLAIN, [b"\x16\x03\x01\x02\x00"], "proxy/malformed"),
        (PLAIN, [b"\x05\x00"], "proxy/malformed"),
        (PLAIN, [b"HTTP/1.1 2x0 OK\r\n\r\n"], "proxy/malformed"),
        (PLAIN, [b"HTTP/1.1 200 OK\r\nbad line\r\n\r\n"], "proxy/malformed"),
        (PLAIN, [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 16384], "proxy/malformed .* head too large"),
        (PLAIN, [answered(b"100 Continue") * 900], "proxy/malformed .* head too large"),
        (PLAIN, [b""], "proxy/closed"),
        (PLAIN, [OPEN[:-1], b""], "proxy/closed"),
        (PLAIN, [OPEN + b"\x16\x03\x03"], "proxy/unasked-bytes"),
        (PLAIN, [answered(b"200 OK", b"Content-Length: 2", body=b"hi")], "proxy/unasked-bytes"),
    ],
)
def test_an_answer_that_opens_no_tunnel_is_told_as_what_it_is(
    url: str, said: list[bytes], expected: str
) -> None:
    found = code_of(tunnel_of(url), said)
    assert re.match(expected, found), found
    assert "Circle" not in found
    assert "Mufasa" not in found


def test_the_bounds_are_those_of_the_configuration() -> None:
    limits = Limits(head_bytes=64)
    tunnel = open_tunnel(Proxy.parse(PLAIN), "h", 1, entropy=no_chance, limits=limits)
    assert "proxy/malformed" in code_of(tunnel, [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 64])


def test_a_proxy_never_has_more_than_three_requests() -> None:
    tunnel = tunnel_of(WITH_LOGIN)
    closing = [answered(b"407 No", b'Proxy-Authenticate: Digest realm="p", nonce="n", qop="auth"')]
    stale = [closing[0].replace(b'qop="auth"', b'qop="auth", stale=true')]
    assert "proxy/login-refused" in code_of(tunnel, closing, stale, stale)


GOOD = [OPEN, ASKS_BASIC + OPEN, ASKS_DIGEST + STALE + OPEN, answered(b"100 Go") + OPEN]


@reaches(open=5, refused=20)
@given(said=st.one_of(damaged(GOOD), st.binary(max_size=64)), cut=st.integers(1, 40))
def test_a_proxy_is_understood_or_a_connect_error(said: bytes, cut: int) -> None:
    """Whatever it says and in which pieces: an open tunnel, another connection, or ConnectError."""
    tunnel = tunnel_of(WITH_LOGIN)
    written, refused_with = tunnel.begin(), "proxy/"
    try:
        for at in range(0, len(said), cut):
            written += tunnel.receive(said[at : at + cut])
            if tunnel.is_open or tunnel.needs_connection:
                break
    except ConnectError as error:
        refused_with = error.code
        reached("refused")
    assert refused_with.startswith("proxy/")
    if tunnel.is_open:
        reached("open")
    assert written.count(b"CONNECT ") <= 3
