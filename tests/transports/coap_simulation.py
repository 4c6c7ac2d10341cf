"""Clients of a CoapEndpoint, and the network between: in memory, simulated time.

The network carries handshakes as they are, for OpenSSL repeats them by the real clock. What comes
after them it loses, doubles and delays as the weather is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random
from typing import Final, Protocol

from est_core import ClientExchange, ClientResult, Instant, RetryLater
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import ResponseHead
from est_transports.channel.dtls_mux import Address, Association, DtlsServer, Established, Received
from est_transports.channel.errors import TlsError
from est_transports.client_config import ClientConfig
from est_transports.coap.client import CoapLink
from est_transports.coap.limits import CoapLimits
from est_transports.coap.server import CoapEndpoint
from est_transports.coap.server_wire import RequestReceived, ServerConnection
from est_transports.drive.application import Application
from est_transports.drive.client import (
    AwaitCredentials,
    ClientDriver,
    Connect,
    Read,
    Write,
    connect_failure,
)
from est_transports.drive.open_request import Ask, Finished
from tests.application import FakeApplication
from tests.pki import HOUR_AGO
from tests.transports.coap_network import CALM, Weather
from tests.transports.coap_site import a_coap_service, decision_on
from tests.transports.dtls_pair import a_dtls_server
from tests.transports.https_site import Log
from tests.transports.raw_coap import JudgedConnection

TIMEOUT_S: Final = 1000.0


class Server(Protocol):
    """What is at the other end."""

    def receive(self, datagram: bytes, address: Address, now: Instant) -> None: ...

    def outgoing(self) -> tuple[tuple[Address, bytes], ...]: ...

    def next_timeout(self, now: Instant) -> float | None: ...

    def handle_timeout(self, now: Instant) -> None: ...


class EstServer:
    """The real thing. It decides after `thinks_s`, and with `is_gone` neither hears nor speaks."""

    def __init__(self, world: World, application: Application | None = None, **changes: object):
        self.service = a_coap_service(application or FakeApplication(), **changes)
        self.endpoint = CoapEndpoint(lambda: self.service, entropy=world.chance.randbytes)
        self.log = Log()
        self.thinks_s = 0.0
        self.is_gone = False
        self._world = world

    def receive(self, datagram: bytes, address: Address, now: Instant) -> None:
        if not self.is_gone:
            self.endpoint.receive(datagram, address, now)
            self._advance(now)

    def outgoing(self) -> tuple[tuple[Address, bytes], ...]:
        said = self.endpoint.outgoing()
        return () if self.is_gone else said

    def next_timeout(self, now: Instant) -> float | None:
        return self.endpoint.next_timeout(now)

    def handle_timeout(self, now: Instant) -> None:
        self.endpoint.handle_timeout(now)
        self._advance(now)

    def _advance(self, now: Instant) -> None:
        while (step := self.endpoint.next_step()) is not None:
            match step:
                case Ask():
                    self._world.at(now.mono + self.thinks_s, partial(self._decide, step))
                case Finished():
                    self.log(step.record)

    def _decide(self, asked: Ask) -> None:
        self.endpoint.decide(asked, decision_on(asked), self._world.now)
        self._advance(self._world.now)


class OddServer:
    """Answers every request in the same way, whatever it was."""

    def __init__(self, head: ResponseHead, payload: bytes = b"", *, chance: Random) -> None:
        context = a_dtls_server()
        self._answer = head, payload
        self._chance = chance
        self._dtls = DtlsServer(lambda: context, entropy=chance.randbytes)
        self._connections: dict[Association, ServerConnection] = {}

    @property
    def handshakes(self) -> int:
        """How many there were."""
        return len(self._connections)

    def receive(self, datagram: bytes, address: Address, now: Instant) -> None:
        self._dtls.receive(datagram, address, now.mono)
        while (event := self._dtls.next_event()) is not None:
            match event:
                case Established(association=association):
                    self._connections[association] = JudgedConnection(
                        limits=CoapLimits(), entropy=self._chance.randbytes
                    )
                case Received(association=association):
                    self._serve(association, event.datagram, now.mono)

    def _serve(self, association: Association, datagram: bytes, now: float) -> None:
        connection = self._connections[association]
        connection.receive(datagram, now)
        while (event := connection.next_event()) is not None:
            if isinstance(event, RequestReceived):
                connection.respond(event.exchange_id, *self.answer(event), now)
        for said in connection.outgoing():
            self._dtls.send(association, said, now)

    def answer(self, request: RequestReceived) -> tuple[ResponseHead, bytes]:
        """Return the answer to a request."""
        return self._answer

    def outgoing(self) -> tuple[tuple[Address, bytes], ...]:
        return self._dtls.outgoing()

    def next_timeout(self, now: Instant) -> float | None:
        return None

    def handle_timeout(self, now: Instant) -> None:
        """Wait for ever."""


WHEN_CERTIFIED: Final = Instant(mono=FIXED_INSTANT.mono, wall=HOUR_AGO + timedelta(hours=1))
"""When certificates of `tests.pki` are valid: a client judges them by its own clock."""


@dataclass
class World:
    """One server, the devices at their addresses, and what is under way between them."""

    weather: Weather = CALM
    chance: Random = field(default_factory=lambda: Random(1))
    now: Instant = WHEN_CERTIFIED
    server: Server = field(init=False)
    devices: dict[Address, Device] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    _future: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _scheduled: int = 0

    def serve(self, application: Application | None = None, **changes: object) -> EstServer:
        """Put a server there, in place of one that was."""
        self.server = served = EstServer(self, application, **changes)
        return served

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Have something done at that time."""
        self._scheduled += 1
        heapq.heappush(self._future, (time, self._scheduled, action))

    def wait(self, seconds: float) -> None:
        """Let time pass while no device does anything."""
        self.step_until(self.now.mono + seconds, lambda: False)

    def step_until(self, deadline: float, fact: Callable[[], bool]) -> bool:
        """Go on until the fact or the deadline; return the fact."""
        while not fact():
            self._carry()
            times = [deadline, self._future[0][0] if self._future else deadline]
            due = self.server.next_timeout(self.now)
            moment = min([*times, deadline if due is None else due])
            self.now = self.now.after(max(0.0, moment - self.now.mono))
            if self._future and self._future[0][0] <= moment:
                heapq.heappop(self._future)[2]()
            elif due is not None and due <= moment:
                self.server.handle_timeout(self.now)
            elif moment >= deadline:
                return fact()
        return True

    def send(self, device: Device, datagram: bytes) -> None:
        """Have the server hear this, as the weather permits."""
        self.sizes.append(len(datagram))
        hear = partial(self._put, datagram, device.address)
        self._transmit(hear, calm=not device.is_connected)

    def _put(self, datagram: bytes, address: Address) -> None:
        self.server.receive(datagram, address, self.now)

    def _carry(self) -> None:
        for address, datagram in self.server.outgoing():
            device = self.devices.get(address)
            if device is not None:
                self.sizes.append(len(datagram))
                arrive = partial(device.inbox.append, datagram)
                self._transmit(arrive, calm=not device.is_connected)

    def _transmit(self, arrive: Callable[[], None], *, calm: bool) -> None:
        weather = CALM if calm else self.weather
        if self.chance.random() < weather.loss:
            return
        for _ in range(2 if self.chance.random() < weather.duplication else 1):
            delay_s = 0.0 if calm else self.chance.random() * weather.delay_s
            self.at(self.now.mono + delay_s, arrive)


