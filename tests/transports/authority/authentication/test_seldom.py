"""Log lines that a client could cause by the thousand."""

from __future__ import annotations

import pytest

from est_core import Instant, LocalProtocolError
from est_transports import _clock
from est_transports.authority.authentication.seldom import EVERY_S, SeldomLog


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = _clock.instant()

    def __call__(self) -> Instant:
        return self.now


def test_a_line_comes_once_a_minute_for_each_subject_and_says_how_many_there_were(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    log = SeldomLog(clock)
    for _ in range(3):
        log.tell("a", "about %s", "a")
    log.tell("b", "about %s", "b")
    clock.now = clock.now.after(EVERY_S)
    for _ in range(2):
        log.tell("a", "about %s", "a")
    log.tell("b", "about %s", "b")
    assert caplog.messages == [
        "about a",
        "about b",
        "about a (2 more since it was said)",
        "about b",
    ]


def test_of_too_many_subjects_the_first_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    log = SeldomLog(Clock(), keys_max=2)
    for subject in "abcbca":
        log.tell(subject, subject)
    assert caplog.messages == ["a", "b", "c", "a"]


def test_a_log_that_remembers_nothing_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        SeldomLog(keys_max=0)
    SeldomLog(keys_max=1)


def test_of_too_many_subjects_the_one_told_of_longest_ago_is_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    log = SeldomLog(clock, keys_max=2)
    log.tell("a", "a")
    log.tell("b", "b")
    clock.now = clock.now.after(EVERY_S)
    for subject in ("a", "c", "a", "b"):
        log.tell(subject, subject)
    assert [record.message for record in caplog.records] == ["a", "b", "a", "c", "b"]
