"""A process is killed (SIGKILL) anywhere: a working pair is there, whole, and life goes on."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.law.sources import ROOT


def test_a_process_killed_at_any_point_leaves_a_working_pair() -> None:
    """Before and after each change of the disk, and at random; without threads, as it forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.transports.pair_proof", "--short"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"killed at (\d+) points.*\nkilled 40 times at random.*\n", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 200
