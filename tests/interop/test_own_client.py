"""Our own client's commands against the same server, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from est_transports.pki.serials import printed_serial
from tests.deployment import PASSWORD, USER, Deployment, est
from tests.interop.openssl_peer import OpenSsl
from tests.programs import Ended


class Client:
    """The commands, trusting a deployment's CA and writing to `directory`."""

    def __init__(self, deployment: Deployment, directory: Path) -> None:
        self.deployment = deployment
        self.directory = directory

    def run(self, command: str, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run a command on the server."""
        trust = ("--trust", str(self.deployment.ca_file))
        return est(command, self.deployment.server, *trust, *arguments, stdin=stdin)

    def enroll(self, *arguments: str, password: str = PASSWORD) -> Ended:
        """Enroll CN=device into the directory."""
        log_in = ("--user", USER, "--password-stdin")
        wanted = ("--cn", "device", "--san", "dns:device.example", "--out", str(self.directory))
        return self.run("enroll", *wanted, *log_in, *arguments, stdin=password.encode())

    def certificate(self, directory: Path | None = None) -> x509.Certificate:
        """Return cert.pem."""
        path = (directory or self.directory) / "cert.pem"
        return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture
def client(server: Deployment, tmp_path: Path) -> Client:
    """The client."""
    return Client(server, tmp_path / "device")


@pytest.mark.req("EST-112")
def test_cacerts_writes_the_ca_certificate(client: Client, server: Deployment) -> None:
    client.run("cacerts", "--out", str(client.directory)).checked()
    written = (client.directory / "cacerts.pem").read_bytes()
    assert x509.load_pem_x509_certificates(written) == [server.ca]


def test_csrattrs_says_that_the_server_has_no_opinion(client: Client) -> None:
    assert b"no opinion" in client.run("csrattrs").checked().out


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_enroll_writes_a_key_of_mode_0600_and_a_certificate_that_openssl_verifies(
    client: Client, openssl: OpenSsl, server: Deployment, tls: str
) -> None:
    client.enroll("--tls-max", tls).checked()
    key = client.directory / "key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    openssl.verify(server.ca_file, client.directory / "cert.pem")
    public = openssl.run("pkey", "-in", str(key), "-pubout").checked().out
    shown = openssl.run("x509", "-in", str(client.directory / "cert.pem"), "-noout", "-pubkey")
    assert public == shown.checked().out
    assert server.record(client.certificate())["user"] == USER


@pytest.mark.req("EST-174")
def test_enroll_links_the_request_where_it_is_told_to(client: Client) -> None:
    client.enroll("--tls-max", "1.2", "--pop", "always").checked()


@pytest.mark.parametrize("options", [(), ("--rekey",)], ids=["same key", "new key"])
def test_reenroll_renews_with_the_certificate(
    client: Client, server: Deployment, tmp_path: Path, options: tuple[str, ...]
) -> None:
    client.enroll().checked()
    old = client.certificate()
    identity = [str(client.directory / name) for name in ("cert.pem", "key.pem")]
    where = ("--cert", identity[0], "--key", identity[1], "--out", str(tmp_path / "next"))
    client.run("reenroll", *where, *options).checked()
    new = client.certificate(tmp_path / "next")
    assert (new.public_key() == old.public_key()) is not bool(options)
    assert server.record(new)["replaces"] == printed_serial(old.serial_number)


def test_a_wrong_password_ends_with_1_and_leaves_no_certificate(client: Client) -> None:
    ended = client.enroll(password="wrong")
    assert ended.code == 1
    assert ended.err.startswith("est: ")
    assert not (client.directory / "cert.pem").exists()


def test_a_server_that_is_not_trusted_ends_with_4(client: Client) -> None:
    assert est("cacerts", client.deployment.server, "--system-trust").code == 4


def test_json_is_data_for_programs(client: Client) -> None:
    ended = client.run("cacerts", "--json").checked()
    found: Any = json.loads(ended.out)
    assert found
