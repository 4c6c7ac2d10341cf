"""Who gives way on a full server: whoever floods it, and nobody who is being served."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from est_core import LocalProtocolError
from est_transports.fairness.connection_slots import (
    EVICT_AFTER_S,
    EVICT_LARGEST_AFTER_S,
    HANDSHAKE_GRACE_S,
    HANDSHAKES_MAX,
    WAITING_PER_SLOT,
    ConnectionSlot,
    ConnectionSlots,
)
from tests.reached import Tally

FLOOD, HOME, NAT = "203.0.113.66", "192.0.2.1", "198.51.100.7"


class Server:
    """A server's slots and the clock."""

    def __init__(self, *, open_max: int = 4, half_open_max: int = 8) -> None:
        self.slots = ConnectionSlots[ConnectionSlot](open_max=open_max, half_open_max=half_open_max)
        self.now = 100.0
        self.gone: list[ConnectionSlot] = []

    def arrive(self, network: str = HOME) -> ConnectionSlot:
        slot = ConnectionSlot(network, self.now)
        self._note(self.slots.add(slot, self.now))
        return slot

    def hear(self, network: str = HOME) -> ConnectionSlot:
        """A connection whose client has said something, and waits for us."""
        slot = self.arrive(network)
        self.slots.received(slot)
        return slot

    def shake(self, network: str = HOME) -> ConnectionSlot:
        """A connection in the middle of its handshake: its client is next."""
        slot = self.hear(network)
        self._note(self.slots.sent(slot, self.now))
        return slot

    def finish(self, network: str = HOME) -> ConnectionSlot:
        """A connection with a finished handshake."""
        slot = self.shake(network)
        self._note(self.slots.claim(slot))
        return slot

    def idle(self, network: str = HOME) -> ConnectionSlot:
        """An open connection that waits for its client from now on."""
        slot = self.finish(network)
        assert slot.is_open
        self.slots.sent(slot, self.now)
        return slot

    def _note(self, slot: ConnectionSlot | None) -> None:
        if slot is not None:
            self.gone.append(slot)


# Before the end of the handshake


def test_while_there_is_room_nobody_goes() -> None:
    server = Server(half_open_max=8)
    for _ in range(8):
        server.arrive(FLOOD)
    assert server.gone == []


def test_the_one_that_is_silent_longest_goes_at_once() -> None:
    server = Server(half_open_max=3)
    slots = [server.arrive(FLOOD) for _ in range(5)]
    assert server.gone == slots[:2]


def test_a_flood_ends_its_own_connections_and_no_others() -> None:
    server = Server(half_open_max=8)
    honest = [server.arrive(HOME), server.shake(HOME), server.hear(NAT)]
    for _ in range(100):
        server.arrive(FLOOD)
    assert {slot.network for slot in server.gone} == {FLOOD}
    assert not set(honest) & set(server.gone)


def test_silent_ones_go_before_those_that_shake_hands() -> None:
    server = Server(half_open_max=3)
    shaking, silent = server.shake(FLOOD), server.arrive(FLOOD)
    server.arrive(FLOOD)
    server.arrive(FLOOD)
    assert server.gone == [silent]
    assert shaking in list(server.slots)


def test_a_handshake_gives_way_to_a_smaller_network_at_once() -> None:
    server = Server(half_open_max=3)
    first = server.shake(FLOOD)
    server.shake(FLOOD)
    server.shake(FLOOD)
    newcomer = server.arrive(HOME)
    assert server.gone == [first]
    assert newcomer in list(server.slots)


def test_a_fleet_behind_one_address_finishes_the_handshakes_it_began() -> None:
    server = Server(half_open_max=3)
    fleet = [server.shake(NAT) for _ in range(3)]
    late = server.arrive(NAT)
    assert server.gone == [late]
    server.now += HANDSHAKE_GRACE_S
    server.arrive(NAT)
    assert server.gone == [late, fleet[0]]


