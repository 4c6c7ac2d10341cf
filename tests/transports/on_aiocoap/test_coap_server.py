"""EST below an aiocoap Site: without sockets, but for one conversation over plain CoAP.

What DTLS would tell about a client is given to the resource by the test.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import aiocoap
import pytest
from aiocoap.error import LibraryShutdown, RenderableError, UnparsableMessage
from aiocoap.interfaces import EndpointAddress
from aiocoap.resource import Site, WKCResource
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    Authentication,
    CACertsRequested,
    Channel,
    EnrollRequested,
    Instant,
    Issue,
    Label,
    Limits,
    LocalProtocolError,
    Pend,
    PolicyRow,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    ServerPolicy,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.refusal_tag import untagged
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import Code
from est_transports.coap.messages import Block, Kind
from est_transports.drive.records import Wire
from est_transports.on_aiocoap import ChannelOf, EstResource
from tests.application import FakeApplication
from tests.damage import damaged
from tests.pki import Entity, pki
from tests.reached import reached, reaches
from tests.transports.coap_site import EST, csr_of
from tests.transports.https_site import Log
from tests.transports.raw_coap import message

CSR: Final = csr_of()
BLOCK: Final = 64
BLOCK_SZX: Final = 2
OFFSETS: Final = range(0, len(CSR), BLOCK)
ATTRIBUTES: Final = CsrAttrs(items=(ObjectId(oid="1.2.3.4"),))

Result = TypeVar("Result")


def facts(entity: Entity | None = None, trust: TrustClass = TrustClass.EXPLICIT) -> Channel:
    """Return what DTLS knows of a client: by default, that its certificate is the EST CA's."""
    shown = entity or pki().client
    return Channel(version=TlsVersion.DTLS_1_2, trust_class=trust, peer_chain=shown.chain)


class Remote(EndpointAddress):  # type: ignore[misc]  # aiocoap has no types
    """A client's address."""

    hostinfo = "192.0.2.1:40001"
    hostinfo_local = "192.0.2.9"
    uri_base = "coaps://192.0.2.1:40001"
    uri_base_local = "coaps://192.0.2.9"
    scheme = "coaps"
    is_multicast = False
    is_multicast_locally = False
    blockwise_key = "an association"


@dataclass
class HeardPipe:
    """Stands for an aiocoap Pipe: hears what a resource answers."""

    request: Any
    heard: list[Any] = field(default_factory=list)

    def add_response(self, response: Any, is_last: bool = False) -> None:
        """Hear it."""
        assert is_last
        self.heard.append(response)


@dataclass
class Clock:
    """Stands still, but for the steps that it is given: one each time that it is looked at."""

    now: Instant = FIXED_INSTANT
    steps: list[float] = field(default_factory=list)

    def __call__(self) -> Instant:
        found = self.now
        if self.steps:
            self.wait(self.steps.pop(0))
        return found

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now = self.now.after(seconds)


class Est:
    """A resource in a Site, one client of it, and what it recorded."""

    def __init__(
        self,
        application: FakeApplication | None = None,
        *,
        channel_of: ChannelOf = lambda _: facts(),
        root: tuple[str, ...] = EST,
        **changes: Any,
    ) -> None:
        self.application = application or FakeApplication()
        self.log = Log()
        self.clock = Clock()
        values = {"policy": default_policy(), "observe": self.log, "clock": self.clock, **changes}
        self.resource = EstResource(application=self.application, channel_of=channel_of, **values)
        self.site = Site()
        self.site.add_resource(root, self.resource)
        listing = WKCResource(self.site.get_resources_as_linkheader, impl_info=None)
        self.site.add_resource((".well-known", "core"), listing)
        self._message_id = 0

    def run(self, conversation: Callable[[Est], Coroutine[Any, Any, Result]]) -> Result:
        """Return what comes of a conversation, and put everything away."""

        async def main() -> Result:
            try:
                return await conversation(self)
            finally:
                self.resource.close()

        return asyncio.run(main())

    def once(self, code: int, /, *path: str, payload: bytes = b"", **options: Any) -> Any:
        """Return the answer to the one request of a conversation."""
        return self.run(lambda est: est.ask(code, *path, payload=payload, **options))

    async def ask(
        self,
        code: int,
        /,
        *path: str,
        payload: bytes = b"",
        kind: Kind = Kind.CON,
        extra: tuple[tuple[int, bytes], ...] = (),
        **options: Any,
    ) -> Any:
        """Return the answer to a request, or to one block of one. `extra`: more options."""
        self._message_id += 1
        options["path"] = path
        raw = message(kind, code, self._message_id, payload, **options)
        request = aiocoap.Message.decode(raw, remote=Remote())
        for number, value in extra:
            option = aiocoap.OptionNumber(number).create_option(decode=value)
            request.opt.add_option(option)
        return await self.answer(request)

    async def answer(self, request: Any) -> Any:
        """Return what a message is answered with, as a Context would answer it."""
        pipe = HeardPipe(request)
        try:
            await self.site.render_to_pipe(pipe)
        except RenderableError as error:
            return error.to_message()
        (answer,) = pipe.heard
        return answer

    async def upload(self, offsets: range = OFFSETS, **options: Any) -> Any:
        """Send blocks of the CSR until the first answer that does not ask for more."""
        for offset in offsets:
            block = Block.at(offset, more=offset + BLOCK < len(CSR), szx=BLOCK_SZX)
            payload = CSR[offset : offset + BLOCK]
            answer = await self.ask(*SEN, payload=payload, block1=block, **CSR_FORMAT, **options)
            if answer.code != aiocoap.CONTINUE:
                return answer
        return None


