"""`est serve` as a process: requests and their log lines, signals, workers, sudden death."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from est_core import SIMPLEENROLL, Authentication, Label
from est_transports import _clock
from est_transports.authority.new_ca import new_tls_identity
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli import group
from est_transports.cli.server.serve import AuthenticationWords, overridden
from est_transports.pki.serials import printed_serial
from est_transports.service.config.reader import load_config
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import CredentialChecks, load_service
from tests.any_names import give_any_name
from tests.cli.serve_process import (
    PASSWORD,
    USER,
    ServeProcess,
    listed,
    refused,
    request,
    serving,
)
from tests.pki import Entity, new_key

LOGIN = f"{USER}:{PASSWORD}"
CHALLENGE_PASSWORD = bytes.fromhex("300b06092a864886f70d010907")


def made(directory: Path) -> Path:
    """Return a directory of `est init` with one user."""
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    add_user(directory, USER, PASSWORD)
    return give_any_name(directory)


def add_user(directory: Path, name: str, password: str) -> None:
    arguments = ["user", "add", str(directory), name, "--password-stdin"]
    assert CliRunner().invoke(group, arguments, input=password).exit_code == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """One server for all tests that leave it as it is."""
    with serving(made(tmp_path_factory.mktemp("serve") / "ca")) as process:
        yield process


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """A directory for a server of the test's own."""
    return made(tmp_path / "ca")


# Requests


def test_each_request_is_one_line_of_the_log(server: ServeProcess) -> None:
    connection = server.connect()
    certificate = connection.enroll("one-line")
    line = server.wait_for("operation=simpleenroll")
    assert re.fullmatch(
        r"\S+Z INFO peer=127\.0\.0\.1:\d+ wire=https operation=simpleenroll label=-"
        r" identity=user:bob status=200 code=-"
        rf" serial={printed_serial(certificate.serial_number)} ms=[0-9.]+ reason=- refusal=-"
        r" auth=basic/accepted tried=- auth_ms=[0-9.]+\n",
        line,
    )
    assert connection.ask("nothing-here")[0] == 404
    assert "operation=/.well-known/est/nothing-here" in server.wait_for("status=404")
    connection.close()


@pytest.mark.req("EST-297")
def test_no_secret_is_in_the_log(server: ServeProcess) -> None:
    connection = server.connect()
    for login in (LOGIN, f"{USER}:wrong secret"):
        connection.ask("simpleenroll", request("quiet"), login)
    server.wait_for("auth/wrong-credentials")
    log = "".join(server.log)
    for secret in (PASSWORD, "wrong secret", "Ym9iOm", "scrypt", "PRIVATE"):
        assert secret not in log
    connection.close()


def test_a_user_added_meanwhile_can_enroll(server: ServeProcess) -> None:
    connection = server.connect()
    assert connection.ask("simpleenroll", request("x"), "eve:new one")[0] == 401
    add_user(server.directory, "eve", "new one")
    assert connection.ask("simpleenroll", request("x"), "eve:new one")[0] == 200
    connection.close()


@pytest.mark.req("EST-165")
def test_a_certificate_renews_itself(server: ServeProcess, tmp_path: Path) -> None:
    key = new_key()
    connection = server.connect()
    status, der = connection.ask("simpleenroll", request("renewed", key), LOGIN)
    assert status == 200
    connection.close()
    (first,) = pkcs7.load_der_pkcs7_certificates(der)
    entity = Entity(certificate=first, key=key, chain=(first,))
    identity = tmp_path / "identity.pem"
    identity.write_bytes(entity.chain_pem + entity.key_pem)
    connection = server.connect(identity)
    assert connection.ask("simplereenroll", request("renewed", key))[0] == 200
    assert connection.ask("simplereenroll", request("another", key))[0] == 400
    connection.close()
    rows = [row for row in listed(server.directory) if row["subject"] == "CN=renewed"]
    assert [row["replaces"] for row in rows] == [None, printed_serial(first.serial_number)]
    assert rows[1]["client_subject"] == "CN=renewed"


@pytest.mark.req("EST-113", "EST-119")
def test_everybody_gets_the_ca_certificates(server: ServeProcess) -> None:
    connection = server.connect()
    status, der = connection.ask("cacerts")
    root = x509.load_pem_x509_certificate((server.directory / "ca.pem").read_bytes())
    assert status == 200
    assert root.public_bytes(Encoding.DER) in der
    assert connection.ask("csrattrs")[0] == 204
    connection.close()


# Options


