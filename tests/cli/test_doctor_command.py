"""`est doctor` as a user types it: what it prints, and how it ends."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli import main
from tests.cli.test_client_commands import on_terminal
from tests.interop.foreign_answers import BASIC, answer
from tests.interop.foreign_server import Answers, Asked, ForeignServer, foreign_server, server_tls
from tests.interop.test_doctor import careful
from tests.pki import pki

BOOM = answer(500, b"\x1b]0;owned\x07\xe2\x80\xaeboom", "Content-Type: text/plain")

Doctor = Callable[..., tuple[int, str, str, ForeignServer]]


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """The test CA in a file."""
    file = tmp_path / "ca.pem"
    file.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    return file


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Run `est doctor` on such a server; return exit code, output, errors and the server."""

    def run(answers: Answers, *options: str) -> tuple[int, str, str, ForeignServer]:
        with foreign_server(answers, server_tls(tmp_path)) as server:
            code = main(["doctor", server.url, *options])
        out, err = capsys.readouterr()
        return code, out, err, server

    return run


def found(out: str) -> dict[str, dict[str, Any]]:
    """The findings that were printed as JSON."""
    return {each["check"]: each for each in json.loads(out)["checks"]}


def login(asked: Asked) -> Any:
    """A server where device:secret logs in."""
    if asked.operation == "simpleenroll" and asked.authorization:
        is_right = asked.authorization == "Basic ZGV2aWNlOnNlY3JldA=="
        return answer(400, b"empty") if is_right else answer(401, b"", BASIC)
    return careful()(asked)


def test_no_fault_is_0_and_every_check_is_a_line(doctor: Doctor, trust: Path) -> None:
    code, out, err, _ = doctor(careful(), "--trust", str(trust))
    assert code == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert len(lines) >= 30
    assert {len(line) for line in lines} == {5}
    assert ["cacerts.status", "ok", "200", "", ""] in lines
    assert " connections, " in err


def test_a_fault_is_1_and_says_what_to_do(doctor: Doctor) -> None:
    code, out, err, _ = doctor(careful(cacerts=answer(200, b"!", "Content-Type: text/plain")))
    assert code == 1
    (line,) = [each for each in out.splitlines() if each.startswith("cacerts.media-type")]
    _, severity, seen, means, do = line.split("\t")
    assert severity == "fault"
    assert "'text/plain', and not application/pkcs7-mime" in seen
    assert "RFC 7030 4.1.3" in means
    assert do.startswith("send Content-Type")
    assert " faults, " in err