class Device:
    """Runs exchanges as the clients on sockets and on trio do. `links` are all it ever had."""

    def __init__(self, world: World, config: ClientConfig) -> None:
        self.inbox: list[bytes] = []
        self.links: list[CoapLink] = []
        self.is_connected = False
        self._world = world
        self.config = config
        self._kept: CoapLink | None = None
        self._move()

    @property
    def kept(self) -> CoapLink | None:
        """The link that the next exchange may use."""
        return self._kept

    def run(
        self, exchange: ClientExchange, *, give_up_after: int | None = None
    ) -> ClientResult | RetryLater | None:
        """Return what comes of it; None where the user gives up after that many reads."""
        driver = ClientDriver(exchange, self.config, self._world.now)
        reads = 0
        while True:
            match step := driver.next_step(self._world.now):
                case Connect():
                    self._connect(driver, step)
                case Write():
                    self._write(step.pieces)
                case Read():
                    if reads == give_up_after:
                        return None
                    reads += 1
                    self._read(driver, step)
                case AwaitCredentials():
                    raise AssertionError("there are no challenges over CoAP")
                case result:
                    if self._kept is not None and not self._kept.may_stay(result):
                        self.close()
                    return result

    def close(self) -> None:
        """Send close_notify, and go to another address."""
        if self._kept is not None:
            self._kept.close()
            self._write(self._kept.outgoing())
            self._kept = None
        self._move()

    def _move(self) -> None:
        self.is_connected = False
        self.inbox.clear()
        self.address: Address = ("192.0.2.1", 40000 + self._world.chance.randrange(20000))
        self._world.devices[self.address] = self

    def _connect(self, driver: ClientDriver, step: Connect) -> None:
        now = self._world.now
        if self._kept is not None:
            if self._kept.fits(step, now) and not self.inbox:
                return driver.connected(self._kept)
            self.close()
        link = CoapLink(step, self.config, entropy=self._world.chance.randbytes, now=now)
        self.links.append(link)
        try:
            self._shake_hands(link)
        except TlsError as exc:
            self._write(link.outgoing())
            return driver.connect_failed(*connect_failure(exc, step.uri, connected=False))
        self._kept = link
        return driver.connected(link)

    def _shake_hands(self, link: CoapLink) -> None:
        while not link.handshake():
            self._write(link.outgoing())
            assert self._receive(self._world.now.mono + TIMEOUT_S), "no handshake"
            link.receive(self.inbox.pop(0), self._world.now)
        self._write(link.outgoing())
        self.is_connected = True

    def _write(self, pieces: tuple[bytes, ...]) -> None:
        for piece in pieces:
            self._world.send(self, piece)

    def _read(self, driver: ClientDriver, step: Read) -> None:
        if self._receive(step.deadline):
            return driver.receive(self.inbox.pop(0), self._world.now)
        return driver.handle_timeout(self._world.now)

    def _receive(self, deadline: float) -> bool:
        return self._world.step_until(deadline, lambda: bool(self.inbox))