@pytest.mark.req("EST-171", "EST-172")
def test_required_linking_is_asked_for_and_insisted_on(ca: Path) -> None:
    with serving(ca, "--require-pop", "--json") as server:
        connection = server.connect()
        assert connection.sock.version() == "TLSv1.2"
        assert connection.ask("csrattrs") == (200, CHALLENGE_PASSWORD)
        assert connection.ask("simpleenroll", request("x"), LOGIN)[0] == 403
        connection.close()
        entry = json.loads(server.wait_for("simpleenroll"))
    assert (entry["status"], entry["code"], entry["identity"]) == (403, "pop/missing", "user:bob")
    assert all(json.loads(line) for line in server.log)


@pytest.mark.req("EST-184")
def test_with_the_exporter_required_linking_is_done_on_tls_1_3(ca: Path, tmp_path: Path) -> None:
    (ca / "est.toml").write_text(
        '[auth]\nnames = "any"\nrequire_pop = true\n[pop]\ntls_exporter = true\n'
    )
    with serving(ca, "--json") as server:
        connection = server.connect()
        assert connection.sock.version() == "TLSv1.3"
        assert connection.ask("simpleenroll", request("x"), LOGIN)[0] == 403
        connection.close()
        arguments = ["enroll", f"https://localhost:{server.port}", "--trust", str(ca / "ca.pem"),
                     "--cn", "x", "--out", str(tmp_path), "--user", LOGIN]  # fmt: skip
        told = CliRunner().invoke(group, [*arguments, "--tls-exporter", "--pop", "always"])
        assert told.exit_code == 0, told.output
        statuses = [json.loads(server.wait_for("simpleenroll"))["status"] for _ in range(3)]
    assert statuses == [403, 401, 200]


@pytest.mark.parametrize(
    "words,expected",
    [("cert", Authentication.CERT), ("basic", Authentication.HTTP),
     ("cert, basic", Authentication.CERT_OR_HTTP), ("srp", Authentication.CERT),
     ("basic,srp", Authentication.CERT_OR_HTTP)],
)  # fmt: skip
def test_options_hold_under_every_label(
    words: str, expected: Authentication, tmp_path: Path
) -> None:
    path = tmp_path / "est.toml"
    path.write_text('[labels.a]\nsimpleenroll = "cert-and-http"\nrequire_pop = false\n')
    auth = AuthenticationWords().convert(words, None, None)
    config = overridden(load_config(path), auth=auth, require_pop=True)
    assert config.srp.enabled == ("srp" in words)
    policy = config.policy()
    for label in (None, Label("a")):
        row = policy.row(SIMPLEENROLL, label)
        assert row is not None
        assert (row.authentication, row.require_pop) == (expected, True)
    assert bool(policy.challenges) == (expected is not Authentication.CERT)


def test_digest_that_the_file_does_not_turn_on_is_warned_of(ca: Path) -> None:
    """Who adds users goes by the file: they have no secret for Digest until it says so."""
    options = ("--auth", "basic,digest", "--json")
    with serving(ca, *options) as server:
        server.stop()
    said = [json.loads(line) for line in server.log if "turns Digest on" in line]
    assert [entry["level"] for entry in said] == ["warning"]
    assert "est user add --force" in said[0]["message"]
    (ca / "est.toml").write_text('[auth]\nschemes = ["digest"]\n')
    with serving(ca, *options) as server:
        server.stop()
    assert not any("turns Digest on" in line for line in server.log)


# Stopping


def test_an_interrupt_lets_a_request_under_way_finish_and_ends_it_with_success(ca: Path) -> None:
    with serving(ca) as server:
        connection = server.connect()
        body = b"MAA="  # the head is read, half of the body is not there yet
        connection.putrequest("POST", "/.well-known/est/simpleenroll")
        connection.putheader("Content-Type", "application/pkcs10")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:2])
        idle = server.connect()
        assert idle.ask("cacerts")[0] == 200
        server.signal(signal.SIGINT)
        while not refused(server.port):
            time.sleep(0.01)
        connection.send(body[2:])
        response = connection.getresponse()
        assert (response.status, response.read()) == (401, b"")
        assert response.getheader("Connection") == "close"
        connection.close()
        assert server.process.wait(20) == 0
        idle.close()
    assert "stopped" in server.log[-1]


# Reloading


