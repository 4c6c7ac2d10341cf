"""What curl is refused, and that refusing leaves the server whole and nothing on record."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

import pytest

from est_transports.pki.serials import printed_serial
from tests.deployment import PASSWORD, USER, Deployment
from tests.interop.curl_peer import LOG_IN, Answer, Curl
from tests.interop.openssl_peer import OpenSsl

TOO_LARGE: Final = 1 << 20


def good(openssl: OpenSsl, challenge: str = "") -> bytes:
    """Return the body of a request that nothing is wrong with, but for the challenge, if any."""
    return base64.b64encode(openssl.request("refused", challenge=challenge).der)


def badly_signed(openssl: OpenSsl) -> bytes:
    """Return the body of a request whose signature is another one's."""
    der = openssl.request("refused", kind="RSA 2048").der
    return base64.b64encode(der[:-1] + bytes([der[-1] ^ 1]))


REFUSALS: Final[dict[str, tuple[int, Callable[[Curl, OpenSsl], Answer]]]] = {
    "no base64": (400, lambda curl, _: curl.post("simpleenroll", b"!garbage!", *LOG_IN)),
    "no DER": (400, lambda curl, _: curl.post("simpleenroll", b"AAAA", *LOG_IN)),
    "an empty body": (400, lambda curl, _: curl.post("simpleenroll", b"", *LOG_IN)),
    "half a request": (
        400,
        lambda curl, openssl: curl.post("simpleenroll", good(openssl)[:200], *LOG_IN),
    ),
    "a wrong signature": (
        400,
        lambda curl, openssl: curl.post("simpleenroll", badly_signed(openssl), *LOG_IN),
    ),
    "a challengePassword of another channel": (
        403,
        lambda curl, openssl: curl.post("simpleenroll", good(openssl, "+rrCir/7+EYu50T4"), *LOG_IN),
    ),
    "no password": (401, lambda curl, openssl: curl.post("simpleenroll", good(openssl))),
    "a wrong password": (
        401,
        lambda curl, openssl: curl.post(
            "simpleenroll", good(openssl), "--basic", "--user", f"{USER}:{PASSWORD}x"
        ),
    ),
    "an unknown user": (
        401,
        lambda curl, openssl: curl.post(
            "simpleenroll", good(openssl), "--basic", "--user", f"nobody:{PASSWORD}"
        ),
    ),
    "a renewal with nothing to renew": (
        403,
        lambda curl, openssl: curl.post("simplereenroll", good(openssl), *LOG_IN),
    ),
    "another media type": (
        415,
        lambda curl, openssl: curl.post(
            "simpleenroll", good(openssl), *LOG_IN, media="application/x-www-form-urlencoded"
        ),
    ),
    "an unknown operation": (404, lambda curl, _: curl.fetch("simplyenroll")),
    "an unknown label": (404, lambda curl, _: curl.fetch("nowhere/cacerts")),
    "a path outside": (404, lambda curl, _: curl.fetch("../../etc/passwd", "--path-as-is")),
    "PUT": (405, lambda curl, _: curl.fetch("simpleenroll", "--request", "PUT")),
    "GET of a POST": (405, lambda curl, _: curl.fetch("simpleenroll", *LOG_IN)),
    "a body without end": (
        413,
        lambda curl, _: curl.post("simpleenroll", b"A" * TOO_LARGE, *LOG_IN),
    ),
    "a head without end": (
        431,
        lambda curl, _: curl.fetch("cacerts", "--header", "X-Filler: " + "x" * 60_000),
    ),
}


@pytest.mark.req("EST-142")
@pytest.mark.req("EST-150")
@pytest.mark.req("EST-176")
@pytest.mark.req("EST-276")
@pytest.mark.req("EST-278")
@pytest.mark.parametrize("name", REFUSALS)
def test_refused_with_the_fitting_status(curl: Curl, openssl: OpenSsl, name: str) -> None:
    status, attempt = REFUSALS[name]
    assert attempt(curl, openssl).status == status


@pytest.mark.req("EST-152")
@pytest.mark.req("EST-280")
def test_a_refusal_is_a_short_text_without_insides(curl: Curl) -> None:
    answer = curl.post("simpleenroll", b"!garbage!", *LOG_IN)
    assert 0 < len(answer.body) < 200
    assert answer.body.decode("utf-8").rstrip("\n").isprintable()
    assert b"Traceback" not in answer.body


def test_405_names_the_methods_there_are(curl: Curl) -> None:
    answers = (curl.fetch(path, "--request", "PUT") for path in ("simpleenroll", "cacerts"))
    assert [answer.field("Allow") for answer in answers] == ["POST", "GET, HEAD"]


def test_many_refusals_later_the_server_issues_and_has_recorded_nothing_else(
    curl: Curl, openssl: OpenSsl, server: Deployment
) -> None:
    before = len(server.records())
    refused = [attempt(curl, openssl).status for _, attempt in REFUSALS.values()]
    certificate = curl.enroll(openssl.request("accepted"))
    assert refused == [status for status, _ in REFUSALS.values()]
    assert len(server.records()) == before + 1
    assert server.record(certificate)["subject"] == "CN=accepted"


@pytest.mark.req("EST-297")
def test_passwords_are_not_in_the_log(curl: Curl, openssl: OpenSsl, server: Deployment) -> None:
    wrong = ("--basic", "--user", f"{USER}:nobody-knows-this")
    curl.post("simpleenroll", good(openssl), *wrong)
    curl.post("simpleenroll", good(openssl), *LOG_IN)
    certificate = curl.enroll(openssl.request("logged"))
    # The lines before it are there too then.
    server.log.wait_for(printed_serial(certificate.serial_number))
    secrets = [PASSWORD, "nobody-knows-this"]
    secrets += [base64.b64encode(f"{USER}:{secret}".encode()).decode() for secret in secrets]
    assert not [line for line in server.log.lines for secret in secrets if secret in line]


def test_the_log_has_one_line_for_each_request(
    curl: Curl, openssl: OpenSsl, server: Deployment
) -> None:
    certificate = curl.enroll(openssl.request("logged"))
    line = server.log.wait_for(printed_serial(certificate.serial_number)).string
    assert f"identity=user:{USER} " in line
    assert "operation=simpleenroll" in line
    assert "status=200" in line
