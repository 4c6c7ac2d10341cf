"""No warning of a library reaches who runs the command, whatever certificates there are.

The commands run as processes of their own, once as they are run by people and once with warnings as
errors, where a warning that is not ignored ends them as a defect: the outcome must be the same.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from est_transports.cli import main
from tests.any_names import give_any_name
from tests.cli.canned import CannedServer, canned_server
from tests.cli.serve_process import SERVE, request, serving
from tests.odd_certificates import ODD, element, rebuilt
from tests.pki import CLIENT_AUTH, SERVER_AUTH, Subject, pki

DEBIAN: Final = Path("/etc/ssl/certs/ca-certificates.crt")
SOURCE: Final = re.compile(r"\w\.py\b|Warning|site-packages|Traceback|internal error")
"""What a library's warning, and a defect of ours, leave on stderr."""
_COMMON_NAME: Final = bytes.fromhex("0603550403")
_COUNTRY: Final = bytes.fromhex("0603550406")


def _name(oid: bytes, tag: int, text: bytes) -> bytes:
    return element(0x30, element(0x31, element(0x30, oid, element(tag, text))))


def _times(before: bytes, after: bytes) -> bytes:
    return element(0x30, element(0x18, before), element(0x18, after))


MORE: Final[dict[str, dict[str, bytes]]] = {
    **ODD,
    "long common name": {"subject": _name(_COMMON_NAME, 0x0C, b"x" * 200)},
    "empty common name": {"subject": _name(_COMMON_NAME, 0x0C, b"")},
    "country of four letters": {"subject": _name(_COUNTRY, 0x13, b"ABCD")},
    "TeletexString": {"subject": _name(_COMMON_NAME, 0x14, b"d\xe9vice")},
    "BMPString": {"subject": _name(_COMMON_NAME, 0x1E, "dévice".encode("utf-16-be"))},
    "UniversalString": {"subject": _name(_COMMON_NAME, 0x1C, "dévice".encode("utf-32-be"))},
    "VisibleString": {"subject": _name(_COMMON_NAME, 0x1A, b"device")},
    "the year 1900": {"validity": _times(b"19000101000000Z", b"20350101000000Z")},
    "the year 9999": {"validity": _times(b"20250101000000Z", b"99991231235959Z")},
    "ECDSA with NULL parameters": {
        "signature": element(0x30, bytes.fromhex("06082a8648ce3d040302"), b"\x05\0")
    },
}


def der_of(name: str) -> bytes:
    """The CA's certificate, odd in one way."""
    return rebuilt(pki().ca.certificate, pki().ca, **MORE[name])


