"""The server machine under any request and any sequence of decisions, and its table, pair by pair.

What must hold whatever happens: only LocalProtocolError escapes and then nothing has changed, one
answer is given unless the client is gone, whatever is issued is on record, and nobody is asked
to issue for a client that was not let in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from itertools import product
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthenticateRequested,
    Authentication,
    BearerCredentials,
    CACertsRequested,
    Challenge,
    Channel,
    CodeCredentials,
    Counted,
    Credentials,
    CSRAttrsPurpose,
    CSRAttrsRequested,
    Decision,
    Deny,
    DigestCredentials,
    DigestScheme,
    EnrollRequested,
    Fail,
    Fault,
    ForeignChallenge,
    Issue,
    Label,
    Limits,
    LocalProtocolError,
    MalformedCredentials,
    NonceUseRequested,
    Operation,
    Outcome,
    Pend,
    PolicyRow,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    Replayed,
    Request,
    Response,
    ResponseReady,
    ServerEvent,
    ServerExchange,
    ServerPolicy,
    ServerSession,
    TlsVersion,
    TrustClass,
    UnreadablePayload,
    Verified,
    httpmap,
)
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.asn1.pkcs10 import parse_cert_request, signature_is_valid
from est_core.checks.pop import linking_text
from est_core.checks.renewal import public_key_der
from est_core.codec.authheader import basic_challenge
from est_core.server.tables import ServerState, legal_answers
from est_core.testing import FIXED_INSTANT
from tests.answers import value_of
from tests.application import GOOD, WRONG, issue
from tests.core.cast import BINDING, EXPORTER, LIMITS, Key, channel, csr_der, receive, spki
from tests.pki import CMC_RA, Entity, Subject, new_key, pki
from tests.reached import Tally
from tests.registration import ras

LABEL: Final = Label("printers")
ENROLLMENTS: Final = (SIMPLEENROLL, SIMPLEREENROLL)
SHAPES: Final = (
    httpmap.ReplyShape(),
    httpmap.ReplyShape(columns=64),
    httpmap.ReplyShape(head_only=True),
    httpmap.ReplyShape(head_only=True, columns=64),
)


@cache
def own_key() -> Key:
    return new_key()


@cache
def registrar() -> Entity:
    return pki().ca.issue(Subject(name="device-1", eku=(CMC_RA,)))


@cache
def decisions() -> tuple[Decision, ...]:
    """One or more of each kind."""
    return (
        *[Verified(user="estuser")] * 4,
        Verified(user="somebody"),
        Rejected(),
        *[Counted()] * 3,
        Replayed(),
        Challenge(challenges=(basic_challenge("another realm"),), code="site/second-factor"),
        Challenge(),
        ProvideCACerts(certificates=(pki().ca.certificate,)),
        ProvideCSRAttrs(csrattrs=None),
        ProvideCSRAttrs(csrattrs=CsrAttrs(items=())),
        ProvideCSRAttrs(csrattrs=CsrAttrs(items=(ObjectId(oid="2.5.4.5"),))),
        *[Issue(certificate=issue(spki(own_key())))] * 4,
        Issue(certificate=pki().rogue_client.certificate),
        Pend(retry_after_s=5),
        Pend(retry_after_s=2**31),
        Deny(code="policy/no", reason="not you"),
        Deny(code="policy/no", reason="nicht so, größer", content=True),
        Postpone(retry_after_s=30),
        Fail(),
    )


@cache
def payloads() -> tuple[bytes | UnreadablePayload, ...]:
    right = csr_der(own_key(), challenge=linking_text(BINDING))
    return (
        right,
        csr_der(own_key()),
        csr_der(own_key(), challenge=linking_text(EXPORTER)),
        csr_der(own_key(), challenge="enrollment code"),
        csr_der(own_key(), name="somebody else"),
        right[:-1] + bytes((right[-1] ^ 1,)),
        right[:-1],
        b"",
        b"garbage",
        UnreadablePayload(code="body/base64", message="not base64"),
    )


DIGEST: Final = DigestScheme(realm="est", key=bytes(32), entropy=bytes)


def digest_answer(**changed: str) -> DigestCredentials:
    nonce = DIGEST.challenges(FIXED_INSTANT)[0].get("nonce") or ""
    parameters = {
        "username": "estuser",
        "realm": "est",
        "nonce": nonce,
        "uri": "/",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "c",
        "response": "0" * 32,
    }
    return DigestCredentials(
        user="estuser", parameters=tuple((parameters | changed).items()), method="POST", target="/"
    )


CREDENTIALS: Final[tuple[Credentials | None, ...]] = (
    *[digest_answer()] * 6,
    digest_answer(nonce="another"),
    digest_answer(uri="/another"),
    *(None, GOOD, WRONG),
    BearerCredentials(token="t"),
    DigestCredentials(user="estuser", parameters=(("realm", "est"),)),
    MalformedCredentials(code="auth/bad-basic", message="not base64"),
    MalformedCredentials(code="auth/unknown-scheme", message="unknown"),
)


@st.composite
def policies(draw: st.DrawFn) -> ServerPolicy:
    modes = st.sampled_from([*Authentication, *[Authentication.CERT_OR_HTTP] * 3])
    verified = {TrustClass.EXPLICIT, TrustClass.IMPLICIT}
    trusts = [{TrustClass.EXPLICIT}, *[verified] * 8, {TrustClass.IMPLICIT}]
    rows = tuple(
        PolicyRow(
            operation=operation,
            authentication=draw(modes),
            label=draw(st.sampled_from([*[None] * 19, LABEL])),
            certificate_trust=frozenset(draw(st.sampled_from(trusts))),
            require_pop=draw(st.sampled_from([*[False] * 6, True])),
            registration_authorities=draw(st.sampled_from([ras(), ras("device-1")])),
            enforce_csrattrs=draw(st.sampled_from([False, False, True])),
        )
        for operation in draw(st.sampled_from([tuple(OPERATIONS)] * 19 + [tuple(OPERATIONS)[:3]]))
    )
    return ServerPolicy(
        rows=rows,
        challenges=(basic_challenge("est"),),
        digest=draw(st.sampled_from([None, DIGEST])),
        labels=frozenset({LABEL}),
        foreign_challenge=draw(st.sampled_from(list(ForeignChallenge))),
        otp_challenge=draw(st.booleans()),
    )


@st.composite
def channels(draw: st.DrawFn) -> Channel:
    trust = draw(st.sampled_from([*[TrustClass.EXPLICIT] * 16, *TrustClass]))
    ra = trust is not TrustClass.NONE and draw(st.sampled_from([False, False, False, True]))
    return channel(
        trust,
        peer=registrar() if ra else None,
        version=draw(st.sampled_from([*[TlsVersion.TLS_1_2] * 3, TlsVersion.TLS_1_3])),
        binding=draw(st.sampled_from([*[BINDING] * 8, EXPORTER, None])),
        can_challenge=draw(st.sampled_from([*[True] * 9, False])),
        user=draw(st.sampled_from([*[None] * 9, "srp user"])),
    )


@st.composite
def some_payloads(draw: st.DrawFn) -> bytes | UnreadablePayload:
    """Mostly a good CSR; one with an octet of another value; any."""
    turn = draw(st.integers(0, 19))
    if turn < 17:
        return payloads()[turn % 2]
    if turn < 19:
        return draw(st.sampled_from(payloads()))
    right = payloads()[0]
    assert isinstance(right, bytes)
    der = bytearray(right)
    der[draw(st.integers(0, len(der) - 1))] ^= draw(st.integers(1, 255))
    return bytes(der)


def requests() -> st.SearchStrategy[Request]:
    return st.builds(
        Request,
        operation=st.sampled_from([*ENROLLMENTS * 4, *OPERATIONS]),
        label=st.sampled_from([*[None] * 20, *[LABEL] * 9, Label("unknown")]),
        payload=some_payloads(),
        credentials=st.sampled_from([*[GOOD] * 16, None, None, *CREDENTIALS]),
    )


def snapshot(exchange: ServerExchange) -> dict[str, object]:
    """Everything an exchange holds."""
    return {
        name: tuple(value) if isinstance(value, deque) else value
        for name, value in vars(exchange).items()
    }


REFUSALS: Final = (Challenge, Deny, Postpone, Fail)
ANSWERS: Final[dict[type, tuple[type, ...]]] = {
    AuthenticateRequested: (Verified, Rejected, *REFUSALS),
    CACertsRequested: (ProvideCACerts, *REFUSALS),
    CSRAttrsRequested: (ProvideCSRAttrs, *REFUSALS),
    NonceUseRequested: (Counted, Replayed, *REFUSALS),
    EnrollRequested: (Issue, Pend, *REFUSALS),
    ReenrollRequested: (Issue, Pend, *REFUSALS),
}


GONE_ON: Final = (Verified, Counted, ProvideCACerts, ProvideCSRAttrs)
WANTED: Final = (*[(*GONE_ON, Issue)] * 8, (*GONE_ON, Pend), ())
"""What is answered by turns; where nothing of that kind fits, whatever fits."""


class ServerMachine(RuleBasedStateMachine):
    """Drives one exchange after another; `question` was taken and is not answered."""

    tally = Tally()
    """Each exchange is a trial; of the answers, those are counted that the rules came to."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange: ServerExchange
        self.now = FIXED_INSTANT

    @initialize(policy=policies(), on=channels(), request=requests())
    def begin(self, policy: ServerPolicy, on: Channel, request: Request) -> None:
        self.tally.begin()
        self.question: ServerEvent | None = None
        self.asked_to_issue = False
        self.verified = self.code_verified = self.uncounted = False
        self.timed_out = False
        self.abandoned = False
        self.settled = False
        self.enforced = False
        self.responses: list[Response] = []
        self.policy, self.request = policy, request
        self.session = ServerSession(policy=policy, channel=on, limits=Limits())
        self.exchange = self.session.receive_request(request, self.now)

    @rule(data=st.data(), chance=st.integers(0, 19))
    def step(self, data: st.DataObject, chance: int) -> None:
        if chance < 14:
            self.go_on(data)
        elif chance < 16:
            self.take()
        elif chance < 18:
            self.decide(data.draw(st.sampled_from(decisions())))
        elif chance < 19:
            self.time_out(late=data.draw(st.booleans()))
        else:
            self.abandon()

    def go_on(self, data: st.DataObject) -> None:
        """What an application does, mostly the good answer; another exchange after the end."""
        self.take()
        if type(self.question) in ANSWERS:
            fitting = ANSWERS[type(self.question)]
            legal = [answer for answer in decisions() if type(answer) in fitting]
            wanted = WANTED[data.draw(st.integers(0, len(WANTED) - 1))]
            good = [answer for answer in legal if isinstance(answer, wanted)]
            self.decide(data.draw(st.sampled_from(good or legal)))
        elif self.is_at_an_end():
            self.bring_to_its_end()
            self.begin(data.draw(policies()), data.draw(channels()), data.draw(requests()))
        elif self.timed_out or self.abandoned:
            self.decide(data.draw(st.sampled_from(decisions())))

    def is_at_an_end(self) -> bool:
        return bool(self.responses or self.abandoned) and not self.exchange.is_open

    def take(self) -> None:
        event = self.exchange.next_event()
        if event is None:
            return
        assert self.exchange.next_event() is None, "one thing at a time"
        assert not self.abandoned
        assert not self.responses
        self.count(event)
        match event:
            case ResponseReady(response=response):
                self.responses.append(response)
                self.question = None
                self.check_response(response)
            case EnrollRequested() | ReenrollRequested():
                self.question, self.asked_to_issue = event, True
                self.check_client(event)
                self.check_csr(event)
            case AuthenticateRequested(credentials=DigestCredentials() as answered):
                self.question, digest = event, self.policy.digest
                assert digest is None or digest.flaw(answered, self.now) is None
            case _:
                self.question = event

    def decide(self, decision: Decision) -> None:
        before = snapshot(self.exchange)
        issued = self.exchange.issued
        try:
            self.exchange.decide(decision)
        except LocalProtocolError:
            assert snapshot(self.exchange) == before
            return
        if self.question is None:
            assert self.timed_out or self.abandoned
            assert self.request.operation in ENROLLMENTS
        else:
            assert type(decision) in ANSWERS[type(self.question)]
        assert not self.settled
        question, self.question = self.question, None
        if isinstance(question, AuthenticateRequested) and isinstance(decision, Verified):
            self.verified = True
            credentials = question.credentials
            self.code_verified |= isinstance(credentials, CodeCredentials)
            self.uncounted |= bool(self.policy.digest) and isinstance(
                credentials, DigestCredentials
            )
            return
        if isinstance(decision, Counted):
            self.uncounted = False
            return
        if isinstance(decision, Challenge) and question is not None:
            self.enforced = False
            return  # the answer, or another question
        if isinstance(question, CSRAttrsRequested) and isinstance(decision, ProvideCSRAttrs):
            self.enforced = question.purpose is CSRAttrsPurpose.ENFORCE
            self.settled = not self.enforced
            return
        self.settled = True
        if isinstance(decision, Issue):
            assert issued is None
            assert self.exchange.issued == decision.certificate
            assert self.exchange.csr is not None
            assert public_key_der(decision.certificate) == self.exchange.csr.spki
            self.tally.reach("issued", *["issued_late"] * (question is None))
            if self.request.operation is SIMPLEREENROLL:
                self.tally.reach("renewed")
        else:
            assert self.exchange.issued is None

    def time_out(self, *, late: bool) -> None:
        before = snapshot(self.exchange)
        if late:
            self.now = max(self.now, self.exchange.deadline, key=lambda now: now.mono)
        was_open = self.exchange.is_open and not self.timed_out and not self.abandoned
        self.exchange.handle_timeout(self.now)
        if self.now.mono < self.exchange.deadline.mono or not was_open:
            assert snapshot(self.exchange) == before
        else:
            self.timed_out, self.question = True, None

    def abandon(self) -> None:
        self.exchange.abandon("connection lost")
        self.abandoned, self.question = True, None
        assert self.exchange.next_event() is None

    def count(self, event: ServerEvent) -> None:
        self.tally.reach(type(event).__name__)
        if isinstance(event, ResponseReady):
            self.tally.reach(event.response.outcome.name)
        if isinstance(event, AuthenticateRequested):
            self.tally.reach(type(event.credentials).__name__)
        if isinstance(event, CSRAttrsRequested):
            self.tally.reach(f"CSRAttrs_{event.purpose.name}")
        if isinstance(event, EnrollRequested | ReenrollRequested):
            self.tally.reach(*["linked"] * event.linked, *["by_ra"] * event.identity.is_ra)

    # What must hold

    def check_client(self, event: EnrollRequested | ReenrollRequested) -> None:
        """RFC 7030 3.2.3, 3.3.2, written a second time."""
        row = self.policy.row(self.request.operation, self.request.label)
        assert row is not None
        on = self.session.channel
        has_certificate = on.trust_class in row.certificate_trust
        by_certificate = has_certificate or on.user is not None
        by_http = self.verified and event.identity.user is not None
        assert not self.uncounted
        assert on.user in (None, event.identity.user)
        assert {
            Authentication.OPEN: True,
            Authentication.CERT: by_certificate,
            Authentication.HTTP: by_http,
            Authentication.CERT_OR_HTTP: by_certificate or by_http,
            Authentication.CERT_AND_HTTP: by_certificate and by_http,
        }[row.authentication]
        assert (event.identity.certificate is not None) == has_certificate
        if isinstance(event, ReenrollRequested):
            self.check_renewed(event)
        if event.identity.is_ra:
            assert row.registration_authorities.lists(on.peer_chain[0])
            assert on.trust_class is TrustClass.EXPLICIT
        assert event.linked or event.identity.is_ra or not row.require_pop
        assert self.enforced == row.enforce_csrattrs

    def check_renewed(self, event: ReenrollRequested) -> None:
        """Whoever asks renews its own, and an RA perhaps another's: RFC 7030 3.7."""
        own = self.session.channel.peer_certificate
        assert own is not None
        if event.identity.is_ra and event.csr.subject != own.subject:
            assert (event.current, event.rekey) == (None, None)
            self.tally.reach("renewal_of_another")
        else:
            assert event.current == own
            assert event.rekey == (public_key_der(own) != event.csr.spki)

    def check_csr(self, event: EnrollRequested | ReenrollRequested) -> None:
        assert event.csr == parse_cert_request(event.csr.der, LIMITS)
        assert signature_is_valid(event.csr)
        binding = self.session.channel.binding
        text = None if binding is None else linking_text(binding)
        assert event.linked == (event.csr.challenge_passwords == (text,))
        if event.csr.challenge_passwords and not event.linked:
            ignored = self.policy.foreign_challenge is ForeignChallenge.IGNORE
            is_code = self.policy.foreign_challenge is ForeignChallenge.CODE and self.code_verified
            assert ignored or is_code or event.identity.is_ra

    def check_response(self, response: Response) -> None:
        operation = self.request.operation
        assert response.operation is operation
        assert response.outcome in operation.outcomes
        if response.outcome is Outcome.CHALLENGE:
            assert response.challenges
        for shape in SHAPES:
            head, body = httpmap.write(response, shape)
            if shape.head_only:
                assert body == b""
                continue
            read = httpmap.read_response(operation, head, body, limits=LIMITS, now=self.now)
            expected = response.outcome
            if operation is CSRATTRS and value_of(response, "fault") is Fault.NOT_FOUND:
                expected = Outcome.NOT_AVAILABLE  # RFC 8951 4: 404 is as good as 204
            assert read.outcome is expected
            for name in ("parts", "retry_after"):
                assert value_of(read, name) == value_of(response, name)
            came, went = (value_of(each, "challenges") or () for each in (read, response))
            assert len(came) == len(went)

    def teardown(self) -> None:
        self.tally = Tally()  # what is done here is not what the rules came to
        if hasattr(self, "exchange"):
            self.bring_to_its_end()

    def bring_to_its_end(self) -> None:
        """Whatever happened, the exchange can be brought to its one answer."""
        for _ in range(4):
            self.take()
            if self.question is not None:
                self.exchange.decide(Fail())
                self.settled, self.question = True, None
        assert len(self.responses) == 1 or (self.abandoned and not self.responses)
        if self.exchange.is_open:
            assert self.asked_to_issue or self.timed_out or self.abandoned


