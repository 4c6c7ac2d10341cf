"""The server's side of a connection, step by step, with a clock that only the test moves."""

from __future__ import annotations

import logging
from base64 import b64encode
from dataclasses import dataclass, field, fields, replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    SIMPLEENROLL,
    Authentication,
    Challenge,
    Channel,
    ChannelBinding,
    Decision,
    EnrollRequested,
    Instant,
    Issue,
    Label,
    LocalProtocolError,
    Pend,
    PolicyRow,
    ProvideCACerts,
    ProvideCSRAttrs,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.checks.pop import linking_text
from est_core.testing import FIXED_INSTANT
from est_transports.drive.consult import consult
from est_transports.drive.observe import notify
from est_transports.drive.open_request import Ask, Finished
from est_transports.drive.records import Record
from est_transports.http.server import LINGER_BYTES, Close, Conversation, Receive, Send
from est_transports.http.settings import ServiceConfig, Timeouts
from tests.application import PASSWORD, USER, FakeApplication
from tests.core.cast import BINDING, EXPORTER, csr_der
from tests.pki import pki
from tests.reached import reached, reaches
from tests.transports.https_site import (
    CACERTS,
    CACERTS_CLOSE,
    Log,
    enroll_request,
    new_device,
    service,
    statuses,
)

TIMES = Timeouts(head_s=10, body_s=20, idle_s=30, drain_s=2, write_s=5)
ANONYMOUS = Channel(version=TlsVersion.TLS_1_3)
BASIC = b"Authorization: Basic " + b64encode(f"{USER}:{PASSWORD}".encode())


def csr() -> bytes:
    from est_core import Limits
    from est_core.asn1.keys import public_key_facts, signature_algorithm_for
    from est_core.asn1.pkcs10 import assemble

    device = new_device()
    algorithm = signature_algorithm_for(public_key_facts(device.info.spki, Limits()))
    tbs = device.info.der()
    return b64encode(assemble(tbs, algorithm, device.signer.sign(tbs, algorithm), Limits()))


CSR = csr()


@dataclass
class Driver:
    """Does what a transport does, into memory."""

    config: ServiceConfig = field(default_factory=lambda: service(timeouts=TIMES))
    channel: Channel = ANONYMOUS
    application: FakeApplication = field(default_factory=FakeApplication)
    now: Instant = FIXED_INSTANT
    sent: bytes = b""
    log: Log = field(default_factory=Log)
    closed: Close | None = None
    waiting: Receive | Ask | None = None

    def __post_init__(self) -> None:
        self.conversation = Conversation(
            self.config, channel=self.channel, peer="192.0.2.1:4711", now=self.now
        )

    def run(self, *pieces: bytes, ask: bool = True, write: bool = True) -> None:
        left = list(pieces)
        while self.closed is None:
            step = self.conversation.next_step(self.now)
            match step:
                case Send():
                    if not write:
                        self.conversation.lost("gone", self.now)
                        continue
                    self.sent += step.data
                case Receive():
                    self.waiting = step
                    if not left:
                        return
                    self.conversation.receive(left.pop(0), self.now)
                case Ask():
                    self.waiting = step
                    if not ask:
                        return
                    self.decide(consult(self.application, step.question))
                case Finished():
                    self.log(step.record)
                case Close():
                    self.closed = step

    def decide(self, decision: Decision) -> None:
        assert isinstance(self.waiting, Ask)
        self.conversation.decide(self.waiting, decision, self.now)

    def wait(self, seconds: float) -> None:
        self.now = self.now.after(seconds)
        assert self.waiting is not None
        if self.now.mono >= self.waiting.deadline:
            self.conversation.handle_timeout(self.now)
            self.run()

    @property
    def statuses(self) -> list[int]:
        return statuses(self.sent)


def test_an_enrollment_is_answered_and_recorded() -> None:
    driver = Driver()
    driver.run(enroll_request(CSR, BASIC))
    assert driver.statuses == [200]
    (record,) = driver.log.records
    assert (record.peer, record.method, record.status) == ("192.0.2.1:4711", "POST", 200)
    assert record.target == "/.well-known/est/simpleenroll"
    assert record.identity.user == USER
    assert record.issued is not None
    assert record.code == ""
    assert record.received_bytes == len(enroll_request(CSR, BASIC))
    assert record.sent_bytes == len(driver.sent)
    assert PASSWORD not in repr(record)


