"""What every transport has to do for the core, as checks that anybody's transport can be put to.

The checks send requests through a real server and a real client of the transport's and look at
both ends: at what the application was asked, and at what came back. They hold no key and no clock;
what they need of those the driver brings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Final, Protocol, TypeVar

from cryptography import x509

from est_core._errors import Fault
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.channel import TrustClass
from est_core.credentials import BasicCredentials
from est_core.decisions import Decision, Deny, Fail, Issue, Pend, Postpone, Rejected, Verified
from est_core.events import AuthenticateRequested, ServerQuestion
from est_core.model import (
    Challenged,
    Label,
    NotAvailable,
    Pending,
    Request,
    Response,
    Success,
)
from est_core.operation import Operation
from est_core.operations.cacerts import CACERTS, CACertsRequested, ProvideCACerts
from est_core.operations.csrattrs import CSRATTRS, CSRAttrsRequested, ProvideCSRAttrs
from est_core.operations.defaults import default_policy
from est_core.operations.simpleenroll import SIMPLEENROLL, EnrollRequested
from est_core.operations.simplereenroll import SIMPLEREENROLL, ReenrollRequested
from est_core.policy import ServerPolicy
from est_core.testing._application import Answer, ScriptedApplication
from est_core.testing._expect import (
    expect,
    expect_fault,
    expect_kind,
    expect_part,
    fail,
)
from est_core.values import value_class

_Question = TypeVar("_Question")
Step = tuple[type[ServerQuestion], Answer]
"""What is asked, and how it is decided."""
LABEL: Final = Label("profile-a")
_PASSWORD: Final = BasicCredentials(user="device", password="öffne dich")
_ATTRIBUTES: Final = CsrAttrs(items=(ObjectId(oid="2.5.4.5"),))
_MANY: Final = CsrAttrs(
    items=tuple(ObjectId(oid="1.3.6.1.4.1" + f".{2**60 + each}" * 5) for each in range(250))
)
"""13 KB: more than one datagram, and in base64 more than one TLS record."""
_POLICY: Final = default_policy(labels=frozenset({LABEL}))
_LINKING_POLICY: Final = default_policy(labels=frozenset({LABEL}), require_pop=True)


@value_class
class TransportService:
    """What a server is to be started with. `decide` stands for the application.

    `decide` may raise anything, as an application may, and it may block.
    """

    policy: ServerPolicy
    limits: Limits
    decide: Callable[[ServerQuestion], Decision] = field(repr=False)


class TransportDriver(Protocol):
    """A server and a client of the transport under test. Yours to write; a new one for each check.

    `certificate` is what its client can show, and its server has explicit trust in who issued it.
    `csr` is a request in DER by the same key, and with the same subject. `can_challenge` is False
    where the wire carries no passwords; then the client always shows its certificate.
    """

    can_challenge: bool
    certificate: x509.Certificate
    csr: bytes

    def start(self, service: TransportService) -> None:
        """Start the server."""

    def connect(self, *, certificate: bool) -> None:
        """Have a new channel, in place of the one that was, with or without the certificate."""

    def ask(self, request: Request) -> Response | None:
        """Send a request on the channel and return its answer; None if `vanish` was called."""

    def vanish(self) -> None:
        """Break the channel without a word. Called while `ask` waits, from within `decide`."""

    def pause(self, seconds: float) -> None:
        """Let that time pass by the server's clock. Called from within `decide`."""

    def stop(self) -> None:
        """Stop the server, and return when it has ended. Called also after a failure."""


@value_class
class TransportCheck:
    """One thing that a transport has to do. `name` says it."""

    name: str
    needs_challenge: bool = False
    check: Callable[[Bench], None] = field(repr=False)
    limits: Limits = field(default_factory=Limits, repr=False)
    policy: ServerPolicy = field(default=_POLICY, repr=False)

    def __str__(self) -> str:
        return self.name

    def run(self, driver: TransportDriver) -> None:
        """Start the driver's server, look, and stop it. Raises CheckFailedError."""
        bench = Bench(driver)
        decide = bench.application.decide
        service = TransportService(policy=self.policy, limits=self.limits, decide=decide)
        try:
            driver.start(service)
            self.check(bench)
        finally:
            driver.stop()


