"""Targets: a whole server of EST over CoAP and DTLS, and all that its clients can do to it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from est_core import Instant, Limits, ServerExchange
from est_core.testing import FIXED_INSTANT, CountingEntropy
from est_transports.channel.dtls import DtlsEngine, TlsError
from est_transports.channel.dtls_mux import Address
from est_transports.coap.limits import CoapLimits
from est_transports.coap.server import CoapEndpoint
from est_transports.coap.settings import CoapService
from est_transports.drive.addresses import address_text
from est_transports.drive.application import ask
from est_transports.drive.open_request import Ask, Finished
from fuzz.application import Decisions
from fuzz.choices import pack, part, steps, unpack
from fuzz.messages import COAP_WORDS, POLICY, coap_message, coap_requests
from fuzz.target import Result, Shape, Target, accepted, passed, stopped
from fuzz.targets.associations import ADDRESSES, MUX_LIMITS, PASSES_S
from fuzz.targets.channels import dtls_client_side, dtls_server_side

_STEPS_MAX: Final = 30
_FLIGHTS: Final = 6
_COAP: Final = replace(CoapLimits.constrained(), response_bytes=1024, kept_bytes=2048)


class _Site:
    """An endpoint and honest handshakes of clients, who then say what they like."""

    def __init__(self, script: bytes) -> None:
        self._application = Decisions(script)
        service = CoapService(
            context=dtls_server_side(),
            application=self._application,
            policy=POLICY,
            limits=Limits(),
            coap=_COAP,
        )
        self.endpoint = CoapEndpoint(lambda: service, entropy=CountingEntropy(), dtls=MUX_LIMITS)
        self.clients: dict[Address, DtlsEngine] = {}
        self.held: list[Ask] = []
        self.records: list[str] = []
        self.asked: set[ServerExchange] = set()
        self.ended = 0
        self.is_stopping = False
        self.now: Instant = FIXED_INSTANT

    def connect(self, address: Address) -> None:
        """Put a new client there and run its handshake."""
        self.clients[address] = DtlsEngine(dtls_client_side())
        for _ in range(_FLIGHTS):
            self.speak(address)
            self.settle(hold=True)

    def speak(self, address: Address, words: bytes = b"") -> None:
        """Have a client say something, encrypted, if it has come so far."""
        client = self.clients[address]
        with suppress(TlsError):
            if client.handshake() and words:
                client.write(words[: client.payload_bytes])
        for datagram in client.outgoing():
            self.endpoint.receive(datagram, address, self.now)

    def settle(self, *, hold: bool) -> None:
        """Take steps and datagrams; decide, or keep the questions for later."""
        while (step := self.endpoint.next_step()) is not None:
            match step:
                case Ask(exchange=exchange):
                    assert exchange in self.asked or not self.is_stopping
                    self.asked.add(exchange)
                    self.held.append(step)
                case Finished(record=record):
                    assert record.target.isprintable()
                    self.ended += record.operation is not None
                    self.records.append(f"{record.status} {record.code}")
        while self.held and not hold:
            asked = self.held.pop(0)
            self.endpoint.decide(asked, ask(self._application, asked.question), self.now)
        for address, datagram in self.endpoint.outgoing():
            if address in self.clients:
                self.clients[address].receive(datagram)
                self._receive(self.clients[address])
        assert self.endpoint.associations <= MUX_LIMITS.associations

    def _receive(self, client: DtlsEngine) -> None:
        """Read what a client was answered: messages of CoAP that a client has a use for."""
        with suppress(TlsError):
            while client.handshake() and (words := client.read()):
                message = coap_message(words)
                assert message is not None
                assert message.is_empty or message.is_response
                assert len(words) <= client.payload_bytes

    def assert_gone(self, address: Address) -> None:
        """See that nobody waits any more for what a client asked that has said that it goes."""
        for asked in self.held:
            if asked.exchange.channel.peer_address == address_text(address):
                assert asked.request.is_over

    def wait(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.now = self.now.after(seconds)
        self.endpoint.handle_timeout(self.now)
        due = self.endpoint.next_timeout(self.now)
        assert due is None or due >= self.now.mono


def coap_endpoint(data: bytes) -> Result:
    """Nothing a client says raises, and who was asked about has an end on record, and is let go.

    A client hears only what it can read. Once the server stops, nothing more is asked about.
    """
    parts = unpack(data) or (b"",)
    site = _Site(parts[0])
    for number, choices in steps(pack(parts[1:]), _STEPS_MAX):
        address = choices.pick(ADDRESSES)
        if address not in site.clients or number % 8 == 4:
            site.connect(address)
        match number % 8:
            case 1:
                site.endpoint.receive(choices.rest(), address, site.now)
            case 2:
                site.wait(choices.pick(PASSES_S))
            case 3:
                site.endpoint.stop()
                site.is_stopping = True
            case 4:
                site.clients[address].close()
                site.speak(address)
                site.assert_gone(address)
                del site.clients[address]
            case _:
                site.speak(address, choices.rest())
        site.settle(hold=number % 8 == 5)
    site.settle(hold=False)
    site.endpoint.close(site.now)
    site.settle(hold=False)
    assert site.endpoint.associations == 0
    assert site.endpoint.is_idle
    assert site.ended >= len(site.asked)
    text = " ".join(dict.fromkeys(site.records))
    if any(record.startswith("2") for record in site.records):
        return accepted(text)
    return (passed if site.records else stopped)(text)


def _scripts() -> tuple[bytes, ...]:
    """Return single requests and several at once, from one client and from two."""
    requests = coap_requests()
    single = (pack((b"\0\0" + each, b"\2\0\1")) for each in requests)
    together = pack(b"\5\0" + each for each in requests)
    others = pack(bytes((0, at % 3)) + each for at, each in enumerate(requests * 2))
    ended = pack((b"\5\0" + requests[0], b"\4\0", b"\3\1", b"\0\1" + requests[2]))
    stopped = pack((b"\5\0" + requests[0], b"\3\0", b"\0\0" + requests[0], b"\0\1" + requests[0]))
    scripts = (*single, together, others, ended, stopped)
    decided = (b"\0\0\0\0", b"\0\4\5\2", b"\6\0\1\0")
    return tuple(part(each) + script for each in decided for script in scripts)


TARGETS: Final = (
    Target(
        run=coap_endpoint,
        is_repeatable=False,
        gate="has a request that goes on record",
        goal="has a request that succeeds",
        modules=(
            "est_transports.coap.server",
            "est_transports.coap.questions",
            "est_transports.coap.records",
            "est_transports.drive.open_request",
        ),
        seeds=_scripts,
        shape=Shape.PARTS,
        words=COAP_WORDS,
        max_bytes=8192,
    ),
)