def pem(der: bytes) -> bytes:
    """A block of PEM around whatever it is."""
    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return b"\n".join((b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The CA's certificate and all that are odd and can be loaded."""
    blocks = [pki().ca.certificate.public_bytes(Encoding.PEM)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MORE:
            try:
                _ = x509.load_der_x509_certificate(der_of(name)).subject
            except ValueError:
                continue
            blocks.append(pem(der_of(name)))
    assert len(blocks) > len(MORE) // 2
    path = tmp_path / "bundle.pem"
    path.write_bytes(b"".join(blocks))
    return path


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


def quiet(*arguments: str | Path, stdin: str = "", **environment: str) -> int:
    """The exit code of a command that says nothing of sources, with warnings as errors or not."""
    codes = []
    for flags in ((), ("-W", "error")):
        done = subprocess.run(
            [sys.executable, *flags, "-m", "est_transports", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "", **environment},
        )
        assert not SOURCE.search(done.stderr), done.stderr
        codes.append(done.returncode)
    assert codes[0] == codes[1]
    return codes[0]


def test_the_certificates_here_do_cause_warnings(bundle: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for certificate in x509.load_pem_x509_certificates(bundle.read_bytes()):
            _ = certificate.subject
    texts = {str(each.message)[:20] for each in caught}
    assert texts >= {"Parsed a serial numb", "Attribute's length m"}


def test_trust_anchors_of_all_kinds_cause_no_warning(bundle: Path, server: CannedServer) -> None:
    assert quiet("cacerts", server.url, "--trust", bundle) == 0
    assert quiet("cacerts", server.url, "--system-trust", SSL_CERT_FILE=str(bundle)) == 0


@pytest.mark.parametrize("json_flag", [(), ("--json",)])
def test_an_anchor_that_is_left_out_is_a_warning_of_the_command(
    json_flag: tuple[str, ...],
    server: CannedServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trust = tmp_path / "ca.pem"
    trust.write_bytes(
        pem(der_of("VisibleString")) + pki().ca.certificate.public_bytes(Encoding.PEM)
    )
    assert main(["cacerts", server.url, "--trust", str(trust), *json_flag]) == 0
    err = capsys.readouterr().err
    text = "trust anchor CN=device is left out: OpenSSL cannot read it"
    assert err == (json.dumps({"warning": text}) if json_flag else f"est: warning: {text}") + "\n"


def test_the_systems_own_trust_anchors_cause_no_warning(server: CannedServer) -> None:
    if not DEBIAN.exists():
        pytest.skip(f"there is no {DEBIAN}")
    assert quiet("cacerts", server.url, "--trust", DEBIAN) == 4
    assert quiet("cacerts", server.url, "--system-trust", SSL_CERT_FILE=str(DEBIAN)) == 4


def test_what_a_server_sends_causes_no_warning(
    bundle: Path, server: CannedServer, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certificates = x509.load_pem_x509_certificates(bundle.read_bytes())
    server.application.ca_certificates = tuple(certificates)
    trust = tmp_path / "ca.pem"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    with warnings.catch_warnings():  # of the server, which is in this process
        warnings.simplefilter("ignore")
        assert quiet("cacerts", server.url, "--trust", trust, "--json") == 0
        more = ("--cn", "a", "--out", tmp_path / "o", "--user", "alice:correct horse", "--force")
        assert quiet("provision", server.url, "--trust", trust, *more) == 0


@pytest.mark.parametrize("name", ["long common name", "negative serial number"])
def test_a_certificate_and_a_server_that_are_odd_cause_no_warning(
    name: str, tmp_path: Path
) -> None:
    odd = pki().ca.issue(Subject(name="odd", ips=("127.0.0.1",), eku=(SERVER_AUTH,)))
    certificate, key = tmp_path / "odd.pem", tmp_path / "odd.key"
    certificate.write_bytes(pem(rebuilt(odd.certificate, pki().ca, **MORE[name])))
    key.write_bytes(odd.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    trust = tmp_path / "ca.pem"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    with canned_server() as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = ("--cert", certificate, "--key", key, "--trust", trust)
        quiet("reenroll", server.url, *mine, "--out", tmp_path / "out", "--force")
        quiet("enroll", server.url, *mine, "--cn", "x", "--out", tmp_path / "out", "--force")


def test_a_ca_and_its_store_cause_no_warning(bundle: Path, tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    assert main(["init", str(directory)]) == 0
    der = der_of("long common name")
    with sqlite3.connect(directory / "est.db") as store:
        store.execute("UPDATE certificate SET der = ?", (der,))
    store.close()
    assert quiet("certs", "list", directory) == 0
    serial = _only_serial(directory)
    assert quiet("certs", "show", directory, serial, "--json") == 0
    key = tmp_path / "ca.key"
    key.write_bytes(pki().ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    quiet("init", tmp_path / "two", "--ca-cert", bundle, "--ca-key-file", key, "--force")


def _only_serial(directory: Path) -> str:
    store = sqlite3.connect(directory / "est.db")
    ((serial,),) = store.execute("SELECT serial FROM certificate").fetchall()
    store.close()
    return str(serial)


@pytest.mark.parametrize("flags", [(), ("-W", "error")], ids=["usual", "errors"])
def test_a_server_with_odd_trust_anchors_and_clients_logs_no_warning_of_a_library(
    flags: tuple[str, ...], bundle: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "ca"
    assert main(["init", str(directory)]) == 0
    give_any_name(directory)
    trust = [str(bundle), *([str(DEBIAN)] if DEBIAN.exists() else [])]
    config = directory / "est.toml"
    config.write_text(
        config.read_text().replace("[tls]\n", f"[tls]\nclient_trust = {json.dumps(trust)}\n", 1)
    )
    device = pki().ca.issue(Subject(name="device", eku=(CLIENT_AUTH,)))
    key = device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    statuses = []
    with serving(directory, command=(*flags, *SERVE)) as server:
        for name in ("long common name", "negative serial number", "serial number 0"):
            identity = tmp_path / "identity.pem"
            identity.write_bytes(pem(rebuilt(device.certificate, pki().ca, **MORE[name])) + key)
            connection = server.connect(identity)
            statuses.append(connection.ask("simpleenroll", request("device-1"))[0])
            connection.close()
        assert server.stop() == 0
    assert statuses == [200, 200, 200]
    assert not SOURCE.search("".join(server.log)), server.log


@pytest.mark.parametrize("name", MORE)
def test_with_warnings_as_errors_an_odd_trust_anchor_is_no_defect(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.pem"
    path.write_bytes(pem(der_of(name)))
    outcomes = []
    for action in ("default", "error"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.resetwarnings()
            warnings.simplefilter(action)
            outcomes.append(main(["cacerts", "https://127.0.0.1:1", "--trust", str(path)]))
        assert caught == []
        assert not SOURCE.search(capsys.readouterr().err)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] in (4, 5)
