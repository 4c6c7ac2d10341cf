"""What is kept of runs still runs, is needed, and is small; lines that are reached are counted."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from est_core import RemoteProtocolError
from est_core.codec.multipart_core import parse_multipart_core
from fuzz.__main__ import main
from fuzz.coverage import Lines
from fuzz.kept import read_kept, write_kept
from fuzz.minimal import minimal, needed, reached_by
from fuzz.session import Plan, Session, broken_on
from fuzz.target import Reach, Result, Target, accepted, refused
from fuzz.targets import TARGETS

MODULE: Final = "est_core.codec.multipart_core"
BYTES_MAX: Final = 8192
"""Of all inputs that are kept of one target."""


def parts(data: bytes) -> Result:
    """A body is refused or read."""
    try:
        found = parse_multipart_core(data, max_bytes=100)
    except RemoteProtocolError as error:
        return refused(error)
    return accepted(f"{len(found)}")


def a_target(file: Path | None = None) -> Target:
    return Target(
        run=parts, seeds=lambda: [b"\x80", b"\x82\x01\x41x"], modules=(MODULE,), kept=file
    )


def test_lines_are_those_of_functions_and_counted_once_they_were_reached() -> None:
    lines = Lines((MODULE,))
    first = lines.of(lambda: parts(b"\x80"))
    assert first
    assert first < lines.all
    assert lines.of(lambda: parts(b"\x80")) == first
    assert first < lines.of(lambda: parts(b"\x82\x01\x41x"))
    assert lines.reached == set()
    for data in (b"\x80", b"\x80", b"\x82\x01\x41x"):
        with lines.traced():
            parts(data)
    assert first < lines.reached < lines.all
    files = {file for file, _ in lines.all}
    assert [Path(file).stem for file in files] == ["multipart_core"]


def test_whoever_traced_before_does_so_afterwards() -> None:
    def other(_frame: FrameType, _event: str, _argument: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(other)
    try:
        with Lines((MODULE,)).traced():
            parts(b"\x80")
        assert sys.gettrace() is other
    finally:
        sys.settrace(before)


def test_a_run_counts_its_lines_and_keeps_what_reached_new_ones() -> None:
    lines = Lines((MODULE,))
    session = Session(a_target(), Plan(runs=4), report=print, lines=lines)
    for data in (b"\x80", b"\x80", b"", b"\x82\x01\x41x"):
        session.attempt(data)
    assert session.gained == [b"\x80", b"", b"\x82\x01\x41x"]
    assert session.statistics.lines == len(lines.reached) > 0
    assert f"{len(lines.reached)} of {len(lines.all)} lines" in session.statistics.line(a_target())


def test_a_run_of_several_targets_ends_with_the_lines_that_they_reached_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    targets = {"one": a_target(), "two": a_target()}
    assert main(["all", "--runs", "2"], targets=targets) == 0
    *each, in_all = capsys.readouterr().out.splitlines()
    assert len(each) == 2
    reached = {line.rpartition(", ")[2] for line in each}
    share = in_all.removeprefix("in all: ").partition(", ")
    assert reached == {share[0]}
    assert main(["one", "--runs", "2"], targets=targets) == 0
    assert "in all" not in capsys.readouterr().out


def test_what_is_kept_is_small_reaches_all_and_is_the_same_every_time() -> None:
    target, lines = a_target(), Lines((MODULE,))
    candidates = (
        b"\x82\x19\xff\xff\x58\x20" + bytes(40),
        b"\x9f",
        b"\x82\x1a\0\1\0\0\xf6",
        b"\x00",
    )
    kept = minimal(target, lines, candidates)
    assert kept == minimal(target, lines, reversed(candidates))
    again = minimal(target, lines, kept)  # which goes on making them smaller
    assert sum(map(len, again)) <= sum(map(len, kept))
    assert sum(map(len, kept)) < sum(map(len, candidates))
    by_seeds = reached_by(target, lines, target.seeds())
    assert reached_by(target, lines, kept) | by_seeds == (
        reached_by(target, lines, candidates) | by_seeds
    )
    assert minimal(target, lines, target.seeds()) == ()


def test_an_input_that_reaches_nothing_of_its_own_is_not_needed() -> None:
    one, two, three = ("f", 1), ("f", 2), ("f", 3)
    reaching = {b"a": frozenset({one}), b"bb": frozenset({one, two}), b"ccc": frozenset({three})}
    assert set(needed(reaching)) == {b"bb", b"ccc"}
    assert set(needed({b"a": frozenset({one}), b"bb": frozenset({one})})) == {b"a"}


def test_minimise_writes_a_file_that_later_runs_start_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = a_target(tmp_path / "parts.txt")
    assert main(["parts", "--minimise", "--runs", "300"], targets={"parts": target}) == 0
    kept = read_kept(target.kept)
    said = capsys.readouterr().out
    assert said.startswith("parts: 300 executions in ")
    assert said.endswith(f"\nparts: {len(kept)} inputs, {sum(map(len, kept))} bytes kept\n")
    assert kept
    assert set(kept) < set(Session(target, Plan(), report=print).pool)
    write_kept(tmp_path / "parts.txt", ())
    assert read_kept(target.kept) == ()


def test_of_a_target_whose_inputs_do_not_repeat_themselves_nothing_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tls-server", "--minimise", "--runs", "1"]) == 0
    assert "nothing is kept" in capsys.readouterr().out


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_still_runs_and_is_needed(name: str) -> None:
    target = TARGETS[name]
    kept = read_kept(target.kept)
    assert target.is_repeatable or not kept
    assert sum(map(len, kept)) <= BYTES_MAX
    assert len(set(kept) - set(target.seeds())) == len(kept)
    lines = Lines(target.modules)
    reaching = {}
    for each in kept:
        assert isinstance(broken_on(target, each), Result)
        reaching[each] = lines.of(lambda data=each: broken_on(target, data))  # type: ignore[misc]
    # A change of the code leaves one or another without a line of its own; many are too many.
    assert len(needed(reaching)) >= 0.75 * len(kept)


def test_what_is_kept_comes_past_the_gates_too() -> None:
    results = [
        broken_on(target, each) for target in TARGETS.values() for each in read_kept(target.kept)
    ]
    reaches = [result.reach for result in results if isinstance(result, Result)]
    assert len(reaches) > 100
    assert sum(reach is not Reach.STOPPED for reach in reaches) > len(reaches) / 2
