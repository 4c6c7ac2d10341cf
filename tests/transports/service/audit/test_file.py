"""The audit file as several processes write it: rotated, full, replaced, and killed in between."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from est_transports.service.audit import AuditFile, AuditFileError

WRITER: Final = """
import sys
from pathlib import Path
from est_transports.service.audit import AuditFile
path, name, count, rotate = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
file = AuditFile(path, rotate_bytes=rotate, keep=1000)
sys.stdin.readline()  # all begin together
for number in range(count):
    line = f"{name} {number} ".encode() + b"x" * (number % 700) + b"\\n"
    file.append(line, durable=number % 50 == 0)
    if number == 0:
        print("begun", flush=True)
"""
BEFORE: Final = "before\n"


def writers(path: Path, *, count: int, rotate: int = 0) -> list[subprocess.Popen[str]]:
    """Start four that write so many lines each, as soon as each gets a line."""
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name, str(count), str(rotate)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in "abcd"
    ]  # fmt: skip


def begin(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def lines_of(directory: Path) -> Iterator[str]:
    for path in directory.glob("audit.jsonl*"):
        text = path.read_text("ascii")
        assert text.endswith("\n")
        yield from filter(None, text.splitlines())


def check_whole(lines: list[str], count: int) -> None:
    """Each line of each writer is there once, as it was written."""
    expected = {
        f"{name} {number} {'x' * (number % 700)}" for name in "abcd" for number in range(count)
    }
    assert len(lines) == len(expected)
    assert set(lines) == expected


def test_a_line_is_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text(BEFORE)
    file = AuditFile(path)
    file.append(b"one\n")
    file.append(b"two\n", durable=True)
    file.sync()
    file.close()
    file.append(b"three\n")
    assert path.read_text() == "before\none\ntwo\nthree\n"


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    AuditFile(tmp_path / "audit.jsonl").append(b"x\n")
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.append(b"whole\n")
    with path.open("ab") as other:
        other.write(b'{"torn')
    file.append(b"next\n")
    assert path.read_text() == 'whole\n{"torn\nnext\n'


@pytest.mark.parametrize("moved", ["renamed", "removed", "replaced"])
def test_a_file_that_was_rotated_is_not_written_any_more(tmp_path: Path, moved: str) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.append(b"first\n")
    if moved == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "audit.jsonl.1")
    if moved == "replaced":
        path.write_bytes(b"")
    file.append(b"second\n", durable=True)
    assert path.read_text() == "second\n"


def test_a_large_file_is_rotated_and_the_oldest_removed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path, rotate_bytes=4, keep=2)
    for number in range(5):
        file.append(f"line{number}\n".encode())
    found = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert found == {
        "audit.jsonl": "line4\n",
        "audit.jsonl.1": "line3\n",
        "audit.jsonl.2": "line2\n",
    }


def test_a_file_that_another_has_rotated_is_not_rotated_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    one, other = (AuditFile(path, rotate_bytes=6, keep=9) for _ in range(2))
    one.append(b"first\n")
    other.append(b"second\n")
    one.append(b"third\n")
    assert (tmp_path / "audit.jsonl.1").read_text() in ("first\n", "second\n")
    assert sorted(lines_of(tmp_path)) == ["first", "second", "third"]


def test_who_waited_while_another_rotated_does_not_rotate_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rotated = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    path.write_text("old\n")

    def another(_descriptor: int, _operation: int) -> None:
        path.rename(rotated)
        path.write_text("x\n")

    monkeypatch.setattr(fcntl, "flock", another)
    AuditFile(path, rotate_bytes=4, keep=1).append(b"y\n")
    assert (path.read_text(), rotated.read_text()) == ("x\ny\n", "old\n")


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "nowhere"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "audit.jsonl"
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = tmp_path / "nowhere" / "audit.jsonl"
    with pytest.raises(AuditFileError, match=r"audit\.jsonl: "):
        AuditFile(path).append(b"x\n")
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_an_error_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.append(b"first\n")
    write = os.write
    left = [3]

    def full(descriptor: int, data: bytes) -> int:
        room = left.pop() if left else 0
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:room])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(AuditFileError, match="No space left on device"):
        file.append(b"second\n")
    monkeypatch.setattr(os, "write", write)
    AuditFile(path).append(b"third\n")
    assert path.read_text() == "first\nsec\nthird\n"


def test_who_waits_for_the_disk_takes_others_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file = AuditFile(tmp_path / "audit.jsonl")
    for _ in range(5):
        file.append(b"x\n")
    file.append(b"y\n", durable=True)
    file.sync()  # nothing new
    assert len(synced) == 1


def test_threads_mix_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path, rotate_bytes=2000, keep=1000)

    def write(name: str) -> None:
        for number in range(100):
            file.append(
                f"{name} {number} {'x' * (number % 700)}\n".encode(), durable=not number % 9
            )

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_whole(list(lines_of(tmp_path)), 100)


def test_a_file_that_cannot_be_synced_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    file = AuditFile(tmp_path / "audit.jsonl")
    file.append(b"x\n")
    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(AuditFileError, match="Input/output error"):
        file.append(b"y\n", durable=True)
    with pytest.raises(AuditFileError, match="Input/output error"):
        file.sync()


@pytest.mark.parametrize("rotate", [0, 20_000])
def test_processes_lose_and_mix_no_line_while_the_file_is_rotated(
    tmp_path: Path, rotate: int
) -> None:
    path = tmp_path / "audit.jsonl"
    processes = writers(path, count=400, rotate=rotate)
    begin(processes)
    moved = 0
    while any(process.poll() is None for process in processes):
        if not rotate and path.exists():  # as logrotate does, and tells nobody
            path.rename(path.with_name(f"audit.jsonl.{moved}"))
            moved += 1
    assert [process.wait() for process in processes] == [0] * 4
    assert moved or rotate
    check_whole(list(lines_of(tmp_path)), 400)
    for process in processes:
        process.communicate()


def test_a_killed_process_loses_nothing_that_was_on_the_disk_and_hurts_no_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.jsonl"
    processes = writers(path, count=2000)
    begin(processes)
    victim = processes[0]
    assert victim.stdout is not None
    assert victim.stdout.readline() == "begun\n"
    victim.send_signal(signal.SIGKILL)
    codes = [process.wait() for process in processes]
    assert codes[1:] == [0] * 3
    lines = list(lines_of(tmp_path))
    numbers = [int(line.split()[1]) for line in lines if line.startswith("a ")]
    assert numbers == list(range(len(numbers)))
    assert numbers
    for name in "bcd":
        assert sum(line.startswith(f"{name} ") for line in lines) == 2000
    for process in processes:
        process.communicate()
