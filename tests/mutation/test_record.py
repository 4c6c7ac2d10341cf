"""The record of runs, the reasons for survivors and the page made of both say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import page, record
from tests.mutation.operators import mutants_of
from tests.mutation.reasons import reasons
from tests.mutation.results import KILLED, SURVIVED, UNREACHED, Results

SOURCE = "def door(age: int) -> bool:\n    return age < 18\n"


def test_the_page_is_that_of_the_record_and_the_reasons() -> None:
    assert page.PAGE.read_text("utf-8") == page.page(), f"run: {page.COMMAND}"


def test_each_reason_is_of_a_mutant_that_the_record_has_as_unnoticed() -> None:
    unnoticed = {key for score in record.read().values() for key in score.unnoticed}
    assert reasons().keys() <= unnoticed


def test_a_second_reason_for_one_mutant_is_refused(tmp_path: Path) -> None:
    entry = '[[survivors]]\nequivalent = true\nreason = "same"\nkeys = ["abc"]\n'
    (tmp_path / "a.toml").write_text(entry)
    assert reasons(tmp_path)["abc"].equivalent
    (tmp_path / "b.toml").write_text(entry)
    with pytest.raises(ValueError, match="second reason for abc"):
        reasons(tmp_path)


def test_the_record_of_a_module_counts_and_names_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.mutation.record.ROOT", tmp_path)
    module = Path("house/door.py")
    (tmp_path / "house").mkdir()
    (tmp_path / module).write_text(SOURCE)
    mutants = list(mutants_of(module, SOURCE))
    results = Results(tmp_path / "results.jsonl")
    for mutant, status in zip(mutants, (KILLED, SURVIVED, UNREACHED), strict=False):
        results.add(mutant, status, "")
    assert record.keep([module], results, "2026-01-02", folder=tmp_path / "scores") == 1
    score = record.read(tmp_path / "scores")["house/door.py"]
    assert (score.mutants, score.tried, score.noticed) == (len(mutants), 3, 1)
    assert list(score.unnoticed) == [mutants[1].key, mutants[2].key]
    assert score.date == "2026-01-02"
