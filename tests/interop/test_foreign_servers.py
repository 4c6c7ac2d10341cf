"""Our client against the habits of foreign servers, on sockets and on trio.

The habits were seen in libEST 3.2.0p, in servers in C, Go, Java, Python and JavaScript, in modules
of nginx, and in the proxies before them. Each row of HABITS says what the server does, and how our
client ends: with the certificate, or with which error. Each is asked for what `est enroll` asks.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import trio

from est_core import (
    AuthScheme,
    BasicCredentials,
    CACertsReceived,
    ClientExchange,
    ClientResult,
    ClientSession,
    Credentials,
    CredentialsRequested,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Instant,
    PopMode,
    RetryLater,
)
from est_core.asn1.cms import write_certs_only
from est_transports import _clock, on_sockets, on_trio
from est_transports.channel.tls import TlsEngine
from est_transports.client_config import ClientConfig
from est_transports.on_sockets.tls import TlsSocket
from tests.core.asn1.build import tlv
from tests.interop import foreign_answers as foreign
from tests.interop.foreign_answers import BASIC, answer, guarded, instead, well_behaved
from tests.interop.foreign_server import (
    TIMEOUT_S,
    Answers,
    Asked,
    ForeignServer,
    Said,
    Then,
    foreign_server,
    server_tls,
)
from tests.pki import pki
from tests.transports.https_site import new_device, tls_context

PASSED: Final = BasicCredentials(user="device", password="secret")
NO_BASE64: Final = answer(200, b"!oops!\n", f"Content-Type: {foreign.ENROLLED}")
NONE: Final = answer(204)
HALF: Final = Said(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", then=Then.CLOSE)
CA_CERTS: Final = answer(
    200, foreign.one_line_lf(foreign.ca_bag()), f"Content-Type: {foreign.CERTS}"
)
PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"

Refusal = tuple[str, str]
"""Error code, and a part of the message."""


@dataclass(frozen=True, kw_only=True)
class Habit:
    """What a server does. `answers` makes one; what is refused stands by operation.

    `asked` is what it must have been asked, in order, where that is worth a look. `at_once`:
    the client logs in without being asked.
    """

    answers: Callable[[], Answers]
    refused: dict[str, Refusal] = field(default_factory=dict)
    asked: list[str] | None = None
    at_once: bool = False
    tls: ssl.TLSVersion | None = None
    pop: PopMode = PopMode.AUTO
    has_csrattrs: bool = True


def enroll_with(**manner: object) -> Callable[[], Answers]:
    return lambda: well_behaved(**manner)  # type: ignore[arg-type]  # by name


def of_types(enrolled: str, cacerts: str = foreign.CERTS) -> Callable[[], Answers]:
    types = {"simpleenroll": enrolled, "cacerts": cacerts}
    return enroll_with(types=types)


def first(operation: str, *said: Said) -> Callable[[], Answers]:
    return lambda: instead(operation, *said)


def ask_login(*fields: str, body: bytes = b"", **more: object) -> Callable[[], Answers]:
    refusal = answer(401, body, *fields)
    return lambda: guarded(refusal, **more)  # type: ignore[arg-type]  # by name


def moved(path: str) -> str:
    return f"Location: /.well-known/est/{path}"


LOGGED_IN: Final = ["cacerts", "csrattrs", "simpleenroll", "simpleenroll"]
REPEATED: Final = ["cacerts", "csrattrs", "csrattrs", "simpleenroll"]

# Those that close without saying so: at once, or a moment later, when we are about to send.
CLOSERS: Final[dict[str, Callable[[Then], Habit]]] = {
    "401": lambda then: Habit(
        answers=lambda: guarded(answer(401, b"", BASIC, then=then)), asked=LOGGED_IN
    ),
    "bare 401": lambda then: Habit(
        answers=lambda: guarded(answer(401, b"no", then=then)), asked=LOGGED_IN
    ),
    "202": lambda then: Habit(
        answers=first("simpleenroll", answer(202, b"", "Retry-After: 5", then=then)),
        asked=LOGGED_IN,
    ),
    "204": lambda then: Habit(
        answers=first("csrattrs", answer(204, then=then)),
        asked=["cacerts", "csrattrs", "simpleenroll"],
    ),
    "redirect of a POST": lambda then: Habit(
        answers=first("simpleenroll", answer(307, b"", moved("x/simpleenroll"), then=then)),
        asked=LOGGED_IN,
    ),
    "redirect of a GET": lambda then: Habit(
        answers=first("csrattrs", answer(302, b"", moved("x/csrattrs"), then=then)),
        asked=REPEATED,
    ),
    **{
        f"{status} to csrattrs": (
            lambda then, status=status: Habit(  # type: ignore[misc]  # its default is the loop's
                answers=first("csrattrs", answer(status, b"no\n", then=then)),
                refused={"csrattrs": (f"response/status-{status}", "no")},
                asked=["cacerts", "csrattrs", "simpleenroll"],
            )
        )
        for status in (400, 403, 500, 503)
    },
    "404 to csrattrs": lambda then: Habit(answers=first("csrattrs", answer(404, b"", then=then))),
    "404 to cacerts, whose place a GET takes": lambda then: Habit(
        answers=first("cacerts", answer(404, b"", then=then)),
        refused={"cacerts": ("response/status-404", "")},
    ),
    "401 to csrattrs, which is a GET": lambda then: Habit(
        answers=lambda: guarded(answer(401, b"", BASIC, then=then), operation="csrattrs"),
        asked=REPEATED,
    ),
    "a refusal after the 401": lambda then: Habit(
        answers=lambda: instead(
            "simpleenroll", answer(401, b"", BASIC, then=then), answer(403, b"not you\n", then=then)
        ),
        refused={"simpleenroll": ("response/status-403", "not you")},
    ),
}

HABITS: Final[dict[str, Habit]] = {
    **{
        f"closes after {name}, {then.value}": habit(then)
        for name, habit in CLOSERS.items()
        for then in (Then.CLOSE, Then.FORGET)
    },
    # Logging in
    "a bare 401": Habit(answers=ask_login(), asked=LOGGED_IN),
    "a bare 401 with a text": Habit(answers=ask_login(body=b"log in\n"), asked=LOGGED_IN),
    "a bare 401 to csrattrs": Habit(answers=ask_login(operation="csrattrs"), asked=REPEATED),
    "a bare 401 to a wrong password too": Habit(
        answers=ask_login(body=b"user is locked\n", wrong=True),
        refused={"simpleenroll": ("auth/refused", "user is locked")},
        asked=LOGGED_IN,
    ),
    "a bare 403": Habit(
        answers=lambda: guarded(answer(403, b"log in\n")),
        refused={"simpleenroll": ("response/status-403", "log in")},
        asked=["cacerts", "csrattrs", "simpleenroll"],
    ),
    "a bare 403, and we log in at once": Habit(
        answers=lambda: guarded(answer(403, b"log in\n")), at_once=True
    ),
    "a bare 401, and we log in at once": Habit(
        answers=ask_login(), asked=["cacerts", "csrattrs", "simpleenroll"], at_once=True
    ),
    "Basic": Habit(answers=ask_login(BASIC)),
    "Basic without a realm": Habit(answers=ask_login("WWW-Authenticate: Basic")),
    "basic in small letters": Habit(answers=ask_login("www-authenticate: basic realm=est")),
    "Basic refuses": Habit(
        answers=ask_login(BASIC, wrong=True),
        refused={"simpleenroll": ("auth/refused", "refuses")},
    ),
    "Digest alone": Habit(
        answers=ask_login('WWW-Authenticate: Digest realm="est", nonce="n", qop="auth"'),
        refused={"simpleenroll": ("auth/no-credentials", "none to give")},
    ),
    "Bearer alone": Habit(
        answers=ask_login("WWW-Authenticate: Bearer"),
        refused={"simpleenroll": ("auth/no-credentials", "none to give")},
    ),
    "several challenges in several fields": Habit(
        answers=ask_login('WWW-Authenticate: Digest realm="e", nonce="n"', BASIC)
    ),
    "several challenges in one field": Habit(
        answers=ask_login('WWW-Authenticate: Bearer, Digest realm="e", nonce="n,", Basic realm="e"')
    ),
    "an empty challenge": Habit(answers=ask_login("WWW-Authenticate: ")),
    "a challenge that is none": Habit(
        answers=ask_login("WWW-Authenticate: ="),
        refused={"simpleenroll": ("auth/malformed-challenge", "")},
    ),
    # Framing
    "chunks": Habit(answers=enroll_with(framing=foreign.chunked)),
    "no length, and the end of the connection": Habit(
        answers=enroll_with(framing=foreign.until_close, then=Then.CLOSE)
    ),
    "no length, and the end without close_notify": Habit(
        answers=enroll_with(framing=foreign.until_close, then=Then.CUT),
        refused={
            "cacerts": ("tls/truncated", "may have been cut"),
            "simpleenroll": ("tls/truncated", "may have been cut"),
        },
    ),
    "HTTP/1.0": Habit(
        answers=enroll_with(framing=foreign.until_close, then=Then.CLOSE, version="HTTP/1.0")
    ),
    "HTTP/1.0 with a length": Habit(answers=enroll_with(then=Then.CLOSE, version="HTTP/1.0")),
    "Connection: close": Habit(answers=enroll_with(fields=("Connection: close",), then=Then.CLOSE)),
    "100 Continue that nobody waited for": Habit(
        answers=first(
            "csrattrs",
            Said(raw=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" + NONE.raw),
        )
    ),
    "another protocol": Habit(
        answers=first("csrattrs", answer(101)), refused={"csrattrs": ("http/malformed-head", "")}
    ),
    "a line end too many": Habit(
        answers=first("cacerts", replace(CA_CERTS, raw=CA_CERTS.raw + b"\r\n"))
    ),
    "no phrase": Habit(answers=first("csrattrs", Said(raw=b"HTTP/1.1 204\r\n\r\n"))),
    "no HTTP": Habit(
        answers=first("csrattrs", Said(raw=b"hello\r\n\r\n")),
        refused={"csrattrs": ("http/malformed-head", "")},
    ),
    "half an answer": Habit(
        answers=first("csrattrs", HALF),
        refused={"csrattrs": ("http/truncated", "")},
    ),
    "two lengths": Habit(
        answers=first("csrattrs", answer(200, b"", "Transfer-Encoding: chunked")),
        refused={"csrattrs": ("http/ambiguous-length", "")},
    ),
    "an unknown transfer coding": Habit(
        answers=first(
            "csrattrs",
            answer(200, b"x", "Transfer-Encoding: gzip, chunked", framing=foreign.until_close),
        ),
        refused={"csrattrs": ("http/transfer-coding", "gzip")},
    ),
    "a large head": Habit(
        answers=enroll_with(fields=tuple(f"X-{n}: {'x' * 500}" for n in range(20)))
    ),
    "a head without bounds": Habit(
        answers=enroll_with(fields=tuple(f"X-{n}: {'x' * 500}" for n in range(40))),
        refused={"cacerts": ("http/head", ""), "simpleenroll": ("http/head", "")},
    ),
    # Bodies
    "one line": Habit(answers=enroll_with(body=foreign.in_one_line)),
    "one line and LF": Habit(answers=enroll_with(body=foreign.one_line_lf)),
    "lines of 64": Habit(answers=enroll_with(body=foreign.lf_64)),
    "lines of 76 with CRLF": Habit(answers=enroll_with(body=foreign.crlf_76)),
    "a NUL at the end": Habit(answers=enroll_with(body=foreign.with_nul)),
    "PEM": Habit(answers=enroll_with(body=foreign.pem_pkcs7)),
    "PEM with CRLF": Habit(answers=enroll_with(body=foreign.pem_cms_crlf)),
    "DER": Habit(answers=enroll_with(body=foreign.as_der, fields=())),
    "DER that says base64": Habit(answers=enroll_with(body=foreign.as_der)),
    "no base64": Habit(
        answers=first("simpleenroll", NO_BASE64), refused={"simpleenroll": ("body/", "")}
    ),
    "an empty success": Habit(
        answers=first("simpleenroll", answer(200, b"", f"Content-Type: {foreign.ENROLLED}")),
        refused={"simpleenroll": ("body/empty", "")},
    ),
    "gzip": Habit(
        answers=enroll_with(
            body=lambda der: foreign.gzip(foreign.lf_64(der)), fields=("Content-Encoding: gzip",)
        ),
        refused={
            "cacerts": ("response/coding", "gzip"),
            "simpleenroll": ("response/coding", "gzip"),
        },
    ),
    "identity": Habit(answers=enroll_with(fields=("Content-Encoding: identity",))),
    # Media types
    "no smime-type": Habit(answers=of_types("application/pkcs7-mime")),
    "no blank": Habit(answers=of_types("application/pkcs7-mime;smime-type=certs-only")),
    "capitals": Habit(answers=of_types("Application/PKCS7-MIME; SMIME-TYPE=Certs-Only")),
    "quotes": Habit(answers=of_types('application/pkcs7-mime; smime-type="certs-only"')),
    "parameters": Habit(
        answers=of_types(
            "application/pkcs7-mime; smime-type=certs-only; name=smime.p7c; charset=utf-8",
            "application/pkcs7-mime; charset=utf-8",
        )
    ),
    "no media type": Habit(
        answers=of_types("", ""),
        refused={
            "cacerts": ("response/media-type", "nothing"),
            "simpleenroll": ("response/media-type", "nothing"),
        },
    ),
    "a page instead": Habit(
        answers=first("simpleenroll", answer(200, PAGE, "Content-Type: text/html")),
        refused={"simpleenroll": ("response/media-type", "text/html")},
    ),
    "an old media type": Habit(
        answers=of_types("application/x-pkcs7-mime"),
        refused={"simpleenroll": ("response/media-type", "application/x-pkcs7-mime")},
    ),
    "field names in small letters": Habit(
        answers=enroll_with(fields=("content-transfer-encoding: Base64", "server: uvicorn"))
    ),
    # Statuses
    "a proxy's page": Habit(
        answers=first("simpleenroll", answer(502, PAGE, "Content-Type: text/html")),
        refused={"simpleenroll": ("response/status-502", "502 Bad Gateway")},
    ),
    "JSON": Habit(
        answers=first(
            "simpleenroll", answer(422, b'{"detail":"bad"}', "Content-Type: application/json")
        ),
        refused={"simpleenroll": ("response/status-422", '{"detail":"bad"}')},
    ),
    "201": Habit(
        answers=enroll_with(status=201), refused={"simpleenroll": ("response/status-201", "")}
    ),
    "429": Habit(
        answers=first("simpleenroll", answer(429, b"slow down", "Retry-After: 9")),
        refused={"simpleenroll": ("response/status-429", "slow down")},
    ),
    "202 without Retry-After": Habit(answers=first("simpleenroll", answer(202)), asked=LOGGED_IN),
    "202 with a date": Habit(
        answers=first(
            "simpleenroll", answer(202, b"wait\n", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT")
        ),
        asked=LOGGED_IN,
    ),
    "202 with nonsense": Habit(
        answers=first("simpleenroll", answer(202, b"", "Retry-After: soon")), asked=LOGGED_IN
    ),
    "a redirect to nowhere": Habit(
        answers=first("simpleenroll", answer(302)),
        refused={"simpleenroll": ("response/status-302", "")},
    ),
    "a redirect to another server": Habit(
        answers=first(
            "simpleenroll",
            answer(307, b"", "Location: https://other.example/.well-known/est/simpleenroll"),
        ),
        refused={"simpleenroll": ("redirect/refused", "other.example")},
    ),
    "a redirect off HTTPS": Habit(
        answers=first(
            "simpleenroll",
            answer(307, b"", "Location: http://127.0.0.1/.well-known/est/simpleenroll"),
        ),
        refused={"simpleenroll": ("redirect/not-followed", "")},
    ),
    # CSR attributes
    "csrattrs 204 with a coding": Habit(
        answers=first("csrattrs", answer(204, b"", "Content-Transfer-Encoding: base64"))
    ),
    "csrattrs 404": Habit(answers=first("csrattrs", answer(404, b"not found"))),
    "csrattrs 200 and nothing": Habit(
        answers=first("csrattrs", answer(200, b"", f"Content-Type: {foreign.ATTRS}"))
    ),
    "csrattrs 200, nothing and no type": Habit(answers=first("csrattrs", answer(200, b"\n"))),
    "csrattrs of no attributes": Habit(
        answers=first("csrattrs", answer(200, b"MAA=", f"Content-Type: {foreign.ATTRS}"))
    ),
    "csrattrs with a NUL": Habit(
        answers=first("csrattrs", answer(200, b"MAA=\n\0", f"Content-Type: {foreign.ATTRS}"))
    ),
    # Bags
    "the CA's certificate too, and first": Habit(
        answers=enroll_with(
            enrolled=lambda csr: foreign.bag([pki().ca.certificate, foreign.issued(csr)])
        )
    ),
    "an empty field for revocation lists": Habit(
        answers=enroll_with(
            enrolled=lambda csr: foreign.bag([foreign.issued(csr)], crls=b"\xa1\x00")
        )
    ),
    "a content of no bytes": Habit(
        answers=enroll_with(
            enrolled=lambda csr: foreign.bag([foreign.issued(csr)], content=tlv(0xA0, tlv(4)))
        )
    ),
    "somebody else's certificate": Habit(
        answers=enroll_with(enrolled=lambda _: write_certs_only([pki().client.certificate])),
        refused={"simpleenroll": ("response/other-key", "")},
    ),
    # TLS
    "TLS 1.2 alone": Habit(answers=enroll_with(), tls=ssl.TLSVersion.TLSv1_2),
    "TLS 1.2, linked, closes after a 401": Habit(
        answers=lambda: guarded(answer(401, b"", BASIC, then=Then.FORGET)),
        tls=ssl.TLSVersion.TLSv1_2,
        pop=PopMode.ALWAYS,
        asked=LOGGED_IN,
    ),
    "TLS 1.3 alone": Habit(answers=enroll_with(), tls=ssl.TLSVersion.TLSv1_3),
    "TLS 1.3 alone, and linking is a must": Habit(
        answers=enroll_with(),
        tls=ssl.TLSVersion.TLSv1_3,
        pop=PopMode.ALWAYS,
        refused={"simpleenroll": ("pop/no-binding", "")},
    ),
}


class Clock:
    """The real one, plus what the test lets pass."""

    def __init__(self) -> None:
        self._passed_s = 0.0

    def __call__(self) -> Instant:
        now = _clock.instant()
        wall = now.wall + timedelta(seconds=self._passed_s)
        return Instant(mono=now.mono + self._passed_s, wall=wall)

    def pass_until(self, moment: Instant) -> None:
        self._passed_s += max(0.0, moment.mono - self().mono)


def log_in(question: CredentialsRequested) -> Credentials | None:
    """Give the password once, to who asks for Basic or for nothing by name."""
    schemes = [challenge.known_scheme for challenge in question.challenges]
    takes_basic = not schemes or AuthScheme.BASIC in schemes
    return PASSED if takes_basic and question.attempt == 1 else None


def exchanges(server: ForeignServer, habit: Habit) -> tuple[ClientConfig, list[ClientExchange]]:
    device = new_device()
    session = ClientSession(
        EstUri.parse(server.url),
        trust=(pki().ca.certificate,),
        credentials=PASSED if habit.at_once else None,
        pop=habit.pop,
    )
    config = ClientConfig(signer=device.signer, credentials=log_in)
    attributes = [session.csrattrs()] if habit.has_csrattrs else []
    return config, [session.cacerts(), *attributes, session.enroll(device.info)]


Results = dict[str, ClientResult]


def run_on_sockets(server: ForeignServer, habit: Habit) -> Results:
    config, wanted = exchanges(server, habit)
    clock, results = Clock(), Results()
    with on_sockets.Client(config, clock=clock) as client:
        for exchange in wanted:
            while isinstance(result := client.run(exchange), RetryLater):
                clock.pass_until(result.at)
            results[exchange.operation.name] = result
    return results


def run_on_trio(server: ForeignServer, habit: Habit) -> Results:
    config, wanted = exchanges(server, habit)
    clock, results = Clock(), Results()

    async def main() -> None:
        async with on_trio.Client(config, clock=clock) as client:
            for exchange in wanted:
                while isinstance(result := await client.run(exchange), RetryLater):
                    clock.pass_until(result.at)
                results[exchange.operation.name] = result

    trio.run(main)
    return results


GOOD: Final[dict[str, type[ClientResult]]] = {
    "cacerts": CACertsReceived,
    "csrattrs": CSRAttrsReceived,
    "simpleenroll": Enrolled,
}


@pytest.mark.parametrize("run", [run_on_sockets, run_on_trio], ids=["sockets", "trio"])
@pytest.mark.parametrize("name", HABITS)
def test_a_habit_is_lived_with_or_refused_by_name(
    name: str, run: Callable[[ForeignServer, Habit], Results], tmp_path: Path
) -> None:
    habit = HABITS[name]
    with foreign_server(habit.answers(), server_tls(tmp_path, habit.tls)) as server:
        results = run(server, habit)
    for operation, result in results.items():
        if (refusal := habit.refused.get(operation)) is None:
            assert isinstance(result, GOOD[operation]), result
            continue
        assert isinstance(result, Failed), result
        assert result.code.startswith(refusal[0])
        assert refusal[1] in result.message
    assert habit.asked in (None, server.operations)


def test_a_password_goes_to_no_server_that_did_not_ask(tmp_path: Path) -> None:
    habit = Habit(answers=ask_login())
    with foreign_server(habit.answers(), server_tls(tmp_path)) as server:
        run_on_sockets(server, habit)
    assert [bool(asked.authorization) for _, asked in server.asked] == [False, False, False, True]


def test_no_post_follows_anything_but_a_200(tmp_path: Path) -> None:
    """Not even where the server would have gone on: who knows."""
    habit = Habit(answers=ask_login(BASIC))
    with foreign_server(habit.answers(), server_tls(tmp_path)) as server:
        run_on_sockets(server, habit)
    assert [number for number, _ in server.asked] == [1, 1, 2, 3]


@contextmanager
def sends_close_notify_at_once() -> Iterator[int]:
    """Answer one request a connection, with close_notify in the same segment; leave TCP open."""
    listener, context = socket.create_server(("127.0.0.1", 0)), tls_context()

    def serve(sock: socket.socket) -> None:
        engine = TlsEngine(context)
        stream = TlsSocket(sock, engine, _clock.instant)
        deadline = _clock.instant().mono + TIMEOUT_S
        stream.do_handshake(deadline)
        request = stream.receive_some(deadline)  # head and body are one record
        method, path, _ = request.decode("ascii").split(" ", 2)
        body = request.partition(b"\r\n\r\n")[2]
        asked = Asked(method=method, path=path, fields={}, body=body)
        engine.write(well_behaved()(asked).raw)
        engine.close()
        sock.settimeout(TIMEOUT_S)
        sock.sendall(engine.outgoing())
        sock.recv(1)  # a second request, which is one too many, or the client's close_notify
        sock.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                threads[-1].start()

    threads: list[threading.Thread] = []
    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(TIMEOUT_S)


@pytest.mark.parametrize("run", [run_on_sockets, run_on_trio], ids=["sockets", "trio"])
def test_a_close_notify_that_came_with_the_answer_is_seen_before_the_next_request(
    run: Callable[[ForeignServer, Habit], Results],
) -> None:
    with sends_close_notify_at_once() as port:
        habit = Habit(answers=enroll_with(), has_csrattrs=False)
        results = run(ForeignServer(port=port, answers=well_behaved()), habit)
    assert [type(result) for result in results.values()] == [CACertsReceived, Enrolled]
