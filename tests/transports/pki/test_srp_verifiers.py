"""Verifiers of TLS-SRP: the published example, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tlslite.mathtls import goodGroupParameters, makeK, makeU, makeX

from est_core import LocalProtocolError
from est_transports.pki.srp_verifiers import BITS_MIN, GROUPS, srp_salt, srp_verifier

VECTOR = json.loads(
    (Path(__file__).parents[2] / "vectors/rfc5054/srp-appendix-b.json").read_text("ascii")
)
N, S, X = (int(VECTOR[name], 16) for name in ("N", "premaster_secret", "x"))
A, B, U, K, V = (int(VECTOR[name], 16) for name in ("A", "B", "u", "k", "v"))
SALT = bytes.fromhex(VECTOR["s"])


@pytest.mark.req("EST-072")
def test_the_published_example_comes_out_of_what_the_handshake_uses() -> None:
    name, password = bytearray(b"alice"), bytearray(b"password123")
    assert makeX(bytearray(SALT), name, password) == X
    assert (makeK(N, 2), makeU(N, A, B)) == (K, U)
    private = int(VECTOR["a"], 16)
    assert pow(B - K * V, private + U * X, N) == S


@pytest.mark.parametrize("bits", GROUPS)
def test_a_verifier_is_the_power_that_the_example_has_in_every_group(bits: int) -> None:
    group = GROUPS[bits]
    assert (group.generator, group.prime) in goodGroupParameters
    assert group.prime.bit_length() == bits
    made = srp_verifier("alice", "password123", salt=SALT, bits=bits)
    assert len(made) == bits // 8
    assert int.from_bytes(made, "big") == pow(group.generator, X, group.prime)


@pytest.mark.req("EST-075")
def test_a_verifier_keeps_name_password_and_salt_apart() -> None:
    made = {
        srp_verifier(name, password, salt=salt)
        for name in ("a", "b")
        for password in ("a", "b")
        for salt in (b"a", b"b")
    }
    assert len(made) == 8


@pytest.mark.parametrize("bits", [0, 1024, 1535, 2047, 8192])
def test_no_other_group_is_taken(bits: int) -> None:
    with pytest.raises(LocalProtocolError, match="take one of 1536, 2048, 3072, 4096"):
        srp_verifier("alice", "password123", salt=SALT, bits=bits)
    assert min(GROUPS) == BITS_MIN


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", "x"),
        ("x", ""),
        ("é" * 128, "x"),
        ("x", "x" * 1025),
        ("a\0b", "x"),
        ("x", "a\x7fb"),
        ("\ud800", "x"),
    ],
)
def test_nobody_could_log_in_with_these(name: str, password: str) -> None:
    with pytest.raises(LocalProtocolError, match="for TLS-SRP has") as caught:
        srp_verifier(name, password, salt=SALT)
    assert "x" * 9 not in str(caught.value)


@pytest.mark.parametrize(
    ("random", "salt"),
    [
        (bytes(16), b"\x01" + bytes(15)),
        (b"\0\xff\0", b"\x01\xff\0"),
        (b"\xff\0", b"\xff\0"),
        (b"\x01\x02", b"\x01\x02"),
    ],
)
def test_a_salt_begins_with_no_zero_for_openssl_leaves_it_out(random: bytes, salt: bytes) -> None:
    assert srp_salt(random) == salt


def test_a_salt_of_nothing_is_none() -> None:
    with pytest.raises(LocalProtocolError, match="a salt has bytes"):
        srp_salt(b"")
