"""Wrong credentials at the reference CA: what counts as what, and what is not looked at then."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from types import FrameType
from typing import Final

import pytest

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    BasicCredentials,
    BearerCredentials,
    Challenge,
    Channel,
    CodeCredentials,
    CodeSource,
    Credentials,
    Decision,
    DigestCredentials,
    Instant,
    Postpone,
    Rejected,
    TlsVersion,
    Verified,
)
from est_core.auth.digest import DigestAlgorithm, digest_answer, digest_secret
from est_transports import _clock
from est_transports.authority.authentication.authenticator import Authenticator, Scheme
from est_transports.authority.authentication.back_off import BackOff, BackOffLimits
from est_transports.authority.authentication.digest import verify_digest
from est_transports.authority.authentication.seldom import SeldomLog
from est_transports.authority.authentication.server_secret import new_code, new_token
from est_transports.authority.stores import CodeRecord, TokenRecord, UserRecord
from est_transports.authority.stores.digest_records import digest_record
from est_transports.authority.stores.passwords import PasswordChecks, hash_password
from tests.transports.ca_fakes import NOW, SECRET, MemoryStore, make_authenticator

LIMITS: Final = BackOffLimits(per_user=3, per_network=5, unknown_per_network=2, window_s=60)
CODE: Final = new_code(lambda size: bytes(range(size)))
TOKEN: Final = new_token(lambda size: bytes(range(size)))
RECORD: Final = hash_password("right", bytes(16))
OF_PAIR: Final = Postpone(
    retry_after_s=20, code="auth/throttled", reason="too many wrong answers, try again later"
)
HERE: Final = "192.0.2.1:1000"


class Watched(MemoryStore):
    """Counts what it is asked for."""

    asked = 0

    def find_user(self, name: str) -> UserRecord | None:
        self.asked += 1
        return super().find_user(name)

    def find_code(self, digest: bytes) -> CodeRecord | None:
        self.asked += 1
        return super().find_code(digest)

    def find_token(self, digest: bytes) -> TokenRecord | None:
        self.asked += 1
        return super().find_token(digest)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = _clock.instant()

    def __call__(self) -> Instant:
        return self.now


class Site:
    """The authenticator of a store with alice, a code and a token."""

    def __init__(self, *schemes: Scheme, limits: BackOffLimits = LIMITS) -> None:
        self.store = Watched()
        self.store.add_user("alice", RECORD, digest_record=digest_record("alice", "est", "right"))
        digest = SECRET.code_digest(CODE)
        assert digest is not None
        week = NOW + timedelta(days=7)
        code = CodeRecord(name="device", digest=digest, created_at=NOW, expires_at=week)
        self.store.add_codes([code])
        self.store.add_token(
            TokenRecord(name="sensor", digest=SECRET.token_digest(TOKEN), created_at=NOW)
        )
        self.clock = Clock()
        self.passwords = PasswordChecks(at_once=2, waiting_max=1000)
        self.subject: Authenticator = make_authenticator(
            self.store,
            *schemes,
            passwords=self.passwords,
            back_off=BackOff(limits, clock=self.clock),
        )

    def begin(self, credentials: Credentials, peer: str = HERE) -> Decision | Future[Decision]:
        channel = Channel(version=TlsVersion.TLS_1_3, peer_address=peer)
        return self.subject.authenticate(
            AuthenticateRequested(
                operation=SIMPLEENROLL, label=None, credentials=credentials, channel=channel
            )
        )

    def ask(self, credentials: Credentials, peer: str = HERE) -> Decision:
        decision = self.begin(credentials, peer)
        return decision.result(30) if isinstance(decision, Future) else decision


def basic(user: str, password: str) -> BasicCredentials:
    return BasicCredentials(user=user, password=password)


def digest(user: str, password: str, secret: str | None = None) -> DigestCredentials:
    given = {"realm": "est", "nonce": "n", "uri": "/", "algorithm": "SHA-256", "qop": "auth",
             "nc": "00000001", "cnonce": "c"}  # fmt: skip
    draft = DigestCredentials(user=user, parameters=tuple(given.items()), method="POST")
    secret = secret or digest_secret(DigestAlgorithm.SHA_256, user, "est", password)
    answer = digest_answer(secret, draft)
    return DigestCredentials(
        user=user, parameters=(*given.items(), ("response", answer)), method="POST"
    )


@pytest.mark.req("EST-049")
@pytest.mark.parametrize("user", ["alice", "nobody"])
@pytest.mark.parametrize("scheme", [Scheme.BASIC, Scheme.DIGEST])
def test_too_many_wrong_answers_and_nothing_is_looked_at_any_more(
    scheme: Scheme, user: str
) -> None:
    site = Site(scheme)
    by_scheme: dict[Scheme, Callable[[str, str], Credentials]] = {
        Scheme.BASIC: basic,
        Scheme.DIGEST: digest,
    }
    try_ = by_scheme[scheme]
    for number in range(3):
        assert site.ask(try_(user, f"guess {number}")) == Rejected()
    asked = site.store.asked
    for password in ("guess", "right"):
        assert site.begin(try_(user, password)) == OF_PAIR  # at once
    assert site.store.asked == asked
    assert site.ask(try_("alice", "right"), "198.51.100.1:1") == Verified(user="alice")
    site.clock.now = site.clock.now.after(20)
    right = Verified(user="alice") if user == "alice" else Rejected()
    assert site.ask(try_(user, "right")) == right


def test_a_user_without_a_secret_for_digest_counts_as_one_who_is_unknown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site(Scheme.DIGEST)
    site.store.add_user("bob", RECORD, replace=True)
    for number in range(3):
        found = site.ask(digest("bob", f"guess {number}"))
        assert found == Challenge(code="auth/no-digest-secret")
    assert site.ask(digest("bob", "right")) == OF_PAIR
    assert len(caplog.messages) == 1  # not one for each


def test_a_digest_answer_for_nobody_takes_the_steps_of_one_for_somebody() -> None:
    """Counted by the functions that are called, for a clock would tell of other programs."""
    site = Site(Scheme.DIGEST)
    log = SeldomLog()

    def steps(user: str) -> Counter[str]:
        found: Counter[str] = Counter()

        def note(frame: FrameType, event: str, _argument: object) -> None:
            if event == "call":
                found[frame.f_code.co_qualname] += 1

        credentials = digest(user, "guess")
        sys.setprofile(note)
        try:
            assert verify_digest(credentials, site.store, log) == Rejected()
        finally:
            sys.setprofile(None)
        return found

    steps("alice")  # what is done once only
    known, unknown = steps("alice"), steps("nobody")
    assert known == unknown
    assert known["read_digest_record"] == 1


@pytest.mark.parametrize("user", ["bob", "nobody"])
def test_what_stands_for_a_secret_that_is_not_there_proves_nothing(user: str) -> None:
    site = Site(Scheme.DIGEST)
    site.store.add_user("bob", RECORD, replace=True)
    assert not isinstance(site.ask(digest(user, "", secret="0" * 64)), Verified)


@pytest.mark.parametrize(
    ("scheme", "right", "wrong"),
    [
        (Scheme.BEARER, BearerCredentials(token=TOKEN), BearerCredentials),
        (Scheme.OTP, basic("", CODE), basic),
        (Scheme.OTP, CodeCredentials(code=CODE, source=CodeSource.OTP_CHALLENGE), CodeCredentials),
    ],
    ids=["token", "code-as-password", "code-in-request"],
)
def test_tokens_and_codes_are_bounded_by_network_where_there_is_a_bound(
    scheme: Scheme, right: Credentials, wrong: type
) -> None:
    site = Site(scheme)

    def guess(number: int) -> Credentials:
        raw = bytes([number]) * 32
        if wrong is BearerCredentials:
            return BearerCredentials(token=new_token(lambda size: raw[:size]))
        code = new_code(lambda size: raw[:size])
        if wrong is CodeCredentials:
            return CodeCredentials(code=code, source=CodeSource.OTP_CHALLENGE)
        return basic("", code)

    for number in (0, 0, 0, 1):
        assert site.ask(guess(number)) == Rejected()
    asked = site.store.asked
    for credentials in (right, guess(2)):
        decision = site.begin(credentials)  # at once
        assert isinstance(decision, Postpone)
        assert decision.code == "auth/throttled"
        assert decision.retry_after_s == 30
    assert site.store.asked == asked
    assert isinstance(site.ask(right, "198.51.100.1:1"), Verified)
    site.clock.now = site.clock.now.after(30)
    assert isinstance(site.ask(right), Verified)


def test_without_a_bound_for_them_tokens_and_codes_are_looked_up_however_many_were_wrong() -> None:
    site = Site(Scheme.BEARER, limits=BackOffLimits())
    for number in range(200):
        raw = bytes([number]) * 32
        guess = new_token(lambda size, raw=raw: raw[:size])  # type: ignore[misc]
        assert site.ask(BearerCredentials(token=guess)) == Rejected()
    assert site.ask(BearerCredentials(token=TOKEN)) == Verified(user="sensor")


def test_what_ran_out_or_is_for_something_else_was_not_guessed_and_does_not_count() -> None:
    site = Site(Scheme.OTP)
    for _ in range(10):
        assert site.ask(basic("another", CODE)) == Challenge(code="auth/code-of-another")
    assert isinstance(site.ask(basic("", CODE)), Verified)


def test_what_was_no_code_and_no_password_counts_once_and_as_a_password() -> None:
    site = Site(Scheme.OTP, Scheme.BASIC)
    for number in range(3):
        guess = new_code(lambda size, number=number: bytes([number]) * size)  # type: ignore[misc]
        assert site.ask(basic("alice", guess)) == Rejected()
    assert site.ask(basic("alice", "right")) == OF_PAIR
    code = CodeCredentials(code=CODE, source=CodeSource.OTP_CHALLENGE)
    assert isinstance(site.ask(code), Verified)
    assert isinstance(site.ask(basic("device", CODE)), Verified)


def test_who_has_no_name_has_a_code_and_no_password() -> None:
    site = Site(Scheme.OTP, Scheme.BASIC, limits=BackOffLimits())
    for number in range(200):
        assert site.ask(basic("", f"guess {number}")) == Rejected()
    assert site.store.asked == 0
    assert site.ask(basic("alice", "right")) == Verified(user="alice")


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_of_many_that_come_at_once_so_many_are_judged_and_those_that_were_begun(user: str) -> None:
    """Each passes when it comes, for none was found wrong by then; not when its turn comes."""
    site = Site(Scheme.BASIC)
    gate = threading.Event()
    find = site.store.find_user

    def held(name: str) -> UserRecord | None:
        assert gate.wait(30)
        return find(name)

    site.store.find_user = held  # type: ignore[method-assign]
    waiting = [site.begin(basic(user, f"guess {number}")) for number in range(100)]
    gate.set()
    decisions = [each.result(60) for each in waiting if isinstance(each, Future)]
    judged = decisions.count(Rejected())
    assert len(decisions) == 100
    assert 3 <= judged <= 3 + 1  # the threads that were begun when the third one was counted
    assert site.store.asked == judged
    assert {type(each) for each in decisions} == {Rejected, Postpone}


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_digest_answers_that_come_at_once_are_judged_as_passwords_are(user: str) -> None:
    site = Site(Scheme.DIGEST)
    gate = threading.Event()
    find = site.store.find_user

    def held(name: str) -> UserRecord | None:
        assert gate.wait(30)
        return find(name)

    site.store.find_user = held  # type: ignore[method-assign]
    waiting = [site.begin(digest(user, f"guess {number}")) for number in range(100)]
    gate.set()
    decisions = [each.result(60) for each in waiting if isinstance(each, Future)]
    assert len(decisions) == 100
    assert 3 <= decisions.count(Rejected()) <= 3 + 1
    assert site.store.asked == decisions.count(Rejected())


def test_where_the_network_is_full_a_wrong_digest_answer_gets_what_all_others_get() -> None:
    site = Site(Scheme.DIGEST)
    assert site.ask(digest("alice", "right")) == Verified(user="alice")
    for number in range(5):
        assert site.ask(digest(f"somebody {number}", "guess")) == Rejected()
    of_network = replace(OF_PAIR, retry_after_s=12)
    for user in ("alice", "nobody"):
        assert site.ask(digest(user, "guess")) == of_network
    assert site.ask(digest("alice", "right")) == Verified(user="alice")


def test_a_fleet_with_one_user_that_comes_at_once_is_served() -> None:
    site = Site(Scheme.BASIC, Scheme.DIGEST)
    for credentials in (basic("alice", "right"), digest("alice", "right")):
        waiting = [site.begin(credentials) for _ in range(200)]
        for each in waiting:
            assert isinstance(each, Future)
            assert each.result(60) == Verified(user="alice")


def test_a_check_that_was_not_made_is_neither_wrong_nor_right() -> None:
    site = Site(Scheme.BASIC)
    site.store.add_user("alice", "scrypt$1$1$1$x$y", replace=True)
    for number in range(9):
        decision = site.ask(basic("alice", f"guess {number}"))
        assert not isinstance(decision, (Postpone, Rejected))
