"""What a server keeps when it is killed, stopped, doubled, or used for a long time."""

from __future__ import annotations

import resource
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deployment import EST, Deployment, prepared, serving
from tests.system.independent_client import IndependentClient
from tests.system.records import issued
from tests.system.requests import certificates, csr, identity_files, new_key

ROUNDS = 1000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return prepared(tmp_path / "D")


def enroll_some(
    port: int, trust: Path, count: int, identity: tuple[Path, Path] | None = None
) -> list[int]:
    """Enroll that many times, a new connection every ten; return the serial numbers.

    By certificate if there is one: a password costs the server 50 ms on purpose.
    """
    key, serials = new_key(), []
    for start in range(0, count, 10):
        with IndependentClient(port, trust, identity=identity) as client:
            request = csr(key, f"device-{start}", challenge=client.tls_unique())
            for _ in range(min(10, count - start)):
                answer = client.enroll(request)
                assert answer.status == 200, answer.body
                serials.append(certificates(answer.body)[0].serial_number)
    return serials


def enrolled(server: Deployment, directory: Path) -> tuple[Path, Path]:
    """The files of a device that has its first certificate."""
    key = new_key()
    with IndependentClient(server.port, server.ca_file) as client:
        answer = client.enroll(csr(key, "first"))
    return identity_files(directory, certificates(answer.body)[0], key)


def resources(pid: int) -> tuple[int, int]:
    """Open files, and resident memory in KiB."""
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return files, int(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_thousand_enrollments_leave_files_and_memory_flat(
    directory: Path, tmp_path: Path
) -> None:
    with serving(directory) as server, ThreadPoolExecutor(2) as pool:
        identity = enrolled(server, tmp_path)

        def enroll_from_both_sides(count: int) -> None:
            shares = [
                pool.submit(enroll_some, server.port, server.ca_file, count // 2, identity)
                for _ in range(2)
            ]
            for share in shares:
                share.result()

        # The first hundreds fill pools, caches and SQLite's log; SQLite's cache grows to 2 MiB.
        enroll_from_both_sides(ROUNDS // 2)
        files, memory_kib = resources(server.process.pid)
        enroll_from_both_sides(ROUNDS // 2)
        files_after, memory_after_kib = resources(server.process.pid)
        assert files_after <= files + 8  # two readers of the store; a leak would be hundreds
        assert memory_after_kib <= memory_kib + 2048
        assert len(issued(server)) == 1 + ROUNDS


def test_two_processes_on_one_store_lose_no_record_and_share_no_serial(
    directory: Path, tmp_path: Path
) -> None:
    with serving(directory) as first, serving(directory) as second, ThreadPoolExecutor(4) as pool:
        identity = enrolled(first, tmp_path)
        shares = [
            pool.submit(enroll_some, server.port, server.ca_file, 50, identity)
            for server in (first, second, first, second)
        ]
        serials = [serial for share in shares for serial in share.result()]
        assert len(set(serials)) == 200
        recorded = {int(row.serial, 16) for row in issued(first)}
        assert recorded > set(serials)
        assert len(recorded) == 201


def test_two_workers_of_one_server_share_the_port(directory: Path, tmp_path: Path) -> None:
    with serving(directory, "--workers", "2") as server:
        identity = enrolled(server, tmp_path)
        assert len(set(enroll_some(server.port, server.ca_file, 100, identity))) == 100
        assert len(issued(server)) == 101


LIMITED = ("bash", "-c", 'ulimit "$0" 70; exec "$@"')


# A file for each of 256 connections and of 4096 handshakes that may be half open, and 64 besides.
@pytest.mark.parametrize(("kind", "files", "warned"), [("-Sn", 4416, False), ("-n", 70, True)])
def test_a_server_may_open_a_file_for_each_connection_or_says_that_it_may_not(
    kind: str, files: int, warned: bool, directory: Path
) -> None:
    with serving(directory, command=(*LIMITED, kind, *EST)) as server:
        soft, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        assert soft == files
        with IndependentClient(server.port, server.ca_file) as client:
            assert client.get("cacerts").status == 200
        assert any("only 70 files may be open" in line for line in server.log.lines) == warned


def test_what_was_recorded_before_a_kill_is_there_after_a_restart(
    directory: Path, tmp_path: Path
) -> None:
    # The same command, but the process dies the moment a certificate is on record.
    script = tmp_path / "dies_after_the_record.py"
    script.write_text(
        "import os, signal, sys\n"
        "from est_transports.__main__ import main\n"
        "from est_transports.authority.stores.sqlite import SqliteStore\n"
        "record = SqliteStore.record_certificate\n"
        "def record_and_die(self, what, **more):\n"
        "    record(self, what, **more)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "SqliteStore.record_certificate = record_and_die\n"
        "sys.exit(main())\n"
    )
    with serving(directory, command=(sys.executable, str(script)), stops=False) as server:
        with IndependentClient(server.port, server.ca_file) as client, pytest.raises(OSError):  # noqa: PT011
            client.enroll(csr(new_key(), "unlucky"))
        assert server.process.wait(10) == -signal.SIGKILL
    with serving(directory) as server:
        assert any("unlucky" in record["subject"] for record in server.records())
        assert enroll_some(server.port, server.ca_file, 1)


def test_sigterm_with_six_requests_in_flight_answers_six_and_refuses_new_connections(
    directory: Path, tmp_path: Path
) -> None:
    # The same command, but issuing waits until the signal has arrived.
    script = tmp_path / "issues_slowly.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from est_transports.__main__ import main\n"
        "from est_transports.authority.stores.sqlite import SqliteStore\n"
        f"gate, waiting = Path({str(tmp_path / 'gate')!r}), Path({str(tmp_path)!r})\n"
        "record = SqliteStore.record_certificate\n"
        "def record_behind_the_gate(self, what, **more):\n"
        "    if what.operation == 'simpleenroll':\n"
        "        (waiting / f'waiting-{what.serial}').touch()\n"
        "        while not gate.exists():\n"
        "            time.sleep(0.01)\n"
        "    record(self, what, **more)\n"
        "SqliteStore.record_certificate = record_behind_the_gate\n"
        "sys.exit(main())\n"
    )
    with serving(directory, command=(sys.executable, str(script)), stops=False) as server:
        with ThreadPoolExecutor(6) as pool:
            flights = [pool.submit(enroll_some, server.port, server.ca_file, 1) for _ in range(6)]
            until(lambda: len(list(tmp_path.glob("waiting-*"))) == 6)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: refuses(server))
            (tmp_path / "gate").touch()
            assert len({serial for flight in flights for serial in flight.result()}) == 6
        assert server.process.wait(15) == 0


def refuses(server: Deployment) -> bool:
    try:
        with IndependentClient(server.port, server.ca_file):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


def until(condition: object, *, seconds: float = 20.0) -> None:
    """Wait for something that another process does."""
    assert callable(condition)
    tick = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        tick.wait(0.02)
    raise AssertionError("waited in vain")
