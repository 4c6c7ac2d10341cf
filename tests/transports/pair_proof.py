"""Shows that no pair is lost: `python -m tests.transports.pair_proof`, minutes; `--short`, seconds.

`--without-syncs` leaves each fsync out once and says whether the power losses show that it is
missed: the proof of the proof.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from tests import in_memory
from tests.transports.pair_kills import kill_at_each_point, kill_at_random, refuses_a_mixed_pair
from tests.transports.pair_model import LIFE, SHORT_LIFE
from tests.transports.pair_power import (
    LostError,
    PowerLosses,
    lose_power_after_kills,
    lose_power_in,
)


def _kills(place: Path, *, is_short: bool, times: int, seed: int) -> None:
    refuses_a_mixed_pair(_fresh(place) / "pairs")
    kills = kill_at_each_point(_fresh(place), SHORT_LIFE if is_short else LIFE)
    print(f"killed at {kills} points: every time a working pair", flush=True)
    taken, cut = kill_at_random(_fresh(place) / "pairs", times, seed)
    print(
        f"killed {times} times at random in {taken} steps, {cut} of them cut but whole", flush=True
    )


def _power(place: Path) -> None:
    losses = PowerLosses(_fresh(place), max_states=64)
    lose_power_in(losses)
    print(f"lost power in {losses.looked_at} states, {losses.different} different", flush=True)
    losses = PowerLosses(_fresh(place), max_states=16)
    lose_power_after_kills(losses)
    print(f"and after kills in {losses.looked_at}, {losses.different} different", flush=True)


def _without_syncs(place: Path) -> None:
    whole = PowerLosses(_fresh(place), max_states=2)
    lose_power_in(whole)
    lose_power_after_kills(PowerLosses(_fresh(place), max_states=2), ())
    for sync in sorted(whole.syncs):
        print(f"{sync}: {_missed(place, sync)}", flush=True)


def _missed(place: Path, sync: str) -> str:
    for name, lose in (("a step", lose_power_in), ("a kill", lose_power_after_kills)):
        try:
            lose(PowerLosses(_fresh(place), max_states=16, without=sync))
        except LostError as exc:
            return f"is missed in {name}: {str(exc)[:90]}"
    return "IS NOT MISSED"


def _fresh(place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def main() -> None:
    """Show what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a short life, and 40 kills")
    parser.add_argument("--without-syncs", action="store_true")
    parser.add_argument("--times", type=int, default=1000, help="of kills at random")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=in_memory.place()) as name:
        place = Path(name) / "place"
        if given.without_syncs:
            _without_syncs(place)
            return
        times = min(given.times, 40) if given.short else given.times
        _kills(place, is_short=given.short, times=times, seed=given.seed)
        if not given.short:
            _power(place)


if __name__ == "__main__":
    main()
