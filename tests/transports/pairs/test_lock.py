"""One process at a time: who holds the lock, and when it is free again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from est_transports.pairs import PairDirectory, PairError
from tests.law.sources import ROOT
from tests.transports.pair_material import filled

HOLDS = """
import signal, sys
from est_transports.pairs import PairDirectory
with PairDirectory.open(sys.argv[1], holder="est agent"):
    print("holds it", flush=True)
    signal.pause()
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    """Return a process that holds the lock by now."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds it\n"
    return process


def test_another_process_is_named_and_its_lock_dies_with_it(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    with _holder(tmp_path) as process:
        try:
            named = rf"lock: process {process.pid} \(est agent\) works in this directory$"
            with pytest.raises(PairError, match=rf"^pair/locked: .*{named}"):
                PairDirectory.open(tmp_path)
            assert PairDirectory.look(tmp_path).holder == f"process {process.pid} (est agent)"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with PairDirectory.open(tmp_path) as pairs:  # at once
            assert pairs.running is not None
    assert (tmp_path / "lock").exists()


def test_one_process_does_not_hold_it_twice(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        with pytest.raises(PairError, match=rf"^pair/locked: .*: process {os.getpid()} works"):
            PairDirectory.open(tmp_path)
        assert pairs.running is not None
        assert PairDirectory.look(tmp_path).holder == f"process {os.getpid()}"
    assert PairDirectory.look(tmp_path).holder == ""


@pytest.mark.parametrize(
    "text, shown",
    [
        (b"", "another process"),
        (b"99999999999999999999999 x", "another process"),
        (b"x y", "another process"),
        (b"1 init\n", r"process 1 \(init\)"),
        (b"1 \x1b[31ma\xff\n", r"process 1 \(\[31ma\ufffd\)"),
    ],
)
def test_what_the_file_says_is_shown_safely_and_is_no_part_of_the_lock(
    tmp_path: Path, text: bytes, shown: str
) -> None:
    with PairDirectory.open(filled(tmp_path, 1)):
        (tmp_path / "lock").write_bytes(text)
        with pytest.raises(PairError, match=rf"^pair/locked: .*: {shown} works"):
            PairDirectory.open(tmp_path)
    (tmp_path / "lock").write_bytes(text)
    PairDirectory.open(tmp_path).close()


def test_a_lock_file_that_was_replaced_meanwhile_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever locked the old file would be alone with it."""
    path = filled(tmp_path, 1) / "lock"
    real, opened = os.open, list[int]()

    def open_(name: str | Path, *more: int, **named: int) -> int:
        descriptor = real(name, *more, **named)
        if name == "lock":
            if not opened:
                path.unlink()
            opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", open_)
    with PairDirectory.open(tmp_path), pytest.raises(PairError, match=r"^pair/locked"):
        PairDirectory.open(tmp_path)


def test_a_lock_that_cannot_be_signed_is_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with PairDirectory.open(filled(tmp_path, 1)), pytest.raises(PairError, match=r"^pair/locked"):
        PairDirectory.open(tmp_path)


def test_a_program_that_is_started_does_not_inherit_it(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1)):
        sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with sleeper:
        PairDirectory.open(tmp_path).close()


def test_a_lock_that_is_another_file_too_is_left_as_it_is(tmp_path: Path) -> None:
    """Whoever may write in the directory could have any file emptied, and given to its owner."""
    other, directory = tmp_path / "other", filled(tmp_path / "pairs-of-us", 1)
    other.write_text("of somebody")
    other.chmod(0o640)
    (directory / "lock").unlink()
    os.link(other, directory / "lock")
    with pytest.raises(PairError, match=r"^pair/foreign: .*/lock: is another file too"):
        PairDirectory.open(directory)
    assert other.read_text() == "of somebody"
    assert other.stat().st_mode & 0o777 == 0o640
