"""Ctrl-C at each step of a command that gets a certificate: exit 130, nothing half written.

The server stops at that step, once, until the command has ended; the same command again then gets
its certificate.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.interop.foreign_answers import answer, well_behaved
from tests.interop.foreign_server import Asked, ForeignServer, Said, foreign_server, server_tls
from tests.pki import pki

TIMEOUT_S: Final = 60.0
CUT: Final = Said(raw=b"")


@dataclass
class Stopping:
    """A server that stops before it answers one operation, the first time."""

    at: str
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __call__(self, asked: Asked) -> Said:
        if asked.operation == self.at and not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(TIMEOUT_S)
            return CUT
        return well_behaved()(asked)


def interrupted(command: list[str], stopping: Stopping) -> tuple[int, str]:
    """Interrupt a command once the server has stopped; return exit code and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "est_transports", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert stopping.reached.wait(TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        stopping.go_on.set()
    return process.returncode, err


def ended(command: list[str]) -> int:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "est_transports", *command],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    return done.returncode


def files(directory: Path) -> dict[str, bytes]:
    """What is in a directory."""
    if not directory.exists():
        return {}
    return {each.name: each.read_bytes() for each in directory.iterdir() if each.is_file()}


def is_pair(directory: Path) -> bool:
    """True if key.pem is the key of cert.pem."""
    certificate = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
    key = load_pem_private_key((directory / "key.pem").read_bytes(), None)
    return certificate.public_key() == key.public_key()


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """The test CA in a file."""
    file = tmp_path / "ca.pem"
    file.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    return file


@pytest.mark.parametrize("step", ["csrattrs", "simpleenroll"])
def test_an_enrollment_is_gone_on_with(step: str, trust: Path, tmp_path: Path) -> None:
    out, stopping = tmp_path / "device", Stopping(step)
    with foreign_server(stopping, server_tls(tmp_path)) as server:
        command = ["enroll", server.url, "--trust", str(trust), "--cn", "d1", "--out", str(out)]
        code, err = interrupted(command, stopping)
        assert code == 130
        assert err.strip().startswith("est: interrupted")
        left = files(out)
        assert "cert.pem" not in left
        assert not [name for name in left if name.endswith((".tmp", ".new"))]
        assert ended(command) == 0
    assert is_pair(out)
    if step == "simpleenroll":  # it had been sent: the key is the same
        first, second = (each.csr for _, each in server.asked if each.operation == step)
        keys = [x509.load_der_x509_csr(csr).public_key() for csr in (first, second)]
        assert keys[0] == keys[1]


class Deciding(Stopping):
    """A server that puts an enrollment off, the first time."""

    def __call__(self, asked: Asked) -> Said:
        if asked.operation == self.at and not self.reached.is_set():
            self.reached.set()
            return answer(202, b"", "Retry-After: 600")
        return well_behaved()(asked)


def test_a_wait_is_gone_on_with(trust: Path, tmp_path: Path) -> None:
    out, deciding = tmp_path / "device", Deciding("simpleenroll")
    with foreign_server(deciding, server_tls(tmp_path)) as server:
        command = ["enroll", server.url, "--trust", str(trust), "--cn", "d1", "--out", str(out)]
        code, _ = interrupted([*command, "--wait", "3000"], deciding)
        assert code == 130
        assert "cert.pem" not in files(out)
        assert ended(command) == 0
        csrs = [each.csr for _, each in server.asked if each.operation == "simpleenroll"]
    assert is_pair(out)
    first, second = (x509.load_der_x509_csr(csr).public_key() for csr in csrs)
    assert first == second


@pytest.mark.parametrize("step", ["cacerts", "csrattrs", "simpleenroll"])
def test_a_provisioning_is_gone_on_with(step: str, trust: Path, tmp_path: Path) -> None:
    out, stopping = tmp_path / "device", Stopping(step)
    with foreign_server(stopping, server_tls(tmp_path)) as server:
        command = ["provision", server.url, "--trust", str(trust), "--cn", "d", "--out", str(out)]
        code, err = interrupted(command, stopping)
        assert code == 130
        assert err.strip().splitlines()[-1].startswith("est: interrupted")
        assert "cert.pem" not in files(out)
        assert ended(command) == 0
    assert is_pair(out)
    assert (out / "cacerts.pem").exists()


def old_pair(directory: Path) -> dict[str, bytes]:
    """A certificate that the test CA issued, in the directory of a device."""
    directory.mkdir()
    device = pki().client
    (directory / "cert.pem").write_bytes(device.chain_pem)
    (directory / "key.pem").write_bytes(device.key_pem)
    return files(directory)


def renewal(server: ForeignServer, trust: Path, out: Path, *options: str) -> list[str]:
    """Renew in place."""
    pair = ("--cert", str(out / "cert.pem"), "--key", str(out / "key.pem"))
    where = ("--trust", str(trust), "--out", str(out), "--force")
    return ["reenroll", server.url, *pair, *where, *options]


@pytest.mark.parametrize("options", [(), ("--rekey",)], ids=["same key", "new key"])
@pytest.mark.parametrize("step", ["cacerts", "csrattrs", "simplereenroll"])
def test_a_renewal_leaves_the_old_pair_as_it_was(
    step: str, options: tuple[str, ...], trust: Path, tmp_path: Path
) -> None:
    out, stopping = tmp_path / "device", Stopping(step)
    old = old_pair(out)
    with foreign_server(stopping, server_tls(tmp_path)) as server:
        command = renewal(server, trust, out, *options)
        code, err = interrupted(command, stopping)
        assert code == 130
        assert err.strip().splitlines()[-1].startswith("est: interrupted")
        left = files(out)
        assert {name: left[name] for name in old} == old
        assert ended(command) == 0
    assert is_pair(out)
    assert files(out)["cert.pem"] != old["cert.pem"]


INTERRUPTING: Final = """
import os, signal, sys
from pathlib import Path
from est_transports.cli import main

left, replace = int(sys.argv.pop(1)), Path.replace

def interrupted(self, target):
    global left
    done = replace(self, target)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGINT)
    return done

Path.replace = interrupted
sys.exit(main())
"""
"""Runs `est`, and sends it SIGINT once so many files have taken their places."""


@pytest.mark.parametrize("moved", range(1, 8))
def test_files_that_belong_together_are_changed_together(
    moved: int, trust: Path, tmp_path: Path
) -> None:
    out = tmp_path / "device"
    old_pair(out)
    with foreign_server(well_behaved(), server_tls(tmp_path)) as server:
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTING, str(moved),
             *renewal(server, trust, out, "--rekey")],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    assert done.returncode in (0, 130)  # 0 where there are not so many
    assert is_pair(out)
