"""Every error code has one entry in the table, and a test that expects it.

What counts as a test is judged by the sources of the tests and not by what a run recorded: a run
may be of one file, and what a child process raised is not seen from here. A code counts where a
test expects it (`_Expected`), not where a test hands it in.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from est_core import Limits
from est_core.error_codes import SECTIONS as CORE_SECTIONS
from est_core.error_codes import Audience, ErrorCode, table_key
from est_transports.cli import group
from est_transports.error_codes import ERROR_CODES, SECTIONS, find_error_code
from tests.law.sources import CORE, ROOT, TRANSPORTS, Source

CODE: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*/[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
INSIDE: Final = re.compile(r"(?<![\w/.-])[a-z][a-z0-9-]*/[a-z0-9-]+(?![\w/])")
"""A code in the middle of a text."""
NOT_AREAS: Final = frozenset({"application", "image", "message", "multipart", "text"})
"""First halves of media types, which look like error codes."""
ANY_STATUS: Final = "response/status-NNN"
IMPERATIVES: Final = frozenset(
    "add allow ask check correct encode end enroll fetch find give have keep leave let look make "
    "name nothing put raise read redirect repeat replace run send shorten show sign take try use "
    "wait write".split()
)
"""How a remedy begins, that all of them read alike."""
MAX_CHARS: Final = 180
ENTRIES: Final = tuple(entry for section in SECTIONS for entry in section.codes)


# What the sources give


def _given(source: Source) -> Iterator[tuple[str, str]]:
    """Yield (code, where) for every code that a module gives, wherever it stands.

    Not only the first arguments of errors: codes are also in tables and pass through functions.
    What is only compared with is not given.
    """
    aside = _texts_aside(source.tree)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Constant) or id(node) in aside:
            continue
        if not isinstance(node.value, str) or not CODE.fullmatch(node.value.rstrip("-")):
            continue
        if node.value.partition("/")[0] not in NOT_AREAS:
            yield _in_table(node.value), source.where(node)


def _texts_aside(tree: ast.Module) -> set[int]:
    """Return the ids of the constants that are docstrings, or that something is compared with."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            found.add(id(node.value))
        elif isinstance(node, ast.Compare):
            found.update(map(id, ast.walk(node)))
    return found


def _in_table(code: str) -> str:
    return ANY_STATUS if code == "response/status-" else table_key(code)


def _codes_of(sources: tuple[Source, ...]) -> dict[str, str]:
    return {
        code: where
        for source in sources
        if ".error_codes" not in source.name
        for code, where in _given(source)
    }


def test_the_codes_of_the_core_are_in_its_table_and_no_others() -> None:
    table = {entry.code for section in CORE_SECTIONS for entry in section.codes}
    given = _codes_of(CORE)
    assert {code: where for code, where in given.items() if code not in table} == {}
    assert sorted(table - set(given)) == [], "nothing gives these"


def test_the_codes_of_the_transports_are_in_theirs_and_no_others() -> None:
    core = {entry.code for section in CORE_SECTIONS for entry in section.codes}
    given = _codes_of(TRANSPORTS)
    assert {code: where for code, where in given.items() if code not in ERROR_CODES} == {}
    assert sorted(set(ERROR_CODES) - core - set(given)) == [], "nothing gives these"