def test_the_server_machine_keeps_its_rules() -> None:
    ServerMachine.tally = tally = Tally()
    run_state_machine_as_test(
        ServerMachine, settings=settings(max_examples=120, stateful_step_count=20, deadline=None)
    )
    tally.require(
        AuthenticateRequested=5,
        CACertsRequested=0.2,
        CHALLENGE=0.1,
        CodeCredentials=0.5,
        DigestCredentials=0.5,
        NonceUseRequested=0.3,
        CSRAttrs_ANSWER=0.1,
        CSRAttrs_ENFORCE=1,
        DENIED=5,
        EnrollRequested=7,
        FAULT=5,
        PENDING=0.1,
        ReenrollRequested=2.5,
        by_ra=0.2,
        issued=9,
        linked=5,
        renewed=1.5,
    )
    tally.require_of("ResponseReady", OK=33.4)


# The table, pair by pair


def asked(operation: Operation, on: Channel) -> ServerExchange:
    """An exchange whose question was taken."""
    request = Request(operation=operation, payload=csr_der(own_key()), credentials=GOOD)
    exchange = receive(request, FIXED_INSTANT, on=on)
    exchange.next_event()
    return exchange


def enforcing() -> ServerExchange:
    row = PolicyRow(
        operation=SIMPLEENROLL,
        authentication=Authentication.CERT,
        enforce_csrattrs=True,
    )
    request = Request(operation=SIMPLEENROLL, payload=csr_der(own_key()))
    policy = ServerPolicy(rows=(row,), challenges=(basic_challenge("est"),))
    exchange = receive(request, FIXED_INSTANT, on=channel(TrustClass.EXPLICIT), policy=policy)
    exchange.next_event()
    return exchange