def test_whose_turn_is_ours_does_not_go_for_its_own_network() -> None:
    server = Server(half_open_max=2)
    waiting = [server.hear(NAT) for _ in range(2)]
    server.now += 3600.0
    late = server.arrive(NAT)
    assert server.gone == [late]
    assert list(server.slots) == waiting


def test_where_nothing_else_is_left_the_newest_of_the_largest_network_goes() -> None:
    server = Server(half_open_max=2)
    _, newest = server.hear(FLOOD), server.hear(FLOOD)
    server.arrive(HOME)
    assert server.gone == [newest]


def test_handshakes_that_stand_still_go_when_there_are_very_many() -> None:
    server = Server(half_open_max=10 * HANDSHAKES_MAX)
    slots = [server.shake(FLOOD) for _ in range(HANDSHAKES_MAX)]
    server.shake(HOME)
    assert server.gone == []
    server.now += HANDSHAKE_GRACE_S
    server.shake(HOME)
    assert server.gone == slots[:1]


def test_who_left_is_not_counted() -> None:
    server = Server(half_open_max=2)
    for _ in range(10):
        slot = server.shake(NAT)
        server.slots.remove(slot)
        server.slots.remove(slot)
    assert server.slots.half_open == 0
    assert server.gone == []


def test_of_those_that_stand_still_only_what_is_too_many_goes() -> None:
    server = Server(half_open_max=10 * HANDSHAKES_MAX)
    slots = [server.shake(FLOOD) for _ in range(HANDSHAKES_MAX + 1)]
    server.now += HANDSHAKE_GRACE_S
    server.slots.received(slots[0])  # it is our turn: it stands still no more
    server.slots.remove(slots[1])
    server.shake(HOME)
    assert server.gone == []
    server.shake(HOME)
    server.shake(HOME)
    assert server.gone == slots[2:4]
    assert not set(server.gone) & set(server.slots)
    assert server.slots.half_open == HANDSHAKES_MAX + 1


# After it


def test_who_has_come_and_who_has_gone_is_counted_by_network() -> None:
    server = Server(open_max=3)
    flood = [server.idle(FLOOD) for _ in range(2)]
    home = server.idle(HOME)
    assert set(server.slots) == {*flood, home}
    for slot in flood:
        assert server.slots.remove(slot) is None
        assert server.slots.remove(slot) is None
    assert list(server.slots) == [home]
    second, third = server.idle(HOME), server.idle(NAT)
    server.finish(NAT)
    server.now += EVICT_LARGEST_AFTER_S
    assert server.slots.eviction_candidate(server.now) is None, "it would have as many as the other"
    assert server.slots.remove(second) is not None
    assert server.slots.remove(third) is None
    server.idle(HOME)
    server.finish(FLOOD)
    server.now += EVICT_LARGEST_AFTER_S
    assert server.slots.eviction_candidate(server.now) is home


def test_of_several_that_wait_one_of_a_smaller_network_is_reason_enough() -> None:
    server = Server(open_max=2)
    first = server.idle(FLOOD)
    server.now += 0.01
    server.idle(FLOOD)
    server.finish(FLOOD)
    gone = server.finish(HOME)
    assert server.slots.eviction_candidate(server.now + EVICT_LARGEST_AFTER_S) is first
    server.slots.remove(gone)
    assert server.slots.eviction_candidate(server.now + EVICT_LARGEST_AFTER_S) is None


def test_an_open_connection_that_speaks_and_is_answered_waits_anew() -> None:
    server = Server(open_max=1)
    slot = server.idle(NAT)
    server.finish(NAT)
    server.now += EVICT_AFTER_S
    assert server.slots.eviction_candidate(server.now) is slot
    server.slots.received(slot)
    assert server.slots.eviction_candidate(server.now) is None
    server.slots.sent(slot, server.now)
    assert server.slots.eviction_candidate(server.now + EVICT_AFTER_S - 0.01) is None
    assert server.slots.eviction_candidate(server.now + EVICT_AFTER_S) is slot
    assert (server.slots.open, server.slots.half_open) == (1, 1)


