"""A CA below a root of its own before foreign clients, which are given the root alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conftest import PeerFinder
from tests.deployment import PASSWORD, USER, Deployment, prepared, serving
from tests.interop.curl_peer import Curl
from tests.interop.openssl_peer import OpenSsl
from tests.interop.strongswan_peer import StrongSwan

LOG_IN = ("--userpass", f"{USER}:{PASSWORD}")


@pytest.fixture(scope="module")
def two_levels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server whose CA stands below a root that was made with it."""
    options = ("--intermediate", "--name", "Plant 7", "--ca-key", "EC P-384")
    directory = prepared(tmp_path_factory.mktemp("two") / "est", *options)
    (directory / "root-key.pem").rename(directory.parent / "in-the-safe.pem")
    with serving(directory) as deployment:
        yield deployment


def issuing(deployment: Deployment) -> x509.Certificate:
    content = (deployment.directory / "issuing.pem").read_bytes()
    return x509.load_pem_x509_certificate(content)


def _write(path: Path, *certificates: x509.Certificate) -> None:
    path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))


def verified(openssl: OpenSsl, deployment: Deployment, chain: Path, certificate: Path) -> None:
    """Fail unless openssl verifies the certificate up to ca.pem, by the chain."""
    trust = ("-CAfile", str(deployment.ca_file), "-untrusted", str(chain))
    openssl.run("verify", *trust, str(certificate)).checked()


@pytest.mark.req("EST-119")
@pytest.mark.req("EST-120")
def test_curl_reaches_a_server_below_an_intermediate_with_the_root_alone(
    peer: PeerFinder, openssl: OpenSsl, two_levels: Deployment, tmp_path: Path
) -> None:
    curl = Curl(peer("curl"), openssl, two_levels, tmp_path)
    fetched = openssl.certificates(base64.b64decode(curl.fetch("cacerts").body))
    assert {each.subject.rfc4514_string() for each in fetched} == {"CN=Plant 7", "CN=Plant 7 Root"}
    chain, certificate = tmp_path / "chain.pem", tmp_path / "cert.pem"
    _write(chain, *fetched)
    request = openssl.request("device")
    _write(certificate, curl.enroll(request))
    verified(openssl, two_levels, chain, certificate)
    shown = ("--cert", str(certificate), "--key", str(request.key))
    renewed = curl.post("simplereenroll", base64.b64encode(request.der), *shown)
    assert curl.certificate(renewed).issuer == issuing(two_levels).subject


@pytest.mark.req("EST-120")
def test_strongswan_gets_both_certificates_and_enrolls(
    peer: PeerFinder, openssl: OpenSsl, two_levels: Deployment, tmp_path: Path
) -> None:
    strongswan = StrongSwan(peer("pki"), two_levels, tmp_path)
    fetched = strongswan.all_ca_certificates()
    assert set(fetched) == {two_levels.ca, issuing(two_levels)}
    _write(tmp_path / "chain.pem", *fetched)
    key = strongswan.key("ecdsa", 256)
    wanted = strongswan.request("ecdsa", key, "CN=gateway", "gateway.example")
    enrolled = strongswan.enroll(wanted, *LOG_IN).checked()
    (tmp_path / "cert.pem").write_bytes(enrolled.out)
    verified(openssl, two_levels, tmp_path / "chain.pem", tmp_path / "cert.pem")
    renewed = strongswan.enroll(wanted, "--cert", str(tmp_path / "cert.pem"), "--key", str(key))
    certificate = x509.load_pem_x509_certificate(renewed.checked().out)
    assert certificate.issuer == issuing(two_levels).subject
