"""kill -9 of the agent's commands against a live server: at random, and at each of its steps."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.law.sources import ROOT


def test_whenever_the_agent_is_killed_programs_find_one_whole_pair() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.agent_kills", "--count", "8", "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    points = found["steps"]["points"]
    assert {"after begin", "after mark_sent", "before receive", "after promote"} <= set(points)
    assert found["steps"]["kills"] == len(points)
    assert found["first enrollments"]["kills"] + found["first enrollments"]["finished"] == 2
