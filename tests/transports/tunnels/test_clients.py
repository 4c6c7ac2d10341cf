"""Clients of each runtime through proxies: TLS from end to end, deadlines, logins kept apart."""

from __future__ import annotations

import asyncio
import socket
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final

import pytest
import trio

from est_core import (
    BasicCredentials,
    CACertsReceived,
    ClientExchange,
    ClientResult,
    ClientSession,
    Enrolled,
    EstUri,
    Failed,
    Password,
    PopMode,
    RetryLater,
    TlsVersion,
)
from est_transports.client_config import ClientConfig, ClientTimeouts
from est_transports.on_asyncio.client import Client as AsyncioClient
from est_transports.on_sockets.client import Client as SocketsClient
from est_transports.on_trio.client import Client as TrioClient
from est_transports.tunnels import Proxy
from tests.application import PASSWORD, USER
from tests.cli.canned import CannedServer, canned_server
from tests.pki import pki
from tests.transports.https_site import identity_of, new_device
from tests.transports.proxy_site import (
    OPEN,
    Converse,
    ProxySite,
    answering,
    proxy_site,
    read_head,
    silent,
    socks4,
    socks5,
)

Result = ClientResult | RetryLater
Run = Callable[..., list[Result]]


def on_sockets(config: ClientConfig, *exchanges: ClientExchange) -> list[Result]:
    with SocketsClient(config) as client:
        return [client.run(each) for each in exchanges]


def on_trio(config: ClientConfig, *exchanges: ClientExchange) -> list[Result]:
    async def main() -> list[Result]:
        async with TrioClient(config) as client:
            return [await client.run(each) for each in exchanges]

    return trio.run(main)


def on_asyncio(config: ClientConfig, *exchanges: ClientExchange) -> list[Result]:
    async def main() -> list[Result]:
        async with AsyncioClient(config) as client:
            return [await client.run(each) for each in exchanges]

    return asyncio.run(main())


RUNTIMES: Final = (on_sockets, on_trio, on_asyncio)