def test_who_has_left_is_not_counted_in_again() -> None:
    server = Server(half_open_max=2)
    gone = server.arrive(HOME)
    server.slots.remove(gone)
    server.slots.received(gone)
    server.slots.sent(gone, server.now)
    assert (list(server.slots), server.slots.half_open) == ([], 0)
    other = server.arrive(HOME)
    server.slots.received(gone)
    assert list(server.slots) == [other]


def test_one_that_waits_for_a_place_is_not_silent() -> None:
    server = Server(open_max=1, half_open_max=2)
    server.finish(HOME)
    waiting = server.finish(HOME)
    silent = server.arrive(HOME)
    server.arrive(HOME)
    assert server.gone == [silent]
    assert waiting in list(server.slots)


def test_who_waited_and_went_for_others_counts_no_more() -> None:
    slots = ConnectionSlots[ConnectionSlot](open_max=2, half_open_max=9, waiting_max=1)
    first, second = ConnectionSlot(FLOOD, 0.0), ConnectionSlot(FLOOD, 1.0)
    for slot in (first, second):
        slots.add(slot, 0.0)
        assert slots.claim(slot) is None
        slots.sent(slot, 0.0)
    own, other = ConnectionSlot(FLOOD, 0.0), ConnectionSlot(HOME, 0.0)
    for slot in (own, other):
        slots.add(slot, 0.0)
    assert slots.claim(own) is None
    going = slots.claim(other)
    assert going is not None
    staying = own if going is other else other
    sooner = slots.eviction_candidate(EVICT_LARGEST_AFTER_S)
    assert sooner is (first if staying is other else None)
    assert slots.remove(staying) is None
    third = ConnectionSlot(FLOOD, 0.0)
    slots.add(third, 0.0)
    assert slots.claim(third) is None
    assert slots.eviction_candidate(EVICT_LARGEST_AFTER_S) is None


def test_as_many_may_wait_for_each_place_as_is_said() -> None:
    server = Server(open_max=2, half_open_max=100)
    for _ in range(2 + 2 * WAITING_PER_SLOT):
        server.finish(HOME)
    assert server.gone == []
    last = server.finish(HOME)
    assert server.gone == [last]


def test_with_a_finished_handshake_one_is_open_while_there_is_room() -> None:
    server = Server(open_max=2)
    assert [server.finish().is_open for _ in range(3)] == [True, True, False]
    assert (server.slots.open, server.slots.half_open, server.slots.is_wanted) == (2, 1, True)


def test_networks_have_turns_for_a_place_that_becomes_free() -> None:
    server = Server(open_max=1)
    served = server.finish()
    first, second = server.finish(FLOOD), server.finish(FLOOD)
    honest = server.finish(HOME)
    order = []
    while (following := server.slots.remove(served)) is not None:
        order.append(following)
        served = following
    assert order == [first, honest, second]


def test_nobody_gives_way_while_nobody_waits() -> None:
    server = Server(open_max=1)
    server.idle()
    server.now += 3600.0
    assert server.slots.eviction_candidate(server.now) is None


def test_the_one_that_keeps_us_waiting_longest_gives_way_after_a_time() -> None:
    server = Server(open_max=2)
    first = server.idle(NAT)
    server.now += 1.0
    server.idle(NAT)
    server.finish(NAT)
    server.now += EVICT_AFTER_S - 1.1
    assert server.slots.eviction_candidate(server.now) is None
    server.now += 0.2
    assert server.slots.eviction_candidate(server.now) is first


@pytest.mark.parametrize("waits", [NAT, HOME])
def test_a_place_is_given_up_at_the_moment_and_not_before(waits: str) -> None:
    server = Server(open_max=2)
    first = server.idle(NAT)
    server.idle(NAT)
    server.finish(waits)
    moment = EVICT_AFTER_S if waits == NAT else EVICT_LARGEST_AFTER_S
    assert server.slots.eviction_candidate(server.now + moment - 0.01) is None
    assert server.slots.eviction_candidate(server.now + moment) is first


