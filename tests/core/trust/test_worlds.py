"""Following a CA in worlds made by chance: CAs, links with and without flaws, clients, years."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import ClassVar

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from est_core.trust import (
    Followed,
    TrustedAnchors,
    TrustPolicy,
    anchor_id,
    follow,
    trust_of,
    trust_text,
)
from tests.core.trust.cast import DAY, START, YEAR, Ca, generations, leaf, link, root
from tests.reached import Tally, reached, reaches

NOW = START + 11 * YEAR
CAS = [
    replace(Ca(), name=f"Root {n % 2}", begin=START + n * YEAR, end=START + (20 + n) * YEAR)
    for n in range(6)
]
IDS = [anchor_id(root(each)) for each in CAS]
FLAWS = ("", "", "", "expired", "early", "forged", "another key", "no CA", "short path")


def flawed(new: Ca, old: Ca, flaw: str) -> x509.Certificate:
    """Return a link with that flaw."""
    match flaw:
        case "expired":
            return link(new, old, end=NOW - DAY)
        case "early":
            return link(new, old, begin=NOW + DAY)
        case "forged":
            return link(new, old, signer=Ca())
        case "another key":
            return link(new, old, subject_key_id=Ca().key_id)
        case "no CA":
            return link(replace(new, is_ca=False), old)
        case "short path":
            return link(replace(new, path_length=0), old)
        case _:
            return link(new, old)


PAIRS = [(new, old) for new in range(6) for old in range(6) if new != old]
FORWARD = [(2, 0), (4, 2), (4, 0), (3, 1), (5, 3), (5, 1)]
"""Those that lead from an older root to a younger one of the same name."""
CERTIFICATES = {
    **{(n, n, ""): root(each) for n, each in enumerate(CAS)},
    **{(n, o, flaw): flawed(CAS[n], CAS[o], flaw) for n, o in PAIRS for flaw in sorted({*FLAWS})},
}
SEEDS = st.integers(0, 1 << 32)


def world(seed: int) -> tuple[Random, set[int], set[tuple[int, int, str]]]:
    """Return which CAs are known, and what is in a bag."""
    chance = Random(seed)
    known = {chance.choice([0, 0, 1, 1, 2, 3]), chance.choice([0, 1, 5])}
    roots = {(n, n, "") for n in range(6) if chance.random() < 0.8}
    pairs = [chance.choice([*PAIRS, *FORWARD * 5]) for _ in range(chance.randrange(4, 16))]
    return chance, known, roots | {(*pair, chance.choice(FLAWS)) for pair in pairs}


def expected(known: set[int], bag: set[tuple[int, int, str]]) -> set[int]:
    """Return what is trusted in the end, by the rules in their shortest form."""
    trusted = set(known)
    while True:
        new = {
            below
            for below, above, flaw in bag
            if above in trusted - {below}
            and not flaw
            and below > above  # the younger one
            and (below - above) % 2 == 0  # of the same name
            and (below, below, "") in bag
        }
        if new <= trusted:
            return trusted
        trusted |= new


@reaches(several=5, added=20, refused=30)
@given(SEEDS)
def test_a_root_is_trusted_exactly_where_sound_links_lead_to_it(seed: int) -> None:
    chance, known, there = world(seed)
    trust = TrustedAnchors.of([CERTIFICATES[n, n, ""] for n in known], now=START)
    bag = [CERTIFICATES[each] for each in there]
    chance.shuffle(bag)
    followed = follow(trust, bag, now=NOW)
    wanted = expected(known, there)
    assert {anchor_id(each) for each in followed.trust.certificates} == {IDS[n] for n in wanted}
    told = {anchor_id(each.root) for each in followed.refused if each.root is not None}
    assert told == {IDS[n] for n, other, _ in there if n == other and n not in wanted}
    assert follow(followed.trust, bag, now=NOW).trust == followed.trust, "once is enough"
    reached(*(["several"] if len(followed.added) > 1 else []))
    reached(*(["added"] if followed.added else []), *(["refused"] if told else []))


@reaches(added=20)
@given(SEEDS)
def test_the_order_of_a_bag_makes_no_difference_to_anything(seed: int) -> None:
    chance, known, there = world(seed)
    trust = TrustedAnchors.of([CERTIFICATES[n, n, ""] for n in known], now=START)
    bag = [CERTIFICATES[each] for each in there]
    one = follow(trust, bag, now=NOW)
    chance.shuffle(bag)
    assert follow(trust, bag, now=NOW) == one
    if one.added:
        reached("added")


# Years


YEARS = generations(4, every=6 * YEAR, life=15 * YEAR)
"""A CA that takes a new key every six years."""


def current(now: datetime) -> int:
    """Return which key the CA issues with."""
    return max(n for n, each in enumerate(YEARS) if each.begin <= now)


ROOT_OF = [root(each) for each in YEARS]
LINK_OF = [link(new, old) for old, new in pairwise(YEARS)]
LINK_BACK = [link(old, new) for old, new in pairwise(YEARS)]


def bag_of(now: datetime) -> list[x509.Certificate]:
    """Return what the CA's server answers to /cacerts: all of its rollovers that still count."""
    there = [each for each in (*ROOT_OF, *LINK_OF, *LINK_BACK) if each.not_valid_before_utc <= now]
    return [each for each in there if now <= each.not_valid_after_utc]


