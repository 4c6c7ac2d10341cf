"""Certificates that cannot be read: the commands go on with the others, loudly, and lose none."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from est_core.asn1.cms import write_bag
from est_transports.cli.files import UNREADABLE
from tests.cli.canned import CannedServer, canned_server
from tests.cli.scripted import answer, scripted_server
from tests.cli.test_client_commands import LOGIN, Terminal, certificate_in, est, server
from tests.core.asn1.build import GOST_KEY, certificate, p256, signed, spki, subject_with
from tests.pki import Subject, pki
from tests.transports.pki.test_credential_files import KEY_DER, pem

__all__ = ["est", "server"]  # the fixtures

ODD = certificate(key=GOST_KEY)
ROOT = pki().ca.certificate.public_bytes(Encoding.DER)
SHA256 = ":".join(f"{octet:02X}" for octet in hashlib.sha256(ODD).digest())
OK = b"HTTP/1.1 200 OK"
KIND = b"Content-Type: application/pkcs7-mime; smime-type=certs-only"


def issued(*ders: bytes) -> bytes:
    return answer(OK, base64.b64encode(write_bag(ders)), KIND)


def test_cacerts_delivers_the_others_and_warns_of_a_possible_anchor(est: Terminal) -> None:
    with scripted_server(est.directory) as server:
        server.bag = write_bag([ODD, ROOT])
        code, out, err = est("cacerts", server.url, "--trust", est.trust)
    assert code == 0
    assert x509.load_pem_x509_certificates(out.encode()) == [pki().ca.certificate]
    assert "est: warning: left out of the server's answer: certificate " in err
    assert f"subject CN=device-1, SHA-256 {SHA256}" in err
    assert "1.2.643.7.1.1.1.1" in err
    assert "it may be a trust anchor" in err


def enrolled(est: Terminal, *ders: bytes) -> tuple[int, str, str]:
    key = est.directory / "own.key"
    key.write_bytes(pem("PRIVATE KEY", own_key()))
    with scripted_server(est.directory, issued(*ders)) as server:
        return est(
            "enroll", server.url, "--trust", est.trust, "--cn", "device-1", "--new-key", key,
            "--out", est.out,
        )  # fmt: skip


def own_key() -> bytes:
    return p256().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def test_an_issued_certificate_is_written_beside_one_that_cannot_be_read(est: Terminal) -> None:
    mine = pki().ca.issue(Subject(name="device-1", key=p256())).certificate
    code, _, err = enrolled(est, ODD, mine.public_bytes(Encoding.DER))
    assert code == 0, err
    assert certificate_in(est.out / "cert.pem") == mine
    assert SHA256 in err


def test_an_issued_certificate_that_cannot_be_read_is_kept(est: Terminal) -> None:
    mine = certificate(key=spki(p256()), subject=subject_with(0x13, b"a_b"))
    code, _, err = enrolled(est, mine)
    assert code == 1
    assert "[response/unreadable-certificate]" in err
    assert "subject CN=a_b" in err
    kept = (est.out / UNREADABLE).read_text()
    assert base64.b64decode("".join(kept.splitlines()[1:-1])) == mine
    assert not (est.out / "cert.pem").exists()


def test_a_trust_file_is_used_without_the_one_that_cannot_be_read(
    est: Terminal, server: CannedServer
) -> None:
    trust = est.directory / "some.pem"
    trust.write_bytes(pem("CERTIFICATE", ODD) + pki().ca.certificate.public_bytes(Encoding.PEM))
    code, _, err = est("cacerts", server.url, "--trust", trust)
    assert code == 0
    assert f"est: warning: {trust}: left out certificate 1 (line 1), subject CN=device-1" in err
    trust.write_bytes(pem("CERTIFICATE", ODD))
    code, _, err = est("cacerts", server.url, "--trust", trust)
    assert code == 5
    assert f"est: {trust}: cannot be used: certificate 1" in err


def test_the_systems_store_is_used_without_the_one_that_cannot_be_read(
    est: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = est.directory / "store.pem"
    store.write_bytes(pem("CERTIFICATE", ODD) + pki().ca.certificate.public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    with canned_server() as server:
        code, _, err = est("cacerts", server.url, "--system-trust")
    assert code == 0
    assert SHA256 in err


def test_a_certificate_to_show_that_cannot_be_read_is_an_error(
    est: Terminal, server: CannedServer
) -> None:
    cert, key = est.directory / "cert.pem", est.directory / "key.pem"
    cert.write_bytes(pem("CERTIFICATE", ODD) + pki().ca.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(pem("PRIVATE KEY", KEY_DER))
    code, _, err = est.ask("cacerts", server, "--cert", cert, "--key", key)
    assert code == 5
    assert f"est: {cert}: cannot be used: certificate 1" in err


def test_a_request_with_text_around_it_is_sent(est: Terminal, server: CannedServer) -> None:
    path = est.directory / "device.csr"
    path.write_bytes(b"Certificate Request:\n    Data:\n" + pem("NEW CERTIFICATE REQUEST", REQUEST))
    code, _, err = est.ask("enroll", server, "--csr", path, *LOGIN, "--out", est.out)
    assert (code, err) == (0, "")
    assert server.application.enrollments[0].csr.der == REQUEST


REQUEST = signed()
ODD_FILE = pem("CERTIFICATE", certificate(serial=b"\0", subject=subject_with(0x0C, b"x" * 65)))


@pytest.mark.parametrize("warning", ["default", "error"])
def test_no_warning_of_the_library_reaches_anybody(warning: str, tmp_path: Path) -> None:
    trust = tmp_path / "trust.pem"
    trust.write_bytes(ODD_FILE)
    command = [sys.executable, "-W", warning, "-m", "est_transports", "cacerts"]
    done = subprocess.run(
        [*command, "https://127.0.0.1:1", "--trust", trust],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "[connect/refused]" in done.stderr