def test_a_reload_changes_what_new_connections_get(ca: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with serving(ca) as server:
        old = server.connect()
        first = old.certificate
        _new_tls_identity(ca, other)
        (ca / "est.toml").write_text('[auth]\nsimpleenroll = "cert"\n')
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded")
        new = server.connect()
        assert new.certificate != first
        assert new.ask("simpleenroll", request("x"), LOGIN)[0] == 403
        assert old.ask("simpleenroll", request("x"), LOGIN)[0] == 200
        for connection in (old, new):
            connection.close()


def test_a_broken_reload_changes_nothing_and_what_needs_a_restart_is_said_to(ca: Path) -> None:
    with serving(ca) as server:
        for path, words in ((ca / "est.toml", "est.toml"), (ca / "server-key.pem", "server-key")):
            before = path.read_bytes()
            path.write_text("broken")
            server.signal(signal.SIGHUP)
            line = server.wait_for("not reloaded")
            assert words in line
            connection = server.connect()
            assert connection.ask("simpleenroll", request("x"), LOGIN)[0] == 200
            connection.close()
            path.write_bytes(before)
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded")
        (ca / "est.toml").write_text("[server]\nthreads = 3\n")
        server.signal(signal.SIGHUP)
        assert "[server] threads: needs a restart" in server.wait_for("restart")
        (ca / "est.toml").write_text('[ca]\nstore = "other.db"\n')
        server.signal(signal.SIGHUP)
        assert "store: another one needs a restart" in server.wait_for("not reloaded")


def _new_tls_identity(ca: Path, scratch: Path) -> None:
    """Give a directory's server another certificate from the same CA."""
    store = SqliteStore(ca / "est.db")
    service = load_service(load_config(ca / "est.toml"), store=store, checks=CredentialChecks())
    key = new_key()
    certificate = new_tls_identity(
        service.authority.ca, ["127.0.0.1"], key.public_key(), now=_clock.instant().wall
    )
    store.close()
    entity = Entity(certificate=certificate, key=key, chain=(certificate,))
    scratch.mkdir()
    for name, content in (("server.pem", entity.chain_pem), ("server-key.pem", entity.key_pem)):
        (scratch / name).write_bytes(content)
        (scratch / name).replace(ca / name)


# Workers


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has forked."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("this system does not tell whose children there are")
    return [int(word) for word in children.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids: list[int]) -> bool:
    """True if all of them end soon."""
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_two_workers_share_a_port_and_lose_no_record(ca: Path) -> None:
    serials: list[int] = []

    def enroll(server: ServeProcess, number: int) -> None:
        for step in range(3):
            connection = server.connect()
            serials.append(connection.enroll(f"device-{number}-{step}").serial_number)
            connection.close()

    with serving(ca, "--workers", "2", "--json") as server:
        workers = workers_of(server.process.pid)
        threads = [threading.Thread(target=enroll, args=(server, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.stop() == 0
    assert len(workers) == 2
    assert gone(workers)
    assert refused(server.port)
    assert len(set(serials)) == 12
    assert {row["serial"] for row in listed(ca)} == {printed_serial(serial) for serial in serials}


def test_a_dead_worker_is_replaced_and_a_reload_reaches_all(ca: Path) -> None:
    with serving(ca, "--workers", "2", "--json") as server:
        first, second = workers_of(server.process.pid)
        os.kill(first, signal.SIGKILL)
        server.wait_for(f"worker {first} ended with -9")
        while len(now := workers_of(server.process.pid)) < 2:
            time.sleep(0.02)
        assert second in now
        server.signal(signal.SIGHUP)
        told = {json.loads(server.wait_for("reloaded"))["pid"] for _ in range(3)}
        assert told == {server.process.pid, *now}
        server.connect().close()
        assert server.stop() == 0


def test_workers_do_not_outlive_their_parent(ca: Path) -> None:
    with serving(ca, "--workers", "2") as server:
        workers = workers_of(server.process.pid)
        server.signal(signal.SIGKILL)
        assert server.process.wait(20) == -signal.SIGKILL
        assert gone(workers)
        assert refused(server.port)


# Sudden death

DIES_AFTER_THE_RECORD = """
import os, signal, sys
from est_transports.service import loading as serving
from est_transports.authority.application import Authority
from est_transports.cli import main

class Dying(Authority):
    def enroll(self, question):
        super().enroll(question)
        os.kill(os.getpid(), signal.SIGKILL)

serving.Authority = Dying
sys.exit(main(["serve", *sys.argv[1:]]))
"""


def test_a_certificate_is_on_record_before_its_client_has_it(ca: Path, tmp_path: Path) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DIES_AFTER_THE_RECORD)
    with serving(ca, command=(str(script),)) as server:
        connection = server.connect()
        with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
            connection.enroll("lost")
        assert server.process.wait(20) == -signal.SIGKILL
        connection.close()
    assert [row["subject"] for row in listed(ca)] == ["CN=lost"]
    with serving(ca) as server:
        connection = server.connect()
        connection.enroll("found")
        connection.close()
    assert [row["subject"] for row in listed(ca)] == ["CN=lost", "CN=found"]


def test_garbage_and_silence_do_no_harm(server: ServeProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain.recv(1000)
    assert "code=tls/not-tls" in server.wait_for("status=0")
    silent = socket.create_connection(("127.0.0.1", server.port))
    connection = server.connect()
    assert connection.ask("cacerts")[0] == 200
    connection.close()
    silent.close()


def test_the_command_and_the_module_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "est_transports", "serve", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for word in ("--listen", "--require-pop", "--auth", "--workers", "SIGHUP"):
        assert word in done.stdout
