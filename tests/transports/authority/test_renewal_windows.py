"""When the reference CA says to renew: evenly, early where it is told, and of nobody else's."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    Channel,
    ClientIdentity,
    Decision,
    Fail,
    Instant,
    LocalProtocolError,
    Postpone,
    ProvideRenewalInfo,
    RenewalInfoRequested,
    RenewalWindow,
    TlsVersion,
)
from est_transports.authority import Authority, RenewalSchedule
from est_transports.authority.ca import Enrollment
from est_transports.authority.stores import IssuedRecord, StoreBusy, StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import serial_text
from tests.transports.ca_fakes import (
    NOW,
    MemoryStore,
    ec_key,
    make_authenticator,
    make_ca,
    name,
    request,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ENROLL = Enrollment(operation="simpleenroll")
USUAL = RenewalSchedule()
MOMENTS = st.datetimes(max_value=datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


def window_of(decision: Decision) -> RenewalWindow | None:
    assert isinstance(decision, ProvideRenewalInfo)
    return decision.window


class World:
    """A CA with one certificate, and who asks about it."""

    def __init__(self, schedule: RenewalSchedule = USUAL, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.ca = make_ca(store=self.store)
        self.schedule = schedule
        self.certificate = self.ca.issue(request(subject=name("device")), ENROLL, now=NOW)
        self.serial = self.certificate.serial_number

    def ask(
        self, *, serial: int | None = None, key: bytes | None = None, now: datetime = NOW
    ) -> Decision:
        authority = Authority(
            ca=self.ca,
            store=self.store,
            authenticator=make_authenticator(self.store),
            clock=lambda: Instant(mono=0.0, wall=now),
            renewals=self.schedule,
        )
        question = RenewalInfoRequested(
            label=None,
            channel=Channel(version=TlsVersion.TLS_1_3),
            identity=ClientIdentity(),
            key_identifier=(self.ca.key_identifier or b"") if key is None else key,
            serial=self.serial if serial is None else serial,
        )
        return authority.renewal_info(question)


def test_a_certificate_on_record_is_renewed_within_its_life() -> None:
    world = World()
    window = window_of(world.ask())
    assert window is not None
    certificate = world.certificate
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert window.start >= certificate.not_valid_before_utc + life * 0.3
    assert window.end <= certificate.not_valid_before_utc + life * 0.8 + HOUR
    assert window == window_of(world.ask(now=NOW + 7 * DAY))  # whenever it is asked for


def test_nothing_is_said_of_a_certificate_that_nobody_renews() -> None:
    world = World()
    end = world.certificate.not_valid_after_utc
    assert window_of(world.ask(now=end)) is not None
    assert window_of(world.ask(now=end + DAY)) is None
    assert window_of(world.ask(serial=7)) is None
    assert window_of(world.ask(serial=-1)) is None
    assert window_of(world.ask(key=b"another CA's")) is None
    world.store.revoke_certificate(serial_text(world.serial), at=NOW, reason="superseded")
    assert window_of(world.ask()) is None


def test_a_certificate_that_the_ca_did_not_name_a_line_for_is_not_there() -> None:
    class Loses(MemoryStore):
        def renewal_line(self, serial: str) -> int | None:
            return None

    assert window_of(World(store=Loses()).ask()) is None


@pytest.mark.parametrize("error, answer", [(StoreBusy("busy"), Postpone), (StoreError("x"), Fail)])
def test_a_store_that_is_away_makes_an_answer(error: Exception, answer: type[Decision]) -> None:
    class Away(MemoryStore):
        def renewal_line(self, serial: str) -> int | None:
            raise error

    assert isinstance(World(store=Away()).ask(), answer)


# A fleet


def test_a_fleet_that_is_enrolled_at_once_fills_a_period_evenly() -> None:
    end = NOW + 90 * DAY
    starts = [USUAL.window(NOW, end, number).start for number in range(1000, 11_000)]
    assert NOW + 27 * DAY <= min(starts) < max(starts) < NOW + 72 * DAY
    hours = Counter((start - NOW) // HOUR for start in starts)
    mean = 10_000 / (45 * 24)
    assert max(hours.values()) <= mean + 2
    assert len(hours) == 45 * 24  # and none is empty


@given(
    number=st.integers(0, 10**9),
    begin_s=st.integers(0, 10**8),
    days=st.integers(1, 4000),
    late=st.floats(0, 0.15),
)
def test_a_line_of_renewals_keeps_its_place_also_where_one_came_late(
    number: int, begin_s: int, days: int, late: float
) -> None:
    begin, life = NOW + timedelta(seconds=begin_s), days * DAY
    first = USUAL.window(begin, begin + life, number)
    renewed = first.start + life * late
    second = USUAL.window(renewed, renewed + life, number)
    assert abs(second.start - first.start - life / 2) < timedelta(seconds=1)
    assert second.start - renewed >= life * 0.3
    assert second.start - renewed < life * 0.8


@given(
    dates=st.tuples(MOMENTS, MOMENTS),
    percents=st.sets(st.integers(1, 99), min_size=2, max_size=2),
    number=st.integers(0, 2**63),
)
def test_every_window_lies_in_the_life_of_its_certificate(
    dates: tuple[datetime, datetime], percents: set[int], number: int
) -> None:
    begin, end = sorted(dates)
    end = max(end, begin + timedelta(seconds=1))
    schedule = RenewalSchedule(begin_percent=min(percents), end_percent=max(percents))
    window = schedule.window(begin, end, number)
    assert begin <= window.start < window.end <= end + timedelta(seconds=1)


def test_holders_do_not_ask_again_all_at_once() -> None:
    record = certificate_record("1", NOW)
    waits = [USUAL.answer(record, number).retry_after_s for number in range(1000)]
    assert min(waits) < 21600 * 0.76
    assert max(waits) > 21600 * 1.24
    short = RenewalSchedule(retry_after_s=60)
    assert min(short.answer(record, number).retry_after_s for number in range(99)) == 60


# Early


def certificate_record(
    serial: str, issued_at: datetime, replaces: str | None = None
) -> IssuedRecord:
    return IssuedRecord(
        serial=serial,
        subject="CN=device",
        not_before=issued_at,
        not_after=issued_at + 90 * DAY,
        der=b"",
        spki_sha256=bytes(32),
        issued_at=issued_at,
        operation="simpleenroll",
        replaces=replaces,
    )


def test_all_that_were_issued_before_a_moment_are_renewed_from_then_on() -> None:
    moment = NOW + DAY
    world = World(RenewalSchedule(renew_before=moment, renew_within_s=3600.0))
    assert window_of(world.ask()) == RenewalWindow(start=moment, end=moment + HOUR)
    world.schedule = RenewalSchedule(renew_before=NOW - timedelta(seconds=1))
    assert window_of(world.ask()) == window_of(World().ask())


def test_who_was_certified_in_that_very_second_is_among_them() -> None:
    moment = NOW.replace(microsecond=0)
    record = certificate_record("1", issued_at=moment + timedelta(milliseconds=999))
    window = window_of(RenewalSchedule(renew_before=moment).answer(record, 1))
    assert window is not None
    assert window.start == moment


def test_one_certificate_is_renewed_at_once() -> None:
    world = World()
    world.schedule = RenewalSchedule(renew_now=frozenset({serial_text(world.serial)}))
    window = window_of(world.ask(now=NOW + 2 * DAY))
    assert window is not None
    assert window.start == NOW
    assert window.end < NOW + 2 * DAY


@pytest.mark.parametrize(
    "wrong",
    [
        {"begin_percent": 0},
        {"begin_percent": 80},
        {"end_percent": 100},
        {"retry_after_s": 59},
        {"retry_after_s": 86401},
        {"renew_within_s": 0.5},
        {"renew_within_s": 1e9},
        {"renew_before": datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        RenewalSchedule(**wrong)


# In the database


def test_the_store_knows_the_line_of_a_renewal(tmp_path: Path) -> None:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        for record in (
            certificate_record("a", NOW),
            certificate_record("b", NOW),
            certificate_record("a1", NOW, "a"),
            certificate_record("a2", NOW, "a1"),
            certificate_record("c", NOW, "d1"),  # of a certificate that is not on record
        ):
            store.record_certificate(record)
        lines = [store.renewal_line(serial) for serial in ("a", "b", "a1", "a2", "c", "0A2")]
        assert lines == [1, 2, 1, 1, 5, 1]
        assert store.renewal_line("ff") is None
        assert store.renewal_line("no serial") is None


def test_certificates_that_renew_each_other_are_no_endless_line(tmp_path: Path) -> None:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        store.record_certificate(certificate_record("a", NOW, "b"))
        store.record_certificate(certificate_record("b", NOW, "a"))
        assert store.renewal_line("b") == 1


def test_renewals_of_the_reference_ca_are_one_line(tmp_path: Path) -> None:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        ca = make_ca(store=store)
        csr = request(subject=name("device"), key=ec_key("device"))
        first = ca.issue(csr, ENROLL, now=NOW)
        ca.issue(request(subject=name("other")), ENROLL, now=NOW)
        renewal = Enrollment(operation="simplereenroll")
        second = ca.issue(csr, renewal, now=NOW + DAY, replaces=first)
        numbers = [store.renewal_line(serial_text(each.serial_number)) for each in (first, second)]
        assert numbers[0] == numbers[1] == 1
