"""Which datagram is served next, and which are lost."""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Instant
from est_core.testing import FIXED_INSTANT
from est_transports.channel.datagram_scheduler import (
    KERNEL_BYTES,
    OVER_S,
    READ_AGAIN_S,
    READ_MAX,
    RESTS,
    SERVED_MAX,
    SERVED_S,
    DatagramScheduler,
    widen,
)
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import Address
from tests.reached import reached, reaches

FLOOD: Address = ("203.0.113.66", 666)
HONEST: Address = ("192.0.2.1", 40001)
LIMITS = DtlsLimits()
NOW = 1000.0


def served(scheduler: DatagramScheduler) -> list[Address]:
    order = []
    while (waiting := scheduler.get(NOW)) is not None:
        order.append(waiting[1])
    return order


def test_a_client_waits_for_one_datagram_of_a_flood() -> None:
    scheduler = DatagramScheduler(LIMITS)
    for number in range(1000):
        scheduler.put(bytes([number % 256]), FLOOD, NOW)
    scheduler.put(b"honest", HONEST, NOW)
    assert served(scheduler)[:2] == [FLOOD, HONEST]


def test_what_is_too_much_of_one_association_is_lost_and_the_oldest_stays() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, waiting_per_association=2))
    for datagram in (b"1", b"2", b"3"):
        scheduler.put(datagram, FLOOD, NOW)
    assert [scheduler.get(NOW), scheduler.get(NOW), scheduler.get(NOW)] == [
        (b"1", FLOOD),
        (b"2", FLOOD),
        None,
    ]
    assert scheduler.lost == 1


def test_many_associations_of_a_host_have_the_turns_of_one() -> None:
    scheduler = DatagramScheduler(LIMITS)
    for port in range(1, 100):
        scheduler.put(b"x", ("203.0.113.66", port), NOW)
    scheduler.put(b"x", ("::ffff:203.0.113.66", 1, 0, 0), NOW)
    scheduler.put(b"honest", HONEST, NOW)
    assert served(scheduler)[:2] == [("203.0.113.66", 1), HONEST]


def test_behind_one_address_associations_have_turns() -> None:
    scheduler = DatagramScheduler(LIMITS)
    for _ in range(10):
        scheduler.put(b"x", ("203.0.113.66", 1), NOW)
    scheduler.put(b"x", ("203.0.113.66", 2), NOW)
    assert [port for _, port in served(scheduler)[:2]] == [1, 2]


def test_a_flood_from_many_addresses_of_a_network_loses_its_own() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=8))
    scheduler.put(b"honest", ("2001:db8:1::1", 1, 0, 0), NOW)
    for number in range(50):
        scheduler.put(b"x", (f"2001:db8::{number:x}", 1, 0, 0), NOW)
    assert len(scheduler) == 8
    assert ("2001:db8:1::1", 1, 0, 0) in served(scheduler)


def test_a_datagram_that_is_too_large_stays_so_and_takes_no_more_room() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, datagram_bytes=100))
    scheduler.put(bytes(5000), FLOOD, NOW)
    waiting = scheduler.get(NOW)
    assert waiting is not None
    assert len(waiting[0]) == 101


def flooded(scheduler: DatagramScheduler, address: Address = FLOOD, now: float = NOW) -> None:
    """Send one datagram too many."""
    for _ in range(LIMITS.waiting_per_association + 1):
        scheduler.put(b"x", address, now)


def test_what_is_said_in_the_name_of_an_association_does_not_silence_it() -> None:
    """Anybody can forge its address: all that is lost is what is too much at that moment."""
    scheduler = DatagramScheduler(LIMITS)
    for _ in range(1000):
        flooded(scheduler)
        served(scheduler)
        scheduler.put(b"honest", FLOOD, NOW)
        assert scheduler.get(NOW) == (b"honest", FLOOD)


def test_who_sent_too_much_does_not_keep_out_others_behind_his_address() -> None:
    scheduler = DatagramScheduler(LIMITS)
    flooded(scheduler)
    scheduler.put(b"honest", (FLOOD[0], 667), NOW)
    assert (FLOOD[0], 667) in served(scheduler)[:2]
    assert scheduler.lost == 1


