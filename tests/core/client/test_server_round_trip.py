"""The client against the server of the same core: Digest with its nonces, codes in three places."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    ClientSession,
    CodeCredentials,
    CodeSource,
    Credentials,
    Decision,
    DigestAlgorithm,
    DigestCredentials,
    Enrolled,
    EnrollRequested,
    Failed,
    ForeignChallenge,
    Login,
    Password,
    Pend,
    Rejected,
    RetryLater,
    ServerPolicy,
    TrustClass,
    Verified,
    default_policy,
    digest_proves,
)
from est_core.auth.digest import digest_secret
from est_core.codec.authheader import basic_challenge
from est_core.testing import ExchangePair
from tests.application import FakeApplication
from tests.core.auth.test_digest import scheme
from tests.core.cast import info
from tests.core.client_cast import URI, Network, own_key, pair
from tests.core.server.test_digest import Counting
from tests.pki import pki

ALICE = Password(user="alice", password="secret")
CODE = "7QXK-2M4T-9ZPB"


class Knowing(Counting):
    """Knows alice's secret for each algorithm, and counts nonces."""

    def verify(self, question: AuthenticateRequested) -> Decision:
        credentials = question.credentials
        if not isinstance(credentials, DigestCredentials):
            return Rejected()
        algorithm = DigestAlgorithm.named(credentials.get("algorithm"))
        assert algorithm is not None
        secret = digest_secret(algorithm, "alice", "est", "secret")
        is_good = credentials.user == "alice" and digest_proves(credentials, secret)
        return Verified(user="alice") if is_good else Rejected()


def by_digest(*algorithms: DigestAlgorithm, basic: bool = True) -> ServerPolicy:
    return ServerPolicy(
        rows=default_policy().rows,
        challenges=(basic_challenge("est"),) if basic else (),
        digest=scheme(algorithms=algorithms),
    )


def session(credentials: Login | None = ALICE) -> ClientSession:
    return ClientSession(URI, trust=(pki().ca.certificate,), credentials=credentials)


def unknown_client() -> Network:
    """A network on which the server sees no client certificate."""
    return Network(client_trust=TrustClass.NONE)


def statuses(server: ExchangePair) -> list[int]:
    return [message.response.status for message in server.messages]


def sent(server: ExchangePair) -> list[str]:
    """The Authorization of each request."""
    found = [message.request.values(b"authorization") for message in server.messages]
    return [b"".join(values).decode("ascii") for values in found]


@pytest.mark.req("EST-040", "EST-047")
@pytest.mark.parametrize("basic", [True, False])
@pytest.mark.parametrize(
    "algorithms", [(each,) for each in DigestAlgorithm] + [tuple(DigestAlgorithm)]
)
def test_one_nonce_opens_one_request_after_another(
    algorithms: tuple[DigestAlgorithm, ...], basic: bool
) -> None:
    client = session()
    server = pair(unknown_client(), Knowing(), policy=by_digest(*algorithms, basic=basic))
    for _ in range(3):
        assert isinstance(server.run(client.enroll(info(own_key()))), Enrolled)
    assert statuses(server) == [401, 200, 200, 200]
    assert ["nc=" + text for text in ("00000001", "00000002", "00000003")] == [
        text[text.index("nc=") :][:11] for text in sent(server)[1:]
    ]
    strongest = max(algorithms, key=list(DigestAlgorithm).index)
    named = f"algorithm={strongest.value}" in sent(server)[1]
    assert named == (strongest is not DigestAlgorithm.MD5)


@pytest.mark.req("EST-047")
def test_a_nonce_that_has_expired_is_changed_for_a_new_one() -> None:
    client = session()
    server = pair(unknown_client(), Knowing(), policy=by_digest(*DigestAlgorithm))
    assert isinstance(server.run(client.enroll(info(own_key()))), Enrolled)
    server.now = server.now.after(301)
    assert isinstance(server.run(client.enroll(info(own_key()))), Enrolled)
    assert statuses(server) == [401, 200, 401, 200]
    assert b"stale" in b"".join(server.messages[2].response.values(b"www-authenticate"))


def test_a_nonce_expires_while_a_request_is_pending() -> None:
    application = Knowing()
    application.answers[EnrollRequested] = Pend(retry_after_s=600)
    server = pair(unknown_client(), application, policy=by_digest(*DigestAlgorithm))
    exchange = session().enroll(info(own_key()))
    for _ in range(3):
        waits = server.run(exchange)
        assert isinstance(waits, RetryLater)
        server.now = waits.at
        exchange.handle_timeout(server.now)
    assert statuses(server) == [401, 202, 401, 202, 401, 202]


@pytest.mark.req("EST-047")
def test_a_count_that_somebody_else_has_used_is_answered_with_a_new_nonce() -> None:
    client, application = session(), Knowing()
    server = pair(unknown_client(), application, policy=by_digest(*DigestAlgorithm))
    assert isinstance(server.run(client.enroll(info(own_key()))), Enrolled)
    application.counts = dict.fromkeys(application.counts, 1000)
    assert isinstance(server.run(client.enroll(info(own_key()))), Enrolled)
    assert statuses(server) == [401, 200, 401, 200]


@pytest.mark.req("EST-041")
@pytest.mark.parametrize("wrong", [replace(ALICE, password="x"), replace(ALICE, user="bob")])
def test_a_wrong_password_or_user_is_refused(wrong: Password) -> None:
    server = pair(unknown_client(), Knowing(), policy=by_digest(*DigestAlgorithm))
    result = server.run(session(wrong).enroll(info(own_key())))
    assert isinstance(result, Failed)
    assert result.code == "auth/refused"
    assert statuses(server) == [401, 401]
    assert not any(text.startswith("Basic") for text in sent(server))


@pytest.mark.req("EST-041", "EST-051")
def test_basic_sent_unasked_to_who_takes_digest_alone_is_a_clear_error() -> None:
    policy = by_digest(DigestAlgorithm.SHA_256, basic=False)
    server = pair(unknown_client(), Knowing(), policy=policy)
    hint = BasicCredentials(user="alice", password="secret")
    result = server.run(session(hint).enroll(info(own_key())))
    assert isinstance(result, Failed)
    assert result.code == "auth/scheme-not-offered"
    assert statuses(server) == [401]


def coded() -> ServerPolicy:
    rows = tuple(
        replace(row, foreign_challenge=ForeignChallenge.CODE) for row in default_policy().rows
    )
    return ServerPolicy(rows=rows, challenges=(basic_challenge("est"),), otp_challenge=True)


@pytest.mark.req("EST-187", "EST-196")
@pytest.mark.parametrize(
    ("credentials", "code", "seen"),
    [
        (
            Password(user="", password=CODE, basic_only=True),
            None,
            BasicCredentials(user="", password=CODE),
        ),
        *(
            (None, CodeCredentials(code=CODE, source=source), None)
            for source in CodeSource
        ),
    ],
)  # fmt: skip
def test_a_code_is_found_where_it_was_put(
    credentials: Login | None, code: CodeCredentials | None, seen: Credentials | None
) -> None:
    application = FakeApplication({AuthenticateRequested: Verified(user="device-1")})
    server = pair(unknown_client(), application, policy=coded())
    exchange = session(credentials).enroll(info(own_key()), code=code)
    assert isinstance(server.run(exchange), Enrolled)
    questions = [each for each in application.asked if isinstance(each, AuthenticateRequested)]
    assert [question.credentials for question in questions] == [seen or code]
    is_linked = [each.linked for each in application.asked if isinstance(each, EnrollRequested)]
    assert is_linked == [code is None or code.source is CodeSource.OTP_CHALLENGE]
