"""Revoked certificates at a server as an operator runs it: no enrollment, no renewal, on any wire.

One product of this field let a revoked certificate authenticate over EST (CVE-2020-25276).
"""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.deployment import Deployment, est, prepared, serving
from tests.pki import Authority, Entity, Subject, pki
from tests.programs import Ended
from tests.system.independent_client import IndependentClient
from tests.system.requests import csr, new_key

SETTINGS = """
[auth]
names = "any"
simpleenroll = "cert"

[tls]
client_trust = ["makers.pem"]

[crls]
files = ["makers.crl", "own.crl"]
"""


@dataclass(frozen=True)
class Plant:
    """A server that trusts a manufacturer, and the lists of both CAs."""

    server: Deployment
    ca_key: ec.EllipticCurvePrivateKey

    @property
    def directory(self) -> Path:
        return self.server.directory

    def devices_own(self, *revoked: x509.Certificate) -> None:
        """Publish the list of the server's own CA."""
        crl = a_crl(self.server.ca.subject, self.ca_key, revoked)
        replaced(self.directory / "own.crl", crl.public_bytes(Encoding.PEM))

    def makers(self, *revoked: x509.Certificate) -> None:
        """Publish the list of the manufacturer, in DER."""
        maker = pki().manufacturer
        assert isinstance(maker.key, ec.EllipticCurvePrivateKey)
        crl = a_crl(maker.name, maker.key, revoked)
        replaced(self.directory / "makers.crl", crl.public_bytes(Encoding.DER))

    def wait_for(self, pattern: str, after: int) -> None:
        self.server.log.wait_for(pattern, after=after)

    @property
    def said(self) -> int:
        """How many lines the server has said by now."""
        return len(self.server.log.lines)

    def ask(self, wire: str, command: str, shown: tuple[Path, Path], out: Path) -> Ended:
        """Enroll or renew with a certificate that is shown."""
        url = self.server.server if wire == "https" else self.server.coap_server
        name = ("--cn", "device-1") if command == "enroll" else ()
        return est(
            command, url, "--trust", str(self.server.ca_file), *name,
            "--cert", str(shown[0]), "--key", str(shown[1]), "--out", str(out), "--force",
        )  # fmt: skip


def a_crl(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, revoked: tuple[x509.Certificate, ...]
) -> x509.CertificateRevocationList:
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(
        name, now - timedelta(minutes=1), now + timedelta(days=1)
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder(each.serial_number, now).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256())


