"""Our clients on sockets and on trio at our EST-coaps servers, over the loopback interface."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from est_core import (
    CACertsReceived,
    ClientExchange,
    ClientResult,
    ClientSession,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    LocalProtocolError,
    PopMode,
    RetryLater,
)
from est_core.asn1.pkcs10 import CertRequestInfo
from est_transports import on_sockets, on_trio
from est_transports.client_config import ClientConfig, ClientTimeouts
from est_transports.coap.limits import CoapLimits
from est_transports.coap.settings import CoapService
from est_transports.on_trio import coap_server as trio_coap
from est_transports.pki.signers import LocalSigner
from tests.application import FakeApplication
from tests.pki import SERVER_AUTH, Subject, pki
from tests.transports.coap_site import a_coap_service
from tests.transports.coap_udp import Gate, GatedApplication
from tests.transports.dtls_pair import a_dtls_server
from tests.transports.https_site import Log, client_config, identity_of, new_device

WAIT_S: Final = 60.0
DEVICE = new_device()
Outcome = ClientResult | RetryLater


def run_on_sockets(config: ClientConfig, *exchanges: ClientExchange, **options: Any) -> list[Any]:
    """Run exchanges with one blocking client, one after the other."""
    with on_sockets.Client(config) as client:
        return [client.run(exchange, **options) for exchange in exchanges]


def run_on_trio(config: ClientConfig, *exchanges: ClientExchange, **options: Any) -> list[Any]:
    """Run exchanges with one client on trio, one after the other."""

    async def talk() -> list[Any]:
        with trio.fail_after(WAIT_S):
            async with on_trio.Client(config) as client:
                return [await client.run(exchange, **options) for exchange in exchanges]

    return trio.run(talk)


Run = Callable[..., list[Any]]


@pytest.fixture(params=[run_on_sockets, run_on_trio], ids=["sockets", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """One of the clients."""
    found: Run = request.param
    return found


def config(**changes: Any) -> ClientConfig:
    """Return the configuration of a device that has the usual client's certificate."""
    mine = (identity_of(pki().client),)
    return client_config(**{"signer": DEVICE.signer, "identities": mine, **changes})


@dataclass
class Est:
    """A server in a thread."""

    sock: socket.socket
    service: CoapService
    log: Log = field(default_factory=Log)
    thread: threading.Thread | None = None
    stop: Callable[[], object] = lambda: None
    host: str = "localhost"

    def __post_init__(self) -> None:
        self.port: int = self.sock.getsockname()[1]

    def session(self, **changes: Any) -> ClientSession:
        """Return a session of the device, which trusts the EST CA."""
        uri = EstUri.parse(f"coaps://{self.host}:{self.port}")
        values: dict[str, Any] = {
            "trust": (pki().ca.certificate,),
            "identity": pki().client.certificate,
        }
        return ClientSession(uri, **values | changes)

    def end(self) -> None:
        """Stop it and wait for its end."""
        self.stop()
        assert self.thread is not None
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


def serve_on_sockets(est: Est) -> None:
    """Serve in a thread, with the server on sockets."""
    server = on_sockets.CoapServer(source=lambda: est.service, observe=est.log)
    est.stop = partial(server.stop, 0)
    est.thread = threading.Thread(target=server.serve, args=(est.sock,))
    est.thread.start()


def serve_on_trio(est: Est) -> None:
    """Serve in a thread, with the server on trio."""
    ready, tokens = threading.Event(), []
    server = trio_coap.CoapServer(source=lambda: est.service, observe=est.log)

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, est.sock)
            tokens.append(trio.lowlevel.current_trio_token())
            ready.set()

    def stop() -> None:
        with suppress(trio.RunFinishedError):
            tokens[0].run_sync_soon(server.stop, 0)

    est.stop, est.thread = stop, threading.Thread(target=trio.run, args=(serve,))
    est.thread.start()
    assert ready.wait(WAIT_S)


Serve = Callable[[Est], None]


