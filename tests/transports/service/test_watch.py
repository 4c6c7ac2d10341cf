"""What the clock ends and what goes wrong by itself: words, and when they are said."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Instant
from est_transports import _clock
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.config.reader import load_config
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import CredentialChecks, Service, load_service
from est_transports.service.validity import Standing, crl_validity
from est_transports.service.watch import REPEAT_S, Watch
from tests.pki import common_name, new_key, pki

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def crl(
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    starts: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder(issuer, starts, ends)
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("starts", "ends", "standing", "words"),
    [
        (-10, 20, Standing.GOOD, ""),
        (-10, 0.5, Standing.ENDING, "lapses in 12 hours, on 2026-06-02 00:00Z; put a new one"),
        (-0.05, 0.05, Standing.GOOD, ""),  # made hourly: no word before nine tenths are over
        (-0.95, 0.05, Standing.ENDING, "lapses in 72 minutes"),
        (-30, -5, Standing.OVER, "lapsed on 2026-05-27: every certificate of that CA is refused"),
        (-3, -0.001, Standing.OVER, "lapsed on 2026-06-01 11:58Z: "),
        (1, 5, Standing.NOT_YET, "not valid before 2026-06-02 12:00Z, and it is 2026-06-01 12:00Z"),
    ],
)
def test_a_revocation_list_is_said_to_lapse_before_and_when_it_does(
    starts: float, ends: float, standing: Standing, words: str
) -> None:
    made = crl(common_name("M"), new_key(), starts=NOW + starts * DAY, ends=NOW + ends * DAY)
    validity = crl_validity(Path("m.crl"), made)
    assert validity.standing(NOW) is standing
    text = validity.text(NOW)
    assert words in text
    assert bool(text) == bool(words)
    assert not text or text.startswith("m.crl: the CRL of CN=M: ")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = Instant(mono=0.0, wall=NOW)

    def __call__(self) -> Instant:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now = self.now.after(by.total_seconds())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore.create(tmp_path / "est.db")
    yield made
    made.close()


def with_lapses(*lists: x509.CertificateRevocationList) -> Service:
    validities = tuple(crl_validity(Path("m.crl"), each) for each in lists)
    return cast("Service", SimpleNamespace(validities=validities))


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(record.levelname, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def test_what_lapses_while_a_server_runs_is_said_again_every_hour_and_when_it_is_over(
    store: SqliteStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "est_transports")
    watch = Watch(store, clock=clock)
    service = with_lapses(crl(common_name("M"), new_key(), ends=NOW + 3 * DAY))
    watch.told(service)
    watch(service, 0)
    assert said(caplog) == []
    clock.advance(2.9 * DAY)
    watch(service, 0)
    watch(service, 0)
    ((level, text),) = said(caplog)
    assert (level, "lapses in 2 hours" in text) == ("WARNING", True)
    clock.advance(0.2 * DAY)
    watch(service, 1)  # what is the same for all is the first worker's to say
    assert said(caplog) == []
    watch(service, 0)
    ((level, text),) = said(caplog)
    assert (level, "lapsed on" in text) == ("ERROR", True)
    clock.advance(timedelta(seconds=REPEAT_S - 1))
    watch(service, 0)
    assert said(caplog) == []
    clock.advance(timedelta(seconds=1))
    watch(service, 0)
    assert [level for level, _ in said(caplog)] == ["ERROR"]
    watch(with_lapses(crl(common_name("M"), new_key(), ends=NOW + 30 * DAY)), 0)
    assert said(caplog) == [("INFO", "m.crl: the CRL of CN=M: in order again")]


def test_what_was_said_at_the_start_is_not_said_at_once_again(
    store: SqliteStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(store, clock=clock)
    service = with_lapses(crl(common_name("M"), new_key(), ends=NOW - DAY / 2))
    watch.told(service)
    watch(service, 0)
    assert said(caplog) == []


def test_a_store_that_goes_away_is_said_to_by_each_worker_and_when_it_is_back(
    store: SqliteStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "est_transports")
    watch, service = Watch(store, clock=clock), with_lapses()
    watch(service, 3)
    assert said(caplog) == []
    moved = store.path.rename(store.path.with_suffix(".away"))
    watch(service, 3)
    watch(service, 3)
    ((level, text),) = said(caplog)
    assert level == "ERROR"
    assert text.startswith(f"{store.path}: was removed or replaced while it is in use; put back")
    assert text.endswith("; until then nobody can enroll, though /cacerts answers")
    moved.rename(store.path)
    watch(service, 3)
    assert said(caplog) == [("INFO", "the store: in order again")]


def test_a_store_that_is_closed_at_the_end_is_no_trouble(
    store: SqliteStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    closed, service = Watch(store, clock=clock), with_lapses()
    watch = Watch(store, clock=clock)
    watch.end()
    store.close()
    watch(service, 0)
    assert said(caplog) == []
    closed(service, 0)
    ((_, text),) = said(caplog)
    assert "the store is closed" in text


def test_a_disk_that_is_nearly_full_is_said_once(
    store: SqliteStore,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("est_transports.service.watch.free_bytes", lambda _path: 5 << 20)
    watch = Watch(store, clock=clock)
    for _ in range(3):
        watch(with_lapses(), 0)
    ((level, text),) = said(caplog)
    assert level == "WARNING"
    assert f"the disk of {store.path.parent} has only 5120 KiB free" in text


def test_a_start_says_what_the_clock_has_ended_and_which_lists_check_nothing(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "ca"
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    lists = tmp_path / "lists.pem"
    root = pki().manufacturer
    now = _clock.instant().wall
    outdated = crl(
        root.certificate.subject,
        cast("ec.EllipticCurvePrivateKey", root.key),
        starts=now - 40 * DAY,
        ends=now - 10 * DAY,
    )
    stranger = crl(common_name("Stranger"), new_key(), starts=now - DAY, ends=now + 30 * DAY)
    lists.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in (outdated, stranger)))
    (tmp_path / "makers.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    (directory / "est.toml").write_text(
        f'[tls]\nclient_trust = ["{tmp_path}/makers.pem"]\n[crls]\nfiles = ["{lists}"]\n'
    )
    with_store = SqliteStore(directory / "est.db")
    service = load_service(
        load_config(directory / "est.toml"), store=with_store, checks=CredentialChecks()
    )
    with_store.close()
    lapsed, foreign = service.notices
    assert lapsed.startswith(f"{lists}: the CRL of {root.certificate.subject.rfc4514_string()}: ")
    assert "lapsed on" in lapsed
    assert "403" in lapsed
    assert "reload the server (SIGHUP)" in lapsed
    assert "the CRL of CN=Stranger: no CA that is trusted has that name" in foreign
