"""Targets: who is served next and who gives way, as scripts beside a model that is slower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from est_core.testing import CountingEntropy
from est_transports.authority.stores.recent_passwords import RecentPasswords
from est_transports.channel.datagram_scheduler import OVER_S, RESTS, DatagramScheduler
from est_transports.channel.dtls_cookies import COOKIE_BYTES, Cookies
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import Address
from est_transports.fairness.connection_slots import ConnectionSlot, ConnectionSlots
from est_transports.fairness.fair_queue import FairQueue
from est_transports.fairness.networks import network_of_host
from fuzz.choices import pack, steps
from fuzz.target import Result, Shape, Target, accepted, passed, stopped

_STEPS_MAX: Final = 120
_GROUPS: Final = 3
_MEMBERS: Final = 3
_TOTAL, _GROUP, _MEMBER = 8, 5, 3
_Item = tuple[int, int, int]
"""Group, member and number of an item."""


def fair_queue(data: bytes) -> Result:
    """Nothing is lost or made up, the bounds hold, members keep their order, groups have turns."""
    queue = FairQueue[_Item](total_max=_TOTAL, group_max=_GROUP, member_max=_MEMBER)
    waiting, done = list[_Item](), set[str]()
    owed = set[int]()  # the groups that waited when the last turn was given
    for number, (what, choices) in enumerate(steps(data, _STEPS_MAX)):
        item = choices.number(_GROUPS), choices.number(_MEMBERS), number
        match what % 4:
            case 0 | 1:
                _put(queue, waiting, item, done)
                owed &= {each[0] for each in waiting}
                continue
            case 2:
                got = queue.get()
                assert (got is None) == (not waiting)
                if got is None:
                    continue
                assert got == min(each for each in waiting if each[:2] == got[:2])
                waiting.remove(got)
                assert not owed or got[0] in owed
                owed = {each[0] for each in waiting} - {got[0]}
                done.add("got")
                continue
            case _ if waiting:
                item = choices.pick(waiting)
                waiting.remove(item)
                done.add("discarded")
            case _:
                pass
        queue.discard(item, item[0], item[1])
        owed &= {each[0] for each in waiting}
        assert len(queue) == len(waiting)
    text = " ".join(sorted(done))
    return (accepted if "crowded out" in done else passed if "got" in done else stopped)(text)


def _put(queue: FairQueue[_Item], waiting: list[_Item], item: _Item, done: set[str]) -> None:
    waiting.append(item)
    leaving = queue.put(item, item[0], item[1])
    if leaving is not None:
        same = [each for each in waiting if each[:2] == leaving[:2]]
        assert leaving == max(same)  # the newest of its member
        sizes = [sum(each[0] == group for each in waiting) for group in range(_GROUPS)]
        own = len(same) > _MEMBER or sizes[item[0]] > _GROUP
        assert leaving[0] == item[0] if own else sizes[leaving[0]] == max(sizes)
        waiting.remove(leaving)
        done.add("crowded out")
    assert len(queue) == len(waiting) <= _TOTAL
    assert all(sum(each[0] == group for each in waiting) <= _GROUP for group in range(_GROUPS))
    for member in {each[:2] for each in waiting}:
        assert sum(each[:2] == member for each in waiting) <= _MEMBER


_LIMITS: Final = DtlsLimits(queued_datagrams=12, waiting_per_association=4, datagram_bytes=600)
_TOOK_S: Final = 2**-7  # which is added up exactly
_HOSTS: Final = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")


def datagram_scheduler(data: bytes) -> Result:
    """Each datagram is served or counted as lost, both kinds have turns, and who rests is served.

    Nobody is served while he rests: who lost some of his own, for twice as long as he took.
    """
    known: set[Address] = set()
    turns = DatagramScheduler(_LIMITS, is_known=known.__contains__)
    model = _SchedulerModel()
    put, lost_before, got, now = list[tuple[bytes, Address]](), 0, 0, 0.0
    for what, choices in steps(data, _STEPS_MAX):
        address: Address = (choices.pick(_HOSTS), choices.number(2))
        match what % 4:
            case 0 | 1:
                datagram = choices.rest() * 2
                turns.put(datagram, address, now)
                put.append((datagram[: turns.receive_bytes], address))
                model.put(address, address in known, now, is_lost=turns.lost > lost_before)
            case 2:
                item = turns.get(now)
                if item is None and len(turns):
                    now += RESTS * _TOOK_S
                    model.previous = None
                    item = turns.get(now)
                if item is None:
                    assert len(turns) == 0
                    continue
                put.remove(item)
                begun, now = now, now + choices.number(2) * _TOOK_S
                model.get(item[1], item[1] in known, begun, now)
                turns.served(begun, now)
                got += 1
            case _:
                if not len(turns):  # whose datagrams wait stays what it is
                    known.symmetric_difference_update({address})
        assert turns.lost >= lost_before
        lost_before = turns.lost
        assert len(put) == len(turns) + turns.lost
        assert len(turns) <= 2 * _LIMITS.queued_datagrams
        assert not len(turns) or turns.next_due(now) is not None
    text = f"{model.previous} {turns.lost > 0} {len(known)}"
    return (accepted if turns.lost else passed if got else stopped)(text)


class _SchedulerModel:
    """Who waits and who rests, as long as it is certain whose datagram was lost."""

    def __init__(self) -> None:
        self.previous: bool | None = None
        """Of which kind the last one was, if the other kind waited then too."""
        self._waiting = Counter[tuple[bool, Address]]()
        self._over: dict[tuple[bool, str], float] = {}
        self._rests: dict[tuple[bool, str], float] = {}
        self._is_certain = True

    def put(self, address: Address, known: bool, now: float, *, is_lost: bool) -> None:
        waiting = sum(count for (kind, _), count in self._waiting.items() if kind is known)
        if not is_lost:
            self._waiting[known, address] += 1
        elif waiting < _LIMITS.queued_datagrams:  # so it was one too many of its own
            assert self._waiting[known, address] == _LIMITS.waiting_per_association
            self._over[known, network_of_host(str(address[0]))] = now + OVER_S
        else:
            self._is_certain = False

    def get(self, address: Address, known: bool, begun: float, now: float) -> None:
        if not self._is_certain:
            return
        network = known, network_of_host(str(address[0]))
        assert begun >= self._rests.get(network, begun)
        other_waits = any(count for (kind, _), count in self._waiting.items() if kind is not known)
        if other_waits and not self._rests:
            assert self.previous is not known
        self.previous = known if other_waits else None
        self._waiting[known, address] -= 1
        if now < self._over.get(network, now):
            self._rests[network] = now + RESTS * (now - begun)


_OPEN_MAX, _HALF_OPEN_MAX, _WAITING_MAX = 2, 4, 3
_PASSES_S: Final = (0.0, 0.1, 0.3, 1.1, 2.5)


def connection_slots(data: bytes) -> Result:
    """The bounds hold, each connection is counted once, and whoever has to go is counted out."""
    slots = ConnectionSlots[ConnectionSlot](
        open_max=_OPEN_MAX, half_open_max=_HALF_OPEN_MAX, waiting_max=_WAITING_MAX
    )
    held, now, done = list[ConnectionSlot](), 0.0, set[str]()
    for what, choices in steps(data, _STEPS_MAX):
        slot = choices.pick(held) if held else None
        going: ConnectionSlot | None = None
        match what % 8:
            case 0 | 1:
                slot = ConnectionSlot(choices.pick(_HOSTS), now)
                held.append(slot)
                going = slots.add(slot, now)
            case 2 if slot is not None:
                slots.received(slot)
            case 3 if slot is not None:
                going = slots.sent(slot, now)
            case 4 if slot is not None and not (slot.is_open or slot.is_waiting):
                going = slots.claim(slot)
                assert slot is going or slot.is_open != slot.is_waiting
            case 5 if slot is not None:
                successor = slots.remove(slot)
                held.remove(slot)
                assert successor is None or (successor.is_open and successor in held)
            case 6:
                going = slots.evict_half_open(now)
                assert going is None or not going.is_open
            case _:
                now += choices.pick(_PASSES_S)
                way = slots.eviction_candidate(now)
                assert way is None or (way.is_open and way.since is not None and way.since < now)
                done |= {"gives way"} if way is not None else set()
        if going is not None:
            done.add("goes")
            held.remove(going)
        _assert_counted(slots, held)
        done |= {"open"} if slots.open else set()
    text = " ".join(sorted(done))
    return (accepted if {"open", "goes"} <= done else passed if done else stopped)(text)


def _assert_counted(slots: ConnectionSlots[ConnectionSlot], held: list[ConnectionSlot]) -> None:
    counted = list(slots)
    assert len(counted) == len(set(counted)) == len(held)
    assert set(counted) == set(held)
    assert slots.open == sum(each.is_open for each in held) <= _OPEN_MAX
    assert slots.half_open == len(held) - slots.open <= _HALF_OPEN_MAX
    waiting = sum(each.is_waiting for each in held)
    assert waiting <= _WAITING_MAX
    assert slots.is_wanted == (waiting > 0)
    assert not waiting or slots.open == _OPEN_MAX


_PERIOD_S: Final = 10.0
_COOKIE_WAITS_S: Final = (0.0, 1.0, 9.0, 10.0, 11.0, 25.0)


def cookies(data: bytes) -> Result:
    """A cookie is good for its own client, for one period at least and two at most."""
    made = Cookies(CountingEntropy(), period_s=_PERIOD_S)
    issued: dict[tuple[bytes, bytes], tuple[bytes, float]] = {}
    now, seen = 0.0, set[str]()
    for _, choices in steps(data, _STEPS_MAX):
        now += choices.pick(_COOKIE_WAITS_S)
        client = choices.part(), choices.rest()
        good = made.for_client(*client, now)
        assert 0 < len(good) <= 2
        assert all(len(each) == COOKIE_BYTES for each in good)
        for other, (cookie, at) in issued.items():
            if other != client:
                assert cookie not in good
            elif now - at < _PERIOD_S:
                assert cookie in good
                seen.add("again")
            elif now - at >= 2 * _PERIOD_S:
                assert cookie not in good
                seen.add("too late")
        if client not in issued or issued[client][0] not in good:
            issued[client] = good[0], now
    text = f"{min(len(issued), 3)} {' '.join(sorted(seen))}"
    return (accepted if seen else passed if len(issued) > 1 else stopped)(text)


_USERS: Final = ("device", "other", "D\u00e9vice", "De\u0301vice")
_LIFETIME_S: Final = 60.0
_FRESH_S: Final = 40.0
_USERS_MAX: Final = 2


def recent_passwords(data: bytes) -> Result:
    """Who is known gave this password lately; who need not be checked, for the same record."""
    recent = RecentPasswords(
        CountingEntropy(), users_max=_USERS_MAX, lifetime_s=_LIFETIME_S, fresh_s=_FRESH_S
    )
    right: dict[str, tuple[str, str | None, float]] = {}
    now, seen = 0.0, set[str]()
    for what, choices in steps(data, _STEPS_MAX):
        user = choices.pick(_USERS)
        name = _USERS[2] if user == _USERS[3] else user  # one name in two forms of Unicode
        record = choices.pick((None, "one", "two"))
        password = choices.rest().decode("latin-1")
        match what % 4:
            case 0 | 1:
                known = right.get(name)
                is_known = recent.knows(user, password, now)
                assert not is_known or (
                    known is not None and known[0] == password and now < known[2]
                )
                seen |= {"known"} if is_known else set()
                vouched = recent.vouches(user, password, record or "", now)
                assert vouched == (
                    is_known
                    and known is not None
                    and known[1] == record
                    and now < known[2] - _LIFETIME_S + _FRESH_S
                )
                seen |= {"vouched"} if vouched else set()
                if known is not None and len(right) <= _USERS_MAX and now < known[2]:
                    assert is_known == (known[0] == password)
            case 2:
                is_right = record is not None
                recent.settle(user, password, record, now, right=is_right)
                if is_right:
                    right[name] = password, record, now + _LIFETIME_S
                elif name in right and right[name][1] != record:
                    del right[name]
                    seen.add("forgotten")
            case _:
                now += (1.0, 30.0, 61.0)[len(password) % 3]
        assert len(recent) <= _USERS_MAX
    text = " ".join(sorted(seen))
    return (accepted if "known" in seen else passed if right else stopped)(text)


def _scripts(*patterns: bytes) -> Iterator[bytes]:
    """Yield scripts that repeat what is done, each time with other arguments."""
    for pattern in patterns:
        for shift in range(4):
            yield pack(
                bytes((what, (at + shift) % 4, at * shift % 5, at % 3))
                for at, what in enumerate(pattern * 6)
            )


def _turn_scripts() -> Iterator[bytes]:
    """Yield both kinds side by side, and one association with more than its share."""
    yield from _scripts(b"\3\0\0\2", b"\0\0\0\0", b"\3\0\2\2")
    served = b"\2\0\0\1"
    both = (b"\3\0\0", *(bytes((0, at % 2, 0)) + b"x" for at in range(6)), *(served,) * 6)
    flood = (*(b"\0\0\0x",) * 6, b"\0\2\1y", *(served,) * 5)
    yield from map(pack, (both, flood, both + flood))


def _cookie_scripts() -> Iterator[bytes]:
    for waits in (b"\0\1\2", b"\3\0", b"\0\4\1", b"\5\0\0\2"):
        yield pack(
            b"\0" + bytes((wait,)) + b"\0\4addr" + bytes((at % 2,)) * 4
            for at, wait in enumerate(waits * 4)
        )


def _password_scripts() -> Iterator[bytes]:
    for record, wait in ((1, 0), (2, 1), (1, 2)):
        for user in range(4):
            settle = bytes((2, user, record)) + b"secret"
            asked = bytes((0, user, 0)) + b"secret"
            wrong = bytes((0, user, 0)) + b"Secret"
            passes, fails = b"\3\0\0" + b"x" * wait, bytes((2, user, 0)) + b"secret"
            yield pack((settle, asked, wrong, passes, asked, fails, asked))


TARGETS: Final = (
    Target(
        run=fair_queue,
        seeds=lambda: _scripts(b"\0\0\0\2", b"\0\1\2\3", b"\0\0\0\0\0"),
        shape=Shape.PARTS,
        gate="serves something",
        goal="crowds something out",
        modules=("est_transports.fairness.fair_queue",),
    ),
    Target(
        run=datagram_scheduler,
        seeds=_turn_scripts,
        shape=Shape.PARTS,
        gate="serves a datagram",
        goal="loses a datagram",
        modules=("est_transports.channel.datagram_scheduler", "est_transports.fairness.fair_queue"),
    ),
    Target(
        run=connection_slots,
        seeds=lambda: _scripts(b"\0\2\4\3\7", b"\0\0\2\3\7", b"\0\2\4\5\6", b"\0\0\0\0\7\6"),
        shape=Shape.PARTS,
        gate="opens or ends a connection",
        goal="opens one and ends another",
        modules=("est_transports.fairness.connection_slots",),
    ),
    Target(
        run=cookies,
        seeds=_cookie_scripts,
        shape=Shape.PARTS,
        gate="has two clients",
        goal="has a cookie come back",
        modules=("est_transports.channel.dtls_cookies",),
    ),
    Target(
        run=recent_passwords,
        seeds=_password_scripts,
        shape=Shape.PARTS,
        gate="has a right password",
        goal="knows somebody again",
        modules=("est_transports.authority.stores.recent_passwords",),
    ),
)
