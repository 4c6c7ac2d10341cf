"""`est serve` with plain HTTP for what is published."""

from __future__ import annotations

import http.client
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from est_transports.cli import group
from tests.cli.serve_process import ServeProcess, refused, serving

CA_PATH = re.compile(r"http://127\.0\.0\.1:(\d+): (/ca/[0-9a-f]{40}\.cer)")
LISTEN = '\n[publication]\nlisten = ["127.0.0.1:0"]\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a CA that publishes."""
    directory = tmp_path_factory.mktemp("publication") / "ca"
    assert CliRunner().invoke(group, ["init", str(directory)]).exit_code == 0
    config = directory / "est.toml"
    config.write_text(config.read_text() + LISTEN)
    return directory


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[ServeProcess]:
    """Serve with two processes."""
    with serving(place, "--workers", "2") as process:
        yield process


def where(server: ServeProcess) -> tuple[int, str]:
    found = CA_PATH.search("".join(server.log))
    assert found is not None
    return int(found[1]), found[2]


def got(port: int, path: str, method: str = "GET") -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    found = response.status, response.getheader("Content-Type"), response.read()
    connection.close()
    return found


def test_the_ca_certificate_is_published(server: ServeProcess) -> None:
    port, path = where(server)
    status, content_type, body = got(port, path)
    assert (status, content_type) == (200, "application/pkix-cert")
    trusted = x509.load_pem_x509_certificate((server.directory / "ca.pem").read_bytes())
    assert x509.load_der_x509_certificate(body) == trusted


@pytest.mark.parametrize(
    "path", ["/", "/est.toml", "/ca/../ca-key.pem", "/.well-known/est/cacerts", "/ca/%2e%2e/x"]
)
def test_nothing_else_is(server: ServeProcess, path: str) -> None:
    assert got(where(server)[0], path)[0] == 404


def test_a_reload_leaves_the_listener_and_says_what_needs_a_restart(server: ServeProcess) -> None:
    port, path = where(server)
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    idle.request("GET", path)
    idle.getresponse().read()
    config = server.directory / "est.toml"
    config.write_text(config.read_text().replace('["127.0.0.1:0"]', '["127.0.0.1:1"]'))
    server.signal(signal.SIGHUP)
    server.wait_for(r"\[publication\] listen: needs a restart")
    server.wait_for("reloaded")
    idle.request("GET", path)
    assert idle.getresponse().status == 200
    assert got(port, path)[0] == 200
    idle.close()


def test_stopped_it_lets_nobody_in(server: ServeProcess) -> None:
    port, _ = where(server)
    assert server.stop() == 0
    assert refused(port)


def test_an_address_in_use_stops_the_start_with_a_hint(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = place / "est.toml"
        text = re.sub(r'\["127\.0\.0\.1:\d+"\]', f'["127.0.0.1:{port}"]', config.read_text())
        config.write_text(text)
        done = CliRunner().invoke(group, ["serve", str(place), "--listen", "127.0.0.1:0"])
    assert done.exit_code != 0
    assert f"cannot listen on 127.0.0.1:{port}" in done.output
    assert "[publication]" in done.output