def test_a_network_over_its_share_rests_after_each_datagram_and_others_do_not() -> None:
    scheduler = DatagramScheduler(LIMITS)
    flooded(scheduler)
    assert scheduler.get(NOW) == (b"x", FLOOD)
    scheduler.served(NOW, NOW + 0.001)
    now = NOW + 0.001
    assert scheduler.get(now) is None
    scheduler.put(b"honest", HONEST, now)
    assert scheduler.get(now) == (b"honest", HONEST)
    scheduler.served(now, now)
    assert scheduler.get(now + RESTS * 0.001 - 0.0001) is None
    assert scheduler.get(now + RESTS * 0.001) == (b"x", FLOOD)


def test_a_network_within_its_share_does_not_rest() -> None:
    scheduler = DatagramScheduler(LIMITS)
    for _ in range(2):
        scheduler.put(b"x", HONEST, NOW)
    for _ in range(2):
        assert scheduler.get(NOW) == (b"x", HONEST)
        scheduler.served(NOW, NOW + 1)


def test_a_share_is_forgiven() -> None:
    scheduler = DatagramScheduler(LIMITS)
    flooded(scheduler)
    assert scheduler.get(NOW) is not None
    scheduler.served(NOW, NOW + 1)
    for _ in range(2):
        assert scheduler.get(NOW + 1 + RESTS) == (b"x", FLOOD)
        scheduler.served(NOW + 1 + RESTS, NOW + 2 + RESTS)


def test_forged_addresses_that_fill_their_queue_rest_as_one_network() -> None:
    known = ("192.0.2.2", 1)
    scheduler = DatagramScheduler(LIMITS, lambda address: address == known)
    for number in range(LIMITS.queued_datagrams + 1):
        scheduler.put(b"x", (f"203.0.{number // 256}.{number % 256}", 1), NOW)
    assert scheduler.get(NOW) is not None
    scheduler.served(NOW, NOW + 0.001)
    assert scheduler.get(NOW + 0.001) is None
    scheduler.put(b"known", known, NOW + 0.001)
    assert scheduler.get(NOW + 0.001) == (b"known", known)
    assert scheduler.get(NOW + 0.001 + RESTS * 0.001) is not None


def test_when_to_look_again() -> None:
    scheduler = DatagramScheduler(LIMITS)
    assert scheduler.next_due(NOW) is None
    scheduler.put(b"x", HONEST, NOW)
    assert scheduler.next_due(NOW) == NOW
    served(scheduler)
    assert scheduler.next_due(NOW) is None
    flooded(scheduler)
    assert scheduler.next_due(NOW) == NOW
    assert scheduler.get(NOW) is not None
    scheduler.served(NOW, NOW + 0.001)
    assert scheduler.get(NOW + 0.001) is None
    assert scheduler.next_due(NOW + 0.001) == NOW + 0.001 + READ_AGAIN_S
    for _ in range(LIMITS.waiting_per_association):
        scheduler.put(b"lost, or waits as the others do", FLOOD, NOW + 0.001)
        assert scheduler.get(NOW + 0.001) is None
    assert scheduler.next_due(NOW + 0.001) == NOW + 0.001 + READ_AGAIN_S
    scheduler.put(b"x", HONEST, NOW + 0.001)
    assert scheduler.next_due(NOW + 0.001) == NOW + 0.001
    now = NOW + 0.001 + OVER_S
    served_at(scheduler, now)
    assert scheduler.next_due(now) is None


def served_at(scheduler: DatagramScheduler, now: float) -> None:
    while scheduler.get(now) is not None:
        pass


def test_how_many_are_remembered_is_bounded() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=4, waiting_per_association=1))
    for port in range(1, 50):
        for _ in range(2):
            scheduler.put(b"x", ("203.0.113.66", port), NOW)
        scheduler.get(NOW)
    scheduler.put(b"forgotten", ("203.0.113.66", 1), NOW)
    assert (b"forgotten", ("203.0.113.66", 1)) in iter(lambda: scheduler.get(NOW), None)


@reaches(lost=15, full=10)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=80)
    | st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=30, max_size=80)
)
def test_what_waits_is_bounded_and_nothing_else_is_lost(
    puts: list[tuple[int, int]],
) -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=20, waiting_per_association=4))
    for host, port in puts:
        scheduler.put(b"x", (f"192.0.2.{host}", port), NOW)
    order = served(scheduler)
    assert len(order) <= 20
    assert all(order.count(each) <= 4 for each in order)
    assert len(order) + scheduler.lost == len(puts)
    reached(*(["lost"] if scheduler.lost else []), *(["full"] if len(order) == 20 else []))


