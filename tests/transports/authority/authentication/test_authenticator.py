"""Credentials judged by the reference CA: each scheme, what is good, wrong, spent or run out."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthenticateRequested,
    BasicCredentials,
    BearerCredentials,
    Challenge,
    Channel,
    ClientIdentity,
    CodeCredentials,
    CodeSource,
    Counted,
    Credentials,
    Decision,
    Deny,
    DigestAlgorithm,
    DigestCredentials,
    EnrollRequested,
    Fail,
    Instant,
    Issue,
    Label,
    LocalProtocolError,
    NonceUseRequested,
    Operation,
    Postpone,
    Rejected,
    Replayed,
    Request,
    ServerPolicy,
    ServerSession,
    TlsVersion,
    Verified,
    default_policy,
)
from est_core.asn1.attributes import Attribute, challenge_attribute
from est_core.auth.digest import digest_answer, digest_secret
from est_core.testing import FIXED_INSTANT
from est_transports.authority.application import Authority
from est_transports.authority.authentication.authenticator import Authenticator, Scheme
from est_transports.authority.authentication.back_off import BackOff, BackOffLimits
from est_transports.authority.authentication.codes import KnownCode
from est_transports.authority.authentication.server_secret import new_code, new_token
from est_transports.authority.stores import (
    CodeRecord,
    CodeSpent,
    IssuedRecord,
    Store,
    StoreBusy,
    StoreError,
    TokenRecord,
    UserRecord,
)
from est_transports.authority.stores.digest_records import digest_record
from est_transports.authority.stores.passwords import PasswordChecks, hash_password
from est_transports.authority.stores.sqlite import SqliteStore
from tests.core.auth.test_digest import answer as digest_answered
from tests.core.auth.test_digest import scheme as digest_scheme
from tests.core.echo import ECHO
from tests.transports.ca_fakes import (
    NOW,
    SECRET,
    MemoryStore,
    dns,
    ec_key,
    key_usage,
    make_authenticator,
    make_ca,
    name,
    request,
)

PASSWORD: Final = "correct horse"
CODE: Final = new_code(lambda size: bytes(range(size)))
TOKEN: Final = new_token(lambda size: bytes(range(size)))
LABEL: Final = Label("web")
WEEK: Final = timedelta(days=7)
CHALLENGE_PASSWORD: Final = "1.2.840.113549.1.9.7"
LINKING: Final = "1.2.840.113549.1.9.16.2.58"
CHANNEL: Final = Channel(version=TlsVersion.TLS_1_3)


def a_store() -> MemoryStore:
    """Knows alice by a password, device-1 by a code, and sensor by a token."""
    store = MemoryStore()
    store.add_user(
        "alice",
        hash_password(PASSWORD, bytes(16)),
        digest_record=digest_record("alice", "est", PASSWORD),
    )
    store.add_codes([code()])
    store.add_token(token())
    return store


def code(**changed: object) -> CodeRecord:
    digest = SECRET.code_digest(CODE)
    assert digest is not None
    values: dict[str, object] = {
        "name": "device-1",
        "digest": digest,
        "created_at": NOW,
        "expires_at": NOW + WEEK,
    }
    return CodeRecord(**{**values, **changed})  # type: ignore[arg-type]  # what a test changes


def token(**changed: object) -> TokenRecord:
    values: dict[str, object] = {
        "name": "sensor",
        "digest": SECRET.token_digest(TOKEN),
        "created_at": NOW,
    }
    return TokenRecord(**{**values, **changed})  # type: ignore[arg-type]  # what a test changes


def asked(
    credentials: Credentials, label: Label | None = None, operation: Operation = SIMPLEENROLL
) -> AuthenticateRequested:
    return AuthenticateRequested(
        operation=operation, label=label, credentials=credentials, channel=CHANNEL
    )


def judged(authenticator: Authenticator, question: AuthenticateRequested) -> Decision:
    decision = authenticator.authenticate(question)
    return decision.result(timeout=30) if isinstance(decision, Future) else decision


def basic(user: str, password: str) -> BasicCredentials:
    return BasicCredentials(user=user, password=password)


def in_csr(text: str) -> CodeCredentials:
    return CodeCredentials(code=text, source=CodeSource.OTP_CHALLENGE)


def digest(
    user: str = "alice",
    password: str = PASSWORD,
    realm: str = "est",
    algorithm: DigestAlgorithm = DigestAlgorithm.SHA_256,
) -> DigestCredentials:
    given = {
        "realm": realm,
        "nonce": "n",
        "uri": "/",
        "algorithm": algorithm.value,
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "c",
    }
    draft = DigestCredentials(user=user, parameters=tuple(given.items()), method="POST")
    response = digest_answer(digest_secret(algorithm, user, realm, password), draft)
    return DigestCredentials(
        user=user, parameters=(*given.items(), ("response", response)), method="POST"
    )


# Which scheme judges what


ONE_OF_EACH: Final[dict[Scheme, tuple[Credentials, ...]]] = {
    Scheme.BASIC: (basic("alice", PASSWORD),),
    Scheme.DIGEST: (digest(),),
    Scheme.BEARER: (BearerCredentials(token=TOKEN),),
    Scheme.OTP: (basic("device-1", CODE), in_csr(CODE)),
}


@pytest.mark.parametrize("scheme", Scheme, ids=lambda scheme: scheme.value)
def test_a_scheme_takes_its_own_credentials_and_no_others(scheme: Scheme) -> None:
    authenticator = make_authenticator(a_store(), scheme)
    for kind, some in ONE_OF_EACH.items():
        for credentials in some:
            decision = judged(authenticator, asked(credentials))
            if kind is scheme:
                assert isinstance(decision, Verified), kind
            else:
                assert decision == Rejected(), kind


@pytest.mark.parametrize("scheme", [Scheme.BASIC, Scheme.OTP])
def test_a_verifier_of_tokens_is_asked_only_where_tokens_are_taken(scheme: Scheme) -> None:
    def verify(question: AuthenticateRequested, text: str) -> Decision:
        return Verified(user=text)

    authenticator = make_authenticator(a_store(), scheme, verify_token=verify)
    assert judged(authenticator, asked(BearerCredentials(token=TOKEN))) == Rejected()


def test_all_schemes_at_once_take_what_each_takes() -> None:
    authenticator = make_authenticator(a_store(), *Scheme)
    for some in ONE_OF_EACH.values():
        for credentials in some:
            assert isinstance(judged(authenticator, asked(credentials)), Verified)
    assert judged(authenticator, asked(basic("alice", "guess"))) == Rejected()


@pytest.mark.parametrize("scheme", [Scheme.BEARER, Scheme.OTP])
def test_what_is_looked_up_by_a_keyed_hash_needs_the_key(scheme: Scheme) -> None:
    assert scheme.needs_secret
    with pytest.raises(LocalProtocolError, match="secret"):
        make_authenticator(a_store(), scheme, secret=None)


def test_passwords_need_no_key() -> None:
    assert not Scheme.BASIC.needs_secret
    authenticator = make_authenticator(a_store(), Scheme.BASIC, secret=None)
    assert judged(authenticator, asked(basic("alice", PASSWORD))) == Verified(user="alice")


def test_a_password_that_could_be_a_code_is_held_back_as_others_are() -> None:
    back_off = BackOff(BackOffLimits(per_user=1))
    authenticator = make_authenticator(a_store(), *Scheme, back_off=back_off)
    chance = (bytes([byte]) for byte in b"xyz")
    guesses = [new_code(lambda size: next(chance) * size) for _ in range(3)]
    found = [judged(authenticator, asked(basic("alice", guess))) for guess in guesses]
    assert found[0] == Rejected()
    for each in found[1:]:
        assert isinstance(each, Postpone)
        assert each.code == "auth/throttled"


class Wrong(MemoryStore):
    """Raises what no store should, where one of these is asked for."""

    wrong = ""

    def find_user(self, name: str) -> UserRecord | None:
        if self.wrong == "users":
            raise ZeroDivisionError
        return super().find_user(name)

    def find_code(self, digest: bytes) -> CodeRecord | None:
        if self.wrong == "codes":
            raise ZeroDivisionError
        return super().find_code(digest)


@pytest.mark.parametrize(
    ("wrong", "schemes"),
    [
        ("users", (Scheme.BASIC,)),
        ("users", (Scheme.BASIC, Scheme.OTP)),
        ("codes", (Scheme.BASIC, Scheme.OTP)),
    ],
)
def test_a_bug_reaches_who_waits_for_the_decision(wrong: str, schemes: tuple[Scheme, ...]) -> None:
    store = Wrong()
    store.wrong = wrong
    another = new_code(lambda size: b"x" * size)
    with pytest.raises(ZeroDivisionError):
        judged(make_authenticator(store, *schemes), asked(basic("alice", another)))


def test_too_many_passwords_at_once_are_put_off(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()

    class Slow(MemoryStore):
        def find_user(self, name: str) -> UserRecord | None:
            gate.wait(30)
            return super().find_user(name)

    passwords = PasswordChecks(at_once=1, waiting_max=0, known_max=0)
    authenticator = make_authenticator(Slow(), Scheme.BASIC, passwords=passwords)
    first, second = (
        authenticator.authenticate(asked(basic(user, "guess"))) for user in ("alice", "bob")
    )
    assert isinstance(second, Future)
    assert second.result(timeout=30) == Postpone(retry_after_s=2)
    assert "too busy with passwords" in caplog.text
    gate.set()
    assert isinstance(first, Future)
    assert first.result(timeout=30) == Rejected()


# Digest


@pytest.mark.req("EST-047")
@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_the_right_answer_verifies_its_user(algorithm: DigestAlgorithm) -> None:
    authenticator = make_authenticator(a_store(), Scheme.DIGEST)
    assert judged(authenticator, asked(digest(algorithm=algorithm))) == Verified(user="alice")
    wrong = digest(password="guess", algorithm=algorithm)
    assert judged(authenticator, asked(wrong)) == Rejected()


def test_an_unknown_user_is_rejected_as_a_wrong_password_is() -> None:
    authenticator = make_authenticator(a_store(), Scheme.DIGEST)
    assert judged(authenticator, asked(digest(user="nobody"))) == Rejected()


@pytest.mark.parametrize("record", [None, digest_record("alice", "another", PASSWORD)])
def test_a_user_without_a_secret_for_the_realm_is_told_to_the_operator(
    record: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = a_store()
    store.add_user("alice", "-", digest_record=record, replace=True)
    decision = judged(make_authenticator(store, Scheme.DIGEST), asked(digest()))
    assert decision == Challenge(code="auth/no-digest-secret")
    assert "alice" in caplog.text


def test_a_damaged_record_is_a_failure_and_lets_nobody_in() -> None:
    whole = digest_record("alice", "est", PASSWORD)
    for damaged in (
        "digest1$?$",
        whole.replace("SHA-512-256", "SHA-3"),
        whole[:-1],  # a digit less
        whole.replace(base64.b64encode(b"est").decode(), "/w=="),  # no UTF-8
        whole.replace(base64.b64encode(b"est").decode(), "ZXN"),  # no base64
    ):
        assert damaged != whole
        store = a_store()
        store.add_user("alice", "-", digest_record=damaged, replace=True)
        decision = judged(make_authenticator(store, Scheme.DIGEST), asked(digest()))
        assert decision == Fail(code="server/store")


def test_what_is_read_in_place_of_a_secret_lets_nobody_in() -> None:
    """A user who has none for the algorithm costs what others cost, and everybody knows by what."""
    given = {"realm": "est", "nonce": "n", "uri": "/", "algorithm": "SHA-256", "qop": "auth"}
    parameters = (*given.items(), ("nc", "00000001"), ("cnonce", "c"))
    draft = DigestCredentials(user="alice", parameters=parameters, method="POST")
    answer = ("response", digest_answer("0" * 64, draft))
    credentials = replace(draft, parameters=(*parameters, answer))
    store = a_store()
    store.add_user("alice", "-", digest_record=f"digest1$ZXN0$MD5:{'0' * 32}", replace=True)
    authenticator = make_authenticator(store, Scheme.DIGEST)
    assert judged(authenticator, asked(credentials)) == Challenge(code="auth/no-digest-secret")
    unknown = replace(credentials, user="nobody")
    assert judged(authenticator, asked(unknown)) == Rejected()


@pytest.mark.req("EST-049")
def test_a_count_is_taken_once() -> None:
    authority = an_authority(a_store())
    question = NonceUseRequested(
        label=None, channel=CHANNEL, nonce="n", count=2, expires_at=NOW + timedelta(minutes=5)
    )
    assert authority.use_nonce(question) == Counted()
    assert authority.use_nonce(question) == Replayed()


@pytest.mark.req("EST-049")
@pytest.mark.parametrize("kind", [MemoryStore, SqliteStore])
@pytest.mark.parametrize(("came_s", "took_s"), [(0, 0), (299, 2), (299.9, 60), (299.9, 115)])
def test_an_answer_that_comes_at_the_last_moment_of_its_nonce_is_no_less_a_replay(
    kind: type[Store], came_s: float, took_s: float, tmp_path: Path
) -> None:
    store = MemoryStore() if kind is MemoryStore else SqliteStore.create(tmp_path / "est.db")
    since = [0.0]
    authority = an_authority(store, lambda: FIXED_INSTANT.after(since[0]).wall)
    by = ServerPolicy(rows=default_policy().rows, digest=digest_scheme())
    session = ServerSession(policy=by, channel=CHANNEL)
    answered = Request(
        operation=SIMPLEENROLL, payload=request().der, credentials=digest_answered(digest_scheme())
    )

    def counted() -> Decision:
        """What is decided on the nonce of an answer that has just come."""
        exchange = session.receive_request(answered, FIXED_INSTANT.after(since[0]))
        assert isinstance(exchange.next_event(), AuthenticateRequested)
        exchange.decide(Verified(user="alice"))
        question = exchange.next_event()
        assert isinstance(question, NonceUseRequested)
        since[0] += took_s
        return authority.use_nonce(question)

    assert counted() == Counted()
    since[0] = came_s
    assert counted() == Replayed()
    store.close()


class Broken(MemoryStore):
    error: StoreError = StoreError("the disk is full")

    def count_nonce(self, nonce: str, count: int, *, expires_at: datetime, now: datetime) -> bool:
        raise self.error

    def find_user(self, name: str) -> UserRecord | None:
        raise self.error

    def find_token(self, digest: bytes) -> TokenRecord | None:
        raise self.error

    def find_code(self, digest: bytes) -> CodeRecord | None:
        raise self.error

    def find_code_use(self, digest: bytes, request: bytes) -> IssuedRecord | None:
        raise self.error


class SpentMeanwhile(MemoryStore):
    """Its code is spent while a certificate is made, and then it says no more of what for."""

    error: StoreError = StoreError("the disk is full")
    is_spent = False

    def find_code_use(self, digest: bytes, request: bytes) -> IssuedRecord | None:
        if self.is_spent:
            raise self.error
        return super().find_code_use(digest, request)

    def record_certificate(self, record: IssuedRecord, **_others: object) -> None:
        self.is_spent = True
        raise CodeSpent("no use left")


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (StoreError("the disk is full"), Fail(code="server/store")),
        (StoreBusy("too many"), Postpone(retry_after_s=2)),
    ],
    ids=["broken", "busy"],
)
def test_a_store_in_trouble_lets_nobody_in_and_is_told_of(
    error: StoreError, decision: Decision, caplog: pytest.LogCaptureFixture
) -> None:
    store = Broken()
    store.error = error
    authenticator = make_authenticator(store, *Scheme)
    for credentials in (
        digest(),
        BearerCredentials(token=TOKEN),
        in_csr(CODE),
        basic("", CODE),
        basic("alice", "guess"),
    ):
        caplog.clear()
        assert judged(authenticator, asked(credentials)) == decision
        assert str(error) in caplog.text
    question = NonceUseRequested(label=None, channel=CHANNEL, nonce="n", count=1, expires_at=NOW)
    assert an_authority(store).use_nonce(question) == decision
    # Its code can only be repeated, and what it was spent for is not to be had.
    assert an_authority(store).enroll(enrollment(repeats_only=True)) == decision
    meanwhile = SpentMeanwhile()
    meanwhile.add_codes([code()])
    meanwhile.error = error
    assert an_authority(meanwhile).enroll(enrollment()) == decision
    assert not meanwhile.records


# Bearer tokens


def test_a_token_verifies_whose_it_is_also_as_libest_sends_it() -> None:
    authenticator = make_authenticator(a_store(), Scheme.BEARER)
    wrapped = base64.b64encode(TOKEN.encode()).decode()
    for text in (TOKEN, wrapped):
        decision = judged(authenticator, asked(BearerCredentials(token=text)))
        assert decision == Verified(user="sensor")
    looked_up = list[str]()

    def noted(_question: AuthenticateRequested, text: str) -> Decision:
        looked_up.append(text)
        return Verified(user="x") if text == "eHg=" else Rejected()

    authenticator = make_authenticator(MemoryStore(), Scheme.BEARER, verify_token=noted)
    sent = [b"x" * 512, b"x" * 513, b"a\nb", b"\xff"]
    wraps = [base64.b64encode(each).decode() for each in sent]
    for text in wraps:
        assert judged(authenticator, asked(BearerCredentials(token=text))) == Rejected()
    assert looked_up == [wraps[0], "x" * 512, *wraps[1:]], "what is no token is not looked up"
    looked_up.clear()
    for text, decision in (
        ("", Rejected()),
        ("eA==", Rejected()),
        ("eH-g=", Rejected()),
        ("eHg=", Verified(user="x")),
    ):
        assert judged(authenticator, asked(BearerCredentials(token=text))) == decision
    assert looked_up == ["", "eA==", "x", "eH-g=", "eHg="], "nor what comes after the right one"
    for text in (TOKEN[:-1], TOKEN.lower(), wrapped[:-4], "gAAAAA==", "e" * 1000):
        assert judged(authenticator, asked(BearerCredentials(token=text))) == Rejected()


@pytest.mark.parametrize(
    ("changed", "label", "operation", "decision"),
    [
        ({"expires_at": NOW}, None, SIMPLEENROLL, "auth/token-expired"),
        ({"expires_at": NOW + WEEK}, None, SIMPLEENROLL, Verified(user="sensor")),
        ({"labels": frozenset({"web"})}, LABEL, SIMPLEENROLL, Verified(user="sensor")),
        ({"labels": frozenset({"web"})}, None, SIMPLEENROLL, None),
        ({"labels": frozenset({""})}, None, SIMPLEENROLL, Verified(user="sensor")),
        ({"labels": frozenset({""})}, LABEL, SIMPLEENROLL, None),
        ({"operations": frozenset({"simpleenroll"})}, None, SIMPLEENROLL, Verified(user="sensor")),
        ({"operations": frozenset({"simpleenroll"})}, None, SIMPLEREENROLL, None),
        ({"operations": frozenset()}, None, SIMPLEENROLL, None),
    ],
    ids=lambda value: "" if not isinstance(value, dict) else next(iter(value)),
)
def test_a_token_has_a_time_and_a_scope(
    changed: dict[str, object],
    label: Label | None,
    operation: Operation,
    decision: Decision | str | None,
) -> None:
    store = MemoryStore()
    store.add_token(token(**changed))
    authenticator = make_authenticator(store, Scheme.BEARER)
    found = judged(authenticator, asked(BearerCredentials(token=TOKEN), label, operation))
    if decision is None:
        assert isinstance(found, Deny)
        assert found.code == "auth/token-scope"
    else:
        assert found == (Challenge(code=decision) if isinstance(decision, str) else decision)


def test_a_verifier_of_ones_own_is_asked_in_a_thread_instead_of_the_store() -> None:
    threads = []

    def verify(question: AuthenticateRequested, text: str) -> Decision:
        threads.append(threading.current_thread())
        return Verified(user=f"{text}@{question.operation.name}") if text == "jwt" else Rejected()

    authenticator = make_authenticator(
        MemoryStore(), Scheme.BEARER, secret=None, verify_token=verify
    )
    found = judged(authenticator, asked(BearerCredentials(token="jwt")))
    assert found == Verified(user="jwt@simpleenroll")
    assert threading.current_thread() not in threads


# One-time codes


@pytest.mark.parametrize(
    "credentials",
    [
        basic("", CODE),
        basic("device-1", CODE.lower()),
        basic("device-1", CODE.replace("-", " ")),
        in_csr(CODE),
        CodeCredentials(
            code=CODE.replace("-", "").replace("0", "o").replace("1", "l"),
            source=CodeSource.CHALLENGE_PASSWORD,
        ),
    ],
)
def test_a_code_verifies_its_device_however_it_is_spelled(credentials: Credentials) -> None:
    decision = judged(make_authenticator(a_store(), Scheme.OTP), asked(credentials))
    assert decision == Verified(user="device-1")
    assert isinstance(decision, Verified)
    assert isinstance(decision.context, KnownCode)
    assert CODE not in repr(decision.context)


@pytest.mark.parametrize(
    ("changed", "label", "credentials", "decision"),
    [
        ({}, None, in_csr(CODE[:-1] + "Z"), Rejected()),
        ({}, None, in_csr("no code"), Rejected()),
        ({}, None, basic("device-2", CODE), "auth/code-of-another"),
        ({"label": "web"}, None, in_csr(CODE), "auth/code-label"),
        ({"label": ""}, LABEL, in_csr(CODE), "auth/code-label"),
        ({"label": "web"}, LABEL, in_csr(CODE), Verified(user="device-1")),
        ({"expires_at": NOW}, None, in_csr(CODE), "auth/code-expired"),
        ({"expires_at": NOW, "uses": 1}, None, in_csr(CODE), Verified(user="device-1")),
        (
            {"expires_at": NOW, "uses": 1, "uses_max": 2},
            None,
            in_csr(CODE),
            Verified(user="device-1"),
        ),
    ],
    ids=[
        "unknown",
        "no-code",
        "of-another",
        "label",
        "no-label",
        "right-label",
        "expired",
        "spent",
        "spent once",
    ],
)
def test_a_code_counts_for_its_device_its_label_and_its_time(
    changed: dict[str, object],
    label: Label | None,
    credentials: Credentials,
    decision: Decision | str,
) -> None:
    store = MemoryStore()
    store.add_codes([code(**changed)])
    found = judged(make_authenticator(store, Scheme.OTP), asked(credentials, label))
    assert found == (Challenge(code=decision) if isinstance(decision, str) else decision)


@pytest.mark.parametrize(
    ("changed", "at", "operation", "decision"),
    [
        ({}, NOW, CACERTS, None),
        ({}, NOW, ECHO, None),
        ({}, NOW + WEEK, CSRATTRS, "auth/code-expired"),
        ({"uses": 1}, NOW, CACERTS, None),
        ({"uses": 1}, NOW, CSRATTRS, None),
        ({"uses": 1}, NOW, SIMPLEENROLL, None),
        ({"uses": 1}, NOW + WEEK, SIMPLEENROLL, None),
        ({"uses": 1}, NOW + WEEK, CACERTS, "auth/code-expired"),
        ({"uses": 1}, NOW + WEEK, CSRATTRS, "auth/code-expired"),
        ({"uses": 1}, NOW, ECHO, "auth/code-spent"),
        ({"uses": 1, "uses_max": 2}, NOW, ECHO, None),
        ({"uses": 1, "uses_max": 2}, NOW + WEEK, ECHO, "auth/code-expired"),
    ],
)
def test_a_spent_code_opens_a_repeat_and_for_its_time_what_leads_to_that(
    changed: dict[str, object], at: datetime, operation: Operation, decision: str | None
) -> None:
    store = MemoryStore()
    store.add_codes([code(**changed)])
    authenticator = make_authenticator(store, Scheme.OTP, now=lambda: at)
    found = judged(authenticator, asked(basic("device-1", CODE), operation=operation))
    assert found == (Challenge(code=decision) if decision else Verified(user="device-1"))


def an_authority(store: Store, now: Callable[[], datetime] = lambda: NOW) -> Authority:
    return Authority(
        ca=make_ca(store),
        store=store,
        authenticator=make_authenticator(store, *Scheme, now=now),
        clock=lambda: Instant(mono=1.0, wall=now()),
    )


def enrollment(
    key: str = "client",
    subject: str = "device-1",
    *,
    extensions: Sequence[x509.ExtensionType] = (),
    attributes: Iterable[Attribute] = (),
    repeats_only: bool = False,
) -> EnrollRequested:
    digest = SECRET.code_digest(CODE)
    assert digest is not None
    known = KnownCode(digest=digest, repeats_only=repeats_only)
    return EnrollRequested(
        label=None,
        identity=ClientIdentity(user="device-1", context=known),
        channel=CHANNEL,
        csr=request(*extensions, key=ec_key(key), subject=name(subject), attributes=attributes),
        linked=False,
    )


def test_a_code_is_spent_once_and_a_repeat_gets_the_same_certificate() -> None:
    store = a_store()
    authority = an_authority(store)
    first, again = (authority.enroll(enrollment()) for _ in range(2))
    assert isinstance(first, Issue)
    assert first == again
    assert len(store.records) == 1
    for other in (enrollment(key="another"), enrollment(subject="device-2")):
        assert authority.enroll(other) == Challenge(code="auth/code-spent")
    assert len(store.records) == 1


def test_a_code_may_have_several_uses() -> None:
    store = MemoryStore()
    store.add_codes([code(uses_max=2)])
    authority = an_authority(store)
    found = [authority.enroll(enrollment(key=key)) for key in ("one", "two", "one", "three")]
    assert found[0] == found[2]
    assert isinstance(found[1], Issue)
    assert found[3] == Challenge(code="auth/code-spent")


ONE_NAME: Final = (dns("device-1.example.com"),)
OTHER_NAME: Final = (dns("device-2.example.com"),)


def test_a_request_for_other_names_is_no_repeat() -> None:
    store = MemoryStore()
    store.add_codes([code(uses_max=2)])
    authority = an_authority(store)
    asked_for = [ONE_NAME, OTHER_NAME, OTHER_NAME, ONE_NAME, ()]
    found = [authority.enroll(enrollment(extensions=each)) for each in asked_for]
    first, second = found[:2]
    assert isinstance(first, Issue)
    assert isinstance(second, Issue)
    names = second.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value == OTHER_NAME[0]
    assert found[2:] == [second, first, Challenge(code="auth/code-spent")]
    assert len(store.records) == 2


def test_a_repeat_is_linked_anew_and_may_have_its_extensions_in_another_order() -> None:
    store = a_store()
    authority = an_authority(store)
    wanted = (dns("device-1.example.com"), key_usage("digital_signature"))
    found = [
        authority.enroll(enrollment(extensions=each, attributes=(challenge_attribute(oid, text),)))
        for each, oid, text in (
            (wanted, CHALLENGE_PASSWORD, "one handshake"),
            (wanted[::-1], CHALLENGE_PASSWORD, "another handshake"),
            (wanted, LINKING, "and another"),
        )
    ]
    assert isinstance(found[0], Issue)
    assert found[1:] == [found[0], found[0]]
    assert len(store.records) == 1


def test_of_a_code_that_can_only_be_repeated_the_ca_hears_nothing() -> None:
    store = MemoryStore()
    store.add_codes([code(uses_max=2)])
    authority = an_authority(store)
    first = authority.enroll(enrollment())
    assert authority.enroll(enrollment(repeats_only=True)) == first
    refused = dns("est.example.com")  # a name of the server: the CA would say so
    assert isinstance(authority.enroll(enrollment(extensions=[refused])), Deny)
    spent = authority.enroll(enrollment(extensions=[refused], repeats_only=True))
    assert spent == Challenge(code="auth/code-spent")


@pytest.mark.parametrize(
    ("changed", "at", "repeats_only"),
    [
        ({}, NOW, False),
        ({"uses": 1, "uses_max": 2}, NOW, False),
        ({"uses": 1}, NOW, True),
        ({"uses": 1, "uses_max": 2}, NOW + WEEK, True),
    ],
)
def test_whether_a_code_can_only_be_repeated_is_known_from_its_record(
    changed: dict[str, object], at: datetime, repeats_only: bool
) -> None:
    store = MemoryStore()
    store.add_codes([code(**changed)])
    found = judged(make_authenticator(store, Scheme.OTP, now=lambda: at), asked(in_csr(CODE)))
    assert isinstance(found, Verified)
    assert isinstance(found.context, KnownCode)
    assert found.context.repeats_only == repeats_only


def test_a_repeat_after_the_code_ran_out_still_gets_its_certificate() -> None:
    moments = iter([NOW, NOW + WEEK, NOW + WEEK, NOW + WEEK])
    authority = an_authority(a_store(), lambda: next(moments))
    first = authority.enroll(enrollment())
    assert authority.enroll(enrollment()) == first
    assert authority.enroll(enrollment(key="another")) == Challenge(code="auth/code-spent")


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_certificate_that_is_over_is_not_handed_out_again(how: str) -> None:
    store = a_store()
    later = NOW if how == "revoked" else NOW + timedelta(days=4000)
    moments = iter([NOW, *[later] * 5])
    authority = an_authority(store, lambda: next(moments))
    first = authority.enroll(enrollment())
    assert isinstance(first, Issue)
    if how == "revoked":
        store.revoke_certificate(next(iter(store.records)), at=NOW, reason="keyCompromise")
    found = authority.enroll(enrollment())
    if how == "revoked":
        assert found == Challenge(code="auth/code-spent")
    else:  # the CA's own certificate is over by then too
        assert isinstance(found, Postpone)


class Overtaken(MemoryStore):
    """Where another worker is a moment faster with the same request."""

    winner = ""

    def record_certificate(self, record: IssuedRecord, **others: Any) -> None:
        if not self.winner:
            self.winner = f"{record.serial}f"
            super().record_certificate(replace(record, serial=self.winner), **others)
        super().record_certificate(record, **others)


@pytest.mark.parametrize("uses_max", [1, 5])
def test_another_try_of_the_same_request_that_was_first_is_what_both_get(uses_max: int) -> None:
    store = Overtaken()
    store.add_codes([code(uses_max=uses_max)])
    decision = an_authority(store).enroll(enrollment())
    assert isinstance(decision, Issue)
    assert list(store.records) == [store.winner]
    assert decision.certificate.public_bytes(Encoding.DER) == store.records[store.winner].der