CRTS: Final = (Code.GET, *EST, "crts")
ATT: Final = (Code.GET, *EST, "att")
SEN: Final = (Code.POST, *EST, "sen")
SREN: Final = (Code.POST, *EST, "sren")
CSR_FORMAT: Final[dict[str, Any]] = {"content_format": 286}


def issued(answer: Any) -> x509.Certificate:
    """Return the certificate of a bag."""
    assert (answer.code, answer.opt.content_format) == (Code.CHANGED, 281)
    (certificate,) = pkcs7.load_der_pkcs7_certificates(answer.payload)
    return certificate


def said(answer: Any) -> tuple[int, str]:
    """Return code and text of a refusal, without its tag; it has no Content-Format."""
    assert answer.opt.content_format is None
    assert answer.opt.block1 is None
    return int(answer.code), untagged(answer.payload.decode())[0]


def advisor() -> FakeApplication:
    """Return one with CSR attributes, and more CA certificates than fit into one message."""
    authorities = (pki().ca, pki().intermediate, pki().manufacturer)
    certs = ProvideCACerts(certificates=tuple(each.certificate for each in authorities))
    return FakeApplication({CACertsRequested: certs}, csrattrs=ATTRIBUTES)


def gate(seconds: float = 30.0) -> tuple[threading.Event, Callable[[], None]]:
    """Return an event, and a function that waits for it."""
    event = threading.Event()

    def wait() -> None:
        assert event.wait(seconds)

    return event, wait


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until something is true."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


# Operations


@pytest.mark.req("COAPS-001", "COAPS-002", "COAPS-043")
def test_the_ca_certificates_come_with_2_05_and_a_record() -> None:
    est = Est()
    answer = est.once(*CRTS)
    assert (answer.code, answer.opt.content_format) == (Code.CONTENT, 281)
    assert pkcs7.load_der_pkcs7_certificates(answer.payload) == [pki().ca.certificate]
    (record,) = est.log.records
    assert (record.wire, record.peer) == (Wire.COAPS, "192.0.2.1:40001")
    assert (record.method, record.target) == ("GET", "/.well-known/est/crts")
    assert (record.operation, record.label) == (CACERTS, None)
    assert record.identity.certificate == pki().client.certificate
    assert (record.status, record.code, record.reason) == (205, "", "")
    assert (record.received_bytes, record.sent_bytes) == (0, len(answer.payload))


@pytest.mark.req("COAPS-033", "COAPS-043")
def test_a_certificate_is_issued_and_recorded() -> None:
    est = Est()
    certificate = issued(est.once(*SEN, payload=CSR, **CSR_FORMAT))
    (record,) = est.log.records
    assert record.issued == certificate
    assert (record.operation, record.received_bytes) == (SIMPLEENROLL, len(CSR))


def test_the_holder_of_a_certificate_renews_it() -> None:
    est = Est()
    issued(est.once(*SREN, payload=csr_of("device-1"), **CSR_FORMAT))
    (question,) = est.application.enrollments
    assert isinstance(question, ReenrollRequested)
    assert question.current == pki().client.certificate
    assert question.channel.can_challenge is False


@pytest.mark.req("COAPS-044", "COAPS-045")
def test_csr_attributes_come_or_are_not_available() -> None:
    assert Est().once(*ATT).code == Code.NOT_FOUND
    answer = Est(advisor()).once(*ATT)
    assert (answer.opt.content_format, answer.payload) == (285, ATTRIBUTES.der())


@pytest.mark.req("COAPS-003")
def test_the_resource_works_below_any_path_and_with_labels() -> None:
    labels = frozenset({Label("gateway")})
    est = Est(root=("pki", "est"), policy=default_policy(labels=labels))
    answer = est.once(Code.GET, "pki", "est", "gateway", "crts", query=("a=b",))
    assert answer.code == Code.CONTENT
    (record,) = est.log.records
    assert (record.label, record.target) == (Label("gateway"), "/pki/est/gateway/crts")


