"""The units for systemd on the page about renewal: what systemd says of them, what they run."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from est_transports.cli import group
from tests.docs.pages import DOCS, blocks

PAGE = DOCS / "how-to" / "keep-a-certificate-renewed.md"
NAMES = ("est-agent.service", "est-renew.service", "est-renew.timer")
UNITS = dict(
    zip(NAMES, (block.text for block in blocks(PAGE) if block.language == "ini"), strict=True)
)


def setting(unit: str, key: str) -> str:
    """Return what a unit says of a key, which stands there once."""
    (found,) = (
        line.partition("=")[2] for line in UNITS[unit].splitlines() if line.startswith(f"{key}=")
    )
    return found


@pytest.mark.parametrize(("unit", "once"), [("est-agent.service", False), (NAMES[1], True)])
def test_the_command_of_a_unit_is_one_that_est_takes(unit: str, once: bool) -> None:
    program, name, *arguments = shlex.split(setting(unit, "ExecStart"))
    assert program == "/opt/est/bin/est"
    command = group.get_command(click.Context(group), name)
    assert command is not None
    context = command.make_context(name, arguments)
    assert context.params["directory"] == Path("/var/lib") / setting(unit, "StateDirectory")
    assert context.params["once"] is once


def test_the_service_that_stays_says_when_it_is_ready_and_that_it_lives() -> None:
    assert setting("est-agent.service", "Type") == "notify"
    assert setting("est-agent.service", "WatchdogSec") == "10min"
    assert "AF_UNIX" in setting("est-agent.service", "RestrictAddressFamilies").split()
    assert setting("est-agent.service", "ExecReload") == "/bin/kill -HUP $MAINPID"


def test_what_is_answered_later_is_no_failure_of_the_timer() -> None:
    assert setting("est-renew.service", "SuccessExitStatus") == "3"


def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("systemd is not installed")
    for name, text in UNITS.items():
        # It looks whether the program is there.
        runs = text.replace("/opt/est/bin/est", sys.executable).replace("/bin/kill", "/bin/sh")
        (tmp_path / name).write_text(runs)
    done = subprocess.run(
        [verifier, "verify", "--man=no", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    about = [line for line in done.stderr.splitlines() if any(name in line for name in UNITS)]
    assert about == []
