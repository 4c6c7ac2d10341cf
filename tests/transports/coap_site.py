"""A CoapEndpoint, its clients over DTLS and the network between: in memory, at a test's pace."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID

from est_core import Decision, default_policy
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import Code, RequestHead
from est_transports.channel.dtls import DtlsClientContext, DtlsEngine
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import Address
from est_transports.coap.client_wire import ClientConnection, RequestFailed, ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Message
from est_transports.coap.server import CoapEndpoint
from est_transports.coap.settings import CoapService
from est_transports.drive.application import Application, AsyncApplication, told_apart
from est_transports.drive.consult import consult
from est_transports.drive.open_request import Ask, Finished
from tests.application import FakeApplication
from tests.pki import common_name, new_key
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server
from tests.transports.https_site import Log
from tests.transports.raw_coap import TURNS_MAX, read

EST = (".well-known", "est")
CRTS = RequestHead(code=Code.GET, path=(*EST, "crts"))
ATT = RequestHead(code=Code.GET, path=(*EST, "att"))
SEN = RequestHead(code=Code.POST, path=(*EST, "sen"), content_format=286)
SREN = RequestHead(code=Code.POST, path=(*EST, "sren"), content_format=286)
CORE = RequestHead(code=Code.GET, path=(".well-known", "core"))


def csr_of(name: str = "device-9", *, challenge: bytes = b"") -> bytes:
    """Return a signed request of a new key, in DER, perhaps with a challengePassword."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    if challenge:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge)
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


def a_coap_service(
    application: Application | AsyncApplication | None = None, **changes: object
) -> CoapService:
    """Return what a test server serves with."""
    values: dict[str, object] = {
        "context": a_dtls_server(),
        "application": application or FakeApplication(),
        "policy": default_policy(),
    }
    return CoapService(**{**values, **changes})  # type: ignore[arg-type]  # by name


def decision_on(asked: Ask) -> Decision:
    """Return what the application that is asked decides."""
    application, _ = told_apart(asked.application)
    assert application is not None
    return consult(application, asked.question)


@dataclass(eq=False)
class Client:
    """One device: DTLS and CoAP, and what it heard. `sent` are the sizes of its server's words."""

    address: Address
    engine: DtlsEngine
    connection: ClientConnection
    heard: list[Message] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    deaf: bool = False
    answers: dict[int, ResponseReceived | RequestFailed] = field(default_factory=dict)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take a datagram of the server's."""
        self.sizes.append(len(datagram))
        if self.deaf:
            return
        self.engine.receive(datagram)
        if not self.engine.handshake():
            return
        while said := self.engine.read():
            self.heard.append(read(said))
            self.connection.receive(said, now)
        while (event := self.connection.next_event()) is not None:
            self.answers[event.exchange_id] = event

    def outgoing(self) -> tuple[bytes, ...]:
        """Return what this device has to say, encrypted."""
        for datagram in self.connection.outgoing():
            self.engine.write(datagram)
        return self.engine.outgoing()

    def heard_codes(self) -> list[int]:
        """Return the codes of what was heard, and forget it."""
        codes = [message.code for message in self.heard]
        self.heard.clear()
        return codes


class Site:
    """An endpoint and its clients. Questions are answered at once, unless `holds`.

    Time stands still but for `wait` and `until_due`.
    """

    def __init__(
        self,
        application: FakeApplication | None = None,
        *,
        dtls: DtlsLimits | None = None,
        **changes: object,
    ) -> None:
        self.application = application or FakeApplication()
        self.service = a_coap_service(self.application, **changes)
        self.chance = Random(1)
        self.endpoint = CoapEndpoint(lambda: self.service, entropy=self.chance.randbytes, dtls=dtls)
        self.now = FIXED_INSTANT
        self.clients: dict[Address, Client] = {}
        self.log = Log()
        self.holds = False
        self.held: list[Ask] = []

    def begin(
        self,
        address: Address = ("192.0.2.1", 40001),
        context: DtlsClientContext | None = None,
        limits: CoapLimits | None = None,
    ) -> Client:
        """Put a client at an address, in place of one that was there."""
        connection = ClientConnection(limits=limits or CoapLimits(), entropy=self.chance.randbytes)
        client = Client(address, DtlsEngine(context or a_dtls_client()), connection)
        self.clients[address] = client
        client.engine.handshake()
        return client

    def connect(
        self,
        address: Address = ("192.0.2.1", 40001),
        context: DtlsClientContext | None = None,
        limits: CoapLimits | None = None,
    ) -> Client:
        """Put a client at an address and run its handshake to the end."""
        client = self.begin(address, context, limits)
        self.settle()
        assert client.engine.handshake()
        return client

    def send(self, client: Client, head: RequestHead, payload: bytes = b"") -> int:
        """Send a request and let everything happen that comes of it now."""
        number = client.connection.send_request(head, payload, self.now.mono)
        self.settle()
        return number

    def ask(self, client: Client, head: RequestHead, payload: bytes = b"") -> ResponseReceived:
        """Send a request and return the answer, which comes at once."""
        answer = client.answers[self.send(client, head, payload)]
        assert isinstance(answer, ResponseReceived), answer
        return answer

    def decide(self, asked: Ask, decision: Decision | None = None) -> None:
        """Answer a question that was held, as the application would, or so."""
        given = decision_on(asked) if decision is None else decision
        self.endpoint.decide(asked, given, self.now)
        self.settle()

    def settle(self) -> None:
        """Carry datagrams and do what is to be done, until nobody has anything to say."""
        for _ in range(TURNS_MAX):
            busy = self._take_steps()
            for client in tuple(self.clients.values()):
                for datagram in client.outgoing():
                    self.endpoint.receive(datagram, client.address, self.now)
                    busy = True
            busy |= self._take_steps()
            for address, datagram in self.endpoint.outgoing():
                busy = True
                if address in self.clients:
                    self.clients[address].receive(datagram, self.now.mono)
            if not busy:
                return
        raise AssertionError("it comes to no end")

    def _take_steps(self) -> bool:
        moved = False
        while (step := self.endpoint.next_step()) is not None:
            moved = True
            match step:
                case Ask():
                    if self.holds:
                        self.held.append(step)
                    else:
                        self.endpoint.decide(step, decision_on(step), self.now)
                case Finished():
                    self.log(step.record)
        return moved

    def wait(self, seconds: float) -> None:
        """Let time pass, for the server alone."""
        self.now = self.now.after(seconds)
        self.endpoint.handle_timeout(self.now)
        self.settle()

    def until_due(self) -> float:
        """Let time pass until something is due, and not sooner; return for how long."""
        due = self.endpoint.next_timeout(self.now)
        assert due is not None
        seconds = due - self.now.mono
        early = self.now.after(seconds - 0.001)
        self.endpoint.handle_timeout(early)
        assert not self.endpoint.outgoing()
        assert self.endpoint.next_step() is None
        assert self.endpoint.next_timeout(early) == due
        self.wait(seconds)
        return seconds
