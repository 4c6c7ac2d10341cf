"""Lists of a server that runs: when one is made, where it lies, and what is said when it fails."""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import Instant
from est_transports import _clock
from est_transports.authority.crls import crl_issuer_key, crl_name, make_crl
from est_transports.authority.stores import CrlRecord, Store
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.credential_files import (
    certificates_pem,
    load_pem_certificates,
    load_pem_private_key,
)
from est_transports.pki.key_usage import key_usage
from est_transports.service.config.reader import load_config
from est_transports.service.crl_publishing import REPEAT_S, CrlPublisher, file_newest
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import CredentialChecks, Service, load_service

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Site:
    """A service that is loaded, and a publisher by a clock that the test sets."""

    directory: Path
    store: SqliteStore
    service: Service
    publisher: CrlPublisher
    now: Instant

    @property
    def key(self) -> bytes:
        return crl_issuer_key(self.service.authority.ca)

    @property
    def file(self) -> Path:
        return self.directory / "crl" / crl_name(self.key)

    def after(self, seconds: float) -> int | None:
        """Let the publisher look so much later, and return the number of the list in the file."""
        self.now = self.now.after(seconds)
        self.publisher(self.service)
        return self.filed

    @property
    def filed(self) -> int | None:
        if not self.file.exists():
            return None
        crl = x509.load_der_x509_crl(self.file.read_bytes())
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    def revoke(self) -> None:
        """Revoke, or release, as another process does it: by a store of its own."""
        with closing(SqliteStore(self.directory / "est.db")) as store:
            (record,) = store.list_certificates()
            if not store.release_hold(record.serial):
                store.revoke_certificate(record.serial, at=NOW, reason="certificateHold")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = tmp_path / "ca"
    start = Instant(mono=100.0, wall=NOW)
    initialise(directory, CaSpec(), now=start, entropy=_clock.entropy)
    config = load_config(directory / "est.toml")
    with closing(SqliteStore(config.ca.store)) as store:
        service = load_service(config, store=store, checks=CredentialChecks(), clock=lambda: start)
        made = Site(directory, store, service, CrlPublisher(clock=lambda: made.now), start)
        yield made


def test_a_list_is_made_at_the_start_after_each_change_and_when_it_is_due(site: Site) -> None:
    first = site.after(0)
    assert first is not None
    assert site.after(1) == first
    site.revoke()
    held = site.after(1)
    assert held != first
    assert len(x509.load_der_x509_crl(site.file.read_bytes())) == 1
    site.revoke()
    released = site.after(1)
    assert released not in (first, held)
    assert len(x509.load_der_x509_crl(site.file.read_bytes())) == 0
    assert site.after(23 * 3600) == released
    due = site.after(3600)
    assert due not in (first, held, released)
    assert site.after(1) == due


def test_a_reload_makes_a_new_one_for_the_store_may_be_an_older_one(site: Site) -> None:
    first = site.after(0)
    site.service = replace(site.service)
    again = site.after(1)
    assert None not in (first, again)
    assert again > first  # type: ignore[operator]  # neither is None


def test_a_list_of_another_process_is_filed_and_a_file_that_is_gone_comes_back(site: Site) -> None:
    site.after(0)
    ca, schedule = site.service.authority.ca, site.service.config.crl.schedule
    other = make_crl(ca, site.store, schedule, now=NOW + timedelta(days=1))
    assert site.after(1) == other.number
    site.file.unlink()
    assert site.after(1) == other.number


def test_everybody_may_read_a_list(site: Site) -> None:
    site.after(0)
    assert stat.S_IMODE(site.file.stat().st_mode) == 0o644
    assert stat.S_IMODE(site.file.parent.stat().st_mode) == 0o755
    assert [each.name for each in site.file.parent.iterdir()] == [site.file.name]


def test_where_lists_are_not_made_nothing_is(site: Site) -> None:
    off = replace(site.service.config.crl, enabled=False)
    site.service = replace(site.service, config=replace(site.service.config, crl=off))
    assert site.after(0) is None
    assert site.store.find_crl(site.key) is None