def counting() -> ServerExchange:
    row = PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.HTTP)
    policy = ServerPolicy(rows=(row,), digest=DIGEST)
    request = Request(
        operation=SIMPLEENROLL, payload=csr_der(own_key()), credentials=digest_answer()
    )
    exchange = receive(request, FIXED_INSTANT, policy=policy)
    exchange.next_event()
    exchange.decide(Verified(user="estuser"))
    exchange.next_event()
    return exchange


def responded() -> ServerExchange:
    exchange = asked(CACERTS, channel())
    exchange.decide(Fail())
    exchange.next_event()
    return exchange


def settling() -> ServerExchange:
    exchange = asked(SIMPLEENROLL, channel(TrustClass.EXPLICIT))
    exchange.handle_timeout(exchange.deadline)
    exchange.next_event()
    return exchange


def abandoned() -> ServerExchange:
    exchange = asked(CACERTS, channel())
    exchange.abandon("connection lost")
    return exchange


REACHED: Final[dict[str, Callable[[], ServerExchange]]] = {
    "authenticating": lambda: asked(SIMPLEENROLL, channel()),
    "counting": counting,
    "answering-cacerts": lambda: asked(CACERTS, channel()),
    "answering-csrattrs": lambda: asked(CSRATTRS, channel()),
    "enforcing": enforcing,
    "deciding": lambda: asked(SIMPLEENROLL, channel(TrustClass.EXPLICIT)),
    "responded": responded,
    "settling": settling,
    "abandoned": abandoned,
}
ONE_OF_EACH: Final = {type(decision): decision for decision in reversed(decisions())}