def test_a_request_takes_as_long_as_from_its_first_byte_to_its_answer() -> None:
    driver = Driver()
    for idle_s in (5.0, 7.0):
        driver.now = driver.now.after(idle_s)
        driver.run(CACERTS[:5])
        driver.now = driver.now.after(2.0)
        driver.run(CACERTS[5:9])
        driver.now = driver.now.after(1.0)
        driver.run(CACERTS[9:])
    assert [record.seconds for record in driver.log.records] == [3.0, 3.0]
    assert {record.received_bytes for record in driver.log.records} == {len(CACERTS)}


def test_a_conversation_is_idle_between_requests_and_at_no_other_time() -> None:
    driver = Driver()
    assert driver.conversation.is_idle
    driver.run(CACERTS[:5])
    assert not driver.conversation.is_idle
    driver.run(CACERTS[5:], ask=False)
    assert not driver.conversation.is_idle
    assert isinstance(driver.waiting, Ask)
    driver.decide(consult(driver.application, driver.waiting.question))
    assert not driver.conversation.is_idle  # its answer is to be sent, and recorded
    driver.run()
    assert driver.conversation.is_idle


def test_what_is_closed_stays_closed() -> None:
    driver = Driver()
    driver.run(CACERTS_CLOSE)
    assert driver.closed == Close(gently=True, drain_bytes=LINGER_BYTES)
    for _ in range(2):
        assert driver.conversation.next_step(driver.now) == Close(gently=False)


@pytest.mark.parametrize("size", [255, 256, 257, 1900, 3000])
def test_of_a_long_target_the_beginning_is_recorded(size: int) -> None:
    target = b"/" + b"a" * (size - 1)
    driver = Driver()
    driver.run(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    (record,) = driver.log.records
    assert record.status in (404, 414)
    assert record.target == target[:256].decode()


def test_a_401_comes_after_the_body_and_keeps_the_connection() -> None:
    driver = Driver()
    raw = enroll_request(CSR)
    driver.run(raw[:-1])
    assert driver.sent == b""
    driver.run(raw[-1:], enroll_request(CSR, BASIC))
    assert driver.statuses == [401, 200]
    assert b"Content-Length: 0\r\n" in driver.sent.partition(b"\r\n\r\n")[0]


BAD_INPUT = {
    "unknown path": (b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", 404, True),
    "method": (b"DELETE /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n", 405, True),
    "media type": (
        b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
        b"Content-Length: 3\r\n\r\nabc",
        415,
        True,
    ),
    "expectation": (enroll_request(b"", b"Expect: tea"), 417, True),
    "known too large": (
        enroll_request(b"", framing=b"Content-Length: 66000") + b"a" * 66000,
        413,
        True,
    ),
    "far too large": (enroll_request(b"", framing=b"Content-Length: 99999999"), 413, False),
    "chunked too large": (
        enroll_request(b"", framing=b"Transfer-Encoding: chunked") + b"20000\r\n" + b"a" * 0x20000,
        413,
        False,
    ),
    "long target": (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, True),
    "many fields": (CACERTS[:-2] + b"A: b\r\n" * 200 + b"\r\n", 431, True),
    "large head": (CACERTS[:-2] + b"A: " + b"b" * 17000 + b"\r\n\r\n", 431, False),
    "http 2": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, False),
    "garbage": (b"\x80\x03hello", 400, False),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, False),
    "a host of two words": (CACERTS.replace(b"Host: x", b"Host: a b"), 400, True),
    "a host with a user": (CACERTS.replace(b"Host: x", b"Host: u@localhost"), 400, True),
    "two hosts": (CACERTS[:-2] + b"Host: y\r\n\r\n", 400, False),
    "unknown transfer coding": (
        enroll_request(b"", framing=b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        501,
        False,
    ),
    "chunk size beyond 64 bits": (
        enroll_request(b"", framing=b"Transfer-Encoding: chunked") + b"f" * 18 + b"\r\n",
        400,
        False,
    ),
    "promised chunk too large": (
        enroll_request(b"", framing=b"Transfer-Encoding: chunked") + b"f" * 16 + b"\r\n",
        413,
        False,
    ),
    "trailers without end": (
        enroll_request(b"", framing=b"Transfer-Encoding: chunked") + b"0\r\n" + b"A: b\r\n" * 99,
        431,
        False,
    ),
    "chunk extension without end": (
        enroll_request(b"", framing=b"Transfer-Encoding: chunked") + b"1;" + b"a" * 999,
        400,
        False,
    ),
    "empty lines without end": (b"\r\n" * 9000, 400, False),
    "field name without end": (CACERTS[:-2] + b"a" * 17000, 431, False),
    "smuggling": (
        enroll_request(b"", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + CACERTS,
        400,
        False,
    ),
    "bad base64": (enroll_request(b"!!!!", BASIC), 400, True),
    "bad csr": (enroll_request(b"MAA=", BASIC), 400, True),
}


@pytest.mark.req("EST-278")
@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_answered_and_then_a_good_request_works(name: str) -> None:
    raw, status, goes_on = BAD_INPUT[name]
    driver = Driver()
    driver.run(raw, CACERTS)
    if goes_on:
        assert driver.statuses == [status, 200]
        assert driver.closed is None
    else:
        assert driver.statuses == [status]
        assert b"\r\nConnection: close\r\n" in driver.sent
        assert driver.closed is not None
        assert driver.closed.gently
    assert driver.log.records[0].status == status
    assert driver.log.records[0].code


@pytest.mark.req("EST-017")
def test_expect_continue_is_met_before_the_body() -> None:
    driver = Driver()
    raw = enroll_request(CSR, BASIC, b"Expect: 100-continue")
    head = raw[: -len(CSR)]
    driver.run(head)
    assert driver.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    driver.run(CSR)
    assert driver.statuses == [100, 200]


def test_an_expectation_is_not_met_where_the_head_is_refused() -> None:
    driver = Driver()
    raw = enroll_request(b"", b"Expect: 100-continue", framing=b"Content-Length: 99999999")
    driver.run(raw)
    assert driver.statuses == [413]


def test_chunked_and_http_1_0_and_head_are_served() -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CSR), CSR)
    driver = Driver()
    driver.run(
        enroll_request(b"", BASIC, framing=b"Transfer-Encoding: chunked") + chunks,
        b"HEAD /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /.well-known/est/cacerts HTTP/1.0\r\n\r\n",
    )
    assert driver.statuses == [200, 200, 200]
    assert driver.closed == Close(gently=True, drain_bytes=LINGER_BYTES)


