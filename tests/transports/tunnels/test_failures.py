"""What is wrong before a tunnel is begun, and which of a server's addresses is asked for."""

from __future__ import annotations

import socket

import pytest

from est_core import EstUri, Failed
from est_transports.drive.client import ConnectError, connect_failure
from est_transports.tunnels import Proxy
from est_transports.tunnels.failures import address_for, not_reached

URI = EstUri.parse("https://est.example")
SIX = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::7", 443, 0, 0))
FOUR = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))


def proxy(scheme: str) -> Proxy:
    return Proxy(scheme=scheme, host="proxy.example", port=1080)


def test_the_first_address_that_the_proxy_has_room_for_is_asked_for() -> None:
    assert address_for(proxy("socks5"), URI, [SIX, FOUR]) == "2001:db8::7"
    assert address_for(proxy("socks4"), URI, [SIX, FOUR]) == "192.0.2.7"
    with pytest.raises(ConnectError, match="has no IPv4 address") as caught:
        address_for(proxy("socks4"), URI, [SIX])
    assert caught.value.code == "proxy/target"


@pytest.mark.parametrize(
    "error, code, text",
    [
        (socket.gaierror(-2, "x"), "proxy/unknown-host", "no host proxy.example"),
        (TimeoutError(), "proxy/timeout", "did not open the tunnel in time"),
        (ConnectionRefusedError(), "proxy/unreachable", "nobody listens"),
        (OSError(113, "No route to host"), "proxy/unreachable", "reached: No route to host"),
        (OSError("odd"), "proxy/unreachable", "reached: odd"),
    ],
)
def test_a_proxy_that_is_not_reached_is_told_from_the_server(
    error: OSError, code: str, text: str
) -> None:
    found = not_reached(proxy("http"), error)
    assert connect_failure(found, URI, connected=False) == (found.code, found.message)
    assert found.code == code
    assert text in found.message


def test_behind_a_proxy_that_opened_nothing_no_certificate_was_issued() -> None:
    assert not Failed(code="proxy/closed", message="").may_be_issued
