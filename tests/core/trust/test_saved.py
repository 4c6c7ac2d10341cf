"""The dates of trust anchors as text: what is written is read, and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_core.trust import (
    DroppedAnchor,
    KnownAnchor,
    TrustedAnchors,
    anchor_id,
    follow,
    trust_of,
    trust_text,
)
from tests.core.trust.cast import DAY, START, YEAR, generations, link, root
from tests.reached import reached, reaches

OLD, NEW, NEWER = generations(3)
ROOTS = [root(OLD), root(NEW), root(NEWER)]
NOW = START + 11 * YEAR
TWO = follow(TrustedAnchors.of([ROOTS[0]], now=START), [ROOTS[1], link(NEW, OLD)], now=NOW).trust
ONE = follow(TWO, [], now=NOW + YEAR).trust
WHOLE = json.loads(trust_text(TWO))
OLD_ID, NEW_ID = (anchor_id(each) for each in ROOTS[:2])

MOMENTS = st.integers(0, 8000 * 365 * 86400).map(lambda s: START - 50 * YEAR + timedelta(seconds=s))


@st.composite
def trusts(draw: st.DrawFn) -> TrustedAnchors:
    anchors, dropped = [], []
    for each in ROOTS:
        match draw(st.sampled_from(["trusted", "superseded", "dropped", "unknown"])):
            case "trusted":
                anchors.append(KnownAnchor(certificate=each, since=draw(MOMENTS)))
            case "superseded":
                at, until = draw(MOMENTS), draw(MOMENTS)
                anchors.append(
                    KnownAnchor(
                        certificate=each, since=draw(MOMENTS), superseded_at=at, drop_after=until
                    )
                )
            case "dropped":
                dropped.append(DroppedAnchor(anchor_id=anchor_id(each), at=draw(MOMENTS)))
    return TrustedAnchors(anchors=tuple(anchors), dropped=tuple(dropped))


@reaches(superseded=30, dropped=30)
@given(trusts())
def test_what_is_written_is_read(trust: TrustedAnchors) -> None:
    text = trust_text(trust)
    assert "\n" not in text
    assert trust_of(text, trust.certificates, now=NOW) == trust
    if any(each.superseded_at for each in trust.anchors):
        reached("superseded")
    if trust.dropped:
        reached("dropped")


def test_an_anchor_that_the_text_does_not_know_is_trusted_since_now() -> None:
    later = NOW + DAY
    read = trust_of(trust_text(TWO), [*ROOTS], now=later)
    assert set(read.anchors) == {*TWO.anchors, KnownAnchor(certificate=ROOTS[2], since=later)}


def test_what_the_text_knows_of_others_is_forgotten() -> None:
    assert trust_of(trust_text(TWO), [ROOTS[2]], now=NOW).anchors == (
        KnownAnchor(certificate=ROOTS[2], since=NOW),
    )
    assert trust_of(trust_text(TWO), [], now=NOW) == TrustedAnchors(anchors=())


def test_an_anchor_that_was_dropped_and_is_there_again_was_put_there_by_hand() -> None:
    assert ONE.dropped
    read = trust_of(trust_text(ONE), [ROOTS[0], ROOTS[1]], now=NOW)
    assert read.dropped == ()
    assert KnownAnchor(certificate=ROOTS[0], since=NOW) in read.anchors


@pytest.mark.parametrize(
    "change",
    [
        {"anchors": []},
        {"anchors": {"ab": {"since": "2026-01-01T00:00:00+00:00"}}},
        {"anchors": {"X" * 64: {"since": "2026-01-01T00:00:00+00:00"}}},
        {"anchors": {OLD_ID: {}}},
        {"anchors": {OLD_ID: []}},
        {"anchors": {OLD_ID: {"since": None}}},
        {"anchors": {OLD_ID: {"since": "2026-01-01T00:00:00"}}},
        {"anchors": {OLD_ID: {"since": "2026-01-01T00:00:00+01:00"}}},
        {"anchors": {OLD_ID: {"since": "yesterday"}}},
        {"anchors": {OLD_ID: {"drop_after": "2026-01-01T00:00:00+00:00"}}},
        {"anchors": {OLD_ID: {**WHOLE["anchors"][OLD_ID], "more": 1}}},
        {"dropped": {"ab": "2026-01-01T00:00:00+00:00"}},
        {"dropped": {"f" * 64: 7}},
        {"dropped": {f"{n:064x}": "2026-01-01T00:00:00+00:00" for n in range(65)}},
        {"dropped": "x" * 70_000},
    ],
    ids=[f"change {n}" for n in range(15)],
)
def test_what_are_no_dates_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        trust_of(json.dumps(WHOLE | change), ROOTS, now=NOW)


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", "null", "[" * 4000, '"a"', "{", "NaN"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        trust_of(text, ROOTS, now=NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@reaches(read=5)
@given(st.sampled_from(["anchors", "dropped", "x", OLD_ID, NEW_ID]), JSON)
def test_no_value_in_any_place_does_anything_else(place: str, value: object) -> None:
    changed = json.loads(json.dumps(WHOLE))
    (changed["anchors"] if place in {OLD_ID, NEW_ID} else changed)[place] = value
    try:
        trust = trust_of(json.dumps(changed), ROOTS, now=NOW)
    except LocalProtocolError:
        return
    reached("read")
    assert trust_of(trust_text(trust), ROOTS, now=NOW) == trust