def test_the_hundredth_request_is_the_last() -> None:
    driver = Driver()
    driver.run(*[CACERTS] * 101)
    assert driver.statuses == [200] * 100
    assert driver.sent.count(b"Connection: close") == 1


def test_requests_sent_ahead_are_answered_in_order() -> None:
    driver = Driver()
    driver.run(CACERTS + enroll_request(CSR, BASIC) + CACERTS_CLOSE)
    assert driver.statuses == [200, 200, 200]
    assert [record.method for record in driver.log.records] == ["GET", "POST", "GET"]
    assert driver.closed is not None


@pytest.mark.parametrize(
    ("first", "seconds", "status"),
    [
        (b"", 10, None),  # silence before the first request
        (CACERTS[:5], 10, 408),
        (enroll_request(CSR, BASIC)[:-1], 20, 408),
        (enroll_request(b"ab", framing=b"Content-Length: 66000"), 2, 413),
    ],
)
def test_too_slow_is_cut_off_at_its_deadline_and_not_before(
    first: bytes, seconds: float, status: int | None
) -> None:
    driver = Driver()
    driver.run(*([first] if first else []))
    driver.wait(seconds - 0.5)
    assert driver.closed is None
    driver.wait(0.5)
    assert driver.statuses == ([] if status is None else [status])
    assert driver.closed is not None
    assert driver.closed.gently is (status is not None)


def test_a_drip_of_bytes_does_not_move_the_deadline() -> None:
    driver = Driver()
    driver.run(CACERTS[:5])
    for position in count(5):
        driver.wait(1)
        if driver.closed is not None:
            break
        driver.run(CACERTS[position : position + 1])
    assert driver.statuses == [408]
    assert driver.now.mono == FIXED_INSTANT.mono + 10


def test_idle_time_counts_from_the_last_answer() -> None:
    driver = Driver()
    driver.run()
    driver.wait(9)
    driver.run(CACERTS)
    driver.wait(29)
    driver.run(CACERTS)
    assert driver.statuses == [200, 200]
    driver.wait(30)
    assert driver.closed == Close(gently=False)
    assert len(driver.log.records) == 2


