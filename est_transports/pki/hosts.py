"""Host names and addresses that a server's certificate can have, and how each is written."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from est_core import LocalProtocolError
from est_core.arguments import checked

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MAX_CHARS: Final = 253
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


@checked
def host_name(text: str) -> str:
    """Return the host as certificates have it: a DNS name in A-labels, or an IP address.

    A final dot, which only says that a name is absolute, is dropped (RFC 6066 3), and an IPv6
    address loses its brackets and is written as RFC 5952 has it. Raises LocalProtocolError for
    everything that no client could connect to: a name whose last label is a number, which
    resolvers take for an IPv4 address; an address that stands for none or for many; a port.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return _dns_name(text)
    if getattr(address, "scope_id", None) is not None:
        raise _refused(text, "an address with a zone means something on one machine only")
    if address.is_unspecified or address.is_multicast or address == _BROADCAST:
        raise _refused(text, "no client can connect to that address")
    return str(address)


def _dns_name(text: str) -> str:
    name = text.removesuffix(".")
    labels = name.split(".")
    if not text.isascii():
        raise _refused(text, "write it in A-labels (xn--...)")
    if len(name) > _MAX_CHARS or not all(map(_LABEL.fullmatch, labels)):
        raise _refused(text)
    if _NUMBER.fullmatch(labels[-1]):
        raise _refused(text, "a name does not end in a number")
    return name


def _refused(text: str, why: str = "") -> LocalProtocolError:
    reason = f": {why}" if why else ""
    return LocalProtocolError(f"{text!r} is neither a host name in ASCII nor an IP address{reason}")
