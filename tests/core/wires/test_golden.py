"""The bytes of every answer are those that deployed clients accept."""

from __future__ import annotations

import pytest

from est_core import Response, httpmap
from tests.core.golden import GOLDEN, answers, wire

ANSWERS = {name: (response, shape) for name, response, shape in answers()}


@pytest.mark.req("EST-014", "EST-106", "EST-107", "EST-118", "EST-148", "EST-024", "EST-152")
@pytest.mark.req("EST-153", "EST-102", "EST-150", "EST-011", "EST-036")
@pytest.mark.req("EST-238", "EST-276")
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_its_golden_bytes(name: str) -> None:
    response: Response
    shape: httpmap.ReplyShape
    response, shape = ANSWERS[name]
    assert wire(response, shape) == (GOLDEN / f"{name}.http").read_bytes()


def test_there_is_no_golden_file_too_many() -> None:
    assert {path.stem for path in GOLDEN.glob("*.http")} == set(ANSWERS)


@pytest.mark.parametrize("name", ANSWERS)
def test_every_head_fits_the_first_read_of_a_small_client(name: str) -> None:
    # strongSwan reads status line and header fields from one read of at most 1024 bytes.
    head = wire(*ANSWERS[name]).partition(b"\r\n\r\n")[0]
    assert len(head) < 900
