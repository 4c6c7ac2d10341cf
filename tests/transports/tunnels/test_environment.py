"""The proxy of the environment: which variable wins, and what is never read."""

from __future__ import annotations

import pytest

from est_core import EstUri, LocalProtocolError
from est_transports.tunnels import proxy_from_environment

URI = EstUri.parse("https://est.example")
COAPS = EstUri.parse("coaps://est.example")


def proxy_named(environ: dict[str, str], uri: EstUri = URI) -> str | None:
    """Return the proxy that such an environment names."""
    proxy = proxy_from_environment(uri, environ)
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://a:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "a:1"}, "http://a:1"),
        ({"https_proxy": "http://b:1", "HTTPS_PROXY": "http://a:1"}, "http://b:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://a:1"}, None),
        ({"ALL_PROXY": "socks5h://a:1"}, "socks5h://a:1"),
        ({"all_proxy": "socks5h://b:1", "ALL_PROXY": "socks5h://a:1"}, "socks5h://b:1"),
        ({"https_proxy": "http://b:1", "all_proxy": "http://a:1"}, "http://b:1"),
        ({"https_proxy": "", "all_proxy": "http://a:1"}, "http://a:1"),
        ({"http_proxy": "http://a:1", "HTTP_PROXY": "http://a:1"}, None),
    ],
)
def test_variables_are_read_in_this_order(environ: dict[str, str], expected: str | None) -> None:
    assert proxy_named(environ) == expected


def test_of_coap_no_variable_but_that_for_all_is_about() -> None:
    assert proxy_named({"HTTPS_PROXY": "http://a:1"}, COAPS) is None
    assert proxy_named({"ALL_PROXY": "http://a:1"}, COAPS) == "http://a:1"


def test_exceptions_go_along_for_servers_that_this_one_points_to() -> None:
    environ = {"HTTPS_PROXY": "http://a:1", "NO_PROXY": "est.example, 10.0.0.0/8 ,,[::1]\t*.b"}
    proxy = proxy_from_environment(URI, environ)
    assert proxy is not None
    assert proxy.exceptions == ("est.example", "10.0.0.0/8", "[::1]", "*.b")
    assert not proxy.is_for(URI)
    assert proxy.is_for(EstUri.parse("https://other.example"))


def test_small_letters_win_for_exceptions_too() -> None:
    environ = {"HTTPS_PROXY": "http://a:1", "NO_PROXY": "*", "no_proxy": "b"}
    proxy = proxy_from_environment(URI, environ)
    assert proxy is not None
    assert proxy.exceptions == ("b",)


def test_what_is_no_proxy_is_refused_with_its_variable_and_without_its_text() -> None:
    with pytest.raises(LocalProtocolError, match=r"^ALL_PROXY: a proxy is HOST:PORT") as caught:
        proxy_named({"ALL_PROXY": "http://user:wasp-nest@host"})
    assert "wasp-nest" not in str(caught.value)
