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
    AuthChallenge,
    AuthenticateRequested,
    Channel,
    Credentials,
    Decision,
    EstUri,
    Fail,
    Instant,
    LocalProtocolError,
    Operation,
    Request,
    Response,
    ResponseReady,
    ServerExchange,
    ServerQuestion,
    ServerSession,
    TlsVersion,
    TrustClass,
    Verified,
    default_policy,
    httpmap,
)
from est_core.channel import TLS_EXPORTER_BYTES, BindingKind, ChannelBinding
from est_core.testing import (
    FIXED_INSTANT,
    CheckFailedError,
    ExchangeMisuse,
    TransportCheck,
    TransportService,
    exchange_misuses,
    transport_checks,
)
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
        response = httpmap.check_head(head, policy=self.service.policy, limits=limits)
        if response is None:
            received, shape = httpmap.read(head, body, limits=limits)
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
        cut = tuple(replace(part, der=part.der[:8192]) for part in response.parts)
        return replace(response, parts=cut)


class ForgetsRealms(RightDriver):
    def write(self, response: Response) -> Response:
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


def test_a_wire_without_passwords_has_fewer_checks() -> None:
    fewer = {check.name for check in transport_checks(can_challenge=False)}
    assert fewer < set(CHECKS)
    assert set(CHECKS) - fewer == {
        "a client without certificate is nobody",
        "credentials are passed on",
        "who cannot be authenticated stays out",
    }


# Misuse


def an_exchange(kind: Callable[..., ServerExchange] = ServerExchange) -> ServerExchange:
    session = ServerSession(policy=default_policy(), channel=Channel(version=TlsVersion.TLS_1_3))
    return kind(session, Request(operation=Operation.CACERTS), FIXED_INSTANT)


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
