"""How often, and for how long, a key may be certified again: by renewals and by enrollments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from est_core import LocalProtocolError
from est_transports.authority.ca import Enrollment, ReferenceCA, Refused
from est_transports.authority.profiles import Profile
from est_transports.authority.renewal_rules import RenewalRules
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.ca_fakes import NOW, dns, ec_key, make_ca, request

DAY = timedelta(days=1)
ENROLL = Enrollment(operation="simpleenroll", label="limited")
RENEW = Enrollment(operation="simplereenroll", label="limited")
CODE = "renewal/rekey-required"


class Site:
    """A CA with one rule, and a clock."""

    def __init__(self, store: SqliteStore, rules: RenewalRules) -> None:
        self.ca: ReferenceCA = make_ca(store, profiles=[Profile(name="limited", renewals=rules)])
        self.now: datetime = NOW

    def get(
        self, replaces: x509.Certificate | None = None, *, key: str = "client", days: float = 1
    ) -> x509.Certificate:
        """Return a certificate, a day later than the one before."""
        self.now += days * DAY
        csr = request(dns("device-1.example"), key=ec_key(key))
        enrollment = ENROLL if replaces is None else RENEW
        return self.ca.issue(csr, enrollment, now=self.now, replaces=replaces)

    def refusal(
        self, replaces: x509.Certificate | None = None, *, key: str = "client", days: float = 1
    ) -> str:
        with pytest.raises(Refused) as caught:
            self.get(replaces, key=key, days=days)
        assert caught.value.text.startswith("make a new key: ")
        return caught.value.code


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        yield store


def test_without_a_rule_a_key_is_certified_as_often_as_is_asked_for(store: SqliteStore) -> None:
    site = Site(store, RenewalRules())
    current = site.get()
    for _ in range(5):
        current = site.get(current)
    assert site.get().public_key() == current.public_key()


@pytest.mark.req("EST-164")
def test_a_key_is_renewed_as_often_as_the_rule_says_and_a_new_one_again(store: SqliteStore) -> None:
    site = Site(store, RenewalRules(same_key_renewals=2))
    third = site.get(site.get(site.get()))
    assert site.refusal(third) == CODE
    fourth = site.get(third, key="new")
    assert site.refusal(site.get(site.get(fourth, key="new"), key="new"), key="new") == CODE


@pytest.mark.req("EST-164")
def test_a_rule_of_none_demands_a_new_key_each_time(store: SqliteStore) -> None:
    site = Site(store, RenewalRules(same_key_renewals=0))
    first = site.get()
    assert site.refusal(first) == CODE
    second = site.get(first, key="new")
    assert site.refusal(second, key="new") == CODE
    assert site.refusal(second) == CODE, "the key before is used again as well"


def test_a_renewal_that_is_asked_for_again_is_one_use_of_the_key(store: SqliteStore) -> None:
    site = Site(store, RenewalRules(same_key_renewals=1))
    first = site.get()
    for _ in range(3):
        again = site.get(first)
    assert site.refusal(again) == CODE


def test_a_request_for_a_new_key_may_come_again_for_an_hour(store: SqliteStore) -> None:
    site = Site(store, RenewalRules(same_key_renewals=0))
    first = site.get()
    site.get(days=1 / 25)
    assert site.refusal() == CODE
    second = site.get(first, key="new")
    assert site.get(first, key="new", days=1 / 25).public_key() == second.public_key()
    assert site.refusal(first, key="new") == CODE


def test_an_enrollment_uses_a_key_as_a_renewal_does(store: SqliteStore) -> None:
    site = Site(store, RenewalRules(same_key_renewals=2))
    current = site.get(site.get())
    site.get()
    assert site.refusal() == CODE
    assert site.refusal(current) == CODE
    site.get(key="new")


@pytest.mark.req("EST-164")
def test_a_key_is_too_old_so_many_days_after_it_was_certified_first(store: SqliteStore) -> None:
    site = Site(store, RenewalRules(same_key_days=10))
    current = site.get(site.get(), days=8)
    current = site.get(current, days=2)
    assert site.refusal(current, days=0.001) == CODE
    assert site.refusal(days=0) == CODE, "an enrollment is judged as a renewal is"
    site.get(current, key="new")


def test_a_key_of_another_profile_is_not_counted(store: SqliteStore) -> None:
    site = Site(store, RenewalRules(same_key_renewals=0))
    csr = request(dns("device-1.example"))

    site.ca.issue(csr, Enrollment(operation="simpleenroll"), now=NOW)
    site.get()


@pytest.mark.parametrize(
    "wrong",
    [
        {"same_key_renewals": -1},
        {"same_key_renewals": 1000},
        {"same_key_days": 0},
        {"same_key_days": 36501},
        {"certificates_per_name": 0},
        {"certificates_per_name": 101},
    ],
    ids=str,
)
def test_a_rule_that_is_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        RenewalRules(**wrong)