@pytest.mark.req("COAPS-056")
def test_a_request_that_is_pending_gets_5_03_with_the_time_to_wait() -> None:
    est = Est(FakeApplication({EnrollRequested: Pend(retry_after_s=77)}))
    answer = est.once(*SEN, payload=CSR, **CSR_FORMAT)
    assert (answer.code, answer.opt.max_age) == (Code.SERVICE_UNAVAILABLE, 77)


@pytest.mark.req("COAPS-006", "COAPS-007", "COAPS-008", "COAPS-010")
@pytest.mark.parametrize(
    "query, types",
    [
        ("rt=ace.est*", ["crts", "att", "sen", "sren"]),
        ("rt=ace.est.sen", ["sen"]),
        ("rt=other", []),
    ],
)
def test_a_site_lists_the_resources_where_they_are(query: str, types: list[str]) -> None:
    answer = Est(root=("pki",)).once(Code.GET, ".well-known", "core", query=(query,))
    assert (answer.code, answer.opt.content_format) in ((None, 40), (Code.CONTENT, 40))
    found = answer.payload.decode().split(",") if answer.payload else []
    formats = {"crts": "281 287", "att": "285", "sen": "281 287", "sren": "281 287"}
    expected = [f'</pki/{each}>;rt="ace.est.{each}";ct="{formats[each]}"' for each in types]
    assert sorted(found) == sorted(expected)


# Who is let in


@pytest.mark.req("COAPS-017")
@pytest.mark.parametrize(
    "channel, code",
    [
        (None, "auth/certificate-required"),
        (Channel(version=TlsVersion.DTLS_1_2), "auth/certificate-required"),
        (facts(pki().rogue_client, TrustClass.FAILED), "auth/certificate-not-accepted"),
    ],
    ids=["no association", "no certificate", "failed certificate"],
)
def test_a_client_without_a_verified_certificate_gets_nothing(
    channel: Channel | None, code: str
) -> None:
    est = Est(channel_of=lambda _: channel)

    async def talk(est: Est) -> list[Any]:
        first = await est.upload()
        asked = [await est.ask(*head) for head in (CRTS, ATT)]
        whole = await est.ask(*SEN, payload=CSR, **CSR_FORMAT)
        return [first, *asked, whole]

    assert [answer.code for answer in est.run(talk)] == [Code.FORBIDDEN] * 4
    assert est.log.codes == [(403, code)] * 4
    assert est.log.records[0].received_bytes == BLOCK
    assert est.application.threads == set()