def test_who_has_shaken_hands_and_who_has_not_have_every_other_turn() -> None:
    known = [(f"192.0.2.{number}", 1) for number in range(3)]
    others = [(f"203.0.113.{number}", 1) for number in range(3)]
    scheduler = DatagramScheduler(LIMITS, lambda address: address in known)
    for address in (*others, *known):
        scheduler.put(b"x", address, NOW)
    assert len(scheduler) == 6
    expected = [each for two in zip(known, others, strict=True) for each in two]
    assert served(scheduler) == expected


def test_a_flood_of_one_who_has_shaken_hands_keeps_nobody_else_out() -> None:
    scheduler = DatagramScheduler(LIMITS, lambda address: address == FLOOD)
    for _ in range(4):
        scheduler.put(b"x", FLOOD, NOW)
    scheduler.put(b"hello", HONEST, NOW)
    assert served(scheduler) == [FLOOD, HONEST, FLOOD, FLOOD, FLOOD]


def test_as_much_is_read_of_a_datagram_as_shows_that_it_is_too_large() -> None:
    assert DatagramScheduler(replace(LIMITS, datagram_bytes=100)).receive_bytes == 101


class Socket:
    """A socket that keeps so many bytes, and notes what it is asked to keep."""

    def __init__(self, kept: int, *, refuses: bool = False) -> None:
        self.kept, self.refuses = kept, refuses
        self.asked: list[int] = []

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        return self.kept

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.asked.append(value)
        if self.refuses:
            raise PermissionError


def test_a_socket_is_asked_to_keep_more_and_never_less() -> None:
    for kept, asked in ((KERNEL_BYTES - 1, [KERNEL_BYTES]), (KERNEL_BYTES, [])):
        sock: Any = Socket(kept)
        widen(sock)
        assert sock.asked == asked
    refusing: Any = Socket(1, refuses=True)
    widen(refusing)


def test_who_has_shaken_hands_does_not_wait_for_forged_addresses() -> None:
    scheduler = DatagramScheduler(LIMITS, lambda address: address == HONEST)
    for number in range(2 * LIMITS.queued_datagrams):
        scheduler.put(b"x", (f"203.0.{number // 256}.{number % 256}", 1), NOW)
    scheduler.put(b"honest", HONEST, NOW)
    order = served(scheduler)
    assert HONEST in order[:2]
    assert len(order) == LIMITS.queued_datagrams + 1


class Arrivals:
    """A socket at which this has arrived."""

    def __init__(self, *arrived: tuple[bytes, Address] | OSError) -> None:
        self.arrived = deque(arrived)

    def recvfrom(self, size: int) -> tuple[bytes, Address]:
        assert size == LIMITS.datagram_bytes + 1
        if not self.arrived:
            raise BlockingIOError
        found = self.arrived.popleft()
        if isinstance(found, OSError):
            raise found
        return found


def from_hosts(count: int) -> list[tuple[bytes, Address]]:
    return [(b"x", (f"192.0.{number // 256}.{number % 256}", 1)) for number in range(count)]


def test_what_has_arrived_is_read_and_an_error_of_an_answer_is_passed_over() -> None:
    scheduler = DatagramScheduler(LIMITS)
    sock: Any = Arrivals((b"1", HONEST), ConnectionRefusedError(), (b"2", HONEST))
    scheduler.read(sock, NOW)
    assert [scheduler.get(NOW), scheduler.get(NOW), scheduler.get(NOW)] == [
        (b"1", HONEST),
        (b"2", HONEST),
        None,
    ]
    sock = Arrivals(OSError(9, "Bad file descriptor"))
    with pytest.raises(OSError, match="Bad file"):
        scheduler.read(sock, NOW)


def test_so_many_are_read_in_a_row_and_the_others_stay() -> None:
    scheduler = DatagramScheduler(LIMITS)
    sock: Any = Arrivals(*from_hosts(READ_MAX + 2))
    scheduler.read(sock, NOW)
    assert (len(scheduler), len(sock.arrived)) == (READ_MAX, 2)


