"""`enforce_csrattrs` as an operator turns it on: requests that lack something are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.deployment import PASSWORD, USER, est, prepared, serving
from tests.system.independent_client import IndependentClient
from tests.system.records import issued
from tests.system.requests import csr, dns, new_key

ENFORCED = """
[auth]
names = "any"
enforce_csrattrs = true

[csrattrs]
key_type = "EC P-384"
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = prepared(tmp_path_factory.mktemp("enforcing") / "ca")
    (made / "est.toml").write_text(ENFORCED)
    return made


def test_a_request_without_what_is_asked_for_is_refused_by_name(directory: Path) -> None:
    with serving(directory) as server, IndependentClient(server.port, server.ca_file) as client:
        before = len(issued(server))
        answer = client.enroll(csr(new_key(), "device-1", dns("device-1.example")))
        assert answer.status == 400
        assert (
            b"does not hold what /csrattrs asks for: key EC P-384 (it is EC P-256)" in answer.body
        )
        good = client.enroll(csr(ec.generate_private_key(ec.SECP384R1()), "device-1"))
        assert good.status == 200
        assert len(issued(server)) == before + 1


def test_our_client_makes_what_is_asked_for_and_renews_it(directory: Path, tmp_path: Path) -> None:
    with serving(directory) as server:
        out = tmp_path / "device"
        trust = ("--trust", str(server.ca_file))
        user = ("--user", USER, "--password-stdin")
        enroll = ("enroll", server.server, "--cn", "device-2", *trust, *user, "--out", str(out))
        est(*enroll, stdin=PASSWORD.encode()).checked()
        made = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes()).public_key()
        assert isinstance(made, ec.EllipticCurvePublicKey)
        assert made.curve.name == "secp384r1"
        renewed = tmp_path / "renewed"
        identity = ("--cert", str(out / "cert.pem"), "--key", str(out / "key.pem"))
        est("reenroll", server.server, *trust, *identity, "--out", str(renewed)).checked()
