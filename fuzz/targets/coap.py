"""Targets: both ends of a CoAP connection, as scripts of datagrams, time and answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from enum import IntEnum, unique
from typing import Final

from est_core import LocalProtocolError
from est_core.testing import CountingEntropy
from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap.client_wire import ClientConnection, RequestFailed, ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Kind, Message, encode
from est_transports.coap.server_wire import (
    HeadReceived,
    RequestAbandoned,
    RequestReceived,
    RequestRefused,
    ServerConnection,
)
from fuzz import cast
from fuzz.choices import Choices, pack, steps
from fuzz.messages import COAP_WORDS, coap_answers, coap_message, coap_requests
from fuzz.target import Result, Shape, Target, accepted, passed, stopped

_LIMITS: Final = replace(
    CoapLimits.constrained(),
    datagram_bytes=400,
    request_bytes=512,
    response_bytes=1024,
    kept_bytes=1024,
    remembered_messages=32,
    remembered_bytes=512,
)
_SERVER_BYTES: Final = (
    _LIMITS.uploads * _LIMITS.request_bytes
    + _LIMITS.kept_bytes
    + _LIMITS.remembered_bytes
    + _LIMITS.open_exchanges * _LIMITS.datagram_bytes
)
"""What may be held once everything that is to be sent was taken; below for clients."""
_CLIENT_BYTES: Final = _LIMITS.remembered_bytes + _LIMITS.open_exchanges * (
    _LIMITS.response_bytes + _LIMITS.datagram_bytes
)
_STEPS_MAX: Final = 60
_PASSES_S: Final = (0.1, 2.0, 5.0, 100.0, 300.0)
_SIZES: Final = (0, 10, 256, 257, 512, 513, 1024, 1025)
_CODES: Final = (Code.CONTENT, Code.CHANGED, Code.SERVICE_UNAVAILABLE, Code.NOT_FOUND, 2, 0xFF)
_SEN: Final = RequestHead(code=Code.POST, path=("est", "sen"), content_format=286)
_CRTS: Final = RequestHead(code=Code.GET, path=("est", "crts"))
_ODD: Final = RequestHead(code=0x45, path=("x" * 256,), content_format=1 << 17)


@unique
class _Do(IntEnum):
    """What happens in a step of a script."""

    HEAR = 0
    """A datagram comes."""
    SAY = 1
    """A server responds, a client asks."""
    WAIT = 2
    CANCEL = 3
    ANSWER = 4
    """A datagram comes, which fits one that was sent."""


def coap_server_connection(data: bytes) -> Result:
    """Nothing a client sends raises, what it holds is bounded, and all that is sent can be read.

    A request ends with what was heard last, and a repeated datagram is no second request.
    """
    server = ServerConnection(limits=_LIMITS, entropy=CountingEntropy())
    now, waiting, said, outcomes = 0.0, list[int](), list[Message](), list[str]()
    heard, before = b"", b""
    for number, choices in steps(data, _STEPS_MAX):
        heard, before = b"", heard
        match number % len(_Do):
            case _Do.SAY if waiting:
                _respond(server, waiting.pop(0), choices, now)
            case _Do.WAIT:
                now += choices.pick(_PASSES_S)
                server.handle_timeout(now)
                _is_settled(server, now)
            case _Do.CANCEL:
                with suppress(LocalProtocolError):
                    server.cancel(waiting[0] if waiting else 7, now)
            case _Do.ANSWER if said:
                heard = _reply_to(said[-1], choices)
                server.receive(heard, now)
            case _:
                heard = choices.rest()
                server.receive(heard, now)
        while (event := server.next_event()) is not None:
            match event:
                case HeadReceived():
                    server.accept_body(now)
                case RequestReceived(exchange_id=exchange_id, payload=payload):
                    assert len(payload) <= _LIMITS.request_bytes
                    assert payload.endswith(_payload_of(heard))
                    assert heard != before
                    waiting.append(exchange_id)
                    outcomes.append("request")
                case RequestAbandoned(code=code):
                    outcomes.append(code)
                case RequestRefused(response=response):
                    outcomes.append(response.code)
        said += _spoken(server)
        assert server.held_bytes <= _SERVER_BYTES
        assert server.open_exchanges <= _LIMITS.open_exchanges
    return _ended(outcomes, said, "request")


def _ended(outcomes: list[str], said: list[Message], goal: str) -> Result:
    text = " ".join((*dict.fromkeys(outcomes), *_codes(said)))
    if goal in outcomes:
        return accepted(text)
    return (passed if outcomes or said else stopped)(text)


def _payload_of(datagram: bytes) -> bytes:
    message = coap_message(datagram)
    return b"" if message is None else message.payload


def _respond(server: ServerConnection, exchange_id: int, choices: Choices, now: float) -> None:
    code, payload = choices.pick(_CODES), b"y" * choices.pick(_SIZES)
    head = ResponseHead(code=code, content_format=choices.pick((None, 281, 1 << 17)))
    held = server.open_exchanges
    try:
        server.respond(exchange_id, head, payload, now)
    except LocalProtocolError:
        assert server.open_exchanges == held  # nothing has changed


def _reply_to(message: Message, choices: Choices) -> bytes:
    """Return an empty ACK or RST, or an answer, that fits a message which was sent."""
    kind = choices.pick((Kind.ACK, Kind.RST, Kind.CON, Kind.NON))
    code = choices.pick((0, 0, 0x45, 0x5F, 0x84))
    rest = choices.rest()
    head = Message(kind=kind, message_id=message.message_id)
    if code == 0:
        return encode(head)
    return encode(replace(head, code=code, token=message.token)) + rest


def _is_settled(connection: ServerConnection | ClientConnection, now: float) -> None:
    """Whoever waits until something is due and has it done must not be sent back at once."""
    due = connection.next_timeout()
    assert due is None or due > now


def _spoken(connection: ServerConnection | ClientConnection) -> Iterator[Message]:
    for datagram in connection.outgoing():
        assert len(datagram) <= _LIMITS.datagram_bytes
        message = coap_message(datagram)
        assert message is not None
        yield message


def _codes(said: list[Message]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{message.kind.name}{message.code:x}" for message in said))


def coap_client_connection(data: bytes) -> Result:
    """Nothing a server sends raises, and each request ends once: answered, failed or cancelled.

    An answer ends with what was heard last.
    """
    client = ClientConnection(limits=_LIMITS, entropy=CountingEntropy())
    now, asked, said, outcomes = 0.0, set[int](), list[Message](), list[str]()
    for number, choices in steps(data, _STEPS_MAX):
        heard = b""
        match number % len(_Do):
            case _Do.SAY:
                asked |= _ask(client, choices, now)
            case _Do.WAIT:
                now += choices.pick(_PASSES_S)
                client.handle_timeout(now)
                _is_settled(client, now)
            case _Do.CANCEL:
                exchange_id = min(asked, default=7)
                with suppress(LocalProtocolError):
                    client.cancel(exchange_id, now)
                    asked.remove(exchange_id)
            case _Do.ANSWER if said:
                heard = _reply_to(choices.pick(said[-3:]), choices)
                client.receive(heard, now)
            case _:
                heard = _fitting(choices.rest(), said)
                client.receive(heard, now)
        while (event := client.next_event()) is not None:
            asked.remove(event.exchange_id)
            match event:
                case ResponseReceived(payload=payload):
                    assert len(payload) <= _LIMITS.response_bytes
                    assert payload.endswith(_payload_of(heard))
                    outcomes.append("response")
                case RequestFailed(code=code):
                    outcomes.append(code)
        said += _spoken(client)
        assert client.held_bytes <= _CLIENT_BYTES
        assert client.open_exchanges == len(asked)
        assert not asked or client.next_timeout() is not None
    return _ended(outcomes, said if outcomes else [], "response")


def _ask(client: ClientConnection, choices: Choices, now: float) -> set[int]:
    head = choices.pick((_SEN, _CRTS, _ODD))
    opened = client.open_exchanges
    try:
        return {client.send_request(head, b"x" * choices.pick(_SIZES), now)}
    except LocalProtocolError:
        assert client.open_exchanges == opened
        return set()


def _fitting(datagram: bytes, said: list[Message]) -> bytes:
    """Return the datagram as an answer to the last message, where it has a header at all."""
    if not said or len(datagram) < 4 or datagram[0] >> 6 != 1:
        return datagram
    token = said[-1].token
    first = bytes((datagram[0] & 0xF0 | len(token), datagram[1]))
    number = said[-1].message_id.to_bytes(2, "big")
    return first + number + token + datagram[4 + (datagram[0] & 0x0F) :]


def _step(what: _Do, argument: bytes = b"") -> bytes:
    return bytes((what,)) + argument


def _transfers(payload: bytes, answer_bytes: int, times: int) -> tuple[list[bytes], list[bytes]]:
    """Return what a client and a server say to each other over requests, block by block."""
    client = ClientConnection(limits=_LIMITS, entropy=CountingEntropy())
    server = ServerConnection(limits=_LIMITS, entropy=CountingEntropy())
    up, down = list[bytes](), list[bytes]()
    for _ in range(times):
        client.send_request(_SEN, payload, 0.0)
        while sent := client.outgoing():
            for datagram in sent:
                up.append(datagram)
                server.receive(datagram, 0.0)
                while isinstance(event := server.next_event(), HeadReceived | RequestReceived):
                    if isinstance(event, HeadReceived):
                        server.accept_body(0.0)
                        continue
                    head = ResponseHead(code=Code.CHANGED, content_format=281)
                    server.respond(event.exchange_id, head, b"y" * answer_bytes, 0.0)
            for datagram in server.outgoing():
                down.append(datagram)
                client.receive(datagram, 0.0)
    return up, down


def _server_scripts() -> Iterator[bytes]:
    """Yield transfers in blocks, single requests, and answers that come late."""
    for size, answer, times in ((100, 2, 1), (500, 3, 2), (400, 6, 1), (9, 6, 7)):
        up, _ = _transfers((cast.requests()[1] * 3)[:size], _SIZES[answer], times)
        received = (_step(_Do.HEAR, datagram) for datagram in up)
        yield pack(
            part for step in received for part in (step, _step(_Do.SAY, bytes((0, answer, 1))))
        )
    for datagram in coap_requests():
        yield pack(
            (_step(_Do.HEAR, datagram), _step(_Do.WAIT, b"\1"), _step(_Do.SAY), _step(_Do.ANSWER))
        )
        yield pack((_step(_Do.HEAR, datagram), _step(_Do.CANCEL), _step(_Do.HEAR, datagram)))


def _client_scripts() -> Iterator[bytes]:
    """Yield transfers in blocks, answers of every kind, and silence."""
    for size, answer_bytes in ((1, 600), (4, 1000), (4, 10)):
        _, down = _transfers(b"x" * _SIZES[size], answer_bytes, 1)
        answers = (_step(_Do.HEAR, datagram) for datagram in down)
        yield pack((_step(_Do.SAY, bytes((0, size))), *answers))
    for datagram in coap_answers():
        yield pack((_step(_Do.SAY, b"\0\0"), _step(_Do.ANSWER), _step(_Do.HEAR, datagram)))
    yield pack((_step(_Do.SAY, b"\1\0"), *(_step(_Do.WAIT, b"\3"),) * 6))


TARGETS: Final = (
    Target(
        run=coap_server_connection,
        gate="has a datagram that something comes of",
        goal="has a whole request",
        modules=(
            "est_transports.coap.server_wire",
            "est_transports.coap.server_blocks",
            "est_transports.coap.blocks",
            "est_transports.coap.reliability",
        ),
        seeds=_server_scripts,
        shape=Shape.PARTS,
        words=COAP_WORDS,
        max_bytes=8192,
    ),
    Target(
        run=coap_client_connection,
        gate="has a request that ends",
        goal="has a request that is answered",
        modules=(
            "est_transports.coap.client_wire",
            "est_transports.coap.client_blocks",
            "est_transports.coap.blocks",
            "est_transports.coap.reliability",
        ),
        seeds=_client_scripts,
        shape=Shape.PARTS,
        words=COAP_WORDS,
        max_bytes=8192,
    ),
)