class Site:
    """Whoever is given datagrams, each of which takes as long, and may bring another."""

    def __init__(
        self, takes_s: float = 0.0, *, answer: tuple[bytes, Address] | None = None
    ) -> None:
        self.mono = 0.0
        self.takes_s, self.answer = takes_s, answer
        self.sock: Any = Arrivals()
        self.had: list[tuple[bytes, Address, float]] = []

    def clock(self) -> Instant:
        return replace(FIXED_INSTANT, mono=self.mono)

    def receive(self, datagram: bytes, address: Address, now: Instant) -> None:
        self.had.append((datagram, address, now.mono))
        self.mono += self.takes_s
        if self.answer is not None:
            self.sock.arrived.append(self.answer)
            self.answer = None

    def serve(self, scheduler: DatagramScheduler) -> int:
        before = len(self.had)
        scheduler.serve(self.sock, self.receive, self.clock)
        return len(self.had) - before


def test_so_many_are_served_in_a_row_and_then_others_have_their_turn() -> None:
    scheduler, site = DatagramScheduler(LIMITS), Site()
    site.sock.arrived.extend(from_hosts(SERVED_MAX + 3))
    assert [site.serve(scheduler) for _ in range(3)] == [SERVED_MAX, 3, 0]
    assert [(datagram, address) for datagram, address, _ in site.had] == from_hosts(SERVED_MAX + 3)


@pytest.mark.parametrize(("takes_s", "served"), [(SERVED_S / 4, 4), (SERVED_S / 3.9, 4), (1.0, 1)])
def test_they_are_served_for_so_long(takes_s: float, served: int) -> None:
    scheduler, site = DatagramScheduler(LIMITS), Site(takes_s)
    site.sock.arrived.extend(from_hosts(10))
    assert site.serve(scheduler) == served
    assert [mono for *_, mono in site.had] == pytest.approx([takes_s * n for n in range(served)])


def test_what_arrives_while_one_is_served_is_next() -> None:
    scheduler, site = DatagramScheduler(LIMITS), Site(answer=(b"2", HONEST))
    site.sock.arrived.append((b"1", HONEST))
    assert site.serve(scheduler) == 2


def test_a_network_over_its_share_rests_as_long_as_what_it_sent_took_to_be_served() -> None:
    scheduler, site = DatagramScheduler(LIMITS), Site(0.001)
    site.sock.arrived.extend([(b"x", FLOOD)] * (LIMITS.waiting_per_association + 1))
    assert site.serve(scheduler) == 1
    site.mono = 0.001 + RESTS * 0.001 - 0.0001
    assert site.serve(scheduler) == 0
    site.mono = 0.001 + RESTS * 0.001 + 0.0001
    assert site.serve(scheduler) == 1


def test_who_was_served_is_noted_once() -> None:
    scheduler = DatagramScheduler(LIMITS)
    flooded(scheduler)
    scheduler.served(NOW, NOW + 1)
    assert scheduler.get(NOW) == (b"x", FLOOD)
    scheduler.served(NOW, NOW)
    scheduler.served(NOW, NOW + 1)
    assert scheduler.get(NOW) == (b"x", FLOOD)


def test_both_kinds_of_losses_are_counted() -> None:
    scheduler = DatagramScheduler(LIMITS, lambda address: address == FLOOD)
    flooded(scheduler)
    flooded(scheduler, HONEST)
    assert scheduler.lost == 2
    assert scheduler.next_due(NOW) == NOW
    served(scheduler)
    assert scheduler.next_due(NOW + OVER_S - 0.001) == NOW + OVER_S - 0.001 + READ_AGAIN_S
    assert scheduler.next_due(NOW + OVER_S) is None


def test_where_all_is_full_the_largest_host_loses_and_is_over_its_share() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=4))
    for port in range(1, 6):
        scheduler.put(bytes([port]), (FLOOD[0], port), NOW)
    assert (len(scheduler), scheduler.lost) == (4, 1)
    scheduler.put(b"honest", HONEST, NOW)
    assert (len(scheduler), scheduler.lost) == (4, 2)
    assert scheduler.get(NOW) == (b"\2", (FLOOD[0], 2)), "of as many, the first gives way"
    scheduler.served(NOW, NOW + 0.001)
    assert scheduler.get(NOW + 0.001) is None, "all of them rest, for anybody may forge an address"
    now = NOW + 0.001 + RESTS * 0.001
    assert scheduler.get(now) is not None
    assert scheduler.next_due(NOW + OVER_S - 0.001) == NOW + OVER_S - 0.001 + READ_AGAIN_S
    served_at(scheduler, NOW + OVER_S)
    assert scheduler.next_due(NOW + OVER_S) is None


