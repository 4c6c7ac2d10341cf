"""What the server refuses over a real socket, and that it serves the next good request.

Nothing is recorded for a refused request, and the connection goes on where it stays open.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.deployment import Deployment, est
from tests.system.independent_client import Answer, IndependentClient
from tests.system.records import issued
from tests.system.requests import (
    CA,
    CLIENT_AUTH,
    CMC_RA,
    SERVER_AUTH,
    Key,
    address,
    certificates,
    csr,
    dns,
    identity_files,
    new_key,
    purposes,
    usage,
)

TOO_MUCH: dict[str, tuple[str, tuple[x509.ExtensionType, ...]]] = {
    "to be a CA": ("device-1", (CA,)),
    "keyCertSign": ("device-1", (usage(cert_sign=True),)),
    "cmcRA": ("device-1", (purposes(CLIENT_AUTH, CMC_RA),)),
    "serverAuth": ("device-1", (purposes(SERVER_AUTH),)),
    "a wildcard name": ("device-1", (dns("*.example"),)),
    "a wildcard as common name": ("*.example", ()),
    "the server's name": ("device-1", (dns("localhost"),)),
    "the server's name in capitals with a dot": ("device-1", (dns("LocalHost."),)),
    "the server's address": ("device-1", (address("127.0.0.1"),)),
    "the server's name as common name": ("localhost", ()),
}


def check_refused(
    server: Deployment, client: IndependentClient, answer: Answer, status: int
) -> None:
    """The refusal, then a good request on the same connection, and one record more in all."""
    assert answer.status == status, answer.body
    if status == 401:
        assert answer.body == b""
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
    else:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert len(answer.body) < 600
    before = len(issued(server))
    key = new_key()
    good = client.enroll(csr(key, challenge=client.tls_unique()))
    assert good.status == 200, good.body
    assert len(issued(server)) == before + 1


@pytest.mark.req("EST-248", "EST-087")
@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_request_for_too_much_is_refused(what: str, server: Deployment) -> None:
    name, extensions = TOO_MUCH[what]
    before = len(issued(server))
    with IndependentClient(server.port, server.ca_file) as client:
        answer = client.enroll(csr(new_key(), name, *extensions))
        assert len(issued(server)) == before
        check_refused(server, client, answer, 400)


@pytest.mark.req("EST-136", "EST-170", "EST-281", "CB-010")
@pytest.mark.parametrize("kind", ["another", "longer", "shorter", "hexadecimal", "empty"])
def test_a_wrong_binding_is_refused(kind: str, server: Deployment) -> None:
    before = len(issued(server))
    with IndependentClient(server.port, server.ca_file) as client:
        right = client.tls_unique()
        wrong = {
            "another": bytes(12),
            "longer": right + b"\0",
            "shorter": right[:-1],
            "hexadecimal": right.hex().encode(),
            "empty": b"=",
        }[kind]
        answer = client.enroll(csr(new_key(), challenge=wrong))
        assert b"linking of identity" in answer.body
        assert len(issued(server)) == before
        check_refused(server, client, answer, 403)


@pytest.mark.req("CB-019", "EST-184")
def test_on_tls_1_3_a_challenge_password_is_refused_though_both_ends_could_agree(
    server: Deployment,
) -> None:
    with IndependentClient(server.port, server.ca_file, version=ssl.TLSVersion.TLSv1_3) as client:
        # CPython hands over a Finished message here, equal at both ends.
        answer = client.enroll(csr(new_key(), challenge=client.tls_unique()))
        assert answer.status == 403, answer.body
        assert client.enroll(csr(new_key())).status == 200


@pytest.fixture
def device(server: Deployment, tmp_path: Path) -> tuple[Key, Path, Path]:
    """A device that is enrolled: its key, and the files to show in a handshake."""
    key = new_key()
    with IndependentClient(server.port, server.ca_file) as client:
        answer = client.enroll(csr(key, "device-7", dns("seven.example")))
    assert answer.status == 200, answer.body
    return key, *identity_files(tmp_path, certificates(answer.body)[0], key)


@pytest.mark.req("EST-156", "EST-158", "EST-159", "EST-163")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_renewal_keeps_subject_and_names(
    version: ssl.TLSVersion, server: Deployment, device: tuple[Key, Path, Path]
) -> None:
    key, certificate, key_file = device
    identity = (certificate, key_file)
    with IndependentClient(
        server.port, server.ca_file, version=version, identity=identity
    ) as client:
        for name, names in (
            ("device-8", ("seven.example",)),
            ("device-7", ("eight.example",)),
            ("device-7", ("seven.example", "eight.example")),
        ):
            before = len(issued(server))
            answer = client.reenroll(csr(key, name, dns(*names)))
            assert answer.status == 400, answer.body
            assert len(issued(server)) == before
        assert client.reenroll(csr(key, "device-7")).status == 400
        for next_key in (key, new_key()):
            answer = client.reenroll(csr(next_key, "device-7", dns("seven.example")))
            assert answer.status == 200, answer.body


@pytest.mark.req("EST-165")
def test_a_revoked_certificate_is_not_renewed(
    server: Deployment, device: tuple[Key, Path, Path]
) -> None:
    from datetime import UTC, datetime

    from est_transports.authority.stores.sqlite import SqliteStore
    from est_transports.pki.serials import serial_text

    key, certificate, key_file = device
    serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
    store = SqliteStore(server.directory / "est.db")
    store.revoke_certificate(serial_text(serial), at=datetime.now(UTC), reason="keyCompromise")
    store.close()
    with IndependentClient(server.port, server.ca_file, identity=(certificate, key_file)) as client:
        answer = client.reenroll(csr(key, "device-7", dns("seven.example")))
        assert answer.status == 403, answer.body


@pytest.mark.req("EST-278", "EST-036")
@pytest.mark.parametrize(
    ("body", "authorization", "status"),
    [
        (b"", "Basic ZXN0dXNlcjplc3Rwd2Q=", 400),
        (b"garbage!", "Basic ZXN0dXNlcjplc3Rwd2Q=", 400),
        (b"MAA=", "Basic ZXN0dXNlcjplc3Rwd2Q=", 400),
        (b"MAA=", None, 401),
        (b"MAA=", "Basic ZXN0dXNlcjp3cm9uZw==", 401),
        (b"MAA=", "Basic bm9ib2R5Ondyb25n", 401),
        (b"MAA=", "Bearer abc", 401),
        (b"MAA=", "Negotiate abc", 401),
        (b"MAA=", "Basic !!!", 400),
        (b"MAA=", "", 400),
    ],
)
def test_a_bad_body_or_authorization_is_refused(
    body: bytes, authorization: str | None, status: int, server: Deployment
) -> None:
    with IndependentClient(server.port, server.ca_file) as client:
        answer = client.post("simpleenroll", body, authorization=authorization)
        check_refused(server, client, answer, status)


@pytest.mark.req("EST-142")
def test_a_signature_with_one_wrong_bit_is_refused(server: Deployment) -> None:
    with IndependentClient(server.port, server.ca_file) as client:
        der = csr(new_key(), challenge=client.tls_unique())
        answer = client.enroll(der[:-1] + bytes([der[-1] ^ 1]))
        check_refused(server, client, answer, 400)


def test_no_password_and_no_challenge_is_in_the_log(server: Deployment) -> None:
    secret = b"a very secret linking value"
    with IndependentClient(server.port, server.ca_file) as client:
        client.post("simpleenroll", b"x", authorization="Basic ZXN0dXNlcjpodW50ZXIyaHVudGVyMg==")
        client.enroll(csr(new_key(), challenge=secret))
        client.get("cacerts")
    log = "\n".join(server.log.lines)
    for word in ("hunter2", "estpwd", "ZXN0dXNlcjp", "dmVyeSBzZWNyZXQ"):
        assert word not in log


def test_a_certificate_that_was_issued_is_listed_and_shown(server: Deployment) -> None:
    with IndependentClient(server.port, server.ca_file) as client:
        answer = client.enroll(csr(new_key(), "listed-device"))
    serial = f"{certificates(answer.body)[0].serial_number:x}"
    assert any("listed-device" in record["subject"] for record in server.records())
    record = issued(server)[-1]
    assert (record.user, record.profile) == ("estuser", "client")
    assert record.peer is not None
    assert record.peer.startswith("127.0.0.1:")
    shown = est("certs", "show", str(server.directory), serial)
    assert b"listed-device" in shown.checked().out
