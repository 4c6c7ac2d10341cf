"""The options about a proxy: what goes together, what is read, and what an error never shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli import main
from tests.cli.canned import CannedServer, canned_server
from tests.pki import pki
from tests.transports.proxy_site import OPEN, ProxySite, answering, proxy_site

SECRET = "be-prepared"
ASKS = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
BASIC = b"Proxy-Authorization: Basic c2NhcjpiZS1wcmVwYXJlZA=="


class Terminal:
    """Runs `est cacerts` against a server that is trusted."""

    def __init__(
        self, server: CannedServer, directory: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._server = server
        self._capsys = capsys
        trust = directory / "ca.pem"
        trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
        self._trust = str(trust)

    def __call__(self, *options: str) -> tuple[int, str]:
        """Return exit code and standard error."""
        code = main(["cacerts", self._server.url, "--trust", self._trust, *options])
        return code, self._capsys.readouterr().err


@pytest.fixture
def est(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    with canned_server() as server:
        yield Terminal(server, tmp_path, capsys)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxySite]:
    """A proxy that wants a login once; the environment names none."""
    for name in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with proxy_site(answering(ASKS, OPEN)) as site:
        yield site


def test_a_password_comes_from_a_file(est: Terminal, proxy: ProxySite, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\nsecond line\n")
    through = ("--proxy", proxy.url(login="scar@"), "--proxy-password-file", str(file))
    assert est(*through) == (0, "")
    assert BASIC in proxy.heads[1]


def test_a_password_may_stand_in_the_url(est: Terminal, proxy: ProxySite) -> None:
    assert est("--proxy", proxy.url(login=f"scar:{SECRET}@")) == (0, "")
    assert BASIC in proxy.heads[1]


def test_the_environment_is_read_where_it_is_asked_for(
    est: Terminal, proxy: ProxySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url(login=f"scar:{SECRET}@"))
    assert est() == (0, "")
    assert proxy.connections == 0
    assert est("--proxy-from-environment") == (0, "")
    assert proxy.connections == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    assert est("--proxy-from-environment") == (0, "")
    assert proxy.connections == 1


def test_without_a_proxy_in_the_environment_there_is_none(est: Terminal, proxy: ProxySite) -> None:
    assert est("--proxy-from-environment") == (0, "")


@pytest.mark.parametrize(
    "options, message",
    [
        (("--proxy", "h:1", "--proxy-from-environment"), "exclude each other"),
        (("--proxy-password-file", "f"), "goes with --proxy"),
        (("--proxy-from-environment", "--proxy-password-file", "f"), "goes with --proxy"),
        (("--proxy", "a@h:1", "--proxy-password-file", "-"), "not standard input"),
        (("--proxy", "https://h:1"), "TLS to the proxy itself is not supported"),
        (("--proxy", f"http://scar:{SECRET}@h"), "a proxy is HOST:PORT, with its port"),
        (("--proxy", f"ftp://scar:{SECRET}@h:1"), "begins with one of http, socks4"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    est: Terminal, options: tuple[str, ...], message: str
) -> None:
    code, err = est(*options)
    assert code == 2
    assert message in err
    assert SECRET not in err


def test_a_password_is_given_once_and_in_a_file_that_is_there(
    est: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    code, err = est("--proxy", "a@h:1", "--proxy-password-file", str(file))
    assert (code, "cannot be read" in err) == (5, True)
    file.write_text(f"{SECRET}\n")
    for url, message in (
        ("http://a:b@h:1", "given twice"),
        ("http://h:1", "goes with a user"),
        ("socks4://a@h:1", "SOCKS4 carries a user and no password"),
    ):
        code, err = est("--proxy", url, "--proxy-password-file", str(file))
        assert (code, message in err) == (2, True), err
        assert SECRET not in err


def test_a_variable_that_is_no_proxy_is_named_and_not_shown(
    est: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://scar:{SECRET}@h")
    code, err = est("--proxy-from-environment")
    assert code == 2
    assert err.startswith("est: https_proxy: a proxy is HOST:PORT, with its port; ")
    assert SECRET not in err


def test_a_failure_has_the_proxys_code_and_what_to_do(est: Terminal, proxy: ProxySite) -> None:
    code, err = est("--proxy", proxy.url())
    assert code == 4
    assert f"{proxy.url()} wants a login, by Basic, and has none [proxy/login-required]; " in err
    assert err.endswith("give the proxy's user, USER@HOST:PORT, and --proxy-password-file\n")
