"""The Python programs on the pages are as well typed as what they use."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest

from est_core import ClientEvent
from tests.conftest import kept_from_run_to_run
from tests.docs.api_page import MODULES, names
from tests.docs.pages import ROOT, Block, blocks, pages

Checker = Callable[..., tuple[int, str]]

PROGRAMS = [block for page in pages() for block in blocks(page) if block.language == "python"]


def test_programs_have_names_of_their_own() -> None:
    names = [program.rest for program in PROGRAMS]
    assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.rest))
def test_programs_use_public_names_only(program: Block) -> None:
    """So what a page builds, its transports among it, anybody can build from the pages alone."""
    imported = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(program.text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("est_")
        for alias in node.names
    ]
    public = {module: names(module) for module in chain.from_iterable(MODULES.values())}
    assert [each for each in imported if each[1] not in public.get(str(each[0]), ())] == []


def test_a_transport_of_ones_own_takes_some_seventy_lines() -> None:
    text = next(program.text for program in PROGRAMS if program.rest == "transport.py")
    assert len([line for line in text.splitlines() if line.strip()]) < 70


def test_a_coap_client_over_a_dtls_of_ones_own_takes_less_than_a_hundred_lines() -> None:
    text = next(program.text for program in PROGRAMS if program.rest == "coap_enroll.py")
    assert len([line for line in text.splitlines() if line.strip()]) < 100


def test_an_operation_of_ones_own_takes_less_than_eighty_lines() -> None:
    text = next(program.text for program in PROGRAMS if program.rest == "crls.py")
    assert len([line for line in text.splitlines() if line.strip()]) < 80


@pytest.fixture(scope="module")
def checker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checker:
    """A strict type check of programs, which returns the exit code and what was found."""
    pytest.importorskip("mypy", reason="it comes with the extra dev")
    kept = kept_from_run_to_run(request.config)
    cache = kept.mkdir("mypy") if kept else tmp_path_factory.mktemp("mypy")

    def check(place: Path, *programs: tuple[str, str]) -> tuple[int, str]:
        for name, text in programs:
            (place / name).write_text(text, "utf-8")
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache)]
        config = ["--config-file", str(ROOT / "pyproject.toml")]
        result = subprocess.run(
            [*command, *config, *(name for name, _ in programs)],
            cwd=place,
            env={**os.environ, "MYPYPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return result.returncode, result.stdout + result.stderr

    return check


def test_programs_pass_a_strict_type_check(checker: Checker, tmp_path: Path) -> None:
    code, found = checker(tmp_path, *((program.rest, program.text) for program in PROGRAMS))
    assert code == 0, found


def test_a_match_over_events_that_forgets_one_does_not_pass(
    checker: Checker, tmp_path: Path
) -> None:
    text = next(program.text for program in PROGRAMS if program.rest == "every_event.py")
    lines = text.splitlines(keepends=True)
    begin = next(number for number, line in enumerate(lines) if "def of_client" in line)
    cases = [number for number, line in enumerate(lines) if line.startswith("        case ")]
    events = [number for number in cases if number > begin and "case _" not in lines[number]]
    assert len(events) == len(get_args(ClientEvent))
    forgetful = [
        (f"without_{number}.py", "".join(lines[:number] + lines[number + 2 :])) for number in events
    ]
    code, found = checker(tmp_path, *forgetful)
    assert code == 1
    assert [name for name, _ in forgetful if f"{name}:" not in found] == []
    assert found.count('"assert_never"') == len(forgetful), found
