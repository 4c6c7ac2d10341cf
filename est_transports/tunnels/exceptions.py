"""For which servers a proxy is not: one entry of NO_PROXY against a host and a port.

There is no standard. What is read here is what curl and Go read: a name stands for the names below
it, with or without a leading dot; a network is compared with addresses alone, for looking a name up
is what a proxy may be there to avoid.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<name>[^:\[\]]*)):(?P<port>[0-9]{1,5})")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_excepted(entry: str, host: str, port: int) -> bool:
    """Return whether an entry is about this server. One that says nothing is about none."""
    entry = entry.strip().lower()
    if match := _WITH_PORT.fullmatch(entry):
        if int(match["port"]) != port:
            return False
        entry = match["six"] if match["name"] is None else match["name"]
    entry = entry.removeprefix("[").removesuffix("]")
    if entry == "*":
        return True
    address = _address(host)
    if address is not None:
        return _is_within(address, entry)
    name = entry.removeprefix("*").strip(".")
    asked = host.lower().rstrip(".")
    return bool(name) and (asked == name or asked.endswith(f".{name}"))


def _is_within(address: Address, entry: str) -> bool:
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
    return address in network  # False where one is of version 4 and the other of 6


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