def test_nobody_there_is_4(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert main(["doctor", f"https://127.0.0.1:{port}"]) == 4
    assert "not reachable" in capsys.readouterr().err


def test_what_a_server_wrote_cannot_command_a_terminal(doctor: Doctor) -> None:
    answers = careful(cacerts=BOOM, simpleenroll=BOOM, unknown=BOOM)
    for options in ((), ("--json",)):
        code, out, err, _ = doctor(answers, *options)
        assert code == 1
        assert "boom" in out
        assert not set("\x1b\x07\u202e") & set(json.loads(out)["url"] if options else out + err)
        if options:
            seen = "".join(each["seen"] for each in found(out).values())
            assert not set("\x1b\x07\u202e") & set(seen)


def test_a_password_is_tried_on_a_verified_server(doctor: Doctor, trust: Path) -> None:
    user = ("--user", "device:secret", "--json")
    code, out, _, server = doctor(login, "--trust", str(trust), *user)
    assert code == 0
    assert found(out)["login.password"]["severity"] == "ok"
    assert [each.authorization for _, each in server.asked if each.authorization] == [
        "Basic ZGV2aWNlOnNlY3JldA=="
    ]


def test_a_wrong_password_is_a_fault(doctor: Doctor, trust: Path) -> None:
    code, out, _, _ = doctor(login, "--trust", str(trust), "--user", "device:other", "--json")
    assert code == 1
    assert found(out)["login.password"]["severity"] == "fault"


@pytest.mark.parametrize("how", ["nothing", "another CA", "another fingerprint"])
def test_a_server_that_is_not_verified_is_shown_nothing(
    doctor: Doctor, tmp_path: Path, how: str
) -> None:
    rogue = tmp_path / "rogue.pem"
    rogue.write_bytes(pki().rogue.certificate.public_bytes(Encoding.PEM))
    trust = {
        "nothing": (),
        "another CA": ("--trust", str(rogue)),
        "another fingerprint": ("--fingerprint", "00" * 32),
    }[how]
    certificate, key = pki().client.write(tmp_path, "device")
    identity = ("--cert", str(certificate), "--key", str(key))
    _, out, _, server = doctor(login, *trust, "--user", "device:secret", *identity, "--json")
    assert found(out)["login.password"]["severity"] == "not-judged"
    assert found(out)["login.certificate"]["severity"] == "not-judged"
    assert not any(each.authorization for _, each in server.asked)


def test_a_fingerprint_picks_the_root(doctor: Doctor) -> None:
    from cryptography.hazmat.primitives import hashes

    print_ = pki().ca.certificate.fingerprint(hashes.SHA256()).hex()
    options = ("--fingerprint", print_, "--user", "device:secret", "--json")
    code, out, _, _ = doctor(login, *options)
    assert code == 0
    assert found(out)["certificate.trust"]["severity"] == "ok"
    assert found(out)["login.password"]["severity"] == "ok"


def test_a_certificate_is_tried(doctor: Doctor, trust: Path, tmp_path: Path) -> None:
    certificate, key = pki().client.write(tmp_path, "device")
    options = ("--trust", str(trust), "--cert", str(certificate), "--key", str(key), "--json")
    code, out, _, _ = doctor(careful(), *options)
    assert code == 1
    assert "the certificate that was given does not do" in found(out)["login.certificate"]["seen"]


def test_a_token_needs_bearer(doctor: Doctor, trust: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abc", "ascii")
    options = ("--trust", str(trust), "--token-file", str(token), "--json")
    _, out, _, server = doctor(careful(), *options)
    assert "no Bearer" in found(out)["login.password"]["seen"]
    assert not any(each.authorization for _, each in server.asked)


def test_a_label_is_looked_for(doctor: Doctor) -> None:
    code, out, _, _ = doctor(careful(), "--label", "plant", "--json", "--only", "paths")
    assert code == 1
    assert found(out)["paths.label"]["seen"] == "label 'plant': /cacerts is answered 404"
    assert {each["subject"] for each in found(out).values()} == {"paths"}


@pytest.mark.parametrize(
    "options, words",
    [
        (("--trust", "a", "--system-trust"), "exclude each other"),
        (("--only", "teeth"), "teeth"),
        (("--password-stdin",), "--password-stdin goes with --user"),
        (("--cert", "a"), "--cert and --key go together"),
        (("--fingerprint", "abc"), "--fingerprint"),
        (("--proxy", "ftp://x"), "--proxy"),
        (("--only", "coaps"), "--only is one of reach, tls"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_asked(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "https://localhost:1", *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, words",
    [
        ((), "both sides show certificates"),
        (("--proxy", "http://127.0.0.1:1"), "no proxy passes UDP on"),
    ],
)
def test_over_coap_there_is_a_certificate_and_no_proxy(
    options: tuple[str, ...],
    words: str,
    trust: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    certificate, key = pki().client.write(tmp_path, "device")
    identity = ("--trust", str(trust), "--cert", str(certificate), "--key", str(key))
    given = (*identity, *options) if options else ()
    assert main(["doctor", "coaps://localhost:1", *given]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("everything", [False, True])
def test_on_a_terminal_what_is_well_is_left_out(
    everything: bool, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    options = ("--only", "csrattrs", "--timeout", "30", *(["--all"] if everything else []))
    code, out, err, _ = doctor(careful(csrattrs=answer(200)), *options)
    assert code == 1
    assert "csrattrs.status: /csrattrs is answered with 200, 204 or 404" in out
    assert "200 with an empty body" in out
    assert "answer 204 where there are no attributes" in out
    assert "1 fault, 5 not judged" in err
    code, out, _, _ = doctor(careful(), "--only", "http", *(["--all"] if everything else []))
    assert code == 0
    assert ("http.version" in out) is everything


def test_it_draws_on_a_real_terminal(tmp_path: Path) -> None:
    with foreign_server(careful(csrattrs=answer(200)), server_tls(tmp_path)) as server:
        code, shown = on_terminal(["doctor", server.url, "--timeout", "30"], [])
    assert code == 1
    assert "200 with an empty body" in shown
    assert "cacerts.status" not in shown


def test_a_token_is_tried_by_bearer(doctor: Doctor, trust: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abc", "ascii")

    def answers(asked: Asked) -> Any:
        if asked.operation != "simpleenroll":
            return careful()(asked)
        if asked.authorization == "Bearer abc":
            return answer(400)
        return answer(401, b"", 'WWW-Authenticate: Bearer realm="est"')

    options = ("--trust", str(trust), "--token-file", str(token), "--json")
    code, out, _, _ = doctor(answers, *options)
    assert code == 0
    assert found(out)["login.password"]["severity"] == "ok"
