"""Hosts: all spellings of one are the same, others are not, and a protected one is found."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core.checks.hosts import ProtectedHosts, address_in, canonical_host, hosts_claimed
from tests.damage import damaged_text
from tests.reached import reached, reaches

LOCAL = ProtectedHosts.of(["localhost", "127.0.0.1", "::1"])
FAR = ProtectedHosts.of(["est.example.com", "192.0.2.7", "2001:db8::7"])

# --- Addresses -------------------------------------------------------------------------------

PARTS: tuple[Callable[[int], str], ...] = (
    str,
    hex,
    lambda number: hex(number).upper().replace("X", "x"),
    lambda number: f"0x{number:08x}",
    lambda number: f"0{number:o}",
    lambda number: f"000{number:o}",
)


@st.composite
def ipv4_spellings(draw: st.DrawFn, number: int) -> str:
    """Return one of the ways in which inet_aton or a resolver takes an IPv4 address."""
    kept = draw(st.integers(0, 3))
    bytes_ = [number >> 8 * (3 - place) & 0xFF for place in range(kept)]
    rest = number & ((1 << 8 * (4 - kept)) - 1)
    parts = [draw(st.sampled_from(PARTS))(part) for part in (*bytes_, rest)]
    return ".".join(parts) + draw(st.sampled_from(["", ".", " "]))


@st.composite
def ipv6_spellings(draw: st.DrawFn, number: int) -> str:
    """Return one of the ways in which an IPv6 address is written."""
    address = ipaddress.IPv6Address(number)
    text = draw(st.sampled_from([str(address), address.exploded, address.exploded.upper()]))
    if draw(st.booleans()):
        text += draw(st.sampled_from(["%eth0", "%1"]))
    return f"[{text}]" if draw(st.booleans()) else text


def bits(number: int) -> st.SearchStrategy[int]:
    return st.integers(0, number - 1).map(lambda bit: 1 << bit)


def carriers(number: int) -> list[str]:
    """Return the IPv6 addresses that only stand for an IPv4 one."""
    v4 = ipaddress.IPv4Address(number)
    return [
        f"::ffff:{v4}",
        f"64:ff9b::{v4}",
        f"::ffff:0:{v4}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::",
        *([f"::{v4}"] if number >> 16 else []),
    ]


@given(data=st.data(), number=st.integers(0, 2**32 - 1))
def test_all_spellings_of_an_ipv4_address_are_one(data: st.DataObject, number: int) -> None:
    usual = str(ipaddress.IPv4Address(number))
    spelling = data.draw(ipv4_spellings(number))
    assert canonical_host(spelling) == usual
    assert address_in(spelling) == ipaddress.IPv4Address(number)
    # The oracle: the C library reads it so too.
    assert socket.inet_aton(spelling.rstrip(". ")) == number.to_bytes(4, "big")
    for carrier in carriers(number):
        assert canonical_host(carrier) == usual


@given(data=st.data(), number=st.integers(0, 2**128 - 1))
def test_all_spellings_of_an_ipv6_address_are_one(data: st.DataObject, number: int) -> None:
    first, second = (data.draw(ipv6_spellings(number)) for _ in range(2))
    assert canonical_host(first) == canonical_host(second)


@given(one=st.integers(0, 2**32 - 1), change=st.just(0) | bits(32))
def test_other_addresses_are_others(one: int, change: int) -> None:
    other = one ^ change
    texts = [str(ipaddress.IPv4Address(number)) for number in (one, other)]
    assert (canonical_host(texts[0]) == canonical_host(texts[1])) == (one == other)


@given(one=st.integers(0, 2**128 - 1), change=st.just(0) | bits(127))
def test_other_ipv6_addresses_are_others(one: int, change: int) -> None:
    other = one ^ change
    # Only those of the transition networks stand for others, and for one IPv4 address each.
    texts = [str(ipaddress.IPv6Address(number | 1 << 127)) for number in (one, other)]
    same = one | 1 << 127 == other | 1 << 127
    assert (canonical_host(texts[0]) == canonical_host(texts[1])) == same


@pytest.mark.parametrize(
    "text",
    [
        "256.0.0.1",
        "1.2.3.4.5",
        "1.2.3.4.0",
        "1.2.3",  # is one: see below
        "127.0.0.08",
        "0xg",
        "1..2",
        "4294967296",
        "0x1ffffffff",
        "127.0.0.1x",
        "a.1",
        "\u0661.2.3.4",
        "1.16777216",
        "::1::",
        "12345::",
        "localhost",
        "",
    ],
)
def test_an_address_is_what_the_c_library_takes_for_one(text: str) -> None:
    try:
        expected = socket.inet_aton(text) if text.isascii() else b""
    except OSError:
        expected = b""
    found = address_in(text)
    assert (b"" if found is None else found.packed) == expected


# --- Names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one, other",
    [
        ("EST.Example.COM", "est.example.com"),
        ("est.example.com.", "est.example.com"),
        (".est.example.com", "est.example.com"),
        (" est.example.com ", "est.example.com"),
        ("MÜNCHEN.example.", "xn--mnchen-3ya.example"),
        ("xn--MNCHEN-3ya.example", "münchen.example"),
        ("mu\u0308nchen.example", "münchen.example"),
        ("\uff45st.example.com", "est.example.com"),
        ("est\u3002example\uff61com", "est.example.com"),
        ("e\u200bst.example.com", "est.example.com"),
        ("faß.example", "xn--fa-hia.example"),
        ("[2001:db8::7]", "2001:DB8:0::7"),
        ("\uff11\uff12\uff17.1", "127.0.0.1"),
    ],
)
def test_two_spellings_are_one_host(one: str, other: str) -> None:
    assert canonical_host(one) == canonical_host(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("a.example", "b.example"),
        ("a.example", "a.example.com"),
        ("a.example", "*.example"),
        ("faß.example", "fass.example"),
        ("2002:7f00:1::1", "127.0.0.1"),
        ("2001:db8::7", "2001:db8::8"),
        ("::1", "127.0.0.1"),
        ("2001:db8:1::", "13.184.0.1"),
    ],
)
def test_two_hosts_are_two(one: str, other: str) -> None:
    assert canonical_host(one) != canonical_host(other)


HOST_TEXTS = (
    "EST.Example.Com.",
    "https://u@127.1:8443/x",
    "[::FFFF:192.0.2.7]",
    "0x7f000001",
    "b\u00fccher.example",
    "2002:7f00:1::1%eth0",
)


@reaches(changed=30, host=30)
@given(text=st.text(max_size=80) | damaged_text(HOST_TEXTS, "aA0.:[]/@%\u3002\u00df"))
def test_any_text_has_a_form_which_is_its_own(text: str) -> None:
    form = canonical_host(text)
    assert canonical_host(form) == form
    claimed = hosts_claimed(text)
    reached(*(["changed"] if form != text else []), *(["host"] if claimed else []))


def test_what_is_too_long_to_be_a_host_is_left_alone() -> None:
    for text in ("\u0300" * 300, "A" * 5000, "1" * 5000, "xn--" + "a" * 5000):
        assert canonical_host(text) in (text, text.lower())
    assert hosts_claimed("/" * 4096 + "localhost") == frozenset()


# --- Protected hosts -------------------------------------------------------------------------

SPELLINGS_OF_LOCAL = [
    "localhost",
    "LocalHost",
    ".localhost",
    "localhost.",
    "localhost..",
    "localhost:8443",
    "https://localhost/",
    "https://localhost",
    "HTTPS://LOCALHOST:8443/x?y#z",
    "//localhost/x",
    "https:localhost",
    "https:2130706433",
    "https:/localhost",
    "https:///localhost",
    "https:\\\\localhost\\x",
    "https://user:secret@localhost/",
    "https://evil.example\\@localhost/",
    "https://%6c%6Fcalhost/",
    "%6Cocalhost",
    "coaps://localhost",
    "coaps:localhost",
    "root@localhost",
    "mailto:root@localhost",
    "root@[127.0.0.1]",
    "root@[IPv6:::1]",
    "_est._tcp.localhost",
    "HTTP/localhost",
    "host/localhost@EXAMPLE.COM",
    "device.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "\uff4cocalhost",
    "loc\u00adalhost",
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.1.2.3",
    "0x7f.0.0.1",
    "0x7f000001",
    "0X7F.1",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "127.0.0.01",
    "127.0.0.08",
    "127.0.0.1:8443",
    "127.0.0.1 device",
    "https://0x7f.1/",
    "https://2130706433/",
    "0.0.0.0",
    "0",
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "[::1]",
    "[::1]:8443",
    "::1%lo",
    "https://[::1]:8443/",
    "https://[::ffff:127.0.0.1]/",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::127.0.0.1",
    "2002:7f00:1::",
    "2002:7f00:1::1",
    "2001:0:0:0:0:0:80ff:fffe",
    "fe80::5efe:127.0.0.1",
]


@pytest.mark.parametrize("text", SPELLINGS_OF_LOCAL)
def test_a_server_on_this_machine_has_all_the_names_of_the_machine(text: str) -> None:
    assert LOCAL.claimed_in(text)
    assert ProtectedHosts.of(["localhost"]).claimed_in(text)
    assert not FAR.claimed_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "EST.example.com",
        "https://est.example.com:443",
        "https://a@b@est.example.com/",
        "192.0.2.7",
        "192.0.519",
        "0xC0000207",
        "3221225991",
        "0300.0.2.7",
        "::ffff:192.0.2.7",
        "2002:c000:207:1::5",
        "2001:db8:0::7",
        "[2001:DB8::7]:443",
        "admin@EST.EXAMPLE.COM",
    ],
)
def test_a_server_elsewhere_has_its_own_names_in_any_spelling(text: str) -> None:
    assert FAR.claimed_in(text)
    assert not LOCAL.claimed_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "device-1",
        "device 1 at localhost",
        "localhost device",
        "device.example:8443/localhost",
        "localhost-7.example",
        "mylocalhost",
        "est.example.com.example",
        "xest.example.com",
        "est.example",
        "https://device.example/localhost",
        "https://device.example/?est.example.com",
        "https://localhost@device.example.net:1/".replace("localhost", "operator"),
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "urn:dev:mac:0024befffe804ff1",
        "128.0.0.1",
        "192.0.2.8",
        "2001:db8::8",
        "1",
        "4711",
        "sensor:0",
        "port:2130706433",
        "",
    ],
)
def test_other_names_are_nobodys(text: str) -> None:
    assert not LOCAL.claimed_in(text)
    assert not FAR.claimed_in(text)


def test_a_lone_number_is_an_address_only_where_hosts_stand() -> None:
    for text in ("2130706433", "0x7f000001", "0"):
        assert LOCAL.claimed_in(text)
        assert not LOCAL.claimed_in(text, numbers=False)
    assert LOCAL.claimed_in("127.1", numbers=False)


def test_a_wildcard_protects_what_it_covers() -> None:
    covering = ProtectedHosts.of(["*.example.com"])
    for text in ("est.example.com", "https://EST.example.com/", "*.example.com"):
        assert covering.claimed_in(text)
    for text in ("example.com", "a.est.example.com", "est.example.org"):
        assert not covering.claimed_in(text)


def test_no_names_protect_nothing() -> None:
    for text in ("", "localhost", "127.0.0.1", "."):
        assert not ProtectedHosts.of([]).claimed_in(text)
        assert not ProtectedHosts.of([""]).claimed_in(text)


@given(
    data=st.data(),
    name=st.sampled_from(["est.example.com", "EST.Example.Com", "est.example.com."]),
    around=st.sampled_from(
        ["{}", "{}:8443", "https://{}", "https://{}/x", "x://u@{}:1/", "u@{}", "_s._tcp.{}"]
    ),
)
def test_a_protected_name_is_found_wherever_a_host_stands(
    data: st.DataObject, name: str, around: str
) -> None:
    assert FAR.claimed_in(around.format(name))
    spelling = data.draw(ipv4_spellings(int(ipaddress.IPv4Address("192.0.2.7"))))
    assert FAR.claimed_in(around.format(spelling.strip(" ")))


def test_a_sharp_s_is_two_letters_to_some_readers() -> None:
    old = ProtectedHosts.of(["strasse.example"])
    assert old.claimed_in("stra\u00dfe.example")
    assert old.claimed_in("https://STRA\u1e9eE.example/")
    assert not ProtectedHosts.of(["stra\u00dfe.example"]).claimed_in("strasse.example")


def test_a_text_longer_than_any_host_keeps_its_case() -> None:
    assert canonical_host("A" * 4096) == "a" * 4096
    assert canonical_host("A" * 4097) == "A" * 4097


def test_a_label_becomes_an_a_label_where_that_is_no_longer_than_a_label_may_be() -> None:
    longest = canonical_host("\u00fc" + "a" * 55)
    assert longest.startswith("xn--")
    assert len(longest) == 63
    assert canonical_host("\u00fc" + "a" * 56) == "\u00fc" + "a" * 56
