"""Targets: the engines of TLS and DTLS.

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

from est_core import LocalProtocolError, TlsVersion, TrustClass
from est_transports.channel.dtls import (
    DtlsClientContext,
    DtlsEngine,
    DtlsServerConfig,
    DtlsServerContext,
    dtls_client_context,
    dtls_server_context,
)
from est_transports.channel.tls import (
    ClientContext,
    ClientTlsConfig,
    ServerContext,
    ServerTlsConfig,
    TlsEngine,
    TlsError,
    client_context,
    server_context,
)
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from fuzz import cast, corpus
from fuzz.choices import Choices, pack, part, steps, unpack
from fuzz.target import Result, Shape, Target, accepted, passed, stopped

STEPS_MAX: Final = 24
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


def tls_server(data: bytes) -> Result:
    """Whatever becomes of a client's words, all the server has for it is one lasting TlsError.

    What it reads is what the client wrote, and its channel is that client's.
    """
    first, script = _first_part(data)
    version = (_V12, _V13)[first > b"\x7f"]
    ends = TlsEngine(_tls_server(version)), TlsEngine(_tls_client(version))
    return _tls(*ends, script, version, cast.client())


def tls_client(data: bytes) -> Result:
    """Whatever becomes of a server's words, all the client has for it is one lasting TlsError.

    What it reads is what the server wrote, and its channel is that server's.
    """
    first, script = _first_part(data)
    version = (_V12, _V13)[first > b"\x7f"]
    ends = TlsEngine(_tls_client(version)), TlsEngine(_tls_server(version))
    return _tls(*ends, script, version, cast.server())


def _first_part(data: bytes) -> tuple[bytes, bytes]:
    """Return the part that says how all is set up, and the script of what happens then."""
    parts = unpack(data) or (b"",)
    return parts[0], pack(parts[1:])


def _tls(
    victim: TlsEngine, honest: TlsEngine, script: bytes, version: TlsVersion, peer: cast.Entity
) -> Result:
    wrote, heard = bytearray(), bytearray()
    for number, choices in (*steps(script, STEPS_MAX), *nothing_more()):
        with suppress(TlsError):  # it is honest, but what it hears may not be
            if honest.handshake() and number % 8 == 5:
                words = choices.rest() or b"hello"
                honest.write(words)
                wrote += words
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
        code = _turn(victim, heard)
        assert wrote.startswith(heard)
        if code is None and number % 8 == 6:
            victim.close()
        with suppress(TlsError, LocalProtocolError):
            honest.receive(victim.outgoing() or b"")
            while honest.handshake() and honest.read():
                pass
    code = _turn(victim, heard)
    assert code == _turn(victim, heard)
    text, reach = code or "waits", stopped if code == "tls/not-tls" else passed
    with suppress(LocalProtocolError, TlsError):
        channel = victim.channel()
        assert channel.peer_chain[:1] == (peer.certificate,)
        assert channel.trust_class is TrustClass.EXPLICIT
        text, reach = f"{text} {channel.trust_class.value}", accepted
    return reach(f"{version.value} {text}")


def nothing_more() -> Iterator[tuple[int, Choices]]:
    """Yield the steps in which everything goes its way."""
    return ((0, Choices(b"")) for _ in range(_ROUNDS))


def _turn(engine: TlsEngine, heard: bytearray) -> str | None:
    """Have an engine do what it can; return the code of the error that it ended with."""
    try:
        if engine.handshake():
            while words := engine.read():
                heard += words
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


def dtls_engine(data: bytes) -> Result:
    """No datagram raises, at either end; a handshake that fails has one lasting TlsError.

    What is read is what the other end wrote, each datagram once, and the channel is that end's.
    """
    first, script = _first_part(data)
    ends = [DtlsEngine(dtls_server_side()), DtlsEngine(dtls_client_side())]
    peer = cast.client()
    if first > b"\x7f":
        ends.reverse()
        peer = cast.server()
    victim, honest = ends
    wrote, heard = Counter[bytes](), Counter[bytes]()
    for number, choices in (*steps(script, STEPS_MAX), *nothing_more()):
        with suppress(TlsError):
            if honest.handshake() and number % 6 == 5:
                words = (choices.rest() or b"hello")[: honest.payload_bytes]
                honest.write(words)
                wrote[words] += 1
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
        _dtls_turn(victim, heard)
        assert heard <= wrote
        for datagram in victim.outgoing():
            assert len(datagram) <= dtls_server_side().mtu_bytes
            honest.receive(datagram)
    code = _dtls_turn(victim, heard)
    assert code == _dtls_turn(victim, heard)
    if code != TrustClass.EXPLICIT.value:
        return (stopped if code == "waits" else passed)(code)
    assert victim.channel().peer_chain[:1] == (peer.certificate,)
    return accepted(f"{code} {bool(heard)}")


def _dtls_turn(engine: DtlsEngine, heard: Counter[bytes]) -> str:
    try:
        if not engine.handshake():
            return "waits"
        while words := engine.read():
            heard[words] += 1
    except TlsError as error:
        _assert_lasting(error, engine)
        return error.code
    return engine.channel().trust_class.value


def _records() -> tuple[bytes, ...]:
    names = ("tls-1.2-client-hello.bin", "tls-1.3-client-hello.bin", "dtls-1.2-client-hello.bin")
    return tuple(map(corpus.recorded, names))


def tls_scripts() -> Iterator[bytes]:
    """Yield handshakes with something odd at each of their steps, and odd first words."""
    for version in (b"\0", b"\xff"):
        for before in range(_ROUNDS):
            for number in range(7):
                odd = bytes((number, 0, 60, before % 4, 1)) + b"\x16\3\3\0\1\0"
                yield pack([version, *[b"\0"] * before, odd, b"\5more"])
        for record in _records():
            yield pack((version, b"\2" + record))


def dtls_scripts() -> Iterator[bytes]:
    """Yield the same for associations; the second octet is an address where there are some."""
    for hello in _records():
        yield pack((b"\1\0" + hello, b"\2" + hello))
    for before in range(_ROUNDS):
        for number in range(6):
            odd = bytes((number, before % 3, 0, 30, number % 4, 1)) + b"\x16\xfe\xfd\0\0"
            yield pack([*[b"\0\0"] * before, odd, b"\5\0more", b"\4\1", b"\3\0\2"])


def _of_either_end(numbered: tuple[int, bytes]) -> bytes:
    number, script = numbered
    return part((b"\0", b"\xff")[number % 2]) + script


TLS_WORDS: Final = (
    *(b"\x16\x03\x03", b"\x15\x03\x03\0\x02\x02\x28", b"\x14\x03\x03\0\x01\x01", b"\x17\x03\x03"),
    *(b"\x16\xfe\xfd\0\0", b"\x15\xfe\xfd\0\0", b"\x14\xfe\xfd\0\0", b"\x17\xfe\xfd\0\1", b"\xff"),
)

TARGETS: Final = (
    *(
        Target(
            run=run,
            is_repeatable=False,
            gate="begins with a record of TLS",
            goal="shakes hands",
            modules=(
                "est_transports.channel.tls",
                "est_transports.channel.engine",
                "est_transports.channel.facts",
                "est_transports.channel.verification",
            ),
            seeds=tls_scripts,
            shape=Shape.PARTS,
            words=TLS_WORDS,
            max_bytes=8192,
        )
        for run in (tls_server, tls_client)
    ),
    Target(
        run=dtls_engine,
        is_repeatable=False,
        gate="ends a handshake, well or not",
        goal="shakes hands",
        modules=(
            "est_transports.channel.dtls",
            "est_transports.channel.engine",
            "est_transports.channel.errors",
            "est_transports.channel.facts",
        ),
        seeds=lambda: map(_of_either_end, enumerate(dtls_scripts())),
        shape=Shape.PARTS,
        words=TLS_WORDS,
        max_bytes=8192,
    ),
)
