"""Hooks: what they are given, what they say, and that none keeps an agent."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

import pytest

from est_transports.agent.actions import HookResult, RunHook
from est_transports.agent.hooks import OUTPUT_MAX_BYTES, run_hook


def python(code: str, timeout_s: float = 60.0, **environment: str) -> RunHook:
    return RunHook(
        command=(sys.executable, "-c", code), environment=environment, timeout_s=timeout_s
    )


def test_a_hook_that_ends_well_has_no_problem_and_its_output_is_one_line() -> None:
    result = run_hook(python("print('one\\ntwo\\x1b[2J')"))
    assert result == HookResult(problem="", output="one two [2J")


def test_a_hook_has_our_environment_and_what_is_added_and_not_what_systemd_tells_us() -> None:
    code = (
        "import os; print(os.environ['A'], os.environ['EST_NAME'], 'NOTIFY_SOCKET' in os.environ)"
    )
    given = {**os.environ, "A": "ours", "NOTIFY_SOCKET": "/x"}
    assert run_hook(python(code, EST_NAME="gate"), environment=given).output == "ours gate False"


def test_a_hook_that_fails_says_how() -> None:
    assert run_hook(python("raise SystemExit(3)")).problem == "ended with 3"
    killed = run_hook(python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)"))
    assert killed.problem == "was ended by signal 15"


@pytest.mark.parametrize("name", ["/nonexistent/hook", "/"])
def test_a_hook_that_cannot_be_started_says_why(name: str) -> None:
    result = run_hook(RunHook(command=(name,), environment={}, timeout_s=1.0))
    assert result.problem.startswith(f"cannot be started: {name}: ")


def test_a_hook_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    alive, begun = tmp_path / "alive", tmp_path / "begun"
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    code = f"""
import os, pathlib, subprocess, sys, time
fifo = os.open({str(alive)!r}, os.O_WRONLY)  # open until both are dead
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[fifo])
print("hanging", flush=True)
pathlib.Path({str(begun)!r}).touch()
time.sleep(600)
"""
    seconds = (float(n) for n in count())
    stopped = run_hook(
        python(code, timeout_s=5.0), clock=lambda: next(seconds) if begun.exists() else 0.0
    )
    assert stopped.problem == "was killed: it did not end within 5 s"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"", "all that had it open are gone"
    os.close(reader)


def test_a_hook_is_killed_when_the_agent_stops() -> None:
    result = run_hook(python("import time; time.sleep(600)"), stopped=lambda: True)
    assert result.problem == "was killed: the agent stops"


def test_a_hook_that_leaves_somebody_with_its_output_open_keeps_nobody() -> None:
    code = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("done")
"""
    assert run_hook(python(code)).problem == ""


def test_a_hook_that_closes_its_output_is_waited_for() -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(4)"
    assert run_hook(python(code)).problem == "ended with 4"


def test_of_a_long_output_the_end_is_kept() -> None:
    result = run_hook(python("print('x' * 100000); print('the end')"))
    assert result.output.startswith("x")
    assert len(result.output) <= OUTPUT_MAX_BYTES


def test_a_hook_finds_nothing_to_read_and_needs_no_dev_null_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "devnull", "/nonexistent/null")
    result = run_hook(python("import sys; print(repr(sys.stdin.read()))"))
    assert result == HookResult(problem="", output="''")


def test_children_of_nobody_are_reaped() -> None:
    code = """
import os
from est_transports.agent.hooks import reap_inherited
reap_inherited()  # there are none
child = os.fork()
if child == 0:
    os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
reap_inherited()
try:
    os.waitpid(child, 0)
except ChildProcessError:
    print("reaped")
"""
    assert run_hook(python(code)) == HookResult(problem="", output="reaped")
