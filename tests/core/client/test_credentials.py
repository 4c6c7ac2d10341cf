"""Which servers a client believes, when it shows credentials, and where redirects take it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    AuthChallenge,
    BasicCredentials,
    Challenged,
    ClientExchange,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    Enrolled,
    EnrollRequested,
    EstUri,
    Failed,
    Label,
    Limits,
    OperationDefinition,
    Pend,
    Pending,
    RedirectRequested,
    Response,
    RetryLater,
    SendRequest,
    TlsVersion,
    TrustClass,
)
from est_core.testing import FIXED_INSTANT
from tests.application import GOOD, WRONG, FakeApplication
from tests.core.cast import info, server_channel
from tests.core.client_cast import (
    URI,
    Network,
    answered,
    challenged,
    csr_of,
    enrollment,
    failed,
    own_key,
    pair,
    ra_server,
    reached,
    redirected,
    sent,
    session,
    take,
)
from tests.pki import CMC_RA, Entity, Subject, pki

ENROLL = SIMPLEENROLL
PATH = "/.well-known/est/simpleenroll"
ELSEWHERE = f"https://other.example{PATH}"

# Which server

PLAIN, RA = "plain", "cmcRA"
UNTRUSTED, OTHER_NAME = "server/untrusted", "server/name-mismatch"
SERVERS = [
    (TrustClass.EXPLICIT, True, PLAIN, None),
    (TrustClass.EXPLICIT, True, RA, None),
    (TrustClass.EXPLICIT, False, RA, None),
    (TrustClass.EXPLICIT, False, PLAIN, OTHER_NAME),
    (TrustClass.IMPLICIT, True, PLAIN, None),
    (TrustClass.IMPLICIT, True, RA, None),
    (TrustClass.IMPLICIT, False, RA, OTHER_NAME),
    (TrustClass.IMPLICIT, False, PLAIN, OTHER_NAME),
    (TrustClass.FAILED, True, PLAIN, UNTRUSTED),
    (TrustClass.FAILED, True, RA, UNTRUSTED),
    (TrustClass.NONE, True, PLAIN, UNTRUSTED),
]


@pytest.mark.req("EST-081", "EST-083", "EST-084", "EST-043", "EST-062", "EST-114", "EST-134")
@pytest.mark.parametrize(("trust", "name_matches", "kind", "refusal"), SERVERS)
@pytest.mark.parametrize("operation", [CACERTS, ENROLL])
def test_nothing_is_sent_to_a_server_that_is_not_authorised(
    operation: OperationDefinition,
    trust: TrustClass,
    name_matches: bool,
    kind: str,
    refusal: str | None,
) -> None:
    csr = info(own_key()) if operation is ENROLL else None
    exchange = ClientExchange(session(credentials=GOOD), operation, csr)
    server = ra_server() if kind == RA else pki().server
    on = server_channel(trust=trust, name_matches=name_matches, server=server)
    if refusal is None:
        assert sent(exchange, on).request.credentials == GOOD
        return
    take(exchange, ConnectRequested)
    exchange.connected(on)
    assert take(exchange, Failed).code == refusal


def test_the_transports_finding_is_the_message_of_an_untrusted_server() -> None:
    exchange = session().cacerts()
    take(exchange, ConnectRequested)
    exchange.connected(
        replace(server_channel(trust=TrustClass.FAILED), failure="certificate has expired")
    )
    assert take(exchange, Failed).message == "certificate has expired"


@pytest.mark.req("EST-081", "EST-031")
def test_every_new_channel_is_checked_again() -> None:
    exchange = session().cacerts()
    sent(exchange)
    exchange.connection_lost(sent=True)
    take(exchange, ConnectRequested)
    exchange.connected(server_channel(name_matches=False))
    assert take(exchange, Failed).code == OTHER_NAME


def unreadable_server() -> Entity:
    """A server whose certificate has a subjectAltName that no decoder knows (x400Address)."""
    name = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.17"), b"\x30\x04\xa3\x02\x30\x00"
    )
    entity = pki().ca.issue(Subject(name="est.example", eku=(CMC_RA,), extra=(name,)))
    with pytest.raises(x509.UnsupportedGeneralNameType):
        _ = entity.certificate.extensions
    return entity


def test_extensions_that_cannot_be_read_make_no_ra_and_no_exception() -> None:
    exchange = session().cacerts()
    take(exchange, ConnectRequested)
    exchange.connected(server_channel(server=unreadable_server(), name_matches=False))
    assert take(exchange, Failed).code == OTHER_NAME


# Credentials


def unknown_client() -> Network:
    """A network on which the server sees no client certificate."""
    return Network(client_trust=TrustClass.NONE)


@pytest.mark.req("EST-036", "EST-051", "EST-069")
def test_credentials_are_sent_after_a_challenge_and_not_before() -> None:
    server = pair(unknown_client(), credentials=(GOOD,))
    assert isinstance(server.run(enrollment()), Enrolled)
    first, second = server.messages
    assert first.request.values(b"authorization") == ()
    assert first.response.status == 401
    assert second.request.values(b"authorization") != ()


@pytest.mark.req("EST-051")
def test_credentials_of_the_session_are_sent_at_once() -> None:
    server = pair(unknown_client())
    assert isinstance(server.run(enrollment(session(credentials=GOOD))), Enrolled)
    assert len(server.messages) == 1


def test_credentials_are_tried_twice_and_not_more() -> None:
    server = pair(unknown_client(), credentials=(WRONG, WRONG, GOOD))
    result = failed(server.run(enrollment()))
    assert result.code == "auth/refused"
    assert result.response is not None
    assert result.response.status == 401
    assert len(server.messages) == 3


def test_credentials_of_the_session_count_as_a_try() -> None:
    server = pair(unknown_client(), credentials=(WRONG, GOOD))
    result = failed(server.run(enrollment(session(credentials=WRONG))))
    assert result.code == "auth/refused"
    assert len(server.messages) == 2


def test_the_second_try_may_succeed() -> None:
    server = pair(unknown_client(), credentials=(WRONG, GOOD))
    assert isinstance(server.run(enrollment()), Enrolled)


def test_each_question_for_credentials_says_which_try_it_is() -> None:
    exchange = enrollment()
    for attempt in (1, 2):
        answered(exchange, challenged(ENROLL))
        assert take(exchange, CredentialsRequested).attempt == attempt
        exchange.provide_credentials(WRONG)


def test_an_accepted_request_starts_the_count_anew() -> None:
    """A Digest answer is good for one nonce: each repeat of a pending request has its own 401."""
    exchange = enrollment()
    for _ in range(4):
        answered(exchange, challenged(ENROLL))
        take(exchange, CredentialsRequested)
        exchange.provide_credentials(GOOD)
        answered(exchange, Pending(operation=ENROLL))
        exchange.handle_timeout(take(exchange, RetryLater).at)


def bare_401(reason: str = "") -> Response:
    return Challenged(operation=ENROLL, reason=reason, status=401)


@pytest.mark.req("EST-041")
def test_a_client_without_credentials_gives_up() -> None:
    exchange = enrollment()
    refusal = answered(exchange, challenged(ENROLL))
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(None)
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("auth/no-credentials", refusal)


@pytest.mark.req("EST-041")
def test_a_401_without_challenge_after_credentials_is_their_refusal() -> None:
    exchange = enrollment(session(credentials=GOOD))
    refusal = answered(exchange, bare_401("unknown user"))
    assert take(exchange, Failed) == Failed(
        code="auth/refused",
        message="the server refuses the credentials: unknown user",
        response=refusal,
    )


@pytest.mark.req("EST-041")
def test_a_401_without_challenge_asks_for_credentials_once() -> None:
    exchange = enrollment()
    answered(exchange, bare_401())
    assert take(exchange, CredentialsRequested) == CredentialsRequested(
        uri=URI, challenges=(), attempt=1
    )
    exchange.provide_credentials(GOOD)
    assert sent(exchange).request.credentials == GOOD
    exchange.receive_response(bare_401(), FIXED_INSTANT)
    assert take(exchange, Failed).code == "auth/refused"


def test_a_401_without_challenge_and_nothing_to_answer_it_with_is_the_end() -> None:
    exchange = enrollment()
    refusal = answered(exchange, bare_401("log in first"))
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(None)
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("auth/no-challenge", refusal)
    assert result.message.endswith(": log in first")


def test_another_origin_has_to_name_its_scheme_before_it_is_given_a_password() -> None:
    exchange = enrollment(session(credentials=GOOD))
    answered(exchange, redirected(ENROLL, "https://other.example/.well-known/est/simpleenroll"))
    take(exchange, RedirectRequested)
    exchange.provide_redirect(follow=True)
    assert sent(exchange).request.credentials is None
    exchange.receive_response(bare_401(), FIXED_INSTANT)
    assert take(exchange, Failed).code == "auth/no-challenge"


def test_a_401_without_challenge_after_credentials_refuses_them() -> None:
    """Servers answer so to a wrong password, and nothing else is known to try."""
    exchange = enrollment(session(credentials=GOOD))
    refusal = Challenged(operation=ENROLL, reason="user is locked")
    answered(exchange, refusal)
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("auth/refused", refusal)


def test_every_challenge_is_handed_over_in_the_servers_order() -> None:
    schemes = ("Digest", "Negotiate", "Basic")
    challenges = tuple(AuthChallenge(scheme=scheme) for scheme in schemes)
    exchange = enrollment()
    answered(
        exchange,
        Challenged(operation=ENROLL, challenges=challenges),
    )
    assert take(exchange, CredentialsRequested).challenges == challenges


@pytest.mark.req("EST-042")
def test_an_empty_user_reaches_the_server() -> None:
    nameless = BasicCredentials(user="", password="one-time")
    application = FakeApplication()
    server = pair(unknown_client(), application, credentials=(nameless,))
    server.run(enrollment())
    assert getattr(application.asked[0], "credentials", None) == nameless


def test_given_credentials_are_used_again_when_a_pending_request_is_repeated() -> None:
    pending = FakeApplication(answers={EnrollRequested: Pend(retry_after_s=5)})
    server = pair(unknown_client(), pending, credentials=(GOOD,))
    exchange = enrollment()
    server.run(exchange)
    exchange.handle_timeout(FIXED_INSTANT.after(5))
    assert isinstance(server.run(exchange), RetryLater)
    assert [message.response.status for message in server.messages] == [401, 202, 202]


# Redirects


@pytest.mark.req("EST-019", "EST-023")
@pytest.mark.parametrize(
    "location",
    [
        f"https://est.example{PATH}",
        f"https://est.example:443{PATH}",
        f"HTTPS://EST.Example{PATH}",
        PATH,
    ],
)
def test_a_redirect_to_the_same_origin_is_followed_unasked_with_the_same_request(
    location: str,
) -> None:
    exchange = enrollment(session(credentials=GOOD))
    first = sent(exchange)
    exchange.receive_response(redirected(ENROLL, location), FIXED_INSTANT)
    assert take(exchange, ConnectRequested).uri.origin == URI.origin
    exchange.connected(reached())
    assert take(exchange, SendRequest).request == first.request


@pytest.mark.req("EST-019", "EST-004")
def test_a_redirect_may_lead_to_a_label() -> None:
    exchange = session().cacerts()
    answered(exchange, redirected(CACERTS, "/.well-known/est/printers/cacerts"))
    event = sent(exchange)
    assert event.request.label == Label("printers")


@pytest.mark.req("EST-023")
def test_redirects_are_bounded() -> None:
    exchange = ClientSession(URI, limits=Limits(redirects=2)).cacerts()
    for _ in range(3):
        answered(exchange, redirected(CACERTS, "/.well-known/est/cacerts"))
    assert take(exchange, Failed).code == "redirect/too-many"


@pytest.mark.req("EST-020", "EST-021")
def test_another_origin_needs_consent_and_gets_no_credentials() -> None:
    exchange = enrollment(session(credentials=GOOD))
    answered(exchange, redirected(ENROLL, ELSEWHERE))
    there = EstUri(host="other.example", port=443)
    assert take(exchange, RedirectRequested).uri == there
    exchange.provide_redirect(follow=True)
    event = sent(exchange)
    assert event.uri == there
    assert event.request.credentials is None
    exchange.receive_response(challenged(ENROLL), FIXED_INSTANT)
    take(exchange, CredentialsRequested)


@pytest.mark.req("EST-021")
def test_a_redirect_that_is_not_consented_to_ends_the_exchange() -> None:
    exchange = enrollment()
    answer = answered(exchange, redirected(ENROLL, ELSEWHERE))
    take(exchange, RedirectRequested)
    exchange.provide_redirect(follow=False)
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("redirect/refused", answer)
    assert "other.example" in result.message


@pytest.mark.req("EST-020", "EST-084")
def test_the_server_behind_a_redirect_is_checked_like_the_first() -> None:
    exchange = enrollment()
    answered(exchange, redirected(ENROLL, ELSEWHERE))
    take(exchange, RedirectRequested)
    exchange.provide_redirect(follow=True)
    take(exchange, ConnectRequested)
    exchange.connected(
        server_channel(trust=TrustClass.IMPLICIT, server=ra_server(), name_matches=False)
    )
    assert take(exchange, Failed).code == OTHER_NAME


@pytest.mark.req("EST-020", "EST-021")
@pytest.mark.parametrize(
    "location", [f"https://est.example:8443{PATH}", f"https://est2.example{PATH}"]
)
def test_another_port_or_host_is_another_origin(location: str) -> None:
    exchange = enrollment()
    answered(exchange, redirected(ENROLL, location))
    take(exchange, RedirectRequested)


@pytest.mark.req("EST-023", "EST-052")
@pytest.mark.parametrize(
    "location",
    [
        f"http://est.example{PATH}",
        f"coaps://est.example{PATH}",
        "https://est.example/.well-known/est/cacerts",
        "https://est.example/.well-known/est",
        "https://est.example/simpleenroll",
        "https://est.example/app/simpleenroll",
        f"https://user@est.example{PATH}",
        f"https://est.example{PATH}?to=me",
        f"https://est.example{PATH}#here",
        f"//other.example{PATH}",
        "simpleenroll",
        "",
        "/",
        "https://",
        "https://est.example:99999" + PATH,
        f"https://[::1{PATH}",
        "https://est.example/.well-known/est/a/b/simpleenroll",
        "https://est.example/.well-known/est/cacerts/simpleenroll",
        "https://est.example/" + "a" * 3000,
    ],
)
def test_a_redirect_to_anything_but_the_same_operation_over_https_is_not_followed(
    location: str,
) -> None:
    exchange = enrollment()
    answer = answered(exchange, redirected(ENROLL, location))
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("redirect/not-followed", answer)


def test_the_pair_follows_no_redirect_to_another_origin() -> None:
    server = pair(Network())
    exchange = enrollment()
    answered(exchange, redirected(ENROLL, ELSEWHERE))
    assert failed(server.run(exchange)).code == "redirect/refused"


def test_a_version_cap_holds_behind_a_redirect() -> None:
    capped = ClientSession(URI, max_version=TlsVersion.TLS_1_2)
    exchange = capped.enroll(info(own_key()))
    first = csr_of(sent(exchange))
    exchange.receive_response(redirected(ENROLL, ELSEWHERE), FIXED_INSTANT)
    take(exchange, RedirectRequested)
    exchange.provide_redirect(follow=True)
    assert take(exchange, ConnectRequested).max_version is TlsVersion.TLS_1_2
    exchange.connected(reached())
    assert csr_of(take(exchange, SendRequest)) == first
