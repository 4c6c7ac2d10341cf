"""How the command logs in: by Digest or Basic, with a token, with a code in three places."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import DigestCredentials, Limits
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.auth.digest import DigestAlgorithm, digest_answer, digest_secret
from est_core.codec.authheader import parse_authorization
from est_transports.cli import main
from tests.interop.foreign_answers import BASIC, answer, guarded, well_behaved
from tests.interop.foreign_server import (
    Answers,
    Asked,
    ForeignServer,
    Said,
    foreign_server,
    server_tls,
)
from tests.pki import pki

Enroll = Callable[..., tuple[int, str, ForeignServer]]
CODE = "7QXK-2M4T-9ZPB"
CHALLENGE_PASSWORD, OTP_CHALLENGE = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.16.2.56"
BEARER = 'WWW-Authenticate: Bearer realm="est"'
DIGEST = 'WWW-Authenticate: Digest realm="est", nonce="n1", qop="auth", algorithm=SHA-256'


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


def behind_digest() -> Answers:
    """A server that lets in who answers by Digest as `device`, and each count once."""
    well, counts = well_behaved(), set[str]()

    def answers(asked: Asked) -> Said:
        credentials = parse_authorization(asked.authorization or "x", Limits())
        if isinstance(credentials, DigestCredentials):
            secret = digest_secret(DigestAlgorithm.SHA_256, "device", "est", "secret")
            parameters = DigestCredentials(
                user=credentials.user, parameters=credentials.parameters, method=asked.method
            )
            count = credentials.get("nc") or ""
            good = credentials.get("response") == digest_answer(secret, parameters)
            if good and credentials.get("uri") == asked.path and count not in counts:
                counts.add(count)
                return well(asked)
        return answer(401, b"", BASIC, DIGEST)

    return answers


@pytest.mark.req("EST-040", "EST-047")
def test_a_password_answers_digest_where_basic_is_offered_too(enroll: Enroll) -> None:
    code, err, server = enroll(behind_digest(), "--user", "device:secret")
    assert code == 0, err
    assert not any(asked.authorization.startswith("Basic") for _, asked in server.asked)
    assert server.operations == ["cacerts"] * 2 + ["csrattrs"] * 2 + ["simpleenroll"] * 2


@pytest.mark.parametrize("given", ["argument", "file", "stdin"])
def test_a_token_goes_to_who_asks_for_one(
    enroll: Enroll, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("est_abc\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"est_abc\n")))
    options = {
        "argument": ("--token", "est_abc"),
        "file": ("--token-file", str(tmp_path / "token")),
        "stdin": ("--token-file", "-"),
    }
    wants_token = guarded(answer(401, b"", BASIC, BEARER), scheme="Bearer est_abc")
    code, err, server = enroll(wants_token, *options[given])
    assert code == 0, err
    sent = [asked.authorization for _, asked in server.asked]
    assert sent == ["", "", "", "Bearer est_abc"]


def attributes(server: ForeignServer) -> dict[str, tuple[str, ...]]:
    """What stands in the attributes of the last request that a code may stand in."""
    csr = parse_cert_request(server.asked[-1][1].csr, Limits())
    oids = (CHALLENGE_PASSWORD, OTP_CHALLENGE)
    return {oid: csr.challenge(oid) for oid in oids if csr.challenge(oid)}


@pytest.mark.req("EST-187", "EST-196")
@pytest.mark.parametrize(
    ("place", "oid"), [("challenge", CHALLENGE_PASSWORD), ("otp", OTP_CHALLENGE)]
)
def test_a_code_goes_into_the_request(enroll: Enroll, place: str, oid: str, tmp_path: Path) -> None:
    (tmp_path / "code").write_text(f"{CODE}\n")
    options = ("--code-file", str(tmp_path / "code"), "--code-in", place, "--pop", "never")
    code, err, server = enroll(well_behaved(), *options)
    assert code == 0, err
    assert attributes(server) == {oid: (CODE,)}
    assert not any(asked.authorization for _, asked in server.asked)


def test_a_code_is_a_password_of_basic_unless_told_otherwise(enroll: Enroll) -> None:
    both = guarded(answer(401, b"", DIGEST, BASIC))
    code, err, server = enroll(both, "--code", CODE, "--user", "device")
    assert code == 0, err
    credentials = parse_authorization(server.asked[-1][1].authorization, Limits())
    assert getattr(credentials, "user", "") == "device"
    assert getattr(credentials, "password", "") == CODE
    assert OTP_CHALLENGE not in attributes(server)


@pytest.mark.req("EST-051")
@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("--token", "est_abc"), "Bearer est_abc"),
        (("--code", CODE), f"Basic {b64encode(f':{CODE}'.encode()).decode()}"),
    ],
)
def test_what_is_to_be_sent_unasked_goes_with_every_request(
    enroll: Enroll, options: tuple[str, ...], sent: str
) -> None:
    code, err, server = enroll(well_behaved(), *options, "--send-password")
    assert code == 0, err
    assert {asked.authorization for _, asked in server.asked} == {sent}


def test_a_code_in_the_place_of_linking_that_is_a_must_is_not_sent(
    enroll: Enroll, tmp_path: Path
) -> None:
    options = ("--code", CODE, "--code-in", "challenge", "--pop", "always")
    code, err, server = enroll(well_behaved(), *options)
    assert code == 2
    assert "no place for the linking" in err
    assert "--code-in" in err
    assert "simpleenroll" not in server.operations
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--token", "a", "--token-file", "b"), "exclude each other"),
        (("--token", "a", "--user", "b"), "exclude each other"),
        (("--token", "a", "--code", "b"), "exclude each other"),
        (("--code", "a", "--code-file", "b"), "exclude each other"),
        (("--code", "a", "--user", "b:c"), "takes the place of the password"),
        (("--code-in", "otp"), "goes with --code"),
        (("--send-password", "--code", "a", "--code-in", "otp"), "--send-password goes with"),
        (("--token-file", "-", "--code-file", "-", "--code-in", "otp"), "for one thing only"),
        (("--token", "a b"), "token68"),
        (("--user", "a\n:b"), "control characters"),
        (("--code-file", "/dev/null"), "has 1 to"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_sent(
    enroll: Enroll, options: tuple[str, ...], told: str
) -> None:
    code, err, server = enroll(well_behaved(), *options)
    assert code == 2
    assert told in err
    assert not server.asked


def test_a_file_that_holds_no_text_is_named(enroll: Enroll, tmp_path: Path) -> None:
    (tmp_path / "code").write_bytes(b"\xff\xfe\n")
    code, err, server = enroll(well_behaved(), "--code-file", str(tmp_path / "code"))
    assert code == 2
    assert "is not UTF-8 (--code-file)" in err
    assert not server.asked


@pytest.mark.parametrize("place", ["basic", "otp", "challenge"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"name,code\nSN-1,{CODE}\n", "holds more than one line (--code-file)"),
        (f"{CODE}\n\n{CODE}", "holds more than one line (--code-file)"),
        ("x" * 256, "a code ends at 255 characters"),
    ],
)
def test_what_is_no_code_is_sent_to_nobody(
    enroll: Enroll, tmp_path: Path, text: str, told: str, place: str
) -> None:
    (tmp_path / "code").write_text(text)
    options = ("--code-file", str(tmp_path / "code"), "--code-in", place)
    code, err, server = enroll(well_behaved(), *options)
    assert code == 2
    assert told in err
    assert CODE not in err
    assert not server.asked


def test_a_code_given_by_option_is_not_too_long_either(enroll: Enroll) -> None:
    code, err, server = enroll(well_behaved(), "--code", "x" * 256)
    assert code == 2
    assert "a code ends at 255 characters" in err
    assert not server.asked


@pytest.mark.parametrize("text", [f"{CODE}\r\n\n", "of-another-server:" + "x" * 237])
def test_a_code_of_another_form_is_sent(enroll: Enroll, tmp_path: Path, text: str) -> None:
    (tmp_path / "code").write_text(text)
    code, _, server = enroll(well_behaved(), "--code-file", str(tmp_path / "code"))
    assert code == 0
    assert server.asked


def test_a_file_that_is_not_there_is_named(enroll: Enroll, tmp_path: Path) -> None:
    code, err, _ = enroll(well_behaved(), "--token-file", str(tmp_path / "none"))
    assert code == 5
    assert str(tmp_path / "none") in err
    assert "--token-file" in err
