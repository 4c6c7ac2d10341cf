"""Requests of foreign clients, byte for byte as they send them, against both of our servers.

Those programs that Debian has are run themselves, next door. Here is what the others send: libEST's
client (3.2.0p), a client in Go, one in Node.js, an old one in Python, Bouncy Castle's (1.72), and
shell recipes. Each row of CLIENTS says what such a client sends on one connection and what it needs
to see in the answers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import pytest
import trio
from cryptography import x509

from est_core import Limits
from est_core.asn1.cms import read_certs_only
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import assemble
from est_transports.on_trio import Server
from tests.application import PASSWORD, USER, FakeApplication
from tests.interop import foreign_answers as foreign
from tests.pki import pki
from tests.transports.https_site import Log, identity_of, new_device, service, tls_context
from tests.transports.sockets_site import (
    RawClient,
    TrioServer,
    client_engine,
    in_trio_thread,
    running,
)

LOGIN: Final = b"Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())
PADDED: Final = b"Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}\0-".encode())
ENROLL: Final = "simpleenroll"


def csr() -> bytes:
    """A request that is signed, in DER."""
    device, limits = new_device("device-1"), Limits()
    algorithm = signature_algorithm_for(public_key_facts(device.info.spki, limits))
    signature = device.signer.sign(device.info.der(), algorithm)
    return assemble(device.info.der(), algorithm, signature, limits)


def get(operation: str, *lines: bytes, method: str = "GET", version: str = "1.1") -> bytes:
    first = f"{method} /.well-known/est/{operation} HTTP/{version}".encode()
    return b"\r\n".join([first, *lines, b"", b""])


def post(body: bytes, *lines: bytes, operation: str = ENROLL) -> bytes:
    return get(operation, *lines, b"Content-Length: %d" % len(body), method="POST") + body


def pem(der: bytes) -> bytes:
    label = b"CERTIFICATE REQUEST-----\n"
    return b"-----BEGIN " + label + foreign.lf_64(der) + b"-----END " + label


def go(operation: str, body: Callable[[bytes], bytes], *lines: bytes) -> bytes:
    """Chunked, always, and in lines of 76 with CRLF."""
    head = get(
        operation,
        b"Host: localhost:8443",
        b"User-Agent: Go-http-client/1.1",
        b"Transfer-Encoding: chunked",
        *lines,
        b"Content-Type: application/pkcs10",
        b"Content-Transfer-Encoding: base64",
        b"Accept-Encoding: gzip",
        method="POST",
    )
    sent = body(csr())
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent)


def libest(agent: bytes, *lines: bytes, operation: str = ENROLL) -> bytes:
    """Two bytes too many after the body, and an Authorization even where there is nothing in it."""
    fields = (b"User-Agent: " + agent, b"Connection: keep-alive", b"Host: localhost:8443")
    return (
        post(
            foreign.lf_64(csr()),
            *fields,
            b"Accept: */*",
            b"Content-Type: application/pkcs10",
            *lines,
            operation=operation,
        )
        + b"\r\n"
    )


HOST: Final = b"Host: localhost"
PKCS10: Final = b"Content-Type: application/pkcs10"


@dataclass(frozen=True, kw_only=True)
class Client:
    """What a client sends, piece by piece; each gets an answer of that status.

    `needs` must be found in the last answer, `spurns` must not. `certificate`: it shows one.
    """

    sends: Callable[[], list[bytes]]
    gets: list[int]
    needs: bytes = b""
    spurns: bytes = rb"\A\Z"
    certificate: bool = False


WRAPPED: Final = rb"(?s)certs-only\r\n.*\r\n\r\n(?:[A-Za-z0-9+/]{64}\n)+[A-Za-z0-9+/=]{1,64}\n\Z"
ONE_LINE: Final = rb"(?s)certs-only\r\n.*\r\n\r\n[A-Za-z0-9+/=]+\n\Z"
EMPTY: Final = rb"(?s)Content-Length: 0\r\n.*\r\n\r\n\Z"

CLIENTS: Final[dict[str, Client]] = {
    "strongSwan: one line without LF, and no agent": Client(
        sends=lambda: [
            get("cacerts", HOST),
            post(foreign.in_one_line(csr()), HOST, PKCS10, LOGIN),
        ],
        gets=[200, 200],
        needs=ONE_LINE,
    ),
    "Bouncy Castle: asks first, and reads no body of a 401": Client(
        sends=lambda: [
            post(
                foreign.lf_64(csr()),
                HOST,
                PKCS10,
                b"Content-Transfer-Encoding: base64",
                b"Connection: close",
            )
        ],
        gets=[401],
        needs=EMPTY,
    ),
    "Bouncy Castle: with its password": Client(
        sends=lambda: [
            post(
                foreign.lf_64(csr()),
                HOST,
                PKCS10,
                b"Content-Transfer-Encoding: base64",
                LOGIN,
                b"Connection: close",
            )
        ],
        gets=[200],
        needs=rb"Content-Transfer-Encoding: base64\r\n",
    ),
    **{
        f"libEST, as {agent.decode()}": Client(
            sends=partial(
                lambda agent: [
                    get("cacerts", b"User-Agent: " + agent, HOST, b"Accept: */*"),
                    libest(agent),
                    libest(agent, LOGIN),
                ],
                agent,
            ),
            gets=[200, 401, 200],
            needs=WRAPPED,
        )
        for agent in (b"Cisco EST client 1.0", b"libest 3.2.0p")
    },
    "libEST: an empty Authorization with a renewal": Client(
        sends=lambda: [libest(b"libest", b"Authorization: ", operation="simplereenroll")],
        gets=[200],
        needs=WRAPPED,
        certificate=True,
    ),
    "Go: chunked": Client(
        sends=lambda: [
            get("cacerts", HOST, b"Accept: application/pkcs7-mime", b"Accept-Encoding: gzip"),
            go(ENROLL, foreign.crlf_76),
            go(ENROLL, foreign.crlf_76, LOGIN),
        ],
        gets=[200, 401, 200],
        needs=ONE_LINE,
        spurns=rb"\n(?:Content|Transfer)-Encoding",
    ),
    "curl: raw DER": Client(
        sends=lambda: [post(csr(), HOST, b"User-Agent: curl/8.5.0", b"Accept: */*", PKCS10, LOGIN)],
        gets=[200],
        needs=ONE_LINE,
    ),
    "curl: looks for the scheme with an empty POST": Client(
        sends=lambda: [
            post(b"", HOST, b"User-Agent: curl/8.5.0", b"Accept: */*", PKCS10),
            post(foreign.lf_64(csr()), HOST, b"Accept: */*", PKCS10, LOGIN),
        ],
        gets=[401, 200],
        needs=ONE_LINE,
    ),
    "curl -I": Client(
        sends=lambda: [get("cacerts", HOST, method="HEAD"), get("cacerts", HOST)],
        gets=[200, 200],
        needs=rb"application/pkcs7-mime\r\n",
    ),
    "Python: PEM": Client(
        sends=lambda: [
            post(
                pem(csr()),
                HOST,
                b"User-Agent: python-requests/2.9.1",
                b"Accept-Encoding: gzip, deflate",
                b"Accept: */*",
                b"Connection: keep-alive",
                PKCS10,
                LOGIN,
            )
        ],
        gets=[200],
        needs=ONE_LINE,
        spurns=rb"Content-Encoding",
    ),
    "Node.js: small letters": Client(
        sends=lambda: [
            post(
                foreign.one_line_lf(csr()),
                b"host: localhost:8443",
                b"content-type: application/pkcs10; charset=utf-8",
                b"accept: text/plain",
                LOGIN.replace(b"Authorization: Basic", b"authorization: basic"),
            )
        ],
        gets=[200],
        needs=ONE_LINE,
    ),
    "HTTP/1.0, which needs no Host": Client(
        sends=lambda: [get("cacerts", version="1.0")],
        gets=[200],
        needs=rb"Connection: close\r\n",
    ),
    "an absolute target, as to a proxy": Client(
        sends=lambda: [get("cacerts", HOST).replace(b"GET /", b"GET https://localhost:8443/")],
        gets=[200],
    ),
    "a password padded with NUL": Client(
        sends=lambda: [post(foreign.lf_64(csr()), HOST, PKCS10, PADDED)], gets=[400]
    ),
    "no attributes wanted": Client(
        sends=lambda: [get("csrattrs", HOST)], gets=[204], spurns=rb"Content-Length"
    ),
}


@contextmanager
def on_sockets() -> Iterator[int]:
    with running() as est:
        yield est.port


@contextmanager
def on_trio() -> Iterator[int]:
    context, ports = tls_context(), []

    async def begin() -> tuple[TrioServer, object]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ports.append(listeners[0].socket.getsockname()[1])
        server = Server(
            context_source=lambda: context,
            application=FakeApplication(),
            config=service(),
            observe=Log(),
        )
        return server, listeners

    with in_trio_thread(begin):
        yield ports[0]


def hear_one(client: RawClient) -> bytes:
    """Return one answer with its body."""
    heard = b""
    while (end := heard.find(b"\r\n\r\n")) < 0:
        heard += client.hear()
    length = re.search(rb"Content-Length: ([0-9]+)", heard[:end])
    while len(heard) < end + 4 + (int(length[1]) if length else 0):
        heard += client.hear()
    return heard


@pytest.mark.req("EST-016", "EST-019")
@pytest.mark.parametrize("serve", [on_sockets, on_trio], ids=["sockets", "trio"])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_gets_what_it_can_read(
    name: str, serve: Callable[[], AbstractContextManager[int]]
) -> None:
    client = CLIENTS[name]
    identity = identity_of(pki().client) if client.certificate else None
    with serve() as port:
        raw = RawClient(port, client_engine(identity)).shake_hands()
        answers = []
        for piece in client.sends():
            raw.say(piece)
            is_head = piece.startswith(b"HEAD")
            answers.append(raw.hear() if is_head else hear_one(raw))
        raw.close()
    assert [int(answer[9:12]) for answer in answers] == client.gets
    assert all(len(answer.partition(b"\r\n\r\n")[0]) < 1000 for answer in answers)
    assert re.search(client.needs, answers[-1])
    assert not re.search(client.spurns, answers[-1])
    if client.gets[-1] == 200 and b"certs-only" in answers[-1]:
        bag = base64.b64decode(answers[-1].partition(b"\r\n\r\n")[2])
        found = read_certs_only(bag, Limits())
        assert len(found) == 1
        assert isinstance(found[0], x509.Certificate)
