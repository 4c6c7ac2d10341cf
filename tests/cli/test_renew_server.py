"""`est init --renew-server`: a server whose TLS certificate runs out gets another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from est_transports.cli import group
from est_transports.pki.host_verification import own_names
from est_transports.pki.serials import printed_serial


def est(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, [str(each) for each in arguments])


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    directory = tmp_path / "ca"
    assert est("init", directory, "--host", "est.example", "--host", "192.0.2.1").exit_code == 0
    return directory


def server_certificate(ca: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((ca / "server.pem").read_bytes())


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), {"est.example", "192.0.2.1"}),
        (("--host", "other.example"), {"other.example"}),
    ],
)
def test_the_server_gets_a_new_certificate_and_key_and_the_ca_stays(
    options: tuple[str, ...], names: set[str], ca: Path
) -> None:
    before, root = server_certificate(ca), (ca / "ca.pem").read_bytes()
    done = est("init", ca, "--renew-server", *options)
    assert done.exit_code == 0, done.stderr
    after = server_certificate(ca)
    assert own_names(after) == names
    after.verify_directly_issued_by(x509.load_pem_x509_certificate(root))
    key = load_pem_private_key((ca / "server-key.pem").read_bytes(), None)
    assert key.public_key() == after.public_key() != before.public_key()
    assert (ca / "server-key.pem").stat().st_mode & 0o777 == 0o600
    assert (ca / "ca.pem").read_bytes() == root
    assert printed_serial(after.serial_number) in est("certs", "list", ca).stdout


def test_what_is_new_is_told_to_a_program(ca: Path) -> None:
    done = est("init", ca, "--renew-server", "--json")
    assert done.exit_code == 0, done.stderr
    after = server_certificate(ca)
    assert json.loads(done.stdout) == {
        "hosts": ["192.0.2.1", "est.example"],
        "not_after": f"{after.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": after.fingerprint(hashes.SHA256()).hex(":").upper(),
    }


def test_nothing_is_replaced_where_something_is_wrong(ca: Path, tmp_path: Path) -> None:
    before = (ca / "server.pem").read_bytes()
    for code, options in (
        (2, (ca, "--renew-server", "--host", "not a host")),
        (2, (ca, "--renew-server", "--force")),
        (2, (ca, "--renew-server", "--name", "x")),
        (5, (tmp_path / "nowhere", "--renew-server")),
    ):
        done = est("init", *options)
        assert done.exit_code == code, done.output
        assert done.stderr.startswith("est: ")
    assert (ca / "server.pem").read_bytes() == before
