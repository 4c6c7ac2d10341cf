"""The state of a certificate's life as text: what is written is read, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_core.life_cycle import Attempt, LifeCycleState, RenewalWindow, state_of, state_text
from tests.reached import reached, reaches

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 8000 * 365 * 86400).map(
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
ATTEMPTS = st.builds(Attempt, at=MOMENTS, wait_s=st.floats(0, 1e9))
WINDOWS = MOMENTS.flatmap(
    lambda start: st.builds(
        RenewalWindow, start=st.just(start), end=st.just(start + timedelta(seconds=1))
    )
)
STATES = st.builds(
    LifeCycleState,
    received_at=MOMENTS,
    seen_at=MOMENTS,
    place=st.floats(0, 1),
    age_s=st.floats(0, 1e12),
    failures=st.integers(0, 1_000_000),
    failure=st.sampled_from(["", "connect/refused", "é\n"]),
    pending=st.booleans(),
    new_key=st.booleans(),
    attempt=st.none() | ATTEMPTS,
    info=st.none() | ATTEMPTS,
    trust=st.none() | ATTEMPTS,
    window=st.none() | WINDOWS,
)


@reaches(window=10)
@given(STATES)
def test_what_is_written_is_read(state: LifeCycleState) -> None:
    text = state_text(state)
    assert "\n" not in text
    assert state_of(text) == state
    if state.window:
        reached("window")


WHOLE = json.loads(state_text(LifeCycleState(received_at=NOW, seen_at=NOW, place=0.5)))


@pytest.mark.parametrize(
    "change",
    [
        {"place": 1.1},
        {"place": "0.5"},
        {"place": True},
        {"age_s": -1},
        {"age_s": float("inf")},
        {"failures": -1},
        {"failures": 1.5},
        {"failure": None},
        {"pending": 1},
        {"new_key": 1},
        {"new_key": None},
        {"received_at": "yesterday"},
        {"received_at": "2026-01-01T00:00:00"},
        {"received_at": "2026-01-01T00:00:00+01:00"},
        {"seen_at": 7},
        {"attempt": {"at": "2026-01-01T00:00:00+00:00", "wait_s": -1}},
        {"attempt": {"at": "2026-01-01T00:00:00+00:00"}},
        {"attempt": []},
        {"attempt": "soon"},
        {"window": {"start": "2026-01-02T00:00:00+00:00", "end": "2026-01-01T00:00:00+00:00"}},
        {"failure": "x" * 5000},
    ],
    ids=str,
)
def test_what_is_no_state_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        state_of(json.dumps(WHOLE | change))


def test_a_state_of_an_earlier_release_demands_no_new_key() -> None:
    older = {name: value for name, value in WHOLE.items() if name != "new_key"}
    assert state_of(json.dumps(older)) == state_of(json.dumps(WHOLE | {"new_key": False}))


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", "null", "[" * 4000, '"a"', "{", "NaN"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        state_of(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@reaches(object=30, known=10)
@given(
    st.dictionaries(st.sampled_from([*WHOLE, "attempt", "window", "x"]), JSON, max_size=2)
    | st.dictionaries(st.sampled_from(["age_s", "failures", "x"]), JSON, max_size=1)
)
def test_no_value_in_any_place_does_anything_else(changes: dict[str, object]) -> None:
    reached("object")
    try:
        state = state_of(json.dumps(WHOLE | changes))
    except LocalProtocolError:
        return
    reached("known")
    assert state_of(state_text(state)) == state
