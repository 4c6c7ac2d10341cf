"""Targets: the client of the transports without its I/O, and where a server on CoAP has things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from est_core import (
    OPERATIONS,
    EstUri,
    Instant,
    Label,
    RemoteProtocolError,
    Request,
    RetryLater,
)
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import CoapPaths, Code, ResponseHead
from est_transports.client_config import ClientConfig
from est_transports.coap.client_wire import ResponseReceived
from est_transports.coap.path_discovery import PathDiscovery
from est_transports.drive.client import ClientDriver, Connect, Read, Write
from est_transports.http.client import HttpLink
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import TlsIdentity
from fuzz import cast, corpus
from fuzz.choices import Choices, pack, steps, unpack
from fuzz.messages import COAP_URI, HTTP_WORDS
from fuzz.target import Reach, Result, Shape, Target, accepted, passed, stopped
from fuzz.targets.client_machine import REDIRECTS, client_exchange_of

_STEPS_MAX: Final = 20
_TURNS_MAX: Final = 200
_CODES: Final = (Code.CONTENT, Code.NOT_FOUND, Code.CHANGED, 0x80)


def _config() -> ClientConfig:
    entity = cast.client()
    return ClientConfig(
        identities=(TlsIdentity(chain=(entity.certificate,), key=entity.key),),
        signer=LocalSigner(entity.key),
        follow=lambda _uri: True,
        trust=lambda question: question.candidates[:1],
    )


_CONFIG: Final = _config()


def client_driver(data: bytes) -> Result:
    """Whatever a server says comes to one result, and to the same one whole and in pieces."""
    setup, *script = unpack(data) or (b"",)
    results = [_run(setup, pack(script), size) for size in (0, 7)]
    assert results[0] == results[1]
    return results[0]


def _run(setup: bytes, script: bytes, size: int) -> Result:
    """Run a driver with a server that says what the script has, in pieces of that size."""
    exchange, now = client_exchange_of(Choices(setup)), FIXED_INSTANT
    todo, seen = ClientDriver(exchange, _CONFIG, now), list[str]()
    left = steps(script, _STEPS_MAX)
    for _ in range(_TURNS_MAX):
        step = todo.next_step(now)
        match step:
            case Connect():
                _connect(todo, step, next(left, None))
                seen.append("connect")
            case Write(pieces=pieces):
                assert b"".join(pieces)
                seen.append("write")
            case Read(deadline=deadline):
                now = _answer(todo, next(left, None), size, now, deadline)
            case RetryLater(at=at):
                assert at.mono > now.mono
                seen.append(type(step).__name__)
                now = at
                todo.handle_timeout(now)
            case result:
                assert exchange.result is result
                code = getattr(result, "code", "")
                text = f"{' '.join(dict.fromkeys(seen))} {type(result).__name__} {code}"
                reach = Reach.PASSED if "write" in seen else Reach.STOPPED
                return Result(text, reach if code else Reach.ACCEPTED)
    raise AssertionError("it does not come to an end")


def _connect(todo: ClientDriver, step: Connect, answer: tuple[int, Choices] | None) -> None:
    if answer is None or answer[0] % 8 == 1:
        todo.connect_failed("connect/refused", "nobody listens")
        return
    most = step.config.max_version
    usable = [each for each in cast.channels() if most is None or each.version is most]
    todo.connected(HttpLink(step, answer[1].pick(usable), _CONFIG))


def _answer(
    todo: ClientDriver, answer: tuple[int, Choices] | None, size: int, now: Instant, deadline: float
) -> Instant:
    """Have the server say the next thing, or nothing any more."""
    assert deadline > now.mono
    what, choices = answer or (1, Choices(b""))
    match what % 8:
        case 1:
            now = now.after(deadline - now.mono)
            todo.handle_timeout(now)
        case 2:
            todo.broken(None, now)
        case _:
            said = choices.rest()
            pieces = [said[at : at + size] for at in range(0, len(said), size)] if size else [said]
            for piece in pieces or [b""]:
                if isinstance(todo.next_step(now), Read):
                    todo.receive(piece, now)
            if what % 8 == 3 and said and isinstance(todo.next_step(now), Read):
                todo.receive(b"", now)
    return now


def coap_path_discovery(data: bytes) -> Result:
    """A server is asked for its list at most once, and for what was wanted below one place."""
    setup, *script = unpack(data) or (b"",)
    choices, told = Choices(setup), list[CoapPaths]()
    places = PathDiscovery(
        root=choices.pick((None, None, "/est")), discover=choices.flag(), tell=told.append
    )
    uri = EstUri(scheme="coaps", host=COAP_URI.host, port=5684, label=choices.pick((None, _LABEL)))
    wanted = Request(operation=choices.pick(tuple(OPERATIONS)), payload=b"x")
    places.ask(wanted, uri)
    asked, lists = 0, 0
    for _, step in steps(pack(script), _STEPS_MAX):
        head, _ = places.next_message()
        assert head.path
        assert not {"", ".", ".."} & set(head.path)
        is_list = head.path == (".well-known", "core")
        asked, lists = asked + 1, lists + is_list
        assert lists <= 1
        answer = ResponseReceived(
            exchange_id=asked,
            head=ResponseHead(code=step.pick(_CODES), content_format=step.pick((None, 40))),
            payload=step.rest(),
        )
        try:
            final = places.take(answer)
        except RemoteProtocolError as error:
            assert is_list
            assert not told
            return passed(error.code)
        if final is not None:
            assert asked - lists >= 1
            return accepted(f"{asked} {lists} {len(told)} {final is answer} {final.head.code}")
        assert asked <= 2
    return stopped(f"{asked} {lists}")


_LABEL: Final = Label("factory")


def _driver_scripts() -> Iterator[bytes]:
    """Yield every operation on a good channel with every answer that there is, and its end."""
    for operation in range(5):
        for number, answer in enumerate((*corpus.answers(), *REDIRECTS)):
            setup = bytes((operation, 0, number, number, number % 3, 0))
            said = bytes((number % 4 // 3 * 3,)) + answer
            yield pack((setup, b"\0\6", said, b"\0\6", said, b"\0\6", said))


def _place_scripts() -> Iterator[bytes]:
    lists = (
        b"\0\0\1" + b'</est/crts>;rt="ace.est.crts",</est/sen>;rt="ace.est.sen"',
        b"\0\0\1" + b'</.well-known/est>;rt="ace.est"',
        b"\0\0\1" + b'</x>;rt="y"',
        b"\0\1\0",
    )
    for root in range(3):
        for discover in range(2):
            for number, each in enumerate(lists):
                setup = bytes((root, discover, number % 2, number))
                yield pack((setup, b"\0\1\0", each, b"\0\0\0certs", each))
                yield pack((setup, each, b"\0\1\0", b"\0\2\0certs"))


TARGETS: Final = (
    Target(
        run=client_driver,
        seeds=_driver_scripts,
        shape=Shape.PARTS,
        words=HTTP_WORDS,
        max_bytes=8192,
        gate="leads to a request that is sent",
        goal="succeeds",
        modules=("est_transports.drive.client", "est_transports.http.client"),
    ),
    Target(
        run=coap_path_discovery,
        seeds=_place_scripts,
        shape=Shape.PARTS,
        words=(b"<", b">", b";rt=", b'"ace.est.crts"', b",", b"/est", b"/.well-known"),
        gate="has an answer that says where, or is one",
        goal="has an answer to what was asked",
        modules=(
            "est_transports.coap.path_discovery",
            "est_core.wires.coapmap.discovery",
            "est_core.wires.coapmap.paths",
        ),
    ),
)
