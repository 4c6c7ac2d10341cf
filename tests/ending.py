"""An end for every run: limits for the teardown of a test, and for threads that are left at last.

pytest-timeout gives a test its time, and stops counting with the first failure: a teardown that
waits for what the failed test should have ended would wait for ever, and so would the interpreter
for a thread of it that is no daemon.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

OPTION = "teardown_timeout"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the setting."""
    parser.addini(OPTION, "seconds for each step of a teardown, and for the end of threads")


def _limit_s(config: pytest.Config) -> float:
    return float(config.getini(OPTION) or 60)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Interrupt whatever a teardown waits for, again and again, so that all of it is run."""
    if threading.current_thread() is not threading.main_thread():
        return (yield)
    limit_s = _limit_s(item.config)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"the teardown was interrupted after {limit_s:g} seconds")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit_s, limit_s)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process, with the tracebacks of all threads, where one of them lets it not end."""
    left = [each for each in threading.enumerate() if each is not threading.main_thread()]
    if any(not each.daemon for each in left):
        file = sys.__stderr__
        if file is not None:
            faulthandler.dump_traceback_later(_limit_s(config), exit=True, file=file)