def test_where_we_keep_all_of_the_largest_network_waiting_nobody_gives_way_sooner() -> None:
    server = Server(open_max=3)
    honest = server.idle(HOME)
    server.finish(FLOOD)
    server.finish(FLOOD)
    server.finish(NAT)
    assert server.slots.eviction_candidate(server.now + EVICT_LARGEST_AFTER_S) is None
    assert server.slots.eviction_candidate(server.now + EVICT_AFTER_S) is honest


def test_how_many_may_wait_can_be_told() -> None:
    slots = ConnectionSlots[ConnectionSlot](open_max=1, half_open_max=9, waiting_max=1)
    served, first, second = (ConnectionSlot(HOME, 0.0) for _ in range(3))
    for slot in (served, first, second):
        assert slots.add(slot, 0.0) is None
    assert slots.claim(served) is None
    assert slots.claim(first) is None
    assert slots.claim(second) is second
    assert not second.is_waiting
    assert slots.half_open == 1
    assert slots.remove(served) is first
    assert not first.is_waiting
    assert not slots.is_wanted


def test_one_connection_is_room_enough() -> None:
    server = Server(open_max=1, half_open_max=1)
    assert server.finish().is_open


def test_one_that_waits_is_no_newcomer_to_those_that_come_after() -> None:
    """It has a slot as soon as one is free, though somebody else claims one at that time."""
    server = Server(open_max=2)
    served = server.finish(HOME)
    server.finish(HOME)
    waiting = server.finish(HOME)
    assert server.slots.remove(served) is waiting
    late = server.finish(HOME)
    assert (waiting.is_open, late.is_open) == (True, False)


def test_one_that_we_keep_waiting_never_gives_way() -> None:
    server = Server(open_max=1)
    server.finish(FLOOD)  # it has asked, and we have not answered
    server.finish(HOME)
    server.now += 3600.0
    assert server.slots.eviction_candidate(server.now) is None


def test_the_largest_network_gives_way_to_a_smaller_one_sooner() -> None:
    server = Server(open_max=3)
    honest = server.idle(HOME)
    first = server.idle(FLOOD)
    server.idle(FLOOD)
    server.finish(NAT)
    server.now += EVICT_LARGEST_AFTER_S
    assert server.slots.eviction_candidate(server.now) is first
    assert first is not honest


def test_a_network_that_has_as_many_waits_as_long_as_everybody() -> None:
    server = Server(open_max=2)
    server.idle(FLOOD)
    server.idle(HOME)
    server.finish(FLOOD)
    server.now += EVICT_LARGEST_AFTER_S
    assert server.slots.eviction_candidate(server.now) is None


def test_who_waits_for_a_place_and_leaves_gets_none() -> None:
    server = Server(open_max=1)
    served, gone, honest = server.finish(), server.finish(FLOOD), server.finish(HOME)
    assert server.slots.remove(gone) is None
    assert server.slots.remove(served) is honest


def test_those_that_wait_for_a_place_are_bounded() -> None:
    server = Server(open_max=1, half_open_max=100)
    server.finish(FLOOD)
    waiting = [server.finish(FLOOD) for _ in range(WAITING_PER_SLOT)]
    honest = server.finish(HOME)
    assert server.gone == waiting[-1:]
    assert honest in list(server.slots)


@pytest.mark.parametrize("bound", ["open_max", "half_open_max"])
def test_a_server_has_room_for_one(bound: str) -> None:
    with pytest.raises(LocalProtocolError):
        Server(**{bound: 0})


class AnyTraffic(RuleBasedStateMachine):
    """Whatever clients do, the counts are right and every bound holds."""

    tally = Tally()
    """Each server is a trial."""

    def __init__(self) -> None:
        super().__init__()
        self.tally.begin()
        self.server = Server(open_max=2, half_open_max=5)
        self.alive: list[ConnectionSlot] = []

    def _settle(self) -> None:
        if len(self.alive) != len(list(self.server.slots)):
            self.tally.reach("gone")
        self.alive = [slot for slot in self.alive if slot not in self.server.gone]

    @rule(network=st.sampled_from([FLOOD, HOME, NAT]))
    def arrive(self, network: str) -> None:
        self.alive.append(self.server.arrive(network))
        self._settle()

    @rule(data=st.data(), step=st.sampled_from(["hear", "answer", "claim", "leave"]))
    def go_on(self, data: st.DataObject, step: str) -> None:
        if self.alive:
            self._go_on(data.draw(st.sampled_from(self.alive)), step)

    @rule(network=st.sampled_from([FLOOD, HOME, NAT]), idle=st.booleans())
    def arrive_and_finish(self, network: str, idle: bool) -> None:
        self.arrive(network)
        slot = self.alive[-1]
        for step in ("hear", "answer", "claim", *(["answer"] if idle else [])):
            if (
                slot in self.alive
                and not slot.is_waiting
                and not (slot.is_open and step == "claim")
            ):
                self._go_on(slot, step)

    def _go_on(self, slot: ConnectionSlot, step: str) -> None:
        slots, now = self.server.slots, self.server.now
        if slot.is_waiting or (slot.is_open and step == "claim"):
            step = "leave"
        gone = None
        match step:
            case "hear":
                slots.received(slot)
            case "answer":
                gone = slots.sent(slot, now)
            case "claim":
                gone = slots.claim(slot)
            case _:
                slots.remove(slot)
                self.alive.remove(slot)
        if gone is not None:
            self.server.gone.append(gone)
        self._settle()

    @rule(seconds=st.floats(0.0, 5.0))
    def wait(self, seconds: float) -> None:
        self.server.now += seconds

    @invariant()
    def counts(self) -> None:
        slots = self.server.slots
        assert Counter(slots) == Counter(self.alive)
        assert slots.open == sum(slot.is_open for slot in self.alive) <= 2
        assert slots.half_open == len(self.alive) - slots.open <= 5
        assert slots.is_wanted == any(slot.is_waiting for slot in self.alive)
        assert not slots.is_wanted or slots.open == 2
        out = slots.eviction_candidate(self.server.now)
        assert out is None or (out.is_open and out.since is not None)
        self.tally.reach(
            *(["open"] if slots.open else []),
            *(["waiting"] if slots.is_wanted else []),
            *(["giving_way"] if out is not None else []),
        )


def test_any_traffic_keeps_the_counts_and_the_bounds() -> None:
    AnyTraffic.tally = tally = Tally()
    run_state_machine_as_test(
        AnyTraffic, settings=settings(max_examples=60, stateful_step_count=60, deadline=None)
    )
    tally.require(gone=40, open=30, waiting=20, giving_way=1)


# Out of descriptors


def test_out_of_descriptors_the_largest_network_loses_the_one_that_is_silent_longest() -> None:
    server = Server(half_open_max=8)
    honest, first, second = server.arrive(HOME), server.arrive(FLOOD), server.arrive(FLOOD)
    assert server.slots.evict_half_open(server.now) is first
    assert set(server.slots) == {honest, second}


def test_out_of_descriptors_nobody_goes_while_it_is_our_turn() -> None:
    server = Server(half_open_max=8)
    assert server.slots.evict_half_open(server.now) is None
    server.hear(FLOOD)
    assert server.slots.evict_half_open(server.now) is None


def test_out_of_descriptors_those_that_speak_outlast_those_that_do_not() -> None:
    server = Server(half_open_max=8)
    shaking, silent = server.shake(FLOOD), server.arrive(FLOOD)
    server.now += HANDSHAKE_GRACE_S
    assert server.slots.evict_half_open(server.now) is silent
    assert server.slots.evict_half_open(server.now) is shaking
    assert server.slots.evict_half_open(server.now) is None
    assert server.slots.half_open == 0


def test_out_of_descriptors_a_handshake_has_its_time() -> None:
    server = Server(half_open_max=8)
    shaking = server.shake(FLOOD)
    assert server.slots.evict_half_open(server.now) is None
    server.now += HANDSHAKE_GRACE_S
    assert server.slots.evict_half_open(server.now) is shaking
