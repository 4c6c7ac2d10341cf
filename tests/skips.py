"""No test is skipped where everything can run: EST_REQUIRE_PEERS=1 makes a failure of each skip."""

from __future__ import annotations

import os
from typing import Final

import pytest

DIRECTORIES: Final = "it comes with the extra directories"
OTHER_EXTRAS: Final = (
    "it comes with the extra dev",
    "it comes with the extra fuzz",
    "it comes with the extra lint",
    DIRECTORIES,
)
"""Why a test may be skipped all the same, unless EST_REQUIRE_EXTRAS=1.

.ci/run runs these in steps of their own, with the extra and with EST_REQUIRE_EXTRAS=1.
"""


def refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a failure of a skip that nothing allows here."""
    if os.environ.get("EST_REQUIRE_PEERS") != "1" or not report.skipped:
        return
    if hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason in OTHER_EXTRAS and os.environ.get("EST_REQUIRE_EXTRAS") != "1":
        return
    report.outcome = "failed"
    report.longrepr = f"skipped, and EST_REQUIRE_PEERS=1: {reason}"
