"""The challenges of RFC 7894 at `est serve`: asked for, judged, and left nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.deployment import PASSWORD, USER, Deployment, est, prepared, serving
from tests.docs.toml_edit import edited
from tests.programs import Ended
from tests.system.independent_client import IndependentClient
from tests.system.records import issued
from tests.system.requests import csr, new_key
from tests.system.test_registration_authority import authority

SECRET = "swordfish-4711"


def enroll(server: Deployment, directory: Path, *more: str) -> Ended:
    """Enroll with a revocationChallenge."""
    challenge = directory / "challenge"
    challenge.write_text(SECRET)
    trust = ("--trust", str(server.ca_file), "--user", USER, "--password-stdin")
    where = ("--cn", "device-1", "--out", str(directory / "out"))
    what = ("--revocation-challenge-file", str(challenge), *more)
    return est("enroll", server.server, *trust, *where, *what, stdin=PASSWORD.encode())


def test_a_revocation_challenge_that_is_not_looked_at_is_left_nowhere(tmp_path: Path) -> None:
    with serving(prepared(tmp_path / "ca"), "--verbose") as server:
        done = enroll(server, tmp_path, "--verbose").checked()
        assert SECRET not in done.out.decode() + done.err
    certificate = x509.load_pem_x509_certificate((tmp_path / "out" / "cert.pem").read_bytes())
    assert SECRET.encode() not in certificate.public_bytes(Encoding.DER)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "challenge"]
    assert server.directory / "est.db" in files
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in "\n".join(server.log.lines)


def test_an_operator_has_it_refused_since_nobody_would_keep_it(tmp_path: Path) -> None:
    directory = prepared(tmp_path / "ca")
    config = directory / "est.toml"
    wanted = '[pop]\nrevocation_challenge = "refuse"\nlist_identity_linking = true\n'
    config.write_text(edited(config.read_text("utf-8"), wanted), "utf-8")
    with serving(directory, "--require-pop") as server:
        refused = enroll(server, tmp_path)
        assert refused.code == 1
        assert "nobody here would keep a revocationChallenge: leave it out" in refused.err
        server.log.wait_for(r"csr/revocation-challenge")
        assert issued(server) == []
        asked = est("csrattrs", server.server, "--trust", str(server.ca_file)).checked().out
        assert b"with estIdentityLinking" in asked
        assert SECRET not in "\n".join(server.log.lines)


@pytest.mark.req("EST-192", "CB-010", "CB-011")
@pytest.mark.parametrize("listed", [True, False])
def test_a_recognised_ra_and_no_other_forwards_what_is_linked_elsewhere(
    listed: bool, tmp_path: Path
) -> None:
    settings = '[auth]\nnames = "any"\nrequire_pop = true\n'
    settings += '[ra]\ncertificates = ["ra.pem"]\n' if listed else ""
    directory = prepared(tmp_path / "ca")
    ra = authority(directory, settings)
    elsewhere = csr(new_key(), "device-1", challenge=b"other finish")
    unlinked = csr(new_key(), "device-2")
    with serving(directory) as server:
        with IndependentClient(server.port, server.ca_file, identity=ra) as client:
            for request, code in ((elsewhere, "pop/mismatch"), (unlinked, "pop/missing")):
                assert client.enroll(request).status == (200 if listed else 403)
                if not listed:
                    server.log.wait_for(code)
        with IndependentClient(server.port, server.ca_file) as client:
            assert client.enroll(elsewhere).status == 403, "a user is no RA"
            own = csr(new_key(), "device-3", challenge=client.tls_unique())
            assert client.enroll(own).status == 200
