"""est provision, and --fingerprint elsewhere: whom a new device trusts, and from when on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli import main
from tests.application import PASSWORD, USER, certificate_for
from tests.cli.canned import CannedServer, canned_server
from tests.pki import Entity, Subject, pki, self_signed

LOGIN = ("--user", f"{USER}:{PASSWORD}")
ROOT = pki().ca.certificate
PRINT = ROOT.fingerprint(hashes.SHA256()).hex(":").upper()
OTHER = pki().rogue.certificate.fingerprint(hashes.SHA256()).hex()
FILES = ("cacerts.pem", "cert.pem", "chain.pem", "key.pem")


class Device:
    """A device with nothing but an empty directory, at a server."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], directory: Path, server: CannedServer
    ) -> None:
        self._capsys = capsys
        self.server = server
        self.directory = directory
        self.out = directory / "out"
        self.anchor = directory / "anchor.pem"
        self.anchor.write_bytes(ROOT.public_bytes(Encoding.PEM))

    def run(self, command: str, *options: str | Path) -> tuple[int, str, str]:
        code = main([command, self.server.url, *map(str, options)])
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    def provision(self, *options: str | Path) -> tuple[int, str, str]:
        return self.run("provision", "--cn", "device-1", "--out", self.out, *LOGIN, *options)

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        content = (self.out / "cacerts.pem").read_bytes()
        return tuple(x509.load_pem_x509_certificates(content))

    def written(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self.out.iterdir())) if self.out.exists() else ()

    def asked(self) -> list[list[str]]:
        """What the server was asked for, on one connection after the other."""
        found: dict[str, list[str]] = {}
        for record in self.server.records:
            operation = "" if record.operation is None else record.operation.name
            found.setdefault(record.peer, []).append(operation)
        return list(found.values())


@pytest.fixture
def device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Device]:
    with canned_server() as server:
        yield Device(capsys, tmp_path, server)


def one_error(err: str) -> str:
    """The line of the error, which is the last."""
    *_, last = err.splitlines()
    assert last.startswith("est: ")
    return last


# By fingerprint


@pytest.mark.req("EST-100", "EST-125", "EST-128")
def test_provision_fetches_trust_on_one_connection_and_enrolls_on_the_next(device: Device) -> None:
    code, out, err = device.provision("--fingerprint", PRINT)
    assert code == 0, err
    assert device.written() == FILES
    assert device.trusted == (ROOT,)
    assert (device.out / "key.pem").stat().st_mode & 0o777 == 0o600
    assert f"trusting CN=Test EST CA  SHA-256 {PRINT}\n" in err
    first, second, *others = device.asked()
    assert first == ["cacerts"]
    assert second == ["csrattrs"]
    assert others == [["simpleenroll"], ["simpleenroll"]]  # neither after a 204 nor a 401
    assert "cert.pem" in out


def test_provision_json_is_that_of_enroll(device: Device) -> None:
    code, out, _ = device.provision("--fingerprint", PRINT, "--json")
    found = json.loads(out)
    assert (code, found["status"], found["subject"]) == (0, "enrolled", "CN=device-1")
    assert str(device.out / "cacerts.pem") in found["files"]


@pytest.mark.req("EST-096", "EST-098")
@pytest.mark.parametrize("command", ["provision", "enroll", "cacerts"])
def test_a_fingerprint_that_does_not_fit_ends_it_and_the_one_received_is_said(
    device: Device, command: str
) -> None:
    named = () if command == "cacerts" else ("--cn", "device-1", *LOGIN)
    code, out, err = device.run(command, "--fingerprint", OTHER, "--out", device.out, *named)
    assert (code, out) == (1, "")
    line = one_error(err)
    assert f"it sent CN=Test EST CA {PRINT} [trust/refused]" in line
    assert "nothing was trusted" in line
    assert device.written() == ()
    assert device.asked() == [["cacerts"]]


@pytest.mark.parametrize("kind", [hashes.SHA384(), hashes.SHA512()], ids=lambda kind: kind.name)
def test_a_longer_fingerprint_is_answered_by_one_as_long(
    device: Device, kind: hashes.HashAlgorithm
) -> None:
    right = ROOT.fingerprint(kind)
    assert device.provision("--fingerprint", f"{kind.name} Fingerprint={right.hex(':')}")[0] == 0
    err = device.run("cacerts", "--fingerprint", "00" * kind.digest_size)[2]
    assert right.hex(":").upper() in err