def test_a_list_without_a_directory_is_in_the_store(site: Site) -> None:
    bare = replace(site.service.config.crl, directory=None)
    site.service = replace(site.service, config=replace(site.service.config, crl=bare))
    assert site.after(0) is None
    assert site.store.find_crl(site.key) is not None


def test_a_failure_is_said_once_and_tried_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="est_transports")
    (site.directory / "crl").write_text("in the way")

    def said() -> list[str]:
        lines = [record.message for record in caplog.records]
        return [line for line in lines if not line.startswith("revocation list 1")]

    site.after(0)
    site.after(1)  # too soon to try again
    site.after(30)
    (line,) = said()
    assert line.startswith(f"the revocation list was not made, or not filed: {site.directory}/crl")
    site.after(REPEAT_S)
    assert len(said()) == 2
    (site.directory / "crl").unlink()
    assert site.after(30) is not None
    assert said()[2:] == ["revocation lists: in order again"]


def test_a_list_that_took_long_is_followed_by_a_rest(site: Site) -> None:
    first = site.after(0)
    slow = CrlPublisher(clock=lambda: site.now)
    wake = make_slow(site, 2.0)
    slow(site.service)
    wake()
    before = site.filed
    site.revoke()
    site.now = site.now.after(30)
    slow(site.service)
    assert site.filed == before != first
    site.now = site.now.after(11)
    slow(site.service)
    assert site.filed != before


def make_slow(site: Site, seconds: float) -> Callable[[], None]:
    """Let the clock go on while a list is made, until what is returned is called."""
    authority, usual = site.service.authority, site.store.next_crl_number

    def slow(*, at_least: int) -> int:
        site.now = site.now.after(seconds)
        return usual(at_least=at_least)

    authority.store = Slow(site.store, slow)  # type: ignore[assignment]  # a store in all else

    def wake() -> None:
        authority.store = site.store

    return wake


class Slow:
    """A store of which one method is another's."""

    def __init__(self, store: Store, slow: Callable[..., int]) -> None:
        self._store = store
        self.next_crl_number = slow

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_a_key_that_may_sign_no_lists_signs_none_and_that_is_told(site: Site) -> None:
    (before,) = load_pem_certificates(site.directory / "ca.pem")
    key = load_pem_private_key(site.directory / "ca-key.pem")
    builder = x509.CertificateBuilder(
        before.issuer, before.subject, before.public_key(), 7, NOW - DAY, NOW + DAY
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(key_usage(["key_cert_sign"]), critical=True)
    without = builder.sign(key, hashes.SHA256())
    (site.directory / "ca.pem").write_bytes(certificates_pem([without]))
    config = site.service.config
    site.service = load_service(config, store=site.store, checks=CredentialChecks())
    assert site.after(0) is None
    assert sum("keyUsage without cRLSign" in each for each in site.service.notices) == 1
    quiet = replace(config, crl=replace(config.crl, enabled=False))
    notices = load_service(quiet, store=site.store, checks=CredentialChecks()).notices
    assert not any("cRLSign" in each for each in notices)


def test_no_older_list_takes_the_place_of_a_newer_one(site: Site, tmp_path: Path) -> None:
    place = tmp_path / "lists"
    assert file_newest(place, site.store, site.key) is None
    site.after(0)
    found = site.store.find_crl(site.key)
    assert found is not None
    path, done = place / crl_name(site.key), threading.Event()

    def write() -> None:
        while not done.is_set():
            file_newest(place, site.store, site.key)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for each in writers:
        each.start()
    seen: list[bytes] = []
    for number in range(1, 20):
        newer: CrlRecord = replace(found, number=found.number + number, der=b"%08d" % number)
        site.store.record_crl(newer)
        file_newest(place, site.store, site.key)
        seen.append(path.read_bytes())
    done.set()
    for each in writers:
        each.join()
    assert seen == sorted(seen)
    assert path.read_bytes() == b"%08d" % 19
