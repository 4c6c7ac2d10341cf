"""The CoAP client of the documentation, where the server or the network lets it down."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from est_core import ClientSession, EstUri
from est_core.client.enrollment import request_info
from est_transports.pki.signers import LocalSigner
from tests.cli.canned import canned_coap_server
from tests.docs.pages import DOCS, blocks
from tests.pki import pki

PAGE = DOCS / "how-to" / "enroll-a-constrained-device.md"
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node-2")])


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What gateway.py defines, before it does anything."""
    texts = {block.rest: block.text for block in blocks(PAGE) if block.language == "python"}
    monkeypatch.chdir(tmp_path)
    certificate, key = pki().client.write(tmp_path, "identity")
    (tmp_path / "node").mkdir()
    Path(certificate).rename("node/cert.pem")
    Path(key).rename("node/key.pem")
    module = ModuleType("coap_enroll")
    exec(texts["coap_enroll.py"], module.__dict__)
    monkeypatch.setitem(sys.modules, "coap_enroll", module)
    found: dict[str, Any] = {}
    exec(texts["gateway.py"].partition("\nsigner = ")[0], found)
    return found


def enroll(gateway: dict[str, Any], port: int, trust: x509.Certificate) -> Any:
    """Return what comes of an enrollment."""
    signer = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
    session = ClientSession(
        EstUri.parse(f"coaps://127.0.0.1:{port}"),
        trust=(trust,),
        identity=pki().client.certificate,
    )
    csr = request_info(subject=NAME, key=signer.public_key_spki)
    return gateway["run"](session.enroll(csr), gateway["Dtls"], signer.sign)


def test_a_server_under_another_ca_is_a_failure_to_connect(gateway: dict[str, Any]) -> None:
    with canned_coap_server() as server:
        failed = enroll(gateway, server.port, pki().rogue.certificate)
    assert failed.code == "connect/unreachable"
    assert "tls/untrusted-server" in failed.message


def test_a_silent_port_is_given_up(
    gateway: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gateway, "HANDSHAKE_S", 0.2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        failed = enroll(gateway, silent.getsockname()[1], pki().ca.certificate)
    assert failed.code == "connect/unreachable"
    assert "does not answer" in failed.message


def test_a_server_that_dies_after_the_handshake_loses_the_connection(
    gateway: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise ConnectionRefusedError

    def close(association: object) -> None:
        closed.append(association)
        really_close(association)

    closed: list[object] = []
    really_close = gateway["Dtls"].close
    monkeypatch.setattr(gateway["Dtls"], "receive", refused)
    monkeypatch.setattr(gateway["Dtls"], "close", close)
    with canned_coap_server() as server:
        failed = enroll(gateway, server.port, pki().ca.certificate)
    assert failed.code == "connection/lost"
    assert len(closed) == 1
