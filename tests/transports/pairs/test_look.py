"""A look without the lock: all of one moment, or none of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from est_transports.pairs import PairDirectory, PairError, PairView
from tests.transports.pair_material import anchors, enroll, filled, material, renew


def _numbers(view: PairView) -> tuple[int | None, int | None]:
    known = {material(number).certificate: number for number in range(1, 5)}
    return (
        known[view.running.certificate] if view.running else None,
        known[view.previous.certificate] if view.previous else None,
    )


def test_a_look_finds_what_whoever_holds_the_lock_finds(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        enroll(pairs, 3)
        pairs.save_state("text")
        view = PairDirectory.look(tmp_path)
        assert (view.running, view.previous) == (pairs.running, pairs.previous)
        assert view.candidate == pairs.candidate
        assert (view.directory, view.state) == (tmp_path, "text")
        assert view.candidate is not None
        assert view.candidate.key is None
        assert view.running is not None
        assert view.running.key is None
        assert view.running.identity().certificate == material(2).certificate


def test_a_look_at_a_new_directory(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True):
        view = PairDirectory.look(tmp_path)
    assert (view.running, view.previous, view.candidate, view.state) == (None, None, None, "")


def test_a_damaged_pair_before_hides_nothing_of_the_one_in_use(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        (tmp_path / "current" / "pair.pem").write_bytes(b"")
        with pytest.raises(PairError):
            PairDirectory.look(tmp_path)
        pairs.roll_back()
        assert _numbers(PairDirectory.look(tmp_path)) == (1, None)


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path, 1, 2)

    def all_of_it() -> list[tuple[Path, int, int]]:
        found = [(path, path.lstat()) for path in sorted(tmp_path.rglob("*"))]
        return [(path, status.st_ino, status.st_ctime_ns) for path, status in found]

    before = all_of_it()
    PairDirectory.look(tmp_path)
    assert all_of_it() == before


def _between(patch: pytest.MonkeyPatch, steps: Iterator[object]) -> None:
    """Have a step taken before each file that is opened for reading."""
    real, busy = os.open, list[int]()

    def open_(name: str | Path, flags: int, *more: int, **named: int) -> int:
        if not busy and not flags & (os.O_CREAT | os.O_DIRECTORY):
            busy.append(1)
            next(steps, None)
            busy.clear()
        return real(name, flags, *more, **named)

    patch.setattr(os, "open", open_)


@pytest.mark.parametrize("wait", range(12))
def test_a_switch_in_the_middle_shows_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: int
) -> None:
    """Pair 1 is gone with the promotion, so that what was begun with it cannot be ended."""
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        enroll(pairs, 3)

        def steps() -> Iterator[object]:
            yield from range(wait)
            yield pairs.promote(anchors())

        _between(monkeypatch, steps())
        view = PairDirectory.look(tmp_path)
    assert (_numbers(view), view.candidate is None) in [((2, 1), False), ((3, 2), True)]


@pytest.mark.parametrize("wait", range(10))
def test_a_way_back_in_the_middle_shows_one_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: int
) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:

        def steps() -> Iterator[object]:
            yield from range(wait)
            yield pairs.roll_back()

        _between(monkeypatch, steps())
        view = PairDirectory.look(tmp_path)
    assert _numbers(view) in [(2, 1), (1, 2)]


def test_a_directory_that_changes_at_every_look_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:

        def steps() -> Iterator[object]:
            while True:
                yield pairs.roll_back()

        _between(monkeypatch, steps())
        with pytest.raises(PairError, match=r"^pair/busy"):
            PairDirectory.look(tmp_path)


def test_what_is_damaged_is_damaged_and_not_busy(tmp_path: Path) -> None:
    (filled(tmp_path, 1) / "current" / "cert.pem").write_bytes(b"")
    with pytest.raises(PairError, match=r"^pair/damaged: .*cert.pem: is empty"):
        PairDirectory.look(tmp_path)


def test_a_candidate_is_seen_beside_a_first_pair(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        renew(pairs, 1)
        pairs.begin(material(2).key_pem, material(2).request)
        candidate = PairDirectory.look(tmp_path).candidate
        assert candidate == pairs.candidate
