"""Chains before, during and after a rollover, judged by OpenSSL and GnuTLS."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports import _clock
from est_transports.authority.ca import Enrollment
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import load_service
from est_transports.service.rolling_over import roll_over
from tests.conftest import PeerFinder
from tests.programs import Ended, run
from tests.transports.ca_fakes import name, request


class Plant:
    """A CA that is rolled over; each generation has a device, `device-N.pem`.

    `server-N.pem` is what the server sends then, and `chain-N.pem` that without its own
    certificate.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.ca = place, place / "ca"
        initialise(self.ca, CaSpec(name="Plant"), now=_clock.instant(), entropy=_clock.entropy)
        self.number = 1
        self._note()

    def roll_over(self) -> None:
        with closing(SqliteStore(self.ca / "est.db")) as store:
            roll_over(self.ca, store, now=_clock.instant(), entropy=_clock.entropy)
        self.number += 1
        self._note()

    def _note(self) -> None:
        with closing(SqliteStore(self.ca / "est.db")) as store:
            service = load_service(load_config(self.ca / CONFIG_FILE), store=store)
            ca, now = service.authority.ca, _clock.instant().wall
            csr, asked = request(subject=name("device")), Enrollment(operation="simpleenroll")
            device = ca.issue(csr, asked, now=now)
        parts = {
            "device": (device,),
            "root": (ca.certificate,),
            "server": service.identity.chain[:1],
            "sent": service.identity.chain,
        }
        for word, certificates in parts.items():
            pem = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
            (self.place / f"{word}-{self.number}.pem").write_bytes(pem)
        links = [each for former in ca.former for each in former.links]
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in links)
        (self.place / "links.pem").write_bytes(pem)

    def run(self, *command: str) -> Ended:
        return run(*command, directory=self.place)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Three generations."""
    made = Plant(tmp_path_factory.mktemp("plant"))
    made.roll_over()
    made.roll_over()
    return made


@pytest.mark.req("EST-121")
@pytest.mark.parametrize("root", [1, 2, 3])
def test_openssl_takes_every_generation_under_every_root(
    root: int, plant: Plant, peer: PeerFinder
) -> None:
    verify = (peer("openssl"), "verify", "-CAfile", f"root-{root}.pem", "-untrusted")
    for number in (1, 2, 3):
        done = plant.run(*verify, f"sent-{number}.pem", f"server-{number}.pem")
        if number >= root:
            assert done.out.decode() == f"server-{number}.pem: OK\n", done.err
    # A device's certificate, with all that /cacerts has.
    for number in (1, 2, 3):
        if abs(number - root) <= 1:
            done = plant.run(*verify, "links.pem", f"device-{number}.pem")
            assert done.out.decode() == f"device-{number}.pem: OK\n", done.err
    other = {1: 3, 2: 3, 3: 1}[root]
    assert b"OK" not in plant.run(*verify, "root-2.pem", f"device-{other}.pem").out


def test_gnutls_takes_each_under_its_own_root_and_counts_links_for_the_path_length(
    plant: Plant, peer: PeerFinder
) -> None:
    certtool = (peer("certtool"), "--verify", "--load-ca-certificate")
    for number in (1, 2, 3):
        done = plant.run(*certtool, f"root-{number}.pem", "--infile", f"device-{number}.pem")
        assert b"Verified. The certificate is trusted." in done.out
    shutil.copyfile(plant.place / "sent-2.pem", plant.place / "path.pem")
    done = plant.run(*certtool, "root-1.pem", "--infile", "path.pem")
    assert b"violates the signer's constraints" in done.out  # --keep-server is for these
