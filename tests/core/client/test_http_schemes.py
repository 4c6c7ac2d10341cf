"""How a client answers challenges: by which scheme, with which nonce and count, and when not."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    AuthChallenge,
    AuthScheme,
    BasicCredentials,
    BearerCredentials,
    Challenged,
    ClientExchange,
    ClientSession,
    CodeCredentials,
    CodeSource,
    ConnectRequested,
    CredentialsRequested,
    CSRAttrsReceived,
    DigestCredentials,
    Enrolled,
    EstUri,
    Failed,
    LocalProtocolError,
    NotAvailable,
    Operation,
    Password,
    Pending,
    RedirectRequested,
    RetryLater,
    SendRequest,
    TrustClass,
)
from est_core.auth.digest import DigestAlgorithm, digest_answer, digest_secret
from est_core.client.digest_answers import DigestChallenge, strongest_challenge
from est_core.codec.authheader import parse_authorization, write_authorization
from est_core.error_codes import SECTIONS, by_code
from est_core.testing import FIXED_INSTANT, CountingEntropy
from tests.core.asn1.build import vector
from tests.core.cast import LIMITS, info, server_channel
from tests.core.client_cast import (
    BASIC,
    URI,
    answered,
    challenged,
    ok,
    own_certificate_bag,
    own_key,
    reached,
    redirected,
    sent,
    take,
)
from tests.pki import pki
from tests.reached import reached as come_to
from tests.reached import reaches

EXAMPLES = json.loads(vector("rfc7616/digest-examples.json"))["cases"]
MUFASA = Password(user="Mufasa", password="Circle of Life")
REALM = "http-auth@example.org"
BEARER = AuthChallenge(scheme="Bearer", parameters=(("realm", "est"),))
NEGOTIATE = AuthChallenge(scheme="Negotiate")
ELSEWHERE = "https://other.example/.well-known/est/simpleenroll"
MD5, SHA_256, SHA_512_256 = DigestAlgorithm


def digest(
    algorithm: str | None = "SHA-256",
    *,
    nonce: str | None = "n1",
    realm: str | None = REALM,
    qop: str | None = "auth",
    **more: str,
) -> AuthChallenge:
    wanted = {"realm": realm, "nonce": nonce, "qop": qop, "algorithm": algorithm, **more}
    found = tuple((name, value) for name, value in wanted.items() if value is not None)
    return AuthChallenge(scheme="Digest", parameters=found)


def session(
    credentials: object = MUFASA, *, entropy: bool = True, uri: EstUri = URI
) -> ClientSession:
    return ClientSession(
        uri,
        trust=(pki().ca.certificate,),
        credentials=credentials,  # type: ignore[arg-type]  # what may be wrong is given too
        entropy=CountingEntropy() if entropy else None,
    )


def asked(operation: Operation, *challenges: AuthChallenge, reason: str = "") -> Challenged:
    return Challenged(operation=operation, challenges=challenges, reason=reason, status=401)


def next_sent(exchange: ClientExchange) -> DigestCredentials:
    """The Digest answer that goes with the next request."""
    credentials = sent(exchange).request.credentials
    assert isinstance(credentials, DigestCredentials), credentials
    return credentials


def after(exchange: ClientExchange, *challenges: AuthChallenge) -> DigestCredentials:
    """The answer to a 401 of the request that is on its way."""
    exchange.receive_response(asked(exchange.operation, *challenges), FIXED_INSTANT)
    return next_sent(exchange)


def proves(credentials: DigestCredentials, password: Password = MUFASA) -> bool:
    algorithm = DigestAlgorithm.named(credentials.get("algorithm"))
    assert algorithm is not None
    realm = (credentials.get("realm") or "").encode("latin-1").decode("utf-8", "replace")
    secret = digest_secret(algorithm, credentials.user, realm, password.password)
    return credentials.get("response") == digest_answer(secret, credentials)


# Which scheme

MD5_ONLY, SHA, TRUNCATED = digest(None), digest("SHA-256"), digest("SHA-512-256")


@pytest.mark.req("EST-047", "EST-040")
@pytest.mark.parametrize(
    ("challenges", "algorithm"),
    [
        ((MD5_ONLY,), None),
        ((digest("md5"),), "MD5"),
        ((MD5_ONLY, SHA), "SHA-256"),
        ((SHA, MD5_ONLY, BASIC), "SHA-256"),
        ((BASIC, BEARER, MD5_ONLY, TRUNCATED, SHA), "SHA-512-256"),
        ((digest("SHA-3"), NEGOTIATE, MD5_ONLY), None),
        ((digest("SHA-256-sess"), BASIC, digest("sha-256")), "SHA-256"),
        ((digest("SHA-256", qop="auth-int"), MD5_ONLY), None),
    ],
)
def test_the_strongest_algorithm_is_answered_wherever_it_stands(
    challenges: tuple[AuthChallenge, ...], algorithm: str | None
) -> None:
    exchange = session().cacerts()
    assert sent(exchange).request.credentials is None
    answer = after(exchange, *challenges)
    assert answer.get("algorithm") == algorithm
    assert proves(answer)


def test_the_answer_is_the_hash_of_rfc_7616_3_4_1() -> None:
    exchange = session().cacerts()
    sent(exchange)
    answer = after(exchange, digest("SHA-256", nonce="7ypf/xlj9XXw", opaque="FQhe"))

    def hashed(*parts: str) -> str:
        return hashlib.sha256(":".join(parts).encode()).hexdigest()

    secret = hashed("Mufasa", REALM, "Circle of Life")
    target = "/.well-known/est/cacerts"
    cnonce = answer.get("cnonce") or ""
    response = hashed(secret, "7ypf/xlj9XXw", "00000001", cnonce, "auth", hashed("GET", target))
    assert dict(answer.parameters) == {
        "realm": REALM,
        "nonce": "7ypf/xlj9XXw",
        "uri": target,
        "algorithm": "SHA-256",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": cnonce,
        "response": response,
        "opaque": "FQhe",
    }
    assert (answer.user, answer.method, answer.target) == ("Mufasa", "GET", target)
    assert len(cnonce) == 24


@pytest.mark.req("EST-047")
@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: str(case["id"]))
def test_the_answers_of_rfc_7616_3_9_are_given(case: dict[str, Any]) -> None:
    known = Password(user=case["username"], password=case["password"])
    offered = digest(
        case["algorithm"], realm=case["realm"], nonce=case["nonce"], opaque=case["opaque"]
    )
    found = strongest_challenge([offered], LIMITS)
    assert isinstance(found, DigestChallenge)
    answer = found.answer(
        known,
        int(case["nc"], 16),
        lambda _size: b64decode(case["cnonce"]),
        method=case["method"],
        target=case["uri"],
    )
    right = case if "response" in case else case["with_real_sha512_256"]
    assert answer.get("response") == right["response"]
    assert {name: answer.get(name) for name in ("cnonce", "nc", "opaque", "qop", "uri")} == {
        name: case[name] for name in ("cnonce", "nc", "opaque", "qop", "uri")
    }


@pytest.mark.req("EST-048")
def test_qop_nc_and_algorithm_go_unquoted_and_everything_else_quoted() -> None:
    exchange = session().cacerts()
    sent(exchange)
    answer = after(exchange, digest("SHA-256", opaque='a "b"'))
    text = write_authorization(answer)
    for bare in (", qop=auth,", ", nc=00000001,", ", algorithm=SHA-256,", r', opaque="a \"b\""'):
        assert bare in f"{text},"
    read = parse_authorization(text, LIMITS)
    assert isinstance(read, DigestCredentials)
    assert read.parameters == (("username", "Mufasa"), *answer.parameters)


def test_the_method_and_the_target_are_those_of_the_request() -> None:
    exchange = session(uri=EstUri.parse("https://est.example/printers")).enroll(info(own_key()))
    sent(exchange)
    answer = after(exchange, digest())
    target = "/.well-known/est/printers/simpleenroll"
    assert (answer.method, answer.get("uri")) == ("POST", target)
    answered_again = redirected(SIMPLEENROLL, "/.well-known/est/other/simpleenroll")
    exchange.receive_response(answered_again, FIXED_INSTANT)
    moved = next_sent(exchange)
    assert (moved.get("uri"), moved.get("nc")) == (
        "/.well-known/est/other/simpleenroll",
        "00000002",
    )
    assert proves(moved)


@pytest.mark.req("EST-050")
def test_names_and_realms_beyond_ascii_are_hashed_as_their_octets() -> None:
    known = Password(user="Jäsøn Doe", password="Secret, größer")
    octets = "Jäger".encode().decode("latin-1")  # as a header is read
    exchange = session(known).cacerts()
    sent(exchange)
    answer = after(exchange, digest("SHA-256", realm=octets, charset="UTF-8", userhash="true"))
    assert proves(answer, known)
    text = write_authorization(answer)
    assert "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe" in text
    assert f'realm="{octets}"' in text
    assert "userhash" not in text


def test_a_realm_in_iso_8859_1_is_sent_back_as_it_came() -> None:
    exchange = session().cacerts()
    sent(exchange)
    assert after(exchange, digest(realm="J\xe4ger")).get("realm") == "J\xe4ger"


def test_each_realm_is_answered_for_itself() -> None:
    mine = digest("SHA-256", realm="mine", nonce="n2")
    for challenges in ((MD5_ONLY, mine), (mine, MD5_ONLY)):
        exchange = session().cacerts()
        sent(exchange)
        answer = after(exchange, *challenges)
        assert (answer.get("realm"), answer.get("nonce")) == ("mine", "n2")
        assert proves(answer)


@pytest.mark.parametrize("challenges", [(BASIC,), (digest("X"), BASIC, BEARER), ()])
def test_a_password_goes_by_basic_where_there_is_nothing_better(
    challenges: tuple[AuthChallenge, ...],
) -> None:
    exchange = session().cacerts()
    answered(exchange, asked(CACERTS, *challenges))
    assert sent(exchange).request.credentials == BasicCredentials(
        user="Mufasa", password="Circle of Life"
    )


UNANSWERABLE = [
    digest("SHA-3"),
    digest("MD5-sess"),
    digest(""),
    digest(qop="auth-int"),
    digest(qop=None),
    digest(qop=""),
    digest(nonce=None),
    digest(nonce=""),
    digest(realm=None),
    digest(nonce="a\r\nX: y"),
    digest(nonce="a\x00"),
    digest(nonce="\xe4"),
    digest(nonce="\u20ac"),
    digest(realm="a\nb"),
    digest(opaque="\x7f"),
    digest(nonce="n" * 3000),
    digest(opaque="o" * 3000),
    AuthChallenge(scheme="Digest"),
    AuthChallenge(scheme="digest", parameters=(*digest().parameters, ("NONCE", "n2"))),
]


@pytest.mark.req("EST-041")
@pytest.mark.parametrize("challenge", UNANSWERABLE)
def test_a_challenge_that_cannot_be_answered_ends_the_exchange_or_is_passed_over(
    challenge: AuthChallenge,
) -> None:
    exchange = session().cacerts()
    refusal = answered(exchange, asked(CACERTS, challenge, NEGOTIATE))
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("auth/unanswerable-challenge", refusal)
    exchange = session().cacerts()
    sent(exchange)
    assert after(exchange, challenge, SHA, BASIC).get("nonce") == "n1"


@pytest.mark.req("EST-041")
@pytest.mark.parametrize("challenges", [(BEARER,), (NEGOTIATE, BEARER)])
def test_a_password_answers_no_scheme_that_is_not_for_passwords(
    challenges: tuple[AuthChallenge, ...],
) -> None:
    exchange = session().cacerts()
    answered(exchange, asked(CACERTS, *challenges, reason="no"))
    result = take(exchange, Failed)
    assert result.code == "auth/scheme-not-offered"
    assert all(challenge.scheme in result.message for challenge in challenges)
    assert "Circle" not in str(result)


def test_what_is_wrong_with_the_first_challenge_is_told() -> None:
    exchange = session().cacerts()
    answered(exchange, asked(CACERTS, digest("SHA-3"), digest(qop="auth-int")))
    assert "SHA-3" in take(exchange, Failed).message


@pytest.mark.parametrize(("more", "is_answered"), [(0, True), (1, False)])
def test_what_is_sent_back_is_a_quarter_of_a_header_at_most(more: int, is_answered: bool) -> None:
    nonce = "n" * (LIMITS.auth_header_bytes // 4 - len(REALM) + more)
    exchange = session().cacerts()
    answered(exchange, asked(CACERTS, digest(nonce=nonce)))
    assert isinstance(exchange.next_event(), ConnectRequested if is_answered else Failed)


def test_many_schemes_are_not_all_named() -> None:
    for count, more in ((4, ""), (5, ", ...")):
        exchange = session().cacerts()
        schemes = [AuthChallenge(scheme=f"S{number}") for number in range(count)]
        answered(exchange, asked(CACERTS, *schemes))
        assert f"takes S0, S1, S2, S3{more}, and" in take(exchange, Failed).message


def test_without_entropy_a_nonce_of_an_earlier_exchange_is_not_used() -> None:
    client = session(entropy=False)
    exchange = client.cacerts()
    exchange.provide_entropy(CountingEntropy())
    sent(exchange)
    after(exchange, SHA)
    assert sent(client.cacerts()).request.credentials is None


def test_without_entropy_digest_is_not_answered_and_basic_is() -> None:
    exchange = session(entropy=False).cacerts()
    answered(exchange, asked(CACERTS, SHA))
    assert take(exchange, Failed).code == "auth/no-entropy"
    exchange = session(entropy=False).cacerts()
    answered(exchange, asked(CACERTS, SHA, BASIC))
    assert isinstance(sent(exchange).request.credentials, BasicCredentials)
    exchange = session(entropy=False).cacerts()
    exchange.provide_entropy(CountingEntropy())
    sent(exchange)
    assert proves(after(exchange, SHA, BASIC))


def test_a_one_time_code_goes_by_basic_alone() -> None:
    code = replace(MUFASA, basic_only=True)
    exchange = session(code).cacerts()
    answered(exchange, asked(CACERTS, SHA, BASIC))
    assert isinstance(sent(exchange).request.credentials, BasicCredentials)
    for challenge in (SHA, digest("SHA-3")):
        exchange = session(code).cacerts()
        answered(exchange, asked(CACERTS, challenge))
        result = take(exchange, Failed)
        assert result.code == "auth/scheme-not-offered"
        assert "Basic alone" in result.message


@pytest.mark.parametrize(
    ("user", "password"), [("a:b", "x"), ("a\n", "x"), ("a", "\0"), ("\ud800", "")]
)
def test_a_password_is_what_every_scheme_can_carry(user: str, password: str) -> None:
    with pytest.raises(LocalProtocolError):
        Password(user=user, password=password)


def test_a_password_does_not_show_itself() -> None:
    assert "Circle" not in repr(MUFASA)
    assert "Circle" not in repr(session().cacerts())


# Counts and nonces


@pytest.mark.req("EST-047")
def test_a_nonce_is_used_again_with_a_higher_count_in_later_requests_of_the_session() -> None:
    client = session()
    exchange = client.csrattrs()
    assert sent(exchange).request.credentials is None
    first = after(exchange, digest(opaque="o"))
    exchange.receive_response(NotAvailable(operation=CSRATTRS), FIXED_INSTANT)
    take(exchange, CSRAttrsReceived)
    exchange = client.enroll(info(own_key()))
    second = next_sent(exchange)
    exchange.receive_response(Pending(operation=SIMPLEENROLL), FIXED_INSTANT)
    exchange.handle_timeout(take(exchange, RetryLater).at)
    third = next_sent(exchange)
    exchange.connection_lost(sent=False)
    fourth = next_sent(exchange)
    exchange.receive_response(ok(SIMPLEENROLL, own_certificate_bag()), FIXED_INSTANT)
    take(exchange, Enrolled)
    answers = (first, second, third, fourth)
    assert [int(answer.get("nc") or "", 16) for answer in answers] == [1, 2, 3, 4]
    assert {(answer.get("nonce"), answer.get("opaque")) for answer in answers} == {("n1", "o")}
    assert len({answer.get("cnonce") for answer in answers}) == 4
    assert all(map(proves, answers))


def test_a_server_that_makes_the_same_nonce_again_sees_a_higher_count() -> None:
    client = session(None)
    counts = []
    for _ in range(3):
        exchange = client.cacerts()
        answered(exchange, asked(CACERTS, SHA))
        take(exchange, CredentialsRequested)
        exchange.provide_credentials(MUFASA)
        counts.append(next_sent(exchange).get("nc"))
    assert counts == ["00000001", "00000002", "00000003"]


def test_many_nonces_are_not_all_remembered() -> None:
    client = session(None)
    for number in range(40):
        exchange = client.cacerts()
        answered(exchange, asked(CACERTS, digest(nonce=f"n{number % 20}")))
        take(exchange, CredentialsRequested)
        exchange.provide_credentials(MUFASA)
        assert next_sent(exchange).get("nc") == "00000001"


@pytest.mark.req("EST-047")
def test_a_stale_nonce_is_answered_once_with_the_new_one_and_is_no_refusal() -> None:
    exchange = session().cacerts()
    sent(exchange)
    after(exchange, SHA)
    answer = after(exchange, digest(nonce="n2", stale="TRUE"))
    assert (answer.get("nonce"), answer.get("nc")) == ("n2", "00000001")
    exchange.receive_response(asked(CACERTS, SHA), FIXED_INSTANT)
    assert take(exchange, CredentialsRequested).attempt == 2


def test_a_server_that_calls_every_nonce_stale_is_not_answered_for_ever() -> None:
    exchange = session().cacerts()
    sent(exchange)
    for number in range(2):
        after(exchange, digest(nonce=f"n{number}", stale="true"))
    exchange.receive_response(asked(CACERTS, digest(stale="true")), FIXED_INSTANT)
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(None)
    assert take(exchange, Failed).code == "auth/refused"


def test_a_nonce_of_an_earlier_exchange_may_be_forgotten_without_a_word() -> None:
    client = session()
    exchange = client.cacerts()
    sent(exchange)
    after(exchange, SHA)
    exchange = client.cacerts()
    assert next_sent(exchange).get("nonce") == "n1"
    assert after(exchange, digest(nonce="n2")).get("nonce") == "n2"
    exchange.receive_response(asked(CACERTS, digest(nonce="n3")), FIXED_INSTANT)
    assert take(exchange, CredentialsRequested).attempt == 2


def test_a_refused_password_is_not_tried_by_a_weaker_scheme() -> None:
    for second in ((SHA, BASIC), (MD5_ONLY, BASIC), (BASIC,)):
        exchange = session().cacerts()
        sent(exchange)
        after(exchange, SHA, BASIC)
        exchange.receive_response(asked(CACERTS, *second), FIXED_INSTANT)
        assert take(exchange, CredentialsRequested).attempt == 2
        exchange.provide_credentials(None)
        assert take(exchange, Failed).code == "auth/refused"


def test_a_nonce_may_be_forgotten_while_a_request_is_pending_and_go_stale_after_that() -> None:
    exchange = session().enroll(info(own_key()))
    sent(exchange)
    after(exchange, SHA)
    after(exchange, digest(nonce="n2", stale="true"))
    for first in ("n3", "n5"):
        exchange.receive_response(Pending(operation=SIMPLEENROLL), FIXED_INSTANT)
        exchange.handle_timeout(take(exchange, RetryLater).at)
        next_sent(exchange)
        assert after(exchange, digest(nonce=first)).get("nonce") == first
        assert after(exchange, digest(nonce="n4", stale="true")).get("nonce") == "n4"
    exchange.receive_response(asked(SIMPLEENROLL, digest(nonce="n6")), FIXED_INSTANT)
    assert take(exchange, CredentialsRequested).attempt == 2


def test_a_session_goes_on_with_its_own_password_and_not_with_that_of_a_callback() -> None:
    client = session()
    exchange = client.cacerts()
    sent(exchange)
    after(exchange, SHA)
    exchange.receive_response(asked(CACERTS, SHA), FIXED_INSTANT)
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(replace(MUFASA, password="Hakuna"))
    next_sent(exchange)
    assert sent(client.cacerts()).request.credentials is None


def test_what_a_callback_gave_and_the_server_then_does_not_take_is_asked_for_again() -> None:
    exchange = session(None).cacerts()
    answered(exchange, asked(CACERTS, BASIC))
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(BasicCredentials(user="Mufasa", password="x"))
    sent(exchange)
    exchange.receive_response(asked(CACERTS, SHA), FIXED_INSTANT)
    assert take(exchange, CredentialsRequested).attempt == 2


def test_a_nonce_of_a_refused_password_is_not_used_again() -> None:
    client = session()
    exchange = client.cacerts()
    sent(exchange)
    after(exchange, SHA)
    exchange.receive_response(asked(CACERTS, SHA), FIXED_INSTANT)
    assert sent(client.cacerts()).request.credentials is None


# Unasked, and by a callback


@pytest.mark.req("EST-041", "EST-051")
@pytest.mark.parametrize(
    ("hint", "challenges"),
    [
        (BasicCredentials(user="Mufasa", password="Circle"), (SHA, MD5_ONLY)),
        (BasicCredentials(user="Mufasa", password="Circle"), (BEARER,)),
        (BearerCredentials(token="Circle"), (BASIC, SHA)),
    ],
)
def test_credentials_sent_unasked_that_the_server_does_not_take_are_a_clear_error(
    hint: BasicCredentials | BearerCredentials, challenges: tuple[AuthChallenge, ...]
) -> None:
    exchange = session(hint).cacerts()
    assert sent(exchange).request.credentials == hint
    exchange.receive_response(asked(CACERTS, *challenges), FIXED_INSTANT)
    result = take(exchange, Failed)
    assert result.code == "auth/scheme-not-offered"
    assert challenges[0].scheme in result.message
    assert "Circle" not in str(result)


@pytest.mark.parametrize(
    ("credentials", "challenges"),
    [
        (BasicCredentials(user="Mufasa", password="x"), (SHA,)),
        (BearerCredentials(token="t"), (SHA, BASIC)),
        (MUFASA, (BEARER,)),
    ],
)
def test_an_answer_of_a_scheme_that_was_not_asked_for_is_not_sent(
    credentials: Password | BasicCredentials | BearerCredentials,
    challenges: tuple[AuthChallenge, ...],
) -> None:
    exchange = session(None).cacerts()
    answered(exchange, asked(CACERTS, *challenges))
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(credentials)
    assert take(exchange, Failed).code == "auth/scheme-not-offered"


@pytest.mark.req("EST-040", "EST-069")
def test_a_callback_is_told_the_schemes_and_answers_by_one_of_them() -> None:
    exchange = session(None).cacerts()
    answered(exchange, asked(CACERTS, NEGOTIATE, SHA, MD5_ONLY, BEARER))
    question = take(exchange, CredentialsRequested)
    assert question.schemes == {AuthScheme.DIGEST, AuthScheme.BEARER}
    exchange.provide_credentials(BearerCredentials(token="t"))
    assert sent(exchange).request.credentials == BearerCredentials(token="t")
    exchange = session(None).cacerts()
    answered(exchange, asked(CACERTS, NEGOTIATE, SHA))
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(MUFASA)
    assert proves(next_sent(exchange))


def test_a_code_for_the_csr_is_no_answer_to_a_challenge() -> None:
    code = CodeCredentials(code="x", source=CodeSource.OTP_CHALLENGE)
    with pytest.raises(LocalProtocolError):
        session(code)
    exchange = session(None).cacerts()
    answered(exchange, challenged(CACERTS))
    take(exchange, CredentialsRequested)
    with pytest.raises(LocalProtocolError):
        exchange.provide_credentials(code)


def test_a_callback_may_answer_by_another_password_after_a_refused_one() -> None:
    exchange = session().cacerts()
    sent(exchange)
    after(exchange, SHA)
    exchange.receive_response(asked(CACERTS, SHA), FIXED_INSTANT)
    take(exchange, CredentialsRequested)
    other = replace(MUFASA, password="Hakuna")
    exchange.provide_credentials(other)
    answer = next_sent(exchange)
    assert proves(answer, other)
    assert answer.get("nc") == "00000002"
    exchange.receive_response(asked(CACERTS, SHA), FIXED_INSTANT)
    assert take(exchange, Failed).code == "auth/refused"


# To whom not


@pytest.mark.req("EST-043", "EST-081")
@pytest.mark.parametrize("trust", [TrustClass.FAILED, TrustClass.NONE])
def test_no_answer_goes_to_a_server_that_is_not_authorised(trust: TrustClass) -> None:
    client = session()
    exchange = client.cacerts()
    sent(exchange)
    after(exchange, SHA)
    exchange.connection_lost(sent=True)
    take(exchange, ConnectRequested)
    exchange.connected(server_channel(trust=trust))
    assert take(exchange, Failed).code == "server/untrusted"


@pytest.mark.req("EST-044")
@pytest.mark.parametrize("challenges", [(SHA,), (BASIC,), (BEARER,), ()])
def test_a_bootstrap_answers_no_challenge_whatever_it_has(
    challenges: tuple[AuthChallenge, ...],
) -> None:
    client = ClientSession(URI, credentials=MUFASA, entropy=CountingEntropy())
    exchange = client.cacerts(bootstrap=True)
    event = sent(exchange, server_channel(trust=TrustClass.FAILED))
    assert event.request.credentials is None
    exchange.receive_response(asked(CACERTS, *challenges), FIXED_INSTANT)
    assert take(exchange, Failed).code == "auth/provisional"


@pytest.mark.req("EST-020")
@pytest.mark.parametrize("when", ["before a challenge", "after an answer"])
def test_a_password_goes_to_no_other_origin(when: str) -> None:
    exchange = session().enroll(info(own_key()))
    sent(exchange)
    if when == "after an answer":
        after(exchange, SHA)
    exchange.receive_response(redirected(SIMPLEENROLL, ELSEWHERE), FIXED_INSTANT)
    take(exchange, RedirectRequested)
    exchange.provide_redirect(follow=True)
    assert sent(exchange).request.credentials is None
    exchange.receive_response(asked(SIMPLEENROLL, SHA, BASIC), FIXED_INSTANT)
    question = take(exchange, CredentialsRequested)
    assert question.uri.host == "other.example"
    exchange.provide_credentials(replace(MUFASA, user="Scar"))
    assert next_sent(exchange).user == "Scar"


# Whatever a server asks

TEXTS = st.text(st.characters(max_codepoint=0x17F), max_size=12) | st.sampled_from(
    ["auth", "auth-int, auth", "n" * 2100, "true", "SHA-256"]
)
PARAMETERS = st.tuples(
    st.sampled_from(["realm", "nonce", "qop", "algorithm", "opaque", "stale", "charset", "x"]),
    TEXTS,
)


@st.composite
def digests(draw: st.DrawFn) -> AuthChallenge:
    """A challenge as it should be, in some of which one or two parameters are something else."""
    algorithm = draw(st.sampled_from([None, *(each.value for each in DigestAlgorithm)]))
    nonce = draw(st.sampled_from(["n1", "n2", "n3"]))
    parameters = dict(digest(algorithm, nonce=nonce).parameters)
    parameters.update(draw(st.lists(PARAMETERS, max_size=draw(st.sampled_from([0, 0, 2])))))
    again = draw(st.sampled_from([(), (), (), (("Nonce", "n9"),)]))
    return AuthChallenge(scheme="Digest", parameters=(*parameters.items(), *again))


OTHERS = st.sampled_from([BASIC, BEARER, NEGOTIATE])
ALL_CODES = by_code(SECTIONS).keys()


@reaches(digest=30, basic=2, failed=10, question=10)
@given(st.lists(st.lists(digests() | digests() | OTHERS, max_size=4), min_size=1, max_size=6))
def test_any_challenges_are_answered_as_asked_or_end_in_a_coded_failure(
    rounds: list[list[AuthChallenge]],
) -> None:
    exchange = session().cacerts()
    uses: set[tuple[str | None, str | None]] = set()
    sent(exchange)
    for challenges in rounds:
        exchange.receive_response(asked(CACERTS, *challenges), FIXED_INSTANT)
        event = exchange.next_event()
        if isinstance(event, CredentialsRequested):
            come_to("question")
            exchange.provide_credentials(MUFASA)
            event = exchange.next_event()
        if isinstance(event, Failed):
            come_to("failed")
            assert event.code in ALL_CODES
            assert "Circle" not in str(event)
            return
        assert isinstance(event, ConnectRequested)
        exchange.connected(reached())
        credentials = take(exchange, SendRequest).request.credentials
        assert credentials is not None
        write_authorization(credentials)
        schemes = {challenge.known_scheme for challenge in challenges}
        if isinstance(credentials, DigestCredentials):
            come_to("digest")
            assert proves(credentials) or not (credentials.get("realm") or "").isascii()
            use = (credentials.get("nonce"), credentials.get("nc"))
            assert use not in uses
            uses.add(use)
            assert AuthScheme.DIGEST in schemes
        else:
            come_to("basic")
            assert isinstance(credentials, BasicCredentials)
            assert not challenges or AuthScheme.BASIC in schemes
