"""Standard error that is full or closed, the journal of systemd, and its readiness protocol."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from est_transports.daemon.log_output import LogHandler
from est_transports.daemon.systemd import PriorityFormatter, is_journal, notify
from tests.cli.serve_process import ServeProcess, refused, serving
from tests.cli.test_staying_up import made, status, until


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return made(tmp_path / "ca")


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-", "2>&- >&- <&-"])
def test_a_server_that_cannot_write_its_log_serves_all_the_same(stderr: str, ca: Path) -> None:
    port = free_port()
    command = f'exec "$0" -m est_transports serve "$1" --listen 127.0.0.1:{port} {stderr}'
    process = subprocess.Popen(["sh", "-c", command, sys.executable, str(ca)], text=True)
    try:
        deadline = time.monotonic() + 20
        while refused(port):
            assert process.poll() is None, process.returncode
            assert time.monotonic() < deadline
            time.sleep(0.02)
        server = ServeProcess(directory=ca, process=process, port=port)
        assert status(server) == 200
        process.send_signal(signal.SIGHUP)
        assert status(server) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(20)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_how_many_lines_were_lost_is_said_when_they_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = LogHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))

    def say(stream: object, text: str) -> None:
        monkeypatch.setattr(sys, "stderr", stream)
        handler.emit(logging.makeLogRecord({"msg": text}))

    reader, writer = os.pipe()
    os.close(reader)
    with (
        open("/dev/full", "w") as full,
        os.fdopen(writer, "w") as nobody,
        (tmp_path / "log").open("w") as good,
    ):
        say(good, "first")
        say(full, "lost")
        say(nobody, "lost too")
        say(None, "and this")
        say(good, "again")
        say(good, "last")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["first", "3 log lines were lost: they could not be written", "again", "last"]


def test_lines_for_the_journal_have_their_priority(tmp_path: Path) -> None:
    formatter = PriorityFormatter(logging.Formatter("%(message)s"))
    for level, priority in (
        (logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6),
        (logging.DEBUG, 7),
    ):  # fmt: skip
        record = logging.makeLogRecord({"msg": "two\nlines", "levelno": level})
        assert formatter.format(record) == f"<{priority}>two\n<{priority}>lines"
    with (tmp_path / "journal").open("w") as file:
        status = os.fstat(file.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        assert is_journal(file.fileno(), {"JOURNAL_STREAM": stream})
        for other in ("", "garbage", f"{status.st_dev}:1", stream + "1"):
            assert not is_journal(file.fileno(), {"JOURNAL_STREAM": other})
        assert not is_journal(file.fileno(), {})
    assert not is_journal(99999, {"JOURNAL_STREAM": stream})


def test_a_server_in_the_journal_says_how_grave_each_line_is(
    ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pipe is what systemd would have made; its number is known once it is there.
    reader, writer = os.pipe()
    found = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    (ca / "ca-key.pem").chmod(0o644)
    process = subprocess.Popen(
        [sys.executable, "-m", "est_transports", "serve", str(ca), "--listen", "127.0.0.1:0"],
        stderr=writer,
    )
    os.close(writer)
    with os.fdopen(reader) as lines:
        try:
            told = [next(lines) for _ in range(4)]
            process.send_signal(signal.SIGTERM)
            told += list(lines)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait(20)
    assert told[0].startswith("<6>")
    assert told[1].startswith("<4>")
    assert "everybody on this machine can read it; take that away with: chmod o= " in told[1]
    assert told[2].startswith("<4>")
    assert 'auth.names is "any"' in told[2]
    assert told[3].startswith("serving https://")
    assert told[-1].startswith("<6>")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The socket of a service manager, and what NOTIFY_SOCKET says of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.settimeout(20)
        if request.param == "path":
            made.bind(str(tmp_path / "notify"))
            yield made, str(tmp_path / "notify")
        else:
            name = f"est-test-{os.getpid()}"
            made.bind(f"\0{name}")
            yield made, f"@{name}"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service_manager_is_told_when_the_server_is_ready_and_when_it_reloads(
    workers: str, manager: tuple[socket.socket, str], ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with serving(ca, "--workers", workers) as server:
        ready = listening.recv(4096).decode().splitlines()
        assert ready[0] == "READY=1"
        assert ready[1].startswith("STATUS=serving https://")
        assert status(server) == 200
        for broken in (False, True):
            if broken:
                (ca / "est.toml").write_text("broken")
            server.signal(signal.SIGHUP)
            first, moment = listening.recv(4096).decode().splitlines()
            assert (first, moment.startswith("MONOTONIC_USEC=")) == ("RELOADING=1", True)
            assert listening.recv(4096).decode() == "READY=1"
        until(lambda: any("not reloaded" in line for line in server.log))
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):  # the workers tell nothing
        listening.recv(4096)


def test_a_service_manager_that_is_not_there_changes_nothing(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    notify("READY=1", environment={})
    notify("READY=1", environment={"NOTIFY_SOCKET": "garbage"})
    assert not caplog.records
    notify("READY=1", environment={"NOTIFY_SOCKET": str(tmp_path / "nowhere")})
    assert "cannot tell the service manager READY=1: No such file" in caplog.text


def test_a_line_goes_to_a_stream_that_is_no_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    handler = LogHandler()
    handler.write_line("one")
    stream.close()
    handler.write_line("two")  # nothing is raised where nobody listens any more
    monkeypatch.setattr(sys, "stderr", None)
    handler.write_line("three")
    assert handler.lost == 1


def test_a_record_that_cannot_be_formatted_is_told_and_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = LogHandler()
    handler.handle(logging.makeLogRecord({"msg": "%d things", "args": ("many",)}))
    err = capsys.readouterr().err
    assert "--- Logging error ---" in err
    assert "%d things" in err