@pytest.mark.req("EST-096")
def test_the_systems_trust_store_does_not_spare_the_comparison(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(device.anchor))
    assert (
        device.run("cacerts", "--system-trust", "--out", "-")[0] == 0
    )  # it would vouch for the server
    assert device.provision("--fingerprint", OTHER)[0] == 1


@pytest.mark.req("EST-101", "EST-124", "EST-129")
@pytest.mark.parametrize("command", ["provision", "enroll", "cacerts"])
def test_what_does_not_lead_to_the_accepted_root_is_not_stored(
    device: Device, command: str
) -> None:
    rogue, above = pki().rogue.certificate, pki().intermediate.certificate
    device.server.application.ca_certificates = (rogue, above, ROOT)
    named = () if command == "cacerts" else ("--cn", "device-1", *LOGIN)
    options = ("--fingerprint", PRINT, "--out", device.out, *named)
    assert device.run(command, *options)[0] == 0
    assert set(device.trusted) == {above, ROOT}


def test_cacerts_by_fingerprint_prints_what_was_accepted(device: Device) -> None:
    device.server.application.ca_certificates = (pki().rogue.certificate, ROOT)
    code, out, _ = device.run("cacerts", "--fingerprint", PRINT)
    assert x509.load_pem_x509_certificates(out.encode()) == [ROOT]
    assert code == 0


def test_many_roots_that_do_not_fit_are_not_all_shown(device: Device) -> None:
    roots = [self_signed(Subject(name=f"CA {n}", ca=True, eku=None)).certificate for n in range(5)]
    device.server.application.ca_certificates = tuple(roots)
    line = one_error(device.provision("--fingerprint", PRINT)[2])
    assert line.count("CN=CA ") == 3
    assert "and 2 more" in line


def test_a_server_that_sends_no_root_has_nothing_to_compare(device: Device) -> None:
    device.server.application.ca_certificates = (pki().intermediate.certificate,)
    code, _, err = device.provision("--fingerprint", PRINT)
    assert code == 1
    assert "[trust/no-root]" in one_error(err)


def test_every_command_takes_a_fingerprint(device: Device) -> None:
    wanted = ("--fingerprint", PRINT)
    assert "no opinion" in device.run("csrattrs", *wanted)[1]
    assert device.run("enroll", *wanted, "--cn", "d", *LOGIN, "--out", device.out)[0] == 0
    identity = ("--cert", device.out / "cert.pem", "--key", device.out / "key.pem")
    renewed = device.directory / "renewed"
    assert device.run("reenroll", *wanted, *identity, "--out", renewed)[0] == 0
    assert (renewed / "cert.pem").exists()


@pytest.mark.req("EST-098")
def test_a_server_of_the_accepted_ca_under_another_name_gets_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    elsewhere: Entity = pki().ca.issue(Subject(name="x", dns=("elsewhere.example",), eku=None))
    with canned_server(identity=elsewhere) as server:
        device = Device(capsys, tmp_path, server)
        code, _, err = device.provision("--fingerprint", PRINT)
        assert code == 4
        assert "server/name-mismatch" in one_error(err)
        assert device.asked() == [["cacerts"]]


def test_a_device_with_a_manufacturers_certificate_needs_no_password(device: Device) -> None:
    certificate, key = pki().manufacturer_client.write(device.directory, "idevid")
    where = ("--fingerprint", PRINT, "--out", device.out)
    code, _, err = device.run(
        "provision", "--cn", "device-1", "--cert", certificate, "--key", key, *where
    )
    assert code == 0, err
    (question,) = device.server.application.enrollments
    assert question.identity.certificate == pki().manufacturer_client.certificate


# By a server that verifies


@pytest.mark.req("EST-125")
def test_with_trust_the_servers_own_roots_are_trusted_too(device: Device) -> None:
    device.server.application.ca_certificates = (pki().manufacturer.certificate, ROOT)
    assert device.provision("--trust", device.anchor)[0] == 0
    assert set(device.trusted) == {pki().manufacturer.certificate, ROOT}
    assert [asked[0] for asked in device.asked()][:2] == ["cacerts", "csrattrs"]


