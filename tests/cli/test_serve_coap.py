"""`est serve --coap` as a process: both wires, workers, reloads, signals, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from est_core.wires.coapmap import Code
from est_transports import _clock
from est_transports.authority.new_ca import new_tls_identity
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli import group
from est_transports.pki.serials import printed_serial
from est_transports.pki.trust import TrustAnchors
from est_transports.service.config.reader import load_config
from est_transports.service.loading import CredentialChecks, load_service
from tests.cli.serve_process import PASSWORD, USER, ServeProcess, listed, refused, request, serving
from tests.cli.test_serve import is_alive, made, workers_of
from tests.core.asn1.test_request_parts import MBED_TLS, TWINS
from tests.pki import Entity, Key, new_key, rsa_key
from tests.transports.coap_site import CRTS, SEN, SREN
from tests.transports.coap_udp import UdpDevice
from tests.transports.dtls_pair import a_dtls_client

COAP = ("--coap", "127.0.0.1:0")
WAIT_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """One server for all tests that leave it as it is."""
    with serving(made(tmp_path_factory.mktemp("serve") / "ca"), *COAP) as process:
        yield process


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """A directory for a server of the test's own."""
    return made(tmp_path / "ca")


def enrolled(server: ServeProcess, name: str) -> Entity:
    """Return a device that got its first certificate over HTTPS, with a password."""
    key, connection = new_key(), server.connect()
    status, der = connection.ask("simpleenroll", request(name, key), f"{USER}:{PASSWORD}")
    connection.close()
    assert status == 200
    (certificate,) = pkcs7.load_der_pkcs7_certificates(der)
    return Entity(certificate=certificate, key=key, chain=(certificate,))


def device(server: ServeProcess, entity: Entity) -> UdpDevice:
    """Return a device with an association, on a socket of its own."""
    root = x509.load_pem_x509_certificate((server.directory / "ca.pem").read_bytes())
    trust = TrustAnchors(explicit=(root,))
    context = a_dtls_client(entity, trust=trust, server_name="127.0.0.1")
    return UdpDevice(server.coap_port, context).connect()


def refusal(directory: Path, *options: str) -> str:
    """Return what the command says when it does not start."""
    arguments = ["serve", str(directory), "--listen", "127.0.0.1:0", *options]
    done = CliRunner().invoke(group, arguments)
    assert done.exit_code == 5, done.output
    return done.stderr


# Both wires


def test_the_ready_line_names_both_urls(server: ServeProcess) -> None:
    assert re.fullmatch(
        rf"serving https://127\.0\.0\.1:{server.port}/\.well-known/est and "
        rf"coaps://127\.0\.0\.1:{server.coap_port}/\.well-known/est  CA fingerprint [0-9A-F:]+\n",
        next(line for line in server.log if "serving" in line),
    )


@pytest.mark.parametrize("der", [MBED_TLS, TWINS], ids=["NULL parameters", "twin attributes"])
def test_an_odd_request_is_certified_on_both_wires(server: ServeProcess, der: bytes) -> None:
    connection = server.connect()
    status, bag = connection.ask("simpleenroll", der, f"{USER}:{PASSWORD}")
    connection.close()
    assert status == 200, bag
    (over_https,) = pkcs7.load_der_pkcs7_certificates(bag)
    with device(server, enrolled(server, "odd-requests")) as client:
        answer = client.ask(SEN, der)
    assert answer.head.code == Code.CHANGED
    (over_coap,) = pkcs7.load_der_pkcs7_certificates(answer.payload)
    assert over_https.public_key() == over_coap.public_key()
    assert over_https.subject == over_coap.subject
    server.wait_for("wire=coaps operation=simpleenroll")


def test_a_certificate_got_over_https_is_renewed_over_coap(server: ServeProcess) -> None:
    entity = enrolled(server, "both-wires")
    with device(server, entity) as client:
        answer = client.ask(SREN, request("both-wires", new_key()))
        assert answer.head.code == Code.CHANGED
    (renewed,) = pkcs7.load_der_pkcs7_certificates(answer.payload)
    line = server.wait_for("wire=coaps")
    assert re.fullmatch(
        r"\S+Z INFO peer=127\.0\.0\.1:\d+ wire=coaps operation=simplereenroll label=-"
        r' identity="cert:CN=both-wires" status=204 code=-'
        rf" serial={printed_serial(renewed.serial_number)} ms=[0-9.]+ reason=- refusal=-"
        r" auth=- tried=- auth_ms=-\n",
        line,
    )
    rows = [row for row in listed(server.directory) if row["subject"] == "CN=both-wires"]
    assert [row["operation"] for row in rows] == ["simpleenroll", "simplereenroll"]