@checked
def transport_checks(*, can_challenge: bool = True) -> tuple[TransportCheck, ...]:
    """Return the checks; without `can_challenge` those for a wire that carries no passwords."""
    return tuple(check for check in _CHECKS if can_challenge or not check.needs_challenge)


class _BrokenApplicationError(Exception):
    """What an application may raise."""


class Bench:
    """A driver, and an application that decides the questions as the check has put down."""

    def __init__(self, driver: TransportDriver) -> None:
        self.driver = driver
        self.application: ScriptedApplication = ScriptedApplication({})

    @property
    def questions(self) -> Sequence[ServerQuestion]:
        """What was asked for the request that was sent last."""
        return self.application.asked

    def ask(
        self,
        operation: Operation,
        *decisions: Step,
        label: Label | None = None,
        item: str = "",
        payload: bytes | None = None,
        credentials: BasicCredentials | None = None,
    ) -> Response:
        """Send a request on the channel, have it decided so, and return what the client got."""
        response = self.send(
            operation,
            *decisions,
            label=label,
            item=item,
            payload=payload,
            credentials=credentials,
        )
        if response is None:
            fail(f"{operation.name} had no answer")
        expect([type(each) for each in self.questions], [kind for kind, _ in decisions], "asked")
        return response

    def send(
        self,
        operation: Operation,
        *decisions: Step,
        label: Label | None = None,
        item: str = "",
        payload: bytes | None = None,
        credentials: BasicCredentials | None = None,
    ) -> Response | None:
        """As `ask`, whether there is an answer or not."""
        self.application.asked.clear()
        self.application.answers = dict(decisions)
        if payload is None:
            payload = self.driver.csr if operation.is_enrollment else b""
        return self.driver.ask(
            Request(
                operation=operation,
                label=label,
                item=item,
                payload=payload,
                credentials=credentials,
            )
        )

    def asked(self, kind: type[_Question]) -> _Question:
        """Return the question of that kind."""
        return next(each for each in self.questions if isinstance(each, kind))

    @property
    def ca_certs(self) -> tuple[type[ServerQuestion], Decision]:
        """The usual question and answer."""
        return CACertsRequested, ProvideCACerts(certificates=(self.driver.certificate,))

    @property
    def issue(self) -> Decision:
        """The certificate whose key is the request's."""
        return Issue(certificate=self.driver.certificate)

    def expect_service(self) -> None:
        """See that a client of now is served."""
        self.driver.connect(certificate=not self.driver.can_challenge)
        expect_kind(self.ask(CACERTS, self.ca_certs), Success, "the next client's")


# The checks


def _every_operation(bench: Bench) -> None:
    driver = bench.driver
    certs = write_certs_only((driver.certificate,))
    attributes = ProvideCSRAttrs(csrattrs=_ATTRIBUTES)
    driver.connect(certificate=True)
    for operation, decided, der in (
        (CACERTS, bench.ca_certs, certs),
        (CSRATTRS, (CSRAttrsRequested, attributes), _ATTRIBUTES.der()),
        (SIMPLEENROLL, (EnrollRequested, bench.issue), certs),
        (SIMPLEREENROLL, (ReenrollRequested, bench.issue), certs),
    ):
        expect_part(bench.ask(operation, decided), operation, der)


