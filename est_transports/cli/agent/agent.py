"""`est agent`: looks after certificates until it is told to stop."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click

from est_core import __version__
from est_transports.agent.actions import Outcome
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.hooks import reap_inherited
from est_transports.agent.settings import AgentSettings, CertificateSettings
from est_transports.agent.sockets_loop import run_agents, run_pass
from est_transports.cli.agent.directory import (
    can_be_opened,
    directory_argument,
    doubts,
    exit_code,
    opened_all,
    read_settings,
)
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import set_json, verbose_option
from est_transports.daemon.log_output import LogHandler, hold_standard_descriptors
from est_transports.daemon.systemd import (
    READY,
    PriorityFormatter,
    is_journal,
    notify,
    reloading,
)
from est_transports.drive.observe import JsonFormatter, TextFormatter

_log: Final = logging.getLogger("est_transports")
_STDERR: Final = 2
_HOLDER: Final = "est agent"
_LOOK_S: Final = 3600.0
_TURN_S: Final = 0.5
_NAMES_SHOWN: Final = 20
STOP_S: Final = 10.0
"""For how long a step that is under way is waited for; a step that is cut off does no harm."""


@click.command("agent")
@directory_argument
@click.option("--once", is_flag=True, help="Do what is due and end: for cron and timers.")
@click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=set_json, help="Log in JSON."
)
@verbose_option
def agent(directory: Path, *, once: bool, as_json: bool) -> ExitCode:
    """Look after the certificates of DIR: get them, renew them in time, run their hooks.

    DIR/est-agent.toml says which. It runs until SIGTERM or ctrl-C; SIGHUP reads the file again.
    On standard error there is a line for whatever changes.
    """
    hold_standard_descriptors()
    with _logging(as_json=as_json):
        settings = read_settings(directory)
        _tell_doubts(settings)
        if once:
            return _once(settings)
        _Running(directory, settings).run()
    return ExitCode.DONE


@contextmanager
def _logging(*, as_json: bool) -> Iterator[None]:
    handler = LogHandler()
    formatter = JsonFormatter() if as_json else TextFormatter()
    handler.setFormatter(PriorityFormatter(formatter) if is_journal(_STDERR) else formatter)
    _log.addHandler(handler)
    level = _log.level
    _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)


def _once(settings: AgentSettings) -> ExitCode:
    outcomes: list[Outcome] = []
    stop = threading.Event()
    with _signals({signal.SIGTERM: stop.set, signal.SIGINT: stop.set}), ExitStack() as stack:
        agents, missing = opened_all(stack, settings, _HOLDER)
        for each in agents:
            outcome = run_pass(each, stopped=stop.is_set)
            if outcome is None:
                return ExitCode.INTERRUPTED
            outcomes.append(outcome)
    return ExitCode.LOCAL if missing else exit_code(outcomes)


class _Running:
    """The agents of a directory, until a signal ends them. SIGHUP replaces them or none."""

    def __init__(self, directory: Path, settings: AgentSettings) -> None:
        self._directory = directory
        self._settings = settings
        self._before: AgentSettings | None = None
        self._next: dict[str, Outcome] = {}
        self._missing: list[CertificateSettings] = []
        self._looked_at = 0.0  # at what is missing
        self._wake = threading.Event()
        self._ends = self._reloads = False

    def run(self) -> None:
        """Look after the certificates until a signal says to stop."""
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGHUP: self._reload,
        }
        if _is_first_process():
            handlers[signal.SIGCHLD] = self._wake.set
        with _signals(handlers):
            _log.info("est-sansio %s looks after %s", __version__, _names(self._settings))
            while not self._ends:
                try:
                    self._run_until_told()
                except CliError as exc:
                    self._take_back(exc)
            notify("STOPPING=1", "STATUS=stopping")
            _log.info("stopped")

    def _run_until_told(self) -> None:
        stop, stack = threading.Event(), ExitStack()
        agents, self._missing = opened_all(stack, self._settings, _HOLDER)
        for each in agents:
            each.retry_hook()
            if each.other_names:
                _log.warning("%s: %s", each.settings.name, each.other_names)
        self._before, self._looked_at, self._next = None, time.monotonic(), {}
        errors: list[BaseException] = []
        worker = threading.Thread(target=self._work, args=(agents, stop, errors), daemon=True)
        worker.start()
        notify(READY, self._status())
        while worker.is_alive() and not self._ends and not self._begins_anew():
            self._wake.wait(min(_watchdog_s(), self._again_s()))
            self._wake.clear()
            if _is_first_process():
                reap_inherited()
            notify("WATCHDOG=1", self._status())
        stop.set()
        if not self._joined(worker):
            return  # it waits for a server; the lock goes with the process
        stack.close()
        if errors:
            raise errors[0]

    def _joined(self, worker: threading.Thread) -> bool:
        """Wait until the step that is under way has ended; True if it has.

        Whoever is to end waits STOP_S, and whoever is to go on as long as a server may take.
        """
        waited_s = 0.0
        while worker.is_alive() and not (self._ends and waited_s >= STOP_S):
            worker.join(_TURN_S)
            waited_s += _TURN_S
            notify("WATCHDOG=1")
        return not worker.is_alive()

    def _take_back(self, error: CliError) -> None:
        """Go on with the settings before, where the new ones cannot be worked with."""
        if self._before is None or self._before is self._settings:
            raise error
        _log.error("not reloaded, everything stays as it was: %s", error.text)
        self._settings = self._before

    def _work(
        self, agents: list[CertificateAgent], stop: threading.Event, errors: list[BaseException]
    ) -> None:
        try:
            run_agents(agents, stop=stop, told=self._told)
        except BaseException as exc:  # noqa: BLE001 - raised by the main thread
            errors.append(exc)
        self._wake.set()

    def _told(self, outcome: Outcome) -> None:
        self._next[outcome.name] = outcome
        self._wake.set()

    def _status(self) -> str:
        found = self._next.copy()  # the agents' threads write into it
        troubled = sorted(
            {name for name, each in found.items() if each.code or each.alarms}
            | {each.name for each in self._missing}
        )
        count = len(self._settings.certificates)
        text = f"{count} certificate{'s' * (count > 1)}"
        if troubled:
            text += f"; not well: {_listed(troubled)}"
        return f"STATUS={text}"

    def _end(self) -> None:
        self._ends = True
        self._wake.set()

    def _reload(self) -> None:
        self._reloads = True
        self._wake.set()

    def _begins_anew(self) -> bool:
        """True if other settings are in force, or an agent that was missing can be had now.

        Its directory was locked by somebody who renewed by hand, say, or the disk was full.
        """
        if self._take_reload():
            return True
        now = time.monotonic()
        if now - self._looked_at < self._again_s():
            return False
        self._looked_at = now
        return any(can_be_opened(self._settings, each, _HOLDER) for each in self._missing)

    def _again_s(self) -> float:
        """Return after how long one that is missing is tried again: as after a first failure."""
        return min((each.policy.retry_first_s for each in self._missing), default=math.inf)

    def _take_reload(self) -> bool:
        """Read est-agent.toml again if that was asked for; True if another one is in force."""
        if not self._reloads:
            return False
        self._reloads = False
        notify(*reloading())
        try:
            self._before, self._settings = self._settings, read_settings(self._directory)
        except CliError as exc:
            _log.error("not reloaded, everything stays as it was: %s", exc.message)
            notify(READY)
            return False
        _log.info("reloaded: looks after %s", _names(self._settings))
        _tell_doubts(self._settings)
        return True


@contextmanager
def _signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Have signals call functions inside the block."""
    before = {}
    for number, handler in handlers.items():
        before[number] = signal.signal(number, _calling(handler))
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _is_first_process() -> bool:
    """True in a container without an init of its own: what hooks leave behind is ours there."""
    return os.getpid() == 1


def _calling(handler: Callable[[], None]) -> Callable[[int, object], None]:
    return lambda _number, _frame: handler()


def _tell_doubts(settings: AgentSettings) -> None:
    for doubt in doubts(settings):
        _log.warning("%s", doubt)


def _names(settings: AgentSettings) -> str:
    return _listed([each.name for each in settings.certificates])


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _watchdog_s() -> float:
    """Return how often the service manager wants to hear of us, or how often we look anyway."""
    text = os.environ.get("WATCHDOG_USEC", "")
    return min(int(text) / 2_000_000, _LOOK_S) if text.isdigit() and int(text) else _LOOK_S