def test_what_was_given_as_trust_is_in_what_the_device_keeps(device: Device) -> None:
    device.server.application.ca_certificates = (pki().manufacturer.certificate,)
    device.server.application.certify = partial(certificate_for, issuer=pki().manufacturer)
    assert device.provision("--trust", device.anchor)[0] == 0
    assert device.trusted == (pki().manufacturer.certificate, ROOT)


@pytest.mark.parametrize("given", [True, False])
def test_a_verified_server_without_a_root_needs_the_one_of_trust(
    device: Device, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(device.anchor))
    device.server.application.ca_certificates = (pki().intermediate.certificate,)
    code, _, err = device.provision(*(("--trust", device.anchor) if given else ("--system-trust",)))
    assert (code, "[trust/no-root]" in err) == (0 if given else 1, not given)


@pytest.mark.req("EST-125", "EST-126", "EST-093")
def test_the_systems_trust_store_counts_for_the_first_connection_only(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(device.anchor))
    device.server.application.ca_certificates = (pki().rogue.certificate,)
    code, _, err = device.provision("--system-trust")
    assert code == 4
    assert "the CA that it sent did not certify it" in one_error(err)
    assert device.written() == ()
    device.server.application.ca_certificates = (ROOT,)
    code, _, err = device.provision("--system-trust")
    assert code == 0, err
    assert "only the system's trust store vouches" not in err  # it is no password for that one


def test_a_server_that_the_system_does_not_trust_is_refused(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = device.directory / "other.pem"
    other.write_bytes(pki().rogue.certificate.public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    code, _, err = device.provision("--system-trust")
    assert code == 4
    assert "--trust CA.pem" in one_error(err)
    assert device.written() == ()


# Files, and requests that wait


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_asked_where_a_file_is_in_the_way(device: Device, name: str) -> None:
    device.out.mkdir()
    (device.out / name).write_text("mine")
    code, _, err = device.provision("--fingerprint", PRINT)
    assert code == 5
    assert f"{name} is there already" in one_error(err)
    assert device.server.connections == 0
    assert device.provision("--fingerprint", PRINT, "--force")[0] == 0
    assert device.trusted == (ROOT,)


def test_a_pending_request_is_gone_on_with_by_the_same_command(device: Device) -> None:
    device.server.application.pend(3600)
    code, _, err = device.provision("--fingerprint", PRINT)
    assert code == 3
    assert "run the same command again" in err
    assert "cacerts.pem" not in device.written()
    again = ("--out", device.out, *LOGIN, "--fingerprint", PRINT)
    assert device.run("provision", *again)[0] == 0
    assert device.written() == FILES
    first, second = device.server.application.enrollments
    assert first.csr.spki == second.csr.spki


def test_a_certificate_of_another_ca_is_not_installed(device: Device) -> None:
    device.server.application.certify = partial(certificate_for, issuer=pki().rogue)
    code, _, err = device.provision("--fingerprint", PRINT)
    assert code == 1
    assert "response/untrusted-certificate" in one_error(err)
    assert not {"cert.pem", "cacerts.pem"} & set(device.written())


# What makes no sense


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fingerprint", "00"), "SHA-256, SHA-384 or SHA-512"),
        (("--fingerprint", "zz" * 32), "hexadecimal"),
        (("--fingerprint", PRINT, "--trust", "ca.pem"), "exclude each other"),
    ],
)
def test_a_fingerprint_that_is_none_is_a_usage_error(
    device: Device, options: tuple[str, ...], said: str
) -> None:
    code, _, err = device.provision(*options)
    assert code == 2
    assert said in one_error(err)
    assert device.server.connections == 0


def test_without_a_name_there_is_nothing_to_provision(device: Device) -> None:
    code, _, err = device.run("provision", "--fingerprint", PRINT, "--out", device.out)
    assert (code, "give --cn NAME" in err) == (2, True)


def test_over_coap_nobody_is_spoken_to_who_does_not_verify(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["cacerts", "coaps://localhost", "--fingerprint", PRINT])
    assert code == 2
    assert "who does not verify" in capsys.readouterr().err
