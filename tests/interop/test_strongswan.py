"""strongSwan's pki: it reads base64 on one line only, heads up to 1024 bytes, and TLS 1.2."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from tests.deployment import PASSWORD, USER, Deployment
from tests.interop.openssl_peer import OpenSsl
from tests.interop.strongswan_peer import StrongSwan

LOG_IN = ("--userpass", f"{USER}:{PASSWORD}")


@pytest.mark.req("EST-112")
def test_pki_fetches_the_ca_certificate(strongswan: StrongSwan, server: Deployment) -> None:
    assert strongswan.ca_certificates() == [server.ca]


@pytest.mark.req("EST-002")
@pytest.mark.req("EST-148")
@pytest.mark.req("EST-158")
@pytest.mark.parametrize("kind, bits", [("rsa", 2048), ("ecdsa", 256)])
def test_pki_enrolls_with_a_password_and_renews_with_the_certificate(
    strongswan: StrongSwan, openssl: OpenSsl, server: Deployment, tmp_path: Path,
    kind: str, bits: int,
) -> None:  # fmt: skip
    wanted = ("CN=gateway", "gateway.example", "192.0.2.7")
    key = strongswan.key(kind, bits)
    enrolled = strongswan.enroll(strongswan.request(kind, key, *wanted), *LOG_IN).checked()
    current = tmp_path / "current.pem"
    current.write_bytes(enrolled.out)
    openssl.verify(server.ca_file, current)

    new_key = strongswan.key("ecdsa", 384)
    identity = ("--cert", str(current), "--key", str(key))
    request = strongswan.request("ecdsa", new_key, *wanted)
    renewed = strongswan.enroll(request, *identity).checked()
    certificate = x509.load_pem_x509_certificate(renewed.out)
    record = server.record(certificate)
    assert (record["operation"], record["client_subject"]) == ("simplereenroll", "CN=gateway")


@pytest.mark.req("EST-135")
def test_pki_hears_of_a_wrong_password(strongswan: StrongSwan) -> None:
    request = strongswan.request("ecdsa", strongswan.key("ecdsa", 256), "CN=gateway")
    ended = strongswan.enroll(request, "--userpass", f"{USER}:wrong")
    assert (ended.code, ended.out) == (1, b"")
    assert "HTTP 401" in ended.err
