"""The agent against the habits of foreign servers: it gets a certificate there, and renews it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import EstUri
from est_core.life_cycle import RenewalPolicy
from est_transports.agent import CertificateAgent, Credentials, Outcome, run_pass
from est_transports.agent.settings import CertificateSettings
from est_transports.pairs import PairDirectory
from tests.interop.foreign_server import ForeignServer, foreign_server
from tests.interop.foreign_server import server_tls as tls_of
from tests.interop.test_foreign_servers import HABITS, Clock
from tests.pki import pki

GOOD = [name for name, habit in HABITS.items() if not habit.refused and not habit.at_once]
"""Servers with which an enrollment ends well, for who waits to be asked for a password."""
PASSES = 4


def settings(server: ForeignServer, name: str, directory: Path) -> CertificateSettings:
    trust, password = directory / "ca.pem", directory / "password"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    password.write_text("secret")
    return CertificateSettings(
        name="gate",
        uri=EstUri.parse(server.url),
        trust_file=trust,
        credentials=Credentials(user="device", password_file=password),
        subject=x509.Name.from_rfc4514_string("CN=gate"),
        policy=RenewalPolicy(trust_s=1e8),
        pop=HABITS[name].pop,
    )


def run(agent: CertificateAgent, clock: Clock) -> Outcome:
    """Do passes until there is a new certificate, but not for ever."""
    outcome = run_pass(agent, force=True, clock=clock)
    for _ in range(PASSES):
        assert outcome is not None
        if outcome.renewed:
            return outcome
        clock.pass_until(outcome.until)
        outcome = run_pass(agent, clock=clock)
    raise AssertionError(outcome)


@pytest.mark.parametrize("name", GOOD)
def test_the_agent_gets_a_certificate_and_renews_it(name: str, tmp_path: Path) -> None:
    habit, clock = HABITS[name], Clock()
    with foreign_server(habit.answers(), tls_of(tmp_path, habit.tls)) as server:
        given = settings(server, name, tmp_path)
        with PairDirectory.open(tmp_path / "gate", create=True) as pairs:
            agent = CertificateAgent(given, pairs, clock=clock)
            first, second = run(agent, clock), run(agent, clock)
            assert (first.renewed, first.code) == (True, "")
            assert (second.renewed, second.code) == (True, "")
            running, previous = pairs.running, pairs.previous
    assert running is not None
    assert previous is not None
    assert running.certificate.public_key() != previous.certificate.public_key()
    assert "simplereenroll" in server.operations
