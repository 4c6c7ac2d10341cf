"""The EST-coaps server of one socket, DTLS included, with a clock that only the test moves."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    Authentication,
    Decision,
    EnrollRequested,
    Issue,
    Label,
    Limits,
    PolicyRow,
    Rejected,
    Request,
    ResponseReady,
    ServerPolicy,
    ServerSession,
    coapmap,
    default_policy,
)
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.channel import Channel, TlsVersion, TrustClass
from est_core.refusal_tag import untagged
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import Code, RequestHead
from est_transports.channel.dtls import DtlsEngine
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import Address
from est_transports.coap.client_wire import ClientConnection, RequestFailed, ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Block, Kind
from est_transports.coap.questions import QUESTIONS_MAX, QUESTIONS_PER_HOST
from est_transports.coap.server import CoapEndpoint
from est_transports.coap.server_wire import RequestReceived
from est_transports.coap.settings import CoapService
from est_transports.drive.consult import consult
from est_transports.drive.records import Wire
from tests.application import FakeApplication, certificate_for
from tests.damage import damaged
from tests.judged import coap_read
from tests.pki import CLIENT_AUTH, CMC_RA, Subject, pki
from tests.reached import reached, reaches
from tests.registration import ras
from tests.transports.coap_network import Network, Weather
from tests.transports.coap_site import (
    ATT,
    CORE,
    CRTS,
    SEN,
    SREN,
    Client,
    Site,
    a_coap_service,
    csr_of,
)
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server
from tests.transports.raw_coap import JudgedConnection, con, post

ALICE: Final = ("192.0.2.1", 40001)
BOB: Final = ("192.0.2.2", 40002)
CAROL: Final = ("2001:db8::3", 40003, 0, 0)
CSR: Final = csr_of()
PRESENT_ATTRIBUTES: Final = CsrAttrs(items=(ObjectId(oid="1.2.3.4"),))


def issued(answer: ResponseReceived) -> x509.Certificate:
    """Return the certificate of a bag."""
    assert (answer.head.code, answer.head.content_format) == (Code.CHANGED, 281)
    (certificate,) = pkcs7.load_der_pkcs7_certificates(answer.payload)
    return certificate


def answer_to(client: Client, number: int) -> ResponseReceived:
    """Return the answer that has come."""
    answer = client.answers[number]
    assert isinstance(answer, ResponseReceived)
    return answer


# Operations


@pytest.mark.req("COAPS-017", "COAPS-043")
def test_the_ca_certificates_come_with_2_05_and_a_record() -> None:
    site = Site()
    answer = site.ask(site.connect(ALICE), CRTS)
    assert (answer.head.code, answer.head.content_format) == (Code.CONTENT, 281)
    assert pkcs7.load_der_pkcs7_certificates(answer.payload) == [pki().ca.certificate]
    (record,) = site.log.records
    assert (record.wire, record.peer) == (Wire.COAPS, "192.0.2.1:40001")
    assert (record.method, record.target) == ("GET", "/.well-known/est/crts")
    assert (record.operation, record.label) == (CACERTS, None)
    assert record.identity.certificate == pki().client.certificate
    assert (record.status, record.code, record.reason) == (205, "", "")
    assert (record.received_bytes, record.sent_bytes) == (0, len(answer.payload))
    assert record.issued is None


@pytest.mark.req("COAPS-044", "COAPS-045")
def test_csr_attributes_come_or_are_not_available() -> None:
    site = Site()
    assert site.ask(site.connect(), ATT).head.code == Code.NOT_FOUND
    site = Site(FakeApplication(csrattrs=PRESENT_ATTRIBUTES))
    answer = site.ask(site.connect(), ATT)
    assert (answer.head.content_format, answer.payload) == (285, PRESENT_ATTRIBUTES.der())
    assert site.log.codes == [(205, "")]


@pytest.mark.req("COAPS-018", "COAPS-043", "COAPS-073")
def test_an_enrollment_comes_with_2_04_and_is_on_record() -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    number = site.send(client, SEN, CSR)
    site.now = site.now.after(0.25)
    site.decide(site.held[0])
    certificate = issued(answer_to(client, number))
    (record,) = site.log.records
    assert record.issued == certificate
    assert (record.operation, record.status) == (SIMPLEENROLL, 204)
    assert (record.received_bytes, record.seconds) == (len(CSR), 0.25)


def test_a_certificate_renews_itself_and_no_other() -> None:
    site = Site()
    client = site.connect()
    assert (
        issued(site.ask(client, SREN, csr_of("device-1"))).subject == pki().client.chain[0].subject
    )
    assert site.ask(client, SREN, csr_of("device-2")).head.code == Code.BAD_REQUEST
    assert site.log.codes == [(204, ""), (400, "renewal/subject")]


@pytest.mark.req("COAPS-035")
def test_a_bare_certificate_comes_where_it_is_asked_for() -> None:
    site = Site()
    answer = site.ask(site.connect(), replace(SEN, accept=287), CSR)
    assert answer.head.content_format == 287
    assert x509.load_der_x509_certificate(answer.payload) == site.log.records[0].issued


@pytest.mark.req("COAPS-024")
def test_one_association_serves_many_requests_and_many_associations_do_too() -> None:
    site = Site()
    clients = [site.connect(address) for address in (ALICE, BOB, CAROL)]
    for client in clients * 2:
        assert site.ask(client, CRTS).head.code == Code.CONTENT
    assert site.endpoint.associations == 3
    assert Counter(record.peer for record in site.log.records) == dict.fromkeys(
        ("192.0.2.1:40001", "192.0.2.2:40002", "[2001:db8::3]:40003"), 2
    )


# Refusals


@pytest.mark.parametrize(
    "head, payload, code, record",
    [
        (replace(CRTS, path=("est", "nothing")), b"", Code.NOT_FOUND, "path/operation"),
        (replace(CRTS, path=(*CRTS.path[:2], "skg")), b"", Code.NOT_FOUND, "path/not-offered"),
        (replace(CRTS, path=("x" * 250, "ü" * 100)), b"", Code.NOT_FOUND, "path/unknown"),
        (replace(CRTS, code=Code.POST), b"", Code.METHOD_NOT_ALLOWED, "coap/method"),
        (replace(CRTS, code=Code.PUT), b"", Code.METHOD_NOT_ALLOWED, "coap/method"),
        (replace(CRTS, accept=50), b"", Code.NOT_ACCEPTABLE, "media/not-acceptable"),
        (replace(SEN, content_format=60), CSR, Code.UNSUPPORTED_CONTENT_FORMAT, "media/type"),
        (replace(SEN, content_format=None), CSR, Code.UNSUPPORTED_CONTENT_FORMAT, "media/type"),
        (SEN, b"", Code.BAD_REQUEST, "body/empty"),
        (SEN, b"\x30\x00", Code.BAD_REQUEST, "csr/malformed"),
        (SEN, CSR[:-1] + bytes([CSR[-1] ^ 1]), Code.BAD_REQUEST, "csr/bad-signature"),
        (SEN, CSR + b"\x00", Code.BAD_REQUEST, "der/trailing-bytes"),
    ],
)  # fmt: skip
@pytest.mark.req("COAPS-038")
def test_what_is_refused_has_its_code_and_its_record(
    head: coapmap.RequestHead, payload: bytes, code: Code, record: str
) -> None:
    site = Site()
    client = site.connect()
    answer = site.ask(client, head, payload)
    assert answer.head.code == code
    (found,) = site.log.records
    assert (found.status, found.code) == (coapmap.status_of(code), record)
    assert len(found.target) <= 256
    assert found.target.isascii()
    whole = "".join("/" + quote(segment, safe="") for segment in head.path)
    assert found.target == whole[:256]
    assert site.endpoint.is_idle
    assert site.ask(client, CRTS).head.code == Code.CONTENT


@pytest.mark.parametrize(
    ("datagram", "status", "code"),
    [
        (con(Code.GET, 1, path=CRTS.path, proxy_uri="coaps://a"), 505, "coap/proxy"),
        (con(Code.GET, 1, path=CRTS.path, if_match=(b"1",)), 412, "coap/precondition"),
        (post(1, bytes(64), block1=Block(1, True, 2)), 408, "coap/block"),
        (post(1, bytes(1000), block1=Block(0, True, 2)), 400, "coap/block"),
        (post(1, bytes(64), block1=Block(0, True, 2), size1=1 << 20), 413, "coap/too-large"),
        (con(Code.GET, 1, path=CRTS.path) + b"\xd1\x01\x00", 402, "coap/bad-option"),
    ],
)
def test_what_the_wire_itself_refuses_is_on_record_too(
    datagram: bytes, status: int, code: str
) -> None:
    site = Site()
    client = site.connect()
    client.engine.write(datagram)
    site.settle()
    (found,) = site.log.records
    assert (found.status, found.code) == (status, code)
    assert found.target.startswith("/")
    assert found.peer == "192.0.2.1:40001"
    assert site.endpoint.is_idle
    assert site.ask(client, CRTS).head.code == Code.CONTENT


def test_a_record_holds_no_control_characters_of_a_path() -> None:
    site = Site()
    client = site.connect()
    site.ask(client, coapmap.RequestHead(code=Code.GET, path=("a\x1b[31m\n\x7f", "\u00e9 ~")))
    assert site.log.records[-1].target == "/a%1B%5B31m%0A%7F/%C3%A9%20~"


def test_a_refused_upload_is_refused_before_it_is_complete() -> None:
    site = Site()
    client = site.connect(limits=CoapLimits(block_bytes=128))
    answer = site.ask(client, replace(SEN, content_format=60), CSR)
    assert answer.head.code == Code.UNSUPPORTED_CONTENT_FORMAT
    assert len(client.heard) == 1
    assert site.log.codes == [(415, "media/type")]


@pytest.mark.req("COAPS-017")
@pytest.mark.parametrize("head, payload", [(CRTS, b""), (ATT, b""), (SEN, CSR), (SREN, CSR)])
@pytest.mark.parametrize("entity", ["rogue_client", "expired_client", "self_signed_client"])
def test_a_certificate_that_does_not_verify_gets_4_03_for_everything(
    head: coapmap.RequestHead, payload: bytes, entity: str
) -> None:
    site = Site()
    client = site.connect(context=a_dtls_client(getattr(pki(), entity)))
    assert site.ask(client, head, payload).head.code == Code.FORBIDDEN
    assert site.log.codes == [(403, "auth/certificate-not-accepted")]


def test_a_manufacturers_certificate_enrolls_and_does_not_renew() -> None:
    site = Site()
    client = site.connect(context=a_dtls_client(pki().manufacturer_client))
    issued(site.ask(client, SEN, CSR))
    assert site.ask(client, SREN, csr_of("idevid-1")).head.code == Code.FORBIDDEN


@pytest.mark.req("COAPS-020")
def test_what_needs_a_password_is_closed() -> None:
    rows = default_policy().rows
    row = PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.HTTP)
    usual = tuple(each for each in rows if each.operation is not SIMPLEENROLL)
    site = Site(policy=ServerPolicy(rows=(*usual, row), challenges=default_policy().challenges))
    client = site.connect()
    assert site.ask(client, SEN, CSR).head.code == Code.FORBIDDEN
    assert site.ask(client, CRTS).head.code == Code.CONTENT
    assert site.log.codes == [(403, "auth/no-scheme"), (205, "")]


@pytest.mark.req("COAPS-073", "COAPS-078")
def test_a_request_that_is_linked_to_another_channel_comes_from_a_registrar_or_is_refused() -> None:
    listed = ras("registrar")
    policy = default_policy(realm=None)
    rows = tuple(replace(row, registration_authorities=listed) for row in policy.rows)
    site = Site(policy=ServerPolicy(rows=rows))
    registrar = pki().ca.issue(Subject(name="registrar", eku=(CLIENT_AUTH, CMC_RA)))
    csr = csr_of("device-3", challenge=b"an earlier channel's")
    issued(site.ask(site.connect(ALICE, a_dtls_client(registrar)), SEN, csr))
    assert site.ask(site.connect(BOB), SEN, csr).head.code == Code.FORBIDDEN
    assert site.log.codes == [(204, ""), (403, "pop/mismatch")]


def test_a_request_that_is_linked_to_its_own_channel_is_taken_where_only_such_are() -> None:
    site = Site(policy=default_policy(require_pop=True))
    client = site.connect()
    binding = client.engine.channel().binding
    assert binding is not None
    issued(site.ask(client, SEN, csr_of(challenge=b64encode(binding.data))))
    assert site.ask(client, SEN, CSR).head.code == Code.FORBIDDEN
    assert b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07" in site.ask(client, ATT).payload
    assert site.log.codes == [(204, ""), (403, "pop/missing"), (205, "")]


def test_a_label_chooses_its_rules() -> None:
    site = Site(policy=default_policy(labels=frozenset({Label("lab")})))
    client = site.connect()
    assert site.ask(client, replace(CRTS, path=(*CRTS.path[:2], "lab", "crts"))).payload
    absent = site.ask(client, replace(CRTS, path=(*CRTS.path[:2], "bar", "crts")))
    assert absent.head.code == Code.NOT_FOUND
    assert [record.label for record in site.log.records] == [Label("lab"), None]


def test_a_failed_handshake_is_on_record() -> None:
    site = Site(dtls=DtlsLimits(handshake_s=20.0))
    client = site.begin()
    for datagram in client.outgoing():
        site.endpoint.receive(datagram, client.address, site.now)
    ((address, cookie),) = site.endpoint.outgoing()
    client.receive(cookie, site.now.mono)
    for datagram in client.outgoing():
        site.endpoint.receive(datagram, address, site.now)
    del site.clients[address]
    site.wait(20.0)
    assert site.log.codes == [(0, "tls/timeout")]
    assert site.log.records[0].wire is Wire.COAPS
    assert site.log.records[0].peer == "192.0.2.1:40001"


# Discovery


@pytest.mark.req("COAPS-004", "COAPS-006", "COAPS-007")
def test_discovery_lists_the_operations_and_is_on_record() -> None:
    site = Site()
    client = site.connect()
    answer = site.ask(client, replace(CORE, query=("rt=ace.est.crts",)))
    assert (answer.head.code, answer.head.content_format) == (Code.CONTENT, 40)
    assert answer.payload == b'</.well-known/est/crts>;rt="ace.est.crts";ct="281 287"'
    assert site.ask(client, replace(CORE, code=Code.POST)).head.code == Code.METHOD_NOT_ALLOWED
    assert [(record.status, record.target) for record in site.log.records] == [
        (205, "/.well-known/core"),
        (405, "/.well-known/core"),
    ]


@pytest.mark.req("COAPS-004", "COAPS-046")
def test_a_long_list_of_resources_comes_in_blocks() -> None:
    labels = frozenset(Label(f"label-{number}") for number in range(20))
    site = Site(policy=default_policy(labels=labels))
    for size in (16, 64, 1024):
        client = site.connect(limits=CoapLimits(block_bytes=size))
        links = site.ask(client, CORE).payload.decode().split(",")
        assert len(links) == 4 * 21
        assert len(client.heard) == -(-len(",".join(links)) // size)


# Side by side


def test_two_exchanges_of_one_association_do_not_wait_for_each_other() -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    first = site.send(client, CRTS)
    site.wait(1.0)  # the empty acknowledgement, which lets the client send the next one
    second = site.send(client, SEN, CSR)
    enrolling, getting = (site.held[1], site.held[0])
    site.decide(enrolling)
    issued(answer_to(client, second))
    assert first not in client.answers
    site.decide(getting)
    assert answer_to(client, first).head.code == Code.CONTENT
    assert [record.operation for record in site.log.records] == [
        SIMPLEENROLL,
        CACERTS,
    ]
    assert site.endpoint.is_idle


def test_one_slow_client_does_not_delay_another() -> None:
    site = Site()
    site.holds = True
    slow, quick = site.connect(ALICE), site.connect(BOB)
    site.send(slow, SEN, CSR)
    site.holds = False
    assert site.ask(quick, CRTS).head.code == Code.CONTENT
    assert not slow.answers
    assert not site.endpoint.is_idle


def test_more_requests_than_are_open_at_once_are_put_off() -> None:
    site = Site(coap=CoapLimits(open_exchanges=1, ack_delay_s=0.5))
    site.holds = True
    client = site.connect()
    site.send(client, CRTS)
    site.wait(0.5)
    answer = site.ask(client, ATT)
    assert (answer.head.code, answer.head.max_age) == (Code.SERVICE_UNAVAILABLE, 10)
    assert [(each.status, each.code) for each in site.log.records] == [(503, "server/busy")]


# Time


@pytest.mark.req("COAPS-055")
def test_a_slow_answer_is_acknowledged_first_and_comes_separately() -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    number = site.send(client, SEN, CSR)
    assert client.heard_codes() == []
    assert site.until_due() == pytest.approx(1.0)
    assert client.heard_codes() == [0]
    client.deaf = True
    site.decide(site.held[0])
    assert site.log.codes == [(204, "")]
    assert not site.endpoint.is_idle
    client.deaf = False
    assert 2.0 <= site.until_due() <= 3.0  # it is sent again: ACK_TIMEOUT, ACK_RANDOM_FACTOR
    assert [message.kind for message in client.heard] == [Kind.CON]
    issued(answer_to(client, number))
    assert site.endpoint.is_idle


def test_an_answer_that_nobody_acknowledges_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    site.send(client, SEN, CSR)
    site.until_due()
    client.deaf = True
    site.decide(site.held[0])
    with caplog.at_level(logging.INFO, "est_transports"):
        waited = [site.until_due() for _ in range(5)]
    assert 62.0 <= sum(waited) <= 93.0  # RFC 7252 4.8.2: MAX_TRANSMIT_WAIT
    assert site.endpoint.is_idle
    assert "an answer was lost: the client did not acknowledge the answer" in caplog.text
    assert site.log.codes == [(204, "")]


@pytest.mark.req("COAPS-056")
@pytest.mark.parametrize("notices", ["timer", "decision"])
def test_an_application_that_is_too_slow_costs_5_03_and_what_it_issues_is_settled(
    notices: str,
) -> None:
    site = Site(limits=Limits(decision_s=30))
    site.holds = True
    client = site.connect()
    number = site.send(client, SEN, CSR)
    site.until_due()
    asked = site.held[0]
    assert asked.deadline == site.now.mono - 1.0 + 30.0
    if notices == "timer":
        assert site.until_due() == pytest.approx(29.0)
        assert not asked.is_wanted
    else:
        site.now = site.now.after(29.0)
    site.decide(asked)
    answer = answer_to(client, number)
    assert (answer.head.code, answer.head.max_age) == (Code.SERVICE_UNAVAILABLE, 60)
    assert site.log.codes == [(503, "server/busy")]
    assert asked.exchange.issued is not None
    assert not asked.exchange.is_open
    assert site.endpoint.is_idle
    site.decide(asked)  # again, which a broken transport might do
    assert len(site.log.records) == 1


def test_a_repeated_request_is_asked_about_once() -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    number = site.send(client, SEN, CSR)
    client.deaf = True
    site.wait(1.0)
    due = client.connection.next_timeout()
    assert due is not None
    client.connection.handle_timeout(due)
    client.deaf = False
    site.settle()
    assert client.heard_codes() == [0]
    assert len(site.held) == 1
    site.decide(site.held[0])
    issued(answer_to(client, number))


def test_an_idle_association_ends_when_it_is_due_and_not_sooner() -> None:
    site = Site(dtls=DtlsLimits(idle_s=300.0))
    client = site.connect()
    site.ask(client, CRTS)
    assert site.endpoint.next_timeout(site.now) == pytest.approx(site.now.mono + 247.0)
    site.wait(247.0)
    assert site.until_due() == pytest.approx(53.0)
    assert site.endpoint.associations == 0
    assert site.endpoint.next_timeout(site.now) is None
    assert client.engine.read() == b""


# Ends


@pytest.mark.parametrize("how", ["closed", "replaced"])
def test_an_association_that_ends_takes_its_exchange_along_and_what_is_issued_is_settled(
    how: str,
) -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    site.send(client, SEN, CSR)
    site.now = site.now.after(0.5)
    if how == "closed":
        client.engine.close()
        site.settle()
    else:
        site.connect(client.address)
    (record,) = site.log.records
    assert (record.status, record.code) == (0, "connection/lost")
    assert (
        record.reason
        == {
            "closed": "the client closed it",
            "replaced": "the client began anew",
        }[how]
    )
    assert (record.operation, record.seconds) == (SIMPLEENROLL, 0.5)
    assert record.identity.certificate == pki().client.certificate
    asked = site.held[0]
    assert asked.exchange.abandoned == record.reason
    assert site.endpoint.is_idle
    site.decide(asked)
    assert asked.exchange.issued is not None
    assert len(site.log.records) == 1


def test_a_client_that_begins_anew_is_served_with_its_new_certificate() -> None:
    site = Site()
    site.ask(site.connect(ALICE), CRTS)
    other = a_dtls_client(pki().client_below_intermediate)
    site.ask(site.connect(ALICE, other), CRTS)
    assert site.endpoint.associations == 1
    assert [record.identity.certificate for record in site.log.records] == [
        pki().client.certificate,
        pki().client_below_intermediate.certificate,
    ]


def test_a_late_decision_on_what_was_only_asked_is_dropped() -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    site.send(client, CRTS)
    client.engine.close()
    site.settle()
    site.decide(site.held[0])
    assert [record.code for record in site.log.records] == ["connection/lost"]


@pytest.mark.parametrize(
    "nonsense",
    [Rejected(), None, object(), Issue(certificate=pki().client.certificate)],
    ids=["no answer", "None", "no decision", "another key"],
)
def test_a_decision_that_is_none_is_an_internal_error(
    nonsense: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    site.holds = True
    client = site.connect()
    number = site.send(client, SEN, CSR)
    site.endpoint.decide(site.held[0], nonsense, site.now)
    site.settle()
    assert answer_to(client, number).head.code == Code.INTERNAL_SERVER_ERROR
    assert site.log.codes == [(500, "server/internal")]
    assert "gave no answer to EnrollRequested" in caplog.text
    site.holds = False
    assert site.ask(client, CRTS).head.code == Code.CONTENT


def test_an_application_that_raises_is_an_internal_error() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    site = Site(FakeApplication(before=broken))
    assert site.ask(site.connect(), CRTS).head.code == Code.INTERNAL_SERVER_ERROR
    assert site.log.codes == [(500, "server/internal")]


def test_an_answer_over_the_limit_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(coap=CoapLimits(response_bytes=300, kept_bytes=300))
    answer = site.ask(site.connect(), CRTS)
    text, tag = untagged(answer.payload.decode())
    assert (answer.head.code, text) == (Code.INTERNAL_SERVER_ERROR, "internal error")
    assert tag is not None
    assert tag.id == site.log.records[-1].refusal_id
    assert site.log.codes == [(500, "server/internal")]
    assert "over response_bytes" in caplog.text


def test_an_answer_of_as_much_as_is_allowed_is_sent() -> None:
    usual = Site()
    size = len(usual.ask(usual.connect(), CRTS).payload)
    site = Site(coap=CoapLimits(response_bytes=size, kept_bytes=size))
    assert len(site.ask(site.connect(), CRTS).payload) == size


# Stopping


def test_a_stopping_server_answers_what_was_asked_and_puts_off_the_rest() -> None:
    site = Site()
    site.holds = True
    first, second = site.connect(ALICE), site.connect(BOB)
    number = site.send(first, SEN, CSR)
    site.endpoint.stop()
    assert not site.endpoint.is_idle
    answer = site.ask(second, SEN, csr_of())
    assert (answer.head.code, answer.head.max_age) == (Code.SERVICE_UNAVAILABLE, 10)
    assert len(site.held) == 1
    site.decide(site.held[0])
    issued(answer_to(first, number))
    assert site.endpoint.is_idle
    assert site.log.codes == [(503, "server/stopping"), (204, "")]
    assert site.log.records[0].identity.certificate == pki().client.certificate


def test_a_stopping_server_refuses_unverified_clients_as_ever() -> None:
    site = Site()
    client = site.connect(context=a_dtls_client(pki().rogue_client))
    site.endpoint.stop()
    assert site.ask(client, CRTS).head.code == Code.FORBIDDEN
    assert site.endpoint.is_idle


def test_closing_sends_close_notify_and_gives_up_what_is_open() -> None:
    site = Site()
    site.holds = True
    clients = [site.connect(ALICE), site.connect(BOB)]
    site.send(clients[0], SEN, CSR)
    site.endpoint.close(site.now)
    site.settle()
    assert [client.engine.read() for client in clients] == [b"", b""]
    assert site.endpoint.associations == 0
    assert site.endpoint.is_idle
    assert [(r.code, r.reason) for r in site.log.records] == [
        ("connection/lost", "the server stopped")
    ]
    site.decide(site.held[0])
    assert site.held[0].exchange.issued is not None


# Bounds


def test_small_datagrams_are_kept_to() -> None:
    site = Site(context=a_dtls_server(mtu_bytes=256))
    client = site.connect(context=a_dtls_client(mtu_bytes=256), limits=CoapLimits().fitting(227))
    issued(site.ask(client, SEN, CSR))
    assert max(client.sizes) <= 256
    assert {m.options.block2.size for m in client.heard if m.options.block2} == {128}


def test_an_association_with_an_open_exchange_makes_no_room() -> None:
    site = Site(dtls=DtlsLimits(associations=2))
    site.holds = True
    busy, idle = site.connect(ALICE), site.connect(BOB)
    number = site.send(busy, SEN, CSR)
    site.connect(CAROL)
    assert site.endpoint.associations == 2
    assert idle.engine.read() == b""
    site.send(site.clients[CAROL], CRTS)
    newcomer = site.begin(BOB)
    site.settle()
    assert not newcomer.engine.handshake()
    site.decide(site.held[0])
    issued(answer_to(busy, number))
    assert not [record for record in site.log.records if record.code == "connection/lost"]


def test_an_association_with_an_open_exchange_is_never_idle() -> None:
    site = Site(dtls=DtlsLimits(idle_s=10.0), limits=Limits(decision_s=60))
    site.holds = True
    client = site.connect()
    number = site.send(client, SEN, CSR)
    site.wait(1.0)
    site.wait(50.0)
    assert site.endpoint.associations == 1
    site.decide(site.held[0])
    issued(answer_to(client, number))


def test_each_association_keeps_the_service_it_began_with() -> None:
    site = Site()
    old = site.connect(ALICE)
    site.service = a_coap_service(
        FakeApplication(csrattrs=PRESENT_ATTRIBUTES), context=a_dtls_server()
    )
    new = site.connect(BOB)
    assert site.ask(old, ATT).head.code == Code.NOT_FOUND
    assert site.ask(new, ATT).head.code == Code.CONTENT


LIMITS: Final = CoapLimits.constrained()


def a_hello() -> bytes:
    engine = DtlsEngine(a_dtls_client())
    engine.handshake()
    (hello,) = engine.outgoing()
    return hello


HELLO: Final = a_hello()


@reaches(asked=25, answered=30)
@settings(max_examples=40)
@given(
    plain=st.lists(damaged((HELLO,)) | st.binary(max_size=200), max_size=5),
    inside=st.lists(
        st.binary(min_size=1, max_size=200)
        | st.builds(
            partial(con, path=SEN.path, content_format=286),
            st.sampled_from((Code.GET, Code.POST, 9)),
            st.integers(0, 65535),
            st.binary(max_size=64) | damaged((CSR,)),
        )
        | st.builds(
            lambda path, number: con(Code.GET, number, path=path),
            st.sampled_from((CRTS.path, ATT.path, CORE.path)),
            st.integers(0, 65535),
        ),
        max_size=30,
    ),
)
def test_garbage_raises_nothing_and_holds_little(plain: list[bytes], inside: list[bytes]) -> None:
    site = Site(coap=LIMITS, dtls=DtlsLimits.constrained())
    site.holds = True
    client = site.connect()
    for datagram in plain:
        site.endpoint.receive(datagram, ALICE, site.now)
        site.endpoint.receive(datagram, BOB, site.now)
    for said in inside:
        client.engine.write(said)
        site.settle()
    assert site.endpoint.associations == 1
    assert len(site.held) <= LIMITS.open_exchanges
    reached(*(["asked"] if site.held else []), *(["answered"] if client.heard else []))
    site.wait(1.0)
    for asked in site.held:
        site.decide(asked)
    assert site.endpoint.is_idle or site.endpoint.next_timeout(site.now) is not None
    site.wait(1000.0)
    site.wait(1000.0)
    assert site.endpoint.associations == 0
    assert site.endpoint.is_idle
    assert site.endpoint.next_timeout(site.now) is None


# A thousand devices on a bad network


class Registry:
    """Issues, remembers what it issued, and gives the same certificate for the same key again."""

    def __init__(self) -> None:
        self.issued: Counter[bytes] = Counter()
        self._certificates: dict[bytes, x509.Certificate] = {}

    def enroll(self, question: EnrollRequested) -> Decision:
        """Issue once for each key."""
        spki = question.csr.spki
        if spki not in self._certificates:
            self.issued[spki] += 1
            self._certificates[spki] = certificate_for(question.csr)
        return Issue(certificate=self._certificates[spki])


@pytest.mark.req("COAPS-051", "COAPS-053")
def test_a_thousand_enrollments_over_a_network_that_loses_a_fifth_are_each_issued_once() -> None:
    """20 % loss, 5 % duplication, and delays up to a second that change the order.

    A message is given up after five losses (RFC 7252 4.2), and its device asks again, as RFC 9148
    4.7 has it. Between server and devices nothing else repeats a request.
    """
    chance, registry = Random(9148), Registry()
    application = FakeApplication({EnrollRequested: registry.enroll})
    repeats = 0
    for _ in range(1000):
        device = LossyEnrollment(application, chance)
        device.run()
        assert issued(device.answer).public_key() == x509.load_der_x509_csr(device.csr).public_key()
        assert device.asked <= device.tries
        repeats += device.tries - 1
    assert len(registry.issued) == 1000
    assert set(registry.issued.values()) == {1}
    assert repeats < 100


class LossyEnrollment:
    """One device, its server, and the network between them."""

    def __init__(self, application: FakeApplication, chance: Random) -> None:
        self.csr, self.tries, self.asked = csr_of(), 0, 0
        self._application, self._chance = application, chance
        self.answer: ResponseReceived
        size = chance.choice((64, 256, 1024))
        limits = CoapLimits(block_bytes=size, ack_delay_s=0.5)
        self._client = ClientConnection(limits=limits, entropy=chance.randbytes)
        self._server = JudgedConnection(limits=CoapLimits(), entropy=chance.randbytes)
        chain = pki().manufacturer_client.chain
        channel = Channel(
            version=TlsVersion.DTLS_1_2, peer_chain=chain, trust_class=TrustClass.IMPLICIT
        )
        self._session = ServerSession(policy=default_policy(), channel=channel)
        weather = Weather(loss=0.2, duplication=0.05, delay_s=1.0)
        self._network = Network(self._client, self._server, chance=chance, weather=weather)

    def run(self) -> None:
        """Enroll, asking again where a message was given up."""
        answer: ResponseReceived | RequestFailed | None = None
        while not isinstance(answer, ResponseReceived):
            self.tries += 1
            assert self.tries < 10
            answer = self._try()
        self.answer = answer

    def _try(self) -> ResponseReceived | RequestFailed:
        self._client.send_request(SEN, self.csr, self._network.now)
        while self._network.step():
            while (event := self._server.next_event()) is not None:
                if isinstance(event, RequestReceived):
                    self._serve(event)
            if (outcome := self._client.next_event()) is not None:
                assert not isinstance(outcome, RequestFailed) or outcome.code == "coap/timeout"
                return outcome
        raise AssertionError("nothing ever comes")

    def _serve(self, event: RequestReceived) -> None:
        self.asked += 1
        request, shape = coap_read(event.head, event.payload, limits=Limits())
        assert isinstance(request, Request)
        exchange = self._session.receive_request(request, FIXED_INSTANT)
        question = exchange.next_event()
        assert isinstance(question, EnrollRequested)
        exchange.decide(consult(self._application, question))
        ready = exchange.next_event()
        assert isinstance(ready, ResponseReady)
        written = coapmap.write(ready.response, shape)
        later = self._network.now + self._chance.choice((0.0, 0.0, 3.0))
        self._network.at(later, partial(self._respond, event.exchange_id, *written))

    def _respond(self, exchange_id: int, head: coapmap.ResponseHead, payload: bytes) -> None:
        self._server.respond(exchange_id, head, payload, self._network.now)


@pytest.mark.req("COAPS-024", "COAPS-051")
def test_more_devices_than_there_is_room_for_lose_no_open_exchange() -> None:
    """The same over DTLS, with the handshakes unharmed: OpenSSL keeps their time by a clock."""
    chance, registry = Random(7), Registry()
    site = Site(
        FakeApplication({EnrollRequested: registry.enroll}), dtls=DtlsLimits(associations=8)
    )
    site.holds = True
    context = a_dtls_client(pki().manufacturer_client)
    for wave in range(20):
        sent: list[tuple[Client, int]] = []
        for number in range(8):
            address: Address = (f"198.51.100.{wave}", 10000 + number)
            client = site.connect(address, context)
            sent.append((client, site.send(client, SEN, csr_of())))
        late = site.begin(("203.0.113.66", 666), context)
        site.settle()
        assert not late.engine.handshake()
        chance.shuffle(site.held)
        while site.held:
            site.decide(site.held.pop())
        for client, number in sent:
            issued(answer_to(client, number))
    assert len(registry.issued) == 160
    assert set(registry.issued.values()) == {1}
    assert site.log.codes == [(204, "")] * 160


def test_the_endpoint_asks_for_nothing_while_nobody_is_there() -> None:
    endpoint = CoapEndpoint(a_coap_service, entropy=Random(1).randbytes)
    assert endpoint.next_timeout(FIXED_INSTANT) is None
    endpoint.handle_timeout(FIXED_INSTANT)
    assert endpoint.next_step() is None
    assert endpoint.outgoing() == ()
    assert endpoint.is_idle


# Who may make the server work, and for how long


def test_a_client_that_comes_again_and_again_fills_no_queue() -> None:
    site = Site()
    site.holds = True
    for number in range(QUESTIONS_MAX):
        host = f"192.0.2.{10 + number // QUESTIONS_PER_HOST}"
        site.send(site.connect((host, 40001)), SEN, csr_of())
    assert len(site.held) == QUESTIONS_MAX
    bob = site.connect(BOB)
    assert site.ask(bob, SEN, CSR).head.code == Code.SERVICE_UNAVAILABLE
    assert site.log.codes[-1] == (503, "server/busy")
    left = [asked for asked in site.held if not asked.is_wanted]
    assert len(left) == QUESTIONS_MAX - 2  # one client is left of each host
    assert all(asked.consult() is None for asked in left)
    site.endpoint.decide(left[0], None, site.now)
    site.holds = False
    assert site.ask(bob, SEN, CSR).head.code == Code.CHANGED


def test_what_was_decided_makes_room_for_other_questions() -> None:
    site = Site()
    client = site.connect()
    codes = {site.ask(client, CRTS).head.code for _ in range(QUESTIONS_PER_HOST + 1)}
    assert codes == {Code.CONTENT}


def test_a_question_whose_time_is_over_is_not_wanted() -> None:
    site = Site()
    site.holds = True
    site.send(site.connect(), SEN, CSR)
    (asked,) = site.held
    assert asked.is_wanted
    assert isinstance(asked.consult(), Issue)
    site.wait(61)
    assert not asked.is_wanted


@pytest.mark.parametrize("head", [CRTS, SEN, CORE], ids=["crts", "sen", "discovery"])
def test_a_client_that_is_not_verified_is_told_nothing_and_may_upload_nothing(
    head: RequestHead,
) -> None:
    site = Site()
    unverified = site.connect(context=a_dtls_client(pki().rogue_client))
    answer = site.ask(unverified, head, b"x" * 3000 if head is SEN else b"")
    assert answer.head.code == Code.FORBIDDEN
    assert site.log.codes == [(403, "auth/certificate-not-accepted")]
    (client,) = site.endpoint._clients.values()
    assert client.connection.held_bytes < 512


def test_an_association_ends_when_it_is_old_so_that_its_client_is_verified_anew() -> None:
    site = Site(lifetime_s=600.0)
    client = site.connect()
    for _ in range(3):
        site.wait(250)
        if site.endpoint.associations:
            site.ask(client, CRTS)
    assert site.endpoint.associations == 0
    site.settle()
    assert client.engine.read() == b""


def test_an_association_ends_when_its_time_is_over_and_not_sooner() -> None:
    site = Site(lifetime_s=100.0)
    client = site.connect()
    assert site.endpoint.knows(ALICE)
    assert not site.endpoint.knows(BOB)
    assert site.until_due() == pytest.approx(100.0)
    assert site.endpoint.associations == 0
    assert not site.endpoint.knows(ALICE)
    assert client.engine.read() == b""


def test_an_association_that_never_grows_old_ends_when_it_is_idle() -> None:
    site = Site(lifetime_s=float("inf"), dtls=DtlsLimits(idle_s=300.0))
    site.connect()
    assert site.until_due() == pytest.approx(300.0)
    assert site.endpoint.associations == 0


def test_an_old_association_ends_after_its_open_exchange() -> None:
    site = Site(lifetime_s=10.0)
    site.holds = True
    client = site.connect()
    number = site.send(client, SEN, CSR)
    site.wait(11)
    assert site.endpoint.associations == 1
    site.decide(site.held[0])
    issued(answer_to(client, number))
    site.wait(1)
    assert site.endpoint.associations == 0


def test_a_new_service_ends_what_was_begun_with_the_old_one() -> None:
    site = Site()
    site.connect(ALICE)
    site.endpoint.renew(site.now)
    assert site.endpoint.associations == 1
    site.holds = True
    bob = site.connect(BOB)
    number = site.send(bob, SEN, CSR)
    site.service = replace(site.service)
    site.endpoint.renew(site.now)
    assert [client.peer for client in site.endpoint._clients.values()] == ["192.0.2.2:40002"]
    site.decide(site.held[0])
    issued(answer_to(bob, number))
    site.wait(1)
    assert site.endpoint.associations == 0


def test_a_path_is_recorded_without_what_could_pass_for_another_line() -> None:
    site = Site()
    client = site.connect()
    site.ask(client, replace(CRTS, path=("a\n2026 INFO forged\x1b[2J", "b/c")))
    (record,) = site.log.records
    assert record.target == "/a%0A2026%20INFO%20forged%1B%5B2J/b%2Fc"


@pytest.mark.parametrize("healthy", range(4))
def test_a_source_that_raises_costs_a_handshake_and_no_more(
    healthy: int, caplog: pytest.LogCaptureFixture
) -> None:
    site, left = Site(), iter(range(healthy))

    def source() -> CoapService:
        if broken and next(left, None) is None:
            raise OSError("the files are being replaced")
        return site.service

    broken = False
    site.endpoint = CoapEndpoint(source, entropy=site.chance.randbytes)
    before = site.connect()
    broken = True
    site.begin(BOB)
    site.settle()
    assert site.ask(before, CRTS).head.code == Code.CONTENT
    assert ("there is no service" in caplog.text) == (site.endpoint.associations == 1)
    assert site.endpoint.knows(BOB) == (site.endpoint.associations == 2)
    broken = False
    assert site.ask(site.connect(BOB), CRTS).head.code == Code.CONTENT
