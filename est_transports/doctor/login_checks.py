"""Checks of who may enroll: the answer to nobody, its challenges, and what was given to log in."""

from __future__ import annotations

from typing import Final

from est_core import AuthChallenge, AuthScheme, BasicCredentials, RemoteProtocolError
from est_core.codec.authheader import parse_challenges, write_authorization
from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning, worst
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import counted, listed, quoted, shown

_BASIC: Final = "basic"
_DIGEST: Final = "digest"
_BEARER: Final = "bearer"


def _nobody(probes: Probes) -> Verdict:
    answer = _refusal(probes)
    match answer.status:
        case 401:
            return ok("401")
        case 403:
            return ok("403: there is no way to log in but by certificate, or none at all")
        case 400 | 415 | 422:
            return note(f"{answer.status}: the body is judged before it is asked who sends it")
        case status if 200 <= status < 300:
            return fault(f"{status}: an empty request was taken from nobody")
        case status if status >= 500:
            return fault(f"{status}: the server breaks: {shown(answer.body, 100)}")
        case status:
            return warning(f"the status is {status}: {shown(answer.body, 100)}")


def _refusal(probes: Probes) -> Answer:
    answer = probes.post("simpleenroll")
    if answer.failure:
        raise NotJudged(f"the answer cannot be read: {answer.failure}")
    return answer


def _asked(probes: Probes) -> Answer:
    answer = _refusal(probes)
    if answer.status != 401:
        raise NotJudged(f"the status is {answer.status}, and not 401")
    return answer


def _challenges(probes: Probes) -> tuple[AuthChallenge, ...]:
    values = [each.decode("latin-1") for each in _asked(probes).head.values(b"www-authenticate")]
    try:
        return parse_challenges(values, probes.config.limits)
    except RemoteProtocolError:
        return ()


def _challenge(probes: Probes) -> Verdict:
    values = _asked(probes).head.values(b"www-authenticate")
    if not values:
        return fault("401 without WWW-Authenticate")
    found = _challenges(probes)
    if not found:
        return fault(f"WWW-Authenticate cannot be read: {quoted(values[0])}")
    schemes = listed(quoted(each.scheme, 20) for each in found)
    if not any(each.known_scheme for each in found):
        return warning(f"no scheme that EST clients know: {schemes}")
    problems = [
        warning(f"{each.scheme} without a realm")
        for each in found
        if each.known_scheme in (AuthScheme.BASIC, AuthScheme.DIGEST) and not each.get("realm")
    ]
    return worst(problems, ok(schemes))


def _order(probes: Probes) -> Verdict:
    found, values = _challenges(probes), _asked(probes).head.values(b"www-authenticate")
    if not found:
        raise NotJudged("there is no challenge")
    problems = []
    if len(found) > len(values):
        problems.append(note("several challenges in one WWW-Authenticate field"))
    first = found[0].scheme.lower()
    if first not in (_BASIC, _DIGEST):
        problems.append(note(f"{quoted(found[0].scheme, 20)} comes first"))
    return worst(problems, ok("one challenge in each field, the usual ones first"))


def _digest(probes: Probes) -> Verdict:
    found = [each for each in _challenges(probes) if each.scheme.lower() == _DIGEST]
    if not found:
        raise NotJudged("Digest is not offered")
    problems = []
    for each in found:
        if "auth" not in (each.get("qop") or "").replace(" ", "").split(","):
            problems.append(warning(f"qop is {quoted(each.get('qop') or '')}, without auth"))
        if not each.get("nonce"):
            problems.append(fault("Digest without a nonce"))
    algorithms = [each.get("algorithm") or "MD5" for each in found]
    seen = f"Digest with {listed(quoted(each, 20) for each in algorithms)}"
    if {each.upper() for each in algorithms} == {"MD5"}:
        problems.append(note(f"{seen}: MD5 alone"))
    elif algorithms[0].upper() != "MD5":
        problems.append(note(f"{seen}: libEST and Bouncy Castle know MD5, and look at the first"))
    return worst(problems, ok(seen))


def _empty_body(probes: Probes) -> Verdict:
    answer = _asked(probes)
    if not answer.body:
        return ok("the 401 has no body")
    return note(f"the 401 has a body of {counted(len(answer.body), 'byte')}")


def _password(probes: Probes) -> Verdict:
    login = probes.config.login
    if login is None:
        raise NotJudged("nothing was given to log in with: --user")
    wanted = _BASIC if isinstance(login, BasicCredentials) else _BEARER
    if wanted not in {each.scheme.lower() for each in _challenges(probes)}:
        raise NotJudged(f"the server offers no {wanted.capitalize()}; nothing else is tried here")
    asker = probes.own_asker(with_identity=False)
    value = write_authorization(login).encode("latin-1")
    answer = probes.post_as(asker, ((b"Authorization", value),))
    if answer.status in (401, 403):
        return fault(f"{answer.status}: what was given does not log in")
    return ok(f"what was given logs in (an empty request is then answered {answer.status})")


def _certificate(probes: Probes) -> Verdict:
    if probes.config.identity is None:
        raise NotJudged("no certificate was given: --cert, --key")
    asker = probes.own_asker(with_identity=True)
    answer = probes.post_as(asker)
    if answer.status in (401, 403):
        return fault(f"{answer.status}: the certificate that was given does not do")
    return ok(f"the certificate does (an empty request is then answered {answer.status})")


CHECKS: Final = (
    Check(
        name="login.nobody",
        title="Nobody gets a certificate without logging in",
        means="A server MUST authenticate who enrolls (RFC 7030 3.2.3, 4.2). What is sent here, "
        "by nobody, is an empty SEQUENCE, of which no certificate can be made.",
        do="turn authentication on for simpleenroll",
        judge=_nobody,
    ),
    Check(
        name="login.challenge",
        title="A 401 says how to log in",
        means="A 401 MUST have WWW-Authenticate (RFC 9110 15.5.2); without it Bouncy Castle and "
        "curl give up.",
        do='send WWW-Authenticate: Basic realm="est", or 403 where only certificates do',
        judge=_challenge,
    ),
    Check(
        name="login.order",
        title="One challenge in each field, the usual ones first",
        means="Bouncy Castle and libEST read the first field only (RFC 9110 11.6.1 allows more).",
        do="send one WWW-Authenticate for each scheme: Digest or Basic first, Bearer last",
        judge=_order,
    ),
    Check(
        name="login.digest",
        title="Digest is offered as clients know it",
        means="MD5 without an algorithm is for old clients, SHA-256 in a second field for new "
        'ones, both with qop="auth" (RFC 7616 3.3).',
        do="offer MD5 first and SHA-256 second, or Basic alone, which TLS protects",
        judge=_digest,
    ),
    Check(
        name="login.body",
        title="A 401 has no body",
        means="Bouncy Castle closes an answer with a body unread and fails (interoperability, no "
        "rule).",
        do="send the 401 with Content-Length: 0",
        judge=_empty_body,
    ),
    Check(
        name="login.password",
        title="What was given logs in",
        means="A password by Basic, or a token, sent once, over a connection that was verified, "
        "with a request that gets nothing (RFC 7030 3.2.3).",
        do="check the name and the password, or the token",
        judge=_password,
    ),
    Check(
        name="login.certificate",
        title="The certificate that was given logs in",
        means="Shown in the handshake of a connection that was verified, with a request that gets "
        "nothing (RFC 7030 3.3.2).",
        do="check that the server knows the CA of the certificate, and that it has not expired",
        judge=_certificate,
    ),
)
