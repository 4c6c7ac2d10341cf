"""What a client command refuses before it connects, and the CAs that the machine trusts."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from est_transports.cli import main
from est_transports.cli.client.system_trust import system_anchors
from est_transports.cli.errors import CliError, ExitCode
from tests.pki import Key, pki

NOWHERE = "https://127.0.0.1:1"  # a connection to it would end in another exit code
Capture = pytest.CaptureFixture[str]


def key_pem(key: Key, password: bytes = b"") -> bytes:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to be in, with a client's certificate and key, open and locked."""
    mine = pki().client
    for name, content in {
        "ca.pem": pki().ca.certificate.public_bytes(Encoding.PEM),
        "me.pem": b"".join(each.public_bytes(Encoding.PEM) for each in mine.chain),
        "key.pem": key_pem(mine.key),
        "locked.pem": key_pem(mine.key, b"secret"),
        "odd.pem": key_pem(ec.generate_private_key(ec.SECP256K1())),
        "empty": b"\nsecret\n",
    }.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (
            "cacerts {url} --system-trust --user bob:secret --password-stdin",
            ExitCode.USAGE,
            "the password is given twice",
        ),
        (
            "reenroll {url} --cert me.pem --key key.pem --trust ca.pem --key-type rsa:2048",
            ExitCode.USAGE,
            "--key-type goes with --rekey",
        ),
        (
            "cacerts {url} --cert me.pem --key locked.pem --key-password-file empty",
            ExitCode.LOCAL,
            "empty: the password is empty",
        ),
        (
            "cacerts {url} --cert me.pem --key locked.pem",
            ExitCode.USAGE,
            "give it with --key-password-file",
        ),
        ("cacerts {url} --cert me.pem --key odd.pem", ExitCode.LOCAL, "odd.pem: "),
        ("cacerts {url} --trust \0", ExitCode.USAGE, "a path has no NUL character"),
    ],
)
def test_what_cannot_go_well_is_refused_at_once(
    arguments: str, code: ExitCode, words: str, files: Path, capsys: Capture
) -> None:
    assert main([each.format(url=NOWHERE) for each in arguments.split(" ")]) == code
    err = capsys.readouterr().err
    assert words in err
    assert "secret" not in err


def test_the_certificates_of_a_hashed_directory_are_trusted_and_odd_files_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(CliError, match="this machine has no trust store"):
        system_anchors()
    ours, theirs = pki().ca.certificate, pki().client.certificate
    (tmp_path / "0a1b2c3d.0").write_bytes(ours.public_bytes(Encoding.PEM))
    (tmp_path / "0a1b2c3d.1").write_bytes(b"no certificate")
    (tmp_path / "README").write_bytes(theirs.public_bytes(Encoding.PEM))
    assert system_anchors() == (ours,)
    (line,) = capsys.readouterr().err.splitlines()
    assert "left out of the system's trust store: " in line
    assert "0a1b2c3d.1" in line