def replaced(path: Path, content: bytes) -> None:
    """Put a file in the place of another at once, as an operator is told to."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with planted(tmp_path / "ca") as made:
        yield made


@contextmanager
def planted(place: Path, *options: str) -> Iterator[Plant]:
    """Serve with a manufacturer that is trusted, and lists that revoke nothing yet."""
    directory = prepared(place)
    (directory / "est.toml").write_text(SETTINGS)
    maker = pki().manufacturer.certificate.public_bytes(Encoding.PEM)
    (directory / "makers.pem").write_bytes(maker)
    key = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    made = Plant(server=Deployment(directory=directory, process=None), ca_key=key)  # type: ignore[arg-type]  # not begun
    made.makers()
    made.devices_own()
    with serving(directory, "--coap", "127.0.0.1:0", *options) as server:
        yield Plant(server=server, ca_key=key)


def a_device(name: str, maker: Authority) -> Entity:
    return maker.issue(Subject(name=name))


@pytest.mark.parametrize("wire", ["https", "coaps"])
@pytest.mark.req("EST-061")
def test_a_revoked_certificate_neither_enrolls_nor_renews(
    wire: str, plant: Plant, tmp_path: Path
) -> None:
    device = a_device("device-1", pki().manufacturer)
    neighbour = a_device("device-2", pki().manufacturer)
    shown = device.write(tmp_path, "device")
    out = tmp_path / "out"
    plant.ask(wire, "enroll", shown, out).checked()
    issued = (out / "cert.pem", out / "key.pem")
    before = plant.said
    plant.makers(device.certificate)
    plant.wait_for("a revocation list changed", before)
    plant.wait_for("reloaded", before)
    refused = plant.ask(wire, "enroll", shown, tmp_path / "refused")
    assert refused.code != 0
    assert "revoked" in refused.err
    plant.wait_for(r"code=auth/certificate-revoked .*CN=device-1: revoked", before)
    assert not (tmp_path / "refused" / "cert.pem").exists()
    other = neighbour.write(tmp_path, "neighbour")
    plant.ask(wire, "enroll", other, tmp_path / "other").checked()

    plant.ask(wire, "reenroll", issued, tmp_path / "renewed").checked()
    own = x509.load_pem_x509_certificate(issued[0].read_bytes())
    before = plant.said
    plant.devices_own(own)
    plant.server.process.send_signal(signal.SIGHUP)
    plant.wait_for("reloaded", before)
    for command in ("reenroll", "enroll"):
        refused = plant.ask(wire, command, issued, tmp_path / "refused")
        assert refused.code != 0
        assert "revoked" in refused.err
        plant.wait_for(r"code=auth/certificate-revoked .*CN=device-1: revoked", before)
        before = plant.said
        assert not (tmp_path / "refused" / "cert.pem").exists()


@pytest.mark.req("EST-061")
def test_a_list_that_cannot_be_used_leaves_the_old_ones_in_force(
    plant: Plant, tmp_path: Path
) -> None:
    device = a_device("device-1", pki().manufacturer)
    shown = device.write(tmp_path, "device")
    before = plant.said
    plant.makers(device.certificate)
    plant.wait_for("reloaded", before)
    path = plant.directory / "makers.crl"
    for content, words in (
        (b"nonsense", "makers.crl"),
        (
            a_crl(pki().manufacturer.name, plant.ca_key, ()).public_bytes(Encoding.PEM),
            "is not signed by the CA of that name that is trusted",
        ),
    ):
        before = plant.said
        replaced(path, content)
        plant.wait_for(f"not reloaded, everything stays as it was: .*{words}", before)
        assert "revoked" in plant.ask("https", "enroll", shown, tmp_path / "out").err
        before = plant.said
        plant.server.process.send_signal(signal.SIGHUP)
        plant.wait_for(f"not reloaded, everything stays as it was: .*{words}", before)
    before = plant.said
    plant.makers()
    plant.wait_for("reloaded", before)
    plant.ask("https", "enroll", shown, tmp_path / "out").checked()


@pytest.mark.req("EST-061")
def test_a_connection_does_not_outlive_the_certificate_that_it_was_let_in_by(
    plant: Plant, tmp_path: Path
) -> None:
    device = a_device("device-1", pki().manufacturer)
    shown = device.write(tmp_path, "device")
    before = plant.said
    with IndependentClient(plant.server.port, plant.server.ca_file, identity=shown) as client:
        assert client.enroll(csr(new_key(), "device-1")).status == 200
        plant.makers(device.certificate)
        plant.wait_for("reloaded", before)
        with pytest.raises((OSError, http.client.HTTPException)):
            client.enroll(csr(new_key(), "device-1"))
    with IndependentClient(plant.server.port, plant.server.ca_file, identity=shown) as client:
        assert client.enroll(csr(new_key(), "device-1")).status == 403


@pytest.mark.req("EST-061")
def test_a_worker_that_takes_the_place_of_another_has_the_lists_in_force(
    tmp_path: Path,
) -> None:
    """The file is none by then: the lists with which the server began are not those in force."""
    device = a_device("device-1", pki().manufacturer)
    shown = device.write(tmp_path, "device")
    with planted(tmp_path / "ca", "--workers", "2") as plant:
        before = plant.said
        plant.makers(device.certificate)
        for _ in range(3):  # two workers and their parent
            plant.wait_for("a revocation list changed", before)
            lines = plant.server.log.lines
            before = next(at for at in range(before, len(lines)) if "list changed" in lines[at]) + 1
        replaced(plant.directory / "makers.crl", b"nonsense")
        for worker in workers(plant.server.process.pid):
            os.kill(worker, signal.SIGKILL)
            plant.wait_for(f"worker {worker} ended", before)
        refused = plant.ask("https", "enroll", shown, tmp_path / "refused")
        assert refused.code != 0
        plant.wait_for("CN=device-1: revoked", before)


def workers(parent: int) -> list[int]:
    """Return the processes that a server has forked."""
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(each) for each in text.split()]


def test_a_manufacturer_without_a_list_stops_the_start(tmp_path: Path) -> None:
    directory = prepared(tmp_path / "ca")
    (directory / "est.toml").write_text(SETTINGS.replace('"makers.crl", ', ""))
    maker = pki().manufacturer.certificate.public_bytes(Encoding.PEM)
    (directory / "makers.pem").write_bytes(maker)
    key = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    (directory / "own.crl").write_bytes(a_crl(ca.subject, key, ()).public_bytes(Encoding.PEM))
    ended = est("serve", str(directory), "--listen", "127.0.0.1:0")
    assert ended.code != 0
    assert "there is no CRL of CN=Test Manufacturer CA in [crls] files" in ended.err
