"""CAs of every making, served and met by our own client: provision, renewal, openssl's opinion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports import _clock
from est_transports.authority.issuers import given_issuer
from est_transports.cli import group
from est_transports.pki.signers import SigningKey
from est_transports.service.initialisation import CaSpec, InitialisedCa, initialise
from tests.cli.serve_process import PASSWORD, USER, ServeProcess, serving
from tests.conftest import PeerFinder
from tests.pki import Authority, rsa_key
from tests.programs import run


def company() -> CaSpec:
    """A CA that was there, with an RSA key and a root of another kind."""
    root = Authority("Company Root")
    issuing = Authority("Company Issuing", issuer=root, path_length=0, key=rsa_key())
    key: SigningKey = issuing.key
    certificates = (issuing.certificate, root.certificate)
    return CaSpec(given=given_issuer(certificates, key, now=_clock.instant().wall))


MAKINGS: dict[str, Callable[[], CaSpec]] = {
    "Ed25519": lambda: CaSpec(ca_key="Ed25519"),
    "ML-DSA-65, below a root": lambda: CaSpec(ca_key="ML-DSA-65", intermediate=True),
    "RSA, given": company,
}


@pytest.fixture(params=MAKINGS)
def served(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[InitialisedCa, ServeProcess]]:
    directory = tmp_path / "ca"
    spec = MAKINGS[request.param]()
    made = initialise(directory, spec, now=_clock.instant(), entropy=_clock.entropy)
    assert est("user", "add", directory, USER, "--password-stdin", stdin=PASSWORD).exit_code == 0
    with serving(directory) as server:
        yield made, server


def est(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(group, [str(each) for each in arguments], input=stdin)


def test_a_device_is_provisioned_and_renews_linked_and_rekeyed(
    served: tuple[InitialisedCa, ServeProcess], peer: PeerFinder, tmp_path: Path
) -> None:
    made, server = served
    url, device = f"https://localhost:{server.port}", tmp_path / "device"
    fingerprint = made.root.fingerprint(hashes.SHA256()).hex()
    log_in = ("--user", USER, "--password-stdin", "--cn", USER)
    where = ("--fingerprint", fingerprint, "--out", device)
    done = est("provision", url, *where, *log_in, stdin=PASSWORD)
    assert done.exit_code == 0, done.stderr
    identity = ("--cert", device / "cert.pem", "--key", device / "key.pem", "--out", device)
    trust = ("--trust", device / "cacerts.pem", "--force")
    for more in (("--tls-max", "1.2", "--pop", "always"), ("--rekey",)):
        done = est("reenroll", url, *identity, *trust, *more)
        assert done.exit_code == 0, done.stderr
    _openssl_verifies(made, device, peer("openssl"))


def _openssl_verifies(made: InitialisedCa, device: Path, openssl: str) -> None:
    """Have the system's openssl verify the chain, where it knows such a key."""
    anchor = device / "anchor.pem"
    anchor.write_bytes(made.root.public_bytes(Encoding.PEM))
    readable = run(openssl, "x509", "-in", str(anchor), "-noout", "-pubkey")
    if readable.code == 0:
        chain = ("-CAfile", str(anchor), "-untrusted", str(device / "chain.pem"))
        run(openssl, "verify", "-x509_strict", *chain, str(device / "cert.pem")).checked()
    else:
        assert isinstance(made.root.public_key(), MLDSA65PublicKey)  # OpenSSL before 3.5
