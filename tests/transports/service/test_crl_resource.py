"""Revocation lists over HTTP: the newest of a key, for so long as caches may keep it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from est_transports.authority.stores import CrlRecord, StoreError
from est_transports.publication.resources import Published
from est_transports.service.crl_resource import MAX_AGE_S, MEDIA_TYPE, CrlResource
from tests.transports.ca_fakes import NOW, MemoryStore

CRL = CrlRecord(
    issuer_key=b"\x01\xab",
    number=7,
    this_update=NOW,
    next_update=NOW + timedelta(days=7),
    regular_at=NOW,
    changes=0,
    der=b"seven",
)
OTHER = replace(CRL, issuer_key=b"\x02", der=b"other")


class Away(MemoryStore):
    """A store that can be away."""

    is_away = False

    def find_crl(self, issuer_key: bytes, *, newer_than: int = 0) -> CrlRecord | None:
        if self.is_away:
            raise StoreError("away")
        return super().find_crl(issuer_key, newer_than=newer_than)


class World:
    """The lists of one key, and a store that has those of another one too."""

    def __init__(self) -> None:
        self.store = Away()
        self.store.record_crl(OTHER)
        self.resource = CrlResource(self.store, b"\x01\xab").resource()

    def get(self, *, after_s: int = 0) -> Published:
        now = NOW + timedelta(seconds=after_s)
        return self.resource.answer("GET", "", b"", now)


def test_a_key_has_the_newest_of_its_lists() -> None:
    world = World()
    assert world.resource.path == "/crl/01ab.crl"
    assert world.get().status == 404
    world.store.record_crl(CRL)
    first = world.get()
    assert (first.status, first.content_type, first.body) == (200, MEDIA_TYPE, b"seven")
    world.store.record_crl(replace(CRL, number=8, der=b"eight"))
    assert world.get().body == b"eight"


def test_a_cache_keeps_a_list_for_minutes_and_never_past_its_end() -> None:
    world = World()
    world.store.record_crl(CRL)
    fresh = world.get(after_s=10)
    assert fresh.max_age_s == MAX_AGE_S
    assert fresh.modified == NOW
    assert fresh.expires == NOW + timedelta(seconds=10 + MAX_AGE_S)
    week = 7 * 86400
    last = world.get(after_s=week - 20)
    assert (last.max_age_s, last.expires) == (20, CRL.next_update)
    assert world.get(after_s=week + 5).max_age_s == 0


def test_an_older_list_of_a_restored_store_is_not_handed_out() -> None:
    world = World()
    world.store.record_crl(CRL)
    world.get()
    world.store.crls[CRL.issuer_key] = replace(CRL, number=5, der=b"five")
    assert world.get().body == b"seven"


def test_while_the_store_is_away_the_last_list_is_handed_out_as_long_as_it_is_good() -> None:
    world = World()
    world.store.is_away = True
    assert world.get().status == 503
    world.store.is_away = False
    world.store.record_crl(CRL)
    world.get()
    world.store.is_away = True
    assert world.get().body == b"seven"
    assert world.get(after_s=7 * 86400).status == 503
