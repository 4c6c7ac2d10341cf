"""A skip is a failure where everything can run, but for tests that take another extra."""

from __future__ import annotations

import pytest

from tests import skips

NEEDED = ("EST_REQUIRE_PEERS", "EST_REQUIRE_EXTRAS")


def outcome(reason: str) -> str:
    """What becomes of a test that is skipped for this reason."""
    where = ("tests/test_it.py", 3, "test_it")
    report = pytest.TestReport(
        "tests/test_it.py::test_it",
        where,
        {},
        "skipped",
        ("tests/test_it.py", 3, f"Skipped: {reason}"),
        "setup",
    )
    skips.refuse(report)
    assert report.skipped or reason in str(report.longrepr)
    return report.outcome


@pytest.mark.parametrize(
    "required, plain, other_extra",
    [
        ((), "skipped", "skipped"),
        (NEEDED[:1], "failed", "skipped"),
        (NEEDED, "failed", "failed"),
        (NEEDED[1:], "skipped", "skipped"),
    ],
)
def test_a_skip_fails_where_it_is_said_that_nothing_is_missing(
    required: tuple[str, ...], plain: str, other_extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NEEDED:
        monkeypatch.delenv(name, raising=False)
    for name in required:
        monkeypatch.setenv(name, "1")
    assert outcome("gnutls-cli is not installed") == plain
    assert {outcome(reason) for reason in skips.OTHER_EXTRAS} == {other_extra}
    assert outcome(f"{skips.OTHER_EXTRAS[0]} or so") == plain


def test_a_test_that_is_known_to_fail_is_no_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EST_REQUIRE_PEERS", "1")
    report = pytest.TestReport("x", ("x", 1, "x"), {}, "skipped", ("x", 1, "why"), "call")
    report.wasxfail = "why"
    skips.refuse(report)
    assert report.skipped
