"""est roll-back and est discard: what a person does in the directory of a certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from est_core import Instant
from est_transports.cli import main
from est_transports.pairs import PairDirectory
from tests.cli.agent_site import AgentSite
from tests.cli.canned import CannedServer, canned_server

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


@pytest.fixture
def site(server: CannedServer, tmp_path: Path, capsys: Capture) -> AgentSite:
    found = AgentSite(tmp_path / "device", capsys, server.url)
    found.write()
    return found


def renewed(site: AgentSite) -> None:
    assert site("renew")[0] == 0
    assert site("renew", "--force")[0] == 0


def test_one_goes_back_and_forth_between_two_certificates(site: AgentSite) -> None:
    site("renew")
    older = site.certificate()
    site("renew", "--force")
    newer = site.certificate()
    code, out, err = site("roll-back")
    assert (code, site.certificate()) == (0, older)
    assert out.startswith("gate: in use again: CN=gate, serial ")
    assert "[agent/rolled-back]" in err
    shown = site.status()
    assert (shown["state"], shown["last_failure"]["code"]) == ("failing", "agent/rolled-back")
    code, out, _ = site("roll-back", "gate", "--json")
    assert (code, site.certificate()) == (0, newer)
    found = json.loads(out)
    assert (found["name"], found["hook_problem"]) == ("gate", None)
    assert found["certificate"]["subject"] == "CN=gate"
    assert site("renew")[:2] == (0, "gate: has a new certificate\n")


def test_without_a_certificate_before_it_is_said(site: AgentSite) -> None:
    site("renew")
    code, _, err = site("roll-back")
    assert (code, "[pair/no-previous]" in err) == (5, True)


def test_a_directory_without_any_certificate_is_left_as_it_is(site: AgentSite) -> None:
    for command in ("roll-back", "discard"):
        assert site(command)[0] == 5
        assert not (site.directory / "gate").exists()


def test_a_running_agent_is_named_and_nothing_changes(site: AgentSite) -> None:
    renewed(site)
    before = site.certificate()
    with PairDirectory.open(site.directory / "gate", holder="est agent"):
        for command in ("roll-back", "discard"):
            code, _, err = site(command)
            assert code == 5
            assert "[pair/locked]" in err
            assert "est agent" in err
    assert site.certificate() == before


def test_of_several_the_name_is_asked_for(site: AgentSite) -> None:
    site.write(names=("gate", "other"))
    for command in ("roll-back", "discard"):
        code, _, err = site(command)
        assert code == 2
        assert "there are gate, other" in err


def test_a_certificate_that_has_expired_is_not_gone_back_to_unless_forced(
    site: AgentSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed(site)
    before = site.certificate()
    later = Instant(mono=0.0, wall=before.not_valid_after_utc + timedelta(days=1))
    monkeypatch.setattr("est_transports._clock.instant", lambda: later)
    code, _, err = site("roll-back")
    assert code == 5
    assert "is not valid now" in err
    assert site.certificate() == before
    assert site("roll-back", "--force")[0] == 0
    assert site.certificate() != before


def test_the_hook_runs_and_its_failure_is_told(site: AgentSite) -> None:
    told = site.directory / "told"
    script = f'echo $EST_EVENT >> "{told}"; test $EST_EVENT != rolled-back'
    site.write(own=f"hook = {json.dumps(['/bin/sh', '-c', script])}")
    renewed(site)
    code, out, err = site("roll-back")
    assert code == 5
    assert "in use again" in out
    assert "[agent/hook-failed]" in err
    assert told.read_text().split() == ["enrolled", "renewed", "rolled-back"]


def test_what_is_on_its_way_is_given_up(site: AgentSite, server: CannedServer) -> None:
    server.application.pend(60)
    assert site("renew")[0] == 3
    key = (site.directory / "gate" / "candidate" / "key.pem").read_bytes()
    assert site("discard")[:2] == (
        0,
        "gate: what was on its way is given up; `est renew` begins anew\n",
    )
    assert json.loads(site("discard", "--json")[1]) == {"name": "gate", "discarded": False}
    assert site("discard")[1] == "gate: nothing was on its way\n"
    server.application.decide_enrollments(server.application.issue)
    assert site("renew")[0] == 0
    assert (site.directory / "gate" / "current" / "key.pem").read_bytes() != key


def test_the_commands_say_what_they_do(capsys: Capture) -> None:
    for command in ("roll-back", "discard"):
        assert main([command, "--help"]) == 0
        assert "NAME says whose" in capsys.readouterr().out