def test_every_state_is_reached_and_every_decision_known() -> None:
    states = {make()._state for make in REACHED.values()}
    # Nobody can answer in the first: an exchange passes through it as it is made.
    assert states | {ServerState.RECEIVED} == set(ServerState)
    asked = {
        type(exchange._question) for make in REACHED.values() if (exchange := make())._question
    }
    assert set(ONE_OF_EACH) == {each for kind in asked for each in legal_answers(kind)}


@pytest.mark.parametrize(("state", "kind"), list(product(REACHED, ONE_OF_EACH)), ids=str)
def test_a_decision_is_taken_only_where_the_question_has_it(
    state: str, kind: type[Decision]
) -> None:
    exchange = REACHED[state]()
    before = snapshot(exchange)
    question = exchange._question
    if question is not None and kind in legal_answers(type(question)):
        exchange.decide(ONE_OF_EACH[kind])
        assert snapshot(exchange) != before
        return
    with pytest.raises(LocalProtocolError):
        exchange.decide(ONE_OF_EACH[kind])
    assert snapshot(exchange) == before


@pytest.mark.parametrize("state", REACHED)
def test_a_question_that_was_not_taken_cannot_be_answered(state: str) -> None:
    questions = {
        "authenticating": AuthenticateRequested,
        "answering-cacerts": CACertsRequested,
        "answering-csrattrs": CSRAttrsRequested,
        "enforcing": CSRAttrsRequested,
        "deciding": EnrollRequested,
    }
    if state not in questions:
        return
    taken = REACHED[state]()
    untaken = ServerSession(policy=taken._session.policy, channel=taken.channel).receive_request(
        taken.request, FIXED_INSTANT
    )
    with pytest.raises(LocalProtocolError):
        untaken.decide(Fail())
    assert isinstance(untaken.next_event(), questions[state])