def test_est_toml_can_say_it_too(ca: Path) -> None:
    any_name = '[auth]\nnames = "any"\n'
    (ca / "est.toml").write_text(f'{any_name}[coap]\nlisten = "127.0.0.1:0"\nblock_bytes = 64\n')
    with serving(ca) as server, device(server, enrolled(server, "small")) as client:
        assert client.ask(CRTS).head.code == Code.CONTENT
        (ca / "est.toml").write_text(
            f'{any_name}[coap]\nlisten = "127.0.0.1:1"\nassociations_max = 3\nblock_bytes = 32\n'
        )
        server.signal(signal.SIGHUP)
        assert "[coap] listen: needs a restart" in server.wait_for("restart")
        assert "[coap] associations_max: needs a restart" in server.wait_for("restart")
        server.wait_for("reloaded")
        with device(server, enrolled(server, "other")) as another:
            assert another.ask(CRTS).head.code == Code.CONTENT


def test_a_reload_that_leaves_coap_out_serves_on_by_the_new_rules(ca: Path) -> None:
    (ca / "est.toml").write_text('[auth]\nnames = "any"\n[coap]\nlisten = "127.0.0.1:0"\n')
    with serving(ca) as server:
        entity = enrolled(server, "stays")
        (ca / "est.toml").write_text('[auth]\nsimpleenroll = "http"\n')
        server.signal(signal.SIGHUP)
        assert "[coap] listen: needs a restart" in server.wait_for("restart")
        server.wait_for("reloaded")
        with device(server, entity) as client:
            assert client.ask(SEN, request("x")).head.code == Code.FORBIDDEN


# What it refuses


