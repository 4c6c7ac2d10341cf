"""libcoap's clients, with OpenSSL and with GnuTLS, at the server that an operator starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from est_transports.pki.serials import printed_serial
from tests.conftest import PeerFinder
from tests.deployment import Deployment, prepared, serving
from tests.interop.libcoap_peer import CoapClient
from tests.interop.openssl_peer import renewal_name
from tests.pki import Entity, common_name, new_key, pki

DEVICE: Final = pki().manufacturer_client
EST: Final = ".well-known/est"
BLOCKS: Final = {size: ("-b", size) for size in ("16", "64", "256", "1024")} | {"none": ()}


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server of both wires, which lets a manufacturer's devices in, and has CSR attributes."""
    directory = prepared(tmp_path_factory.mktemp("operator") / "est")
    anchor = pki().manufacturer.certificate.public_bytes(Encoding.PEM)
    (directory / "manufacturer.pem").write_bytes(anchor)
    (directory / "est.toml").write_text(
        '[auth]\nnames = "any"\n[tls]\nclient_trust = ["manufacturer.pem"]\n'
        '[csrattrs]\nkey_type = "EC P-256"\n'
    )
    with serving(directory, "--coap", "127.0.0.1:0") as deployment:
        yield deployment


@pytest.fixture
def server(running_server: Deployment) -> Iterator[Deployment]:
    """The same server. What it logs during a test that fails is shown with it."""
    before = len(running_server.log.lines)
    yield running_server
    print(*running_server.log.lines[before:], sep="\n")


@pytest.fixture(params=["coap-client-openssl", "coap-client-gnutls"])
def client(
    request: pytest.FixtureRequest, peer: PeerFinder, server: Deployment, tmp_path: Path
) -> CoapClient:
    """One of the clients."""
    return CoapClient(peer(request.param), server, tmp_path)


