"""kill -9 between a request and its answer: at each step, and at random moments."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.issue_kills import STEPS
from tests.law.sources import ROOT


@pytest.mark.parametrize(("options", "steps"), [((), STEPS), (("--local",), ("asked", "recorded"))])
def test_whenever_the_ca_is_killed_no_signature_is_without_a_record(
    options: tuple[str, ...], steps: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.issue_kills", "--count", "16", "--seed", "7", *options],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 16
    assert set(steps) <= set(found["left"])
    assert set(found["left"]["asked"]) == {"nothing"}
    assert set(found["left"]["recorded"]) == {"issued" if options else "prepared"}
