"""An agent follows its CA to a new root, and lets the old one go when nothing hangs on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import ConnectRequested
from est_core.asn1.pkcs10 import CertRequest
from est_core.testing import Link
from est_transports.agent.settings import HookSettings
from est_transports.agent.trusting import followed
from est_transports.pairs import PairDirectory
from tests.core.trust.cast import Ca, certificate, link, root
from tests.pki import HOUR_AGO, IN_TEN_YEARS, pki
from tests.transports.agent.world import BEGIN, DAY_S, NAME, QUIET, World

OLD = Ca(name="Test EST CA", begin=HOUR_AGO, end=IN_TEN_YEARS, key=pki().ca.key)  # type: ignore[arg-type]
NEW = replace(OLD, begin=HOUR_AGO + timedelta(minutes=1), key=Ca().key)
NEW_ROOT = root(NEW)
BAG = (pki().ca.certificate, NEW_ROOT, link(NEW, OLD), link(OLD, NEW))


@pytest.fixture
def world(tmp_path: Path) -> World:
    policy = replace(QUIET, trust_s=10 * DAY_S)
    hook = HookSettings(command=("/usr/bin/reload",))
    world = World(tmp_path, policy=policy, options={"hook": hook})
    world.work()
    return world


def anchors(world: World) -> set[x509.Certificate]:
    with PairDirectory.open(world.directory / NAME) as pairs:
        running = pairs.running
        assert running is not None
        return set(running.anchors)


def issue_by_new(world: World) -> None:
    """Have the CA certify devices with its new key from now on."""

    def certify(csr: CertRequest) -> x509.Certificate:
        start = BEGIN + timedelta(seconds=world.t)
        named: Any = load_der_public_key(csr.spki)
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(NEW_ROOT.subject)
            .public_key(named)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + world.life)
            .add_extension(x509.AuthorityKeyIdentifier(NEW.key_id, None, None), critical=False)
        )
        return builder.sign(NEW.key, None)

    world.application.certify = certify


def serve_below_new(world: World) -> None:
    """Have the server show a certificate that hangs on the new root."""
    below = certificate(Ca(name="est.example", is_ca=False, cert_sign=None, begin=HOUR_AGO), NEW)
    usual = world.server.connect

    def connect(wanted: ConnectRequested) -> Link:
        found = usual(wanted)
        return replace(found, client=replace(found.client, peer_chain=(below,)))

    world.server.connect = connect


@pytest.mark.req("EST-122", "EST-130")
def test_a_new_root_is_trusted_through_its_link_and_a_strangers_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = root(Ca(name="Test EST CA", begin=HOUR_AGO, end=IN_TEN_YEARS))
    world.application.ca_certificates = (*BAG, stranger)
    world.t = 11 * DAY_S
    world.work()
    assert anchors(world) == {pki().ca.certificate, NEW_ROOT}
    assert "trusts another root" in caplog.text
    assert "[trust/no-link]" in caplog.text
    assert world.hooks[-1].environment["EST_EVENT"] == "trust"


def work_at(world: World, *days: float) -> None:
    """Do one pass on each of these days."""
    for day in days:
        world.t = day * DAY_S
        world.work()


RENEWALS = (11, 85, 165, 245, 325)
"""In the window of one certificate after the other."""


def test_an_old_anchor_goes_when_neither_the_pair_nor_the_server_hangs_on_it(world: World) -> None:
    world.application.ca_certificates = BAG
    issue_by_new(world)
    work_at(world, *RENEWALS, 380)
    assert anchors(world) == {pki().ca.certificate, NEW_ROOT}, "the server hangs on the old one"
    serve_below_new(world)
    work_at(world, 391)
    assert anchors(world) == {NEW_ROOT}


def test_no_anchor_is_dropped_while_the_server_is_away(world: World) -> None:
    world.application.ca_certificates = BAG
    issue_by_new(world)
    work_at(world, *RENEWALS)
    serve_below_new(world)
    world.unreachable = lambda _: True
    work_at(world, 380)
    assert anchors(world) == {pki().ca.certificate, NEW_ROOT}
    world.unreachable = lambda _: False
    work_at(world, 381)
    assert anchors(world) == {NEW_ROOT}


def test_a_pair_with_more_anchors_than_anybody_follows_keeps_them(world: World) -> None:
    with PairDirectory.open(world.directory / NAME) as pairs:
        running = pairs.running
    assert running is not None
    many = tuple(root(Ca(name=f"Root {n}")) for n in range(65))
    assert followed(replace(running, anchors=many), "", BAG, BEGIN) is None
    found = followed(running, "no dates", BAG, BEGIN + timedelta(days=1))
    assert found is not None
    assert NEW_ROOT in found.trust.certificates