def bound(address: str = "127.0.0.1") -> socket.socket:
    """Return a UDP socket on a free port."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


@contextmanager
def serving(
    serve: Serve = serve_on_sockets,
    application: FakeApplication | None = None,
    *,
    address: str = "127.0.0.1",
    **changes: object,
) -> Iterator[Est]:
    """Run a server until the block ends."""
    est = Est(bound(address), a_coap_service(application, **changes))
    serve(est)
    try:
        yield est
    finally:
        est.end()


def failed(result: Outcome) -> Failed:
    """Return that failure."""
    assert isinstance(result, Failed), result
    return result


@pytest.mark.req("COAPS-001", "COAPS-024", "COAPS-046", "COAPS-047")
@pytest.mark.parametrize("serve", [serve_on_sockets, serve_on_trio], ids=["sockets", "trio"])
@pytest.mark.parametrize("block_bytes", [32, 1024])
def test_every_operation(run: Run, serve: Serve, block_bytes: int) -> None:
    mine = LocalSigner(pki().client.key)
    again = CertRequestInfo(
        subject=pki().client.certificate.subject, spki=mine.public_key_spki, attributes=()
    )
    coap = CoapLimits(block_bytes=block_bytes)
    with serving(serve) as est:
        session = est.session(pop=PopMode.ALWAYS)
        certs, attrs, enrolled = run(
            config(coap=coap), session.cacerts(), session.csrattrs(), session.enroll(DEVICE.info)
        )
        (renewed,) = run(config(coap=coap, signer=mine), session.reenroll(again))
    assert isinstance(certs, CACertsReceived)
    assert attrs == CSRAttrsReceived(csrattrs=None, not_found=True)
    assert isinstance(enrolled, Enrolled)
    assert isinstance(renewed, Enrolled)
    assert est.log.codes == [(205, ""), (404, ""), (204, ""), (204, "")]
    assert len({record.peer for record in est.log.records}) == 2  # an association a client


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6(run: Run) -> None:
    try:
        bound("::1").close()
    except OSError:
        pytest.skip("no IPv6 on the loopback interface")
    with serving(address="::1") as est:
        est.host = "[::1]"
        (certs,) = run(config(), est.session().cacerts())
    assert isinstance(certs, CACertsReceived)
    assert est.log.records[0].peer.startswith("[::1]:")


def test_every_address_of_a_name_is_tried(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as est, bound() as closed:
        places = [("127.0.0.1", closed.getsockname()[1]), ("127.0.0.1", est.port)]
        closed.close()
        found = [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", place) for place in places]
        # A family that this machine does not have comes first.
        unknown: list[tuple[Any, ...]] = [(255, socket.SOCK_DGRAM, 0, "", places[0])]

        def getaddrinfo(*_arguments: object, **_options: object) -> list[tuple[Any, ...]]:
            return unknown + found

        async def agetaddrinfo(*_arguments: object, **_options: object) -> list[tuple[Any, ...]]:
            return unknown + found

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(trio.socket, "getaddrinfo", agetaddrinfo)
        (certs,) = run(config(), est.session().cacerts())
    assert isinstance(certs, CACertsReceived)


@pytest.mark.req("COAPS-055")
def test_a_slow_application_is_waited_for(run: Run) -> None:
    gate = Gate()
    with serving(application=GatedApplication(gate), coap=CoapLimits(ack_delay_s=0.05)) as est:
        threading.Timer(0.3, gate.opened.set).start()
        (enrolled,) = run(config(), est.session().enroll(DEVICE.info))
        assert gate.reached.is_set()
    assert isinstance(enrolled, Enrolled)


@pytest.mark.req("COAPS-056", "COAPS-057")
def test_a_pending_request_is_told_or_waited_for(run: Run) -> None:
    application = FakeApplication()
    application.pend(1)
    with serving(application=application) as est:
        exchange = est.session().enroll(DEVICE.info)
        (later,) = run(config(), exchange)
        (enrolled,) = run(config(), exchange, wait_s=5)
    assert isinstance(later, RetryLater)
    assert isinstance(enrolled, Enrolled)
    sent = {each.csr.der for each in application.enrollments}
    assert len(sent) == 2  # each signed for its association


def test_nobody_listens(run: Run) -> None:
    with bound() as sock:
        port = sock.getsockname()[1]
    session = ClientSession(
        EstUri.parse(f"coaps://localhost:{port}"),
        trust=(pki().ca.certificate,),
        identity=pki().client.certificate,
    )
    failure = failed(run(config(), session.cacerts())[0])
    assert failure.code == "connect/refused"
    assert str(port) in failure.message


def test_a_server_that_says_nothing_is_given_up_in_time(run: Run) -> None:
    with bound() as sock:
        est = Est(sock, a_coap_service(), host="127.0.0.1")
        timeouts = ClientTimeouts(handshake_s=0.3)
        (result,) = run(config(timeouts=timeouts), est.session().cacerts())
    assert failed(result).code == "connect/timeout"


@pytest.mark.parametrize("operation", ["cacerts", "enroll"])
def test_an_answer_that_does_not_come_is_given_up_in_time(run: Run, operation: str) -> None:
    gate = Gate()
    with serving(application=FakeApplication(before=gate)) as est:
        session = est.session()
        exchange = session.cacerts() if operation == "cacerts" else session.enroll(DEVICE.info)
        (result,) = run(config(timeouts=ClientTimeouts(response_s=0.4)), exchange)
        gate.opened.set()
    assert failed(result).code == "coap/timeout"
    assert "0.4 seconds" in failed(result).message


def test_a_server_that_stops_is_noticed(run: Run) -> None:
    gate = Gate()
    with serving(application=GatedApplication(gate)) as est:

        def stop() -> None:
            gate.reached.wait(WAIT_S)
            est.stop()

        threading.Thread(target=stop).start()
        (result,) = run(config(), est.session().enroll(DEVICE.info))
        gate.opened.set()
    assert failed(result).code == "connection/lost"  # and not coap/timeout


def test_a_server_that_is_gone_is_noticed_by_the_next_request(run: Run) -> None:
    def talk_to_a_server_that_ends(client: Any) -> tuple[Any, Any]:
        with serving() as est:
            first = client(est.session().cacerts())
            session = est.session()
        return first, client(session.enroll(DEVICE.info))

    if run is run_on_sockets:
        with on_sockets.Client(config()) as client:
            first, second = talk_to_a_server_that_ends(client.run)
    else:

        async def talk() -> tuple[Any, Any]:
            with trio.fail_after(WAIT_S):
                async with on_trio.Client(config()) as client:

                    def ask(exchange: ClientExchange) -> Outcome:
                        return trio.from_thread.run(client.run, exchange)

                    return await trio.to_thread.run_sync(talk_to_a_server_that_ends, ask)

        first, second = trio.run(talk)
    assert isinstance(first, CACertsReceived)
    assert failed(second).code == "connect/refused"


def test_a_server_of_another_ca_is_refused_and_told_why(run: Run) -> None:
    subject = Subject(name="localhost", dns=("localhost",), eku=(SERVER_AUTH,))
    with serving(context=a_dtls_server(entity=pki().rogue.issue(subject))) as est:
        (result,) = run(config(), est.session().cacerts())
        assert failed(result).code == "tls/untrusted-server"
        give_up_at = time.monotonic() + WAIT_S
        while not est.log.records:
            assert time.monotonic() < give_up_at
            time.sleep(0.005)
    assert est.log.codes == [(0, "tls/peer-refused-certificate")]


def test_a_missing_key_signer_or_anchor_is_the_callers_mistake(run: Run) -> None:
    with serving() as est:
        unverified = est.session(identity=pki().manufacturer_client.certificate)
        unsigned = est.session().enroll(DEVICE.info)
        for changes, exchange in (
            ({}, unverified.cacerts()),
            ({"signer": None}, unsigned),
            ({}, est.session(trust=()).cacerts()),
        ):
            with pytest.raises(LocalProtocolError):
                run(config(**changes), exchange)
        assert isinstance(run(config(), est.session().cacerts())[0], CACertsReceived)


def test_no_descriptor_is_left_behind(run: Run) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell what is open")
    run(config())
    before = descriptors()
    with serving() as est:
        run(config(), est.session().cacerts(), est.session().csrattrs())
        session = est.session()
    with pytest.raises(LocalProtocolError):
        run(config(), est.session(trust=()).cacerts())
    run(config(), session.cacerts())
    with bound() as sock:
        silent = Est(sock, a_coap_service(), host="127.0.0.1")
        run(config(timeouts=ClientTimeouts(handshake_s=0.1)), silent.session().cacerts())
    assert descriptors() == before


def test_a_client_on_trio_can_be_cancelled_and_used_again() -> None:
    gate = Gate()

    async def talk() -> None:
        with trio.fail_after(WAIT_S):
            async with on_trio.Client(config()) as client:
                with trio.move_on_after(0.2) as scope:
                    await client.run(est.session().enroll(DEVICE.info))
                assert scope.cancelled_caught
                gate.opened.set()
                assert isinstance(await client.run(est.session().cacerts()), CACertsReceived)

    with serving(application=GatedApplication(gate)) as est:
        trio.run(talk)
    assert len({record.peer for record in est.log.records}) == 2
