"""Digest: hashes, nonces that nobody remembers, and what is wrong with an answer. RFC 7616."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    DigestAlgorithm,
    DigestCredentials,
    DigestScheme,
    LocalProtocolError,
    digest_proves,
)
from est_core.auth.digest import digest_answer, digest_secret
from est_core.auth.nonces import KEY_BYTES, Nonces, NonceState
from est_core.testing import FIXED_INSTANT
from tests.reached import reached, reaches

KEY: Final = bytes(range(KEY_BYTES))
VECTORS: Final = Path(__file__).parents[2] / "vectors"
TEXTS: Final = st.one_of(st.sampled_from(["x", "00000001"]), st.text())
CASES: Final = json.loads((VECTORS / "rfc7616/digest-examples.json").read_text("utf-8"))["cases"]
MD5, SHA_256 = DigestAlgorithm.MD5, DigestAlgorithm.SHA_256


def counted() -> Iterator[bytes]:
    return (number.to_bytes(12, "big") for number in count())


def scheme(realm: str = "est", key: bytes = KEY, **settings: object) -> DigestScheme:
    numbers = counted()
    return DigestScheme(
        realm=realm,
        key=key,
        entropy=lambda size: next(numbers)[:size],
        **settings,  # type: ignore[arg-type]  # whatever a test wants of it
    )


def answer(
    offered: DigestScheme,
    password: str | None = "secret",
    **changed: str | None,
) -> DigestCredentials:
    """The right answer of alice to the last challenge, then changed; None takes away."""
    challenge = offered.challenges(FIXED_INSTANT)[-1]
    algorithm = DigestAlgorithm.named(challenge.get("algorithm"))
    assert algorithm is not None
    parameters: dict[str, str | None] = {
        "username": "alice",
        "realm": challenge.get("realm"),
        "nonce": challenge.get("nonce"),
        "uri": "/.well-known/est/simpleenroll",
        "algorithm": challenge.get("algorithm"),
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "x",
    }
    given = tuple((name, value) for name, value in parameters.items() if value is not None)
    credentials = DigestCredentials(
        user="alice", parameters=given, method="POST", target="/.well-known/est/simpleenroll"
    )
    secret = digest_secret(algorithm, "alice", offered.realm, password or "")
    parameters |= {"response": digest_answer(secret, credentials)} | changed
    given = tuple((name, value) for name, value in parameters.items() if value is not None)
    return DigestCredentials(
        user="alice", parameters=given, method="POST", target="/.well-known/est/simpleenroll"
    )


# Hashes


@pytest.mark.req("EST-047")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_examples_of_rfc_7616_are_computed(case: dict[str, str]) -> None:
    algorithm = DigestAlgorithm.named(case["algorithm"])
    assert algorithm is not None
    # The last one was published with another hash than it names (erratum 4897).
    right = case.get("with_real_sha512_256") or case
    response = right["response"]  # type: ignore[index]
    names = ("realm", "uri", "algorithm", "nonce", "nc", "cnonce", "qop")
    credentials = DigestCredentials(
        user=case["username"],
        parameters=(*((name, case[name]) for name in names), ("response", response)),
        method=case["method"],
    )
    secret = digest_secret(algorithm, case["username"], case["realm"], case["password"])
    assert digest_answer(secret, credentials) == response
    assert digest_proves(credentials, secret)
    wrong = digest_secret(algorithm, case["username"], case["realm"], case["password"] + "x")
    assert not digest_proves(credentials, wrong)


@pytest.mark.parametrize("name", ["nonce", "nc", "cnonce", "uri"])
def test_an_answer_without_a_parameter_proves_nothing(name: str) -> None:
    secret = digest_secret(SHA_256, "alice", "est", "secret")
    credentials = answer(scheme(), **{name: None})
    assert not digest_proves(credentials, secret)
    with pytest.raises(LocalProtocolError, match="missing"):
        digest_answer(secret, credentials)


def test_credentials_without_an_answer_prove_nothing() -> None:
    secret = digest_secret(SHA_256, "alice", "est", "secret")
    assert not digest_proves(answer(scheme(), response=None), secret)


def test_what_is_no_unicode_and_a_user_with_a_colon_have_no_secret() -> None:
    for user, password in (("alice", "\ud800"), ("al:ice", "secret")):
        with pytest.raises(LocalProtocolError):
            digest_secret(MD5, user, "est", password)
    assert not digest_proves(answer(scheme(), response="\ud800"), "0" * 32)
    assert not digest_proves(answer(scheme(), algorithm="MD4"), "0" * 32)


@reaches(proven=1, not_proven=60)
@given(changed=st.sampled_from(["nonce", "nc", "cnonce", "uri", "response"]), text=TEXTS)
def test_an_answer_changed_anywhere_proves_nothing(changed: str, text: str) -> None:
    credentials = answer(scheme())
    secret = digest_secret(SHA_256, "alice", "est", "secret")
    assert digest_proves(credentials, secret)
    other = answer(scheme(), **{changed: text})
    assert digest_proves(other, secret) == (other == credentials)
    reached("proven" if other == credentials else "not_proven")


# Nonces


@pytest.mark.req("EST-049")
def test_a_nonce_is_fresh_then_stale_and_of_tomorrow_never_good() -> None:
    nonces = Nonces(key=KEY, realm="est", lifetime_s=300)
    nonce = nonces.make(FIXED_INSTANT, bytes)
    assert nonces.state(nonce, FIXED_INSTANT) is NonceState.FRESH
    assert nonces.state(nonce, FIXED_INSTANT.after(299)) is NonceState.FRESH
    assert nonces.state(nonce, FIXED_INSTANT.after(300)) is NonceState.STALE
    assert nonces.state(nonce, FIXED_INSTANT.after(-60)) is NonceState.FRESH, "clocks differ"
    assert nonces.state(nonce, FIXED_INSTANT.after(-86400)) is NonceState.STALE
    assert nonces.remembered_until(nonce, 20) == FIXED_INSTANT.wall + timedelta(seconds=380)


@pytest.mark.req("EST-049")
def test_a_nonce_of_another_key_or_realm_is_foreign() -> None:
    nonce = Nonces(key=KEY, realm="est", lifetime_s=300).make(FIXED_INSTANT, bytes)
    for other in (
        Nonces(key=KEY[::-1], realm="est", lifetime_s=300),
        Nonces(key=KEY, realm="estx", lifetime_s=300),
    ):
        assert other.state(nonce, FIXED_INSTANT) is NonceState.FOREIGN


@pytest.mark.req("EST-049")
@reaches(another=80)
@given(at=st.integers(0, 47), letter=st.sampled_from("ABCabc019-_+/= \u00e9"))
def test_a_nonce_with_another_letter_is_foreign(at: int, letter: str) -> None:
    nonces = Nonces(key=KEY, realm="est", lifetime_s=300)
    nonce = nonces.make(FIXED_INSTANT, bytes)
    other = nonce[:at] + letter + nonce[at + 1 :]
    if other != nonce:
        reached("another")
        assert nonces.state(other, FIXED_INSTANT) is NonceState.FOREIGN


@pytest.mark.req("EST-049")
def test_a_nonce_has_one_spelling_so_that_each_of_its_counts_is_used_once() -> None:
    nonces = Nonces(key=KEY, realm="est", lifetime_s=300)
    nonce = nonces.make(FIXED_INSTANT, lambda size: b"\xfb\xff" * (size // 2))
    assert {"-", "_"} <= set(nonce)
    assert nonces.state(nonce, FIXED_INSTANT) is NonceState.FRESH
    for other in (nonce.replace("-", "+"), nonce.replace("_", "/"), f"{nonce}\n", f"{nonce}===="):
        assert nonces.state(other, FIXED_INSTANT) is NonceState.FOREIGN


@reaches(right_length=20)
@given(text=st.one_of(st.text(), st.text("ABab01-_", min_size=48, max_size=48)))
def test_any_text_is_a_foreign_nonce(text: str) -> None:
    if len(text) == 48:
        reached("right_length")
    assert Nonces(key=KEY, realm="", lifetime_s=1).state(text, FIXED_INSTANT) is NonceState.FOREIGN


def test_a_short_key_and_no_lifetime_are_refused() -> None:
    for key, lifetime_s in ((KEY[1:], 1), (KEY, 0)):
        with pytest.raises(LocalProtocolError):
            Nonces(key=key, realm="est", lifetime_s=lifetime_s)
    assert KEY.hex() not in repr(Nonces(key=KEY, realm="est", lifetime_s=1))


# What is offered, and what comes back


@pytest.mark.req("EST-047")
def test_there_is_a_challenge_for_each_algorithm_and_md5_is_not_named() -> None:
    first, second = scheme().challenges(FIXED_INSTANT)
    assert [name for name, _ in first.parameters] == ["realm", "qop", "nonce"]
    assert second.get("algorithm") == "SHA-256"
    assert first.get("nonce") == second.get("nonce")
    assert first.get("qop") == "auth"


def test_each_401_has_a_nonce_of_its_own_and_says_when_the_last_was_stale() -> None:
    offered = scheme()
    nonces = {offered.challenges(FIXED_INSTANT)[0].get("nonce") for _ in range(10)}
    assert len(nonces) == 10
    stale = offered.challenges(FIXED_INSTANT, stale=True)
    assert [challenge.get("stale") for challenge in stale] == ["true", "true"]


@pytest.mark.parametrize("algorithms", [(), (MD5, MD5)])
def test_a_scheme_has_algorithms_each_once(algorithms: tuple[DigestAlgorithm, ...]) -> None:
    with pytest.raises(LocalProtocolError):
        scheme(algorithms=algorithms)


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_a_right_answer_has_no_flaw(algorithm: DigestAlgorithm) -> None:
    offered = scheme(algorithms=(algorithm,))
    credentials = answer(offered)
    assert offered.flaw(credentials, FIXED_INSTANT) is None
    assert digest_proves(credentials, digest_secret(algorithm, "alice", "est", "secret"))


@pytest.mark.req("EST-048")
def test_words_may_come_in_any_case() -> None:
    assert scheme().flaw(answer(scheme(), qop="AUTH", algorithm="sha-256"), FIXED_INSTANT) is None


def test_a_client_nonce_may_have_256_characters() -> None:
    assert scheme().flaw(answer(scheme(), cnonce="c" * 256), FIXED_INSTANT) is None


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"qop": None}, "auth/bad-digest"),
        ({"qop": "auth-int"}, "auth/bad-digest"),
        ({"nc": None}, "auth/bad-digest"),
        ({"nc": "00000000"}, "auth/bad-digest"),
        ({"nc": "1"}, "auth/bad-digest"),
        ({"nc": "0000000g"}, "auth/bad-digest"),
        ({"nc": "000000001"}, "auth/bad-digest"),
        ({"cnonce": None}, "auth/bad-digest"),
        ({"cnonce": "c" * 257}, "auth/bad-digest"),
        ({"response": "0" * 32}, "auth/bad-digest"),
        ({"response": "not hexadecimal"}, "auth/bad-digest"),
        ({"response": "g" * 64}, "auth/bad-digest"),
        ({"response": None}, "auth/bad-digest"),
        ({"uri": "/.well-known/est/simplereenroll"}, "auth/digest-uri"),
        ({"uri": "https://[broken/.well-known/est/simpleenroll"}, "auth/digest-uri"),
        ({"uri": "https://est.example/.well-known/est/simpleenroll"}, "auth/digest-uri"),
        ({"uri": None}, "auth/digest-uri"),
        ({"algorithm": "SHA-256-sess"}, "auth/digest-algorithm"),
        ({"algorithm": "SHA-512-256"}, "auth/digest-algorithm"),
        ({"realm": "another"}, "auth/digest-realm"),
        ({"nonce": "invented"}, "auth/foreign-nonce"),
        ({"nonce": None}, "auth/foreign-nonce"),
    ],
    ids=lambda value: (
        "-".join(f"{k}={v}"[:24] for k, v in value.items()) if isinstance(value, dict) else value
    ),
)
def test_an_answer_with_a_flaw_is_not_worth_a_look_up(
    changed: dict[str, str | None], code: str
) -> None:
    flaw = scheme().flaw(answer(scheme(), **changed), FIXED_INSTANT)
    assert flaw is not None
    assert (flaw.code, flaw.is_stale) == (code, False)


@pytest.mark.req("EST-049")
def test_an_old_nonce_is_told_as_stale() -> None:
    offered = scheme()
    flaw = offered.flaw(answer(offered), FIXED_INSTANT.after(301))
    assert flaw is not None
    assert (flaw.code, flaw.is_stale, flaw.message) == ("auth/stale-nonce", True, "")
