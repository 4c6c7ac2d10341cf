"""TOML tables: each type and range of a value, and what is said of keys that nobody asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from est_core import Fault, LocalProtocolError, RemoteProtocolError
from est_transports.toml.tables import (
    MAX_FILE_BYTES,
    Asked,
    ConfigError,
    TomlTable,
    read_toml,
)

WORDS: Final = {"one": 1, "two": 2}


def table(**content: object) -> TomlTable:
    """Return a table [here] of a file in /etc/est."""
    return TomlTable(Path("/etc/est/est.toml"), "here", content)


READERS: Final[dict[str, Callable[[TomlTable], object]]] = {
    "text": lambda each: each.text("key", "usual"),
    "optional_text": lambda each: each.optional_text("key"),
    "optional_lines": lambda each: each.optional_lines("key"),
    "texts": lambda each: each.texts("key", ("usual",)),
    "integer": lambda each: each.integer("key", 7, least=2, most=9),
    "seconds": lambda each: each.seconds("key", 1.5, most=60.0),
    "flag": lambda each: each.flag("key", True),
    "choice": lambda each: each.choice("key", WORDS, 1),
    "choices": lambda each: each.choices("key", WORDS, (1,)),
    "file": lambda each: each.file("key", "usual.pem"),
    "optional_file": lambda each: each.optional_file("key"),
    "files": lambda each: each.files("key"),
}

MISSING: Final[dict[str, object]] = {
    "text": "usual",
    "optional_text": None,
    "optional_lines": None,
    "texts": ("usual",),
    "integer": 7,
    "seconds": 1.5,
    "flag": True,
    "choice": 1,
    "choices": (1,),
    "file": Path("/etc/est/usual.pem"),
    "optional_file": None,
    "files": (),
}

TAKEN: Final[list[tuple[str, object, object]]] = [
    ("text", "x", "x"),
    ("optional_text", "x", "x"),
    ("optional_lines", "a\n b", "a\n b"),
    ("texts", [], ()),
    ("texts", ["x", "y"], ("x", "y")),
    ("integer", 2, 2),
    ("integer", 9, 9),
    ("seconds", 60, 60.0),
    ("seconds", 60.0, 60.0),
    ("seconds", 0.001, 0.001),
    ("seconds", 1, 1.0),
    ("flag", False, False),
    ("choice", "two", 2),
    ("choices", ["two", "one"], (2, 1)),
    ("choices", [], ()),
    ("file", "sub/x.pem", Path("/etc/est/sub/x.pem")),
    ("file", "/x.pem", Path("/x.pem")),
    ("optional_file", "x.pem", Path("/etc/est/x.pem")),
    ("files", ["a.pem", "/b.pem"], (Path("/etc/est/a.pem"), Path("/b.pem"))),
]

REFUSED: Final[list[tuple[str, object, str]]] = [
    ("text", 1, "is not a string"),
    ("text", "", "is empty or holds control characters"),
    ("text", "a\x1b", "is empty or holds control characters"),
    ("optional_text", False, "is not a string"),
    ("optional_text", "", "is empty or holds control characters"),
    ("optional_lines", "", "is empty or holds control characters"),
    ("optional_lines", "a\x1b\nb", "is empty or holds control characters"),
    ("optional_lines", 0, "is not a string"),
    ("texts", "x", "is not an array of strings"),
    ("texts", ["x", ""], "is empty or holds control characters"),
    ("integer", 1, "is not between 2 and 9"),
    ("integer", 10, "is not between 2 and 9"),
    ("integer", 5.0, "is not an integer"),
    ("integer", True, "is not an integer"),
    ("seconds", 0, "is not more than 0 and at most 60 seconds"),
    ("seconds", 60.001, "is not more than 0 and at most 60 seconds"),
    ("seconds", float("nan"), "is not more than 0 and at most 60 seconds"),
    ("seconds", True, "is not a number of seconds"),
    ("seconds", "1", "is not a number of seconds"),
    ("flag", 1, "is not true or false"),
    ("choice", "three", "'three' is none of 'one', 'two'"),
    ("choice", 1, "is not a string"),
    ("choices", ["one", "three"], "'three' is none of 'one', 'two'"),
    ("choices", "one", "is not an array of strings"),
    ("file", 1, "is not a string"),
    ("optional_file", [], "is not a string"),
    ("files", [1], "is not a string"),
]


@pytest.mark.parametrize("kind", list(READERS))
def test_a_key_that_is_missing_has_its_default_and_is_known(kind: str) -> None:
    top = TomlTable(Path("est.toml"), "", {})
    assert READERS[kind](table()) == MISSING[kind]
    READERS[kind](top)
    top.done()


@pytest.mark.parametrize(("kind", "value", "result"), TAKEN)
def test_a_value_of_its_type_and_range_is_taken(kind: str, value: object, result: object) -> None:
    found = READERS[kind](table(key=value))
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(("kind", "value", "reason"), REFUSED)
def test_any_other_value_is_refused_with_its_place(kind: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        READERS[kind](table(key=value))
    assert str(caught.value) == f"/etc/est/est.toml: [here] key: {reason}"
    assert (caught.value.where, caught.value.reason) == ("[here] key", reason)


def test_numbers_have_the_usual_bounds_where_none_are_given() -> None:
    for number in (0, 2**31 - 1):
        assert table(key=number).integer("key", 5) == number
    for number in (-1, 2**31):
        with pytest.raises(ConfigError, match="is not between 0 and 2147483647"):
            table(key=number).integer("key", 5)
    assert table(key=86400).seconds("key", 1.0) == 86400.0
    with pytest.raises(ConfigError, match="at most 86400 seconds"):
        table(key=86401).seconds("key", 1.0)


def test_tables_are_read_inside_others_and_named_in_full() -> None:
    outer = table(labels={"a": {"x": 1}, "b": {}}, other=3)
    assert [(name, each.name) for name, each in outer.tables("labels")] == [
        ("a", "here.labels.a"),
        ("b", "here.labels.b"),
    ]
    assert "labels" in outer
    assert "x" not in outer
    assert outer.names() == ("labels", "other")
    assert outer.table("missing").names() == ()
    assert outer.table("missing").name == "here.missing"
    with pytest.raises(ConfigError, match=r"\[here\] other: is not a table"):
        outer.table("other")
    with pytest.raises(ConfigError, match=r"\[here\.labels\] a: is not a table"):
        list(table(labels={"a": 1}).tables("labels"))


def test_what_was_asked_of_a_key_is_known_whether_it_is_there_or_not() -> None:
    read = table(size=7)
    read.integer("size", 5, least=1, most=9)
    read.seconds("idle_s", 2.5)
    read.choice("word", {"a": 1, "b": 2}, 2)
    read.choice("none", {"a": 1}, None)
    read.choices("words", {"a": 1, "b": 2, "c": 3}, (3, 1))
    read.file("file", "x.pem")
    read.files("files")
    read.optional_flag("maybe")
    read.table("inner").text("name", "n")
    asked = read.asked()
    assert asked["here"] == {
        "size": Asked(kind="integer", default=5, least=1, most=9),
        "idle_s": Asked(kind="seconds", default=2.5, most=86400.0),
        "word": Asked(kind="choice", default="b", words=("a", "b")),
        "none": Asked(kind="choice", words=("a",)),
        "words": Asked(kind="choices", default=("a", "c"), words=("a", "b", "c")),
        "file": Asked(kind="file", default="x.pem"),
        "files": Asked(kind="files", default=()),
        "maybe": Asked(kind="flag"),
        "inner": Asked(kind="table"),
    }
    assert asked["here.inner"] == {"name": Asked(kind="text", default="n")}


def test_a_flag_may_be_missing() -> None:
    assert table().optional_flag("key") is None
    assert table(key=False).optional_flag("key") is False
    with pytest.raises(ConfigError, match="is not true or false"):
        table(key=0).optional_flag("key")


def top_with(content: dict[str, object]) -> str:
    """Return what is said of a file whose reader asks for [a] x and [b] x, and for y outside."""
    top = TomlTable(Path("est.toml"), "", content)
    for name in ("a", "b"):
        inner = top.table(name)
        inner.integer("x", 1)
        inner.done()
    top.integer("younger", 1)
    with pytest.raises(ConfigError) as caught:
        top.done()
    return str(caught.value)


def test_a_key_that_nobody_asked_for_is_told_where_it_belongs() -> None:
    assert top_with({"x": 1}) == "est.toml: x: unknown key; it belongs in [a] or [b]"
    assert top_with({"yonger": 1}) == "est.toml: yonger: unknown key; did you mean 'younger'?"
    assert top_with({"zzz": 1}) == "est.toml: zzz: unknown key"
    assert top_with({"x": {}}) == "est.toml: x: unknown table"
    assert top_with({"a": {"younger": 1}}) == "est.toml: [a] younger: unknown key"
    # The first of several, in the order in which the tables were read.
    assert top_with({"zzz": 1, "a": {"q": 1}}) == "est.toml: [a] q: unknown key"


def test_no_more_than_three_homes_of_a_key_are_named() -> None:
    top = TomlTable(Path("est.toml"), "", {"x": 1})
    for name in ("a", "b", "c", "d"):
        top.table(name).integer("x", 1)
    with pytest.raises(ConfigError, match=r"it belongs in \[a\] or \[b\] or \[c\]$"):
        top.done()


def test_what_the_core_says_of_a_value_is_said_of_its_key() -> None:
    cases: list[tuple[Exception, str, str]] = [
        (LocalProtocolError("too odd"), "key", "[here] key: too odd"),
        (RemoteProtocolError("csr/x", "too odd", Fault.MALFORMED), "", "[here]: csr/x: too odd"),
    ]
    for error, key, text in cases:
        with pytest.raises(ConfigError) as caught, table().checks(key):
            raise error
        assert str(caught.value) == f"/etc/est/est.toml: {text}"
        assert caught.value.__cause__ is error


def read(directory: Path, raw: bytes) -> TomlTable:
    path = directory / "est.toml"
    path.write_bytes(raw)
    return read_toml(path)


def test_a_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, b"#" * MAX_FILE_BYTES).names() == ()
    with pytest.raises(ConfigError, match=f"is larger than {MAX_FILE_BYTES} bytes"):
        read(tmp_path, b"#" * (MAX_FILE_BYTES + 1))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff", "is not UTF-8 text"),
        (b"x", "is not TOML: "),
        (b"x = " + b"[" * 5000, "is not TOML: "),
        (b"[a.b]\n[a.b]\n", "table [a.b] is there already; put the key under it (at line 2"),
        (b"x = 1\nx = 2\n", "a key is there twice (at line 2"),
    ],
    ids=["no text", "no TOML", "too deep", "a table twice", "a key twice"],
)
def test_what_is_no_toml_is_told_in_words_that_help(
    raw: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, raw)
    assert caught.value.where == ""
    assert caught.value.reason.startswith(reason)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="is a directory, pipe or device, not a file"):
            read_toml(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_toml(tmp_path / "missing")