@pytest.mark.parametrize("state", REACHED)
def test_a_timeout_before_the_deadline_or_after_the_end_does_nothing(state: str) -> None:
    exchange = REACHED[state]()
    before = snapshot(exchange)
    exchange.handle_timeout(exchange.deadline.after(-0.001))
    assert snapshot(exchange) == before
    exchange.handle_timeout(exchange.deadline)
    ended = {"responded", "settling", "abandoned"}
    assert (snapshot(exchange) == before) == (state in ended)


@pytest.mark.parametrize("state", REACHED)
def test_after_abandoning_no_event_comes(state: str) -> None:
    exchange = REACHED[state]()
    exchange.abandon("connection lost")
    assert exchange.next_event() is None
    exchange.handle_timeout(exchange.deadline)
    assert exchange.next_event() is None
    assert exchange.abandoned == "connection lost"


def test_abandoning_after_a_timeout_drops_the_answer_and_keeps_the_certificate() -> None:
    exchange = asked(SIMPLEENROLL, channel(TrustClass.EXPLICIT))
    exchange.handle_timeout(exchange.deadline)
    exchange.abandon("connection lost")
    assert exchange.next_event() is None
    assert exchange.abandoned == "connection lost"
    late = ONE_OF_EACH[Issue]
    assert isinstance(late, Issue)
    exchange.decide(late)
    assert exchange.issued == late.certificate
    assert exchange.next_event() is None


def test_a_delay_that_no_wire_can_carry_is_no_decision() -> None:
    for delay_s in (0, -1, 2**31 + 1, 1.5, timedelta(minutes=1).total_seconds(), "60", None):
        with pytest.raises(LocalProtocolError):
            Pend(retry_after_s=delay_s)  # type: ignore[arg-type]  # which is the point
        with pytest.raises(LocalProtocolError):
            Postpone(retry_after_s=delay_s)  # type: ignore[arg-type]
    assert Pend(retry_after_s=2**31).retry_after_s == 2**31


@pytest.mark.parametrize("user", [None, b"device", 7])
def test_who_is_verified_has_a_name(user: object) -> None:
    with pytest.raises(LocalProtocolError):
        Verified(user=user)  # type: ignore[arg-type]  # which is the point


@pytest.mark.parametrize("value", [0, -1, 1.5, None])
def test_a_limit_is_a_positive_whole_number(value: object) -> None:
    with pytest.raises(LocalProtocolError, match="retry_after_default_s"):
        Limits(retry_after_default_s=value)  # type: ignore[arg-type]
