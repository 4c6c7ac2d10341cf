"""Targets: the engines of TLS and DTLS, and the DTLS server with all its clients.

An honest peer shakes hands, and the input says what happens to its words on their way. What
OpenSSL puts into a handshake is new every time, so these inputs are edits of what is said. An
input repeats its course, not its octets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Final

from est_core import LocalProtocolError, TlsVersion
from est_core.testing import CountingEntropy
from est_transports.dtls import (
    DtlsClientContext,
    DtlsEngine,
    DtlsServerConfig,
    DtlsServerContext,
    dtls_client_context,
    dtls_server_context,
)
from est_transports.dtls_limits import DtlsLimits
from est_transports.dtls_mux import (
    Address,
    Association,
    DtlsServer,
    Ended,
    Established,
    HandshakeFailed,
    Received,
)
from est_transports.tls import (
    ClientContext,
    ClientTlsConfig,
    ServerContext,
    ServerTlsConfig,
    TlsEngine,
    TlsError,
    client_context,
    server_context,
)
from est_transports.trust import TlsIdentity, TrustAnchors
from fuzz import cast, corpus
from fuzz.choices import Choices, pack, steps
from fuzz.target import Shape, Target

_STEPS_MAX: Final = 24
_ROUNDS: Final = 6  # what a handshake takes of them, with a margin
_V12, _V13 = TlsVersion.TLS_1_2, TlsVersion.TLS_1_3


def _identity(entity: cast.Entity) -> TlsIdentity:
    return TlsIdentity(chain=(entity.certificate,), key=entity.key)


def _anchors() -> TrustAnchors:
    return TrustAnchors(explicit=(cast.ca().certificate,))


@cache
def _tls_server(version: TlsVersion) -> ServerContext:
    config = ServerTlsConfig(
        identities=(_identity(cast.server()),), trust=_anchors(), max_version=version
    )
    return server_context(config)


@cache
def _tls_client(version: TlsVersion) -> ClientContext:
    config = ClientTlsConfig(
        server_name=cast.HOST,
        trust=_anchors(),
        identity=_identity(cast.client()),
        max_version=version,
    )
    return client_context(config)


@cache
def dtls_server_side() -> DtlsServerContext:
    """Return the context of a DTLS server."""
    return dtls_server_context(
        DtlsServerConfig(identity=_identity(cast.server()), trust=_anchors())
    )


@cache
def dtls_client_side() -> DtlsClientContext:
    """Return the context of a DTLS client that this server knows."""
    config = ClientTlsConfig(
        server_name=cast.HOST, trust=_anchors(), identity=_identity(cast.client())
    )
    return dtls_client_context(config)


def edited(said: bytes, choices: Choices) -> bytes:
    """Return what was said with one octet changed, cut, doubled, or followed by more."""
    at = choices.number(65536) % (len(said) or 1)
    match choices.number(4):
        case 0:
            mask = choices.number(256) or 1
            return said[:at] + bytes(octet ^ mask for octet in said[at : at + 1]) + said[at + 1 :]
        case 1:
            return said[:at]
        case 2:
            return said[:at] + said
        case _:
            return said + choices.rest()


def tls_server(data: bytes) -> str:
    """Whatever becomes of a client's words, all the server has for it is one lasting TlsError."""
    version = (_V12, _V13)[data[:1] > b"\x7f"]
    return _tls(TlsEngine(_tls_server(version)), TlsEngine(_tls_client(version)), data[1:], version)


def tls_client(data: bytes) -> str:
    """Whatever becomes of a server's words, all the client has for it is one lasting TlsError."""
    version = (_V12, _V13)[data[:1] > b"\x7f"]
    return _tls(TlsEngine(_tls_client(version)), TlsEngine(_tls_server(version)), data[1:], version)