@pytest.mark.parametrize("error", [RuntimeError, ValueError, LocalProtocolError, KeyError])
def test_an_error_in_channel_of_costs_the_client_a_5_00(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(remote: EndpointAddress) -> Channel:
        raise error("the embedder's")

    est = Est(channel_of=broken)
    assert said(est.once(*CRTS)) == (Code.INTERNAL_SERVER_ERROR, "internal error")
    assert est.log.codes == [(500, "server/internal")]
    assert said(est.run(Est.upload)) == (Code.INTERNAL_SERVER_ERROR, "internal error")
    assert "the embedder's" in caplog.text


def test_a_channel_that_is_not_of_dtls_is_no_channel_for_coap() -> None:
    open_to_all = Channel(version=TlsVersion.TLS_1_3)
    est = Est(channel_of=lambda _: open_to_all)
    assert est.once(*CRTS).code == Code.INTERNAL_SERVER_ERROR
    assert est.application.threads == set()


def test_channel_of_is_asked_about_the_remote_of_the_message_every_time() -> None:
    remotes = []

    def channel_of(remote: EndpointAddress) -> Channel | None:
        remotes.append(remote)
        return facts() if len(remotes) == 1 else None

    async def talk(est: Est) -> list[int]:
        return [(await est.ask(*CRTS)).code for _ in range(2)]

    assert Est(channel_of=channel_of).run(talk) == [Code.CONTENT, Code.FORBIDDEN]
    assert [type(remote) for remote in remotes] == [Remote, Remote]


@pytest.mark.req("COAPS-020")
def test_no_client_is_ever_asked_for_a_password() -> None:
    row = PolicyRow(operation=CACERTS, authentication=Authentication.CERT_OR_HTTP)
    policy = ServerPolicy(rows=(row,), challenges=default_policy().challenges)
    unauthenticated = Channel(version=TlsVersion.DTLS_1_2, can_challenge=True)
    assert (
        Est(policy=policy, channel_of=lambda _: unauthenticated).once(*CRTS).code == Code.FORBIDDEN
    )


# What is refused before anything is assembled


@pytest.mark.req("COAPS-034", "COAPS-038")
@pytest.mark.parametrize(
    "head, options, status, code",
    [
        ((Code.POST, *EST, "nothing"), {}, 404, "path/operation"),
        ((Code.POST, *EST, ""), {}, 404, "path/unknown"),
        ((Code.POST, *EST, "skg"), {}, 404, "path/not-offered"),
        ((Code.PUT, *EST, "sen"), {}, 405, "coap/method"),
        ((Code.POST, *EST, "crts"), {}, 405, "coap/method"),
        (SEN, {"content_format": 286, "accept": 285}, 406, "media/not-acceptable"),
        (SEN, {"content_format": 285}, 415, "media/type"),
        (SEN, {}, 415, "media/type"),
        (SEN, {**CSR_FORMAT, "query": ("x" * 250,) * 10}, 400, "coap/target"),
    ],
)
def test_the_first_block_is_refused_by_its_head(
    head: tuple[Any, ...], options: dict[str, Any], status: int, code: str
) -> None:
    est = Est()
    block = Block.at(0, more=True, szx=BLOCK_SZX)
    answer = est.once(*head, payload=CSR[:BLOCK], block1=block, **options)
    assert answer.code == status // 100 << 5 | status % 100
    assert answer.opt.block1 is None
    assert est.log.codes == [(status, code)]


@pytest.mark.parametrize("size", [100, 255])
def test_of_a_long_target_the_beginning_is_recorded(size: int) -> None:
    est = Est()
    path = (*EST, "a" * size, "b" * size, "c" * size)
    assert est.once(Code.GET, *path).code == Code.NOT_FOUND
    (record,) = est.log.records
    assert record.target == f"/{'/'.join(path)}"[:256]


@pytest.mark.req("COAPS-049")
@pytest.mark.parametrize(
    "options",
    [
        {"payload": b"x" * 257},
        {"payload": CSR[:BLOCK], "size1": 257, "block1": Block.at(0, more=True, szx=BLOCK_SZX)},
        {"payload": CSR[:BLOCK], "block1": Block.at(256, more=True, szx=BLOCK_SZX)},
        {"payload": b"x", "block1": Block.at(256, more=False, szx=BLOCK_SZX)},
    ],
    ids=["whole", "announced", "a block beyond", "the last byte"],
)
def test_a_body_beyond_the_limit_gets_4_13_with_the_limit(options: dict[str, Any]) -> None:
    est = Est(limits=Limits(body_bytes=256))
    answer = est.once(*SEN, **CSR_FORMAT, **options)
    assert answer.code == Code.REQUEST_ENTITY_TOO_LARGE
    assert answer.opt.size1 == 256
    assert est.log.codes == [(413, "body/too-large")]


def test_a_body_of_just_the_limit_is_read() -> None:
    est = Est(limits=Limits(body_bytes=len(CSR)))
    issued(est.run(Est.upload))


@pytest.mark.req("COAPS-038")
@pytest.mark.parametrize(
    "extra, number",
    [(((9999, b"x"),), 9999), (((65001, b""),), 65001), (((17, b"\x01\x19"),), 17)],
    ids=["unknown", "the last one", "a second Accept"],
)
def test_a_critical_option_that_is_not_understood_gets_4_02(
    extra: tuple[tuple[int, bytes], ...], number: int
) -> None:
    answer = Est().once(*CRTS, extra=extra, accept=281)
    assert said(answer) == (Code.BAD_OPTION, f"option {number} is not understood")
    assert answer.opt.no_response is None


@pytest.mark.req("COAPS-038")
def test_to_a_non_confirmable_message_with_such_an_option_nothing_is_said() -> None:
    answer = Est().once(*CRTS, kind=Kind.NON, extra=((9999, b""),))
    assert answer.opt.no_response == 26
    assert Est().once(*CRTS, kind=Kind.NON).opt.no_response is None


def test_elective_options_that_are_not_understood_are_passed_over() -> None:
    extra = ((9998, b"x"), (9998, b"y"), (14, b"\x01"), (14, b"\x02"), (258, b"\x1a"))
    assert Est().once(*CRTS, extra=extra).code == Code.CONTENT


@pytest.mark.parametrize(
    "options, code",
    [
        ({"proxy_uri": "coap://elsewhere/"}, Code.PROXYING_NOT_SUPPORTED),
        ({"proxy_scheme": "coap"}, Code.PROXYING_NOT_SUPPORTED),
        ({"block1": Block(0, False, 7)}, Code.BAD_REQUEST),
        ({"block2": Block(0, False, 7)}, Code.BAD_REQUEST),
        ({"if_match": (b"1",)}, Code.PRECONDITION_FAILED),
        ({"if_none_match": True}, Code.PRECONDITION_FAILED),
    ],
)
def test_what_only_aiocoap_would_let_pass_is_refused(options: dict[str, Any], code: Code) -> None:
    assert Est().once(*CRTS, **options).code == code


def test_a_condition_that_all_things_fulfil_is_fulfilled() -> None:
    assert Est().once(*CRTS, if_match=(b"",)).code == Code.CONTENT


# Blocks


@pytest.mark.req("COAPS-046", "COAPS-050", "COAPS-051")
def test_a_request_in_blocks_is_processed_once_and_answered_in_blocks() -> None:
    async def talk(est: Est) -> Any:
        answer = await est.upload(block2=Block(0, False, BLOCK_SZX))
        body, last = answer.payload, answer
        while last.opt.block2.more:
            number = last.opt.block2.block_number + 1
            last = await est.ask(*SEN, **CSR_FORMAT, block2=Block(number, False, BLOCK_SZX))
            body += last.payload
        again = await est.upload(OFFSETS[-1:])
        return body, answer, again

    est = Est()
    body, answer, again = est.run(talk)
    assert (answer.code, answer.opt.content_format) == (Code.CHANGED, 281)
    assert answer.opt.block1.block_number == len(OFFSETS) - 1
    (certificate,) = pkcs7.load_der_pkcs7_certificates(body)
    assert certificate == est.log.records[0].issued
    assert again.code == Code.REQUEST_ENTITY_INCOMPLETE
    assert len(est.application.enrollments) == 1


@pytest.mark.req("COAPS-049")
@pytest.mark.parametrize("offsets", [OFFSETS[1:], range(0, len(CSR), 2 * BLOCK)])
def test_a_block_that_does_not_follow_the_last_gets_4_08(offsets: range) -> None:
    est = Est()
    answer = est.run(lambda est: est.upload(offsets))
    assert answer.code == Code.REQUEST_ENTITY_INCOMPLETE
    assert est.application.threads == set()


def test_a_later_block_of_no_answer_gets_4_08_whatever_its_head() -> None:
    for options in ({}, CSR_FORMAT):
        answer = Est().once(*SEN, block2=Block(1, False, BLOCK_SZX), **options)
        assert answer.code == Code.REQUEST_ENTITY_INCOMPLETE


def test_whoever_calls_render_itself_gets_the_same_refusals() -> None:
    async def talk(est: Est) -> Any:
        raw = message(Kind.CON, Code.POST, 1, CSR, path=(*EST, "sen"), content_format=285)
        return await est.site.render(aiocoap.Message.decode(raw, remote=Remote()))

    assert Est().run(talk).code == Code.UNSUPPORTED_CONTENT_FORMAT


# The application


def test_the_loop_goes_on_while_the_application_thinks() -> None:
    opened, wait = gate()
    est = Est(FakeApplication(before=wait))

    async def talk(est: Est) -> list[int]:
        asked = [asyncio.create_task(est.ask(*CRTS)) for _ in range(3)]
        await until(lambda: len(est.application.threads) == 3)
        assert est.resource.owed == 3
        opened.set()
        return [(await each).code for each in asked]

    assert est.run(talk) == [Code.CONTENT] * 3
    assert threading.get_ident() not in est.application.threads
    assert est.resource.owed == 0


def test_no_more_threads_are_used_than_allowed() -> None:
    async def talk(est: Est) -> None:
        await asyncio.gather(*(est.ask(*CRTS) for _ in range(20)))

    est = Est(threads=2)
    est.run(talk)
    assert len(est.application.threads) <= 2
    assert len(est.log.records) == 20


def test_others_have_their_turn_before_the_rest_of_a_flood() -> None:
    opened, wait = gate()
    peer = "203.0.113.66:1"

    async def talk(est: Est) -> None:
        nonlocal peer
        tasks = [asyncio.create_task(est.ask(*SEN, payload=CSR, **CSR_FORMAT)) for _ in range(3)]
        await until(lambda: est.resource.owed == 3)
        peer = "192.0.2.1:1"
        tasks.append(asyncio.create_task(est.ask(*SEN, payload=CSR, **CSR_FORMAT)))
        await until(lambda: est.resource.owed == 4)
        opened.set()
        await asyncio.gather(*tasks)

    est = Est(
        FakeApplication({EnrollRequested: Pend(retry_after_s=1)}, before=wait),
        channel_of=lambda _: replace(facts(), peer_address=peer),
        threads=1,
    )
    est.run(talk)
    asked = [each.channel.peer_address for each in est.application.enrollments]
    assert len(asked) == 4
    assert "192.0.2.1:1" in asked[:3]


def test_with_no_threads_the_application_is_asked_in_the_event_loop() -> None:
    est = Est(threads=0)
    issued(est.once(*SEN, payload=CSR, **CSR_FORMAT))
    assert est.application.threads == {threading.get_ident()}


@pytest.mark.parametrize("threads", [0, 1])
def test_an_application_that_raises_costs_a_5_00(
    threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a secret")

    est = Est(FakeApplication(before=fail), threads=threads)
    assert said(est.once(*CRTS)) == (Code.INTERNAL_SERVER_ERROR, "internal error")
    assert est.log.codes == [(500, "server/internal")]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("decision", [None, ProvideCSRAttrs(csrattrs=None), "Issue"])
def test_a_decision_that_is_no_answer_costs_a_5_00(
    decision: Any, caplog: pytest.LogCaptureFixture
) -> None:
    est = Est(FakeApplication({EnrollRequested: lambda _: decision}))
    answer = est.once(*SEN, payload=CSR, **CSR_FORMAT)
    assert said(answer) == (Code.INTERNAL_SERVER_ERROR, "internal error")
    assert "the application gave no answer to EnrollRequested" in caplog.text


def late_and_wrong(wait: Callable[[], None]) -> FakeApplication:
    """Return an application whose late decision leaves a trace when it is taken."""
    another_key = Issue(certificate=pki().client.certificate)
    return FakeApplication({EnrollRequested: another_key}, before=wait)


TRACE: Final = "the application gave no answer to EnrollRequested"


@pytest.mark.req("COAPS-056")
@pytest.mark.parametrize("steps", [[60.0], [59.99, 0.01]], ids=["over", "nearly over"])
def test_an_application_that_takes_too_long_makes_it_5_03_and_is_heard_all_the_same(
    steps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    opened, wait = gate()
    est = Est(late_and_wrong(wait), limits=Limits(decision_s=60, retry_after_default_s=33))
    est.clock.steps = steps

    async def talk(est: Est) -> Any:
        answer = await est.ask(*SEN, payload=CSR, **CSR_FORMAT)
        assert est.log.codes == [(503, "server/busy")]
        await until(lambda: bool(est.application.threads) or est.resource.owed == 0)
        opened.set()
        await until(lambda: est.resource.owed == 0)
        await asyncio.sleep(0)
        return answer

    answer = est.run(talk)
    assert (answer.code, answer.opt.max_age) == (Code.SERVICE_UNAVAILABLE, 33)
    # Where no thread had begun with it, the question was withdrawn.
    assert (TRACE in caplog.text) == bool(est.application.threads)
    assert len(est.log.records) == 1


@pytest.mark.parametrize("threads", [0, 1])
def test_a_decision_that_is_there_after_the_deadline_is_too_late(
    threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    est = Est(threads=threads)
    est.application.before = lambda: est.clock.wait(60)
    answer = est.once(*SEN, payload=CSR, **CSR_FORMAT)
    assert answer.code == Code.SERVICE_UNAVAILABLE
    assert est.log.codes == [(503, "server/busy")]
    assert caplog.records == []


def test_what_is_issued_for_a_client_that_does_not_wait_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened, wait = gate()
    est = Est(late_and_wrong(wait))

    async def talk(est: Est) -> None:
        asked = asyncio.create_task(est.ask(*SEN, payload=CSR, **CSR_FORMAT))
        await until(lambda: bool(est.application.threads))
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert est.log.codes == [(0, "connection/lost")]
        assert TRACE not in caplog.text
        opened.set()
        await until(lambda: est.resource.owed == 0)
        await asyncio.sleep(0)

    est.run(talk)
    assert TRACE in caplog.text
    assert len(est.log.records) == 1


def test_what_is_said_of_a_question_that_matters_no_more_is_not_even_looked_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened, wait = gate()

    est = Est(FakeApplication({CACertsRequested: Pend(retry_after_s=1)}, before=wait))

    async def talk(est: Est) -> None:
        asked = asyncio.create_task(est.ask(*CRTS))
        await until(lambda: bool(est.application.threads))
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        opened.set()
        await until(lambda: est.resource.owed == 0)
        await asyncio.sleep(0)

    est.run(talk)
    assert caplog.records == []


def test_without_a_thread_to_be_had_it_is_5_00_and_the_question_is_never_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    est = Est(threads=1)

    async def talk(est: Est) -> list[int]:
        with monkeypatch.context() as exhausted:
            exhausted.setattr(threading.Thread, "start", no_thread)
            refused = await est.ask(*SEN, payload=CSR, **CSR_FORMAT)
        return [refused.code, (await est.ask(*CRTS)).code, est.resource.owed]

    assert est.run(talk) == [Code.INTERNAL_SERVER_ERROR, Code.CONTENT, 0]
    assert est.application.enrollments == []
    assert "the application could not be asked" in caplog.text


def test_a_question_whose_client_left_before_a_thread_was_free_is_not_asked() -> None:
    opened, wait = gate()
    est = Est(FakeApplication(before=wait), threads=1)

    async def talk(est: Est) -> None:
        first = asyncio.create_task(est.ask(*CRTS))
        await until(lambda: bool(est.application.threads))
        second = asyncio.create_task(est.ask(*SEN, payload=CSR, **CSR_FORMAT))
        await until(lambda: est.resource.owed == 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert est.resource.owed == 1
        opened.set()
        assert (await first).code == Code.CONTENT

    est.run(talk)
    assert est.application.enrollments == []


def test_a_thread_that_outlives_the_loop_finds_nobody_and_does_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened, wait = gate()
    done = threading.Event()

    def before() -> None:
        wait()
        done.set()

    est = Est(FakeApplication(before=before), threads=1)

    async def talk(est: Est) -> None:
        asked = asyncio.create_task(est.ask(*CRTS))
        await until(lambda: bool(est.application.threads))
        asked.cancel()

    est.run(talk)
    opened.set()
    assert done.wait(30)
    for thread in threading.enumerate():
        if thread.name.startswith("est-aiocoap"):
            thread.join(30)
    assert caplog.records == []


def test_a_request_beyond_the_open_exchanges_gets_5_03() -> None:
    opened, wait = gate()
    est = Est(FakeApplication(before=wait), open_exchanges=2, threads=1)

    async def talk(est: Est) -> Any:
        asked = [asyncio.create_task(est.ask(*CRTS)) for _ in range(2)]
        await until(lambda: est.resource.owed == 2)
        refused = await est.ask(*CRTS)
        opened.set()
        assert [(await each).code for each in asked] == [Code.CONTENT] * 2
        assert (await est.ask(*CRTS)).code == Code.CONTENT
        return refused

    refused = est.run(talk)
    assert said(refused) == (Code.SERVICE_UNAVAILABLE, "too many requests at one time")
    assert refused.opt.max_age == 10
    assert est.log.codes[0] == (503, "server/busy")


def test_after_close_what_was_asked_is_answered_and_the_rest_refused() -> None:
    opened, wait = gate()
    est = Est(FakeApplication(before=wait), threads=1)

    async def talk(est: Est) -> Any:
        asked = [asyncio.create_task(est.ask(*CRTS)) for _ in range(2)]
        await until(lambda: est.resource.owed == 2)
        est.resource.close()
        refused = await est.ask(*CRTS)
        opened.set()
        return [await each for each in asked], refused

    answers, refused = est.run(talk)
    assert [answer.code for answer in answers] == [Code.CONTENT] * 2
    assert said(refused) == (Code.SERVICE_UNAVAILABLE, "the server is about to stop")
    assert est.log.codes == [(503, "server/stopping"), (205, ""), (205, "")]


def test_an_observer_that_raises_does_no_harm() -> None:
    def observe(_record: object) -> None:
        raise RuntimeError("full disk")

    assert Est(observe=observe).once(*CRTS).code == Code.CONTENT


def test_bounds_are_positive() -> None:
    with pytest.raises(LocalProtocolError):
        Est(open_exchanges=0)


# Anything at all


@reaches(read=40, success=2, refused=35)
@settings(max_examples=200)
@given(
    kind=st.sampled_from((Kind.CON, Kind.NON)),
    code=st.sampled_from((1, 2)) | st.integers(1, 31),
    path=st.sampled_from((("crts",), ("att",), ("sen",)))
    | st.lists(st.sampled_from((*EST, "crts", "sen", "sren", "")), max_size=4),
    payload=st.binary(max_size=80) | damaged((CSR,), changes=1),
    tail=st.just(b"") | st.binary(max_size=12),
    options=st.fixed_dictionaries(
        {},
        optional={
            "content_format": st.sampled_from((0, 286, 65535)),
            "accept": st.sampled_from((281, 287, 65535)),
            "block1": st.builds(Block, st.integers(0, 9), st.booleans(), st.integers(0, 7)),
            "block2": st.builds(Block, st.integers(0, 9), st.booleans(), st.integers(0, 7)),
            "size1": st.integers(0, 2**32 - 1),
            "host": st.text(min_size=1, max_size=5),
        },
    ),
)
def test_whatever_a_client_sends_is_answered_and_raises_nothing(
    kind: Kind,
    code: int,
    path: list[str],
    payload: bytes,
    tail: bytes,
    options: dict[str, Any],
) -> None:
    raw = message(kind, code, 1, **options, path=(*EST, *path)) + tail + b"\xff" + payload
    try:
        request = aiocoap.Message.decode(raw, remote=Remote())
    except (UnparsableMessage, UnicodeDecodeError):
        return
    answer = Est(threads=0).run(lambda est: est.answer(request))
    assert answer.code.is_response()
    reached("read", "success" if answer.code.is_successful() else "refused")


# Over plain CoAP, with a client that is aiocoap's own


async def contexts(site: Site) -> tuple[Any, Any, str]:
    """Return a server's Context on the loopback interface, a client's, and the server's URI."""
    bind = ("127.0.0.1", 0)
    server = await aiocoap.Context.create_server_context(site, bind=bind, transports=["udp6"])
    client = await aiocoap.Context.create_client_context(transports=["udp6"])
    (interface,) = server.request_interfaces
    port = interface.token_interface.message_interface._local_port()
    return server, client, f"coap://127.0.0.1:{port}"


async def over_loopback(est: Est, talk: Callable[[Any, str], Coroutine[Any, Any, None]]) -> None:
    """Have a conversation with a resource over UDP."""
    server, client, uri = await contexts(est.site)
    try:
        async with asyncio.timeout(60):
            await talk(client, uri)
    finally:
        await client.shutdown()
        await server.shutdown()


def to_send(code: Any, uri: str, *, payload: bytes = b"", block: int = 6, **options: Any) -> Any:
    """Return a request whose blocks are of that size exponent."""
    request = aiocoap.Message(code=code, uri=uri, payload=payload, **options)
    request.remote.maximum_block_size_exp = block
    return request


@pytest.mark.req("COAPS-006", "COAPS-046", "COAPS-050")
def test_an_aiocoap_client_discovers_enrolls_and_renews_over_udp() -> None:
    async def talk(client: Any, uri: str) -> None:
        core = to_send(aiocoap.GET, f"{uri}/.well-known/core?rt=ace.est*")
        links = (await client.request(core).response).payload.decode()
        assert '</.well-known/est/sen>;rt="ace.est.sen";ct="281 287"' in links
        est = f"{uri}/.well-known/est"

        bag = await client.request(to_send(aiocoap.GET, f"{est}/crts")).response
        assert len(bag.payload) > 1124  # so it came in blocks
        assert len(pkcs7.load_der_pkcs7_certificates(bag.payload)) == 3
        attributes = await client.request(to_send(aiocoap.GET, f"{est}/att")).response
        assert attributes.payload == ATTRIBUTES.der()
        for name, csr in (("sen", CSR), ("sren", csr_of("device-1"))):
            request = to_send(
                aiocoap.POST,
                f"{est}/{name}",
                payload=csr,
                block=2,
                content_format=286,
                block2=(0, False, 2),
            )
            certificate = issued(await client.request(request).response)
            assert certificate.issuer == pki().ca.name

    est = Est(advisor())
    est.run(lambda est: over_loopback(est, talk))
    assert [record.status for record in est.log.records] == [205, 205, 204, 204]
    assert {record.target for record in est.log.records} == {
        f"/.well-known/est/{name}" for name in ("crts", "att", "sen", "sren")
    }
    assert [record.received_bytes for record in est.log.records][2] == len(CSR)


@pytest.mark.req("COAPS-038")
def test_an_aiocoap_client_learns_of_a_refusal_at_the_first_block() -> None:
    async def talk(client: Any, uri: str) -> None:
        for content_format, size, code in (
            (286, 300, Code.FORBIDDEN),
            (285, 300, Code.UNSUPPORTED_CONTENT_FORMAT),
            (286, 70_000, Code.REQUEST_ENTITY_TOO_LARGE),
        ):
            request = to_send(
                aiocoap.POST,
                f"{uri}/.well-known/est/sen",
                payload=b"x" * size,
                block=2,
                content_format=content_format,
            )
            assert (await client.request(request).response).code == code

    est = Est(channel_of=lambda _: None)
    est.run(lambda est: over_loopback(est, talk))
    assert [record.status for record in est.log.records] == [403, 415, 413]


def test_a_shutdown_of_the_context_cancels_what_is_open() -> None:
    opened, wait = gate()
    est = Est(FakeApplication(before=wait))

    async def main(est: Est) -> None:
        server, client, uri = await contexts(est.site)
        asked = client.request(to_send(aiocoap.GET, f"{uri}/.well-known/est/crts")).response
        await until(lambda: bool(est.application.threads))
        await server.shutdown()
        await until(lambda: bool(est.log.records))
        await client.shutdown()
        with pytest.raises(LibraryShutdown):
            await asked
        opened.set()

    est.run(main)
    assert est.log.codes == [(0, "connection/lost")]


def test_requests_side_by_side_get_their_own_answers_over_udp() -> None:
    names = ("crts", "att", "att", "crts") * 3

    async def talk(client: Any, uri: str) -> None:
        pending = [
            client.request(to_send(aiocoap.GET, f"{uri}/.well-known/est/{name}")).response
            for name in names
        ]
        formats = [(await each).opt.content_format for each in pending]
        assert formats == [{"crts": 281, "att": 285}[name] for name in names]

    Est(advisor()).run(lambda est: over_loopback(est, talk))
