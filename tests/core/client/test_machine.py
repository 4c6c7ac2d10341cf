"""The client machine under any sequence of calls, legal or not, and any answers.

What must hold whatever happens is written beside the events as they are taken: only
LocalProtocolError escapes and then nothing has changed, one thing is waited for at a time,
credentials and linked CSRs go to the right channel only, a server that nobody has verified gets
one bare /cacerts and no more, and everything is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Final

from cryptography import x509
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthChallenge,
    BearerCredentials,
    CACertsReceived,
    Channel,
    ChannelBinding,
    ClientEvent,
    ClientExchange,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    CSRAttrsReceived,
    Enrolled,
    Failed,
    Fault,
    Limits,
    LocalProtocolError,
    Login,
    MalformedCredentials,
    Operation,
    Outcome,
    Part,
    Password,
    Pending,
    PopMode,
    RedirectRequested,
    RemoteProtocolError,
    Response,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TlsVersion,
    TrustClass,
    TrustDecisionRequested,
)
from est_core.asn1.attributes import challenge_attribute
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.asn1.pkcs10 import (
    CertRequest,
    CertRequestInfo,
    parse_cert_request,
    signature_is_valid,
)
from est_core.checks.pop import linking_text, linking_values
from est_core.testing import FIXED_INSTANT
from tests.answers import response_of
from tests.application import GOOD, WRONG, issue
from tests.core.asn1.build import IDENTITY_LINKING, vector
from tests.core.cast import BINDING, EXPORTER, csr_der, info, server_channel, signer, spki
from tests.core.client_cast import (
    BASIC,
    DEMANDING,
    URI,
    challenged,
    ok,
    own_key,
    ra_server,
    redirected,
)
from tests.pki import new_key, pki
from tests.reached import Tally

LIMITS: Final = Limits(connects=5, redirects=2, credential_tries=2)
OTHER: Final = ChannelBinding(kind=BINDING.kind, data=b"other finish")
RESULTS: Final = (CACertsReceived, CSRAttrsReceived, Enrolled, Failed)

LEGAL: Final[dict[type, frozenset[str]]] = {
    ConnectRequested: frozenset({"connected", "connect_failed"}),
    SignatureRequested: frozenset({"provide_signature", "connection_lost"}),
    SendRequest: frozenset({"receive_response", "receive_fault", "connection_lost"}),
    CredentialsRequested: frozenset({"provide_credentials"}),
    RedirectRequested: frozenset({"provide_redirect"}),
    TrustDecisionRequested: frozenset({"provide_trust"}),
    RetryLater: frozenset({"handle_timeout"}),
    **{kind: frozenset() for kind in RESULTS},
}
"""What may be told once the last event was of that kind: exactly one thing is waited for."""


CALLS: Final = sorted(frozenset().union(*LEGAL.values()))


def channels(*, authorised_times: int) -> st.SearchStrategy[Channel]:
    bindings: dict[TlsVersion, tuple[ChannelBinding | None, ...]] = {
        TlsVersion.TLS_1_2: (BINDING, OTHER, None),
        TlsVersion.TLS_1_3: (None, EXPORTER),
        TlsVersion.DTLS_1_2: (BINDING, None),
    }
    servers = (pki().server, ra_server())
    authorised = [
        replace(server_channel(version=version), binding=binding)
        for version, possible in bindings.items()
        for binding in possible
    ]
    doubtful = [
        replace(
            server_channel(trust=trust, server=server, name_matches=name_matches),
            binding=BINDING,
        )
        for trust in TrustClass
        for server in servers
        for name_matches in (True, False)
    ]
    return st.sampled_from([*authorised * authorised_times, *doubtful])


def is_authorised(channel: Channel) -> bool:
    """RFC 7030 3.6, written a second time."""
    if channel.trust_class is TrustClass.IMPLICIT:
        return channel.name_matches
    ra = channel.peer_chain[:1] == ra_server().chain[:1]
    return channel.trust_class is TrustClass.EXPLICIT and (channel.name_matches or ra)


@cache
def contents() -> tuple[bytes, ...]:
    return (
        write_certs_only([issue(spki(own_key()))]),
        write_certs_only([issue(spki(new_key())), issue(spki(own_key()))]),
        write_certs_only([pki().ca.certificate]),
        vector("rfc7030/a1-cacerts-response.der"),
        vector("rfc9908/s5.5-p384.der"),
        b"\x30\x00",
    )


@cache
def good_content(operation: Operation) -> bytes:
    match operation:
        case _ if operation is CACERTS:
            return contents()[2]
        case _ if operation is CSRATTRS:
            return contents()[4]
        case _:
            return contents()[0]


LOCATIONS: Final = st.sampled_from(
    [
        *(f"/.well-known/est/{operation.name}" for operation in OPERATIONS),
        *(f"https://other.example/.well-known/est/{operation.name}" for operation in OPERATIONS),
        "http://est.example/.well-known/est/cacerts",
        "https://est.example/",
    ]
) | st.text(max_size=30)


@st.composite
def responses(draw: st.DrawFn, operation: Operation, *, provisional: bool) -> Response:
    """Mostly what a server answers that keeps to the rules, the rest whatever there is."""
    turn = draw(st.integers(0, 99))
    if turn < (70 if provisional else 40):
        return ok(operation, good_content(operation))
    if turn < 57 and not provisional:
        host = draw(st.sampled_from(["https://other.example", "https://third.example", ""]))
        return redirected(operation, f"{host}/.well-known/est/{operation.name}")
    if turn < 70:
        return challenged(operation)
    if turn < 90 and Outcome.PENDING in operation.outcomes:
        retry_after = draw(st.sampled_from([None, 5, 3600]))
        return Pending(operation=operation, retry_after=retry_after)
    return draw(any_responses(operation))


@st.composite
def any_responses(draw: st.DrawFn, operation: Operation) -> Response:
    outcome = draw(st.sampled_from(Outcome))
    named = draw(st.sampled_from([operation] * 9 + [CACERTS]))
    der = draw(st.sampled_from(contents()) | st.binary(max_size=64))
    kind = draw(st.sampled_from([operation.parts[0].kind] * 9 + ["certs-only", "csrattrs"]))
    return response_of(
        outcome,
        named,
        parts=(Part(kind=kind, content=der),),
        retry_after=draw(
            st.none()
            | st.integers(-5, 2**33)
            | st.timedeltas(timedelta(days=-(2**15)), timedelta(days=2**15)).map(
                lambda distance: FIXED_INSTANT.wall + distance
            )
        ),
        challenges=draw(st.sampled_from([(BASIC,), (BASIC, AuthChallenge(scheme="X")), ()])),
        fault=draw(st.sampled_from(list(Fault))),
        location=draw(LOCATIONS),
        reason=draw(st.sampled_from(["", "no"])),
    )


FOREIGN: Final[dict[str, Callable[[], CertRequest]]] = {
    "unlinked": cache(lambda: parse_cert_request(csr_der(own_key()), LIMITS)),
    "linked": cache(
        lambda: parse_cert_request(csr_der(own_key(), challenge=linking_text(BINDING)), LIMITS)
    ),
}


def wanted_info(stale: bool) -> CertRequestInfo:
    """What is to be signed, perhaps with what is left from another channel."""
    wanted = info(own_key())
    if not stale:
        return wanted
    text = linking_text(OTHER)
    return wanted.with_challenge_password(text).with_attribute(
        challenge_attribute(IDENTITY_LINKING, text)
    )


ATTRIBUTES: Final = (
    *(None, DEMANDING, parse_csrattrs(b"\x30\x00", LIMITS)),
    parse_csrattrs(vector("rfc7894/DERIVED-csrattrs-linking-both.der"), LIMITS),
)
PASSWORD: Final = Password(user=GOOD.user, password=GOOD.password)
CREDENTIALS: Final = st.sampled_from(
    [
        GOOD,
        GOOD,
        PASSWORD,
        WRONG,
        None,
        BearerCredentials(token="t"),
        MalformedCredentials(code="a/b", message=""),
    ]
)


def csr_state(exchange: ClientExchange) -> list[tuple[str, object]]:
    """What the exchange's CSR remembers, if there is one."""
    csr = vars(exchange)["_csr"]
    return [] if csr is None else list(vars(csr).items())


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an exchange starts with."""

    operation: Operation
    bootstrap: bool
    csr: str
    pop: PopMode
    csrattrs: CsrAttrs | None
    credentials: Login | None
    max_version: TlsVersion | None


SETUPS: Final = st.builds(
    Setup,
    operation=st.sampled_from([CACERTS, CSRATTRS, *[SIMPLEENROLL] * 3] + [SIMPLEREENROLL] * 3),
    bootstrap=st.sampled_from([False, False, True]),
    csr=st.sampled_from(["info", "info", "info", "stale info", *FOREIGN]),
    pop=st.sampled_from([PopMode.AUTO, *PopMode]),
    csrattrs=st.sampled_from([None, *ATTRIBUTES]),
    credentials=st.sampled_from([None, GOOD, PASSWORD]),
    max_version=st.sampled_from([None, None, TlsVersion.TLS_1_2, TlsVersion.TLS_1_3]),
)


class ClientMachine(RuleBasedStateMachine):
    """Drives one exchange after another; `last` is the event taken last, None before the first."""

    tally = Tally()
    """Each exchange is a trial."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange: ClientExchange
        self.now = FIXED_INSTANT

    @initialize(setup=SETUPS)
    def begin(self, setup: Setup) -> None:
        bootstrap = setup.bootstrap
        operation = CACERTS if bootstrap else setup.operation
        session = ClientSession(
            URI,
            trust=() if bootstrap else (pki().ca.certificate,),
            identity=pki().client.certificate,
            credentials=setup.credentials,
            pop=setup.pop,
            max_version=setup.max_version,
            limits=LIMITS,
        )
        self.tally.begin()
        self.last: ClientEvent | None = None
        self.queued = True
        self.channel: Channel | None = None
        self.origin = URI.origin
        self.connects = self.refusals = 0
        self.answered = self.now
        self.bootstrap = self.provisional = bootstrap
        self.given = setup.credentials
        self.cap = setup.max_version
        csr = setup.csr
        subject = FOREIGN[csr]() if csr in FOREIGN else wanted_info(csr == "stale info")
        self.never = setup.pop is PopMode.NEVER and csr not in FOREIGN
        match operation:
            case _ if operation is CACERTS:
                self.exchange = session.cacerts(bootstrap=bootstrap)
            case _ if operation is CSRATTRS:
                self.exchange = session.csrattrs()
            case _ if operation is SIMPLEENROLL:
                self.exchange = session.enroll(subject, csrattrs=setup.csrattrs)
            case _ if operation is SIMPLEREENROLL:
                self.exchange = session.reenroll(subject, csrattrs=setup.csrattrs)

    # What is told

    def tell(self, name: str, call: Callable[[], None]) -> bool:
        """Call; True if it was accepted. A refused call must have left everything as it was."""
        before = self.snapshot()
        try:
            call()
        except LocalProtocolError:
            assert self.snapshot() == before, name
            return False
        legal = LEGAL[type(self.last)] if self.last is not None and not self.queued else ()
        assert name in legal, f"{name} after {self.last}"
        self.queued = True
        return True

    def snapshot(self) -> dict[str, object]:
        state = vars(self.exchange)
        state = state | {f"csr {name}": value for name, value in csr_state(self.exchange)}
        return {
            name: tuple(value) if isinstance(value, deque) else value
            for name, value in state.items()
        }

    def connected(self, channel: Channel) -> None:
        if self.tell("connected", lambda: self.exchange.connected(channel)):
            assert isinstance(self.last, ConnectRequested)
            allowed = self.last.max_version
            assert allowed is None or not channel.version.is_above(allowed)
            self.channel = channel
            self.provisional = self.last.provisional and not is_authorised(channel)
            heeded = is_authorised(channel) or self.provisional
            assert heeded or isinstance(self.exchange.result, Failed)

    def connect_failed(self) -> None:
        self.tell("connect_failed", lambda: self.exchange.connect_failed("connect/refused", "no"))

    def connection_lost(self, sent: bool) -> None:
        self.tell("connection_lost", lambda: self.exchange.connection_lost(sent=sent))

    def provide_signature(self, right: bool, garbage: bytes) -> None:
        question = self.last
        signature = garbage
        if right and isinstance(question, SignatureRequested):
            signature = signer(own_key())(question)
        accepted = self.tell(
            "provide_signature", lambda: self.exchange.provide_signature(signature)
        )
        assert not accepted or right

    def receive_response(self, response: Response) -> None:
        asked = self.last
        if not self.tell(
            "receive_response", lambda: self.exchange.receive_response(response, self.now)
        ):
            return
        self.answered = self.now
        assert response.operation is self.exchange.operation
        assert isinstance(asked, SendRequest)
        if response.outcome is Outcome.CHALLENGE:
            self.refusals += asked.request.credentials is not None
        if response.outcome is Outcome.PENDING:
            self.refusals = 0

    def receive_fault(self) -> None:
        error = RemoteProtocolError("body/base64", "not base64")
        self.tell("receive_fault", lambda: self.exchange.receive_fault(error))

    def provide_credentials(self, credentials: Login | None) -> None:
        if self.tell("provide_credentials", lambda: self.exchange.provide_credentials(credentials)):
            assert not isinstance(credentials, MalformedCredentials)
            self.given = credentials

    def provide_redirect(self, follow: bool) -> None:
        asked = self.last
        if self.tell("provide_redirect", lambda: self.exchange.provide_redirect(follow=follow)):
            assert isinstance(asked, RedirectRequested)
            assert follow or isinstance(self.exchange.result, Failed)
            if follow:
                self.origin, self.given = asked.uri.origin, None

    def provide_trust(self, anchors: tuple[x509.Certificate, ...]) -> None:
        asked = self.last
        if self.tell("provide_trust", lambda: self.exchange.provide_trust(anchors)):
            assert isinstance(asked, TrustDecisionRequested)
            assert set(anchors) <= set(asked.candidates)
            result = self.exchange.result
            if anchors:
                assert isinstance(result, CACertsReceived)
                assert result.trusted == tuple(dict.fromkeys(anchors))
            else:
                assert isinstance(result, Failed)

    def handle_timeout(self, late: bool) -> None:
        if late and self.exchange.resume_at is not None:
            self.now = max(self.now, self.exchange.resume_at, key=lambda now: now.mono)
        at = self.exchange.resume_at
        due = at is not None and self.now.mono >= at.mono
        before = self.snapshot()
        if self.tell("handle_timeout", lambda: self.exchange.handle_timeout(self.now)):
            if due:
                self.connects = 0
            else:
                assert self.snapshot() == before
                self.queued = False

    @rule(data=st.data(), chance=st.integers(0, 9))
    def step(self, data: st.DataObject, chance: int) -> None:
        """One rule and not many: hypothesis switches off some rules for whole runs."""
        if chance < 7:
            self.go_on(data)
        elif chance < 9:
            name = data.draw(st.sampled_from(CALLS))
            self.call(name, data, right=data.draw(st.booleans()))
        else:
            self.take()

    def go_on(self, data: st.DataObject) -> None:
        """Something legal, so that long exchanges are seen too; another one after the end."""
        if self.queued:
            self.take()
        if isinstance(self.last, RESULTS):
            self.begin(data.draw(SETUPS))
            return
        legal = LEGAL[type(self.last)] - {"connect_failed", "receive_fault"}
        if legal:
            fatal = legal & {"connection_lost"}
            names = [*sorted(legal - fatal) * 9, *fatal]
            self.call(data.draw(st.sampled_from(names)), data, right=True)

    def call(self, name: str, data: st.DataObject, *, right: bool) -> None:
        match name:
            case "connected":
                self.connected(data.draw(channels(authorised_times=1 if self.bootstrap else 20)))
            case "connect_failed":
                self.connect_failed()
            case "connection_lost":
                self.connection_lost(sent=data.draw(st.booleans()))
            case "provide_signature":
                self.provide_signature(right, data.draw(st.binary(max_size=80)))
            case "receive_response":
                self.receive_response(self.draw_response(data))
            case "receive_fault":
                self.receive_fault()
            case "provide_credentials":
                self.provide_credentials(data.draw(CREDENTIALS))
            case "provide_redirect":
                self.provide_redirect(follow=right)
            case "provide_trust":
                self.provide_trust(self.draw_anchors(data))
            case "handle_timeout":
                self.handle_timeout(late=right)
            case _:
                raise AssertionError(name)

    def draw_response(self, data: st.DataObject) -> Response:
        return data.draw(responses(self.exchange.operation, provisional=self.provisional))

    def draw_anchors(self, data: st.DataObject) -> tuple[x509.Certificate, ...]:
        """Some of the candidates, and now and then a certificate that is none."""
        known = self.last.candidates if isinstance(self.last, TrustDecisionRequested) else ()
        possible = st.sampled_from([*known * 5, pki().rogue.certificate])
        return tuple(data.draw(st.lists(possible, max_size=2)))

    # What is asked

    def take(self) -> None:
        event = self.exchange.next_event()
        assert (event is not None) == self.queued, event
        if event is None:
            return
        assert self.exchange.next_event() is None, "one thing at a time"
        self.last, self.queued = event, False
        self.count(event)
        match event:
            case ConnectRequested():
                self.connects += 1
                assert self.connects <= LIMITS.connects
                assert event.uri.origin == self.origin
                assert self.cap is None or event.max_version is not None
                assert self.bootstrap or not event.provisional
                assert (event.identity is None) == event.provisional
                assert event.idempotent == (self.exchange.operation.method == "GET")
            case SendRequest():
                self.check_sending(event)
            case CredentialsRequested():
                assert not self.provisional
                assert event.challenges or (self.given is None and self.origin == URI.origin)
                assert self.refusals < LIMITS.credential_tries
                assert event.attempt == self.refusals + 1
            case RedirectRequested():
                assert not self.provisional
                assert event.uri.origin != self.origin
                assert event.uri.scheme == URI.scheme
            case TrustDecisionRequested():
                assert self.provisional
                assert event.channel is self.channel
                assert event.candidates
                assert set(event.candidates) <= set(event.certificates)
            case RetryLater():
                assert event.at == self.exchange.resume_at
                assert event.at.mono >= self.answered.mono + LIMITS.retry_after_min_s
            case SignatureRequested():
                assert self.channel is not None
            case _:
                assert event is self.exchange.result

    def count(self, event: ClientEvent) -> None:
        self.tally.reach(type(event).__name__)
        if isinstance(event, RESULTS[:3]):
            self.tally.reach("good_result")
        if isinstance(event, Enrolled) and self.exchange.operation is SIMPLEREENROLL:
            self.tally.reach("renewed")
        if isinstance(event, RESULTS[:3]) and self.origin != URI.origin:
            self.tally.reach("good_result_elsewhere")

    def check_sending(self, event: SendRequest) -> None:
        channel = event.channel
        assert channel is self.channel
        assert is_authorised(channel) or self.provisional
        assert event.uri.origin == self.origin
        credentials = event.request.credentials
        if isinstance(self.given, Password) and not self.provisional:
            assert credentials in (None, GOOD)
        else:
            assert credentials == (None if self.provisional else self.given)
        payload = event.request.payload
        assert isinstance(payload, bytes)
        if self.exchange.operation.http_row.request_type is None:
            assert payload == b""
            return
        csr = parse_cert_request(payload, LIMITS)
        assert csr.spki == spki(own_key())
        assert signature_is_valid(csr)
        values = linking_values(csr)
        assert not (self.never and values)
        if values:
            assert channel.binding is not None
            assert values == (linking_text(channel.binding),)

    @precondition(lambda self: hasattr(self, "exchange"))
    @invariant()
    def a_result_is_the_end(self) -> None:
        result = self.exchange.result
        if not self.queued:
            assert (result is not None) == isinstance(self.last, RESULTS)
        if isinstance(result, CACertsReceived):
            assert bool(result.trusted) == self.provisional
        if isinstance(result, Enrolled):
            assert self.exchange.operation in (
                SIMPLEENROLL,
                SIMPLEREENROLL,
            )


def test_the_client_machine_keeps_its_rules() -> None:
    ClientMachine.tally = tally = Tally()
    run_state_machine_as_test(
        ClientMachine, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
    tally.require(
        good_result=33.4,
        CACertsReceived=8,
        CSRAttrsReceived=0.5,
        Enrolled=5,
        Failed=8,
        CredentialsRequested=0.5,
        RedirectRequested=0.4,
        RetryLater=0.4,
        SignatureRequested=6,
        TrustDecisionRequested=1.5,
        good_result_elsewhere=0.1,
        renewed=2,
    )
