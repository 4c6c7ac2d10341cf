"""What the agent's commands say of what was changed, or done twice, by whoever runs them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core.life_cycle import Alarm, WhenExpired
from est_transports.cli.agent.hints import alarm_lines
from tests.cli.agent_site import AgentSite
from tests.cli.canned import canned_server
from tests.pki import YESTERDAY, Subject, pki


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[AgentSite]:
    with canned_server() as server:
        found = AgentSite(tmp_path / "device", capsys, server.url)
        found.write()
        yield found


def test_renew_runs_a_hook_again_that_failed(site: AgentSite) -> None:
    site.write(own='hook = ["/bin/sytemctl", "reload"]')
    assert site("renew")[0] == 5
    before = site.certificate()
    code, _, err = site("renew")
    assert (code, "cannot be started" in err) == (5, True)
    site.write(own='hook = ["/bin/sh", "-c", "exit 0"]')
    code, out, err = site("renew")
    assert (code, err) == (0, "")
    assert out.startswith("gate: the hook, which had failed, has ended well\n")
    assert site.certificate() == before
    assert site("status")[0] == 0


def test_a_common_name_that_was_changed_is_told(site: AgentSite) -> None:
    site("renew")
    path = site.directory / "est-agent.toml"
    path.write_text(path.read_text().replace('cn = "gate"', 'cn = "door"'))
    code, out, err = site("renew")
    assert (code, out) == (0, "gate: nothing is due; `est status` says when\n")
    assert "names CN=door, which the certificate in use lacks" in err
    code, _, err = site("status")
    assert code == 0
    assert "write another table for others" in err
    assert "CN=door" in site.status()["note"]


def test_agent_init_says_that_a_certificate_is_there(site: AgentSite) -> None:
    code, _, err = site("agent-init", "gate", "--url", site.url, "--trust", "ca.pem")
    assert code == 2
    assert err.endswith("has [certificate.gate] already; edit that, or give another NAME\n")
    (site.directory / "est-agent.toml").write_text("[certificate")
    assert site("agent-init", "gate", "--url", site.url, "--trust", "ca.pem")[0] == 2
    (site.directory / "est-agent.toml").write_text("certificate = 1\n")
    assert site("agent-init", "gate", "--url", site.url, "--trust", "ca.pem")[0] == 2


def test_hints_name_keys_of_the_file_and_no_options(site: AgentSite) -> None:
    other = pki().manufacturer.certificate.public_bytes(Encoding.PEM)
    (site.directory / "ca.pem").write_bytes(other)
    err = site("renew")[2]
    assert "as trust in est-agent.toml" in err
    assert "--trust" not in err


def test_an_expired_certificate_is_told_with_what_to_do(site: AgentSite, tmp_path: Path) -> None:
    expired = Subject(name="gate", not_before=YESTERDAY - timedelta(days=9), not_after=YESTERDAY)
    pair = pki().ca.issue(expired)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "cert.pem").write_bytes(pair.chain_pem)
    (tmp_path / "old" / "key.pem").write_bytes(pair.key_pem)
    (tmp_path / "old" / "key.pem").chmod(0o600)
    given = ("--url", site.url, "--trust", str(site.directory / "ca.pem"))
    assert site("agent-init", "old", *given, "--take", str(tmp_path / "old"))[0] == 0
    code, out, err = site("renew", "old")
    assert (code, out) == (1, "")
    assert err.endswith("old: not renewed; `est status` says what to do\n")
    code, out, err = site("status", "old")
    assert code == 1
    assert "\texpired" in out
    assert 'old: expired: where the clock is right, set when_expired to "renew"' in err
    path = site.directory / "est-agent.toml"
    path.write_text(f'when_expired = "enroll"\n{path.read_text()}')
    assert site("renew", "old")[:2] == (0, "old: has a new certificate\n")


@pytest.mark.parametrize("expired", WhenExpired)
@pytest.mark.parametrize("alarm", Alarm)
def test_each_alarm_comes_with_what_to_do(alarm: Alarm, expired: WhenExpired) -> None:
    (line,) = alarm_lines({alarm}, expired)
    assert line.startswith(f"{alarm.value}: ")
    assert len(line) > 40


def test_a_secret_that_everybody_can_read_is_told_each_time(site: AgentSite) -> None:
    password = site.directory / "password"
    password.chmod(0o644)
    told = f"{password}: everybody on this machine can read it; take that away with: chmod o= "
    for command in (("renew",), ("agent", "--once")):
        code, _, err = site(*command)
        assert (code, told in err) == (0, True)
    password.chmod(0o640)
    assert told not in site("renew")[2]


def test_a_credential_that_is_gone_after_the_first_certificate_is_not_told(site: AgentSite) -> None:
    assert site("renew")[0] == 0
    (site.directory / "password").unlink()
    for command in (("renew", "--force"), ("agent", "--once")):
        code, _, err = site(*command)
        assert (code, "No such file" in err) == (0, False)


def test_agent_init_says_which_file_is_not_there_yet(site: AgentSite) -> None:
    (site.directory / "est-agent.toml").unlink()
    given = ("--url", site.url, "--trust", str(site.directory / "none.pem"), "--cn", "gate")
    code, _, err = site("agent-init", "gate", *given)
    assert code == 0
    assert f"{site.directory / 'none.pem'}: No such file or directory" in err