def test_who_looks_again_is_told_whether_somebody_has_a_turn() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=2))
    for port in (1, 2):
        scheduler.put(b"x", (FLOOD[0], port), NOW)
    scheduler.put(b"x", (FLOOD[0], 3), NOW)  # it is lost itself
    assert scheduler.get(NOW) is not None
    scheduler.served(NOW, NOW + 0.01)
    assert scheduler.get(NOW + 0.01) is None
    assert scheduler.next_due(NOW + 0.01) == NOW + 0.01 + READ_AGAIN_S
    scheduler.put(b"x", (FLOOD[0], 4), NOW + 0.01)
    assert scheduler.next_due(NOW + 0.01) == NOW + 0.01


@pytest.mark.parametrize("known", [True, False])
def test_while_one_kind_loses_something_it_is_looked_at_again(known: bool) -> None:
    scheduler = DatagramScheduler(LIMITS, lambda _address: known)
    flooded(scheduler)
    served(scheduler)
    assert scheduler.next_due(NOW) == NOW + READ_AGAIN_S
    assert scheduler.next_due(NOW + OVER_S) is None


def test_who_rests_longer_than_the_flood_lasts_is_not_forgotten() -> None:
    scheduler = DatagramScheduler(LIMITS)
    flooded(scheduler)
    assert scheduler.get(NOW) is not None
    scheduler.served(NOW - 1, NOW)
    later = NOW + 2 * OVER_S
    assert scheduler.get(later) is None
    assert scheduler.next_due(later) == later + READ_AGAIN_S
    scheduler.put(b"the last that may wait", FLOOD, later)
    assert scheduler.get(later) is None
    scheduler.put(b"one too many", FLOOD, later)
    assert scheduler.next_due(later) == later + READ_AGAIN_S, "it is lost, and changes nothing"


def test_what_comes_where_all_is_full_may_take_the_place_of_another() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=2))
    for port in (1, 2, 3):
        scheduler.put(b"x", (FLOOD[0], port), NOW)
    assert scheduler.get(NOW) is not None
    scheduler.served(NOW - 1, NOW)
    scheduler.put(b"x", (FLOOD[0], 4), NOW)
    assert scheduler.get(NOW) is None
    scheduler.put(b"x", (FLOOD[0], 5), NOW)
    assert scheduler.next_due(NOW) == NOW + READ_AGAIN_S, "it is lost itself"
    scheduler.put(b"x", HONEST, NOW)
    assert scheduler.next_due(NOW) == NOW


def test_those_that_filled_the_queue_rest_no_more_when_that_is_over() -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=2))
    for port in (1, 2, 3):
        scheduler.put(b"x", (FLOOD[0], port), NOW)
    assert scheduler.get(NOW + OVER_S) is not None
    scheduler.served(NOW, NOW + OVER_S)
    assert scheduler.get(NOW + OVER_S) is not None


@pytest.mark.parametrize(
    ("order", "rest"), [("abc", "bc"), ("abac", "ac"), ("ab", "ab")], ids=["abc", "abac", "ab"]
)
def test_of_those_over_their_share_the_latest_are_remembered(order: str, rest: str) -> None:
    scheduler = DatagramScheduler(replace(LIMITS, queued_datagrams=2, waiting_per_association=1))
    hosts: dict[str, Address] = {name: (f"192.0.2.{at}", 1) for at, name in enumerate("abc")}
    for name in order:
        for _ in range(2):
            scheduler.put(b"x", hosts[name], NOW)
        assert scheduler.get(NOW) is not None
    for name, address in hosts.items():
        scheduler.put(b"x", address, NOW)
        assert scheduler.get(NOW) is not None
        scheduler.served(NOW, NOW + 0.01)
        scheduler.put(b"y", address, NOW + 0.01)
        assert (scheduler.get(NOW + 0.01) is None) is (name in rest)
        while scheduler.get(NOW + 0.03) is not None:
            pass
