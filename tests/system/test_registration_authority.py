"""A registration authority at a server as an operator runs it: whom it renews for, and whom not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.deployment import prepared, serving
from tests.system.independent_client import IndependentClient
from tests.system.records import issued
from tests.system.requests import CMC_RA, certificates, csr, dns, identity_files, new_key

SETTINGS = """
[auth]
names = "any"

[ra]
{listed}
"""
BY_SUBJECT = 'certificates = ["ra.pem"]'
RA_NAME = "Registration Authority"


def authority(directory: Path, settings: str) -> tuple[Path, Path]:
    """Configure a server, and return certificate and key of an RA, made with the CA's own key."""
    ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    ca_key = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key, now = new_key(), datetime.now(UTC)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, CMC_RA])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, RA_NAME)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(usage, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    (directory / "ra.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "est.toml").write_text(settings)
    return identity_files(directory, certificate, key)


@pytest.mark.req("EST-089", "EST-092")
def test_an_ra_renews_and_rekeys_for_a_device_on_record_and_for_no_other(tmp_path: Path) -> None:
    directory = prepared(tmp_path / "ca")
    ra = authority(directory, SETTINGS.format(listed=BY_SUBJECT))
    key, names = new_key(), dns("device-1.example")
    with serving(directory) as server:
        with IndependentClient(server.port, server.ca_file) as device:
            (first,) = certificates(device.enroll(csr(key, "device-1", names)).body)
        with IndependentClient(server.port, server.ca_file, identity=ra) as client:
            for new in (key, new_key()):
                answer = client.reenroll(csr(new, "device-1", names))
                assert answer.status == 200, answer.body
                (renewed,) = certificates(answer.body)
                assert renewed.subject == first.subject
                record = issued(server)[-1]
                assert record.der == renewed.public_bytes(Encoding.DER)
                assert record.client_subject == f"CN={RA_NAME}"
                assert record.replaces is not None
            other = client.reenroll(csr(key, "device-2", names))
            assert other.status == 403
            assert b"no certificate of these names" in other.body
        server.log.wait_for("renewal/not-on-record")
        server.log.wait_for(f"registration authority CN={RA_NAME}: simplereenroll for CN=device-2")


@pytest.mark.req("EST-092")
def test_without_the_opt_in_an_ra_is_a_client_like_others(tmp_path: Path) -> None:
    directory = prepared(tmp_path / "ca")
    ra = authority(directory, SETTINGS.format(listed=""))
    with (
        serving(directory) as server,
        IndependentClient(server.port, server.ca_file, identity=ra) as client,
    ):
        assert client.reenroll(csr(new_key(), "device-1")).status == 400
        server.log.wait_for("its certificate is for id-kp-cmcRA and not in")


@pytest.mark.req("EST-092")
def test_a_renewed_ra_is_one_by_its_subject_and_not_by_the_fingerprint_of_the_old(
    tmp_path: Path,
) -> None:
    for by_subject in (True, False):
        directory = prepared(tmp_path / f"ca-{by_subject}")
        authority(directory, "")
        old = x509.load_pem_x509_certificate((directory / "ra.pem").read_bytes())
        (directory / "listed.pem").write_bytes((directory / "ra.pem").read_bytes())
        by = 'certificates = ["listed.pem"]'
        if not by_subject:
            by = f'fingerprints = ["{old.fingerprint(hashes.SHA256()).hex()}"]'
        ra = authority(directory, SETTINGS.format(listed=by))  # another key and serial number
        key = new_key()
        with serving(directory) as server:
            with IndependentClient(server.port, server.ca_file) as device:
                assert device.enroll(csr(key, "device-1")).status == 200
            with IndependentClient(server.port, server.ca_file, identity=ra) as client:
                answer = client.reenroll(csr(key, "device-1"))
                assert answer.status == (200 if by_subject else 400)


def test_nobody_else_gets_the_subject_of_a_configured_ra(tmp_path: Path) -> None:
    directory = prepared(tmp_path / "ca")
    authority(directory, SETTINGS.format(listed=BY_SUBJECT))
    with serving(directory) as server, IndependentClient(server.port, server.ca_file) as client:
        answer = client.enroll(csr(new_key(), RA_NAME.upper()))
        assert answer.status == 400
        assert b"the subject is that of a registration authority" in answer.body
        root = server.ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        answer = client.enroll(csr(new_key(), f" {str(root).lower()}"))
        assert answer.status == 400
        assert b"the subject is that of the issuing CA" in answer.body
