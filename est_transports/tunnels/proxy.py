"""Which proxy a client goes through: its kind, its place, its login, and for whom it is not."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Final
from urllib.parse import unquote_to_bytes

from est_core import EstUri, LocalProtocolError
from est_core.arguments import checked
from est_core.credentials import Password
from est_core.values import value_class

SCHEMES: Final = ("http", "socks4", "socks4a", "socks5", "socks5h")

_SCHEME: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(.*)", re.DOTALL)
_PORT: Final = re.compile(r":[0-9]{1,5}\Z")
_MAX_CHARS: Final = 2048
_SOCKS_MAX_BYTES: Final = 255
_SOCKS_TEXT: Final = re.compile(r"[ -~]*")
"""What python-socks writes of a user and a password: ASCII. A NUL would end SOCKS4's user."""


@value_class
class Proxy:
    """A proxy that opens a tunnel to a server; TLS goes through it from end to end.

    `scheme` is `http` (CONNECT), `socks4`, `socks4a`, `socks5` or `socks5h`: with `socks4` and
    `socks5` the server's name is looked up here, with `socks4a` and `socks5h` by the proxy.
    `user` and `password` are for the proxy alone, which sees them in clear with SOCKS and Basic,
    and so does whoever is between it and this machine. `exceptions` are origins that are reached
    without it, each as NO_PROXY has them; see `is_for`.
    Raises LocalProtocolError for a scheme that there is not, a place that is none, and for a login
    that the scheme cannot carry.
    """

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    exceptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scheme == "https":
            raise LocalProtocolError(
                "TLS to the proxy itself is not supported: write http://, which opens the same "
                "tunnel, with TLS to the server inside"
            )
        if self.scheme not in SCHEMES:
            raise LocalProtocolError(f"a proxy begins with one of {', '.join(SCHEMES)}")
        _check_place(self.host, self.port)
        self._check_login()

    def _check_login(self) -> None:
        user, password = self.user, self.password
        if user is None:
            if password is not None:
                raise LocalProtocolError("a proxy's password goes with a user")
            return
        if self.scheme == "http":
            Password(user=user, password=password or "")
            return
        for text in (user, password or ""):
            if not _SOCKS_TEXT.fullmatch(text) or len(text) > _SOCKS_MAX_BYTES:
                raise LocalProtocolError(
                    f"SOCKS carries a login of ASCII, {_SOCKS_MAX_BYTES} characters at most"
                )
        if self.scheme.startswith("socks4"):
            if password is not None:
                raise LocalProtocolError("SOCKS4 carries a user and no password: use socks5://")
        elif not user or not password:
            raise LocalProtocolError("SOCKS5 takes a user and a password, neither of them empty")

    @classmethod
    def from_argument(cls, value: object) -> Proxy | None:
        """Return what a str says, as `parse`; None for anything else. See `est_core.arguments`."""
        return cls.parse(value) if isinstance(value, str) else None

    @classmethod
    @checked
    def parse(cls, text: str, *, password: str | None = None) -> Proxy:
        """Return the proxy of `[SCHEME://][USER[:PASSWORD]@]HOST:PORT`.

        Without a scheme it is http, as in curl. The port has to be there, for programs disagree on
        what it is without. User and password are percent-decoded, as UTF-8. `password` is
        that of its user where it is not in the URL. Raises LocalProtocolError, whose text repeats
        none of it: what is in the wrong place may be the password.
        """
        match = _SCHEME.fullmatch(text.strip())
        if match is None or len(text) > _MAX_CHARS:
            raise LocalProtocolError("the proxy's URL is too long")
        login, at, place = match[2].rpartition("@")
        place = place.removesuffix("/")
        if not _PORT.search(place):
            raise LocalProtocolError("a proxy is HOST:PORT, with its port")
        host, _, port = place.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise LocalProtocolError("write a proxy's IPv6 address in brackets")
        user, colon, inside = login.partition(":")
        if colon and password is not None:
            raise LocalProtocolError("a proxy's password is given twice")
        return cls(
            scheme=(match[1] or "http").lower(),
            host=host,
            port=int(port),
            user=_decoded(user) if at else None,
            password=_decoded(inside) if colon else password,
        )

    @property
    def looks_up_here(self) -> bool:
        """True if the server's name is looked up on this machine, and its address asked for."""
        return self.scheme in ("socks4", "socks5")

    @checked
    def is_for(self, uri: EstUri) -> bool:
        """Return whether this server is reached through the proxy.

        An exception is a host, which stands for those below it too, `*` for all of them, an IP
        address, or a network such as 10.0.0.0/8, which names are not looked up for; with `:PORT`
        it is about that port alone.
        """
        if not self.exceptions:
            return True
        from est_transports.tunnels.exceptions import is_excepted

        return not any(is_excepted(each, uri.host, uri.port) for each in self.exceptions)

    def __str__(self) -> str:
        """The proxy without its login, to be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _check_place(host: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise LocalProtocolError("a proxy's port is a number from 1 to 65535")
    try:
        EstUri(host=host, port=port)
    except LocalProtocolError:
        pass  # its text has what was given, which may be a password in the wrong place
    else:
        return
    raise LocalProtocolError("a proxy's host is a name or an IP address")


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        pass  # not chained: it would carry the password along
    raise LocalProtocolError("a proxy's user and password are percent-encoded UTF-8")
