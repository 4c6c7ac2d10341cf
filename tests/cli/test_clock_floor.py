"""Commands on a machine whose clock is unset or wrong: what they do, and what they say of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli import main
from tests.application import PASSWORD, USER
from tests.cli.canned import CannedServer, canned_server
from tests.conftest import PeerFinder
from tests.pki import pki

ROOT = pki().ca.certificate
PRINT = ROOT.fingerprint(hashes.SHA256()).hex()
LOGIN = ("--user", f"{USER}:{PASSWORD}")
A_MONTH_AGO = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%d}"
UNSET = "@1970-01-01 00:10:00"
At = Callable[..., tuple[int, str]]


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


@pytest.fixture
def at(peer: PeerFinder) -> At:
    """Return what runs a command by another clock, and returns its exit code and what it said."""
    faketime = peer("faketime")

    def run(when: str, *arguments: str | Path) -> tuple[int, str]:
        done = subprocess.run(
            [faketime, "-f", when, sys.executable, "-m", "est_transports", *map(str, arguments)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"},
            timeout=60,
        )
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("when", [UNSET, "-1y"])
def test_a_device_whose_clock_is_behind_is_bootstrapped_and_renews_by_a_floor(
    server: CannedServer, tmp_path: Path, at: At, when: str
) -> None:
    provision = ("provision", server.url, "--fingerprint", PRINT, "--cn", "d", *LOGIN)
    code, err = at(when, *provision, "--out", tmp_path)
    assert code == 4
    assert "not yet valid (the clock here shows " in err
    assert "check the clock of this machine" in err
    assert "give --clock-floor DATE" in err
    assert not (tmp_path / "cert.pem").exists()
    code, err = at(when, *provision, "--out", tmp_path, "--clock-floor", A_MONTH_AGO, "--force")
    assert code == 0, err
    assert f"which is behind {A_MONTH_AGO}T00:00:00Z" in err
    renew = (
        *("reenroll", server.url, "--trust", tmp_path / "cacerts.pem", "--force"),
        *("--cert", tmp_path / "cert.pem", "--key", tmp_path / "key.pem", "--out", tmp_path),
    )
    assert at(when, *renew)[0] == 4
    code, err = at(when, *renew, "--clock-floor", f"{A_MONTH_AGO}T12:00:00+02:00")
    assert code == 0, err


def test_a_clock_that_is_ahead_is_believed_and_named(
    server: CannedServer, tmp_path: Path, at: At
) -> None:
    anchor = tmp_path / "ca.pem"
    anchor.write_bytes(ROOT.public_bytes(Encoding.PEM))
    options = ("cacerts", server.url, "--trust", anchor, "--clock-floor", A_MONTH_AGO)
    code, err = at("+11y", *options)
    assert code == 4
    assert "expired (the clock here shows 20" in err
    assert "set the clock of this machine, if it is ahead" in err


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+10:00", "1e9"]
)
def test_what_is_no_moment_is_a_usage_error(
    server: CannedServer, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert main(["cacerts", server.url, "--fingerprint", PRINT, "--clock-floor", text]) == 2
    assert "2026-11-27T12:00:00Z" in capsys.readouterr().err
    assert server.connections == 0


def test_while_the_clock_shows_more_nothing_is_said(
    server: CannedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("cacerts", server.url, "--fingerprint", PRINT, "--clock-floor", A_MONTH_AGO)
    assert main([*options]) == 0
    assert "behind" not in capsys.readouterr().err
