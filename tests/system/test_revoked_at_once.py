"""A revocation counts from its transaction on: on every worker, on both wires, and in the list.

It is made by `est certs revoke`, which is another process than those that serve.
"""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.test_serve import workers_of
from tests.cli.test_server_commands import est as command
from tests.deployment import Deployment, est, prepared, serving
from tests.pki import Entity
from tests.system.devices import device_key, enrolled
from tests.system.independent_client import IndependentClient
from tests.system.requests import csr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = prepared(tmp_path_factory.mktemp("revoked") / "ca")
    with (directory / "est.toml").open("a") as file:
        file.write('[publication]\nlisten = ["127.0.0.1:0"]\n')
    with serving(directory, "--workers", "2", "--coap", "127.0.0.1:0") as made:
        made.log.wait_for("revocation list [0-9]+ is filed")  # the one of the start
        yield made


@contextmanager
def others_stopped(server: Deployment, worker: int) -> Iterator[None]:
    """Stop the other workers: that one takes the connections that are made meanwhile."""
    others = [each for each in workers_of(server.process.pid) if each != worker]
    try:
        for each in others:
            os.kill(each, signal.SIGSTOP)
        yield
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


@contextmanager
def connected(
    server: Deployment, worker: int, shown: tuple[Path, Path]
) -> Iterator[IndependentClient]:
    """Connect to that worker."""
    with others_stopped(server, worker):
        client = IndependentClient(server.port, server.ca_file, identity=shown)
    with client:
        yield client


def statuses(server: Deployment, device: Entity, shown: tuple[Path, Path]) -> set[int]:
    """Return what each worker answers to an enrollment and to a renewal."""
    found = set()
    request = csr(device_key(device), "device-1")
    for worker in workers_of(server.process.pid):
        with connected(server, worker, shown) as client:
            found |= {client.enroll(request).status, client.reenroll(request).status}
    return found


def certs(server: Deployment, what: str, device: Entity, *options: str) -> None:
    serial = f"{device.certificate.serial_number:X}"
    done = command("certs", what, server.directory, serial, *options)
    assert done.exit_code == 0, done.output


def listed(server: Deployment, after: int) -> set[int]:
    """Return the serial numbers in the next list, which all workers publish as it is filed."""
    server.log.wait_for("revocation list [0-9]+ is filed", after=after)
    (file,) = (server.directory / "crl").iterdir()
    port = int(server.log.wait_for("publishing at http://[^:]*:([0-9]+)")[1])
    for worker in workers_of(server.process.pid):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with others_stopped(server, worker), closing(connection):
            connection.request("GET", f"/crl/{file.name}")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, file.read_bytes())
            assert answer.headers["Content-Type"] == "application/pkix-crl"
    return {each.serial_number for each in x509.load_der_x509_crl(file.read_bytes())}


@pytest.mark.req("EST-165")
def test_a_hold_counts_at_once_on_every_worker_and_so_does_its_end(
    server: Deployment, tmp_path: Path
) -> None:
    device = enrolled(server)
    shown = device.write(tmp_path, "device")
    serial = device.certificate.serial_number
    assert len(workers_of(server.process.pid)) == 2
    assert statuses(server, device, shown) == {200}

    before = len(server.log.lines)
    certs(server, "revoke", device, "--reason", "certificateHold")
    assert statuses(server, device, shown) == {403}
    server.log.wait_for("code=auth/certificate-revoked", after=before)
    assert listed(server, before) == {serial}

    before = len(server.log.lines)
    certs(server, "release", device)
    assert statuses(server, device, shown) == {200}
    assert listed(server, before) == set()

    certs(server, "revoke", device, "--reason", "keyCompromise")
    assert statuses(server, device, shown) == {403}


@pytest.mark.req("EST-165")
def test_a_connection_that_was_let_in_before_is_refused_too(
    server: Deployment, tmp_path: Path
) -> None:
    device = enrolled(server)
    request = csr(device_key(device), "device-1")
    with IndependentClient(
        server.port, server.ca_file, identity=device.write(tmp_path, "device")
    ) as client:
        assert client.reenroll(request).status == 200
        certs(server, "revoke", device)
        assert client.reenroll(request).status == 403


@pytest.mark.req("EST-165")
def test_over_coap_a_revoked_certificate_enrolls_as_little(
    server: Deployment, tmp_path: Path
) -> None:
    device = enrolled(server)
    certificate, key = device.write(tmp_path, "device")
    shown = ("--cert", str(certificate), "--key", str(key), "--out", str(tmp_path / "out"))
    ask = ("enroll", server.coap_server, "--trust", str(server.ca_file), "--cn", "device-1", *shown)
    certs(server, "revoke", device, "--reason", "certificateHold")
    refused = est(*ask)
    assert refused.code == 1
    assert "revoked" in refused.err
    certs(server, "release", device)
    est(*ask).checked()
