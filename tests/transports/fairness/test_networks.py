"""What counts as one peer where something is shared among peers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_transports.fairness.networks import network_of_host, network_of_peer


@pytest.mark.parametrize(
    "host,network",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("/run/est.sock", "/run/est.sock"),
        ("", ""),
    ],
)
def test_an_address_is_of_a_network(host: str, network: str) -> None:
    assert network_of_host(host) == network


@pytest.mark.parametrize(
    "peer,network",
    [
        ("192.0.2.1:443", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_the_port_of_a_peer_does_not_count(peer: str, network: str) -> None:
    assert network_of_peer(peer) == network


@given(
    st.ip_addresses(v=4) | st.ip_addresses(v=6),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
def test_all_ports_of_an_address_are_one_network(
    address: IPv4Address | IPv6Address, one: int, other: int
) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    networks = {network_of_peer(f"{host}:{port}") for port in (one, other)}
    assert networks == {network_of_host(str(address))}
