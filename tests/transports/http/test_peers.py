"""Both servers against curl, which is not ours: framing, expectations, refusals that arrive."""

from __future__ import annotations

import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Limits
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import assemble
from est_transports.on_trio import Server
from tests.application import PASSWORD, USER, FakeApplication
from tests.conftest import PeerFinder
from tests.pki import pki
from tests.transports.https_site import Log, new_device, service, tls_context
from tests.transports.on_sockets import test_client_and_server


@contextmanager
def on_trio() -> Iterator[tuple[int, Log]]:
    """Run the trio server in a thread."""
    log, context, ready = Log(), tls_context(), threading.Event()
    found: list[tuple[Server, int, trio.lowlevel.TrioToken]] = []

    async def main() -> None:
        server = Server(
            context_source=lambda: context,
            application=FakeApplication(),
            config=service(),
            observe=log,
        )
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(server.serve, listeners))
            found.append((server, port, trio.lowlevel.current_trio_token()))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(5)
    server, port, token = found[0]
    try:
        yield port, log
    finally:
        token.run_sync_soon(server.stop, 1)
        thread.join(5)


@contextmanager
def on_sockets() -> Iterator[tuple[int, Log]]:
    """Run the blocking server, a thread a connection."""
    with test_client_and_server.running() as est:
        yield est.address[1], est.log


both_servers = pytest.mark.parametrize("server", [on_trio, on_sockets])


class Curl:
    """curl, with the trust anchor it needs."""

    def __init__(self, path: str, directory: Path, port: int) -> None:
        self.directory = directory
        self.base = f"https://127.0.0.1:{port}/.well-known/est"
        anchor = directory / "ca.pem"
        anchor.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
        self.command = [path, "-sS", "--max-time", "10", "--cacert", str(anchor)]

    def __call__(self, *arguments: str) -> str:
        """Return what `-w` asks for: the statuses, unless the arguments say otherwise."""
        sink = ["-o", str(self.directory / "body"), "-w", "%{http_code} %{num_connects} "]
        done = subprocess.run(
            [*self.command, *sink, *arguments], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def post(self, body: bytes, *arguments: str) -> str:
        """Return what came of an enrollment."""
        upload = self.directory / "upload"
        upload.write_bytes(body)
        kind = ["-H", "Content-Type: application/pkcs10", "--data-binary", f"@{upload}"]
        return self(*kind, *arguments, f"{self.base}/simpleenroll")


def csr() -> bytes:
    device, limits = new_device(), Limits()
    algorithm = signature_algorithm_for(public_key_facts(device.info.spki, limits))
    tbs = device.info.der()
    return b64encode(assemble(tbs, algorithm, device.signer.sign(tbs, algorithm), limits))


@both_servers
def test_curl_gets_its_answers(server: object, peer: PeerFinder, tmp_path: Path) -> None:
    path = peer("curl")
    with server() as (port, _):  # type: ignore[operator]  # a context manager
        curl = Curl(path, tmp_path, port)
        cacerts = f"{curl.base}/cacerts"
        assert curl(cacerts) == "200 1"
        assert curl("--http1.0", cacerts) == "200 1"
        assert curl("-I", cacerts) == "200 1"
        assert curl("--tls-max", "1.2", cacerts) == "200 1"
        assert curl(cacerts, "-o", str(tmp_path / "2"), cacerts) == "200 1 200 0"
        assert curl(f"{curl.base}/csrattrs") == "204 1"
        assert curl(f"{curl.base}/nothing") == "404 1"


@pytest.mark.req("EST-017")
@both_servers
def test_curl_enrolls_in_every_framing(server: object, peer: PeerFinder, tmp_path: Path) -> None:
    path, body = peer("curl"), csr()
    password = ("-u", f"{USER}:{PASSWORD}")
    with server() as (port, log):  # type: ignore[operator]  # a context manager
        curl = Curl(path, tmp_path, port)
        assert curl.post(body, *password) == "200 1"
        assert curl.post(body, *password, "-H", "Transfer-Encoding: chunked") == "200 1"
        assert curl.post(body, *password, "-H", "Expect: 100-continue") == "200 1"
        assert curl.post(body, *password, "--http1.0") == "200 1"
        assert curl.post(body, *password, "--anyauth") == "200 1"
        assert curl.post(body) == "401 1"
    assert sum(record.issued is not None for record in log.records) == 5


@both_servers
@pytest.mark.parametrize("size", [70_000, 5_000_000])
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
@pytest.mark.parametrize("framing", ["X: y", "Transfer-Encoding: chunked"])
def test_curl_learns_that_its_upload_is_too_large(
    server: object, peer: PeerFinder, tmp_path: Path, size: int, expect: str, framing: str
) -> None:
    path = peer("curl")
    with server() as (port, _):  # type: ignore[operator]  # a context manager
        curl = Curl(path, tmp_path, port)
        assert curl.post(b"a" * size, "-H", expect, "-H", framing) == "413 1"
