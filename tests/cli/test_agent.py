"""est agent, agent-init, renew, status: against a real server on loopback."""

from __future__ import annotations

import json
import os
import queue
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from est_core import Deny
from est_transports.cli import main
from est_transports.pairs import PairDirectory
from tests.application import PASSWORD, USER
from tests.cli.agent_site import AgentSite
from tests.cli.canned import CannedServer, canned_server
from tests.cli.other_user import AS_ROOT, common_place, est_as, give_away

__all__ = ["common_place"]

Capture = pytest.CaptureFixture[str]
WAIT_S = 60.0


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


@pytest.fixture
def site(server: CannedServer, tmp_path: Path, capsys: Capture) -> AgentSite:
    found = AgentSite(tmp_path / "device", capsys, server.url)
    found.write()
    return found


class Process:
    """`est agent` in a process of its own; `lines` are those of its standard error."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "est_transports"),
    ):
        command = (sys.executable, *program, "agent", str(directory), *options)
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines: list[str] = []
        self._news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._news.put(line)
        self._news.put(None)

    def wait_for(self, words: str) -> str:
        """Return the next line with these words."""
        while (line := self._news.get(timeout=WAIT_S)) is not None:
            if re.search(words, line):
                return line
        raise AssertionError(f"no {words!r} in {self.lines}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code


@contextmanager
def agent_process(
    site: AgentSite, *options: str, program: tuple[str, ...] = ("-m", "est_transports")
) -> Iterator[Process]:
    running = Process(site.directory, *options, program=program)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(WAIT_S)
        assert running.process.stderr is not None
        running.process.stderr.close()


# The first use, and renewal


def test_renew_gets_the_first_certificate_then_has_nothing_to_do_until_it_is_forced(
    site: AgentSite, server: CannedServer
) -> None:
    assert site.status()["state"] == "none"
    assert site("renew") == (0, "gate: has a new certificate\n", "")
    first = site.certificate()
    assert site("renew")[:2] == (0, "gate: nothing is due; `est status` says when\n")
    assert site.certificate() == first
    assert site("renew", "gate", "--force")[0] == 0
    assert site.certificate() != first
    shown = site.status()
    assert (shown["state"], shown["needs_person"], shown["agent"]) == ("fine", False, None)
    assert shown["certificate"]["subject"] == "CN=gate"
    assert shown["next"] is not None


def test_agent_init_writes_settings_that_work_the_first_time(
    server: CannedServer, tmp_path: Path, capsys: Capture
) -> None:
    site = AgentSite(tmp_path / "device", capsys, server.url)
    site.write()
    (tmp_path / "device" / "est-agent.toml").unlink()
    given = (
        *("--url", server.url, "--trust", str(tmp_path / "device" / "ca.pem")),
        *("--user", USER, "--password-file", str(tmp_path / "device" / "password")),
    )
    assert site("agent-init", "gate", *given, "--cn", "gate", "--san", "dns:gate.example")[0] == 0
    assert site("agent-init", "other", *given, "--cn", "other")[0] == 0
    text = (tmp_path / "device" / "est-agent.toml").read_text()
    assert 'trust = "ca.pem"' in text
    assert PASSWORD not in text
    assert site("renew")[:2] == (0, "gate: has a new certificate\nother: has a new certificate\n")
    assert site.certificate("other").subject.rfc4514_string() == "CN=other"


def test_agent_init_refuses_what_would_not_be_read_and_changes_nothing(
    site: AgentSite, server: CannedServer
) -> None:
    before = (site.directory / "est-agent.toml").read_text()
    for name, more in (("gate", ()), ("../x", ()), ("new", ("--san", "x"))):
        code, out, err = site("agent-init", name, "--url", server.url, "--trust", "ca.pem", *more)
        assert (code, out) == (2, "")
        assert err.startswith("est: ")
        assert err.count("\n") == 1
    assert "a certificate's name has 1 to 64" in site("agent-init", "a b", "--url", "https://x")[2]
    assert (site.directory / "est-agent.toml").read_text() == before


def test_a_pair_of_est_enroll_is_taken_over_and_renewed(
    server: CannedServer, tmp_path: Path, capsys: Capture
) -> None:
    site = AgentSite(tmp_path / "device", capsys, server.url)
    site.write()
    (site.directory / "est-agent.toml").unlink()
    trust, old = str(site.directory / "ca.pem"), tmp_path / "old"
    enrolled = ("--trust", trust, "--user", f"{USER}:{PASSWORD}", "--cn", "old", "--out", str(old))
    assert main(["enroll", server.url, *enrolled]) == 0
    take = ("--url", server.url, "--trust", trust, "--take", str(old))
    assert site("agent-init", "gate", *take)[0] == 0
    assert site.certificate().subject.rfc4514_string() == "CN=old"
    assert site("renew", "--force")[0] == 0
    assert site.certificate().subject.rfc4514_string() == "CN=old"
    code, _, err = site("agent-init", "gate2", *take[:4], "--take", str(tmp_path / "none"))
    assert code == 5
    assert "none/cert.pem" in err


def test_renew_tells_json_of_each_certificate(site: AgentSite) -> None:
    site.write(names=("a", "b"))
    code, out, err = site("renew", "--json")
    assert (code, err) == (0, "")
    assert [(each["name"], each["renewed"]) for each in json.loads(out)] == [
        ("a", True),
        ("b", True),
    ]


@pytest.mark.parametrize("command", ["renew", "status"])
def test_a_name_that_is_not_there_is_told_with_those_that_are(
    site: AgentSite, command: str
) -> None:
    code, _, err = site(command, "gte")
    assert code == 2
    assert "has no [certificate.gte]; it has gate" in err


@pytest.mark.parametrize("command", ["renew", "status", "agent"])
def test_settings_that_everybody_may_write_are_not_read(site: AgentSite, command: str) -> None:
    """A hook of theirs would be run, by root most of the time."""
    site.write(top='hook = ["/bin/true"]')
    (site.directory / "est-agent.toml").chmod(0o646)
    code, _, err = site(command)
    assert code == 5
    assert "est-agent.toml: everybody may write into it" in err
    assert not (site.directory / "gate").exists()


@pytest.mark.parametrize("command", ["renew", "status", "agent"])
def test_without_settings_the_command_that_makes_them_is_named(
    tmp_path: Path, capsys: Capture, command: str
) -> None:
    assert main([command, str(tmp_path)]) == 5
    assert "est agent-init DIR NAME" in capsys.readouterr().err
    (tmp_path / "est-agent.toml").write_text("url = 1\n")
    assert main([command, str(tmp_path)]) == 5
    assert "est-agent.toml" in capsys.readouterr().err


# What fails


def test_a_refusal_keeps_the_pair_and_status_says_what_to_do(
    site: AgentSite, server: CannedServer
) -> None:
    site("renew")
    before = site.certificate()
    server.application.decide_enrollments(Deny(code="policy/no", reason="not\x1b[2J today"))
    code, out, err = site("renew", "--force")
    assert (code, out) == (1, "")
    assert "not" in err
    assert "\x1b" not in err
    assert site.certificate() == before
    shown = site.status()
    assert (shown["state"], shown["needs_person"]) == ("failing", False)
    assert shown["last_failure"]["code"] == "response/status-403"
    code, out, err = site("status")
    assert code == 0
    assert "renewal fails" in out
    assert "[response/status-403]" in err
    server.application.decide_enrollments(server.application.issue)
    assert site("renew")[:2] == (0, "gate: has a new certificate\n"), "at once, without --force"
    assert site.status()["last_failure"] is None


def test_a_server_that_is_away_is_a_failure_of_the_network(tmp_path: Path, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    site = AgentSite(tmp_path / "device", capsys, f"https://127.0.0.1:{port}")
    site.write()
    assert site("renew")[0] == 4
    assert site("agent", "--once")[0] == 0, "it waits before it tries again"
    assert site.status()["needs_person"] is True, "there is no certificate"
    assert site("status")[0] == 1


def test_what_is_put_off_ends_with_the_exit_code_for_that(
    site: AgentSite, server: CannedServer
) -> None:
    server.application.pend(60)
    code, out, _ = site("agent", "--once")
    assert (code, out) == (3, "")
    assert site.status()["state"] == "pending"
    code, out, _ = site("renew")
    assert (code, out) == (0, "gate: has a new certificate\n")
    server.application.pend(60)
    code, out, _ = site("renew", "--force")
    assert code == 3
    assert "the server answers later" in out


def test_a_hook_that_fails_is_reported_and_needs_a_person(site: AgentSite) -> None:
    site.write(own='hook = ["/bin/sh", "-c", "echo reload failed; exit 7"]')
    code, out, err = site("renew")
    assert (code, out) == (5, "gate: has a new certificate\n")
    assert "ended with 7: reload failed" in err
    shown = site.status()
    assert (shown["state"], shown["needs_person"]) == ("fine", True)
    assert shown["hook_failure"]["code"] == "agent/hook-failed"
    site.write(own='hook = ["/bin/sh", "-c", "exit 0"]')
    assert site("renew", "--force")[0] == 0
    assert site.status()["hook_failure"] is None


def test_a_hook_that_hangs_is_killed_and_the_certificate_is_there(site: AgentSite) -> None:
    site.write(own='hook = ["/bin/sh", "-c", "sleep 600"]\nhook_timeout_s = 0.3')
    code, _, err = site("renew")
    assert code == 5
    assert "was killed: it did not end within 0.3 s" in err
    assert site.certificate().subject.rfc4514_string() == "CN=gate"


def _no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk_is_told_and_the_pair_stays(site: AgentSite) -> None:
    site("renew")
    before = site.certificate()
    command = (sys.executable, "-m", "est_transports", "renew", str(site.directory), "--force")
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=_no_room, timeout=60, check=False
    )
    assert done.returncode == 5
    assert "[pair/disk-full]" in done.stderr
    assert site.certificate() == before
    assert site("renew", "--force")[0] == 0


@AS_ROOT
def test_a_directory_that_may_not_be_written_is_told_and_the_pair_stays(
    site: AgentSite, common_place: Path
) -> None:
    place = common_place / "device"
    shutil.move(site.directory, place)
    site.directory = place
    site("renew")
    before = site.certificate()
    give_away(place)
    for path in (place, place / "gate", place / "gate" / "pairs"):
        path.chmod(0o555)
    done = est_as(54321, "renew", place, "--force")
    assert done.returncode == 5
    assert "[pair/not-writable]" in done.stderr
    assert site.certificate() == before


def test_a_damaged_pair_is_told_and_not_replaced(site: AgentSite) -> None:
    site("renew")
    (site.directory / "gate" / "current" / "cert.pem").write_text("nothing")
    for command, expected in (("renew", 5), ("agent", 5), ("status", 1)):
        code, _, err = site(command)
        assert code == expected
        assert "[pair/damaged]" in err
    assert site.status()["state"] == "unreadable"


def test_one_that_is_damaged_keeps_nobody_from_the_others(site: AgentSite) -> None:
    names = ("a", "bad", "worse", "z")
    site.write(names=names)
    site("renew")
    for name in ("bad", "worse"):
        (site.directory / name / "current" / "key.pem").write_text("nothing")
    before = {name: site.certificate(name) for name in ("a", "z")}
    code, out, err = site("renew", "--force")
    assert (code, out) == (5, "a: has a new certificate\nz: has a new certificate\n")
    assert err.count("pair/") == 2
    assert all(site.certificate(name) != before[name] for name in before)
    code, _, err = site("agent", "--once")
    assert code == 5
    assert err.count("not looked after") == 2
    code, out, _ = site("status")
    assert code == 1
    assert [line.split("\t")[3] for line in out.splitlines()] == [
        "fine", "cannot be read", "cannot be read", "fine"
    ]  # fmt: skip


# The agent itself


def test_the_agent_gets_certificates_and_ends_when_it_is_told(site: AgentSite) -> None:
    site.write(names=("a", "b"))
    with agent_process(site) as running:
        for _ in range(2):
            running.wait_for("has a new certificate: CN=")
        shown = site.status("a")
        assert re.search(r"est agent", shown["agent"])
        code, _, err = site("renew", "a", "--force")
        assert code == 5
        assert "[pair/locked]" in err
        code, _, err = site("agent")
        assert code == 5
        assert "[pair/locked]" in err
        assert running.end() == 0
    assert "stopped" in running.lines[-1]
    assert site.certificate("a").subject.rfc4514_string() == "CN=a"


def test_many_that_end_a_pass_at_once_do_not_end_the_agent(site: AgentSite) -> None:
    names = tuple(f"c{number}" for number in range(300))
    site.write(names=names)
    place = site.directory / "est-agent.toml"
    place.write_text(place.read_text().replace(site.url, "https://127.0.0.1:1"))
    code = (
        "import sys; sys.setswitchinterval(1e-6);"  # threads take turns at every step
        "from est_transports.cli import main; sys.exit(main())"
    )
    with agent_process(site, program=("-c", code)) as running:
        for _ in names:
            running.wait_for("connect/refused")
        assert running.end() == 0


def test_ctrl_c_ends_it_too(site: AgentSite) -> None:
    with agent_process(site, "--json") as running:
        running.wait_for("has a new certificate")
        assert running.end(signal.SIGINT) == 0
    assert json.loads(running.lines[-1])["message"] == "stopped"


def test_a_signal_has_it_read_the_settings_again_all_or_nothing(site: AgentSite) -> None:
    with agent_process(site) as running:
        running.wait_for("has a new certificate")
        (site.directory / "est-agent.toml").write_text("url = 1\n")
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("not reloaded, everything stays as it was")
        site.write(names=("gate", "more"))
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("reloaded: looks after gate, more")
        running.wait_for("more: has a new certificate")
        assert running.end() == 0


def test_one_that_could_not_be_looked_after_is_once_it_can_be(site: AgentSite) -> None:
    """Somebody renewed it by hand when the agent began, or the disk was full."""
    site.write(names=("a", "b"), top="retry_first_s = 1")
    held = PairDirectory.open(site.directory / "b", create=True)
    with closing(held), agent_process(site) as running:
        running.wait_for(r"works in this directory \[pair/locked\]; not looked after")
        running.wait_for("a: has a new certificate")
        held.close()
        running.wait_for("b: has a new certificate")
        assert running.end() == 0


@pytest.mark.parametrize("hard", [4096, 100])
def test_as_many_files_are_allowed_as_certificates_need_or_it_is_said(
    site: AgentSite, hard: int
) -> None:
    """Three files each are open all the time: of 1,024 that would be too many with 350."""
    names = tuple(f"c{number}" for number in range(23))
    site.write(names=names)
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (96, {hard}));"
        "from est_transports.cli import main; sys.exit(main())"
    )
    with agent_process(site, "--once", program=("-c", code)) as running:
        line = running.wait_for("looks after|files may be open|has a new certificate")
        assert ("only 100 files may be open: 23 certificates need 248" in line) == (hard == 100)
        running.end(signal.SIGKILL)


def test_settings_whose_directories_cannot_be_used_leave_everything_as_it_was(
    site: AgentSite,
) -> None:
    with agent_process(site) as running:
        running.wait_for("has a new certificate")
        site.write(names=("blocked",))
        (site.directory / "blocked").write_text("somebody's file")
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("reloaded: looks after blocked")
        running.wait_for("not reloaded, everything stays as it was")
        site.write()
        assert running.process.poll() is None
        assert running.end() == 0


def test_systemd_is_told_what_goes_on(site: AgentSite, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(WAIT_S)
        environment = {**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        running = Process(site.directory, environment=environment)
        try:
            _hear(listener, lambda text: text.startswith("READY=1\nSTATUS=1 certificate"))
            _hear(listener, lambda text: text.startswith("WATCHDOG=1"))
            running.process.send_signal(signal.SIGHUP)
            _hear(listener, lambda text: text.startswith("RELOADING=1"))
            _hear(listener, lambda text: text.startswith("READY=1"))
            assert running.end() == 0
            _hear(listener, lambda text: text.startswith("STOPPING=1"))
        finally:
            running.process.kill()
            running.process.wait(WAIT_S)
            assert running.process.stderr is not None
            running.process.stderr.close()


def _hear(listener: socket.socket, wanted: Callable[[str], bool]) -> None:
    while not wanted(listener.recv(4096).decode()):
        pass
