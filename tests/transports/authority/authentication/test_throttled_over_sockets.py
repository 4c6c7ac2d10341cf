"""Wrong credentials over real sockets: after so many 503, at another address nothing, later 200."""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Final

import pytest

from est_core import (
    CSRATTRS,
    Authentication,
    DigestAlgorithm,
    DigestCredentials,
    Instant,
    ServerPolicy,
    default_policy,
)
from est_core.auth.digest import digest_answer, digest_secret
from est_core.auth.scheme import DigestScheme
from est_core.codec.authheader import basic_challenge, bearer_challenge
from est_transports import _clock
from est_transports.authority import (
    Authority,
    BackOff,
    BackOffLimits,
    CodeRecord,
    Scheme,
    TokenRecord,
    digest_record,
    hash_password,
    new_code,
    new_token,
)
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets import Server
from tests.transports.ca_fakes import NOW, SECRET, MemoryStore, make_authenticator, make_ca
from tests.transports.https_site import Log, tls_context
from tests.transports.sockets_site import TIMEOUT_S, RawClient, until

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
FREE: Final = 10
STEP_S: Final = 60
CODE: Final = new_code(lambda size: bytes(range(size)))
TOKEN: Final = new_token(lambda size: bytes(range(size)))
DIGEST: Final = DigestScheme(realm="est", key=SECRET.nonce_key(), entropy=_clock.entropy)
NUMBERS: Final = count()


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = _clock.instant()

    def __call__(self) -> Instant:
        return self.now


def policy() -> ServerPolicy:
    rows = tuple(
        replace(row, authentication=Authentication.HTTP) if row.operation is CSRATTRS else row
        for row in default_policy().rows
    )
    challenges = (basic_challenge("est"), bearer_challenge("est"))
    return ServerPolicy(rows=rows, challenges=challenges, digest=DIGEST)


def authority(clock: Clock) -> Authority:
    store = MemoryStore()
    record, answers = hash_password("right", bytes(16)), digest_record("alice", "est", "right")
    store.add_user("alice", record, digest_record=answers)
    digest = SECRET.code_digest(CODE)
    assert digest is not None
    week = NOW + timedelta(days=7)
    store.add_codes([CodeRecord(name="device", digest=digest, created_at=NOW, expires_at=week)])
    store.add_token(TokenRecord(name="sensor", digest=SECRET.token_digest(TOKEN), created_at=NOW))
    limits = BackOffLimits(per_user=FREE, unknown_per_network=FREE, window_s=FREE * STEP_S)
    authenticator = make_authenticator(
        store, *Scheme, back_off=BackOff(limits, clock=clock), now=lambda: NOW
    )
    return Authority(
        ca=make_ca(store), store=store, authenticator=authenticator, clock=_clock.instant
    )


@dataclass
class Site:
    """A server, and the clock that its back-off has."""

    port: int
    clock: Clock
    log: Log

    def ask(self, authorization: str, source: str = HERE) -> tuple[int, int]:
        """Status and Retry-After of a request with these credentials; 0 for none."""
        request = (
            "GET /.well-known/est/csrattrs HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {authorization}\r\nConnection: close\r\n\r\n"
        )
        client = RawClient(self.port, source=source).shake_hands()
        answer = client.say(request.encode("ascii")).hear_all()
        client.sock.close()
        retry = re.search(rb"\r\nRetry-After: (\d+)\r\n", answer)
        return int(answer.split(b" ", 2)[1]), 0 if retry is None else int(retry[1])


@pytest.fixture
def site() -> Iterator[Site]:
    log, context, clock = Log(), tls_context(), Clock()
    with closing(socket.create_server((HERE, 0))) as listener:
        server = Server(
            context_source=lambda: context,
            application=authority(clock),
            config=ServiceConfig(policy=policy()),
            observe=log,
        )
        thread = threading.Thread(target=server.serve, args=([listener],))
        thread.start()
        yield Site(listener.getsockname()[1], clock, log)
        server.stop(drain_s=0)
        thread.join(TIMEOUT_S)


def basic(password: str, user: str = "alice") -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def digest(password: str) -> str:
    target = "/.well-known/est/csrattrs"
    nonce = DIGEST.challenges(_clock.instant())[0].get("nonce") or ""
    given = {"realm": "est", "nonce": nonce, "uri": target, "algorithm": "SHA-256", "qop": "auth",
             "nc": "00000001", "cnonce": "ours"}  # fmt: skip
    draft = DigestCredentials(user="alice", parameters=tuple(given.items()), method="GET")
    secret = digest_secret(DigestAlgorithm.SHA_256, "alice", "est", password)
    given = {"username": "alice", **given, "response": digest_answer(secret, draft)}
    bare = {"algorithm", "qop", "nc"}
    return "Digest " + ", ".join(
        f"{name}={value}" if name in bare else f'{name}="{value}"' for name, value in given.items()
    )


def unknown_code() -> str:
    return new_code(lambda size: next(NUMBERS).to_bytes(size, "big"))


SCHEMES: Final[dict[str, tuple[Callable[[], str], Callable[[], str]]]] = {
    "basic": (lambda: basic("right"), lambda: basic(f"guess {next(NUMBERS)}")),
    "digest": (lambda: digest("right"), lambda: digest(f"guess {next(NUMBERS)}")),
    "token": (
        lambda: f"Bearer {TOKEN}",
        lambda: "Bearer " + new_token(lambda size: next(NUMBERS).to_bytes(size, "big")),
    ),
    "code": (lambda: basic(CODE, ""), lambda: basic(unknown_code(), "")),
}
"""What is right, and what is wrong in another way each time."""


@pytest.mark.req("EST-049")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_after_so_many_wrong_ones_who_tries_waits_and_nobody_else(site: Site, scheme: str) -> None:
    right, wrong = SCHEMES[scheme]
    assert [site.ask(wrong()) for _ in range(FREE)] == [(401, 0)] * FREE
    assert site.ask(wrong()) == (503, STEP_S)
    assert site.ask(right()) == (503, STEP_S)
    assert site.ask(right(), ELSEWHERE) in ((200, 0), (204, 0))
    site.clock.now = site.clock.now.after(STEP_S)
    assert site.ask(right()) in ((200, 0), (204, 0))
    until(lambda: len(site.log.records) == FREE + 4)
    assert [code for _, code in site.log.codes].count("auth/throttled") == 2


def test_an_outdated_password_may_be_repeated(site: Site) -> None:
    for _ in range(FREE + 2):
        assert site.ask(basic("outdated")) == (401, 0)
    assert site.ask(basic("right")) in ((200, 0), (204, 0))


def test_a_name_that_nobody_has_waits_as_long(site: Site) -> None:
    for number in range(FREE):
        assert site.ask(basic(f"guess {number}", "nobody")) == (401, 0)
    assert site.ask(basic("guess", "nobody")) == (503, STEP_S)
    assert site.ask(basic("right")) in ((200, 0), (204, 0))