def _long_answer(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    long = CSRAttrsRequested, ProvideCSRAttrs(csrattrs=_MANY)
    for _ in range(2):
        expect_part(bench.ask(CSRATTRS, long), CSRATTRS, _MANY.der())


def _every_outcome(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    nothing = bench.ask(CSRATTRS, (CSRAttrsRequested, ProvideCSRAttrs(csrattrs=None)))
    expect_kind(nothing, NotAvailable, "no CSR attributes")
    answer = bench.ask(SIMPLEENROLL, (EnrollRequested, Pend(retry_after_s=7)))
    pending = expect_kind(answer, Pending, "a pending request")
    expect(pending.retry_after, 7, "when to come back")
    refusal = Deny(code="enroll/pending", reason="not that name")
    denied = bench.ask(SIMPLEENROLL, (EnrollRequested, refusal))
    expect_fault(denied, Fault.FORBIDDEN)
    expect("not that name" in denied.reason, True, "the reason is told")
    late = bench.ask(CACERTS, (CACertsRequested, Postpone(retry_after_s=9)))
    busy = expect_fault(late, Fault.BUSY)
    expect(busy.retry_after, 9, "when to come back")
    expect_fault(bench.ask(CACERTS, (CACertsRequested, Fail())), Fault.INTERNAL)


def _one_channel(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    channels = []
    for _ in range(2):
        expect_kind(bench.ask(CACERTS, bench.ca_certs), Success, "cacerts")
        channels.append(bench.questions[0].channel)
    expect(channels[1], channels[0], "the facts of the second request's channel")


def _new_channels(bench: Bench) -> None:
    driver = bench.driver
    bindings = []
    for certificate in (True, not driver.can_challenge, True):
        driver.connect(certificate=certificate)
        expect_kind(bench.ask(CACERTS, bench.ca_certs), Success, "cacerts")
        channel = bench.questions[0].channel
        shown = driver.certificate if certificate else None
        expect(channel.peer_certificate, shown, "the certificate of the client that is there now")
        if channel.binding is not None:
            bindings.append(channel.binding)
    expect(len(set(bindings)), len(bindings), "different bindings of different channels")


def _certificate(bench: Bench) -> None:
    driver = bench.driver
    driver.connect(certificate=True)
    answer = bench.ask(SIMPLEREENROLL, (ReenrollRequested, bench.issue))
    expect_kind(answer, Success, "a renewal")
    channel = bench.questions[0].channel
    expect(channel.peer_certificate, driver.certificate, "the client's certificate")


def _no_certificate(bench: Bench) -> None:
    bench.driver.connect(certificate=False)
    expect_kind(bench.ask(CACERTS, bench.ca_certs), Success, "cacerts")
    channel = bench.questions[0].channel
    expect((channel.trust_class, channel.peer_chain), (TrustClass.NONE, ()), "nobody's channel")
    answer = bench.ask(SIMPLEENROLL)
    unknown = expect_kind(answer, Challenged, "a client without anything to show")
    expect(unknown.challenges, _POLICY.challenges, "challenges")


def _credentials(bench: Bench) -> None:
    bench.driver.connect(certificate=False)
    verified = AuthenticateRequested, Verified(user="device-7")
    answer = bench.ask(
        SIMPLEENROLL, verified, (EnrollRequested, bench.issue), credentials=_PASSWORD
    )
    expect_kind(answer, Success, "with the right password")
    expect(bench.asked(AuthenticateRequested).credentials, _PASSWORD, "the credentials")
    expect(bench.asked(EnrollRequested).identity.user, "device-7", "the user")
    rejected = AuthenticateRequested, Rejected()
    answer = bench.ask(SIMPLEENROLL, rejected, credentials=_PASSWORD)
    expect_kind(answer, Challenged, "with the wrong password")
    answer = bench.ask(SIMPLEENROLL)
    expect_kind(answer, Challenged, "without a password, on the same channel")


def _broken_authentication(bench: Bench) -> None:
    broken = AuthenticateRequested, decide_nothing
    bench.driver.connect(certificate=False)
    answer = bench.ask(SIMPLEENROLL, broken, credentials=_PASSWORD)
    expect_fault(answer, Fault.INTERNAL)
    bench.expect_service()


def _labels(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    for label in (LABEL, None):
        answer = bench.ask(CACERTS, bench.ca_certs, label=label)
        expect_kind(answer, Success, f"label {label}")
        expect(bench.asked(CACertsRequested).label, label, "the label")


def _request(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    answer = bench.ask(SIMPLEENROLL, (EnrollRequested, bench.issue))
    expect_kind(answer, Success, "an enrollment")
    expect(bench.asked(EnrollRequested).csr.der, bench.driver.csr, "the CSR")


def _unlinked(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    expect_fault(bench.ask(SIMPLEENROLL), Fault.FORBIDDEN)
    bench.expect_service()


def _refused_head(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    expect_fault(bench.ask(SIMPLEENROLL, label=Label("nobody")), Fault.NOT_FOUND)
    bench.expect_service()


def _refused_body(bench: Bench) -> None:
    bench.driver.connect(certificate=True)
    expect_fault(bench.ask(SIMPLEENROLL, payload=b"\x30\x00"), Fault.MALFORMED)
    large = bytes(2 * _SMALL.body_bytes)
    expect_fault(bench.ask(SIMPLEENROLL, payload=large), Fault.BODY_TOO_LARGE)
    bench.expect_service()


def _late(bench: Bench) -> None:
    def decide_late(_question: CACertsRequested) -> Decision:
        bench.driver.pause(HASTY.decision_s + 0.25)
        return decision

    kind, decision = bench.ca_certs
    bench.driver.connect(certificate=True)
    late = expect_fault(bench.ask(CACERTS, (kind, decide_late)), Fault.BUSY)
    expect(late.retry_after, HASTY.retry_after_default_s, "when to come back")
    bench.expect_service()


def _vanished(bench: Bench) -> None:
    def decide_for_nobody(_question: EnrollRequested) -> Decision:
        bench.driver.vanish()
        return bench.issue  # it is on record, whoever hears of it

    bench.driver.connect(certificate=True)
    expect(bench.send(SIMPLEENROLL, (EnrollRequested, decide_for_nobody)), None, "a gone")
    bench.expect_service()


def _no_answer(bench: Bench) -> None:
    kind, _ = bench.ca_certs
    bench.driver.connect(certificate=True)
    expect_fault(bench.ask(CACERTS, (kind, Verified(user="x"))), Fault.INTERNAL)
    bench.expect_service()


def decide_nothing(_question: ServerQuestion) -> Decision:
    """Do what an application may do."""
    raise _BrokenApplicationError("by chance")


def _broken(bench: Bench) -> None:
    kind, _ = bench.ca_certs
    bench.driver.connect(certificate=True)
    expect_fault(bench.ask(CACERTS, (kind, decide_nothing)), Fault.INTERNAL)
    bench.expect_service()


_SMALL: Final = replace(Limits(), body_bytes=4096)
HASTY: Final = replace(Limits(), decision_s=2)  # the next client is in time on a busy machine too

_CHECKS: Final = (
    TransportCheck(name="every operation is answered", check=_every_operation),
    TransportCheck(name="a long answer arrives whole", check=_long_answer),
    TransportCheck(name="every outcome arrives", check=_every_outcome),
    TransportCheck(name="two requests share a channel", check=_one_channel),
    TransportCheck(name="a new channel has facts of its own", check=_new_channels),
    TransportCheck(name="the client's certificate is shown", check=_certificate),
    TransportCheck(
        name="a client without certificate is nobody", check=_no_certificate, needs_challenge=True
    ),
    TransportCheck(name="credentials are passed on", check=_credentials, needs_challenge=True),
    TransportCheck(
        name="who cannot be authenticated stays out",
        check=_broken_authentication,
        needs_challenge=True,
    ),
    TransportCheck(name="labels are passed on", check=_labels),
    TransportCheck(name="a request is passed on as it is", check=_request),
    TransportCheck(
        name="the policy is that of the service", check=_unlinked, policy=_LINKING_POLICY
    ),
    TransportCheck(name="a head is refused without asking", check=_refused_head),
    TransportCheck(name="a body is refused without asking", check=_refused_body, limits=_SMALL),
    TransportCheck(name="a late decision is replaced", check=_late, limits=HASTY),
    TransportCheck(name="a client may vanish while it is decided", check=_vanished),
    TransportCheck(name="a decision that is no answer harms nobody", check=_no_answer),
    TransportCheck(name="an application that raises harms nobody", check=_broken),
)
