"""The operation that a page adds is served, asked for, refused and told of like any other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    OPERATIONS,
    Authentication,
    ClientResult,
    ClientSession,
    Failed,
    Label,
    LocalProtocolError,
    NotOnWire,
    PolicyRow,
    Received,
    RetryLater,
    ServerPolicy,
    default_policy,
)
from est_core.asn1.cms import write_certs_only
from est_core.testing import FIXED_INSTANT, ScriptedApplication
from est_core.wires.coapmap import Code, RequestHead
from est_transports import on_sockets, on_trio
from est_transports.client_config import ClientConfig
from est_transports.drive.records import Record
from est_transports.http.settings import ServiceConfig
from tests.application import FakeApplication
from tests.core.client_cast import Network, pair, reached, session
from tests.docs.own_operation import a_list, own_operation
from tests.pki import pki
from tests.transports.coap_site import CORE, Site, a_coap_service
from tests.transports.coap_udp import UdpDevice, a_udp_socket
from tests.transports.https_site import Log, identity_of, tls_context
from tests.transports.sockets_site import TIMEOUT_S, RawClient, in_trio_thread, running, until

OWN = own_operation()
CRLS = OWN.CRLS
LISTS = (a_list(), a_list())
PLANT = Label("plant-7")
DEFAULTS = default_policy(operations=(*OPERATIONS, CRLS), labels=(PLANT,))
SECLUDED = PolicyRow(operation=CRLS, label=PLANT, authentication=Authentication.CERT)
POLICY = replace(DEFAULTS, rows=(*DEFAULTS.rows, SECLUDED))
PATH = "/.well-known/est/crls"


def der_of(revoked: x509.CertificateRevocationList) -> bytes:
    return revoked.public_bytes(Encoding.DER)


Ask = Callable[[ClientSession], ClientResult | RetryLater]


@dataclass
class Served:
    """Two servers, and what is known of them."""

    https: int
    coap: int
    application: FakeApplication
    log: Log

    def session(self, wire: str, label: Label | None = None, *, named: bool) -> ClientSession:
        """Return the session of a client, with its certificate or without."""
        port = self.https if wire == "https" else self.coap
        return ClientSession(
            f"{wire}://localhost:{port}{f'/{label}' if label else ''}",
            trust=(pki().ca.certificate,),
            identity=pki().client.certificate if named else None,
        )

    def last(self, count: int) -> Record:
        """Return the last record, once there are so many."""
        until(lambda: len(self.log.records) >= count)
        return self.log.records[-1]


@contextmanager
def on_sockets_and_threads(
    application: FakeApplication, log: Log, listener: socket.socket, datagrams: socket.socket
) -> Iterator[None]:
    context, coap = tls_context(), a_coap_service(application, policy=POLICY)
    https_server = on_sockets.Server(
        context_source=lambda: context,
        application=application,
        config=ServiceConfig(policy=POLICY),
        observe=log,
    )
    coap_server = on_sockets.CoapServer(source=lambda: coap, observe=log)
    with ExitStack() as end:
        for server, what in ((https_server, listener), (coap_server, datagrams)):
            thread = threading.Thread(target=server.serve, args=(what,))
            thread.start()
            end.callback(thread.join, TIMEOUT_S)
            end.callback(server.stop, 0)
        yield


@contextmanager
def on_trio_threads(
    application: FakeApplication, log: Log, listener: socket.socket, datagrams: socket.socket
) -> Iterator[None]:
    context, coap = tls_context(), a_coap_service(application, policy=POLICY)

    async def https_server() -> tuple[on_trio.Server, trio.SocketListener]:
        server = on_trio.Server(
            context_source=lambda: context,
            application=application,
            config=ServiceConfig(policy=POLICY),
            observe=log,
        )
        return server, trio.SocketListener(trio.socket.from_stdlib_socket(listener))

    async def coap_server() -> tuple[on_trio.CoapServer, socket.socket]:
        return on_trio.CoapServer(source=lambda: coap, observe=log), datagrams

    with in_trio_thread(https_server), in_trio_thread(coap_server):
        yield


@pytest.fixture(scope="module", params=[on_sockets_and_threads, on_trio_threads])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    application = FakeApplication({OWN.CRLsRequested: OWN.ProvideCRLs(crls=LISTS)})
    log = Log()
    listener, datagrams = socket.create_server(("127.0.0.1", 0)), a_udp_socket()
    ports = listener.getsockname()[1], datagrams.getsockname()[1]
    with request.param(application, log, listener, datagrams):
        yield Served(*ports, application, log)


CONFIG = ClientConfig(identities=(identity_of(pki().client),))


def ask_on_sockets(session: ClientSession) -> ClientResult | RetryLater:
    with on_sockets.Client(CONFIG) as client:
        return client.run(session.ask(CRLS))


def ask_on_trio(session: ClientSession) -> ClientResult | RetryLater:
    async def run() -> ClientResult | RetryLater:
        async with on_trio.Client(CONFIG) as client:
            return await client.run(session.ask(CRLS))

    return trio.run(run)


@pytest.mark.parametrize("ask", [ask_on_sockets, ask_on_trio])
@pytest.mark.parametrize(("wire", "status"), [("https", 200), ("coaps", 205)])
@pytest.mark.parametrize("label", [None, PLANT])
def test_the_lists_come_as_they_were_given(
    served: Served, ask: Ask, wire: str, status: int, label: Label | None
) -> None:
    before = len(served.log.records)
    named = wire == "coaps" or label is not None
    result = ask(served.session(wire, label, named=named))
    assert isinstance(result, Received)
    assert result.operation is CRLS
    assert isinstance(result.value, tuple)
    assert sorted(map(der_of, result.value)) == sorted(map(der_of, LISTS))  # a set, in any order
    record = served.last(before + 1)
    assert (record.operation, record.status, record.code) == (CRLS, status, "")
    assert record.label == served.application.asked[-1].label == label


def test_a_row_keeps_out_who_shows_no_certificate(served: Served) -> None:
    before, asked = len(served.log.records), len(served.application.asked)
    result = ask_on_sockets(served.session("https", PLANT, named=False))
    assert isinstance(result, Failed)
    assert result.code == "response/status-403"
    record = served.last(before + 1)
    assert (record.operation, record.status) == (CRLS, 403)
    assert record.code == "auth/certificate-required"
    assert len(served.application.asked) == asked


def test_http_has_its_methods_as_for_any_get(served: Served) -> None:
    before = len(served.log.records)
    client = RawClient(served.https).shake_hands()
    client.say(f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = client.hear()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: application/pkcs7-mime; smime-type=crls-only\r\n" in head
    assert head.endswith(b"\r\n\r\n")  # and no body
    client.say(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    refusal = client.hear()
    client.close()
    assert refusal.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in refusal
    assert served.last(before + 2).code == "http/method"


def test_coap_lists_it_and_refuses_another_method(served: Served) -> None:
    with UdpDevice(served.coap).connect() as device:
        listed = device.ask(CORE).payload.decode("ascii")
        assert '</.well-known/est/crls>;rt="ace.est.crls";ct=65001' in listed
        assert '</.well-known/est/plant-7/crls>;rt="ace.est.crls";ct=65001' in listed
        post = RequestHead(code=Code.POST, path=(".well-known", "est", "crls"), content_format=286)
        assert device.ask(post, b"\x30\x00").head.code == Code.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("policy", [POLICY, DEFAULTS])
def test_an_application_of_yesterday_is_served_without_it(
    policy: ServerPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    with running(FakeApplication(), ServiceConfig(policy=policy)) as est:
        line = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert est.ask_once(line.encode()) == [404]
    site = Site(FakeApplication(), policy=policy)
    get = RequestHead(code=Code.GET, path=(".well-known", "est", "crls"))
    assert site.ask(site.connect(), get).head.code == Code.NOT_FOUND
    said = [each.getMessage() for each in caplog.records if "not offered" in each.getMessage()]
    assert said == ["crls is not offered: the application has no crls"] * 2  # once a server


def test_what_has_no_place_on_a_wire_is_not_asked_for_there() -> None:
    there = replace(CRLS, coap=NotOnWire(reason="RFC 8295 has HTTP only"))
    session = ClientSession("coaps://localhost", identity=pki().client.certificate)
    with pytest.raises(LocalProtocolError, match="the wire of coaps: RFC 8295 has HTTP only"):
        session.ask(there)
    policy = default_policy(operations=(*OPERATIONS, there))
    assert policy.row(there, None, datagram=True) is None
    assert policy.row(there, None) is not None


def answered_with(der: bytes) -> ClientResult | None:
    """What a client makes of an answer that somebody else's server gives."""
    exchange = session().ask(CRLS)
    exchange.next_event()
    exchange.connected(reached())
    exchange.next_event()
    exchange.receive_response(CRLS.success(der), FIXED_INSTANT)
    return exchange.result


def without_lists() -> bytes:
    """The message of another operation: it has a certificate, and no list."""
    return write_certs_only([pki().ca.certificate])


@pytest.mark.parametrize(
    ("der", "code"),
    [
        (b"\x30\x00", "crls/unreadable"),
        (b"\x05\x00", "crls/unreadable"),
        (bytes.fromhex("300f06092a864886f70d010701a0020400"), "crls/unreadable"),
        (without_lists(), "crls/none"),
    ],
)
def test_an_answer_without_lists_cannot_be_used(der: bytes, code: str) -> None:
    result = answered_with(der)
    assert isinstance(result, Failed)
    assert result.code == code


def test_an_application_that_gives_no_list_is_at_fault() -> None:
    application = ScriptedApplication({OWN.CRLsRequested: lambda _: OWN.ProvideCRLs(crls=())})
    with pytest.raises(LocalProtocolError, match="with a list at least"):
        pair(Network(), application, policy=POLICY).run(session().ask(CRLS))
