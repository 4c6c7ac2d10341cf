"""A bounded fair queue: round robin over groups, and in each over its members.

Each item is of a member of a group: a user of an address, an association of a host. Groups have
turns, one item a turn, and so have the members of a group. What is full makes room at the
expense of whoever has most: who floods it only loses what he put in himself. No clock, no
threads, no I/O.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from est_core import LocalProtocolError

_T = TypeVar("_T")

SKIPPED_MAX: Final = 64
"""Groups that rest, looked at in one call of `get`: there may be very many of them."""


def _nobody(_group: Hashable) -> bool:
    return False


class _Sizes:
    """Who has how many, and who has most: known at once, however many there are."""

    __slots__ = ("_by_size", "_most", "_of")

    def __init__(self) -> None:
        self._of: dict[Hashable, int] = {}
        self._by_size: dict[int, dict[Hashable, None]] = {}
        self._most = 0

    def count(self, who: Hashable, change: int) -> None:
        """Count one more, or one less."""
        before = self._of.pop(who, 0)
        after = before + change
        if before:
            del self._by_size[before][who]
            if not self._by_size[before]:
                del self._by_size[before]
        if after:
            self._of[who] = after
            self._by_size.setdefault(after, {})[who] = None
        self._most = max(self._most, after)
        if self._most not in self._by_size:  # sizes change by one: it is that of `who`, or nobody's
            self._most = after

    def largest(self, own: Hashable) -> Hashable:
        """Return who has most, `own` where others have as many."""
        return own if self._of.get(own) == self._most else next(iter(self._by_size[self._most]))


class _Group(Generic[_T]):
    __slots__ = ("members", "size", "sizes")

    def __init__(self) -> None:
        self.members: OrderedDict[Hashable, deque[_T]] = OrderedDict()  # whose turn is next, first
        self.size = 0
        self.sizes = _Sizes()


class FairQueue(Generic[_T]):
    """At most `total_max` items, `group_max` of one group, `member_max` of one of its members.

    The items of a member leave in the order they came, or `newest_first`: then, of more than can
    be served, some are served in time and not all too late. Raises LocalProtocolError for a bound
    below zero.
    """

    __slots__ = ("_group_max", "_groups", "_member_max", "_newest_first", "_size", "_sizes",
                 "_total_max")  # fmt: skip

    def __init__(
        self, *, total_max: int, group_max: int, member_max: int, newest_first: bool = False
    ) -> None:
        if min(total_max, group_max, member_max) < 0:
            raise LocalProtocolError("the bounds of a queue are not negative")
        self._total_max = total_max
        self._group_max = group_max
        self._member_max = member_max
        self._newest_first = newest_first
        self._groups: OrderedDict[Hashable, _Group[_T]] = OrderedDict()  # the next turn first
        self._size = 0
        self._sizes = _Sizes()

    def __len__(self) -> int:
        return self._size

    def put(self, item: _T, group: Hashable, member: Hashable, *, beside: int = 0) -> _T | None:
        """Add an item; return the one that has to leave for it, None where there is room.

        That is the newest of the member that has most, of the group that has most: of its own
        where others have as many, and so often the new item itself. `beside` counts against the
        total: what has left the queue and is not finished.
        """
        held = self._groups.setdefault(group, _Group())
        held.members.setdefault(member, deque()).append(item)
        held.size += 1
        held.sizes.count(member, 1)
        self._size += 1
        self._sizes.count(group, 1)
        if len(held.members[member]) > self._member_max:
            return self._newest(group, member)
        if held.size > self._group_max:
            return self._newest(group, held.sizes.largest(member))
        if self._size + beside > self._total_max:
            largest = self._sizes.largest(group)
            return self._newest(largest, self._groups[largest].sizes.largest(member))
        return None

    def get(self, rests: Callable[[Hashable], bool] = _nobody) -> _T | None:
        """Return the next item, None when there is none. Its group and member go to the end.

        A group that `rests` has no turn: it goes to the end as it is. At most SKIPPED_MAX are
        skipped in one call.
        """
        for _ in range(min(len(self._groups), SKIPPED_MAX)):
            group = next(iter(self._groups))
            self._groups.move_to_end(group)
            if not rests(group):
                return self._next_of(group)
        return None

    def _next_of(self, group: Hashable) -> _T:
        held = self._groups[group]
        member = next(iter(held.members))
        items = held.members[member]
        item = items.pop() if self._newest_first else items.popleft()
        held.members.move_to_end(member)
        self._shrink(group, member)
        return item

    def count(self, group: Hashable, member: Hashable) -> int:
        """Return how many items a member has."""
        held = self._groups.get(group)
        return 0 if held is None else len(held.members.get(member, ()))

    def discard(self, item: _T, group: Hashable, member: Hashable) -> None:
        """Take back an item that nobody waits for any more; it need not be there."""
        held = self._groups.get(group)
        items = None if held is None else held.members.get(member)
        if items is not None and item in items:
            items.remove(item)
            self._shrink(group, member)

    def _newest(self, group: Hashable, member: Hashable) -> _T:
        item = self._groups[group].members[member].pop()
        self._shrink(group, member)
        return item

    def _shrink(self, group: Hashable, member: Hashable) -> None:
        """Count one item less, and forget who has none left."""
        held = self._groups[group]
        held.size -= 1
        held.sizes.count(member, -1)
        self._size -= 1
        self._sizes.count(group, -1)
        if not held.members[member]:
            del held.members[member]
        if not held.size:
            del self._groups[group]
