"""Target: what a proxy says before a tunnel is open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from est_transports.drive.client import ConnectError
from est_transports.tunnels.opening import open_tunnel
from est_transports.tunnels.proxy import Proxy
from fuzz.choices import Choices
from fuzz.target import Result, Shape, Target, accepted, passed, stopped

_PASSWORD: Final = "be-prepared"
_URLS: Final = (
    f"http://scar:{_PASSWORD}@proxy.example:3128",
    "http://proxy.example:3128",
    f"socks5h://scar:{_PASSWORD}@proxy.example:1080",
    "socks5h://proxy.example:1080",
    "socks4a://scar@proxy.example:1080",
)
_OPEN, _ANEW, _WAITS = "open", "another connection", "waits"


def tunnels(data: bytes) -> Result:
    """A proxy has a ConnectError for its words at most, the same in any pieces.

    A tunnel is open after a good answer and nothing behind it. The password goes to who has asked
    for it, and into no error.
    """
    choices = Choices(data)
    proxy = Proxy.parse(choices.pick(_URLS))
    said = choices.rest()
    whole, bytewise = _talk(proxy, said, max(1, len(said))), _talk(proxy, said, 1)
    # Bytes behind a 407 answer nothing: they cost the connection where they are seen in time.
    assert whole in (bytewise, _ANEW), f"{whole} and {bytewise}"
    if whole == _OPEN:
        return accepted(f"{proxy.scheme} {whole}")
    early = ("proxy/malformed", "proxy/closed", _WAITS)
    return (stopped if whole.startswith(early) else passed)(f"{proxy.scheme} {whole}")


def _talk(proxy: Proxy, said: bytes, size: int) -> str:
    """Return what a tunnel comes to by these words, in pieces of that size."""
    tunnel = open_tunnel(proxy, "est.example", 8443, entropy=bytes)
    written = tunnel.begin()
    assert _PASSWORD.encode() not in written
    assert b"uthorization" not in written
    at = 0
    try:
        while at < len(said) and not (tunnel.is_open or tunnel.needs_connection):
            written += tunnel.receive(said[at : at + size])
            at += size
    except ConnectError as error:
        assert not tunnel.is_open
        assert _PASSWORD not in error.message
        assert error.code.startswith("proxy/")
        return error.code
    finally:
        assert written.count(b"CONNECT ") <= 3
        assert b"uthorization" not in written or b"407" in said
    if tunnel.is_open:
        return _OPEN if at >= len(said) else "proxy/unasked-bytes"
    return _ANEW if tunnel.needs_connection else _WAITS


def _words() -> Iterator[bytes]:
    """Yield what proxies say: of each kind, good and refused."""
    opened = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 p\r\n\r\n"
    login = b"HTTP/1.1 407 No\r\nProxy-Authenticate: %b\r\nContent-Length: 2\r\n\r\nno"
    basic = login % b'Basic realm="p"'
    digest = login % b'Digest realm="p", nonce="n", qop="auth", algorithm=SHA-256, stale=true'
    for first in range(2):
        for answer in (
            *(opened, basic + opened, digest + opened, basic + digest, login % b"NTLM"),
            *(digest + digest + digest, b"HTTP/1.1 100 Go\r\n\r\n" + opened),
            *(b"HTTP/1.1 403 No\r\n\r\n", b"HTTP/1.0 503 No\r\n\r\n", b"HTTP/1.1 407 No\r\n\r\n"),
        ):
            yield bytes((first,)) + answer
    for first in (2, 3):
        for method in (b"\x05\x00", b"\x05\x02\x01\x00", b"\x05\xff"):
            for reply in (b"\x00\x00\x01" + bytes(6), b"\x00\x00\x03\x01a" + bytes(2), b"\x05"):
                yield bytes((first,)) + method + b"\x05" + reply
    yield from (b"\x04\x00" + bytes((code,)) + bytes(6) for code in range(0x5A, 0x5F))


TARGETS: Final = (
    Target(
        run=tunnels,
        seeds=lambda: tuple(_words()),
        shape=Shape.LINES,
        words=(
            *(b"HTTP/1.1 ", b"407", b"200", b"Proxy-Authenticate: ", b"Digest ", b"Basic"),
            *(b"stale=true", b"Connection: close\r\n", b"Content-Length: ", b"\r\n\r\n"),
            *(b"\x05\x00\x00\x01", b"\x05\x02", b"\x01\x00", b"\x00\x5a"),
        ),
        gate="is the answer of a proxy, if of one that refuses",
        goal="opens a tunnel",
        modules=("est_transports.tunnels.connect", "est_transports.tunnels.socks"),
    ),
)
