"""A run ends, whatever a failed test leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.law.sources import ROOT

HANGING: Final = """
import threading

import pytest


@pytest.fixture
def a_server():
    never = threading.Event()
    threading.Thread(target=never.wait, daemon={daemon}).start()
    yield
    never.wait()


@pytest.fixture
def a_file():
    yield
    print("closed")


def test_fails(a_file, a_server):
    raise ZeroDivisionError


def test_comes_after():
    print("it came")
"""


@pytest.mark.parametrize("daemon", [True, False])
def test_a_teardown_that_waits_for_ever_is_interrupted_and_the_others_are_run(
    daemon: bool, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nteardown_timeout = 0.5\n")
    (tmp_path / "test_it.py").write_text(HANGING.format(daemon=daemon))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.ending", "-p", "no:cacheprovider", "-rA"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "the teardown was interrupted after 0.5 seconds" in run.stdout
    assert "closed" in run.stdout
    assert "1 failed, 1 passed, 1 error" in run.stdout
    assert run.returncode == 1
    assert ("threading.py" in run.stderr) == (not daemon), run.stderr
