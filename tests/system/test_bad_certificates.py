"""Certificates that are wrong in one thing, at a server as an operator runs it, on every wire.

Whoever shows one is nobody: it gets what a client without a certificate gets, the log says what is
wrong with which certificate, nothing is issued, and the next client is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.deployment import Deployment, prepared, serving
from tests.docs.toml_edit import edited
from tests.pki import CMC_RA, Entity, Subject
from tests.system.peers import OPERATIONS, WIRES, OwnCa, asked, showing
from tests.system.records import issued
from tests.system.requests import csr, new_key
from tests.wrong_certificates import WRONG

DEVICE: Final = Subject(name="device-1")
COAP: Final = ("--coap", "127.0.0.1:0")
every_wire = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server of both wires."""
    with serving(prepared(tmp_path_factory.mktemp("operator") / "D"), *COAP) as deployment:
        yield deployment


def check_nobody(
    wire: str,
    server: Deployment,
    entity: Entity,
    said: str,
    refusal: str = "auth/certificate-not-accepted",
) -> None:
    """Nothing is issued to who shows this certificate, and the log says why."""
    before = len(issued(server))
    with showing(wire, server, entity) as device:
        for operation in OPERATIONS:
            seen = len(server.log.lines)
            answer = device.ask(operation, csr(new_key(), DEVICE.name))
            # A password would do for the first certificate, where there is a header for one.
            by_password = operation == "simpleenroll" and wire != "DTLS"
            assert answer.status == (401 if by_password else 403), answer.text
            code = "auth/missing" if by_password else refusal
            line = server.log.wait_for(f".* code={code} .*", after=seen)[0]
            assert "identity=- " in line
            assert said in line
    assert len(issued(server)) == before


@every_wire
@pytest.mark.parametrize("kind", list(WRONG))
@pytest.mark.req("EST-061", "EST-065", "COAPS-031")
def test_who_shows_a_wrong_certificate_is_nobody(kind: str, wire: str, server: Deployment) -> None:
    ca, wrong = OwnCa(server.directory), WRONG[kind]
    check_nobody(wire, server, wrong.make(ca, DEVICE), wrong.said)
    good = asked(wire, server, ca.issue(DEVICE), "simpleenroll", csr(new_key(), DEVICE.name))
    assert good.status == 200, good.text


@every_wire
def test_a_registration_authoritys_purpose_makes_no_client(wire: str, server: Deployment) -> None:
    """RFC 7030 3.6.1 has id-kp-cmcRA make a server, and for a client it comes beside clientAuth."""
    authority = OwnCa(server.directory).issue(Subject(name=DEVICE.name, eku=(CMC_RA,)))
    check_nobody(wire, server, authority, "extendedKeyUsage does not allow a TLS client")


@every_wire
@pytest.mark.req("EST-061", "EST-165")
def test_who_is_on_a_revocation_list_is_nobody(wire: str, tmp_path: Path) -> None:
    directory = prepared(tmp_path / "D")
    ca = OwnCa(directory)
    revoked, other = ca.issue(DEVICE), ca.issue(DEVICE)
    (directory / "crl.pem").write_bytes(ca.crl(revoked.certificate).public_bytes(Encoding.PEM))
    config = directory / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), '[crls]\nfiles = ["crl.pem"]\n'), "utf-8")
    with serving(directory, *COAP) as server:
        check_nobody(wire, server, revoked, "CN=device-1: revoked", "auth/certificate-revoked")
        good = asked(wire, server, other, "simpleenroll", csr(new_key(), DEVICE.name))
        assert good.status == 200, good.text
