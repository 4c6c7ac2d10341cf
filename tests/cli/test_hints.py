"""What the client commands say about the refusals of servers that are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    CSRAttrsRequested,
    Fail,
    Failed,
    Fault,
    Operation,
    Refused,
)
from est_transports.cli.client.failures import failure
from est_transports.cli.client.hints import remedy
from est_transports.cli.client.target_options import make_target
from tests.cli.canned import canned_server
from tests.cli.scripted import CHALLENGE, answer, scripted_server
from tests.cli.test_client_commands import Terminal, est, one_error_line
from tests.pki import pki

__all__ = ["est"]  # the fixture

DIGEST = b'WWW-Authenticate: Digest realm="x", nonce="n", qop="auth"'
BEARER = b'WWW-Authenticate: Bearer realm="x"'
NEGOTIATE = b"WWW-Authenticate: Negotiate"
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized"
USER = ("--user", "alice:secret")


def refused(terminal: Terminal, *arguments: str, script: tuple[bytes, ...]) -> str:
    """The error of an enrollment that a server answers with the script."""
    with scripted_server(terminal.directory, *script) as server:
        code, _, err = terminal(
            "enroll", server.url, "--trust", terminal.trust, "--cn", "x", "--out", terminal.out,
            *arguments,
        )  # fmt: skip
    assert code == 1
    assert one_error_line(err), err
    return err


# Credentials


def test_a_401_without_challenge_after_a_password_refuses_it_and_its_body_is_shown(
    est: Terminal,
) -> None:
    script = (answer(CHALLENGE), answer(UNAUTHORIZED, b"account is locked\n"))
    err = refused(est, *USER, script=script)
    assert "the server refuses user alice: account is locked (HTTP 401) [auth/refused]" in err
    assert err.endswith("; check the name and the password\n")


def test_a_bare_401_without_credentials_shows_its_body_and_says_what_may_be_given(
    est: Terminal,
) -> None:
    err = refused(est, script=(answer(UNAUTHORIZED, b"who are you?"),))
    assert "who are you? (HTTP 401)" in err
    assert "--cert and --key" in err


@pytest.mark.parametrize("user", [(), USER], ids=["no user", "user"])
@pytest.mark.parametrize("with_certificate", [False, True])
def test_a_server_of_another_scheme_is_named_and_nothing_given_is_advised(
    est: Terminal, user: tuple[str, ...], with_certificate: bool
) -> None:
    identity = est.identity(pki().client) if with_certificate else ()
    err = refused(est, *user, *identity, script=(answer(UNAUTHORIZED, b"", NEGOTIATE),))
    assert "the server takes only Negotiate authentication, which est does not speak" in err
    hint = err.rpartition("; ")[2]
    assert "--user" not in err, "it would not help"
    if with_certificate:
        assert "--cert and --key" not in err
        assert "ask the server's operator for Digest" in hint
    else:
        assert "use --cert and --key" in hint


TOKEN = ("--token", "abc")
CODE = ("--code", "C0DE")


@pytest.mark.parametrize(
    "given, challenge, told, advised",
    [
        ((), DIGEST, "wants to know who is asking", "--user NAME, or --cert and --key"),
        ((), BEARER, "wants to know who is asking", "--token-file FILE, or --cert and --key"),
        (USER, BEARER, "takes Bearer, and user alice goes by Basic or Digest", "--token-file"),
        (TOKEN, DIGEST, "takes Digest, and the token goes by Bearer", "--user NAME"),
        (TOKEN, CHALLENGE, "takes Basic, and the token goes by Bearer", "--user NAME"),
        (CODE, DIGEST, "takes Digest, and the code goes by Basic", "--user NAME"),
        ((*USER, "--send-password"), DIGEST, "takes Digest, and user alice was sent unasked by "
         "Basic", "leave --send-password out"),
        (TOKEN, BEARER, "the server refuses the token", "check the token"),
        (CODE, CHALLENGE, "the server refuses the code", "check the code"),
        (USER, DIGEST, "the server refuses user alice", "check the name and the password"),
        ((*CODE, "--code-in", "otp"), CHALLENGE, "does not accept the code in the request",
         "--code-in"),
    ],
)  # fmt: skip
def test_what_the_server_takes_is_told_and_what_was_not_given_is_advised(
    est: Terminal, given: tuple[str, ...], challenge: bytes, told: str, advised: str
) -> None:
    lines = challenge if challenge.startswith(b"WWW") else CHALLENGE.split(b"\r\n")[1]
    err = refused(est, *given, script=(answer(UNAUTHORIZED, b"", lines),))
    message, _, hint = err.partition(" [auth/")
    assert told in message
    assert advised in hint
    assert not any(secret in err for secret in ("secret", "abc", "C0DE"))


@pytest.mark.parametrize(
    "place, body, advised",
    [
        ("challenge", b"linking failed: challengePassword is not the channel binding",
         "the server looks for linking: give --code-in otp, or basic"),
        ("challenge", b"no", "the code may be used up or expired"),
        ("otp", b"no", "the code may be used up or expired"),
    ],
)  # fmt: skip
def test_of_a_code_that_opens_nothing_the_hint_is_about_the_code(
    est: Terminal, place: str, body: bytes, advised: str
) -> None:
    forbidden = answer(b"HTTP/1.1 403 Forbidden", body)
    err = refused(est, *CODE, "--code-in", place, script=(forbidden,))
    assert advised in err
    assert "C0DE" not in err


def test_a_server_that_does_not_know_est_identity_linking_is_given_both(est: Terminal) -> None:
    forbidden = answer(b"HTTP/1.1 403 Forbidden", b"linking is required")
    err = refused(est, *USER, "--link-with", "estIdentityLinking", script=(forbidden,))
    assert "give --link-with both" in err


# Statuses


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "fields, when",
    [
        ((), "try again later"),
        ((b"Retry-After: 120",), "try again in 120 s"),
        ((b"Retry-After: Fri, 01 Jan 2100 00:00:00 GMT",), "after 2100-01-01T00:00:00Z"),
    ],
)
def test_too_many_requests_and_unavailable_say_when_to_try_again(
    est: Terminal, status: int, fields: tuple[bytes, ...], when: str
) -> None:
    script = (answer(b"HTTP/1.1 %d No" % status, b"", *fields),)
    err = refused(est, script=script)
    assert f"(HTTP {status})" in err
    assert when in err
    assert "busy" not in err, "nobody said so"
    assert ("many attempts" in err) == (status == 429)


def test_of_a_proxys_page_the_title_is_shown_and_no_control_character(est: Terminal) -> None:
    page = b"<html><head><title>504 &#27;[2JGateway\x1b[31m Time-out</title></head></html>"
    err = refused(est, script=(answer(b"HTTP/1.1 504 x", page, b"Content-Type: text/html"),))
    assert "504 [2JGateway [31m Time-out (HTTP 504)" in err
    assert "\x1b" not in err
    assert "<" not in err
    assert "proxy" in err


@pytest.mark.parametrize(
    "body", [b"PoP linking is required", b"missing challengePassword", b"Channel Binding: none"]
)
def test_a_403_about_linking_names_pop(est: Terminal, body: bytes) -> None:
    err = refused(est, script=(answer(b"HTTP/1.1 403 x", body),))
    assert err.endswith(
        "; give --pop always, which uses TLS 1.2 unless --tls-exporter is given too\n"
    )
    err = refused(
        est, "--pop", "always", "--tls-max", "1.2", script=(answer(b"HTTP/1.1 403 x", body),)
    )
    assert "give --pop" not in err


def test_a_403_that_says_nothing_may_be_about_linking(est: Terminal) -> None:
    err = refused(est, script=(answer(b"HTTP/1.1 403 Forbidden"),))
    assert "the server's log says why" in err
    assert "--pop always" in err
    err = refused(est, "--pop", "always", "--tls-max", "1.2", script=(answer(b"HTTP/1.1 403 x"),))
    assert "--pop" not in err


@pytest.mark.parametrize(
    "text, operation, hint, other",
    [
        (
            "the certificate was revoked",
            SIMPLEREENROLL,
            remedy("auth/certificate-revoked"),
            "manufacturer",
        ),
        (
            "a client certificate with explicit trust is required; the one shown is not verified: "
            "revoked",
            SIMPLEREENROLL,
            remedy("auth/certificate-revoked"),
            "manufacturer",
        ),
        (
            "a client certificate with explicit trust is required; the one shown is not verified: "
            "leads to no trust anchor",
            SIMPLEREENROLL,
            "check --cert",
            "manufacturer",
        ),
        (
            "a client certificate with explicit trust is required",
            SIMPLEREENROLL,
            "a manufacturer's enrolls, it does not renew",
            "anew",
        ),
        (
            "this CA did not issue the certificate",
            SIMPLEREENROLL,
            "manufacturer's",
            "anew",
        ),
        ("Forbidden", SIMPLEREENROLL, "check --cert", "manufacturer"),
        ("no", SIMPLEENROLL, "check --cert", "manufacturer"),
    ],
)
def test_a_certificate_is_explained_by_what_the_server_says_of_it(
    est: Terminal, text: str, operation: Operation, hint: str, other: str
) -> None:
    _, cert, _, key = est.identity(pki().client)
    target = make_target(url="https://est.example", trust=est.trust, cert=Path(cert), key=Path(key))
    response = Refused(operation=operation, fault=Fault.FORBIDDEN, reason=text, status=403)
    failed = Failed(code="response/status-403", message=text, response=response)
    found = failure(failed, operation, target).hint
    assert hint in found
    assert other not in found


def test_a_certificate_that_is_missing_or_refused_in_the_handshake_is_told_apart(
    est: Terminal,
) -> None:
    failed = Failed(code="tls/peer-refused-certificate", message="no")
    without = make_target(url="https://est.example", trust=est.trust)
    hint = failure(failed, CACERTS, without).hint
    assert hint == "the server wants a client certificate: give --cert and --key"
    _, cert, _, key = est.identity(pki().client)
    target = make_target(url="https://est.example", trust=est.trust, cert=Path(cert), key=Path(key))
    hint = failure(failed, CACERTS, target).hint
    assert hint.startswith("check --cert: ")
    assert "give --cert" not in hint


# The table


@pytest.mark.parametrize(
    "code, hint",
    [
        ("connect/refused", "check host and port; is the server running?"),
        ("cms/signed", "tell the server's operator: have the server send certificates without"),
        ("policy/of-somebody-else", ""),
    ],
)
def test_the_hint_is_the_remedy_of_the_code(est: Terminal, code: str, hint: str) -> None:
    target = make_target(url="https://est.example", trust=est.trust)
    failed = Failed(code=code, message="no")
    error = failure(failed, CACERTS, target)
    assert error.hint.startswith(hint)
    assert bool(error.hint) == bool(hint)
    assert "`" not in error.hint
    assert error.error_code == code


# JSON


def test_with_json_an_error_is_an_object(est: Terminal) -> None:
    script = (answer(b"HTTP/1.1 400 x", b"the CN is \xe2\x80\xaewrong"),)
    with scripted_server(est.directory, *script) as server:
        arguments = ("enroll", server.url, "--trust", est.trust, "--cn", "x", "--out", est.out)
        code, out, err = est(*arguments, "--json")
    assert (code, out) == (1, "")
    assert json.loads(err) == {
        "code": "response/status-400",
        "message": f"cannot enroll: {server.url}: the CN is  wrong (HTTP 400)",
        "hint": "read the server's text; its operator finds the reason in the server's log",
        "exit_code": 1,
        "server_code": None,
        "refusal": None,
    }


@pytest.mark.parametrize(
    "arguments, exit_code",
    [
        (("certs", "list", "nowhere", "--json"), 5),
        (("enroll", "https://localhost", "--cert", "x.pem", "--json"), 2),
        (("enroll", "--json", "--no-such-option"), 2),
        (("cacerts", "ftp://x", "--json"), 2),
    ],
)
def test_with_json_errors_of_all_kinds_are_objects(
    est: Terminal, arguments: tuple[str, ...], exit_code: int
) -> None:
    code, out, err = est(*arguments)
    assert (code, out) == (exit_code, "")
    found = json.loads(err)
    assert set(found) == {"code", "message", "hint", "exit_code", "server_code", "refusal"}
    assert found["exit_code"] == exit_code
    assert found["code"] is None
    assert found["message"]


def test_with_json_a_warning_is_an_object_too(est: Terminal) -> None:
    with canned_server() as server:
        server.application.answers[CSRAttrsRequested] = Fail()
        code, out, err = est.enroll(server, "--json")
    assert code == 0
    assert json.loads(out)["status"] == "enrolled"
    (warning,) = (json.loads(line) for line in err.splitlines())
    assert set(warning) == {"warning"}
    assert "cannot fetch the CSR attributes" in warning["warning"]
