"""Runs a hook: a program of the operator's, bounded in time and in what it may say.

It is in a process group of its own. When its time is over, or the agent is to stop, the whole group
is killed: a reload that hangs, and whatever it has started, keeps nobody.

The first process of a container, or of a machine, inherits the children of all that have ended:
what a hook leaves behind would stay there as a zombie unless `reap_inherited` takes its status.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from est_transports.agent.actions import HookResult, RunHook
from est_transports.agent.saved import plain
from est_transports.pairs.values import Pair
from est_transports.pki.names import name_text
from est_transports.pki.serials import printed_serial

OUTPUT_MAX_BYTES: Final = 4096
_LOOK_S: Final = 0.1
_CHUNK: Final = 4096
NOT_FOR_HOOKS: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "JOURNAL_STREAM")
"""What the service manager tells the agent, and nobody else."""

_turn: Final = threading.Lock()
_hooks: Final[set[int]] = set()
"""The processes whose exit status a call of `run_hook` waits for. Changed while `_turn` is held."""


def run_hook(
    hook: RunHook,
    *,
    stopped: Callable[[], bool] = lambda: False,
    environment: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.monotonic,
) -> HookResult:
    """Run a hook to its end and return what became of it. Never raises for what it does.

    It reads nothing, and of what it writes the last OUTPUT_MAX_BYTES are kept. Once `stopped` it
    is killed as when its time is over.
    """
    given = {name: value for name, value in environment.items() if name not in NOT_FOR_HOOKS}
    try:
        process = _started(hook.command, {**given, **hook.environment})
    except OSError as exc:
        return HookResult(problem=f"cannot be started: {hook.command[0]}: {exc.strerror}")
    try:
        return _follow(process, clock() + hook.timeout_s, hook.timeout_s, stopped, clock)
    finally:
        _kill_group(process)
        with _turn:
            _hooks.discard(process.pid)


def reap_inherited() -> None:
    """Take the exit status of children that ended and are no hooks. For process 1 alone.

    Only there nobody else waits for them. It stops at a hook that has ended, whose status is taken
    by `run_hook`; so call it again after that, and on SIGCHLD.
    """
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with _turn, suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, look)) is not None and ended.si_pid not in _hooks:
            os.waitpid(ended.si_pid, os.WNOHANG)


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program that has nothing to read; for that no /dev/null is needed."""
    with _turn:
        process = subprocess.Popen(  # noqa: S603 - the operator's own words, and no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        _hooks.add(process.pid)
    if process.stdin is not None:
        process.stdin.close()
    return process


def _follow(
    process: subprocess.Popen[bytes],
    deadline: float,
    timeout_s: float,
    stopped: Callable[[], bool],
    clock: Callable[[], float],
) -> HookResult:
    """Read what the hook writes until it has ended; what it started may go on writing."""
    output = b""
    pipe = process.stdout
    if pipe is None:
        raise TypeError("a hook has a pipe")
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            ready = selector.select(0 if ended else _LOOK_S) if selector.get_map() else []
            if not selector.get_map() and not ended:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
            if ready:
                chunk = os.read(pipe.fileno(), _CHUNK)
                output = (output + chunk)[-OUTPUT_MAX_BYTES:]
                if not chunk:
                    selector.unregister(pipe)
            if ended and (not ready or not selector.get_map()):
                return HookResult(problem=_problem(process.returncode), output=_text(output))
            if not ended and clock() >= deadline:
                problem = f"was killed: it did not end within {timeout_s:g} s"
                return HookResult(problem=problem, output=_text(output))
            if not ended and stopped():
                return HookResult(problem="was killed: the agent stops", output=_text(output))


def _problem(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code}"
    return f"ended with {code}" if code else ""


def _text(output: bytes) -> str:
    return plain(output.decode("utf-8", "replace"))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the hook's group, and take its exit status."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def hook_environment(event: str, name: str, place: Path, pair: Pair) -> dict[str, str]:
    """Return the variables of a hook: what happened, to which certificate, and where it is."""
    return {
        "EST_EVENT": event,
        "EST_NAME": name,
        "EST_DIRECTORY": str(place),
        "EST_CERTIFICATE": str(place / "cert.pem"),
        "EST_KEY": str(place / pair.key_file.name),
        "EST_CHAIN": str(place / "chain.pem"),
        "EST_TRUST": str(place / "trust.pem"),
        "EST_PAIR": str(place / "pair.pem"),
        "EST_SUBJECT": plain(name_text(pair.certificate.subject)),
        "EST_SERIAL": printed_serial(pair.certificate.serial_number),
        "EST_NOT_AFTER": f"{pair.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }
