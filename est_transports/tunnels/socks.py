"""SOCKS 4, 4a and 5: the tunnel through a SOCKS proxy. RFC 1928, RFC 1929.

The messages are written and read by python-socks; docs/decisions/0021 says which part of it that
is. What is decided here is how many bytes belong to a message, which it leaves to its callers, and
what a refusal means.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Generator
from typing import Final

from python_socks._protocols import socks4, socks5
from python_socks._protocols.errors import ReplyError

from est_transports.drive.client import ConnectError
from est_transports.tunnels.machine import closed, unasked_bytes
from est_transports.tunnels.proxy import Proxy

_Steps = Generator[tuple[bytes, int], bytes, None]
"""Yields what is to be written, and how many bytes are to be read then; is sent just those."""

_HOST: Final = re.compile(r"[0-9A-Za-z_.:-]{1,253}")

_SOCKS4: Final = {
    0x5B: ("proxy/server-unreachable", "refuses, or does not reach the server"),
    0x5C: ("proxy/login-refused", "asks this machine's identd who we are, and gets no answer"),
    0x5D: ("proxy/login-refused", "has another user of this machine's identd than was given"),
}
_SOCKS5: Final = {
    0x01: ("proxy/server-unreachable", "failed, and says no more"),
    0x02: ("proxy/refused", "does not let this client through"),
    0x03: ("proxy/server-unreachable", "has no route to the server's network"),
    0x04: ("proxy/server-unreachable", "does not reach the server's host"),
    0x05: ("proxy/server-unreachable", "is refused by the server's host: nobody listens there"),
    0x06: ("proxy/server-unreachable", "does not reach the server in time"),
    0x07: ("proxy/no-tunnel", "does not know the command to connect"),
    0x08: ("proxy/target", "does not know addresses of this kind"),
}
_LOGIN: Final = 0x02
_NONE_TAKEN: Final = 0xFF
_ADDRESS_BYTES: Final = {0x01: 4, 0x04: 16}
_NAME: Final = 0x03


class SocksTunnel:
    """A Tunnel through a SOCKS proxy."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.is_open: bool = False
        self.needs_connection: bool = True
        self._proxy = proxy
        self._inbox = bytearray()
        self._wanted = 0
        _check_target(proxy, host)
        talk = _socks4 if proxy.scheme.startswith("socks4") else _socks5
        self._steps = talk(proxy, host, port)

    def begin(self) -> bytes:
        """Return the first message, for a new connection."""
        self.needs_connection = False
        data, self._wanted = next(self._steps)
        return data

    def receive(self, data: bytes) -> bytes:
        """Take what the proxy says, and return the next message, if there is one."""
        if not data:
            raise closed(self._proxy)
        self._inbox += data
        out = b""
        while not self.is_open and len(self._inbox) >= self._wanted:
            message = bytes(self._inbox[: self._wanted])
            del self._inbox[: self._wanted]
            out += self._take(message)
        return out

    def _take(self, message: bytes) -> bytes:
        try:
            data, self._wanted = self._steps.send(message)
        except StopIteration:
            if self._inbox:
                raise unasked_bytes(self._proxy) from None
            self.is_open = True
            return b""
        except (ReplyError, ValueError) as exc:
            raise _malformed(self._proxy) from exc
        return data


def _check_target(proxy: Proxy, host: str) -> None:
    """Raise ConnectError for what python-socks would write wrong, or not at all."""
    if not _HOST.fullmatch(host):
        raise ConnectError("proxy/target", "this is no host that a proxy can be asked for")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if ":" in host or not all(0 < len(label) < 64 for label in labels):
            raise ConnectError("proxy/target", f"{host} is no host name") from None
        if labels[-1].isdecimal():  # 127.1 and 010.0.0.1: addresses to some, names to others
            raise ConnectError("proxy/target", f"{host} is neither a name nor an address") from None
        return
    if address.version == 6 and proxy.scheme.startswith("socks4"):
        raise ConnectError(
            "proxy/target", f"{host} is an IPv6 address, which SOCKS4 has no place for"
        )


def _socks4(proxy: Proxy, host: str, port: int) -> _Steps:
    """SOCKS4, and 4a where the host is a name."""
    request = socks4.ConnectRequest(host=host, port=port, user_id=proxy.user)
    connection = socks4.Connection()
    reply = yield connection.send(request), socks4.ConnectReply.SIZE
    try:
        connection.receive(reply)
    except ReplyError as exc:
        raise _refused(proxy, _SOCKS4, exc) from exc


def _socks5(proxy: Proxy, host: str, port: int) -> _Steps:
    connection = socks5.Connection()
    hello = socks5.AuthMethodsRequest(username=proxy.user, password=proxy.password)
    reply = yield connection.send(hello), socks5.AuthMethodReply.SIZE
    if reply == bytes((socks5.SOCKS_VER, _NONE_TAKEN)):
        raise _none_taken(proxy)
    connection.receive(reply)
    if reply[1] == _LOGIN:
        yield from _log_in(proxy, connection)
    request = socks5.ConnectRequest(host=host, port=port)
    yield from _connect(proxy, connection, connection.send(request))


def _log_in(proxy: Proxy, connection: socks5.Connection) -> _Steps:
    login = socks5.AuthRequest(username=proxy.user or "", password=proxy.password or "")
    reply = yield connection.send(login), socks5.AuthReply.SIZE
    if reply[0] == socks5.AuthRequest.VER and reply[1]:
        raise ConnectError("proxy/login-refused", f"{proxy} refuses the login")
    connection.receive(reply)


def _connect(proxy: Proxy, connection: socks5.Connection, request: bytes) -> _Steps:
    """Read the answer, which is as long as the address in it. RFC 1928 6."""
    reply = yield request, 2
    if reply != bytes((socks5.SOCKS_VER, 0)):  # of a refusal no more has to come
        try:
            connection.receive(reply)
        except ReplyError as exc:
            raise _refused(proxy, _SOCKS5, exc) from exc
    reply += yield b"", 2
    kind = reply[3]
    if kind == _NAME:
        reply += yield b"", 1
        reply += yield b"", reply[4] + 2
    elif kind in _ADDRESS_BYTES:
        reply += yield b"", _ADDRESS_BYTES[kind] + 2
    connection.receive(reply)


def _refused(proxy: Proxy, table: dict[int, tuple[str, str]], error: ReplyError) -> ConnectError:
    """Return what a refusal means; without a number of the table it is none that there is."""
    if error.error_code not in table:
        return _malformed(proxy)
    code, what = table[error.error_code]
    return ConnectError(code, f"{proxy} {what}")


def _none_taken(proxy: Proxy) -> ConnectError:
    if proxy.user is None:
        return ConnectError("proxy/login-required", f"{proxy} wants a login, and has none")
    return ConnectError(
        "proxy/login-scheme",
        f"{proxy} takes neither a user with a password nor nobody: other ways, such as GSSAPI, "
        "are not supported",
    )


def _malformed(proxy: Proxy) -> ConnectError:
    version = 4 if proxy.scheme.startswith("socks4") else 5
    return ConnectError("proxy/malformed", f"{proxy} does not answer as SOCKS{version} does")
