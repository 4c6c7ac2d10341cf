"""Audit files are read from their end, with those that they were rotated to."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_transports.service.audit import audit_files, entries_of, line_of, reading
from tests.reached import reached, reaches


def entry(number: int, **more: object) -> dict[str, object]:
    return {"v": 1, "event": "refused", "number": number, **more}


def write(path: Path, numbers: Sequence[int], end: bytes = b"") -> None:
    data = b"".join(line_of(entry(number)) for number in numbers) + end
    if path.suffix == ".gz":
        data = gzip.compress(data)
    path.write_bytes(data)


def numbers(path: Path, limit: int = 1000, needles: Sequence[str] = ()) -> list[object]:
    return [
        each["number"] for each in entries_of(audit_files(path), lambda _: True, limit, needles)
    ]


def test_the_newest_entry_is_the_first(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, range(5))
    assert numbers(path) == [4, 3, 2, 1, 0]
    assert numbers(path, 2) == [4, 3]


def test_rotated_files_follow_the_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, [9])
    write(tmp_path / "audit.jsonl.1", [7, 8])
    write(tmp_path / "audit.jsonl.2.gz", [5, 6])
    write(tmp_path / "audit.jsonl.10", [4])
    write(tmp_path / "audit.jsonl-20260102.gz", [2, 3])
    write(tmp_path / "audit.jsonl-20260101", [1])
    for other in ("audit.jsonl.bak", "audit.jsonl.1.txt", "audit.jsonlx", "other.jsonl.1"):
        write(tmp_path / other, [0])
    assert numbers(path) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert numbers(path, 4) == [9, 8, 7, 6]
    path.unlink()
    assert numbers(path, 1) == [8]


def test_a_name_is_no_pattern(tmp_path: Path) -> None:
    path = tmp_path / "a[b]*.jsonl"
    write(path, [1])
    write(tmp_path / "a[b]*.jsonl.1", [0])
    assert numbers(path) == [1, 0]


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert audit_files(tmp_path / "audit.jsonl") == ()


DEEP: Final = b"[" * 1000 + b"]" * 1000


@pytest.mark.parametrize(
    "spoilt",
    [
        b'{"v":1,"event":"ref',
        b"\x00" * 4096,
        b"\xff\xfe",
        b"[1]\n",
        b'{"v":1}\n',
        b"\n\n",
        pytest.param(b"[" * 4000 + b"\n", id="opened 4000 times"),
        pytest.param(b'{"event":"refused","number":9,"x":%s}\n' % DEEP, id="deep"),
        b'{"event":"refused","number":9,"x":{"y":{"z":{}}}}\n',
        pytest.param(b'{"event":"refused","number":9,"x":"%s"}\n' % (b"x" * 8192), id="long"),
    ],
)
def test_what_is_no_entry_is_passed_over(tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, [1, 2], end=spoilt)
    assert numbers(path) == [2, 1]
    path.write_bytes(spoilt + b"\n" + line_of(entry(3)))
    assert numbers(path) == [3]


def test_a_compressed_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl.1.gz"
    write(path, range(2000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = numbers(tmp_path / "audit.jsonl", 5000)
    assert 0 < len(found) < 2000
    assert found == list(range(len(found)))[::-1]


def test_a_compressed_file_that_is_damaged_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, [2000])
    write(tmp_path / "audit.jsonl.1.gz", range(2000))
    damaged = bytearray((tmp_path / "audit.jsonl.1.gz").read_bytes())
    damaged[len(damaged) // 2 :] = b"\xff" * 100
    (tmp_path / "audit.jsonl.1.gz").write_bytes(damaged)
    (tmp_path / "audit.jsonl.2.gz").write_bytes(b"not compressed")
    write(tmp_path / "audit.jsonl.3", [-1])
    found = numbers(path, 5000)
    assert (found[0], found[-1]) == (2000, -1)


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    os.mkfifo(path)  # who opens it to read waits for a writer
    (tmp_path / "audit.jsonl.1").mkdir()
    write(tmp_path / "audit.jsonl.2", [1])
    assert audit_files(path) == (tmp_path / "audit.jsonl.2",)
    assert numbers(path) == [1]


def test_a_line_of_many_blocks_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, [1], end=b"\x00" * 20_000 + b"\n" + line_of(entry(2)))
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1000)
    assert numbers(path) == [2, 1]


def test_a_needle_is_found_in_any_case_and_as_json_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = [entry(1, user='Al "\u00e9"'), entry(2, user="bob"), entry(3, code="x/al")]
    path.write_bytes(b"".join(map(line_of, lines)))
    (tmp_path / "audit.jsonl.1.gz").write_bytes(gzip.compress(b"".join(map(line_of, lines))))
    assert numbers(path, needles=['aL "\u00e9"']) == [1, 1]
    assert numbers(path, needles=["bob", "X/AL"]) == [3, 2, 3, 2]


@reaches(several=50, cut=10)
@given(
    sizes=st.lists(st.integers(0, 400), max_size=60),
    block=st.integers(512, 2048),
    torn=st.integers(0, 40),
)
def test_blocks_of_any_size_give_each_line_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], block: int, torn: int
) -> None:
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    data = b"".join(line_of(entry(number, pad="x" * size)) for number, size in enumerate(sizes))
    path.write_bytes(data[: len(data) - torn])
    whole = data[: len(data) - torn].count(b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK_BYTES", block)
        found = numbers(path)
    if len(data) > block:
        reached("several")
    if torn and sizes:
        reached("cut")
    # A last line without its line feed may be whole all the same.
    assert found[-whole:] == list(range(whole))[::-1] if whole else len(found) <= 1