class Following(RuleBasedStateMachine):
    """A client over the years: away for a while, given half an answer, lied to, restarted."""

    tally: ClassVar[Tally]

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed: int) -> None:
        self.tally.begin()
        self.chance = Random(seed)
        self.now = START
        self.trust = TrustedAnchors.of([ROOT_OF[0]], now=START)
        self.own = leaf(YEARS[0], end=START + YEAR)
        self.foreign: set[str] = set()

    @rule(days=st.sampled_from([30, 300, 700, 1500, 3000]))
    def be_away(self, days: int) -> None:
        self.now = min(self.now + days * DAY, START + 30 * YEAR)

    @rule(days=st.sampled_from([30, 300, 700, 1500, 3000]))
    def fetch(self, days: int) -> None:
        self.be_away(days)
        self._follow(bag_of(self.now))
        # What nobody who was away for less than a root's rest of life can lose.
        if any(self._knows(n) and YEARS[n].end >= self.now for n in range(current(self.now))):
            assert self._knows(current(self.now))

    @rule(share=st.floats(0, 1))
    def fetch_half(self, share: float) -> None:
        self._follow([each for each in bag_of(self.now) if self.chance.random() < share])

    @rule(linked=st.booleans())
    def be_lied_to(self, linked: bool) -> None:
        impostor = Ca(begin=self.now - DAY, end=self.now + YEAR)
        self.foreign.add(anchor_id(root(impostor)))
        vouched = [link(impostor, YEARS[current(self.now)], signer=impostor)] if linked else []
        self._follow([root(impostor), *vouched, *bag_of(self.now)])

    @rule()
    def renew(self) -> None:
        """Get a certificate from the CA, whose key it has to trust for that."""
        if self._knows(current(self.now)):
            self.own = leaf(YEARS[current(self.now)], begin=self.now, end=self.now + YEAR)

    @rule()
    def restart(self) -> None:
        files = (trust_text(self.trust), self.trust.certificates)
        assert trust_of(*files, now=self.now) == self.trust

    @rule()
    def lose_the_text(self) -> None:
        self.trust = TrustedAnchors.of(self.trust.certificates, now=self.now)

    def _follow(self, bag: list[x509.Certificate]) -> None:
        before = self.trust
        followed = follow(before, bag, now=self.now, in_use=[self.own])
        self.trust = followed.trust
        for what in ("added", "dropped", "refused"):
            self.tally.reach(*([what] if getattr(followed, what) else []))
        if any(each.drop_after and each.drop_after <= self.now for each in self.trust.anchors):
            self.tally.reach("kept")
        for each in followed.dropped:
            assert each.drop_after is not None
            assert each.drop_after <= self.now
            assert not issued_by(self.own, each.certificate)

    def _knows(self, n: int) -> bool:
        return ROOT_OF[n] in self.trust.certificates

    @invariant()
    def there_is_an_anchor_and_none_is_a_strangers(self) -> None:
        if hasattr(self, "trust"):
            assert self.trust.anchors
            ids = {anchor_id(each) for each in self.trust.certificates}
            assert not ids & self.foreign
            assert ids <= {anchor_id(each) for each in ROOT_OF}


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - a fake's oracle
        return False
    return True


@pytest.mark.req("EST-122", "EST-130")
def test_over_the_years_a_client_keeps_its_anchors_and_gets_none_of_a_strangers() -> None:
    Following.tally = tally = Tally()
    run_state_machine_as_test(
        Following, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
    tally.require(added=15, dropped=5, refused=30, kept=3)


# A fleet


@dataclass
class Device:
    """One of a fleet: away from time to time, for up to so many years."""

    chance: Random
    trust: TrustedAnchors
    own_until: datetime = START + YEAR
    back_at: datetime = START
    away: timedelta = timedelta(0)
    is_lost: bool = False


def can_reach(trust: TrustedAnchors, now: datetime) -> bool:
    """True if the server is verified: its chain has the links, each under the next older root."""
    return any(each.not_valid_after_utc >= now for each in trust.certificates)


@pytest.mark.req("EST-122", "EST-130")
def test_a_fleet_over_three_generations_loses_none_that_could_be_kept() -> None:
    chance = Random(7030)
    fleet = [
        Device(chance=Random(n), trust=TrustedAnchors.of([ROOT_OF[0]], now=START))
        for n in range(60)
    ]
    impostor = Ca(begin=START, end=START + 30 * YEAR)
    lost = 0
    for month in range(1, 12 * 27, 3):
        now = START + month * 30 * DAY
        bag = [*bag_of(now), root(impostor), link(impostor, YEARS[current(now)], signer=impostor)]
        chance.shuffle(bag)
        for device in fleet:
            if device.is_lost or now < device.back_at:
                continue
            if not can_reach(device.trust, now):
                # Nobody could have kept it: it was away for the rest of its newest root's life.
                assert device.away >= 9 * YEAR - 120 * DAY
                device.is_lost = True
                lost += 1
                continue
            followed: Followed = follow(device.trust, bag, now=now)
            device.trust = followed.trust
            assert ROOT_OF[current(now)] in device.trust.certificates
            assert root(impostor) not in device.trust.certificates
            device.away = timedelta(0)
            if device.chance.random() < 0.06:
                device.away = device.chance.choice([YEAR, 3 * YEAR, 6 * YEAR, 8 * YEAR, 12 * YEAR])
                device.back_at = now + device.away
    assert 0 < lost < 30, "some were away for longer than any root lives"
    kept = [each for each in fleet if not each.is_lost]
    assert {len(each.trust.anchors) for each in kept} <= {1, 2, 3}


def test_a_fleet_that_is_never_away_for_a_generation_is_kept_whole() -> None:
    for away in (YEAR, 3 * YEAR, 5 * YEAR, 8 * YEAR):
        trust, now = TrustedAnchors.of([ROOT_OF[0]], now=START), START
        while now < START + 26 * YEAR:
            trust = follow(trust, bag_of(now), now=now, policy=TrustPolicy(keep_old_s=0)).trust
            assert ROOT_OF[current(now)] in trust.certificates
            now += away
