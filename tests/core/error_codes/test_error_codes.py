"""The table of error codes finds a code, and a status that has no row of its own."""

from __future__ import annotations

import pytest

from est_core import error_codes


def test_every_code_of_the_sections_is_found_once_and_in_order() -> None:
    listed = [entry for section in error_codes.SECTIONS for entry in section.codes]
    found = error_codes.by_code(iter(error_codes.SECTIONS))
    assert list(found.values()) == listed
    assert list(found) == [entry.code for entry in listed]


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("response/status-403", "response/status-NNN"),
        ("response/status-NNN", "response/status-NNN"),
        ("response/status-", "response/status-"),
        ("response/status-4x", "response/status-4x"),
        ("response/fault", "response/fault"),
        ("403", "403"),
    ],
)
def test_a_status_has_the_row_of_all_statuses(code: str, key: str) -> None:
    assert error_codes.table_key(code) == key


def test_an_answer_with_any_status_has_a_row() -> None:
    assert error_codes.table_key("response/status-418") in error_codes.by_code(error_codes.SECTIONS)
