"""Digest through the server's exchange: challenged, judged, counted. RFC 7616 3.3 to 3.4."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    Challenge,
    Challenged,
    Counted,
    Decision,
    DigestCredentials,
    EnrollRequested,
    Fail,
    Fault,
    Instant,
    NonceUseRequested,
    Outcome,
    Refused,
    Rejected,
    Replayed,
    Request,
    Response,
    ServerPolicy,
    ServerQuestion,
    TrustClass,
    Verified,
    default_policy,
    digest_proves,
    httpmap,
)
from est_core.auth.digest import DigestAlgorithm, digest_answer, digest_secret
from est_core.codec.authheader import basic_challenge, write_authorization
from est_core.testing import FIXED_INSTANT
from tests.answers import one_of
from tests.application import FakeApplication
from tests.core.auth.test_digest import answer, scheme
from tests.core.cast import LIMITS, channel, csr_der, finish, receive

SECRET: Final = digest_secret(DigestAlgorithm.SHA_256, "alice", "est", "secret")
TARGET: Final = b"/.well-known/est/simpleenroll"


def policy(*, basic: bool = True) -> ServerPolicy:
    usual = default_policy()
    challenges = (basic_challenge("est"),) if basic else ()
    return ServerPolicy(rows=usual.rows, challenges=challenges, digest=scheme())


class Counting(FakeApplication):
    """Knows the secret of alice, and remembers the highest count of each nonce."""

    def __init__(self) -> None:
        super().__init__({AuthenticateRequested: self.verify, NonceUseRequested: self.count})
        self.counts: dict[str, int] = {}

    def verify(self, question: AuthenticateRequested) -> Decision:
        credentials = question.credentials
        assert isinstance(credentials, DigestCredentials)
        if not digest_proves(credentials, SECRET):
            return Rejected()
        return Verified(user=credentials.user, context="its record")

    def count(self, question: NonceUseRequested) -> Decision:
        if question.count <= self.counts.get(question.nonce, 0):
            return Replayed()
        self.counts[question.nonce] = question.count
        return Counted()


def enroll(
    credentials: DigestCredentials | None,
    application: FakeApplication,
    now: Instant = FIXED_INSTANT,
    *,
    by: ServerPolicy | None = None,
) -> Response:
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=credentials)
    return finish(receive(request, now, policy=by or policy()), application)


def asked(application: FakeApplication) -> list[type[ServerQuestion]]:
    return [type(question) for question in application.asked]


@pytest.mark.req("EST-036", "EST-047")
def test_a_client_is_offered_digest_first_and_basic_behind_it() -> None:
    response = one_of(Challenged, enroll(None, Counting()))
    assert [challenge.scheme for challenge in response.challenges] == ["Digest", "Digest", "Basic"]
    assert response.challenges[0].get("nonce") != enroll_again_nonce()


def enroll_again_nonce() -> str | None:
    by = policy()
    enroll(None, Counting(), by=by)
    return one_of(Challenged, enroll(None, Counting(), by=by)).challenges[0].get("nonce")


@pytest.mark.req("EST-047")
def test_a_right_answer_is_counted_and_then_asked_to_be_issued() -> None:
    application = Counting()
    assert enroll(answer(scheme()), application).outcome is Outcome.OK
    assert asked(application) == [AuthenticateRequested, NonceUseRequested, EnrollRequested]
    _, nonce, enrollment = application.asked
    assert isinstance(nonce, NonceUseRequested)
    later = timedelta(seconds=300 + LIMITS.decision_s + 60)  # and clocks may differ by a minute
    assert (nonce.count, nonce.expires_at) == (1, FIXED_INSTANT.wall + later)
    assert isinstance(enrollment, EnrollRequested)
    assert (enrollment.identity.user, enrollment.identity.context) == ("alice", "its record")


@pytest.mark.req("EST-049")
@pytest.mark.parametrize(("first", "second"), [("00000001", "00000001"), ("00000002", "00000001")])
def test_a_count_that_was_used_or_goes_backwards_is_a_replay(first: str, second: str) -> None:
    application, offered = Counting(), scheme()
    nonce = offered.challenges(FIXED_INSTANT)[0].get("nonce")
    assert enroll(counted(first, nonce), application).outcome is Outcome.OK
    response = one_of(Challenged, enroll(counted(second, nonce), application))
    assert response.code == "auth/replayed"
    assert response.challenges[0].get("stale") == "true"
    assert enroll(counted("00000003", nonce), application).outcome is Outcome.OK
    assert len(application.issued) == 2


def counted(count: str, nonce: str | None) -> DigestCredentials:
    draft = answer(scheme(), nonce=nonce, nc=count)
    return answer(scheme(), nonce=nonce, nc=count, response=digest_answer(SECRET, draft))


def test_a_wrong_password_costs_no_count() -> None:
    application = Counting()
    response = enroll(answer(scheme(), password="guess"), application)
    assert one_of(Challenged, response).code == "auth/wrong-credentials"
    assert asked(application) == [AuthenticateRequested]


@pytest.mark.parametrize(
    ("changed", "code", "stale"),
    [
        ({"nonce": "of another server"}, "auth/foreign-nonce", None),
        ({"realm": "another"}, "auth/digest-realm", None),
        ({"algorithm": "SHA-512-256"}, "auth/digest-algorithm", None),
    ],
    ids=["nonce", "realm", "algorithm"],
)
def test_an_answer_to_another_challenge_is_challenged_again(
    changed: dict[str, str], code: str, stale: str | None
) -> None:
    application = Counting()
    response = one_of(Challenged, enroll(answer(scheme(), **changed), application))
    assert (response.code, response.challenges[0].get("stale")) == (code, stale)
    assert asked(application) == []


@pytest.mark.req("EST-049")
def test_a_stale_nonce_is_challenged_again_with_the_word_for_it() -> None:
    response = enroll(answer(scheme()), Counting(), FIXED_INSTANT.after(301))
    challenged = one_of(Challenged, response)
    assert challenged.code == "auth/stale-nonce"
    assert {challenge.get("stale") for challenge in challenged.challenges[:2]} == {"true"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"uri": "/elsewhere"}, "auth/digest-uri"), ({"qop": "auth-int"}, "auth/bad-digest")],
    ids=["uri", "qop"],
)
def test_an_answer_that_is_written_wrongly_is_the_clients_mistake(
    changed: dict[str, str], code: str
) -> None:
    response = one_of(Refused, enroll(answer(scheme(), **changed), Counting()))
    assert (response.fault, response.code) == (Fault.MALFORMED, code)


def test_without_digest_in_the_policy_an_answer_is_the_applications_own_affair() -> None:
    application = Counting()
    response = enroll(answer(scheme(), realm="its own"), application, by=default_policy())
    assert asked(application)[0] is AuthenticateRequested
    assert NonceUseRequested not in asked(application)
    assert response.outcome in (Outcome.OK, Outcome.CHALLENGE)


# An application with challenges of its own, beside the Digest of the policy

OWN: Final = basic_challenge("second factor")


class Demanding(Counting):
    """Wants a user of whom the policy let in by a certificate, by challenges of its own."""

    def decide(self, question: ServerQuestion) -> Decision:
        found = super().decide(question)
        if isinstance(question, EnrollRequested) and question.identity.user is None:
            return Challenge(challenges=(OWN,))
        return found


def enroll_with_certificate(
    credentials: DigestCredentials | None,
    application: FakeApplication,
    now: Instant = FIXED_INSTANT,
    *,
    by: ServerPolicy | None = None,
) -> Response:
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=credentials)
    on = channel(TrustClass.EXPLICIT)
    return finish(receive(request, now, on=on, policy=by or policy()), application)


@pytest.mark.req("EST-049")
def test_own_challenges_let_no_digest_answer_be_used_twice() -> None:
    application = Demanding()
    credentials = answer(scheme())
    assert enroll_with_certificate(credentials, application).outcome is Outcome.OK
    assert NonceUseRequested in asked(application)
    response = one_of(Challenged, enroll_with_certificate(credentials, application))
    assert (response.code, response.challenges) == ("auth/replayed", (OWN,))


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"nonce": "of nobody"}, "auth/foreign-nonce"),
        ({"realm": "second factor"}, "auth/digest-realm"),
        ({"algorithm": "SHA-512-256"}, "auth/digest-algorithm"),
        ({"uri": "/elsewhere"}, "auth/digest-uri"),
        ({"nc": "no count"}, "auth/bad-digest"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_own_challenges_leave_a_digest_answer_to_the_judgement_of_the_policy(
    changed: dict[str, str], code: str
) -> None:
    application = Demanding()
    response = enroll_with_certificate(answer(scheme(), **changed), application)
    assert response.code == code
    if isinstance(response, Challenged):
        assert response.challenges == (OWN,)
    assert AuthenticateRequested not in asked(application)


def test_a_stale_answer_is_asked_for_again_by_own_challenges() -> None:
    late = FIXED_INSTANT.after(301)
    response = enroll_with_certificate(answer(scheme()), Demanding(), late)
    assert one_of(Challenged, response).challenges == (OWN,)
    assert response.code == "auth/stale-nonce"


def test_without_digest_in_the_policy_own_digest_challenges_are_the_applications_to_judge() -> None:
    application = Demanding()
    response = enroll_with_certificate(
        answer(scheme(), nonce="its own"), application, by=default_policy()
    )
    assert asked(application)[1] is AuthenticateRequested
    assert NonceUseRequested not in asked(application)
    assert one_of(Challenged, response).challenges == (OWN,)


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [(Fail(), Outcome.FAULT), (Challenge(), Outcome.CHALLENGE)],
    ids=["fail", "challenge"],
)
def test_a_store_that_cannot_count_lets_nobody_in(decision: Decision, outcome: Outcome) -> None:
    application = Counting()
    application.answers[NonceUseRequested] = decision
    assert enroll(answer(scheme()), application).outcome is outcome
    assert application.issued == []


def test_digest_alone_is_http_authentication() -> None:
    response = one_of(Challenged, enroll(None, Counting(), by=policy(basic=False)))
    assert [challenge.scheme for challenge in response.challenges] == ["Digest", "Digest"]


# What httpmap says that an answer is about


def read(
    credentials: DigestCredentials,
    *,
    agent: bytes = b"curl/8",
    target: bytes = TARGET,
    host: bytes | None = b"est.example",
) -> object:
    head = httpmap.RequestHead(
        method=b"POST",
        target=target,
        headers=(
            *(() if host is None else ((b"Host", host),)),
            (b"User-Agent", agent),
            (b"Content-Type", b"application/pkcs10"),
            (b"Authorization", write_authorization(credentials).encode("latin-1")),
        ),
    )
    checked = httpmap.check_head(head, policy=policy(), limits=LIMITS)
    assert isinstance(checked, httpmap.CheckedHead)
    return httpmap.read(checked, b"", limits=LIMITS).credentials


def test_an_answer_is_about_the_method_and_target_of_its_request() -> None:
    found = read(answer(scheme()))
    assert isinstance(found, DigestCredentials)
    assert (found.method, found.target) == ("POST", TARGET.decode())
    assert digest_proves(found, SECRET)


PATH: Final = TARGET.decode()


@pytest.mark.parametrize(
    ("uri", "host", "target", "is_taken"),
    [
        (f"https://est.example{PATH}", b"est.example", TARGET, True),
        (f"HTTPS://Est.Example:443{PATH}", b"est.example", TARGET, True),
        (f"https://est.example{PATH}", b"EST.example:443", TARGET, True),
        (f"https://est.example:8443{PATH}", b"est.example:8443", TARGET, True),
        (f"https://[::1]:8443{PATH}", b"[::1]:8443", TARGET, True),
        (f"https://est.example{PATH}?x", b"est.example", TARGET + b"?x", True),
        (f"https://est.example{PATH}", None, b"https://est.example" + TARGET, True),
        (f"https://est.example{PATH}", b"other.example", b"https://est.example" + TARGET, True),
        (f"https://other.example{PATH}", b"est.example", TARGET, False),
        (f"https://other.example{PATH}", b"other.example", b"https://est.example" + TARGET, False),
        (f"https://est.example:8443{PATH}", b"est.example", TARGET, False),
        (f"https://alice@est.example{PATH}", b"est.example", TARGET, False),
        (f"http://est.example{PATH}", b"est.example", TARGET, False),
        (f"https://est.example{PATH}", None, TARGET, False),
        (f"https://{PATH}", None, TARGET, False),
        (f"https://est.example{PATH}?x", b"est.example", TARGET, False),
        (f"https://est.example{PATH}\u00e9", b"est.example", TARGET, False),
        ("https://est.example/.well-known/est/cacerts", b"est.example", TARGET, False),
    ],
)
def test_a_whole_uri_is_for_the_host_that_was_asked(
    uri: str, host: bytes | None, target: bytes, is_taken: bool
) -> None:
    for agent in (b"curl/8", b"libest 3.2.0p"):
        found = read(answer(scheme(), uri=uri), host=host, target=target, agent=agent)
        assert isinstance(found, DigestCredentials)
        flaw = scheme().flaw(found, FIXED_INSTANT)
        assert (flaw and flaw.code) == (None if is_taken else "auth/digest-uri")


@pytest.mark.parametrize(
    ("uri", "is_taken"),
    [
        ("/.well-known/est/simplereenroll", True),
        ("/simpleenroll", True),
        ("/.well-known/est/label/simpleenroll", False),
        ("/etc/passwd", False),
        ("", False),
    ],
)
def test_libest_hashes_a_uri_of_its_own_and_nobody_else_may(uri: str, is_taken: bool) -> None:
    credentials = answer(scheme(), uri=uri or "?")
    dialect = read(credentials, agent=b"libest 3.2.0p")
    assert isinstance(dialect, DigestCredentials)
    flaw = scheme().flaw(dialect, FIXED_INSTANT)
    assert (flaw is None) == is_taken
    plain = read(credentials)
    assert isinstance(plain, DigestCredentials)
    assert scheme().flaw(plain, FIXED_INSTANT) is not None
