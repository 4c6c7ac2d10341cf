"""What `est enroll --user` makes of servers that do not ask for a password as they should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli import main
from tests.interop.foreign_answers import answer, guarded, instead
from tests.interop.foreign_server import (
    Answers,
    ForeignServer,
    Said,
    Then,
    foreign_server,
    server_tls,
)
from tests.pki import pki

Enroll = Callable[..., tuple[int, str, ForeignServer]]


@pytest.fixture
def enroll(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Enroll:
    """Run `est enroll` against such a server; return the exit code, stderr and the server."""
    trust = tmp_path / "ca.pem"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))

    def run(answers: Answers, *options: str) -> tuple[int, str, ForeignServer]:
        out = ("--cn", "device-1", "--out", str(tmp_path / "out"))
        with foreign_server(answers, server_tls(tmp_path)) as server:
            code = main(["enroll", server.url, "--trust", str(trust), *out, *options])
        return code, capsys.readouterr().err, server

    return run


LOGIN = ("--user", "device:secret")


@pytest.mark.parametrize("then", [Then.GO_ON, Then.CLOSE, Then.FORGET])
def test_a_password_answers_a_401_that_names_no_scheme(enroll: Enroll, then: Then) -> None:
    code, _, server = enroll(guarded(answer(401, b"log in\n", then=then)), *LOGIN)
    assert code == 0
    sent = [bool(asked.authorization) for _, asked in server.asked]
    assert sent == [False, False, False, True]


def test_without_a_password_the_servers_text_and_what_to_give_are_told(enroll: Enroll) -> None:
    code, err, _ = enroll(guarded(answer(401, b"who are you?\n")))
    assert code == 1
    assert "who are you?" in err
    assert "--user NAME" in err
    assert "auth/no-challenge" in err


def test_a_refused_password_comes_with_the_servers_text(enroll: Enroll) -> None:
    code, err, server = enroll(guarded(answer(401, b"user is locked\n"), wrong=True), *LOGIN)
    assert code == 1
    assert "refuses user device: user is locked" in err
    assert "auth/refused" in err
    assert "secret" not in err
    assert [bool(asked.authorization) for _, asked in server.asked].count(True) == 1


def test_where_the_password_was_not_asked_for_the_hint_is_to_send_it(enroll: Enroll) -> None:
    code, err, _ = enroll(guarded(answer(403, b"forbidden\n")), *LOGIN)
    assert code == 1
    assert "--send-password" in err


@pytest.mark.parametrize("status", [401, 403])
def test_a_password_can_be_sent_at_once(enroll: Enroll, status: int) -> None:
    refusal = answer(status, b"no\n")
    code, err, server = enroll(guarded(refusal, operation="cacerts"), *LOGIN, "--send-password")
    assert (code, err) == (0, "")
    assert all(asked.authorization for _, asked in server.asked)


def test_sending_a_password_needs_one(enroll: Enroll) -> None:
    code, err, server = enroll(guarded(answer(401)), "--send-password")
    assert code == 2
    assert "--send-password goes with --user" in err
    assert not server.asked


def test_no_key_is_spoken_of_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = tmp_path / "ca.pem"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    nothing = instead("cacerts", *[Said(raw=b"", then=Then.CLOSE)] * 2)
    with foreign_server(nothing, server_tls(tmp_path)) as server:
        code = main(["cacerts", server.url, "--trust", str(trust)])
    err = capsys.readouterr().err
    assert code == 4
    assert "connection/lost" in err
    assert "key" not in err
    assert server.operations == ["cacerts", "cacerts"]  # a GET is repeated once