def _tls(victim: TlsEngine, honest: TlsEngine, script: bytes, version: TlsVersion) -> str:
    for number, choices in (*steps(script, _STEPS_MAX), *_nothing_more()):
        with suppress(TlsError):  # it is honest, but what it hears may not be
            if honest.handshake() and number % 8 == 5:
                honest.write(choices.rest() or b"hello")
        said = honest.outgoing()
        match number % 8:
            case 1:
                said = edited(said, choices)
            case 2:
                said = choices.rest() + said
            case 3:
                said = edited(said + choices.take(5), choices)
            case _:
                pass
        with suppress(TlsError):  # too large
            if said:
                victim.receive(said)
            if number % 8 == 4:
                victim.receive(b"")
        code = _turn(victim)
        if code is None and number % 8 == 6:
            victim.close()
        with suppress(TlsError, LocalProtocolError):
            honest.receive(victim.outgoing() or b"")
            while honest.handshake() and honest.read():
                pass
    code = _turn(victim)
    assert code == _turn(victim)
    if code is not None:
        return f"{version.value} {code}"
    with suppress(LocalProtocolError):
        return f"{version.value} {victim.channel().trust_class.value}"
    return f"{version.value} waits"


def _nothing_more() -> Iterator[tuple[int, Choices]]:
    """Yield the steps in which everything goes its way."""
    return ((0, Choices(b"")) for _ in range(_ROUNDS))


def _turn(engine: TlsEngine) -> str | None:
    """Have an engine do what it can; return the code of the error that it ended with."""
    try:
        if engine.handshake():
            while engine.read():
                pass
    except TlsError as error:
        assert error.code.startswith("tls/")
        _assert_lasting(error, engine)
        return error.code
    return None


def _assert_lasting(error: TlsError, engine: TlsEngine | DtlsEngine) -> None:
    """See that an engine has this error for everything from now on."""
    for again in (engine.handshake, engine.read, lambda: engine.write(b"x")):
        try:
            again()
        except TlsError as same:
            assert same is error
        else:
            raise AssertionError("an engine came back to life") from error


def dtls_engine(data: bytes) -> str:
    """No datagram raises, at either end; a handshake that fails has one lasting TlsError."""
    ends = [DtlsEngine(dtls_server_side()), DtlsEngine(dtls_client_side())]
    if data[:1] > b"\x7f":
        ends.reverse()
    victim, honest = ends
    for number, choices in (*steps(data[1:], _STEPS_MAX), *_nothing_more()):
        with suppress(TlsError):
            if honest.handshake() and number % 6 == 5:
                honest.write((choices.rest() or b"hello")[: honest.payload_bytes])
        said = honest.outgoing()
        match number % 6:
            case 1:
                said = tuple(edited(datagram, choices) for datagram in said)
            case 2:
                said = (choices.rest(), *said)
            case 3:
                said = said[choices.number(3) :] + said[: choices.number(3)]
            case 4:
                victim.handle_timeout()
            case _:
                pass
        for datagram in said:
            victim.receive(datagram)
        _dtls_turn(victim)
        for datagram in victim.outgoing():
            assert len(datagram) <= dtls_server_side().mtu_bytes
            honest.receive(datagram)
    code = _dtls_turn(victim)
    assert code == _dtls_turn(victim)
    return code


def _dtls_turn(engine: DtlsEngine) -> str:
    try:
        if not engine.handshake():
            return "waits"
        while engine.read():
            pass
    except TlsError as error:
        _assert_lasting(error, engine)
        return error.code
    return engine.channel().trust_class.value


MUX_LIMITS: Final = DtlsLimits(associations=2, half_open=2, queued_datagrams=32)
ADDRESSES: Final[tuple[Address, ...]] = tuple(("192.0.2.1", port) for port in (1, 2, 3))
PASSES_S: Final = (0.5, 3.0, 61.0, 301.0)


def dtls_server(data: bytes) -> str:
    """No datagram raises, the bounds hold, and an address that proved nothing costs no more.

    What it is sent is never more than what it sent itself.
    """
    server = DtlsServer(dtls_server_side, entropy=CountingEntropy(), limits=MUX_LIMITS)
    clients: dict[Address, DtlsEngine] = {}
    heard, told, proven = Counter[Address](), Counter[Address](), set[Address]()
    now, codes, living = 0.0, list[str](), set[Association]()
    for number, choices in (*steps(data, _STEPS_MAX), *_nothing_more()):
        address = choices.pick(ADDRESSES)
        now += choices.pick(PASSES_S) if number % 6 == 3 else 0.0
        server.handle_timeout(now)
        for datagram in _said(number, choices, clients, address):
            heard[address] += len(datagram)
            server.receive(datagram, address, now)
            if server.handshakes:
                proven.add(address)
        codes += _events(server, living, choices, now)
        for to, datagram in server.outgoing():
            told[to] += len(datagram)
            if to in clients:
                clients[to].receive(datagram)
        assert set(server.associations) == living
        assert len(living) <= MUX_LIMITS.associations
        assert server.handshakes <= MUX_LIMITS.half_open
        assert all(told[each] <= heard[each] for each in ADDRESSES if each not in proven)
        due = server.next_timeout(now)
        assert due is None or due >= now
    return " ".join(dict.fromkeys(codes))