def test_no_code_and_no_section_is_in_the_table_twice() -> None:
    codes = [entry.code for entry in ENTRIES]
    assert sorted(code for code in set(codes) if codes.count(code) > 1) == []
    titles = [section.title for section in SECTIONS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("source", CORE + TRANSPORTS, ids=lambda source: source.name)
def test_an_error_code_is_a_literal(source: Source) -> None:
    """One that is put together can be looked up by nobody."""
    built = [
        source.where(node)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "RemoteProtocolError"
        and node.args
        and isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
    ]
    assert built == []


# What the table says


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_an_entry_has_a_cause_and_a_remedy_in_the_style_of_all(entry: ErrorCode) -> None:
    for text in (entry.cause, entry.remedy):
        assert 0 < len(text) <= MAX_CHARS
        assert text == " ".join(text.split())
        assert not text.endswith(".")
        assert "|" not in text, "it would end a cell of the page"
        assert text.count("`") % 2 == 0
    assert entry.remedy.partition(" ")[0].rstrip(",;:") in IMPERATIVES
    assert entry.cause != entry.remedy
    assert entry.code.endswith("NNN") or CODE.fullmatch(entry.code)
    assert all(re.fullmatch(r"[2-5]\d\d|[2-5]\.\d\d", status) for status in entry.statuses)


def test_what_a_remedy_names_exists() -> None:
    options = set(_options(group))
    for entry in ENTRIES:
        for option in re.findall(r"--[a-z-]+", entry.remedy):
            assert option in options, entry.code
        for name in re.findall(r"`Limits\.(\w+)`", f"{entry.cause} {entry.remedy}"):
            assert hasattr(Limits(), name), entry.code


def _options(command: click.Command) -> Iterator[str]:
    for each in command.params:
        yield from each.opts
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _options(child)


def test_any_code_is_found_and_what_is_none_of_ours_is_not() -> None:
    assert find_error_code("response/status-404") is ERROR_CODES[ANY_STATUS]
    assert all(find_error_code(entry.code) is entry for entry in ENTRIES)
    assert {entry.audience for entry in ENTRIES} == set(Audience)
    for other in ("", "policy/no", "response/status-", "response/status-x", "csr"):
        assert find_error_code(other) is None


# What the tests expect


class _Expected(ast.NodeVisitor):
    """Collects the codes in asserts, in `pytest.raises`, in parameters and in tables of cases.

    A code that is an argument of another call is handed in by the test: that reaches nothing.
    """

    def __init__(self) -> None:
        self.codes: set[str] = set()
        self._around: list[ast.AST] = []

    def generic_visit(self, node: ast.AST) -> None:
        self._around.append(node)
        super().generic_visit(node)
        self._around.pop()

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and self._is_expected():
            self.codes.update(map(_in_table, INSIDE.findall(node.value)))

    def _is_expected(self) -> bool:
        if isinstance(self._around[-1], ast.Expr):
            return False
        if any(isinstance(node, ast.Assert) for node in self._around):
            return True
        calls = [node for node in self._around if isinstance(node, ast.Call)]
        names = [ast.unparse(call.func).rpartition(".")[2] for call in calls[-1:]]
        return set(names) <= {"raises", "parametrize", "param"}


def _expected_of(text: str) -> set[str]:
    visitor = _Expected()
    visitor.visit(ast.parse(text))
    return visitor.codes


def _test_files() -> Iterator[Path]:
    tests = ROOT / "tests"
    for path in tests.rglob("*.py"):
        if path.relative_to(tests).parts[0] not in ("law", "docs"):
            yield path


def test_every_code_is_expected_by_a_test() -> None:
    expected = set().union(*(_expected_of(path.read_text("utf-8")) for path in _test_files()))
    assert sorted(set(ERROR_CODES) - expected) == [], "no test expects these"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("assert refusal.code == 'csr/name'", True),
        ("assert refusal == Refusal(code='csr/name')", True),
        ("with pytest.raises(Refused, match='^csr/name: x'): pass", True),
        ("@pytest.mark.parametrize('code', ['csr/name'])\ndef f(): pass", True),
        ("CASES = {'two': (b'2', 'csr/name')}", True),
        ("exchange.fail('csr/name', 'text')", False),
        ("answers = {Asked: Deny(code='csr/name')}", False),
        ("@pytest.mark.parametrize('x', [Deny(code='csr/name')])\ndef f(): pass", False),
        ("def f():\n    'csr/name is refused'", False),
        ("assert 'csr/name-constraints' in text", False),
    ],
)
def test_a_code_counts_where_a_test_expects_it(text: str, expected: bool) -> None:
    assert ("csr/name" in _expected_of(text)) == expected
