"""Digest, tokens and one-time codes as foreign clients send them, at a server that takes all."""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PeerFinder
from tests.deployment import PASSWORD, USER, Deployment, est, prepared, serving
from tests.interop.curl_peer import Answer, Curl
from tests.interop.java_peer import TLS_1_2, TLS_1_3, BouncyCastle
from tests.interop.openssl_peer import OpenSsl

SCHEMES: Final = 'schemes = ["basic", "digest", "bearer", "otp"]'
AUTHORIZED: Final = "Authorization: Bearer {}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server of this module's own, with a user who has a secret for Digest."""
    directory = prepared(tmp_path_factory.mktemp("schemes") / "est")
    config = directory / "est.toml"
    text = config.read_text("utf-8").replace('#schemes = ["basic"]', SCHEMES)
    assert SCHEMES in text
    config.write_text(text, "utf-8")
    user = ("user", "add", str(directory), USER, "--password-stdin", "--force")
    est(*user, stdin=PASSWORD.encode()).checked()
    with serving(directory) as deployment:
        yield deployment


@pytest.fixture
def curl(peer: PeerFinder, openssl: OpenSsl, server: Deployment, tmp_path: Path) -> Curl:
    return Curl(peer("curl"), openssl, server, tmp_path)


@pytest.fixture
def bouncy_castle(
    peer: PeerFinder, server: Deployment, classes: Path, tmp_path: Path
) -> BouncyCastle:
    return BouncyCastle(peer, server, classes, tmp_path)


def offered(answer: Answer) -> list[str]:
    """The challenges of an answer, in order."""
    return [value for name, value in answer.fields if name == "WWW-Authenticate"]


def one_code(server: Deployment, name: str) -> str:
    """What the operator hands out."""
    listed = est("otp", "add", str(server.directory), name).checked().out.decode()
    (row,) = csv.DictReader(listed.splitlines())
    assert row["name"] == name
    return row["code"]


@pytest.mark.req("EST-047", "EST-048")
@pytest.mark.parametrize("tls", ["--tls-max 1.2", "--tlsv1.3"])
def test_curl_enrolls_by_digest(curl: Curl, openssl: OpenSsl, tls: str) -> None:
    request = openssl.request("device")
    body = base64.b64encode(request.der)
    login = ("--digest", "--user", f"{USER}:{PASSWORD}", *tls.split())
    answer = curl.post("simpleenroll", body, *login)
    assert answer.statuses == (401, 200)
    assert request.is_for(curl.certificate(answer))
    curl.deployment.log.wait_for("status=200 .*auth=digest/accepted")


def test_curl_with_a_wrong_password_is_refused_by_digest(curl: Curl, openssl: OpenSsl) -> None:
    body = base64.b64encode(openssl.request("device").der)
    answer = curl.post("simpleenroll", body, "--digest", "--user", f"{USER}:wrong")
    assert (answer.status, answer.body) == (401, b"")


@pytest.mark.req("EST-047")
def test_curl_takes_the_strongest_of_what_is_offered(curl: Curl, openssl: OpenSsl) -> None:
    request = openssl.request("device")
    login = ("--anyauth", "--user", f"{USER}:{PASSWORD}")
    answer = curl.post("simpleenroll", base64.b64encode(request.der), *login)
    assert request.is_for(curl.certificate(answer))
    curl.deployment.log.wait_for("status=200 .*auth=digest/accepted")


@pytest.mark.req("EST-047", "EST-048")
@pytest.mark.parametrize("tls", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_bouncy_castle_enrolls_by_digest(
    bouncy_castle: BouncyCastle,
    openssl: OpenSsl,
    server: Deployment,
    tmp_path: Path,
    tls: tuple[str, ...],
) -> None:
    before = len(server.log.lines)
    log_in = (f"user={USER}", f"password={PASSWORD}")
    bouncy_castle.run(
        "enroll", *tls, *log_in, "subject=CN=java", "out=java.pem", "keyout=java.key"
    ).checked()
    openssl.verify(server.ca_file, tmp_path / "java.pem")
    server.log.wait_for("status=200 .*auth=digest/accepted", after=before)


def test_a_token_opens_as_it_is_and_as_libest_wraps_it(curl: Curl, openssl: OpenSsl) -> None:
    directory = str(curl.deployment.directory)
    token = est("token", "add", directory, "pipeline").checked().out.decode().strip()
    for spelled in (token, base64.b64encode(token.encode()).decode()):
        request = openssl.request("device")
        header = ("--header", AUTHORIZED.format(spelled))
        answer = curl.post("simpleenroll", base64.b64encode(request.der), *header)
        assert request.is_for(curl.certificate(answer))
    est("token", "remove", directory, "pipeline").checked()
    answer = curl.post("simpleenroll", base64.b64encode(openssl.request("device").der), *header)
    assert (answer.status, offered(answer)[-1].rpartition(", ")[2]) == (
        401,
        'error="invalid_token"',
    )


def test_curl_hears_that_a_token_is_for_something_else(curl: Curl, openssl: OpenSsl) -> None:
    add = ("token", "add", str(curl.deployment.directory), "renewer")
    token = est(*add, "--operation", "simplereenroll").checked().out.decode().strip()
    body = base64.b64encode(openssl.request("device").der)
    answer = curl.post("simpleenroll", body, "--oauth2-bearer", token)
    assert answer.status == 403
    (challenge,) = offered(answer)
    assert challenge.startswith("Bearer ")
    assert challenge.endswith('error="insufficient_scope"')


def test_a_code_opens_once_and_its_repeat_gets_the_same(curl: Curl, openssl: OpenSsl) -> None:
    code = one_code(curl.deployment, "device-7")
    request, other = openssl.request("device"), openssl.request("device")
    login = ("--basic", "--user", f"device-7:{code}")
    first, again = (
        curl.certificate(curl.post("simpleenroll", base64.b64encode(request.der), *login))
        for _ in range(2)
    )
    assert first == again
    refused = curl.post("simpleenroll", base64.b64encode(other.der), *login)
    assert (refused.status, refused.body) == (401, b"")
    curl.deployment.log.wait_for("code=auth/code-spent")


@pytest.mark.req("EST-036")
def test_the_challenges_are_one_to_a_header_and_bearer_is_last(
    curl: Curl, openssl: OpenSsl
) -> None:
    answer = curl.post("simpleenroll", base64.b64encode(openssl.request("device").der))
    challenges = offered(answer)
    schemes = [value.partition(" ")[0] for value in challenges]
    assert schemes == ["Digest", "Digest", "Basic", "Bearer"]
    assert "algorithm" not in challenges[0]
    assert "error" not in challenges[-1]
    assert answer.body == b""
