"""`est ca`: a rollover told, and how the keys of a CA stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from est_transports.service.config.reader import CONFIG_FILE
from tests.cli.test_server_commands import error_of, est, made


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for the module, that is rolled over."""
    return made(tmp_path_factory.mktemp("rollover") / "ca", "--name", "Plant 7")


def test_a_rollover_and_its_status(ca: Path) -> None:
    done = est("ca", "rollover", ca)
    assert done.exit_code == 0, done.stderr
    assert "new root     CN=Plant 7, until " in done.stdout
    assert f"for clients  {ca / 'ca-2.pem'}" in done.stdout
    assert "reload the server" in done.stderr
    again = json.loads(est("ca", "rollover", ca, "--json", "--keep-server").stdout)
    assert again["server"] is None
    assert again["certificate"] == str(ca / "ca-3.pem")
    status = est("ca", "status", ca)
    assert [line.split("\t")[0] for line in status.stdout.splitlines()] == ["3", "2", "1"]
    shown = json.loads(est("ca", "status", ca, "--json").stdout)
    assert [each["certificates"] for each in shown] == [0, 1, 1]
    assert shown[1]["sha256"] == again["former_sha256"]


def test_what_to_do_next_is_said(ca: Path) -> None:
    path = ca / CONFIG_FILE
    if "[[ca.former]]" not in path.read_text():
        assert est("ca", "rollover", ca).exit_code == 0
    text = path.read_text()
    before, _, rest = text.partition("trusted_until = ")
    try:
        for until, said in (("2026-01-01T00:00:00Z", "counts no more"),
                            ("2026-12-24T00:00:00Z", "have to be renewed until")):  # fmt: skip
            older = rest.partition("\n")[2]
            path.write_text(f'{before}trusted_until = "{until}"\n{older}')
            assert said in est("ca", "status", ca).stderr
        path.write_text(before.rpartition("[[ca.former]]")[0])
        assert "does not name" in est("ca", "status", ca).stderr
    finally:
        path.write_text(text)


def test_refusals_are_one_line(ca: Path, tmp_path: Path) -> None:
    assert "no date and time" in error_of(est("ca", "rollover", ca, "--until", "soon"), 2)
    over = est("ca", "rollover", ca, "--until", "2020-01-01T00:00:00Z")
    assert "a time that is over" in error_of(over)
    below = made(tmp_path / "below", "--intermediate")
    assert "only a root is rolled over" in error_of(est("ca", "rollover", below))
