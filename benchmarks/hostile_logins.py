"""Peers that try to log in: wrong passwords, tokens and codes, on connections that are kept."""

from __future__ import annotations

import base64
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from OpenSSL import SSL

from benchmarks.hostile_peer import Peer
from benchmarks.site import USER
from est_transports.authority import new_code, new_token

GUESSERS: Final = 50
NEIGHBOUR: Final = "device-2"
"""Somebody whose name is tried who is not the honest client."""
_CHALLENGE: Final = re.compile(rb'\r\nWWW-Authenticate: Digest [^\r]*nonce="([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One way to be wrong: `written` is the Authorization of a try, by a number and a nonce."""

    written: Callable[[int, str], str]
    per_s: int = 1000


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _digest(user: str, nonce: str) -> str:
    answer = secrets.token_hex(32)
    return (
        f'Digest username="{user}", realm="est", nonce="{nonce}", algorithm=SHA-256, qop=auth, '
        f'uri="/.well-known/est/simpleenroll", nc=00000001, cnonce="c", response="{answer}"'
    )


def _numbered(number: int) -> Callable[[int], bytes]:
    return lambda size: number.to_bytes(size, "big")


LOGINS: Final = {
    "guesses": Login(written=lambda n, _: _basic(USER, f"guess {n}"), per_s=130),
    "wrong passwords of its name": Login(written=lambda n, _: _basic(USER, f"guess {n}")),
    "wrong passwords of another name": Login(written=lambda n, _: _basic(NEIGHBOUR, f"guess {n}")),
    "wrong passwords of new names": Login(written=lambda n, _: _basic(f"name {n}", "guess")),
    "wrong Digest answers of its name": Login(written=lambda _, nonce: _digest(USER, nonce)),
    "wrong Digest answers of new names": Login(
        written=lambda n, nonce: _digest(f"name {n}", nonce)
    ),
    "wrong tokens": Login(written=lambda n, _: "Bearer " + new_token(_numbered(n))),
    "wrong codes": Login(written=lambda n, _: _basic("", new_code(_numbered(n)))),
}
"""By the names of trials; "its name" is that of the honest client."""


def guess(peer: Peer, ready: Callable[[], None], *, login: Login) -> None:
    """Try, on many connections, so often a second altogether."""
    numbers = count(secrets.randbits(64))
    with_one = [
        threading.Thread(target=_guess_on_one, args=(peer, login, numbers, each), daemon=True)
        for each in range(GUESSERS)
    ]
    for each in with_one:
        each.start()
    time.sleep(1.0)
    ready()
    for each in with_one:
        each.join()


def _guess_on_one(peer: Peer, login: Login, numbers: Iterator[int], place: int) -> None:
    pause = GUESSERS / login.per_s
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    body = base64.b64encode(peer.site.request_der).decode()
    connection, nonce = None, ""
    due = time.monotonic() + pause * place / GUESSERS
    while not peer.is_over:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + pause, time.monotonic())
        request = (
            "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {login.written(next(numbers), nonce)}\r\n"
            "Content-Type: application/pkcs10\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        try:
            if connection is None:
                connection = _shaken(peer, context)
            connection.sendall(request.encode("ascii"))
            answer = connection.recv(65536)
        except (SSL.Error, OSError):
            connection = None
            continue
        if (challenge := _CHALLENGE.search(answer)) is not None:
            nonce = challenge[1].decode("ascii")
        if b"\r\nconnection: close" in answer.lower():
            connection = None


def _shaken(peer: Peer, context: SSL.Context) -> SSL.Connection:
    sock = peer.connected()
    sock.settimeout(None)
    connection = SSL.Connection(context, sock)
    connection.set_connect_state()
    connection.do_handshake()
    return connection