def _events(
    server: DtlsServer, living: set[Association], choices: Choices, now: float
) -> Iterator[str]:
    """Take all events; keep the set of living associations as they tell it."""
    while (event := server.next_event()) is not None:
        match event:
            case Established(association=association):
                living.add(association)
                server.send(association, b"hello", now)
            case Received(association=association):
                assert association in living
                association.is_busy = choices.flag()
            case Ended(association=association):
                living.remove(association)
            case HandshakeFailed():
                pass
        yield type(event).__name__


def _said(
    number: int, choices: Choices, clients: dict[Address, DtlsEngine], address: Address
) -> tuple[bytes, ...]:
    """Return the datagrams of one step: raw ones, or an honest client's, edited or not."""
    if number % 6 == 1:
        return (choices.rest(),)
    if number % 6 == 4 or address not in clients:
        clients[address] = DtlsEngine(dtls_client_side())
    client = clients[address]
    with suppress(TlsError):
        if client.handshake() and number % 6 == 5:
            client.write((choices.rest() or b"hello")[: client.payload_bytes])
    said = client.outgoing()
    if number % 6 == 2:
        return tuple(edited(datagram, choices) for datagram in said)
    return said


def _records() -> tuple[bytes, ...]:
    names = ("tls-1.2-client-hello.bin", "tls-1.3-client-hello.bin", "dtls-1.2-client-hello.bin")
    return tuple(map(corpus.recorded, names))


def tls_scripts() -> Iterator[bytes]:
    """Yield handshakes with something odd at each of their steps, and odd first words."""
    for version in (b"\0", b"\xff"):
        for before in range(_ROUNDS):
            for number in range(7):
                odd = bytes((number, 0, 60, before % 4, 1)) + b"\x16\3\3\0\1\0"
                yield version + pack([b"\0"] * before + [odd, b"\5more"])
        for record in _records():
            yield version + pack((b"\2" + record,))


def dtls_scripts() -> Iterator[bytes]:
    """Yield the same for associations; the second octet is an address where there are some."""
    for hello in _records():
        yield b"\0" + pack((b"\1\0" + hello, b"\2" + hello))
    for before in range(_ROUNDS):
        for number in range(6):
            odd = bytes((number, before % 3, 0, 30, number % 4, 1)) + b"\x16\xfe\xfd\0\0"
            yield b"\0" + pack([b"\0\0"] * before + [odd, b"\5\0more", b"\4\1", b"\3\0\2"])


_WORDS: Final = (
    *(b"\x16\x03\x03", b"\x15\x03\x03\0\x02\x02\x28", b"\x14\x03\x03\0\x01\x01", b"\x17\x03\x03"),
    *(b"\x16\xfe\xfd\0\0", b"\x15\xfe\xfd\0\0", b"\x14\xfe\xfd\0\0", b"\x17\xfe\xfd\0\1", b"\xff"),
)

TARGETS: Final = (
    Target(run=tls_server, seeds=tls_scripts, shape=Shape.PARTS, words=_WORDS, max_bytes=8192),
    Target(run=tls_client, seeds=tls_scripts, shape=Shape.PARTS, words=_WORDS, max_bytes=8192),
    Target(run=dtls_engine, seeds=dtls_scripts, shape=Shape.PARTS, words=_WORDS, max_bytes=8192),
    Target(
        run=dtls_server,
        seeds=lambda: (script[1:] for script in dtls_scripts()),
        shape=Shape.PARTS,
        words=_WORDS,
        max_bytes=8192,
    ),
)
