"""On which line of a TOML file something stands, whatever stands around it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_transports.toml.places import places_in
from est_transports.toml.tables import ConfigError, read_toml
from tests.reached import reached, reaches

TEXT = (
    '''\
# [not.here]
top = 1
[auth]  # names = "no"
names = "identity"
schemes = [
    "basic",  # ] no end
    "]",
]
[ labels . "plant" ]
text = """
key = 1
[header]
\\""" "
"""
raw = '''
    + "'''\n[x]\n'''"
    + """
inline = { a = 1, b = "}" }
dotted.key = 2
[[csrattrs.for]]
user = "a"
[[csrattrs.for]]
user = "b"
"""
)


def test_each_statement_has_the_line_on_which_it_begins() -> None:
    tomllib.loads(TEXT.replace("\\\\", "\\"))
    assert places_in(TEXT) == {
        "top": 2,
        "auth": 3,
        "auth.names": 4,
        "auth.schemes": 5,
        "labels.plant": 9,
        "labels.plant.text": 10,
        "labels.plant.raw": 15,
        "labels.plant.inline": 18,
        "labels.plant.dotted.key": 19,
        "csrattrs.for#1": 20,
        "csrattrs.for#1.user": 21,
        "csrattrs.for#2": 22,
        "csrattrs.for#2.user": 23,
    }


WORDS = st.sampled_from(["a", "[b]", "c = 1", "#", "]", "{", "'", "\\\\", " ", "é"])
LINES = st.lists(WORDS, max_size=4).map("".join)
VALUES = st.one_of(
    st.integers().map(str),
    LINES.map(lambda text: f'"{text}"'),
    LINES.map(lambda text: "'" + text.replace("'", "") + "'"),
    st.lists(LINES, max_size=4).map(lambda lines: '"""' + "\n".join(lines) + '"""'),
    st.lists(LINES, max_size=3).map(
        lambda lines: "[\n" + "".join(f'  "{line}",  # ] {line}\n' for line in lines) + "]"
    ),
)


@reaches(several=20)
@given(st.lists(VALUES, max_size=6), st.integers(0, 3))
def test_values_are_passed_over_whatever_they_look_like(values: list[str], blank: int) -> None:
    text, expected = "[table]\n", {"table": 1}
    for number, value in enumerate(values):
        expected[f"table.k{number}"] = text.count("\n") + 1
        text += f"k{number} = {value} # {number}\n" + "\n" * blank
    tomllib.loads(text)
    assert places_in(text) == expected
    if text.count("\n") > len(values) * (1 + blank) + 1:
        reached("several")


@reaches(any=50)
@given(st.text(alphabet="[]{}=.#\"'\\\n ab", max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    reached("any")
    lines = places_in(text).values()
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("\n\n[auth]\nnames = 7\n", "names", "est.toml line 4: [auth] names: is not a string"),
        ("\n\n[auth]\n", "names", "est.toml line 3: [auth] names: odd"),
        ("x = 1\n", "names", "est.toml: [auth] names: odd"),
    ],
)
def test_an_error_names_the_line_of_the_key_or_else_of_its_table(
    text: str, key: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "est.toml"
    path.write_text(text)
    table = read_toml(path).table("auth")
    if "odd" in said:
        assert str(table.error(key, "odd")).endswith(said)
    else:
        with pytest.raises(ConfigError) as caught:
            table.text(key, "usual")
        assert str(caught.value).endswith(said)


def test_an_array_of_tables_has_a_place_for_each(tmp_path: Path) -> None:
    path = tmp_path / "est.toml"
    path.write_text("[[for]]\nuser = 'a'\n[[for]]\nuser = 2\n")
    first, second = read_toml(path).array("for")
    assert first.text("user", "") == "a"
    with pytest.raises(ConfigError, match=r"line 4: \[for\] user: is not a string") as caught:
        second.text("user", "")
    assert caught.value.line == 4
