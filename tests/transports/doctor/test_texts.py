"""Text of a server's, as it is shown."""

from __future__ import annotations

import pytest

from est_transports.doctor.texts import counted, listed, quoted, shown


@pytest.mark.parametrize(
    "text, seen",
    [
        ("plain", "plain"),
        ("two\r\nlines\tand  blanks", "two lines and blanks"),
        ("\x1b[31mred\x07", "?[31mred?"),
        ("abc\u202edcba", "abc?dcba"),
        ("\u2066isolate\u2069", "?isolate?"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("x" * 300, "x" * 200 + "..."),
    ],
)
def test_nothing_that_a_terminal_obeys_is_shown(text: str | bytes, seen: str) -> None:
    assert shown(text) == seen


def test_quotes_stand_around_a_short_text() -> None:
    assert quoted("x" * 100) == f"'{'x' * 64}...'"


def test_lists_are_short() -> None:
    assert listed([]) == "none"
    assert listed(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_one_is_no_plural() -> None:
    assert [counted(number, "hour") for number in (1, 2)] == ["1 hour", "2 hours"]
    assert counted(2, "address") == "2 addresses"
