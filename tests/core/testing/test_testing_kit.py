"""The checks for transports, and the misuses: what is right passes, what is wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CACERTS,
    AuthChallenge,
    AuthenticateRequested,
    BasicCredentials,
    Challenged,
    Channel,
    Credentials,
    Decision,
    EstUri,
    Fail,
    Fault,
    Instant,
    LocalProtocolError,
    Pending,
    ProvideCACerts,
    Refused,
    Request,
    Response,
    ResponseReady,
    ServerExchange,
    ServerQuestion,
    ServerSession,
    Success,
    TlsVersion,
    TrustClass,
    Verified,
    default_policy,
    httpmap,
)
from est_core.channel import TLS_EXPORTER_BYTES, BindingKind, ChannelBinding
from est_core.checks.renewal import public_key_der
from est_core.events import ServerEvent
from est_core.testing import (
    FIXED_INSTANT,
    CheckFailedError,
    ExchangeMisuse,
    OperationSample,
    TransportCheck,
    TransportService,
    exchange_misuses,
    operation_checks,
    transport_checks,
)
from tests.answers import one_of, value_of
from tests.application import issue
from tests.core.echo import GREETING, Provide
from tests.pki import pki

CHECKS = {check.name: check for check in transport_checks()}
ANYWHERE = EstUri.parse("https://est.example")


def renewal_csr() -> bytes:
    """Return a request for the certificate that the client has."""
    mine = pki().client
    builder = x509.CertificateSigningRequestBuilder().subject_name(mine.certificate.subject)
    return builder.sign(mine.key, hashes.SHA256()).public_bytes(Encoding.DER)


class RightDriver:
    """A transport without a wire. What others do wrong, they do by overriding one method."""

    can_challenge = True
    certificate = pki().client.certificate
    csr = renewal_csr()

    def __init__(self) -> None:
        self.now = FIXED_INSTANT
        self.is_gone = self.is_stopped = False

    def start(self, service: TransportService) -> None:
        self.service = service

    def stop(self) -> None:
        self.is_stopped = True

    def connect(self, *, certificate: bool) -> None:
        self.channel = Channel(
            version=TlsVersion.TLS_1_3,
            trust_class=TrustClass.EXPLICIT if certificate else TrustClass.NONE,
            peer_chain=pki().client.chain if certificate else (),
        )
        self.is_gone = False

    def vanish(self) -> None:
        self.is_gone = True

    def pause(self, seconds: float) -> None:
        self.now = self.now.after(seconds)

    def ask(self, request: Request) -> Response | None:
        head, body = httpmap.write_request(request, ANYWHERE)
        limits, shape = self.service.limits, httpmap.reply_shape(head)
        judged = httpmap.check_head(head, policy=self.service.policy, limits=limits)
        response: Response
        if isinstance(judged, Refused):
            response = judged
        else:
            received = httpmap.read(judged, body, limits=limits)
            response = self.answer(self.session().receive_request(self.read(received), self.now))
        if self.is_gone:
            return None
        answer = httpmap.write(self.write(response), shape)
        return httpmap.read_response(request.operation, *answer, limits=limits, now=self.now)

    def session(self) -> ServerSession:
        service = self.service
        return ServerSession(policy=service.policy, channel=self.channel, limits=service.limits)

    def read(self, request: Request) -> Request:
        return request

    def write(self, response: Response) -> Response:
        return response

    def answer(self, exchange: ServerExchange) -> Response:
        while not isinstance(event := exchange.next_event(), ResponseReady):
            assert event is not None
            try:
                decision = self.service.decide(event)
            except Exception:  # noqa: BLE001  # whatever an application may raise
                decision = Fail()
            self.settle(exchange, decision)
        return event.response

    def settle(self, exchange: ServerExchange, decision: Decision) -> None:
        exchange.handle_timeout(self.now)
        if exchange.is_open:
            try:
                exchange.decide(decision)
            except LocalProtocolError:
                exchange.decide(Fail())


@pytest.mark.parametrize("check", transport_checks(), ids=str)
def test_a_right_transport_passes_and_is_stopped(check: TransportCheck) -> None:
    driver = RightDriver()
    check.run(driver)
    assert driver.is_stopped


class ForgetsLabels(RightDriver):
    def read(self, request: Request) -> Request:
        return replace(request, label=None)


class ForgetsCredentials(RightDriver):
    def read(self, request: Request) -> Request:
        return replace(request, credentials=None)


class ChangesRequests(RightDriver):
    def read(self, request: Request) -> Request:
        other = x509.CertificateSigningRequestBuilder().subject_name(pki().ca.name)
        der = other.sign(pki().client.key, hashes.SHA256()).public_bytes(Encoding.DER)
        return replace(request, payload=der) if request.payload else request


class ForgetsCertificates(RightDriver):
    def connect(self, *, certificate: bool) -> None:
        super().connect(certificate=False)


class InventsCertificates(RightDriver):
    def connect(self, *, certificate: bool) -> None:
        super().connect(certificate=True)


class ForgetsChannels(RightDriver):
    def session(self) -> ServerSession:
        session = super().session()
        self.channel = replace(self.channel, resumed=not self.channel.resumed)
        return session


class KeepsChannels(RightDriver):
    def connect(self, *, certificate: bool) -> None:
        if not hasattr(self, "channel"):
            super().connect(certificate=certificate)


class KeepsBindings(RightDriver):
    def connect(self, *, certificate: bool) -> None:
        super().connect(certificate=certificate)
        data = bytes(TLS_EXPORTER_BYTES)
        binding = ChannelBinding(kind=BindingKind.TLS_EXPORTER, data=data)
        self.channel = replace(self.channel, binding=binding)


class KeepsCredentials(RightDriver):
    kept: Credentials | None = None

    def read(self, request: Request) -> Request:
        self.kept = request.credentials or self.kept
        return replace(request, credentials=self.kept)


class CutsAnswers(RightDriver):
    def write(self, response: Response) -> Response:
        if not isinstance(response, Success):
            return response
        cut = tuple(replace(part, content=part.content[:8192]) for part in response.parts)
        return replace(response, parts=cut)


class ForgetsRealms(RightDriver):
    def write(self, response: Response) -> Response:
        if not isinstance(response, Challenged):
            return response
        challenges = tuple(AuthChallenge(scheme=each.scheme) for each in response.challenges)
        return replace(response, challenges=challenges)


class HasAPolicyOfItsOwn(RightDriver):
    def start(self, service: TransportService) -> None:
        policy = default_policy(labels=service.policy.labels)
        super().start(replace(service, policy=policy))


class OpensWhenBroken(RightDriver):
    def answer(self, exchange: ServerExchange) -> Response:
        decide = self.service.decide

        def or_verify(question: ServerQuestion) -> Decision:
            try:
                return decide(question)
            except Exception:
                if isinstance(question, AuthenticateRequested):
                    return Verified(user="anybody")
                raise

        self.service = replace(self.service, decide=or_verify)
        return super().answer(exchange)


class ForgetsWhenToRetry(RightDriver):
    def write(self, response: Response) -> Response:
        if not isinstance(response, Pending | Refused):
            return response
        return replace(response, retry_after=None)


class ForgetsReasons(RightDriver):
    def write(self, response: Response) -> Response:
        return replace(response, reason="")


class SwapsAnswers(RightDriver):
    kept: Response | None = None

    def write(self, response: Response) -> Response:
        before, self.kept = self.kept, response
        fits = before is not None and before.operation is response.operation
        return before if fits and before is not None else response


class HasNoDeadline(RightDriver):
    def settle(self, exchange: ServerExchange, decision: Decision) -> None:
        with suppress(LocalProtocolError):
            exchange.decide(decision)


class StaysBroken(RightDriver):
    is_broken = False

    def answer(self, exchange: ServerExchange) -> Response:
        response = super().answer(exchange)
        self.is_broken = response.code == "server/internal"
        return response

    def settle(self, exchange: ServerExchange, decision: Decision) -> None:
        super().settle(exchange, Fail() if self.is_broken else decision)


class NeverRecovers(RightDriver):
    def connect(self, *, certificate: bool) -> None:
        gone = self.is_gone
        super().connect(certificate=certificate)
        self.is_gone = gone


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        (ForgetsLabels, "labels are passed on"),
        (ForgetsCredentials, "credentials are passed on"),
        (ChangesRequests, "a request is passed on as it is"),
        (ForgetsCertificates, "the client's certificate is shown"),
        (InventsCertificates, "a client without certificate is nobody"),
        (ForgetsChannels, "two requests share a channel"),
        (KeepsChannels, "a new channel has facts of its own"),
        (KeepsBindings, "a new channel has facts of its own"),
        (KeepsCredentials, "credentials are passed on"),
        (CutsAnswers, "a long answer arrives whole"),
        (ForgetsRealms, "a client without certificate is nobody"),
        (HasAPolicyOfItsOwn, "the policy is that of the service"),
        (OpensWhenBroken, "who cannot be authenticated stays out"),
        (ForgetsWhenToRetry, "every outcome arrives"),
        (ForgetsReasons, "every outcome arrives"),
        (SwapsAnswers, "every outcome arrives"),
        (SwapsAnswers, "credentials are passed on"),
        (HasNoDeadline, "a late decision is replaced"),
        (StaysBroken, "a decision that is no answer harms nobody"),
        (StaysBroken, "an application that raises harms nobody"),
        (NeverRecovers, "a client may vanish while it is decided"),
        (ForgetsCertificates, "every operation is answered"),
    ],
)
def test_what_a_transport_does_wrong_is_found(driver: type[RightDriver], name: str) -> None:
    found = driver()
    with pytest.raises(CheckFailedError):
        CHECKS[name].run(found)
    assert found.is_stopped


class ShowsAnother(RightDriver):
    """Its client has two certificates for one key."""

    certificate = issue(public_key_der(pki().client.certificate))


class ChangesCredentials(RightDriver):
    def read(self, request: Request) -> Request:
        known = request.credentials
        if isinstance(known, BasicCredentials):
            known = replace(known, password=known.password.encode().decode("latin-1"))
        return replace(request, credentials=known)


class ChangesUsers(RightDriver):
    def settle(self, exchange: ServerExchange, decision: Decision) -> None:
        changed = Verified(user="anybody") if isinstance(decision, Verified) else decision
        super().settle(exchange, changed)


@pytest.mark.parametrize(
    ("driver", "name", "text"),
    [
        (ShowsAnother, "the client's certificate is shown", "the client's certificate"),
        (InventsCertificates, "a client without certificate is nobody", "nobody's channel"),
        (ChangesCredentials, "credentials are passed on", "the credentials"),
        (ChangesUsers, "credentials are passed on", "the user"),
        (ForgetsLabels, "labels are passed on", "the label"),
        (ChangesRequests, "a request is passed on as it is", "the CSR"),
    ],
)
def test_what_is_wrong_is_told(driver: type[RightDriver], name: str, text: str) -> None:
    with pytest.raises(CheckFailedError, match=f"^{text}: "):
        CHECKS[name].run(driver())


class Written(RightDriver):
    """Keeps a record: + and - for channels with and without certificate, requests, decisions."""

    def __init__(self) -> None:
        super().__init__()
        self.record: list[str] = []

    def connect(self, *, certificate: bool) -> None:
        self.record.append("+" if certificate else "-")
        super().connect(certificate=certificate)

    def ask(self, request: Request) -> Response | None:
        self.record.append(request.operation.name)
        return super().ask(request)

    def settle(self, exchange: ServerExchange, decision: Decision) -> None:
        self.record.append(type(decision).__name__)
        super().settle(exchange, decision)


class WithoutPasswords(Written):
    can_challenge = False


SERVED = "- cacerts ProvideCACerts"
VANISHING = "a client may vanish while it is decided"
DONE = {
    "every operation is answered": (
        "+ cacerts ProvideCACerts csrattrs ProvideCSRAttrs simpleenroll Issue simplereenroll Issue"
    ),
    "a long answer arrives whole": "+ csrattrs ProvideCSRAttrs csrattrs ProvideCSRAttrs",
    "every outcome arrives": (
        "+ csrattrs ProvideCSRAttrs simpleenroll Pend simpleenroll Deny"
        " cacerts Postpone cacerts Fail"
    ),
    "two requests share a channel": "+ cacerts ProvideCACerts cacerts ProvideCACerts",
    "a new channel has facts of its own": (
        "+ cacerts ProvideCACerts - cacerts ProvideCACerts + cacerts ProvideCACerts"
    ),
    "the client's certificate is shown": "+ simplereenroll Issue",
    "a client without certificate is nobody": "- cacerts ProvideCACerts simpleenroll",
    "credentials are passed on": "- simpleenroll Verified Issue simpleenroll Rejected simpleenroll",
    "who cannot be authenticated stays out": f"- simpleenroll Fail {SERVED}",
    "labels are passed on": "+ cacerts ProvideCACerts cacerts ProvideCACerts",
    "a request is passed on as it is": "+ simpleenroll Issue",
    "the policy is that of the service": f"+ simpleenroll {SERVED}",
    "a head is refused without asking": f"+ simpleenroll {SERVED}",
    "a body is refused without asking": f"+ simpleenroll simpleenroll {SERVED}",
    "a late decision is replaced": f"+ cacerts ProvideCACerts {SERVED}",
    VANISHING: f"+ simpleenroll Issue {SERVED}",
    "a decision that is no answer harms nobody": f"+ cacerts Verified {SERVED}",
    "an application that raises harms nobody": f"+ cacerts Fail {SERVED}",
}


def run_of(driver: Written, check: TransportCheck) -> str:
    check.run(driver)
    return " ".join(driver.record)


@pytest.mark.parametrize("check", transport_checks(), ids=str)
def test_a_check_does_all_that_it_has_to(check: TransportCheck) -> None:
    assert run_of(Written(), check) == DONE[check.name]


@pytest.mark.parametrize("check", transport_checks(can_challenge=False), ids=str)
def test_without_passwords_a_client_shows_its_certificate(check: TransportCheck) -> None:
    assert run_of(WithoutPasswords(), check) == DONE[check.name].replace("-", "+")


class SpoilsOne(RightDriver):
    """One of its answers is another one."""

    def __init__(self, which: int, spoilt: Callable[[Response], Response]) -> None:
        super().__init__()
        self.left, self.spoilt = which, spoilt

    def write(self, response: Response) -> Response:
        self.left -= 1
        return self.spoilt(response) if self.left == -1 else response


def another_fault(response: Response) -> Response:
    fault = Fault.NOT_FOUND if value_of(response, "fault") is Fault.MALFORMED else Fault.MALFORMED
    return Refused(operation=response.operation, fault=fault, reason=response.reason)


def another_time(response: Response) -> Response:
    assert isinstance(response, Pending | Refused)
    assert isinstance(response.retry_after, int)
    return replace(response, retry_after=response.retry_after + 1)


ANSWERS = [
    (name, which)
    for name, done in DONE.items()
    for which in range(sum(word.islower() for word in done.split()) - (name == VANISHING))
]


@pytest.mark.parametrize(("name", "which"), ANSWERS)
def test_each_answer_is_looked_at(name: str, which: int) -> None:
    with pytest.raises(CheckFailedError):
        CHECKS[name].run(SpoilsOne(which, another_fault))


@pytest.mark.parametrize(
    ("name", "which", "text"),
    [
        ("every outcome arrives", 2, "the answer"),
        ("every outcome arrives", 3, "the answer"),
        ("a late decision is replaced", 0, "the answer"),
        ("a client without certificate is nobody", 1, "a client without anything to show"),
    ],
)
def test_an_answer_of_another_kind_is_told_as_that(name: str, which: int, text: str) -> None:
    with pytest.raises(CheckFailedError, match=f"^{text}: "):
        CHECKS[name].run(SpoilsOne(which, another_fault))


TIMES = [
    ("every outcome arrives", 1),
    ("every outcome arrives", 3),
    ("a late decision is replaced", 0),
]


@pytest.mark.parametrize(("name", "which"), TIMES)
def test_each_time_to_come_back_is_looked_at(name: str, which: int) -> None:
    with pytest.raises(CheckFailedError):
        CHECKS[name].run(SpoilsOne(which, another_time))


# Operations of anybody's

SAMPLE = OperationSample(operation=GREETING, decisions=(Provide(der=b"\x04\x05hello"),))
OF_GREETING = {check.name.removeprefix("greeting "): check for check in operation_checks(SAMPLE)}


@pytest.mark.parametrize("check", OF_GREETING.values(), ids=str)
def test_a_right_transport_passes_with_any_operation(check: TransportCheck) -> None:
    driver = RightDriver()
    check.run(driver)
    assert driver.is_stopped


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        (ForgetsLabels, "is asked and answered"),
        (ForgetsCertificates, "is asked and answered"),
        (ForgetsReasons, "is refused by the application"),
        (ForgetsWhenToRetry, "is refused by the application"),
        (InventsCertificates, "is not asked by an unauthenticated client"),
        (HasNoDeadline, "is late and replaced"),
        (NeverRecovers, "may be abandoned"),
        (StaysBroken, "harms nobody with a decision that is no answer"),
        (StaysBroken, "harms nobody where the application raises"),
    ],
)
def test_what_a_transport_does_wrong_with_any_operation_is_found(
    driver: type[RightDriver], name: str
) -> None:
    with pytest.raises(CheckFailedError):
        OF_GREETING[name].run(driver())


@pytest.mark.parametrize("which", range(3))
def test_each_answer_of_any_operation_is_compared_with_that_of_the_core(which: int) -> None:
    def cut(response: Response) -> Response:
        success = one_of(Success, response)
        cut = tuple(replace(part, content=part.content[:-1] + b"?") for part in success.parts)
        return replace(success, parts=cut)

    with pytest.raises(CheckFailedError, match=r"^the parts of the answer: "):
        OF_GREETING["is asked and answered"].run(SpoilsOne(which, cut))


@pytest.mark.parametrize("check", OF_GREETING.values(), ids=str)
def test_each_answer_to_a_check_of_any_operation_is_looked_at(check: TransportCheck) -> None:
    driver = Written()
    check.run(driver)
    answers = sum(word == "greeting" for word in driver.record) - check.name.endswith("abandoned")
    for which in range(answers):
        with pytest.raises(CheckFailedError):
            check.run(SpoilsOne(which, another_fault))


def test_an_operation_of_est_can_be_a_sample_as_well() -> None:
    provided = ProvideCACerts(certificates=(RightDriver.certificate,))
    sample = OperationSample(operation=CACERTS, decisions=(provided,))
    for check in operation_checks(sample):
        check.run(RightDriver())


def test_a_wire_without_strangers_has_one_check_of_an_operation_less() -> None:
    fewer = operation_checks(SAMPLE, can_challenge=False)
    assert {*map(str, OF_GREETING.values())} - {*map(str, fewer)} == {
        "greeting is not asked by an unauthenticated client"
    }


@pytest.mark.parametrize("decisions", [(), (Verified(user="device"),)])
def test_a_sample_is_decided_by_what_answers_its_questions(
    decisions: tuple[Decision, ...],
) -> None:
    with pytest.raises(LocalProtocolError):
        OperationSample(operation=GREETING, decisions=decisions)


def test_a_wire_without_passwords_has_fewer_checks() -> None:
    every = {str(check) for check in transport_checks()}
    fewer = {check.name for check in transport_checks(can_challenge=False)}
    assert fewer < every
    assert every - fewer == {
        "a client without certificate is nobody",
        "credentials are passed on",
        "who cannot be authenticated stays out",
    }


# Misuse


def an_exchange(kind: Callable[..., ServerExchange] = ServerExchange) -> ServerExchange:
    session = ServerSession(policy=default_policy(), channel=Channel(version=TlsVersion.TLS_1_3))
    return kind(session, Request(operation=CACERTS), FIXED_INSTANT)


@pytest.mark.parametrize("misuse", exchange_misuses(), ids=str)
def test_a_call_out_of_turn_is_refused_and_changes_nothing(misuse: ExchangeMisuse) -> None:
    misuse.run(an_exchange(), pki().ca.certificate)


class Lenient(ServerExchange):
    """Says nothing of mistakes."""

    def decide(self, decision: Decision) -> None:
        with suppress(LocalProtocolError):
            super().decide(decision)


class Forgetful(ServerExchange):
    """Does not survive one."""

    def decide(self, decision: Decision) -> None:
        try:
            super().decide(decision)
        except LocalProtocolError:
            self.abandon("a mistake")
            self.deadline = Instant.after(self.deadline, 1)
            raise


@pytest.mark.parametrize("misuse", exchange_misuses(), ids=str)
@pytest.mark.parametrize("kind", [Lenient, Forgetful])
def test_a_misuse_that_is_let_pass_or_does_harm_is_found(
    kind: type[ServerExchange], misuse: ExchangeMisuse
) -> None:
    with pytest.raises(AssertionError, match=misuse.name[:10]):
        misuse.run(an_exchange(kind), pki().ca.certificate)


class Sulking(ServerExchange):
    """Refuses every mistake, and then whatever else it is asked."""

    def next_event(self) -> ServerEvent | None:
        event = super().next_event()
        if isinstance(event, ResponseReady) and self.instead is not None:
            return self.instead(event)
        return event

    instead: Callable[[ResponseReady], ServerEvent | None] | None = None


def refused(event: ResponseReady) -> ServerEvent:
    return replace(event, response=another_fault(event.response))


@pytest.mark.parametrize("instead", [refused, lambda _event: None])
@pytest.mark.parametrize(
    "misuse", [each for each in exchange_misuses() if not each.is_over], ids=str
)
def test_an_exchange_that_a_misuse_spoils_is_found(
    misuse: ExchangeMisuse, instead: Callable[[ResponseReady], ServerEvent | None]
) -> None:
    exchange = an_exchange(Sulking)
    assert isinstance(exchange, Sulking)
    exchange.instead = instead
    with pytest.raises(AssertionError, match="in place of the answer"):
        misuse.run(exchange, pki().ca.certificate)


def test_the_misuses_that_are_known_are_many_and_told_apart() -> None:
    names = [str(misuse) for misuse in exchange_misuses()]
    assert len(names) == len(set(names)) == 13
    assert "a second decision" in names
