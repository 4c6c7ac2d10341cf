"""aiocoap as a client of our CoAP server, over plain UDP: its DTLS has no certificates.

What it finds below the DTLS records is the same: `ServerConnection` for each address, and the core.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import aiocoap
import pytest
from cryptography.hazmat.primitives.serialization import pkcs7

from est_core import Limits, ServerSession, coapmap, default_policy
from est_core.channel import Channel, TlsVersion, TrustClass
from est_core.wires.coapmap import RequestHead, ResponseHead
from est_transports import _clock
from est_transports.coap.limits import CoapLimits
from est_transports.coap.server_wire import RequestReceived
from est_transports.drive.application import answer
from tests.application import FakeApplication
from tests.judged import coap_read, coap_refusal
from tests.pki import pki
from tests.transports.coap_site import csr_of
from tests.transports.raw_coap import JudgedConnection

LIMITS: Final = Limits()
POLICY: Final = default_policy()
CLIENT: Final = Channel(
    version=TlsVersion.DTLS_1_2,
    trust_class=TrustClass.EXPLICIT,
    peer_chain=pki().client.chain,
    can_challenge=False,
)
CSR: Final = csr_of("a name that makes it longer than a block")
TURN_S: Final = 0.02


def check_head(head: RequestHead) -> tuple[ResponseHead, bytes] | None:
    """Answer what needs no payload."""
    found = coapmap.discover(head, policy=POLICY, limits=LIMITS)
    refusal = coap_refusal(head, policy=POLICY, limits=LIMITS)
    if found is not None or refusal is None:
        return found
    return coapmap.write(refusal, coapmap.reply_shape(head))


class Pump:
    """A server without DTLS, in a thread."""

    def __init__(self) -> None:
        self.session = ServerSession(policy=POLICY, channel=CLIENT, limits=LIMITS)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(TURN_S)
        self.port = self.socket.getsockname()[1]
        self.served = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        connections: dict[Any, JudgedConnection] = {}
        while not self.stopping.is_set():
            with suppress(TimeoutError, ConnectionError):
                datagram, address = self.socket.recvfrom(65535)
                if address not in connections:
                    connections[address] = JudgedConnection(
                        limits=CoapLimits(), entropy=_clock.entropy, check_head=check_head
                    )
                connections[address].receive(datagram, time.monotonic())
            for address, connection in connections.items():
                self._turn(address, connection)

    def _turn(self, address: Any, connection: JudgedConnection) -> None:
        connection.handle_timeout(time.monotonic())
        while (event := connection.next_event()) is not None:
            assert isinstance(event, RequestReceived), event
            self.served += 1
            now = _clock.instant()
            request, shape = coap_read(event.head, event.payload, limits=LIMITS)
            response = answer(self.session.receive_request(request, now), FakeApplication())
            written = coapmap.write(response, shape, now=now)
            connection.respond(event.exchange_id, *written, now.mono)
        for datagram in connection.outgoing():
            self.socket.sendto(datagram, address)


@contextmanager
def pumping() -> Iterator[Pump]:
    pump = Pump()
    thread = threading.Thread(target=pump.run)
    thread.start()
    try:
        yield pump
    finally:
        pump.stopping.set()
        thread.join()
        pump.socket.close()


async def ask(port: int, code: Any, path: str, **options: Any) -> Any:
    """Return aiocoap's whole answer."""
    context = await aiocoap.Context.create_client_context()
    try:
        uri = f"coap://127.0.0.1:{port}/.well-known/{path}"
        message = aiocoap.Message(code=code, uri=uri, **options)
        return await asyncio.wait_for(context.request(message).response, 15)
    finally:
        await context.shutdown()


@pytest.mark.req("COAPS-046", "COAPS-050")
@pytest.mark.parametrize("szx", [0, 2, 6])
def test_aiocoap_enrolls_with_blocks_of_any_size(szx: int) -> None:
    with pumping() as pump:
        found = asyncio.run(_enroll_in_blocks(pump.port, szx))
        (certificate,) = pkcs7.load_der_pkcs7_certificates(found)
        assert certificate.issuer == pki().ca.name
        assert pump.served == 1, "blocks are no requests of their own"


async def _enroll_in_blocks(port: int, szx: int) -> bytes:
    context = await aiocoap.Context.create_client_context()
    try:
        uri = f"coap://127.0.0.1:{port}/.well-known/est/sen"
        message = aiocoap.Message(code=aiocoap.POST, uri=uri, payload=CSR, content_format=286)
        message.remote.maximum_block_size_exp = szx
        received = await asyncio.wait_for(context.request(message).response, 15)
        assert received.code == aiocoap.CHANGED, received
        payload: bytes = received.payload
        return payload
    finally:
        await context.shutdown()


@pytest.mark.req("COAPS-006", "COAPS-043")
def test_aiocoap_fetches_and_discovers() -> None:
    with pumping() as pump:
        bag = asyncio.run(ask(pump.port, aiocoap.GET, "est/crts"))
        assert (bag.code, bag.opt.content_format) == (aiocoap.CONTENT, 281)
        assert pkcs7.load_der_pkcs7_certificates(bag.payload) == [pki().ca.certificate]
        alone = asyncio.run(ask(pump.port, aiocoap.GET, "est/crts", accept=287))
        assert alone.opt.content_format == 287
        assert asyncio.run(ask(pump.port, aiocoap.GET, "est/att")).code == aiocoap.NOT_FOUND
        links = asyncio.run(ask(pump.port, aiocoap.GET, "core?rt=ace.est*"))
        assert b'</.well-known/est/sen>;rt="ace.est.sen"' in links.payload


@pytest.mark.req("COAPS-038")
def test_aiocoap_hears_a_refusal_before_it_has_sent_all_blocks() -> None:
    with pumping() as pump:
        wrong = asyncio.run(
            ask(pump.port, aiocoap.POST, "est/sen", payload=bytes(5000), content_format=50)
        )
        assert wrong.code == aiocoap.UNSUPPORTED_CONTENT_FORMAT
        assert pump.served == 0
