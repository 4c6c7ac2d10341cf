"""Same arguments, same events and bytes, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.law.sources import ROOT


def _run(hash_seed: str) -> str:
    module = "tests.law.scripted_run"
    result = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_two_processes_with_different_hash_seeds_say_the_same() -> None:
    first = _run("1")
    assert first.count("\n") >= 10, first
    assert first == _run("4242")
