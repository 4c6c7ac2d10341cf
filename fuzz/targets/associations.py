"""Target: the DTLS server with all its clients, honest ones and others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from est_core.testing import CountingEntropy
from est_transports.channel.dtls import (
    DtlsEngine,
)
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import (
    IDLE,
    NO_ROOM,
    Address,
    Association,
    DtlsServer,
    Ended,
    Established,
    HandshakeFailed,
    Received,
)
from est_transports.channel.tls import (
    TlsError,
)
from fuzz import cast
from fuzz.choices import Choices, pack, steps
from fuzz.target import Reach, Result, Shape, Target
from fuzz.targets.channels import (
    STEPS_MAX,
    TLS_WORDS,
    dtls_client_side,
    dtls_scripts,
    dtls_server_side,
    edited,
    nothing_more,
)

MUX_LIMITS: Final = DtlsLimits(associations=2, half_open=2, queued_datagrams=32)
ADDRESSES: Final[tuple[Address, ...]] = tuple(("192.0.2.1", port) for port in (1, 2, 3))
PASSES_S: Final = (0.5, 3.0, 61.0, 301.0)


def dtls_server(data: bytes) -> Result:
    """No datagram raises, the bounds hold, and an address that proved nothing costs no more.

    What it is sent is never more than what it sent itself. What is received is what a client of
    that address wrote, each datagram once.
    """
    server = DtlsServer(dtls_server_side, entropy=CountingEntropy(), limits=MUX_LIMITS)
    clients: dict[Address, DtlsEngine] = {}
    heard, told, proven = Counter[Address](), Counter[Address](), set[Address]()
    answered = set[DtlsEngine]()
    now, codes, living = 0.0, list[str](), set[Association]()
    wrote, got = Counter[tuple[Address, bytes]](), Counter[tuple[Address, bytes]]()
    for number, choices in (*steps(data, STEPS_MAX), *nothing_more()):
        address = choices.pick(ADDRESSES)
        now += choices.pick(PASSES_S) if number % 6 == 3 else 0.0
        server.handle_timeout(now)
        for datagram in _said(number, choices, clients, address, wrote):
            heard[address] += len(datagram)
            server.receive(datagram, address, now)
            if clients.get(address) in answered:
                proven.add(address)
            assert max(server.handshakes, len(living)) <= len(proven)
        codes += _events(server, living, now, got)
        assert got <= wrote
        for to, datagram in server.outgoing():
            told[to] += len(datagram)
            if to in clients:
                clients[to].receive(datagram)
                answered.add(clients[to])
        assert set(server.associations) == living
        assert len(living) <= MUX_LIMITS.associations
        assert server.handshakes <= MUX_LIMITS.half_open
        assert all(told[each] <= heard[each] for each in ADDRESSES if each not in proven)
        due = server.next_timeout(now)
        assert due is None or due >= now
    reach = Reach.ACCEPTED if got else Reach.PASSED if codes else Reach.STOPPED
    return Result(" ".join(dict.fromkeys(codes)), reach)


def _events(
    server: DtlsServer,
    living: set[Association],
    now: float,
    got: Counter[tuple[Address, bytes]],
) -> Iterator[str]:
    """Take all events; keep the set of living associations as they tell it."""
    while (event := server.next_event()) is not None:
        match event:
            case Established(association=association):
                living.add(association)
                assert association.channel.peer_chain[:1] == (cast.client().certificate,)
                server.send(association, b"hello", now)
            case Received(association=association, datagram=datagram):
                assert association in living
                got[association.address, datagram] += 1
                association.is_busy = bool(len(datagram) % 2)
            case Ended(association=association, code=code):
                living.remove(association)
                assert code not in (IDLE, NO_ROOM) or not association.is_busy
            case HandshakeFailed():
                pass
        yield type(event).__name__


def _said(
    number: int,
    choices: Choices,
    clients: dict[Address, DtlsEngine],
    address: Address,
    wrote: Counter[tuple[Address, bytes]],
) -> tuple[bytes, ...]:
    """Return the datagrams of one step: raw ones, or an honest client's, edited or not."""
    if number % 6 == 1:
        return (choices.rest(),)
    if number % 6 == 4 or address not in clients:
        clients[address] = DtlsEngine(dtls_client_side())
    client = clients[address]
    with suppress(TlsError):
        if client.handshake() and number % 6 == 5:
            words = (choices.rest() or b"hello")[: client.payload_bytes]
            client.write(words)
            wrote[address, words] += 1
    said = client.outgoing()
    if number % 6 == 2:
        return tuple(edited(datagram, choices) for datagram in said)
    return said


def _crowds() -> Iterator[bytes]:
    """Yield more honest clients than there is room for: those before them are busy, or idle."""
    for word in (b"busy!", b"idle"):
        turns = ((b"\0", b"\0", b"\0", b"\5"), (b"\0", b"\0", b"\0"))
        for each in turns:
            yield pack(
                number + bytes((at,)) + (word if number == b"\5" else b"")
                for at in range(len(ADDRESSES))
                for number in each
            )


TARGETS: Final = (
    Target(
        run=dtls_server,
        is_repeatable=False,
        gate="proves an address",
        goal="shakes hands and is heard",
        modules=(
            "est_transports.channel.dtls_mux",
            "est_transports.channel.dtls_cookies",
            "est_transports.channel.dtls_records",
        ),
        seeds=lambda: (*_crowds(), *dtls_scripts()),
        shape=Shape.PARTS,
        words=TLS_WORDS,
        max_bytes=8192,
    ),
)
