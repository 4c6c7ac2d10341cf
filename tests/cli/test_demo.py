"""est demo: the whole lifecycle on this machine, shown and cleaned up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from est_transports.cli import main
from tests.conftest import PeerFinder

Capture = pytest.CaptureFixture[str]
NAMES = (
    *("init", "user add", "serve", "cacerts", "csrattrs"),
    *("enroll", "reenroll", "enroll coaps", "verify", "revoke", "ocsp", "stop"),
)


@pytest.fixture(autouse=True)
def temporary_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary directories made where the test can count them."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


def test_the_demo_goes_through_a_whole_life_and_leaves_nothing(
    capsys: Capture, temporary_directories: Path, peer: PeerFinder
) -> None:
    peer("openssl")
    assert main(["demo", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    steps = {step["step"]: step for step in told["steps"]}
    assert tuple(steps) == NAMES
    assert all(step["ms"] >= 0 for step in steps.values())
    assert "by password" in steps["enroll"]["detail"]
    assert "by certificate" in steps["reenroll"]["detail"]
    assert "CN=device-1 by certificate" in steps["enroll coaps"]["detail"]
    assert "challengePassword" in steps["csrattrs"]["detail"]
    assert steps["verify"]["detail"] == "openssl verify: OK, OK"
    revoked = steps["revoke"]["detail"]
    assert "for keyCompromise: renewal refused (auth/certificate-revoked), on list 1" in revoked
    assert revoked.endswith("openssl verify -crl_check: certificate revoked")
    status = steps["ocsp"]["detail"]
    assert status.endswith("/ocsp: revoked (keyCompromise), signed by CN=OCSP responder")
    assert told["directory"] is None
    assert err == ""
    assert list(temporary_directories.iterdir()) == []


def test_with_dir_everything_is_kept(capsys: Capture, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    assert main(["demo", "--dir", str(place)]) == 0
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == list(NAMES)
    assert "est serve" in err
    names = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert {"ca/ca.pem", "ca/est.toml", "device/cert.pem", "device/key.pem"} <= names
    issuer = x509.load_pem_x509_certificate((place / "ca/ca.pem").read_bytes())
    for device in ("device", "device-coap"):
        leaf = x509.load_pem_x509_certificate((place / device / "cert.pem").read_bytes())
        leaf.verify_directly_issued_by(issuer)


def test_without_openssl_the_demo_says_who_verified(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["demo"]) == 0
    assert "verified with cryptography" in capsys.readouterr().out


def test_an_openssl_that_finds_no_revocation_ends_the_demo(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert main(["demo"]) == 1
    assert "est: demo: step revoke: openssl verify says: " in capsys.readouterr().err


def test_a_failing_step_is_named_with_the_exit_code_of_its_cause(
    capsys: Capture, tmp_path: Path
) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "something").write_bytes(b"")
    assert main(["demo", "--dir", str(tmp_path)]) == 5
    err = capsys.readouterr().err
    assert err.startswith("est: demo: step init: ")
    assert err.endswith("; choose another with --dir\n")
    assert err.count("\n") == 1
    assert (tmp_path / "ca" / "something").exists()


def test_the_password_of_the_demo_is_not_shown(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_urlsafe", lambda _size: "demo-password-x")
    assert main(["demo", "--verbose"]) == 0
    out, err = capsys.readouterr()
    assert "demo-password-x" not in out + err
