"""Host names of servers: what a certificate can be made for, in the one spelling that it gets."""

from __future__ import annotations

import pytest

from est_core import LocalProtocolError
from est_transports.pki.hosts import host_name
from est_transports.service.initialisation import CaSpec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("est.example", "est.example"),
        ("dot.test.", "dot.test"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.example", "1.example"),
        ("3com.example", "3com.example"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[::1]", "::1"),
    ],
)
def test_a_host_is_written_as_certificates_have_it(text: str, expected: str) -> None:
    assert host_name(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "dot.test..",
        ".test",
        "a..test",
        "-a.test",
        "a-.test",
        "a b",
        "*.test",
        "a" * 64 + ".test",
        ".".join(["a" * 62] * 5),
        "b\u00fccher.example",
        "est.example:8443",
        "https://est.example",
        "user@est.example",
        # What resolvers take for an IPv4 address.
        "300.1.1.1",
        "1.2.3",
        "127.1",
        "0x7f.1",
        "est.0x7f000001",
        "2130706433",
        "10.0.0.256.",
        # Addresses that nobody can connect to, or that mean something on one machine only.
        "0.0.0.0",
        "::",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "fe80::1%eth0",
        "[192.0.2.1]",
        "[est.example]",
        "192.0.2.1/24",
    ],
)
def test_what_no_client_could_connect_to_is_no_host(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="neither a host name"):
        host_name(text)
    with pytest.raises(LocalProtocolError, match="neither a host name"):
        CaSpec(hosts=(text,))


def test_a_new_ca_has_each_host_once_and_without_final_dot() -> None:
    assert CaSpec(hosts=("dot.test.", "dot.test", "[::1]")).hosts == ("dot.test", "::1")


@pytest.mark.parametrize("text", ["[::1", "::1]", "x::1]", "[::1x"])
def test_brackets_are_dropped_in_pairs(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        host_name(text)


def test_who_writes_a_name_in_other_letters_is_told_how_to_write_it() -> None:
    with pytest.raises(LocalProtocolError, match="A-labels"):
        host_name("b\u00fccher.example")


def test_a_name_has_253_characters_and_no_more() -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert host_name(name) == name
    with pytest.raises(LocalProtocolError):
        host_name(name + "b")
