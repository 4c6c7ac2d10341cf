"""Which network a peer is of: what one party is likely to have all of, and is counted as one.

Who has an IPv6 network can write any address of its 64 bits, so a /64 counts as one peer does
with IPv4. An IPv4 address is the same one in every way in which IPv6 writes it.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052 2.1: clients with IPv4 behind a translator, their address in the last 32 bits."""


@lru_cache(maxsize=4096)  # a peer sends many datagrams
def network_of_host(host: str) -> str:
    """Return the network of an address as a socket has it: an IPv4 address, or a /64 of IPv6.

    What is no IP address, such as the name of a socket of another family, is returned as it is.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        return f"{IPv6Address(address.packed[:8] + bytes(8))}/64" if embedded is None else embedded
    return str(address)


def network_of_peer(peer: str) -> str:
    """Return the network of `host:port` or `[host]:port`, as `Channel.peer_address` has it.

    The port never counts: a peer has as many as it wants.
    """
    host, colon, _ = peer.rpartition(":")
    if not colon or peer.endswith("]") or (":" in host and not host.startswith("[")):
        host = peer  # an address alone
    return network_of_host(host.removeprefix("[").removesuffix("]"))


def _embedded(address: IPv6Address) -> str | None:
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv4Address(address.packed[12:])) if address in _TRANSLATED else None