@pytest.fixture(params=RUNTIMES, ids=[each.__name__ for each in RUNTIMES])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs exchanges with a client of one of the runtimes."""
    found: Run = request.param
    return found


@pytest.fixture
def server() -> Iterator[CannedServer]:
    """An EST server."""
    with canned_server(identity=pki().server) as running:
        yield running


def uri_of(server: CannedServer) -> EstUri:
    return EstUri.parse(f"https://localhost:{server.port}")


def session_of(server: CannedServer, **changes: object) -> ClientSession:
    trust = (pki().ca.certificate,)
    return ClientSession(uri_of(server), trust=trust, **changes)  # type: ignore[arg-type]


def config_of(proxy: str, **changes: object) -> ClientConfig:
    return ClientConfig(proxy=Proxy.parse(proxy), **changes)  # type: ignore[arg-type]


def failed(result: Result) -> str:
    assert isinstance(result, Failed)
    return f"{result.code} {result.message}"


KINDS: Final[dict[str, tuple[Converse, bytes]]] = {
    "http": (answering(OPEN), b"localhost"),
    "socks4": (socks4, b"127.0.0.1"),
    "socks4a": (socks4, b"localhost"),
    "socks5h": (socks5, b"localhost"),
}


@pytest.mark.parametrize("scheme", KINDS)
def test_exchanges_go_through_a_proxy_over_one_connection(
    run: Run, server: CannedServer, scheme: str
) -> None:
    converse, asked = KINDS[scheme]
    with proxy_site(converse) as proxy:
        session = session_of(server)
        results = run(config_of(proxy.url(scheme)), session.cacerts(), session.cacerts())
    assert [type(each) for each in results] == [CACertsReceived, CACertsReceived]
    assert proxy.connections == server.connections == 1
    assert asked in proxy.heads[0]
    if scheme == "http":
        host = b"localhost:%d" % server.port
        assert proxy.heads == [b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (host, host)]


def test_socks5_is_given_an_address_that_was_looked_up_here(run: Run, server: CannedServer) -> None:
    with proxy_site(socks5) as proxy:
        uri = EstUri.parse(f"https://127.0.0.1:{server.port}")
        session = ClientSession(uri, trust=(pki().ca.certificate,))
        run(config_of(proxy.url("socks5")), session.cacerts())
        assert proxy.heads == [b"127.0.0.1"]
        session = ClientSession(EstUri.parse("https://no.invalid"), trust=(pki().ca.certificate,))
        (result,) = run(config_of(proxy.url("socks5")), session.cacerts())
    assert failed(result).startswith("connect/unknown-host there is no host no.invalid, asked here")
    assert proxy.connections == 1


@pytest.mark.req("EST-174")
def test_a_request_is_linked_to_the_tls_inside_of_the_tunnel(run: Run) -> None:
    """The proxy passes bytes on: what is linked to the connection arrives."""
    device = new_device()
    with (
        canned_server(identity=pki().server, require_pop=True) as server,
        proxy_site(answering(OPEN)) as proxy,
    ):
        session = session_of(
            server,
            pop=PopMode.ALWAYS,
            max_version=TlsVersion.TLS_1_2,
            credentials=BasicCredentials(user=USER, password=PASSWORD),
        )
        config = config_of(proxy.url(), signer=device.signer)
        (result,) = run(config, session.enroll(device.info))
    assert isinstance(result, Enrolled)
    assert proxy.passed_on == 1


def test_the_certificate_is_the_servers_not_the_proxys(run: Run, server: CannedServer) -> None:
    """A proxy that leads to another server is found out, whatever its own name is."""

    def elsewhere(client: socket.socket, site: ProxySite) -> tuple[str, int]:
        read_head(client)
        client.sendall(OPEN)
        return "127.0.0.1", server.port

    uri = EstUri.parse("https://other.example:443")
    with proxy_site(elsewhere) as proxy:
        session = ClientSession(uri, trust=(pki().ca.certificate,))
        (result,) = run(config_of(proxy.url()), session.cacerts())
    assert failed(result).startswith("server/name-mismatch")


ASKS: Final = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
CLOSES: Final = ASKS.replace(b"Content", b"Connection: close\r\nContent")


@pytest.mark.parametrize("denied, connections", [(ASKS, 1), (CLOSES, 2)])
def test_a_login_opens_the_tunnel_over_the_same_connection_or_another(
    run: Run, server: CannedServer, denied: bytes, connections: int
) -> None:
    with proxy_site(answering(denied, OPEN)) as proxy:
        (result,) = run(config_of(proxy.url(login="scar:pride@")), session_of(server).cacerts())
    assert isinstance(result, CACertsReceived)
    assert proxy.connections == connections
    assert [b"Proxy-Authorization" in head for head in proxy.heads] == [False, True]


def test_neither_login_goes_to_the_other(run: Run) -> None:
    """The proxy sees nothing of the server's login, and the server nothing of the proxy's."""
    device = new_device()
    with (
        canned_server(identity=pki().server) as server,
        proxy_site(answering(ASKS, OPEN)) as proxy,
    ):
        config = config_of(
            proxy.url(login="scar:pride@"),
            signer=device.signer,
            credentials=lambda _asked: Password(user=USER, password=PASSWORD),
        )
        (result,) = run(config, session_of(server).enroll(device.info))
        assert isinstance(result, Enrolled)
    said = b"".join(proxy.heads)
    assert said.count(b"Authorization") == said.count(b"Proxy-Authorization: Basic ") == 1
    assert b64encode(f"{USER}:{PASSWORD}".encode()) not in said


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"401 Unauthorized"])
def test_a_server_in_the_tunnel_that_asks_for_the_proxys_login_does_not_get_it(
    run: Run, status: bytes
) -> None:
    from tests.transports.tunnels.tls_answer import answering_server

    answer = b"HTTP/1.1 " + status + b"\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    with answering_server(answer) as origin, proxy_site(answering(OPEN)) as proxy:
        uri = EstUri.parse(f"https://localhost:{origin.port}")
        session = ClientSession(uri, trust=(pki().ca.certificate,))
        (result,) = run(config_of(proxy.url(login="scar:pride@")), session.cacerts())
    assert isinstance(result, Failed)
    assert len(origin.requests) == 1
    assert b"uthorization" not in origin.requests[0]


@pytest.mark.parametrize(
    "answer, code",
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy/refused"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://h/\r\n\r\n", "proxy/status"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "proxy/server-unreachable"),
        (b"SSH-2.0-x\r\n", "proxy/malformed"),
        (b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n", "proxy/login-required"),
        (OPEN + b"\x15\x03\x03\x00\x02\x02\x28", "proxy/unasked-bytes"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", "proxy/closed"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_is_told_from_the_server(
    run: Run, server: CannedServer, answer: bytes, code: str
) -> None:
    def converse(client: socket.socket, site: ProxySite) -> None:
        read_head(client)
        client.sendall(answer)

    with proxy_site(converse) as proxy:
        (result,) = run(config_of(proxy.url()), session_of(server).cacerts())
    assert failed(result).startswith(f"{code} http://127.0.0.1:{proxy.port} ")
    assert server.connections == 0


def test_a_proxy_that_resets_the_connection_has_closed_it(run: Run, server: CannedServer) -> None:
    def reset(client: socket.socket, site: ProxySite) -> None:
        read_head(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with proxy_site(reset) as proxy:
        (result,) = run(config_of(proxy.url()), session_of(server).cacerts())
    assert failed(result).startswith("proxy/closed")


HURRIED: Final = ClientTimeouts(connect_s=0.2)


def test_a_proxy_that_says_nothing_is_not_waited_for(run: Run, server: CannedServer) -> None:
    with proxy_site(silent) as proxy:
        config = config_of(proxy.url(), timeouts=HURRIED)
        (result,) = run(config, session_of(server).cacerts())
    assert failed(result).startswith("proxy/timeout")
    assert proxy.connections == 1


def test_a_proxy_that_drips_has_no_more_time(run: Run, server: CannedServer) -> None:
    """The deadline is that of the whole way, and no byte moves it."""

    def drip(client: socket.socket, site: ProxySite) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n")
        client.settimeout(0.05)
        while True:
            client.sendall(b"X: y\r\n")
            site.passed_on += 1
            try:
                if not client.recv(4096):
                    return
            except TimeoutError:
                continue

    with proxy_site(drip) as proxy:
        config = config_of(proxy.url(), timeouts=HURRIED)
        (result,) = run(config, session_of(server).cacerts())
    assert failed(result).startswith("proxy/timeout")
    assert proxy.passed_on > 1


def test_a_proxy_that_is_not_there_is_named(run: Run, server: CannedServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url, code in (
        (f"http://127.0.0.1:{port}", "proxy/unreachable nobody listens where http://127.0.0.1:"),
        ("http://proxy.invalid:1", "proxy/unknown-host there is no host proxy.invalid"),
    ):
        (result,) = run(config_of(url), session_of(server).cacerts())
        assert failed(result).startswith(code)


@pytest.mark.parametrize("family", [socket.AF_INET, 999], ids=["refuses", "is-of-no-kind-here"])
def test_each_address_of_a_proxy_is_tried(
    run: Run, server: CannedServer, monkeypatch: pytest.MonkeyPatch, family: int
) -> None:
    """The first one that there is refuses, as ::1 does where a proxy has IPv4 alone."""
    look_up = socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0)) as listener:
        deaf = listener.getsockname()[1]

    def two_of_them(host: str, port: int, *more: int, **named: int) -> list[object]:
        found = list(look_up("127.0.0.1", port, *more, **named))
        if host == "proxy.example":
            found = [(family, *look_up("127.0.0.1", deaf, *more, **named)[0][1:]), *found]
        return [*found]

    monkeypatch.setattr(socket, "getaddrinfo", two_of_them)
    with proxy_site(answering(OPEN)) as proxy:
        config = config_of(f"http://proxy.example:{proxy.port}")
        (result,) = run(config, session_of(server).cacerts())
    assert isinstance(result, CACertsReceived)
    assert proxy.connections == 1


def test_a_server_that_is_excepted_is_reached_directly(run: Run, server: CannedServer) -> None:
    proxy = Proxy(scheme="http", host="proxy.invalid", port=1, exceptions=("localhost",))
    (result,) = run(ClientConfig(proxy=proxy), session_of(server).cacerts())
    assert isinstance(result, CACertsReceived)


def test_whoever_is_pointed_to_is_judged_by_its_own_name(run: Run, server: CannedServer) -> None:
    """A redirect leads through the proxy although the first server was excepted."""
    from tests.transports.tunnels.tls_answer import answering_server

    target = f"https://127.0.0.1:{server.port}/.well-known/est/cacerts"
    moved = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    with answering_server(moved) as origin, proxy_site(answering(OPEN)) as site:
        proxy = Proxy(scheme="http", host="127.0.0.1", port=site.port, exceptions=("localhost",))
        config = ClientConfig(proxy=proxy, follow=lambda _uri: True)
        uri = EstUri.parse(f"https://localhost:{origin.port}")
        session = ClientSession(uri, trust=(pki().ca.certificate,))
        (result,) = run(config, session.cacerts())
    assert b"CONNECT 127.0.0.1:%d " % server.port in site.heads[0]
    assert len(origin.requests) == 1
    assert len(site.heads) == 1
    assert isinstance(result, CACertsReceived)


def test_coap_goes_through_no_proxy(run: Run) -> None:
    identity = identity_of(pki().client)
    session = ClientSession(
        EstUri.parse("coaps://localhost:1"),
        trust=(pki().ca.certificate,),
        identity=identity.certificate,
    )
    config = config_of("http://proxy.invalid:1", identities=(identity,))
    (result,) = run(config, session.cacerts())
    assert failed(result).startswith("proxy/no-datagrams coaps://localhost:1 is spoken to by UDP")
