"""Authorization and WWW-Authenticate: credentials and challenges to header values and back.

RFC 9110 11, RFC 7617 (Basic), RFC 7616 (Digest), RFC 6750 (Bearer). Nothing here decides whether
credentials are right.

Both directions are lenient in what real peers get wrong and exact in what is sent. Quoting is
where the dialects differ. In an answer, RFC 7616 3.4 forbids quotes around qop, nc and algorithm,
and Bouncy Castle's client (1.72) writes them all the same: both are read. In a challenge it forbids
quotes around algorithm, but that client refuses one with any bare parameter, and no other of the
seven measured minds the quotes: all are quoted.

A header value is a `str` with one character per octet (ISO-8859-1).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.codec._grammar import (
    QUOTED,
    TOKEN,
    base64_octets_untrusted,
    is_token,
    quoted,
    unquoted,
)
from est_core.credentials import (
    AuthChallenge,
    BasicCredentials,
    BearerCredentials,
    CodeCredentials,
    Credentials,
    DigestCredentials,
    MalformedCredentials,
)

_ReadCredentials = BasicCredentials | BearerCredentials | DigestCredentials

_SCHEME: Final = re.compile(rf"({TOKEN})(?:[ \t]++|\Z)")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9\-._~+/]++=*+")
_PARAMETER: Final = re.compile(rf"({TOKEN})[ \t]*+=[ \t]*+(?:({TOKEN})|{QUOTED})[ \t]*+(?=,|\Z)")
_COMMAS: Final = re.compile(r"[ \t,]*+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EXT_VALUE: Final = re.compile(
    r"[Uu][Tt][Ff]-8'[A-Za-z0-9\-]*+'((?:[A-Za-z0-9!#$&+\-.^_`|~]|%[0-9A-Fa-f]{2})*+)"
)
_PERCENT: Final = re.compile(rb"%(..)")
_TO_PERCENT: Final = re.compile(r"[^A-Za-z0-9!#$&+\-.^_`|~]")

# In a challenge a scheme stands alone, before its parameters, or before one opaque value.
_CHALLENGE_SCHEME: Final = re.compile(rf"({TOKEN})(?=[ \t,]|\Z)(?![ \t]*+=)")
_CHALLENGE_TOKEN68: Final = re.compile(rf"[ \t]++{_TOKEN68.pattern}[ \t]*+(?=,|\Z)")

_DIGEST_REQUIRED: Final = ("realm", "nonce", "uri", "response")  # and a user name in some form
_DIGEST_BARE: Final = frozenset({"qop", "nc", "algorithm", "userhash", "username*"})


@checked
def parse_authorization(value: str, limits: Limits) -> Credentials:
    """Return the credentials of an Authorization header.

    Never raises: what cannot be read is `MalformedCredentials`, for there may be a certificate
    that makes it irrelevant. Its codes: "auth/too-large" (header, user or password),
    "auth/malformed" (no scheme), "auth/unknown-scheme", "auth/bad-basic" (not strict base64 of
    UTF-8 `user:password`, or control characters in it), "auth/bad-digest" (syntax, a parameter
    twice or missing), "auth/bad-bearer". RFC 9110 11.4.
    """
    try:
        return _credentials_untrusted(value, limits)
    except RemoteProtocolError as exc:
        return MalformedCredentials(code=exc.code, message=exc.message)


@checked
def write_authorization(credentials: Credentials) -> str:
    """Return the Authorization header for these credentials. RFC 7617 2, 7616 3.4, 6750 2.1.

    A Digest user outside ASCII becomes `username*`; the other parameters keep their order.
    Raises LocalProtocolError for a user with a colon (Basic), control characters, a Digest
    parameter missing, doubled or not sendable, a token that is not a token68, and for
    CodeCredentials and MalformedCredentials.
    """
    match credentials:
        case BasicCredentials():
            return _basic(credentials)
        case DigestCredentials():
            return _digest(credentials)
        case BearerCredentials(token=token):
            if _TOKEN68.fullmatch(token) is None:
                raise LocalProtocolError("a bearer token must be a token68")
            return f"Bearer {token}"
        case CodeCredentials():
            raise LocalProtocolError("a one-time code in a CSR is not sent in a header")
        case MalformedCredentials():
            raise LocalProtocolError("malformed credentials cannot be sent")
        case _:
            assert_never(credentials)


def _credentials_untrusted(value: str, limits: Limits) -> _ReadCredentials:
    if len(value) > limits.auth_header_bytes:
        raise RemoteProtocolError("auth/too-large", "the Authorization header is too long")
    text = value.strip(" \t")
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise RemoteProtocolError("auth/malformed", "the Authorization header names no scheme")
    reader = _READERS.get(scheme[1].lower())
    if reader is None:
        raise RemoteProtocolError("auth/unknown-scheme", "unknown authentication scheme")
    return reader(text[scheme.end() :], limits)


def _basic_untrusted(text: str, limits: Limits) -> BasicCredentials:
    octets = base64_octets_untrusted(text.encode("ascii")) if text.isascii() else None
    pair = None if octets is None else _text_untrusted(octets)
    if pair is None:
        raise RemoteProtocolError("auth/bad-basic", "not base64 of UTF-8")
    # "The first colon": a password may hold more of them, a user none. RFC 7617 2.
    user, colon, password = pair.partition(":")
    if not colon:
        raise RemoteProtocolError("auth/bad-basic", "not base64 of user:password")
    if _CONTROL.search(pair):
        raise RemoteProtocolError("auth/bad-basic", "control characters in user or password")
    if len(user) > limits.user_chars or len(password) > limits.password_chars:
        raise RemoteProtocolError("auth/too-large", "the user or the password is too long")
    return BasicCredentials(user=user, password=password)


def _bearer_untrusted(text: str, _limits: Limits) -> BearerCredentials:
    if _TOKEN68.fullmatch(text) is None:
        raise RemoteProtocolError("auth/bad-bearer", "not a bearer token")
    return BearerCredentials(token=text)


def _digest_untrusted(text: str, limits: Limits) -> DigestCredentials:
    found: dict[str, str] = {}
    at = _skip_commas(text, 0)
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            raise RemoteProtocolError("auth/bad-digest", "a parameter is not name=value")
        name, value = _name_and_value(parameter)
        if name in found or len(found) == limits.auth_params:
            raise RemoteProtocolError("auth/bad-digest", "a parameter twice, or too many")
        found[name] = value
        at = _skip_commas(text, parameter.end())
    if any(name not in found for name in _DIGEST_REQUIRED):
        raise RemoteProtocolError("auth/bad-digest", "a required parameter is missing")
    user = _digest_user_untrusted(found)
    if len(user) > limits.user_chars:
        raise RemoteProtocolError("auth/too-large", "the user is too long")
    return DigestCredentials(user=user, parameters=tuple(found.items()))


def _digest_user_untrusted(parameters: Mapping[str, str]) -> str:
    plain, extended = parameters.get("username"), parameters.get("username*")
    if (plain is None) == (extended is None):
        raise RemoteProtocolError("auth/bad-digest", "not exactly one of username and username*")
    if extended is not None:
        # "username* MUST NOT be used with userhash=true", for a hash is ASCII. RFC 7616 3.4.4.
        match = _EXT_VALUE.fullmatch(extended)
        if match is None or parameters.get("userhash", "false").lower() == "true":
            raise RemoteProtocolError("auth/bad-digest", "username* is malformed or out of place")
        raw = match[1].encode("ascii")
        octets = _PERCENT.sub(lambda escape: binascii.unhexlify(escape[1]), raw)
    else:
        octets = (plain or "").encode("latin-1")  # curl sends UTF-8 in a plain username
    user = _text_untrusted(octets)
    if user is None or _CONTROL.search(user):
        raise RemoteProtocolError("auth/bad-digest", "the user is not UTF-8, or has controls")
    return user


_READERS: Final[Mapping[str, Callable[[str, Limits], _ReadCredentials]]] = {
    "basic": _basic_untrusted,
    "digest": _digest_untrusted,
    "bearer": _bearer_untrusted,
}


def _basic(credentials: BasicCredentials) -> str:
    if ":" in credentials.user:
        raise LocalProtocolError("a user for Basic must not have a colon")
    if _CONTROL.search(credentials.user + credentials.password):
        raise LocalProtocolError("user and password must not have control characters")
    pair = _octets(f"{credentials.user}:{credentials.password}")
    if pair is None:
        raise LocalProtocolError("user and password must be Unicode text")
    return f"Basic {binascii.b2a_base64(pair, newline=False).decode('ascii')}"


def _digest(credentials: DigestCredentials) -> str:
    parameters = {name.lower(): value for name, value in credentials.parameters}
    if len(parameters) != len(credentials.parameters) or not all(map(is_token, parameters)):
        raise LocalProtocolError("Digest parameters must be tokens and occur once")
    if any(name not in parameters for name in _DIGEST_REQUIRED):
        raise LocalProtocolError("a required Digest parameter is missing")
    user = _digest_user(credentials.user)
    # `user` is what counts; a parameter of that name only says where it stands.
    own = parameters.keys() & {"username", "username*"}
    if len(own) > 1:
        raise LocalProtocolError("username and username* exclude each other")
    written = [
        user if name in own else _digest_parameter(name, value)
        for name, value in parameters.items()
    ]
    return "Digest " + ", ".join(written if own else [user, *written])


def _digest_user(user: str) -> str:
    if _CONTROL.search(user):
        raise LocalProtocolError("a user must not have control characters")
    if user.isascii():
        return f"username={quoted(user)}"
    octets = _octets(user)
    if octets is None:
        raise LocalProtocolError("a user must be Unicode text")
    escaped = _TO_PERCENT.sub(lambda octet: f"%{ord(octet[0]):02X}", octets.decode("latin-1"))
    return f"username*=UTF-8''{escaped}"


def _digest_parameter(name: str, value: str) -> str:
    if name not in _DIGEST_BARE:
        return f"{name}={quoted(value)}"
    if not is_token(value):
        raise LocalProtocolError(f"the Digest parameter {name} must be a token")
    return f"{name}={value}"


@checked
def parse_challenges(values: Sequence[str], limits: Limits) -> tuple[AuthChallenge, ...]:
    """Return all challenges of a 401, one element of `values` per header, in the order received.

    Unknown schemes are kept; the opaque value (token68) that one of them may carry is dropped.
    Where a value stops making sense the rest of it is dropped, and so is everything beyond
    `limits.challenges`; a value longer than `limits.auth_header_bytes` is not looked at. No
    values give no challenges.
    Raises RemoteProtocolError("auth/malformed-challenge") when nothing at all could be read.
    RFC 9110 11.6.1.
    """
    found: list[AuthChallenge] = []
    for value in values[: limits.header_count]:
        if len(value) <= limits.auth_header_bytes:
            room = limits.challenges - len(found)
            found += _challenges_untrusted(value, limits.auth_params, room)
    if values and not found:
        raise RemoteProtocolError("auth/malformed-challenge", "no challenge could be read")
    return tuple(found)


@checked
def write_challenge(challenge: AuthChallenge) -> str:
    """Return the value of one WWW-Authenticate header: every parameter quoted, order kept.

    One challenge per header, because Bouncy Castle's client (1.72) and libEST's (3.2.0p) read the
    first header alone and take it for one challenge. Raises LocalProtocolError for a scheme or
    name that is not a token, a name that occurs twice, or a value with control characters or
    beyond U+00FF.
    """
    names = [name.lower() for name, _ in challenge.parameters]
    if not all(map(is_token, (challenge.scheme, *names))):
        raise LocalProtocolError("a challenge's scheme and names must be tokens")
    if len(set(names)) != len(names):
        raise LocalProtocolError("a challenge has a parameter twice")
    written = ", ".join(f"{name}={quoted(value)}" for name, value in challenge.parameters)
    return f"{challenge.scheme} {written}" if written else challenge.scheme


@checked
def basic_challenge(realm: str) -> AuthChallenge:
    """Return the challenge for Basic, which asks for UTF-8. RFC 7617 2.1."""
    return AuthChallenge(scheme="Basic", parameters=(("realm", realm), ("charset", "UTF-8")))


@checked
def bearer_challenge(realm: str) -> AuthChallenge:
    """Return the challenge for a bearer token. RFC 6750 3."""
    return AuthChallenge(scheme="Bearer", parameters=(("realm", realm),))


def _challenges_untrusted(text: str, max_params: int, room: int) -> list[AuthChallenge]:
    """Read schemes until one does not fit.

    A comma separates both challenges and the parameters of one. What stands before "=" is a
    parameter, so `_parameters_untrusted` eats those greedily and any other token is a scheme.
    """
    found: list[AuthChallenge] = []
    at = _skip_commas(text, 0)
    while len(found) < room and (scheme := _CHALLENGE_SCHEME.match(text, at)):
        at = scheme.end()
        if opaque := _CHALLENGE_TOKEN68.match(text, at):
            parameters: tuple[tuple[str, str], ...] = ()
            at = opaque.end()
        else:
            parameters, at = _parameters_untrusted(text, at, max_params)
        found.append(AuthChallenge(scheme=scheme[1], parameters=parameters))
        at = _skip_commas(text, at)
    return found


def _parameters_untrusted(
    text: str, at: int, max_params: int
) -> tuple[tuple[tuple[str, str], ...], int]:
    found: dict[str, str] = {}
    at = _skip_commas(text, at)
    while len(found) < max_params and (parameter := _PARAMETER.match(text, at)):
        name, value = _name_and_value(parameter)
        if name in found:
            break
        found[name] = value
        at = _skip_commas(text, parameter.end())
    return tuple(found.items()), at


def _skip_commas(text: str, at: int) -> int:
    # RFC 9110 5.6.1.2: a recipient accepts empty list elements.
    match = _COMMAS.match(text, at)
    return match.end() if match else at


def _name_and_value(parameter: re.Match[str]) -> tuple[str, str]:
    name, plain, inside = parameter.groups()
    return name.lower(), unquoted(inside) if plain is None else plain


# These two return None instead of raising inside `except`: a UnicodeError keeps all of what it
# failed on, and chained to ours it would carry a password into somebody's crash report.


def _text_untrusted(octets: bytes) -> str | None:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _octets(text: str) -> bytes | None:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return None