def test_a_slow_application_is_answered_for_with_503_and_its_decision_kept() -> None:
    driver = Driver()
    driver.run(enroll_request(CSR, BASIC))
    assert driver.statuses == [200]
    application = FakeApplication()
    driver = Driver(application=application)
    driver.run(enroll_request(CSR, BASIC), ask=False)
    assert isinstance(driver.waiting, Ask)
    driver.decide(consult(application, driver.waiting.question))
    driver.run(ask=False)
    asked = driver.waiting
    assert isinstance(asked, Ask)
    assert isinstance(asked.question, EnrollRequested)
    driver.wait(60)
    assert driver.statuses == [503]
    assert driver.log.codes == [(503, "server/busy")]
    driver.conversation.decide(asked, consult(application, asked.question), driver.now)
    assert asked.exchange.issued is not None
    driver.run(CACERTS)
    assert driver.statuses == [503, 200]


def test_a_decision_after_the_deadline_is_late_even_if_nobody_looked_at_the_clock() -> None:
    driver = Driver()
    driver.run(CACERTS, ask=False)
    driver.now = driver.now.after(61)
    driver.decide(ProvideCACerts(certificates=(pki().ca.certificate,)))
    driver.run()
    assert driver.statuses == [503]


@pytest.mark.parametrize("answer", [None, Pend(retry_after_s=1), ProvideCACerts.__new__])
def test_an_answer_that_is_none_becomes_500(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    driver = Driver()
    driver.run(CACERTS, ask=False)
    driver.decide(answer)  # type: ignore[arg-type]  # the application's mistake
    driver.run(CACERTS)
    assert driver.statuses == [500, 200]
    assert "gave no answer" in caplog.text


def unchecked(kind: type[Decision], **fields: object) -> Decision:
    """A decision that did not go through its constructor, as a copy or a pickle does not."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def test_a_decision_full_of_nonsense_becomes_500() -> None:
    driver = Driver()
    driver.run(CACERTS, ask=False)
    driver.decide(unchecked(ProvideCACerts, certificates=("nonsense",)))
    driver.run(CACERTS)
    assert driver.statuses == [500, 200]
    assert driver.log.codes[0] == (500, "server/internal")


def test_nonsense_to_enforce_becomes_500_too() -> None:
    row = PolicyRow(
        operation=SIMPLEENROLL,
        authentication=Authentication.OPEN,
        enforce_csrattrs=True,
    )
    rows = (row, *(each for each in default_policy().rows if each.operation is not row.operation))
    policy = replace(default_policy(), rows=rows)
    driver = Driver(config=replace(service(timeouts=TIMES), policy=policy))
    driver.run(enroll_request(CSR), ask=False)
    driver.decide(unchecked(ProvideCSRAttrs, csrattrs=b"0\0"))
    driver.run(CACERTS)
    assert driver.statuses == [500, 200]
    assert driver.log.codes[0] == (500, "server/internal")


def test_an_application_that_raises_costs_its_client_500_and_leaves_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fall_over() -> None:
        raise ZeroDivisionError("by chance")

    application = FakeApplication(before=fall_over)
    driver = Driver(application=application)
    with caplog.at_level(logging.ERROR, "est_transports"):
        driver.run(CACERTS)
    application.before = lambda: None
    driver.run(CACERTS)
    assert driver.statuses == [500, 200]
    assert b"by chance" not in driver.sent
    assert "ZeroDivisionError: by chance" in caplog.text


def test_an_observer_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fall_over(record: Record) -> None:
        raise ZeroDivisionError("by chance")

    notify(fall_over, Record(peer="x", status=200))
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_that_nobody_took_is_recorded_as_lost_with_what_was_issued() -> None:
    driver = Driver()
    driver.run(enroll_request(CSR, BASIC), write=False)
    (record,) = driver.log.records
    assert (record.status, record.code) == (200, "connection/lost")
    assert record.issued is not None
    assert driver.closed == Close(gently=False)


def test_a_connection_lost_while_the_application_decides_is_recorded() -> None:
    driver = Driver()
    driver.run(CACERTS, ask=False)
    assert isinstance(driver.waiting, Ask)
    driver.conversation.lost("gone", driver.now)
    assert driver.waiting.exchange.abandoned == "gone"
    driver.run()
    assert driver.log.codes == [(0, "connection/lost")]
    driver.decide(ProvideCACerts(certificates=(pki().ca.certificate,)))
    assert driver.sent == b""


def test_stopping_finishes_the_request_under_way_and_no_other() -> None:
    driver = Driver()
    raw = enroll_request(CSR, BASIC)
    driver.run(raw[:50])
    driver.conversation.stop()
    driver.run(raw[50:] + CACERTS)
    assert driver.statuses == [200]
    assert b"\r\nConnection: close\r\n" in driver.sent
    idle = Driver()
    idle.run()
    assert idle.conversation.is_idle
    idle.conversation.stop()
    idle.run()
    assert idle.closed == Close(gently=False)


def test_the_step_before_a_decision_cannot_be_skipped() -> None:
    driver = Driver()
    driver.run(CACERTS, ask=False)
    with pytest.raises(LocalProtocolError):
        driver.conversation.next_step(driver.now)


def test_a_certificate_stands_in_the_record() -> None:
    client = pki().client
    channel = Channel(
        version=TlsVersion.TLS_1_3, trust_class=TrustClass.EXPLICIT, peer_chain=client.chain
    )
    driver = Driver(channel=channel)
    driver.run(enroll_request(CSR))
    assert driver.statuses == [200]
    assert driver.log.records[0].identity.certificate == client.certificate


@pytest.mark.parametrize("name", [each.name for each in fields(Timeouts)])
def test_timeouts_are_positive(name: str) -> None:
    for seconds in (0, -1.0):
        with pytest.raises(LocalProtocolError, match=name):
            Timeouts(**{name: seconds})
    assert getattr(Timeouts(**{name: 0.5}), name) == 0.5


def test_a_client_has_its_time_to_take_what_is_sent() -> None:
    driver = Driver()
    waiting = enroll_request(CSR, BASIC, b"Expect: 100-continue")
    driver.conversation.receive(waiting.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", driver.now)
    for answer in (b"HTTP/1.1 100 Continue", b"HTTP/1.1 200 OK"):
        step = driver.conversation.next_step(driver.now)
        if isinstance(step, Receive):
            driver.now = driver.now.after(1.0)
            driver.conversation.receive(waiting.partition(b"\r\n\r\n")[2], driver.now)
            step = driver.conversation.next_step(driver.now)
        while isinstance(step, Ask):
            driver.waiting = step
            driver.decide(consult(driver.application, step.question))
            step = driver.conversation.next_step(driver.now)
        assert isinstance(step, Send)
        assert step.data.startswith(answer)
        assert step.deadline == driver.now.mono + TIMES.write_s


def test_a_decision_at_the_deadline_is_late(caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver()
    driver.run(CACERTS, ask=False)
    assert isinstance(driver.waiting, Ask)
    driver.now = driver.now.after(driver.waiting.deadline - driver.now.mono)
    assert driver.now.mono == driver.waiting.deadline
    driver.decide(consult(driver.application, driver.waiting.question))
    driver.run()
    assert driver.statuses == [503]
    assert caplog.text == ""  # it is late, and no mistake of the application


def test_a_question_that_came_too_late_is_not_put() -> None:
    driver = Driver()
    driver.run(enroll_request(CSR, BASIC), ask=False)
    assert isinstance(driver.waiting, Ask)
    driver.decide(consult(driver.application, driver.waiting.question))
    driver.now = driver.now.after(driver.waiting.deadline - driver.now.mono)
    driver.conversation.handle_timeout(driver.now)  # before anybody took the next question
    assert isinstance(driver.conversation.next_step(driver.now), Send)


def test_the_label_of_a_request_stands_in_its_record() -> None:
    policy = default_policy(labels=frozenset({Label("lab")}))
    driver = Driver(config=replace(service(timeouts=TIMES), policy=policy))
    driver.run(CACERTS.replace(b"/cacerts", b"/lab/cacerts"))
    (record,) = driver.log.records
    assert (record.status, record.label) == (200, Label("lab"))


@pytest.mark.parametrize("decided", [False, True])
def test_what_was_lost_before_a_byte_was_sent_is_recorded_so(decided: bool) -> None:
    driver = Driver()
    driver.run(CACERTS, ask=False)
    assert isinstance(driver.waiting, Ask)
    if decided:
        driver.decide(consult(driver.application, driver.waiting.question))
    driver.conversation.lost("gone", driver.now)
    driver.run()
    (record,) = driver.log.records
    assert (record.code, record.reason) == ("connection/lost", "gone")
    assert (record.status, record.sent_bytes > 0) == ((200, True) if decided else (0, False))
    assert driver.closed == Close(gently=False)


PIECES = st.sampled_from(
    [
        CACERTS,
        CACERTS_CLOSE,
        enroll_request(CSR),
        enroll_request(CSR, BASIC),
        enroll_request(b"x" * 9),
        CACERTS[:9],
        b"\r\n",
        b"",
    ]
    + [raw for raw, _, _ in BAD_INPUT.values() if len(raw) < 5000]
)


@reaches(answered=40, issued=20, refused=35)
@given(
    pieces=st.builds(
        list.__add__,
        st.lists(st.sampled_from([CACERTS, enroll_request(CSR, BASIC)]), max_size=2),
        st.lists(PIECES | st.binary(max_size=30), max_size=5),
    ),
    waits=st.booleans(),
)
def test_every_conversation_ends_or_waits_whatever_is_sent(
    pieces: list[bytes], waits: bool
) -> None:
    driver = Driver()
    driver.run()
    ended = False
    for piece in pieces:
        if ended or driver.closed is not None:
            break
        ended = not piece
        driver.run(piece)
    if driver.closed is None and waits:
        driver.wait(100)
        assert driver.closed is not None
    assert len(driver.log.records) == len(driver.statuses)
    reached(*("answered" if status < 400 else "refused" for status in driver.statuses))
    reached(*("issued" for record in driver.log.records if record.issued))


def test_issue_needs_no_thread() -> None:
    application = FakeApplication()
    assert isinstance(consult(application, _enroll_question()), Issue)


def _enroll_question() -> EnrollRequested:
    driver = Driver()
    driver.run(enroll_request(CSR, BASIC), ask=False)
    assert isinstance(driver.waiting, Ask)
    driver.decide(consult(driver.application, driver.waiting.question))
    driver.run(ask=False)
    assert isinstance(driver.waiting, Ask)
    assert isinstance(driver.waiting.question, EnrollRequested)
    return driver.waiting.question


# The binding of the connection


def linked_csr(binding: ChannelBinding) -> bytes:
    return b64encode(csr_der(challenge=linking_text(binding)))


@pytest.mark.req("CB-018")
def test_the_connection_closes_after_the_request_that_tls_exporter_linked() -> None:
    driver = Driver(channel=Channel(version=TlsVersion.TLS_1_3, binding=EXPORTER))
    driver.run(CACERTS, enroll_request(linked_csr(EXPORTER), BASIC), CACERTS)
    assert statuses(driver.sent) == [200, 200]
    assert driver.sent.count(b"Connection: close") == 1
    assert driver.closed == Close(gently=True, drain_bytes=LINGER_BYTES)


@pytest.mark.req("CB-018")
@pytest.mark.parametrize("linked_by", [None, BINDING], ids=["not linked", "tls-unique"])
def test_the_connection_stays_after_another_request(linked_by: ChannelBinding | None) -> None:
    on = Channel(version=TlsVersion.TLS_1_3, binding=EXPORTER)
    if linked_by is not None:
        on = Channel(version=TlsVersion.TLS_1_2, binding=linked_by)
    body = CSR if linked_by is None else linked_csr(linked_by)
    driver = Driver(channel=on)
    driver.run(enroll_request(body, BASIC), CACERTS)
    assert statuses(driver.sent) == [200, 200]
    assert driver.closed is None


@pytest.mark.req("CB-018")
def test_a_challenge_is_answered_on_the_connection_that_tls_exporter_linked() -> None:
    """An application may ask for a password after it has seen the request, which is the same."""
    application = FakeApplication({EnrollRequested: Challenge()})
    on = Channel(version=TlsVersion.TLS_1_3, binding=EXPORTER)
    rows = (PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.OPEN),)
    config = replace(service(timeouts=TIMES), policy=replace(default_policy(), rows=rows))
    driver = Driver(config=config, channel=on, application=application)
    body = linked_csr(EXPORTER)
    driver.run(enroll_request(body))
    assert statuses(driver.sent) == [401]
    assert driver.closed is None
    application.answers[EnrollRequested] = application.issue
    driver.run(enroll_request(body, BASIC))
    assert statuses(driver.sent) == [401, 200]
    assert driver.closed is not None