def test_a_port_that_is_taken_is_said_with_the_option_to_change(ca: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refusal(ca, "--coap", place)
    assert f"cannot listen on {place}: Address already in use" in said
    assert "use another with --coap HOST:PORT" in said


@pytest.mark.parametrize("option", ["--listen", "--coap"])
@pytest.mark.parametrize(
    ("place", "said"), [("", "HOST:PORT"), ("coaps://localhost", "HOST:PORT, without coaps://")]
)
def test_a_place_to_listen_is_no_url_and_not_nothing(
    ca: Path, option: str, place: str, said: str
) -> None:
    done = CliRunner().invoke(group, ["serve", str(ca), option, place])
    assert done.exit_code == 2
    assert f"write {said}" in done.stderr


def test_a_host_that_is_unknown_is_said_with_the_option_to_change(ca: Path) -> None:
    said = refusal(ca, "--coap", "no..host:0")
    assert "cannot listen on no..host:0" in said
    assert "use another with --coap HOST:PORT" in said


def test_two_servers_do_not_share_a_port_by_accident(ca: Path) -> None:
    with serving(ca, *COAP, "--workers", "2") as server:
        said = refusal(ca, "--coap", f"127.0.0.1:{server.coap_port}", "--workers", "2")
    assert "Address already in use" in said


def test_a_server_identity_that_constrained_clients_do_not_know_is_refused(ca: Path) -> None:
    _new_tls_identity(ca, rsa_key())
    said = refusal(ca, *COAP)
    assert "[coap] listen" in said
    assert "server.pem" in said
    assert "P-256" in said
    with serving(ca) as server:
        server.connect().close()


def test_limits_that_no_coap_message_can_keep_are_refused(ca: Path) -> None:
    (ca / "est.toml").write_text("[limits]\nresponse_body_bytes = 33554432\n")
    assert "16 MiB" in refusal(ca, *COAP)


# Reloading


def test_a_reload_ends_associations_and_gives_new_ones_the_new_certificate(ca: Path) -> None:
    with serving(ca, *COAP) as server:
        entity = enrolled(server, "stays")
        with device(server, entity) as old:
            first = old.engine.channel().peer_certificate
            _new_tls_identity(ca, new_key())
            (ca / "est.toml").write_text('[auth]\nsimpleenroll = "http"\n')
            server.signal(signal.SIGHUP)
            server.wait_for("reloaded")
            with device(server, entity) as new:
                assert new.engine.channel().peer_certificate != first
                assert new.ask(SEN, request("x")).head.code == Code.FORBIDDEN
            with pytest.raises(AssertionError, match="close_notify"):
                old.ask(SEN, request("x"))


def test_a_reload_to_an_identity_of_another_kind_changes_nothing(ca: Path) -> None:
    with serving(ca, *COAP) as server:
        entity = enrolled(server, "stays")
        _new_tls_identity(ca, rsa_key())
        server.signal(signal.SIGHUP)
        assert "P-256" in server.wait_for("not reloaded")
        with device(server, entity) as client:
            assert client.ask(CRTS).head.code == Code.CONTENT


def _new_tls_identity(ca: Path, key: Key) -> None:
    """Give a directory's server another certificate from the same CA."""
    store = SqliteStore(ca / "est.db")
    service = load_service(load_config(ca / "est.toml"), store=store, checks=CredentialChecks())
    certificate = new_tls_identity(
        service.authority.ca,
        ["127.0.0.1"],
        key.public_key(),
        now=_clock.instant().wall,
    )
    store.close()
    entity = Entity(certificate=certificate, key=key, chain=(certificate,))
    for name, content in (("server.pem", entity.chain_pem), ("server-key.pem", entity.key_pem)):
        (ca / f"{name}.new").write_bytes(content)
        (ca / f"{name}.new").replace(ca / name)


# Workers


def served_by(server: ServeProcess, entity: Entity, wanted: int) -> set[int]:
    """Return the processes that serve associations, as soon as there are so many."""
    found: set[int] = set()
    give_up_at = time.monotonic() + WAIT_S
    while len(found) < wanted:
        assert time.monotonic() < give_up_at, found
        with device(server, entity) as client:
            assert client.ask(CRTS).head.code == Code.CONTENT
        found.add(json.loads(server.wait_for('"wire": "coaps"'))["pid"])
    return found


def test_every_worker_serves_and_a_dead_one_is_replaced(ca: Path) -> None:
    with serving(ca, *COAP, "--workers", "2", "--json") as server:
        entity = enrolled(server, "many-times")
        workers = workers_of(server.process.pid)
        assert served_by(server, entity, 2) == set(workers)
        os.kill(workers[0], signal.SIGKILL)
        server.wait_for(f"worker {workers[0]} ended with -9")
        while len(now := workers_of(server.process.pid)) < 2:
            time.sleep(0.02)
        assert served_by(server, entity, 2) == set(now)
        assert server.stop() == 0
    assert not any(map(is_alive, now))


# Stopping

WAITS_FOR_A_FILE = """
import sys, time
from pathlib import Path
from est_transports.service import loading as serving
from est_transports.authority.application import Authority
from est_transports.cli import main

directory = Path(sys.argv[1])

class Slow(Authority):
    def reenroll(self, question):
        (directory / "asked").touch()
        while not (directory / "go on").exists():
            time.sleep(0.01)
        return super().reenroll(question)

serving.Authority = Slow
sys.exit(main(["serve", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stopping_answers_what_was_asked_and_ends_with_success(
    workers: str, ca: Path, tmp_path: Path
) -> None:
    script = tmp_path / "slow.py"
    script.write_text(WAITS_FOR_A_FILE)
    with serving(ca, *COAP, "--workers", workers, command=(str(script),)) as server:
        entity = enrolled(server, "patient")
        with device(server, entity) as client, device(server, entity) as idle:
            number = client.send(SREN, request("patient"))
            while not (ca / "asked").exists():
                time.sleep(0.01)
            server.signal(signal.SIGTERM)
            while not refused(server.port):
                time.sleep(0.01)
            if workers == "1":
                answer = idle.ask(CRTS)
                assert (answer.head.code, answer.head.max_age) == (Code.SERVICE_UNAVAILABLE, 10)
            assert server.process.poll() is None
            (ca / "go on").touch()
            assert client.wait_for(number).head.code == Code.CHANGED
            assert server.process.wait(WAIT_S) == 0
            assert idle.farewell()
    assert len([row for row in listed(ca) if row["operation"] == "simplereenroll"]) == 1
