"""The server's end of DTLS on one socket: many addresses, an association for each.

`DtlsServer` does no I/O and reads no clock, but for OpenSSL's own in the handshakes::

    server.receive(datagram, address, now)
    while (event := server.next_event()) is not None: ...
    for address, datagram in server.outgoing(): ...

and `handle_timeout(now)` when the time is `next_timeout(now)`.

Anybody can write any address on a datagram, and repeat one that was sent. So what is known of an
address decides what a datagram from it may do. An address has

* nothing, at first. A ClientHello is answered with a HelloVerifyRequest and forgotten. Its cookie
  is a MAC over the address and the client's random: whoever returns it receives what is sent there,
  and nothing had to be kept to know that. The answer is no longer than the question, so a forged
  source costs us a MAC, and the owner of the address no more than the forger's own datagram.
  Everything but a ClientHello is dropped and counted. RFC 6347 4.2.1;
* then a half-open association, from a ClientHello with a cookie on: an engine in its handshake. It
  ends with an association, with a failure, with another such ClientHello, or after `handshake_s`;
* then an association, when the handshake is over: `Established`, and `Received` for what the client
  says, until it closes or breaks it, is idle, is replaced or is evicted: `Ended`.

An address may have the last two at once: a client that lost its memory comes back from the address
of its own association. Only the keys tell whose a record is, so both engines are given it, and each
drops what is not its own. The new one replaces the old when its handshake is over and not before:
nobody who forges that address, or repeats an old ClientHello, can end an association. RFC 6347
4.2.8. A ClientHello with the random of one of the two is a repetition, and its engine's business.

Handshakes and associations are bounded, and so is what nobody took of events and datagrams. Of the
handshakes, the oldest of the host that has most of them is evicted: each has cost its client a
round trip, and a host that floods evicts its own. Of the associations, the one that was longest
idle, those without a verified certificate first, which cost nothing to make; never one with an open
exchange, nor a verified one for one that is not. Where none may go, a ClientHello is not answered.
A host with all the associations that one may have evicts its own; who has a network of IPv6 can
prove any address of it, so a host is an IPv4 address or a /64. One from which too many came whose
certificates do not verify gets no more of that kind for a while.

Why this is enough: before the cookie there is no state to be exhausted. After it each entry belongs
to a host that receives at its address, and no host can have all of them. And of a datagram that is
none of its client's an association loses nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from est_core import Entropy
from est_core.arguments import checked
from est_transports.channel.dtls import DtlsEngine, TlsError
from est_transports.channel.dtls_context import DtlsContextSource, DtlsServerContext
from est_transports.channel.dtls_cookies import Cookies
from est_transports.channel.dtls_events import (
    Address,
    Association,
    DtlsEvent,
    Ended,
    Established,
    HandshakeFailed,
    Received,
)
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_records import client_random, is_dtls, latest_hello
from est_transports.channel.dtls_unverified import UnverifiedShare
from est_transports.channel.errors import TIMEOUT
from est_transports.fairness.networks import network_of_host

__all__ = [
    "CLOSED",
    "IDLE",
    "NO_ROOM",
    "REPLACED",
    "Address",
    "Association",
    "Count",
    "DtlsEvent",
    "DtlsServer",
    "Ended",
    "Established",
    "HandshakeFailed",
    "Received",
]

CLOSED: Final = "dtls/closed"
IDLE: Final = "dtls/idle"
REPLACED: Final = "dtls/replaced"
NO_ROOM: Final = "dtls/no-room"


@unique
class Count(Enum):
    """What became of datagrams that led to nothing; for metrics."""

    TOO_LARGE = "too large"
    NOT_DTLS = "not DTLS"
    NO_ASSOCIATION = "no association"
    """DTLS, no ClientHello, and from an address that is not known."""
    UNPROVEN = "unproven"
    """A ClientHello without a cookie of ours: every handshake begins with one."""
    NO_ROOM = "no room"
    """A ClientHello while every association that could make room has an open exchange."""
    NOT_TAKEN = "not taken"
    """Lost here, for nobody took what was before it."""


@dataclass(slots=True, eq=False)
class _HalfOpen:
    engine: DtlsEngine
    random: bytes
    host: str
    gives_up_at: float


@dataclass(slots=True, eq=False)
class _Open:
    engine: DtlsEngine
    random: bytes
    host: str
    association: Association
    active_at: float

    @property
    def is_verified(self) -> bool:
        return self.association.channel.is_verified


@checked
class DtlsServer:
    """All associations of one socket. Not for two threads at a time.

    `source` is asked for every ClientHello. `now` counts monotonic seconds. No method raises
    because of what a peer sent; events and outgoing datagrams are to be taken after every call.
    """

    __slots__ = (
        "_cookies",
        "_counts",
        "_events",
        "_half_open",
        "_limits",
        "_listener",
        "_listener_context",
        "_open",
        "_outgoing",
        "_per_host",
        "_source",
        "_unverified",
    )

    def __init__(
        self, source: DtlsContextSource, *, entropy: Entropy, limits: DtlsLimits | None = None
    ) -> None:
        self._source = source
        self._limits = limits or DtlsLimits()
        self._cookies = Cookies(entropy, period_s=self._limits.cookie_s)
        self._listener: DtlsEngine | None = None
        self._listener_context: DtlsServerContext | None = None
        self._half_open: OrderedDict[Address, _HalfOpen] = OrderedDict()  # the oldest first
        self._open: OrderedDict[Address, _Open] = OrderedDict()  # the longest idle first
        self._per_host: Counter[str] = Counter()  # of the open ones
        self._events: deque[DtlsEvent] = deque()
        self._outgoing: deque[tuple[Address, bytes]] = deque()
        self._counts: Counter[Count] = Counter()
        self._unverified = UnverifiedShare(
            per_host=self._limits.unverified_per_host, seconds=self._limits.unverified_s
        )

    @property
    def associations(self) -> tuple[Association, ...]:
        """The associations there are, the longest idle first."""
        return tuple(entry.association for entry in self._open.values())

    @property
    def handshakes(self) -> int:
        """How many handshakes are under way, with clients that have proven their address."""
        return len(self._half_open)

    @property
    def counts(self) -> Mapping[Count, int]:
        """How many datagrams led to nothing so far, and why."""
        return MappingProxyType(self._counts)

    def knows(self, address: Address) -> bool:
        """Return whether there is an association with that address."""
        return address in self._open

    def receive(self, datagram: bytes, address: Address, now: float) -> None:
        """Take a datagram that arrived. Anything may be in it, and anybody may have sent it."""
        if len(datagram) > self._limits.datagram_bytes:
            self._counts[Count.TOO_LARGE] += 1
            return
        if not is_dtls(datagram):
            self._counts[Count.NOT_DTLS] += 1
            return
        half_open, opened = self._half_open.get(address), self._open.get(address)
        random = client_random(datagram)
        if random is not None and not _is_known(random, half_open, opened):
            self._answer_hello(latest_hello(datagram, random), random, address, now)
            return
        if half_open is None and opened is None:
            self._counts[Count.NO_ASSOCIATION] += 1
            return
        # Where there are two, only the keys tell whose it is. Each drops what is not its own.
        if opened is not None:
            opened.engine.receive(datagram)
            self._read(opened, now)
        if half_open is not None:
            half_open.engine.receive(datagram)
            self._advance(half_open, address, now)

    def outgoing(self) -> tuple[tuple[Address, bytes], ...]:
        """Return what is to be sent, and to whom, and forget it."""
        waiting = tuple(self._outgoing)
        self._outgoing.clear()
        return waiting

    def next_event(self) -> DtlsEvent | None:
        """Return what happened, oldest first; None when there is nothing more."""
        return self._events.popleft() if self._events else None

    def send(self, association: Association, datagram: bytes, now: float) -> None:
        """Say something to a client.

        What is sent on an association that has ended goes nowhere, as datagrams do. Raises
        LocalProtocolError for more than the association's `payload_bytes`.
        """
        entry = self._entry(association)
        if entry is None:
            return
        try:
            entry.engine.write(datagram)
        except TlsError as exc:
            self._end(entry, exc.code, exc.message)
            return
        self._post(entry.engine, association.address)
        self._touch(entry, now)

    def close(self, association: Association) -> None:
        """Say close_notify and forget the association. There is no event of it."""
        entry = self._entry(association)
        if entry is not None:
            self._forget(entry)

    def next_timeout(self, now: float) -> float | None:
        """Return when `handle_timeout` is due, None if nothing waits.

        It changes with every call of another method, and with `is_busy`.
        """
        due = [entry.gives_up_at for entry in self._half_open.values()]
        for entry in self._half_open.values():
            timeout_s = entry.engine.timeout_s()
            if timeout_s is not None:
                due.append(now + timeout_s)
        for opened in self._open.values():
            if not opened.association.is_busy:
                due.append(opened.active_at + self._limits.idle_s)
                break  # the others were active later
        return min(due, default=None)

    def handle_timeout(self, now: float) -> None:
        """Repeat what went unanswered; end what took too long, and what is idle."""
        for address, entry in tuple(self._half_open.items()):
            if now >= entry.gives_up_at:
                del self._half_open[address]
                self._failed(address, TIMEOUT, "the handshake took too long")
            elif entry.engine.timeout_s() == 0:
                entry.engine.handle_timeout()
                self._advance(entry, address, now)
        for opened in tuple(self._open.values()):
            if now < opened.active_at + self._limits.idle_s:
                break
            if not opened.association.is_busy:
                self._end(opened, IDLE, "nothing was said for too long")

    def _answer_hello(self, hello: bytes, random: bytes, address: Address, now: float) -> None:
        """Answer a ClientHello that belongs to no handshake of ours."""
        host = network_of_host(str(address[0]))
        if address not in self._open and self._is_full(host) and self._least_wanted(host) is None:
            self._counts[Count.NO_ROOM] += 1
            return
        context = self._source()
        listener = self._listener
        if listener is None or self._listener_context is not context:
            listener = self._listener = DtlsEngine(context)
            self._listener_context = context
        cookies = self._cookies.for_client(repr(address).encode(), random, now)
        if not listener.listen(hello, cookies):
            self._counts[Count.UNPROVEN] += 1
            self._post(listener, address)
            return
        self._listener = None  # it is the client's from now on
        entry = _HalfOpen(listener, random, host, now + self._limits.handshake_s)
        self._half_open.pop(address, None)
        self._half_open[address] = entry
        self._evict_half_open()
        self._advance(entry, address, now)

    def _evict_half_open(self) -> None:
        if len(self._half_open) <= self._limits.half_open:
            return
        # Where several hosts have as many, the first counted: that of the oldest handshake.
        ((busiest, _),) = Counter(entry.host for entry in self._half_open.values()).most_common(1)
        address = next(where for where, entry in self._half_open.items() if entry.host == busiest)
        del self._half_open[address]
        self._failed(address, NO_ROOM, "gave way to a newer handshake")

    def _advance(self, entry: _HalfOpen, address: Address, now: float) -> None:
        """See how far a handshake has come."""
        failure: TlsError | None = None
        is_over = False
        try:
            is_over = entry.engine.handshake()
        except TlsError as exc:
            failure = exc
        self._post(entry.engine, address)
        if failure is not None:
            del self._half_open[address]
            self._failed(address, failure.code, failure.message)
        elif is_over:
            del self._half_open[address]
            self._establish(entry, address, now)

    def _establish(self, entry: _HalfOpen, address: Address, now: float) -> None:
        engine = entry.engine
        association = Association(address, engine.channel(), engine.payload_bytes)
        opened = _Open(engine, entry.random, entry.host, association, now)
        obstacle = self._make_room(opened)
        if obstacle:
            engine.close()
            self._post(engine, address)
            self._failed(address, NO_ROOM, obstacle)
            return
        self._open[address] = opened
        self._per_host[entry.host] += 1
        self._events.append(Established(association=association))
        self._read(opened, now)

    def _make_room(self, newcomer: _Open) -> str:
        """End the association whose place a new one takes; return why it may not, or nothing."""
        before = self._open.get(newcomer.association.address)
        least = before
        if before is None and self._is_full(newcomer.host):
            least = self._least_wanted(newcomer.host)
            if least is None:
                return "every association that could make room has an open exchange"
        if not newcomer.is_verified:
            if least is not None and least.is_verified:
                return "its certificate does not verify, and that of the client there does"
            if not self._unverified.take(newcomer.host, newcomer.active_at):
                return "too many of its host came with a certificate that does not verify"
        if least is None:
            return ""
        if least is before:
            self._remove(least)  # it has nobody to send close_notify to
            self._ended(least.association, REPLACED, "the client began anew")
        else:
            self._end(least, NO_ROOM, "gave way to a newer association")
        return ""

    def _read(self, entry: _Open, now: float) -> None:
        """Take what the client said, and what came of it."""
        ending: tuple[str, str] | None = None
        try:
            while (datagram := entry.engine.read()) is not None:
                if not datagram:
                    ending = CLOSED, "the client closed it"
                    break
                self._touch(entry, now)
                self._received(entry.association, datagram)
        except TlsError as exc:
            ending = exc.code, exc.message
        self._post(entry.engine, entry.association.address)
        if ending is not None:
            self._end(entry, *ending)

    def _received(self, association: Association, datagram: bytes) -> None:
        if len(self._events) >= self._limits.queued_datagrams:
            self._counts[Count.NOT_TAKEN] += 1
            return
        self._events.append(Received(association=association, datagram=datagram))

    def _post(self, engine: DtlsEngine, address: Address) -> None:
        for datagram in engine.outgoing():
            if len(self._outgoing) >= self._limits.queued_datagrams:
                self._counts[Count.NOT_TAKEN] += 1
            else:
                self._outgoing.append((address, datagram))

    def _entry(self, association: Association) -> _Open | None:
        entry = self._open.get(association.address)
        return entry if entry is not None and entry.association is association else None

    def _touch(self, entry: _Open, now: float) -> None:
        entry.active_at = now
        self._open.move_to_end(entry.association.address)

    def _is_full(self, host: str) -> bool:
        return len(self._open) >= self._limits.associations or self._has_its_share(host)

    def _has_its_share(self, host: str) -> bool:
        return self._per_host[host] >= self._limits.associations_per_host

    def _least_wanted(self, host: str) -> _Open | None:
        """Return what gives way to a newcomer of that host, None if all of it is busy."""
        own_only = self._has_its_share(host)
        idle = (
            entry
            for entry in self._open.values()
            if not entry.association.is_busy and (entry.host == host or not own_only)
        )
        return min(idle, key=lambda entry: entry.is_verified, default=None)

    def _end(self, entry: _Open, code: str, reason: str) -> None:
        self._forget(entry)
        self._ended(entry.association, code, reason)

    def _forget(self, entry: _Open) -> None:
        entry.engine.close()
        self._post(entry.engine, entry.association.address)
        self._remove(entry)

    def _remove(self, entry: _Open) -> None:
        del self._open[entry.association.address]
        self._per_host[entry.host] -= 1
        if not self._per_host[entry.host]:
            del self._per_host[entry.host]

    def _ended(self, association: Association, code: str, reason: str) -> None:
        self._events.append(Ended(association=association, code=code, reason=reason))

    def _failed(self, address: Address, code: str, reason: str) -> None:
        self._events.append(HandshakeFailed(address=address, code=code, reason=reason))


def _is_known(random: bytes, *entries: _HalfOpen | _Open | None) -> bool:
    """True for a hello that a handshake began with: OpenSSL knows what a repetition means."""
    return any(entry is not None and entry.random == random for entry in entries)
