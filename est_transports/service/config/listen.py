"""Addresses to listen on, as est.toml and the command line write them."""

from __future__ import annotations

from typing import Final

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class

DEFAULT_PORT: Final = 8443


@value_class
class ListenAddress:
    """Where to listen: an address or host name, and a port, 0 for any free one."""

    host: str
    port: int

    @classmethod
    def from_argument(cls, value: object) -> ListenAddress | None:
        """Return what a str says, as `parse_listen`; None for anything else."""
        return parse_listen(value) if isinstance(value, str) else None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@checked
def parse_listen(text: str, default_port: int = DEFAULT_PORT) -> ListenAddress:
    """Return the address in HOST:PORT, [IPV6]:PORT, HOST or :PORT, which is every IPv4 address.

    A number alone is refused: it would be a host. Raises LocalProtocolError.
    """
    if not text or "://" in text:
        without = f", without {text.partition('://')[0]}://" if text else ""
        raise LocalProtocolError(f"{text!r}: write HOST:PORT{without}")
    if text.isdigit():
        raise LocalProtocolError(
            f"{text!r} is only a number; did you mean :{text} or 127.0.0.1:{text}?"
        )
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        host, port = text, str(default_port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise LocalProtocolError(
            f"{text!r}: write an IPv6 address in brackets, [::1]:{default_port}"
        )
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise LocalProtocolError(f"{text!r} has no port between 0 and 65535")
    if any(char.isspace() or not char.isprintable() for char in host):
        raise LocalProtocolError(f"{text!r} is not HOST:PORT")
    return ListenAddress(host=host or "0.0.0.0", port=int(port))  # noqa: S104 - asked for
