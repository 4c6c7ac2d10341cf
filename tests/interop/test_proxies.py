"""Our client's commands through proxies of other makers: enrolled for real, and refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.conftest import PeerFinder
from tests.deployment import PASSWORD as EST_PASSWORD
from tests.deployment import USER as EST_USER
from tests.deployment import Deployment, est
from tests.interop import proxy_servers
from tests.interop.proxy_servers import PASSWORD, USER, RealProxy
from tests.programs import Ended

Begin = Callable[[PeerFinder], Iterator[RealProxy]]


def _tinyproxy(peer: PeerFinder) -> Iterator[RealProxy]:
    return proxy_servers.tinyproxy(peer("tinyproxy"))


def _tinyproxy_login(peer: PeerFinder) -> Iterator[RealProxy]:
    return proxy_servers.tinyproxy(peer("tinyproxy"), f"BasicAuth {USER} {PASSWORD}")


def _squid(scheme: str) -> Begin:
    return lambda peer: proxy_servers.squid(peer("/usr/sbin/squid"), scheme)


def _dante(peer: PeerFinder) -> Iterator[RealProxy]:
    return proxy_servers.dante(peer("/usr/sbin/danted"))


def _microsocks(peer: PeerFinder) -> Iterator[RealProxy]:
    return proxy_servers.microsocks(peer("microsocks"), login=False)


def _microsocks_login(peer: PeerFinder) -> Iterator[RealProxy]:
    return proxy_servers.microsocks(peer("microsocks"), login=True)


def started(begin: Begin, peer: PeerFinder) -> AbstractContextManager[RealProxy]:
    return contextmanager(begin)(peer)


def enroll(server: Deployment, directory: Path, *options: str, host: str = "localhost") -> Ended:
    """Enroll a device, by its user's password."""
    (directory / "proxy-password").write_text(f"{PASSWORD}\n")
    return est(
        *("enroll", f"https://{host}:{server.port}", "--trust", str(server.ca_file)),
        *("--user", EST_USER, "--password-stdin", "--cn", "device"),
        *("--out", str(directory / "device"), *options),
        stdin=EST_PASSWORD.encode(),
    )


@pytest.mark.parametrize(
    "begin, scheme, user",
    [
        (_tinyproxy, "http", ""),
        (_tinyproxy_login, "http", USER),
        (_squid("basic"), "http", USER),
        (_squid("digest"), "http", USER),
        (_squid("both"), "http", USER),
        (_dante, "socks4", ""),
        (_dante, "socks5", ""),
        (_dante, "socks5h", ""),
        (_microsocks, "socks5h", ""),
        (_microsocks_login, "socks5", USER),
        (_microsocks_login, "socks5h", USER),
    ],
    ids=[
        *("tinyproxy", "tinyproxy-basic", "squid-basic", "squid-digest", "squid-both"),
        *("dante-socks4", "dante-socks5", "dante-socks5h"),
        *("microsocks", "microsocks-login", "microsocks-login-h"),
    ],
)
def test_a_device_enrolls_through_a_real_proxy(
    server: Deployment,
    peer: PeerFinder,
    tmp_path: Path,
    begin: Begin,
    scheme: str,
    user: str,
) -> None:
    """With the request linked to the TLS connection, which proves that it is one to the server."""
    password = ("--proxy-password-file", str(tmp_path / "proxy-password")) if user else ()
    with started(begin, peer) as proxy:
        through = ("--proxy", proxy.url(scheme, user=user), *password)
        enroll(server, tmp_path, *through, "--pop", "always").checked()
    assert (tmp_path / "device" / "cert.pem").exists()


def test_dante_looks_a_name_up_by_socks4a(
    server: Deployment, peer: PeerFinder, tmp_path: Path
) -> None:
    with started(_dante, peer) as proxy:
        enroll(server, tmp_path, "--proxy", proxy.url("socks4a"), host="127.0.0.1").checked()


@pytest.mark.parametrize(
    "begin, scheme, login, expected",
    [
        (_tinyproxy_login, "http", "", "[proxy/login-required]"),
        (_tinyproxy_login, "http", f"{USER}:wrong", "[proxy/login-refused]"),
        (_squid("digest"), "http", "", "wants a login, by Digest"),
        (_squid("digest"), "http", f"{USER}:wrong", "[proxy/login-refused]"),
        (_squid("basic"), "http", f"{USER}:wrong", "[proxy/login-refused]"),
        (_microsocks_login, "socks5h", "", "[proxy/login-required]"),
        (_microsocks_login, "socks5h", f"{USER}:wrong", "[proxy/login-refused]"),
        (_dante, "http", "", "[proxy/"),
        (_microsocks, "socks4a", "", "[proxy/"),
    ],
)
def test_a_real_proxy_that_refuses_is_told_with_exit_code_4(
    server: Deployment,
    peer: PeerFinder,
    tmp_path: Path,
    begin: Begin,
    scheme: str,
    login: str,
    expected: str,
) -> None:
    with started(begin, peer) as proxy:
        ended = enroll(server, tmp_path, "--proxy", proxy.url(scheme, user=login))
    assert ended.code == 4, ended.err
    assert expected in ended.err
    assert "wrong" not in ended.err


@pytest.mark.parametrize(
    "begin, scheme, expected",
    [
        (_tinyproxy, "http", "answered 500 Unable to connect [proxy/status]"),
        (_microsocks, "socks5h", "[proxy/server-unreachable]"),
        (_dante, "socks5h", "[proxy/server-unreachable]"),
    ],
    ids=["tinyproxy", "microsocks", "dante"],
)
def test_a_server_that_a_real_proxy_does_not_reach_is_told_from_the_proxy(
    peer: PeerFinder, server: Deployment, begin: Begin, scheme: str, expected: str
) -> None:
    with started(begin, peer) as proxy:
        trust = ("--trust", str(server.ca_file))
        ended = est("cacerts", "https://127.0.0.1:1", *trust, "--proxy", proxy.url(scheme))
    assert ended.code == 4
    assert expected in ended.err


def test_a_rule_of_dante_is_told(peer: PeerFinder, server: Deployment, tmp_path: Path) -> None:
    def blocked(peer: PeerFinder) -> Iterator[RealProxy]:
        return proxy_servers.dante(peer("/usr/sbin/danted"), verdict="block")

    with started(blocked, peer) as proxy:
        ended = enroll(server, tmp_path, "--proxy", proxy.url("socks5h"))
    assert ended.code == 4
    assert "[proxy/refused]" in ended.err


def test_a_filter_of_tinyproxy_is_told(
    peer: PeerFinder, server: Deployment, tmp_path: Path
) -> None:
    def filtered(peer: PeerFinder) -> Iterator[RealProxy]:
        return proxy_servers.tinyproxy(peer("tinyproxy"), "ConnectPort 1")

    with started(filtered, peer) as proxy:
        ended = enroll(server, tmp_path, "--proxy", proxy.url("http"))
    assert ended.code == 4
    assert "[proxy/refused]" in ended.err
