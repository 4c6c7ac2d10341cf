"""Cookies, and the looks at record headers that come before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Entropy, LocalProtocolError
from est_transports.channel.dtls import DtlsEngine
from est_transports.channel.dtls_cookies import COOKIE_BYTES, Cookies
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_records import (
    RECORD_BYTES,
    client_random,
    datagrams,
    fragment_bytes,
    is_dtls,
    renumbered,
    sequence_number,
)
from tests.damage import damaged
from tests.reached import reached, reaches
from tests.transports.dtls_pair import a_dtls_client

ALICE, MALLORY = b"('192.0.2.1', 5000)", b"('192.0.2.1', 5001)"
RANDOM, OTHER = b"r" * 32, b"s" * 32


def a_hello() -> bytes:
    engine = DtlsEngine(a_dtls_client())
    engine.handshake()
    (hello,) = engine.outgoing()
    return hello


HELLO = a_hello()


def test_a_cookie_is_for_one_address_and_one_attempt(entropy: Entropy) -> None:
    cookies = Cookies(entropy, period_s=60.0)
    (mine,) = cookies.for_client(ALICE, RANDOM, 1000.0)
    assert len(mine) == COOKIE_BYTES
    assert cookies.for_client(ALICE, RANDOM, 1001.0) == (mine,)
    assert mine not in cookies.for_client(MALLORY, RANDOM, 1001.0)
    assert mine not in cookies.for_client(ALICE, OTHER, 1001.0)
    assert mine not in cookies.for_client(ALICE + RANDOM[:1], RANDOM[1:], 1001.0)
    assert mine not in Cookies(entropy, period_s=60.0).for_client(ALICE, RANDOM, 1000.0)


def test_a_cookie_is_good_for_one_to_two_periods(entropy: Entropy) -> None:
    cookies = Cookies(entropy, period_s=60.0)
    early = cookies.for_client(ALICE, RANDOM, 1000.0)[0]
    late = cookies.for_client(ALICE, RANDOM, 1059.9)[0]
    assert late == early
    fresh = cookies.for_client(ALICE, RANDOM, 1061.0)
    assert fresh[1:] == (early,)
    assert fresh[0] != early
    assert cookies.for_client(ALICE, RANDOM, 1119.9) == fresh
    later = cookies.for_client(ALICE, RANDOM, 1120.0)  # the new key is a second younger
    assert early not in later
    assert fresh[0] in later


def test_a_key_is_used_for_its_period_and_not_a_moment_longer(entropy: Entropy) -> None:
    cookies = Cookies(entropy, period_s=1.0)
    first = cookies.for_client(ALICE, RANDOM, 1000.0)
    assert cookies.for_client(ALICE, RANDOM, 1000.5) == first
    assert cookies.for_client(ALICE, RANDOM, 1001.0)[1:] == first


def test_after_a_long_silence_no_old_cookie_is_good(entropy: Entropy) -> None:
    cookies = Cookies(entropy, period_s=60.0)
    old = cookies.for_client(ALICE, RANDOM, 1000.0)[0]
    assert old not in cookies.for_client(ALICE, RANDOM, 1120.0)


@pytest.mark.parametrize("period_s", [0.0, -1.0])
def test_a_period_is_positive(period_s: float, entropy: Entropy) -> None:
    with pytest.raises(LocalProtocolError):
        Cookies(entropy, period_s=period_s)


def test_a_client_hello_is_known_by_its_header_and_tells_its_random() -> None:
    assert is_dtls(HELLO)
    assert client_random(HELLO) == HELLO[27:59]
    assert client_random(HELLO + b"the next record") == HELLO[27:59]


NOT_A_HELLO = {
    "an alert": (0, 0x15),
    "no DTLS version": (1, 3),
    "epoch 1": (4, 1),
    "ServerHello": (13, 2),
    "a later fragment": (21, 1),
    "a first fragment": (24, 1),
    "a record too short for one": (12, 0x20),
}
"""Each by one byte of a ClientHello, and what it is changed to."""


@pytest.mark.parametrize("case", list(NOT_A_HELLO))
def test_what_is_not_one_whole_client_hello_has_no_random(case: str) -> None:
    at, value = NOT_A_HELLO[case]
    changed = HELLO[:at] + bytes([value]) + HELLO[at + 1 :]
    assert changed != HELLO
    assert client_random(changed) is None


def test_a_datagram_cut_anywhere_is_no_dtls() -> None:
    for size in range(len(HELLO)):
        assert not is_dtls(HELLO[:size])
        assert client_random(HELLO[:size]) is None


EXTENSIONS_AT = 59 + 1 + 1 + 2 + int.from_bytes(HELLO[61:63], "big") + 2
"""Behind the random, no session id, no cookie, the suites and one compression method."""


def asking(*extensions: bytes) -> bytes:
    """Return the hello with these extensions before its own."""
    own = HELLO[EXTENSIONS_AT + 2 :]
    assert int.from_bytes(HELLO[EXTENSIONS_AT : EXTENSIONS_AT + 2], "big") == len(own)
    block = b"".join(extensions) + own
    return HELLO[:EXTENSIONS_AT] + len(block).to_bytes(2, "big") + block


@pytest.mark.parametrize(
    ("value", "size"),
    [(1, 512), (2, 1024), (3, 2048), (4, 4096), (0, RECORD_BYTES), (5, RECORD_BYTES)],
)
def test_a_client_hello_tells_how_much_a_record_may_hold(value: int, size: int) -> None:
    extension = bytes([0, 1, 0, 1, value])
    assert fragment_bytes(asking(extension)) == size
    assert fragment_bytes(asking(b"\0\xff\0\x05" + b"\0\1\0\1\3", extension)) == size
    assert fragment_bytes(asking()) == fragment_bytes(HELLO) == RECORD_BYTES


def test_a_hello_cut_anywhere_asks_for_nothing_it_does_not_say() -> None:
    hello = asking(b"\0\1\0\1\1")
    for size in range(len(hello)):
        told = fragment_bytes(hello[:size])
        assert told == (512 if size >= EXTENSIONS_AT + 7 else RECORD_BYTES)


@reaches(hello=20, limited=8)
@given(damaged((HELLO, asking(b"\0\1\0\1\1")), changes=4) | st.binary(max_size=200))
def test_a_look_at_a_header_never_raises(datagram: bytes) -> None:
    reached(*(["limited"] if fragment_bytes(datagram) < RECORD_BYTES else []))
    if client_random(datagram) is not None:
        reached("hello")
        assert is_dtls(datagram)


@given(st.lists(st.binary(min_size=1, max_size=400), max_size=12), st.integers(256, 1500))
def test_records_are_packed_whole_and_in_order(contents: list[bytes], mtu_bytes: int) -> None:
    records = [b"\x16\xfe\xfd" + bytes(8) + len(c).to_bytes(2, "big") + c for c in contents]
    packed = datagrams(b"".join(records), mtu_bytes)
    assert b"".join(packed) == b"".join(records)
    for datagram in packed:
        assert is_dtls(datagram)
        assert len(datagram) <= mtu_bytes or datagram in records


@pytest.mark.parametrize(
    ("sizes", "packed"),
    [
        ((50, 50), (100,)),
        ((50, 51), (50, 51)),
        ((20, 30, 50, 20), (100, 20)),
        ((101, 20), (101, 20)),
        ((20, 150, 20), (20, 150, 20)),
        ((20, 30, 60, 40), (50, 100)),
        ((100,), (100,)),
        ((), ()),
    ],
)
def test_as_many_records_as_fit_share_a_datagram(
    sizes: tuple[int, ...], packed: tuple[int, ...]
) -> None:
    records = b"".join(a_record(0, n, bytes(size - 13)) for n, size in enumerate(sizes))
    assert tuple(map(len, datagrams(records, 100))) == packed


@pytest.mark.parametrize(
    ("head", "content", "answer"),
    [
        (b"\x14\xfe\xfd", b"x", True),
        (b"\x17\xfe\xff", b"x", True),
        (b"\x13\xfe\xfd", b"x", False),
        (b"\x18\xfe\xfd", b"x", False),
        (b"\x16\xfe\xfc", b"x", False),
        (b"\x16\x03\x03", b"x", False),
        (b"\x16\xfe\xfd", b"", False),
    ],
)
def test_four_kinds_of_records_in_two_versions_are_dtls(
    head: bytes, content: bytes, answer: bool
) -> None:
    assert is_dtls(head + a_record(0, 0, content)[3:]) is answer


def test_a_hello_that_ends_with_its_random_has_one() -> None:
    body = b"\xfe\xfd" + bytes(range(32))
    size = len(body).to_bytes(3, "big")
    message = b"\x01" + size + b"\0\0" + b"\0\0\0" + size + body
    assert client_random(a_record(0, 0, message)) == bytes(range(32))
    assert client_random(a_record(0, 0, message[:-1])) is None


def test_what_follows_the_extensions_of_a_hello_is_none_of_them() -> None:
    assert fragment_bytes(HELLO + b"\0\1\0\1\1") == RECORD_BYTES


def test_limits_are_positive_and_within_what_openssl_reads() -> None:
    assert DtlsLimits.constrained().associations < DtlsLimits().associations
    with pytest.raises(LocalProtocolError):
        DtlsLimits(associations=0)
    with pytest.raises(LocalProtocolError):
        DtlsLimits(associations_per_host=0)
    with pytest.raises(LocalProtocolError):
        DtlsLimits(idle_s=-1.0)
    with pytest.raises(LocalProtocolError):
        DtlsLimits(datagram_bytes=16 * 1024 + 1)


def a_record(epoch: int, number: int, content: bytes) -> bytes:
    head = b"\x16\xfe\xfd" + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
    return head + len(content).to_bytes(2, "big") + content


numbered = st.tuples(st.integers(0, 1), st.integers(0, (1 << 48) - 1), st.binary(max_size=20))


@given(records=st.lists(numbered, max_size=6), by=st.integers(0, (1 << 48) - 1))
def test_only_records_that_nothing_protects_are_renumbered(
    records: list[tuple[int, int, bytes]], by: int
) -> None:
    before = b"".join(a_record(*each) for each in records)
    after = b"".join(
        a_record(epoch, (number + by) % (1 << 48) if epoch == 0 else number, content)
        for epoch, number, content in records
    )
    assert renumbered(before, by) == after
    if records:
        assert sequence_number(before) == records[0][1]
