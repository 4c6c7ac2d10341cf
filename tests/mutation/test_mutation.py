"""The mutants are what they say, and take effect in functions that are there already."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutation import replacement
from tests.mutation.operators import Mutant, mutants_of, mutated_module, sampled
from tests.mutation.reasons import Reason
from tests.mutation.results import SURVIVED, Results, report

SOURCE = '''"""A module."""
import hmac
from functools import lru_cache


def allowed(age: int, known: bool) -> bool:
    """Return whether: a docstring == another is no comparison."""
    limit: int | None = 18
    if age < 18:
        raise ValueError("too young")
    return known and age <= 99


class Door:
    def opens(self, given: bytes, wanted: bytes) -> bool:
        return hmac.compare_digest(given[:4], wanted)


class Gate(Door):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def opener(self, limit: int) -> object:
        wanted = self.key

        def opens(given: str, age: int) -> bool:
            return given == wanted and age >= limit

        return opens, lambda given: given == wanted or bool(limit)


@lru_cache(maxsize=8)
def grown(age: int) -> bool:
    return age >= 18
'''


def shown(function: str) -> set[tuple[str, str]]:
    """What becomes of what in a function of SOURCE."""
    mutants = mutants_of(Path("door.py"), SOURCE)
    return {(each.was, each.now) for each in mutants if each.function == function}


def test_conditions_comparisons_and_protections_are_changed() -> None:
    assert shown("allowed") >= {
        ("age < 18", "age <= 18"),
        ("age < 18", "age >= 18"),
        ("raise ValueError('too young')", "pass"),
        ("known and age <= 99", "known or age <= 99"),
        ("known and age <= 99", "known"),
        ("known and age <= 99", "age <= 99"),
        ("return known and age <= 99", "return True"),
        ("18", "19"),
    }
    assert shown("Door.opens") >= {
        ("hmac.compare_digest(given[:4], wanted)", "True"),
        (":4", ":"),
    }


def test_texts_and_types_are_left_alone() -> None:
    assert not any("docstring" in was or was == "'too young'" for was, _ in shown("allowed"))
    assert not any("None" in was for was, _ in shown("allowed"))


def test_each_mutant_has_a_key_that_stays_until_its_function_changes() -> None:
    before = {each.key: each for each in mutants_of(Path("door.py"), SOURCE)}
    assert len(before) == len(list(mutants_of(Path("door.py"), SOURCE)))
    elsewhere = SOURCE.replace("import hmac", "import hmac\nimport re")
    assert {each.key for each in mutants_of(Path("door.py"), elsewhere)} == set(before)
    changed = SOURCE.replace("18", "21")
    left = {each.key for each in mutants_of(Path("door.py"), changed)} & set(before)
    assert {before[key].function for key in left} == {"Door.opens", "Gate.__init__", "Gate.opener"}


def test_a_sample_stays_the_same_and_in_order() -> None:
    every = list(mutants_of(Path("door.py"), SOURCE))
    some = sampled(Path("door.py"), SOURCE, 5)
    assert [each for each in every if each in some] == some
    assert len(some) == 5
    assert some == sampled(Path("door.py"), SOURCE, 5)
    assert sampled(Path("door.py"), SOURCE, None) == sampled(Path("door.py"), SOURCE, 999) == every


def imported(tmp_path: Path) -> ModuleType:
    """SOURCE as a module of this process."""
    path = tmp_path / "door.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("door", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def one(was: str, now: str) -> Mutant:
    """The mutant of SOURCE that turns one into the other."""
    (found,) = (
        each for each in mutants_of(Path("door.py"), SOURCE) if (each.was, each.now) == (was, now)
    )
    return found


def test_a_mutant_takes_effect_where_a_function_was_taken_before(tmp_path: Path) -> None:
    door = imported(tmp_path)
    allowed, path = door.allowed, tmp_path / "door.py"
    assert replacement.apply(ast.parse(SOURCE), path) == 0
    with pytest.raises(ValueError, match="too young"):
        allowed(17, known=True)
    mutant = one("raise ValueError('too young')", "pass")
    assert replacement.apply(mutated_module(SOURCE, mutant), path) == 1
    assert allowed(17, known=True)
    assert not allowed(100, known=True)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("super().__init__()", "pass"),
        ("given == wanted and age >= limit", "given == wanted"),
        ("given == wanted and age >= limit", "age >= limit"),
        ("given == wanted or bool(limit)", "bool(limit)"),
    ],
)
def test_a_function_that_uses_fewer_names_of_others_is_changed_too(
    tmp_path: Path, was: str, now: str
) -> None:
    gate = imported(tmp_path).Gate("key")
    opens, opens_at_all = gate.opener(18)
    assert replacement.apply(mutated_module(SOURCE, one(was, now)), tmp_path / "door.py") >= 1
    assert opens("key", 18)
    assert opens_at_all("key")
    assert opens("key", 17) is (now == "given == wanted")
    assert opens("other", 18) is (now == "age >= limit")
    again, _ = gate.opener(18)
    assert again("other", 18) is (now == "age >= limit")


def test_what_the_unchanged_code_left_in_a_cache_is_forgotten(tmp_path: Path) -> None:
    door, path = imported(tmp_path), tmp_path / "door.py"
    assert door.grown(18)
    replacement.apply(mutated_module(SOURCE, one("return age >= 18", "return False")), path)
    assert replacement.forget(("door",))
    assert not door.grown(18)


def test_results_are_kept_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "door.py").write_text(SOURCE)
    monkeypatch.setattr("tests.mutation.results.ROOT", tmp_path)
    mutants = list(mutants_of(Path("door.py"), SOURCE))
    results = Results(tmp_path / "state" / "results.jsonl")
    for mutant in mutants[1:]:
        results.add(mutant, "killed", "a test")
    results.add(mutants[0], SURVIVED, "")
    assert mutants[0].key in capsys.readouterr().out
    again = Results(tmp_path / "state" / "results.jsonl")
    assert again.of(mutants[0]) == SURVIVED
    lines = list(report([Path("door.py")], again, {}))
    count = len(mutants)
    score = f"{100 * (count - 1) / count:.0f} %"
    assert f"| `door.py` | {count} | {count} | {count - 1} | 0 | 0 | {score} |" in lines
    assert lines[-1].startswith(mutants[0].key)
    same = Reason(text="it is the same", equivalent=True)
    answered = list(report([Path("door.py")], again, {mutants[0].key: same}))
    assert f"| {count - 1} | 1 | 0 | 100 % |" in answered[2]
    assert answered[-1] == ""
