"""The unit for systemd in the operator's guide: what systemd says of it, and what must be in it."""

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

(UNIT,) = (
    block.text for block in blocks(DOCS / "how-to" / "run-est-serve.md") if block.language == "ini"
)


def settings() -> dict[str, list[str]]:
    """Return the unit's settings; a key may stand there more than once."""
    found: dict[str, list[str]] = {}
    for line in UNIT.splitlines():
        if "=" in line:
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_says_when_it_is_ready_and_what_is_not_tried_again() -> None:
    expected = {
        "Type": ["notify"],
        "UMask": ["0077"],
        "Restart": ["on-failure"],
        "RestartPreventExitStatus": ["2 5"],
        "ExecReload": ["/bin/kill -HUP $MAINPID"],
        "NoNewPrivileges": ["yes"],
        "ProtectSystem": ["strict"],
    }
    assert {key: settings()[key] for key in expected} == expected
    # The readiness is a datagram to a socket of this family.
    assert "AF_UNIX" in settings()["RestrictAddressFamilies"][0].split()


def test_the_command_of_the_unit_is_one_that_est_takes() -> None:
    program, *arguments = shlex.split(settings()["ExecStart"][0])
    assert program == "/opt/est/bin/est"
    command = group.get_command(click.Context(group), arguments[0])
    assert command is not None
    context = command.make_context("serve", arguments[1:])
    assert context.params["directory"] == Path("/var/lib/est/ca")
    assert context.params["directory"].parent == Path("/var/lib") / settings()["StateDirectory"][0]


def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("systemd is not installed")
    path = tmp_path / "est.service"
    # It looks whether the program is there.
    path.write_text(
        UNIT.replace("/opt/est/bin/est", sys.executable).replace("/bin/kill", "/bin/sh")
    )
    done = subprocess.run(
        [verifier, "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    about_it = [line for line in done.stderr.splitlines() if "est.service" in line]
    assert about_it == []