def csr(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """Return a request in DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


def is_for(certificate: x509.Certificate, request: bytes) -> bool:
    """True if the certificate has the key and the subject that were asked for."""
    wanted = x509.load_der_x509_csr(request)
    return (certificate.subject, certificate.public_key()) == (
        wanted.subject,
        wanted.public_key(),
    )


# What is served


@pytest.mark.req("EST-300", "EST-301")
def test_when_to_renew_a_certificate(client: CoapClient, server: Deployment) -> None:
    answer = client.enroll(csr("libcoap-1"), "-A", "287", identity=DEVICE)
    issued = x509.load_der_x509_certificate(answer.payload)
    answer = client.ask(f"{EST}/ri/{renewal_name(issued)}", identity=DEVICE)
    assert (answer.code, answer.content_format) == (205, "application/json")
    window = json.loads(answer.payload)["suggestedWindow"]
    assert issued.not_valid_before_utc < datetime.fromisoformat(window["start"])
    assert datetime.fromisoformat(window["end"]) < issued.not_valid_after_utc
    assert client.ask(f"{EST}/ri/AA.AQ", identity=DEVICE).code == 404
    assert client.ask(f"{EST}/ri", identity=DEVICE).code == 404
    assert client.ask(f"{EST}/ri/AA.A", identity=DEVICE).code == 400


@pytest.mark.req("COAPS-001", "COAPS-002", "COAPS-013", "COAPS-035", "COAPS-043", "COAPS-046")
@pytest.mark.parametrize("blocks", BLOCKS)
def test_the_ca_certificates(client: CoapClient, server: Deployment, blocks: str) -> None:
    answer = client.ask(f"{EST}/crts", *BLOCKS[blocks], identity=DEVICE)
    assert (answer.code, answer.content_format) == (205, "281")
    assert pkcs7.load_der_pkcs7_certificates(answer.payload) == [server.ca]
    size = len(answer.payload)
    assert len(answer.codes) == (1 if blocks == "none" else -(-size // int(blocks)))


@pytest.mark.req("COAPS-035", "COAPS-039")
def test_the_ca_certificate_without_its_bag(client: CoapClient, server: Deployment) -> None:
    answer = client.ask(f"{EST}/crts", "-A", "287", identity=DEVICE)
    assert (answer.code, answer.content_format) == (205, "287")
    assert x509.load_der_x509_certificate(answer.payload) == server.ca


@pytest.mark.parametrize("blocks", ["16", "none"])
def test_csr_attributes(client: CoapClient, blocks: str) -> None:
    answer = client.ask(f"{EST}/att", *BLOCKS[blocks], identity=DEVICE)
    assert (answer.code, answer.content_format) == (205, "285")
    assert bytes.fromhex("06082a8648ce3d030107") in answer.payload  # secp256r1


@pytest.mark.req("COAPS-006", "COAPS-007")
@pytest.mark.parametrize("blocks", ["16", "64", "none"])
def test_discovery(client: CoapClient, blocks: str) -> None:
    answer = client.ask(".well-known/core?rt=ace.est*", *BLOCKS[blocks], identity=DEVICE)
    assert (answer.code, answer.content_format) == (205, "application/link-format")
    links = answer.payload.decode().split(",")
    assert [link.partition(">")[0].rpartition("/")[2] for link in links] == [
        *("crts", "att", "sen", "sren", "ri")
    ]


@pytest.mark.req("COAPS-018", "COAPS-033", "COAPS-046", "COAPS-049", "COAPS-050")
@pytest.mark.parametrize("blocks", BLOCKS)
def test_an_enrollment_and_its_renewal(client: CoapClient, server: Deployment, blocks: str) -> None:
    key, name = new_key(), f"libcoap-{blocks}"
    request = csr(name, key)
    first = client.enroll(request, *BLOCKS[blocks], identity=DEVICE).certificate
    assert is_for(first, request)
    first.verify_directly_issued_by(server.ca)
    device = Entity(certificate=first, key=key, chain=(first,))
    request = csr(name)
    renewal = client.enroll(request, *BLOCKS[blocks], identity=device, operation="sren")
    assert is_for(renewal.certificate, request)
    serials = [printed_serial(each.serial_number) for each in (first, renewal.certificate)]
    assert [row["operation"] for row in server.records() if row["serial"] in serials] == [
        "simpleenroll",
        "simplereenroll",
    ]


def test_an_enrollment_without_the_bag(client: CoapClient, server: Deployment) -> None:
    request = csr("bare")
    answer = client.enroll(request, "-A", "287", identity=DEVICE)
    assert (answer.code, answer.content_format) == (204, "287")
    certificate = x509.load_der_x509_certificate(answer.payload)
    assert is_for(certificate, request)
    assert server.record(certificate)["operation"] == "simpleenroll"


@pytest.mark.req("COAPS-051", "COAPS-053")
def test_an_enrollment_of_which_datagrams_are_lost(client: CoapClient, server: Deployment) -> None:
    """Of what the client sends: its first hello, and blocks; with OpenSSL also of its certificate.

    libcoap 4.3.1 with GnuTLS gives up where it loses that: it never says it again as long as the
    server repeats its own flight.
    """
    request, lost = csr("lossy"), "1,9" if client.is_gnutls else "1,4,7"
    answer = client.enroll(request, "-l", lost, "-b", "64", identity=DEVICE)
    assert is_for(answer.certificate, request)
    assert server.record(answer.certificate)["operation"] == "simpleenroll"


# What is refused, and that the next one is served


def served(client: CoapClient) -> bool:
    """True if a device gets what it asks for."""
    return client.ask(f"{EST}/crts", identity=DEVICE).code == 205


@pytest.mark.req("COAPS-034", "COAPS-038", "COAPS-044")
@pytest.mark.parametrize(
    "path, options, body, code, reason",
    [
        (f"{EST}/sen", ("-t", "60"), csr("x"), 415, "media/type"),
        (f"{EST}/sen", (), csr("x"), 415, "media/type"),
        (f"{EST}/sen", ("-t", "286"), b"no request", 400, "der/"),
        (f"{EST}/nothing", (), b"", 404, "path/operation"),
        (f"{EST}/skg", ("-t", "286"), csr("x"), 404, "path/not-offered"),
        ("elsewhere", (), b"", 404, "path/unknown"),
        (f"{EST}/crts", ("-m", "delete"), b"", 405, "coap/method"),
        (f"{EST}/crts", ("-A", "60"), b"", 406, "media/not-acceptable"),
    ],
)
def test_a_request_that_is_none(
    client: CoapClient,
    server: Deployment,
    path: str,
    options: tuple[str, ...],
    body: bytes,
    code: int,
    reason: str,
) -> None:
    before = len(server.log.lines)
    answer = client.ask(path, *options, identity=DEVICE, body=body)
    assert (answer.code, answer.payload) == (code, b"")
    assert served(client)
    server.log.wait_for(f"status={code} code={reason}", after=before)


@pytest.mark.req("COAPS-017")
def test_a_client_without_a_certificate(client: CoapClient, server: Deployment) -> None:
    before = len(server.log.lines)
    answer = client.ask(f"{EST}/crts", "-B", "2", identity=None)
    assert answer.codes == ()
    assert served(client)
    said = "wire=coaps operation=- label=- identity=- status=0 code=tls/no-certificate( |$)"
    server.log.wait_for(said, after=before)


@pytest.mark.req("COAPS-017")
@pytest.mark.parametrize("operation", ["crts", "sen"])
def test_a_client_with_a_certificate_of_an_unknown_ca(
    client: CoapClient, server: Deployment, operation: str
) -> None:
    before = len(server.log.lines)
    if operation == "crts":
        answer = client.ask(f"{EST}/crts", identity=pki().rogue_client)
    else:
        answer = client.enroll(csr("x"), identity=pki().rogue_client)
    # GnuTLS shows no certificate that is of none of the CAs the server names.
    assert answer.code == (0 if client.is_gnutls else 403)
    assert served(client)
    reason = "tls/no-certificate" if client.is_gnutls else "auth/certificate-not-accepted"
    server.log.wait_for(f"status={answer.code} code={reason}( |$)", after=before)


def test_a_renewal_under_another_name(client: CoapClient, server: Deployment) -> None:
    key = new_key()
    first = client.enroll(csr("one", key), identity=DEVICE).certificate
    device = Entity(certificate=first, key=key, chain=(first,))
    before = len(server.log.lines)
    answer = client.enroll(csr("another"), identity=device, operation="sren")
    assert answer.code == 400
    manufacturers = client.enroll(csr("idevid-1"), identity=DEVICE, operation="sren")
    assert manufacturers.code == 403
    assert served(client)
    server.log.wait_for("status=400 code=renewal/", after=before)
