"""Authorization and WWW-Authenticate: dialects that are read, the exact form that is sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    AuthChallenge,
    AuthScheme,
    BasicCredentials,
    BearerCredentials,
    Credentials,
    DigestCredentials,
    Limits,
    LocalProtocolError,
    MalformedCredentials,
    RemoteProtocolError,
)
from est_core.codec.authheader import (
    basic_challenge,
    parse_authorization,
    parse_challenges,
    write_authorization,
    write_challenge,
)
from tests.damage import damaged_text
from tests.reached import reached, reaches, refusals

VECTORS: Final = Path(__file__).parents[2] / "vectors"
LIMITS: Final = Limits()


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / name).read_text("utf-8"))
    return found


BASIC_CASES: Final = vector("rfc7617/basic-examples.json")["cases"]
DIGEST_CASES: Final = vector("rfc7616/digest-examples.json")["cases"]
EST_DIGEST: Final = vector("rfc7030/a3-digest.json")

REQUIRED: Final = (
    ("username", "u"),
    ("realm", "r"),
    ("nonce", "n"),
    ("uri", "/"),
    ("response", "0"),
)


def basic(pair: str | bytes) -> str:
    octets = pair if isinstance(pair, bytes) else pair.encode()
    return "Basic " + base64.b64encode(octets).decode()


def digest(*parameters: tuple[str, str], without: str = "") -> str:
    every = [(name, value) for name, value in REQUIRED if name != without] + list(parameters)
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in every)


def code(value: str, limits: Limits = LIMITS) -> str:
    credentials = parse_authorization(value, limits)
    assert isinstance(credentials, MalformedCredentials), credentials
    return credentials.code


def challenges(*values: str) -> tuple[AuthChallenge, ...]:
    return parse_challenges(values, LIMITS)


# --- Basic --------------------------------------------------------------------------------------


@pytest.mark.req("EST-050")
@pytest.mark.parametrize("case", BASIC_CASES, ids=lambda case: case["user"])
def test_basic_examples_of_the_rfc_in_both_directions(case: dict[str, str]) -> None:
    credentials = BasicCredentials(user=case["user"], password=case["password"])
    value = f"Basic {case['credentials']}"
    assert write_authorization(credentials) == value
    assert parse_authorization(value, LIMITS) == credentials


@pytest.mark.req("EST-050")
def test_the_first_colon_ends_the_user() -> None:
    credentials = parse_authorization(basic("u:p:q"), LIMITS)
    assert credentials == BasicCredentials(user="u", password="p:q")


@pytest.mark.req("EST-042")
def test_the_user_may_be_empty_in_both_directions() -> None:
    credentials = BasicCredentials(user="", password="pin")
    assert parse_authorization(basic(":pin"), LIMITS) == credentials
    assert write_authorization(credentials) == basic(":pin")


def test_the_scheme_is_read_in_any_case_and_with_any_white_space() -> None:
    credentials = BasicCredentials(user="u", password="p")
    for value in ("bASIC  dTpw", "Basic\tdTpw", " Basic dTpw \t"):
        assert parse_authorization(value, LIMITS) == credentials


def test_a_user_whose_base64_looks_like_der_is_read() -> None:
    value = basic("Пётр:x")
    assert value.startswith("Basic 0")
    assert parse_authorization(value, LIMITS) == BasicCredentials(user="Пётр", password="x")


@pytest.mark.req("EST-050")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Basic", id="nothing"),
        pytest.param("Basic ", id="nothing, as libEST sends it"),
        pytest.param(basic("nobody"), id="no colon"),
        pytest.param("Basic dTpwcA", id="no padding"),
        pytest.param("Basic dTpwcB==", id="unused bits set"),
        pytest.param("Basic dTpw dTpw", id="space inside"),
        pytest.param("Basic dTp\xff", id="not ASCII"),
        pytest.param("Basic _Tpw", id="URL-safe alphabet"),
        pytest.param(basic(b"\xfc:p"), id="ISO-8859-1"),
        pytest.param(basic(b"\xc0\x80:p"), id="overlong UTF-8"),
        pytest.param(basic("u\n:p"), id="LF in the user"),
        pytest.param(basic("u:p\0"), id="NUL in the password"),
        pytest.param(basic("u:\x7f"), id="DEL"),
        pytest.param(basic("u\x9b:p"), id="control character beyond ASCII"),
        pytest.param("Basic dTpw, Basic dTpw", id="two headers joined"),
    ],
)
def test_refuses_bad_basic(value: str) -> None:
    assert code(value) == "auth/bad-basic"


@pytest.mark.parametrize(
    "user, password, found",
    [(255, 1024, True), (256, 1, False), (1, 1025, False)],
)
def test_user_and_password_have_bounds(user: int, password: int, found: bool) -> None:
    credentials = parse_authorization(basic("u" * user + ":" + "p" * password), LIMITS)
    assert isinstance(credentials, BasicCredentials) is found
    assert found or code(basic("u" * user + ":" + "p" * password)) == "auth/too-large"


@pytest.mark.parametrize(
    "credentials",
    [
        BasicCredentials(user="a:b", password="p"),
        BasicCredentials(user="a\r\nX: y", password="p"),
        BasicCredentials(user="a", password="\x7f"),
        BasicCredentials(user="\ud800", password="p"),
        BearerCredentials(token="a b"),
        BearerCredentials(token=""),
        BearerCredentials(token="a\r\nX: y"),
        MalformedCredentials(code="auth/malformed", message=""),
    ],
    ids=lambda credentials: type(credentials).__name__,
)
@pytest.mark.req("EST-050")
def test_refuses_to_write_what_a_server_would_misread(credentials: Credentials) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        write_authorization(credentials)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # a UnicodeError would hold the password


# --- Bearer -------------------------------------------------------------------------------------


def test_bearer_is_a_token68_in_both_directions() -> None:
    credentials = BearerCredentials(token="aZ0-._~+/==")
    assert write_authorization(credentials) == "Bearer aZ0-._~+/=="
    assert parse_authorization("bearer aZ0-._~+/==", LIMITS) == credentials


@pytest.mark.parametrize("value", ["Bearer", "Bearer a b", "Bearer a=b", "Bearer \xfc"])
def test_refuses_bad_bearer(value: str) -> None:
    assert code(value) == "auth/bad-bearer"


# --- Digest -------------------------------------------------------------------------------------


def test_reads_the_quoted_dialect_of_the_est_rfc() -> None:
    sent = EST_DIGEST["authorization"]
    names = ("username", "realm", "nonce", "uri", "cnonce", "nc", "qop", "response")
    quoted = ", ".join(f'{name}="{sent[name]}"' for name in names)
    credentials = parse_authorization(f"Digest {quoted}", LIMITS)
    assert isinstance(credentials, DigestCredentials)
    assert credentials.user == "estuser"
    assert {name: credentials.get(name) for name in names} == {name: sent[name] for name in names}


def test_reads_the_same_from_both_dialects() -> None:
    bare = digest() + ", qop=auth, nc=00000001, algorithm=MD5"
    quoted = digest(("qop", "auth"), ("nc", "00000001"), ("algorithm", "MD5"))
    assert parse_authorization(bare, LIMITS) == parse_authorization(quoted, LIMITS)


@pytest.mark.parametrize("case", DIGEST_CASES, ids=lambda case: case["id"])
def test_digest_examples_of_the_rfc_read_back_as_written(case: dict[str, Any]) -> None:
    names = ("realm", "uri", "algorithm", "nonce", "nc", "cnonce", "qop", "response", "opaque")
    parameters = tuple((name, case.get(name, "0" * 64)) for name in names)
    credentials = DigestCredentials(user=case["username"], parameters=parameters)
    read = parse_authorization(write_authorization(credentials), LIMITS)
    assert isinstance(read, DigestCredentials)
    assert read.user == case["username"]
    assert read.parameters[1:] == parameters


def test_sends_qop_nc_and_algorithm_bare_and_the_rest_quoted() -> None:
    parameters = (
        ("username", "u"),
        ("realm", 'a "b" \\'),
        ("nonce", "n"),
        ("uri", "/simpleenroll"),
        ("algorithm", "SHA-256"),
        ("qop", "auth"),
        ("nc", "00000001"),
        ("cnonce", "c"),
        ("response", "0"),
        ("opaque", ""),
        ("userhash", "false"),
    )
    assert write_authorization(DigestCredentials(user="u", parameters=parameters)) == (
        'Digest username="u", realm="a \\"b\\" \\\\", nonce="n", uri="/simpleenroll", '
        'algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c", response="0", opaque="", '
        "userhash=false"
    )


def test_a_user_beyond_ascii_is_sent_as_an_extended_value() -> None:
    value = write_authorization(DigestCredentials(user="Jäsøn 100%", parameters=REQUIRED[1:]))
    assert value.startswith("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20100%25, ")


@pytest.mark.parametrize(
    "name_value",
    [
        "username*=UTF-8''J%C3%A4s%c3%b8n",
        "username*=utf-8'en'J%C3%A4s%C3%B8n",
        "username*=\"UTF-8''J%C3%A4s%C3%B8n\"",
        'username="J\xc3\xa4s\xc3\xb8n"',  # UTF-8 octets, as curl sends them
    ],
)
def test_reads_a_user_beyond_ascii(name_value: str) -> None:
    credentials = parse_authorization(f"{digest(without='username')}, {name_value}", LIMITS)
    assert isinstance(credentials, DigestCredentials)
    assert credentials.user == "Jäsøn"


def test_empty_list_elements_and_spaces_are_ignored() -> None:
    value = 'Digest ,, username = "u" ,realm="r", ,nonce="n",uri="/",response=0,'
    assert parse_authorization(value, LIMITS) == DigestCredentials(user="u", parameters=REQUIRED)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Digest", id="nothing"),
        *(
            pytest.param(digest(without=name), id=f"no {name}")
            for name in ("username", "realm", "nonce", "uri", "response")
        ),
        pytest.param(digest(("realm", "r")), id="realm twice"),
        pytest.param(digest(("NONCE", "n")), id="nonce twice in another case"),
        pytest.param(digest(("username*", "UTF-8''u")), id="two users"),
        pytest.param(digest(("username*", "u"), without="username"), id="no charset"),
        pytest.param(digest(("username*", "UTF-8''%zz"), without="username"), id="bad escape"),
        pytest.param(digest(("username*", "UTF-8''%ff"), without="username"), id="not UTF-8"),
        pytest.param(digest(("username*", "UTF-8''%0A"), without="username"), id="control"),
        pytest.param(digest(("username*", "latin1''u"), without="username"), id="charset"),
        pytest.param(
            digest(("username*", "UTF-8''u"), ("userhash", "true"), without="username"),
            id="a hash that is extended",
        ),
        pytest.param(digest(("username", "\xfc"), without="username"), id="ISO-8859-1"),
        pytest.param(digest(("username", "\t"), without="username"), id="TAB in the user"),
        pytest.param(digest(("x", "a\r\nb")), id="CR LF"),
        pytest.param(digest(("x", "\u0100")), id="not an octet"),
        pytest.param(digest() + ", x", id="no value"),
        pytest.param(digest() + ', x="', id="quote not closed"),
        pytest.param(digest() + " x=1", id="no comma"),
        pytest.param(digest() + ", x=a/b", id="a bare value that is no token"),
        pytest.param(f"{digest()}, {digest()}", id="two headers joined"),
        pytest.param(digest(*((f"p{n}", "") for n in range(40))), id="too many"),
    ],
)
def test_refuses_bad_digest(value: str) -> None:
    assert code(value) == "auth/bad-digest"


def test_a_digest_user_may_have_as_many_characters_as_the_limit() -> None:
    value = digest(("username", "u" * 255), without="username")
    assert parse_authorization(value, LIMITS) == DigestCredentials(
        user="u" * 255, parameters=(*REQUIRED[1:], ("username", "u" * 255))
    )


def test_the_user_is_written_and_not_the_parameter_that_keeps_its_place() -> None:
    value = write_authorization(DigestCredentials(user="device", parameters=REQUIRED))
    assert value.startswith('Digest username="device", realm="r"')


def test_a_long_digest_user_is_refused() -> None:
    assert code(digest(("username", "u" * 256), without="username")) == "auth/too-large"


@pytest.mark.parametrize(
    "user, parameters",
    [
        ("u\n", REQUIRED),
        ("u\t", REQUIRED),
        ("\ud800", REQUIRED),
        ("u", REQUIRED[:-1]),
        ("u", (*REQUIRED, ("Realm", "r"))),
        ("u", (*REQUIRED, ("username*", "UTF-8''u"))),
        ("u", (*REQUIRED, ("a b", "c"))),
        ("u", (*REQUIRED, ("opaque", "a\r\nX: y"))),
        ("u", (*REQUIRED, ("qop", 'auth"'))),
        ("u", (*REQUIRED, ("nc", ""))),
    ],
)
def test_refuses_to_write_bad_digest(user: str, parameters: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(LocalProtocolError):
        write_authorization(DigestCredentials(user=user, parameters=parameters))


# --- any Authorization --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["", " ", "=", "Ba(sic dTpw", "\xfcasic dTpw", "Basic\ndTpw", "Basic=dTpw", "Basic,"]
)
def test_a_header_without_a_scheme_is_malformed(value: str) -> None:
    assert code(value) == "auth/malformed"


@pytest.mark.parametrize("value", ["Negotiate YII=", "Basicx dTpw", "SCRAM-SHA-256"])
def test_an_unknown_scheme_says_so(value: str) -> None:
    assert code(value) == "auth/unknown-scheme"


def test_a_header_over_the_bound_is_not_looked_at() -> None:
    limits = Limits(auth_header_bytes=10)
    assert parse_authorization("Basic dTpw", limits) == BasicCredentials(user="u", password="p")
    assert code("Basic dTpw ", limits) == "auth/too-large"


@pytest.mark.req("EST-297")
@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "Digest", "Secret"])
def test_a_refusal_does_not_repeat_what_was_sent(scheme: str) -> None:
    credentials = parse_authorization(f"{scheme} hunter2 !", LIMITS)
    assert "hunter2" not in repr(credentials)


TEXT: Final = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
LATIN: Final = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
NAMES: Final = st.text("abcxyz-_0", min_size=1, max_size=8)
EXTRA: Final = st.dictionaries(NAMES, LATIN, max_size=4).map(
    lambda found: tuple(
        item for item in found.items() if item[0] not in ("qop", "nc", *dict(REQUIRED))
    )
)


@pytest.mark.req("EST-050")
@given(user=TEXT.map(lambda text: text.replace(":", "")), password=TEXT)
def test_basic_written_reads_back_the_same(user: str, password: str) -> None:
    credentials = BasicCredentials(user=user, password=password)
    assert parse_authorization(write_authorization(credentials), LIMITS) == credentials


@given(user=TEXT, realm=LATIN, extra=EXTRA)
def test_digest_written_reads_back_the_same(
    user: str, realm: str, extra: tuple[tuple[str, str], ...]
) -> None:
    parameters = (("realm", realm), *REQUIRED[2:], ("qop", "auth"), *extra)
    sent = write_authorization(DigestCredentials(user=user, parameters=parameters))
    read = parse_authorization(sent, LIMITS)
    assert isinstance(read, DigestCredentials)
    assert (read.user, read.parameters[1:]) == (user, parameters)
    assert write_authorization(read) == sent


HOSTILE: Final = st.builds(
    str.__add__,
    st.sampled_from(["", "Basic ", "Digest ", "Bearer ", digest() + ","]),
    st.text(max_size=40) | st.text("aB=\", \t\\%'*:\x80", max_size=40),
)
SENT: Final = ("Basic dTpw", "Bearer abc", digest(), digest(("qop", "auth")), digest(("a", "b")))


@reaches(refused=20, BasicCredentials=1, DigestCredentials=5)
@given(value=HOSTILE | damaged_text(SENT, "aB=\", \t\\%'*:\x80"))
def test_reading_credentials_never_raises(value: str) -> None:
    credentials = parse_authorization(value, LIMITS)
    if isinstance(credentials, MalformedCredentials):
        reached("refused")
        assert credentials.code.startswith("auth/")
    reached(type(credentials).__name__)


def test_truncation_at_every_character_is_malformed_or_shorter() -> None:
    value = digest(("username", 'a\\"b'), ("qop", "auth"), without="username")
    whole = parse_authorization(value, LIMITS)
    for end in range(len(value)):
        assert parse_authorization(value[:end], LIMITS) != whole


# --- challenges ---------------------------------------------------------------------------------


def test_reads_the_challenge_of_the_est_rfc() -> None:
    sent = EST_DIGEST["challenge"]
    value = f'Digest qop="auth", realm="{sent["realm"]}", nonce="{sent["nonce"]}"'
    (found,) = challenges(value)
    assert found.known_scheme is AuthScheme.DIGEST
    assert found.parameters == (
        ("qop", "auth"),
        ("realm", sent["realm"]),
        ("nonce", sent["nonce"]),
    )


@pytest.mark.req("EST-036")
def test_several_challenges_in_one_header_are_told_from_parameters() -> None:
    value = 'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"'
    assert challenges(value) == (
        AuthChallenge(
            scheme="Newauth",
            parameters=(("realm", "apps"), ("type", "1"), ("title", 'Login to "apps"')),
        ),
        AuthChallenge(scheme="Basic", parameters=(("realm", "simple"),)),
    )


@pytest.mark.req("EST-036")
@pytest.mark.parametrize(
    "value, schemes",
    [
        ("Negotiate", ["Negotiate"]),
        ("Negotiate, Basic", ["Negotiate", "Basic"]),
        ("Negotiate YII=, Basic realm=x", ["Negotiate", "Basic"]),
        (", ,Basic realm=x,, ,Digest realm=y,", ["Basic", "Digest"]),
        ('Basic realm="a, Digest b=", Bearer', ["Basic", "Bearer"]),
        ("a b=c,d e=f", ["a", "d"]),
        ("a b = c , d", ["a", "d"]),
    ],
)
def test_every_scheme_is_found(value: str, schemes: list[str]) -> None:
    assert [found.scheme for found in challenges(value)] == schemes


def test_headers_keep_their_order() -> None:
    found = challenges("Digest realm=a", "Basic realm=b", "Bearer")
    assert [challenge.scheme for challenge in found] == ["Digest", "Basic", "Bearer"]


@pytest.mark.parametrize(
    "value, found",
    [
        ("Basic realm=a b, Digest realm=c", AuthChallenge(scheme="Basic")),
        ('Basic realm="a', AuthChallenge(scheme="Basic")),
        ('Basic a = "b', AuthChallenge(scheme="Basic")),
        ("Basic realm=a, realm=b", AuthChallenge(scheme="Basic", parameters=(("realm", "a"),))),
        ('Basic realm=a, =b, "c"', AuthChallenge(scheme="Basic", parameters=(("realm", "a"),))),
    ],
)
def test_a_malformed_rest_is_dropped(value: str, found: AuthChallenge) -> None:
    assert challenges(value) == (found,)


def test_a_malformed_header_does_not_spoil_the_others() -> None:
    assert [found.scheme for found in challenges('"', "Basic realm=x")] == ["Basic"]


@pytest.mark.parametrize("values", [("",), ("=",), ('"', ", ,"), ("\xfcasic",), ("a=b",)])
def test_raises_when_nothing_could_be_read(values: tuple[str, ...]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        challenges(*values)
    assert caught.value.code == "auth/malformed-challenge"


def test_no_header_is_no_challenge() -> None:
    assert challenges() == ()


def test_challenges_are_bounded_in_number() -> None:
    limits = Limits(challenges=3)
    assert len(parse_challenges(["a, b", "c, d", "e"], limits)) == 3


def test_challenge_headers_are_bounded_in_number() -> None:
    assert len(parse_challenges(["a", "b", "c"], Limits(header_count=2))) == 2


def test_parameters_are_bounded_in_number() -> None:
    limits = Limits(auth_params=2)
    (found,) = parse_challenges(["a b=1, c=2, d=3, e f=4"], limits)
    assert found.parameters == (("b", "1"), ("c", "2"))


def test_a_challenge_header_over_the_bound_is_not_looked_at() -> None:
    limits = Limits(auth_header_bytes=9)
    assert len(parse_challenges(["Basic a=b"], limits)) == 1
    assert [c.scheme for c in parse_challenges(["Basic a=bc", "x"], limits)] == ["x"]


# --- writing challenges -------------------------------------------------------------------------


@pytest.mark.req("EST-036")
def test_writes_every_parameter_quoted_and_in_order() -> None:
    challenge = AuthChallenge(
        scheme="Digest",
        parameters=(("realm", 'a"b'), ("qop", "auth"), ("nonce", "n"), ("algorithm", "SHA-256")),
    )
    assert (
        write_challenge(challenge)
        == 'Digest realm="a\\"b", qop="auth", nonce="n", algorithm="SHA-256"'
    )


@pytest.mark.req("EST-050")
def test_basic_asks_for_utf8() -> None:
    assert write_challenge(basic_challenge("estrealm")) == 'Basic realm="estrealm", charset="UTF-8"'


def test_a_scheme_may_stand_alone() -> None:
    assert write_challenge(AuthChallenge(scheme="Negotiate")) == "Negotiate"


@pytest.mark.parametrize(
    "challenge",
    [
        basic_challenge("a\r\nSet-Cookie: b"),
        basic_challenge("a\x7f"),
        basic_challenge("\u20ac"),
        AuthChallenge(scheme="Basic realm"),
        AuthChallenge(scheme=""),
        AuthChallenge(scheme="Basic", parameters=(("a=", "b"),)),
        AuthChallenge(scheme="Basic", parameters=(("a", "b"), ("A", "b"))),
    ],
)
def test_refuses_to_write_what_would_read_as_something_else(challenge: AuthChallenge) -> None:
    with pytest.raises(LocalProtocolError):
        write_challenge(challenge)


CHALLENGES: Final = st.builds(
    AuthChallenge,
    scheme=NAMES,
    parameters=st.dictionaries(
        NAMES, st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xFF)) | LATIN, max_size=4
    ).map(lambda found: tuple(found.items())),
)


@pytest.mark.req("EST-036")
@given(sent=st.lists(CHALLENGES, min_size=1, max_size=4))
def test_challenges_written_read_back_the_same(sent: list[AuthChallenge]) -> None:
    values = [write_challenge(challenge) for challenge in sent]
    assert challenges(*values) == tuple(sent)
    assert challenges(", ".join(values)) == tuple(sent)


GOOD_VALUES: Final = (
    'Basic realm="est"',
    'Digest realm="a", nonce="b", qop="auth, auth-int", algorithm=SHA-256, stale=false',
    'Basic realm="a\\"b", charset="UTF-8", Bearer, Digest realm="c", nonce="d"',
    "Negotiate dG9rZW4=",
)


@reaches(accepted=50)
@given(values=st.lists(damaged_text(GOOD_VALUES, 'aB=", \t\\\x80'), min_size=1, max_size=3))
def test_only_a_remote_protocol_error_escapes(values: list[str]) -> None:
    with refusals():
        parse_challenges(values, LIMITS)


@pytest.mark.parametrize(
    "piece", ['a="', "a=b,", "a ", "a\t=", " \t", ",", 'a="\\', "a=b c", "a = ", 'Digest a="b" ']
)
def test_reading_stays_linear_in_hostile_headers(piece: str) -> None:
    limits = Limits(auth_header_bytes=1 << 20, auth_params=1 << 20, challenges=1 << 20)
    value = "Digest " + piece * ((1 << 18) // len(piece))
    # Linear takes some 0.1 s. What goes back at each place takes longer at this length than a
    # test may take at all.
    parse_challenges([value], limits)
    parse_authorization(value, limits)
