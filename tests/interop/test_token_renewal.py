"""A certificate whose key is in a token, renewed: what `est serve` says to each way to log in.

The table of docs/how-to/keep-the-key-in-a-token.md is what these tests find.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.conftest import PeerFinder
from tests.deployment import PASSWORD, USER, Deployment, est, prepared, serving
from tests.docs.toml_edit import edited
from tests.pki import pki
from tests.programs import Ended
from tests.tokens import LABEL, SoftToken, soft_token

CONFIG = """[auth]
schemes = ["basic", "otp"]
[srp]
enabled = true
[manufacturers.acme]
trust = ["acme.pem"]
field = "CN"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server of this module's own, that takes all ways to log in."""
    directory = prepared(tmp_path_factory.mktemp("renewal") / "est")
    anchor = pki().manufacturer.certificate.public_bytes(Encoding.PEM)
    (directory / "acme.pem").write_bytes(anchor)
    config = directory / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), CONFIG), "utf-8")
    srp = ("srp", "add", str(directory), "device", "--password-stdin")
    est(*srp, stdin=PASSWORD.encode()).checked()
    with serving(directory) as deployment:
        yield deployment


@pytest.fixture
def token(tmp_path: Path, peer: PeerFinder, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    with soft_token(tmp_path, peer, monkeypatch) as found:
        yield found


class Device:
    """A device with a certificate for a key in its token."""

    def __init__(self, server: Deployment, token: SoftToken, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.out = directory / "device"
        make = ("--make-key", token.uri(f"token={LABEL};object=device"))
        self.enroll("device", self.out, *make).checked()
        self.first = self.certificate

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.out / "cert.pem").read_bytes())

    def run(self, command: str, *more: str, stdin: str = "") -> Ended:
        trust = ("--trust", str(self.server.ca_file))
        return est(command, self.server.server, *trust, *more, stdin=stdin.encode())

    def enroll(self, name: str, out: Path, *more: str) -> Ended:
        """Enroll with the password."""
        login = ("--user", USER, "--password-stdin")
        return self.run("enroll", *login, "--cn", name, "--out", str(out), *more, stdin=PASSWORD)

    def pair(self, name: str) -> tuple[str, ...]:
        """Return the options for a pair in files that this CA has certified for a name."""
        out = self.directory / f"pair of {name}"
        self.enroll(name, out).checked()
        return ("--cert", str(out / "cert.pem"), "--key", str(out / "key.pem"))

    def again(self, *login: str, name: str = "device", stdin: str = "") -> Ended:
        """Enroll for the key in the token again."""
        return self.run("enroll", *login, "--cn", name, *self._here, stdin=stdin)

    def renewed(self, *login: str, stdin: str = "") -> Ended:
        """Renew into the key in the token."""
        return self.run("reenroll", *login, *self._here, stdin=stdin)

    @property
    def _here(self) -> tuple[str, ...]:
        return ("--new-key", str(self.out / "key.uri"), "--out", str(self.out), "--force")

    def has_another_certificate(self, name: str = "device") -> bool:
        """True for one of that name, of the same key."""
        new = self.certificate
        assert _spki(new) == _spki(self.first)
        return new != self.first and new.subject.rfc4514_string() == f"CN={name}"


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def device(server: Deployment, token: SoftToken, tmp_path: Path) -> Device:
    assert os.environ["SOFTHSM2_CONF"] == str(token.config), "the command finds it there"
    return Device(server, token, tmp_path)


def test_a_password_enrolls_again_and_renews_nothing(device: Device) -> None:
    login = ("--user", USER, "--password-stdin")
    device.again(*login, stdin=PASSWORD).checked()
    assert device.has_another_certificate()
    assert "reenroll needs --cert and --key" in device.renewed(*login, stdin=PASSWORD).err


def test_tls_srp_enrolls_again(device: Device) -> None:
    login = ("--srp-user", "device", "--password-stdin")
    device.again(*login, stdin=PASSWORD).checked()
    assert device.has_another_certificate()


def test_a_code_enrolls_again_and_repeated_gives_what_it_gave(
    device: Device, server: Deployment
) -> None:
    listed = est("otp", "add", str(server.directory), "device").checked().out.decode()
    (row,) = csv.DictReader(listed.splitlines())
    code = device.directory / "code"
    code.write_text(row["code"])
    device.again("--code-file", str(code)).checked()
    assert device.has_another_certificate()
    second = device.certificate
    device.again("--code-file", str(code)).checked()
    assert device.certificate == second, "the same request for the same key is a repeat"


@pytest.mark.req("EST-136")
def test_a_pair_of_the_same_names_enrolls_and_renews(device: Device) -> None:
    pair = device.pair("device")
    device.again(*pair).checked()
    assert device.has_another_certificate()
    second = device.certificate
    device.renewed(*pair).checked()
    assert device.has_another_certificate()
    assert device.certificate != second


def test_a_pair_of_other_names_renews_into_its_own(device: Device) -> None:
    pair = device.pair("other")
    device.again(*pair).checked()
    assert device.has_another_certificate()
    device.renewed(*pair).checked()
    assert device.has_another_certificate("other"), "a renewal has the names of what is shown"


def test_a_manufacturers_pair_enrolls_and_does_not_renew(device: Device) -> None:
    certificate, key = pki().manufacturer_client.write(device.directory, "idevid")
    pair = ("--cert", str(certificate), "--key", str(key))
    for _ in range(2):
        before = device.certificate
        device.again(*pair, name="made-by-acme").checked()
        assert device.has_another_certificate("made-by-acme")
        assert device.certificate != before
    refused = device.renewed(*pair)
    assert refused.code == 1
    assert "a client certificate with explicit trust is required" in refused.err
