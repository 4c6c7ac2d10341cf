"""Our client at libcoap's servers. They know no EST, but give back what they were given."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CACertsReceived,
    ClientSession,
    CSRAttrsReceived,
    EstUri,
    Failed,
    Limits,
    PopMode,
)
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.wires.coapmap import CoapPaths, Code, RequestHead
from est_transports.cli import main
from est_transports.coap.limits import CoapLimits
from est_transports.on_sockets import Client
from tests.conftest import PeerFinder
from tests.interop.dtls_peer import Files, free_udp_port, program
from tests.pki import SERVER_AUTH, Entity, Subject, pki
from tests.transports.coap_udp import UdpDevice
from tests.transports.https_site import client_config, identity_of, new_device

EST: Final = (".well-known", "est")
PUT: Final = 3
DEVICE: Final = new_device()
CERTIFICATES: Final = (pki().ca.certificate, pki().intermediate.certificate)
REQUESTED: Final = CsrAttrs(items=()).with_challenge_password()


class LibcoapServer:
    """A server under way, which keeps whatever it is given."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def device(self) -> UdpDevice:
        """Some device, connected."""
        return UdpDevice(self.port).connect()

    def put(self, name: str, body: bytes, content_format: int, root: tuple[str, ...] = EST) -> None:
        """Have the server keep the answer to a GET of an operation."""
        head = RequestHead(code=PUT, path=(*root, name), content_format=content_format)
        with self.device as device:
            assert device.ask(head, body).head.code >> 5 == 2

    def get(self, name: str) -> tuple[int | None, bytes]:
        """Return what the server keeps of an operation."""
        with self.device as device:
            answer = device.ask(RequestHead(code=Code.GET, path=(*EST, name)))
        assert answer.head.code == Code.CONTENT
        return answer.head.content_format, answer.payload

    def session(self, **changes: Any) -> ClientSession:
        """Return a session of a device with the usual client's certificate."""
        uri = EstUri.parse(f"coaps://localhost:{self.port}")
        values = {"trust": (pki().ca.certificate,), "identity": pki().client.certificate}
        return ClientSession(uri, **{**values, **changes})


def client(block_bytes: int = 1024, **changes: Any) -> Client:
    """Return our client on sockets."""
    values = {
        "signer": DEVICE.signer,
        "identities": (identity_of(pki().client),),
        "coap": CoapLimits(block_bytes=block_bytes),
    }
    return Client(client_config(**{**values, **changes}))


@contextmanager
def serving(name: str, directory: Path, entity: Entity, *options: str) -> Iterator[LibcoapServer]:
    """Run a server that shows that certificate and trusts the EST CA."""
    files, port = Files(directory), free_udp_port()
    certificate, key = files.of(entity)
    command = (
        *(name, "-A", "127.0.0.1", "-p", str(port - 1), "-d", "10", *options),
        *("-c", certificate, "-j", key, "-C", str(files.anchor)),
    )
    with program(*command):
        wait_for_a_listener(port)
        yield LibcoapServer(port)


def wait_for_a_listener(port: int) -> None:
    """Return when somebody listens there: the kernel no longer says that nobody does."""
    give_up_at = time.monotonic() + 10
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(0.02)
        while True:
            try:
                probe.send(b"?")
                probe.recv(100)
            except TimeoutError:
                return
            except ConnectionRefusedError:
                assert time.monotonic() < give_up_at
                time.sleep(0.01)


@pytest.fixture(params=["coap-server-openssl", "coap-server-gnutls"])
def name(request: pytest.FixtureRequest, peer: PeerFinder) -> str:
    """One of the servers."""
    return peer(request.param)


@pytest.fixture
def server(name: str, tmp_path: Path) -> Iterator[LibcoapServer]:
    """That server, which trusts the EST CA."""
    with serving(name, tmp_path, pki().server) as running:
        yield running


@pytest.mark.req("COAPS-013", "COAPS-017", "COAPS-018", "COAPS-046", "COAPS-047", "COAPS-049")
@pytest.mark.parametrize("block_bytes", [16, 64, 256, 1024])
def test_what_a_get_answers_is_read(server: LibcoapServer, block_bytes: int) -> None:
    server.put("crts", write_certs_only(CERTIFICATES), 281)
    server.put("att", REQUESTED.der(), 285)
    with client(block_bytes) as device:
        certs = device.run(server.session().cacerts())
        attrs = device.run(server.session().csrattrs())
    assert isinstance(certs, CACertsReceived)
    assert set(certs.certificates) == set(CERTIFICATES)
    assert attrs == CSRAttrsReceived(csrattrs=REQUESTED)


@pytest.mark.parametrize("root", [("est",), ("pki", "enrollment")])
def test_a_root_of_its_own_is_found_in_its_list(
    server: LibcoapServer, root: tuple[str, ...]
) -> None:
    """Its list has paths, and no resource type of EST."""
    server.put("crts", write_certs_only(CERTIFICATES), 281, root)
    server.put("att", REQUESTED.der(), 285, root)
    found: list[CoapPaths] = []
    with client(discovered=found.append) as device:
        certs = device.run(server.session().cacerts())
        attrs = device.run(server.session().csrattrs())
    assert isinstance(certs, CACertsReceived)
    assert attrs == CSRAttrsReceived(csrattrs=REQUESTED)
    assert [each.root for each in found] == [root]
    with client(coap_root="/" + "/".join(root)) as device:
        assert isinstance(device.run(server.session().cacerts()), CACertsReceived)


def test_the_command_says_where_the_list_has_sent_it(
    server: LibcoapServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("crts", write_certs_only(CERTIFICATES), 281, ("est",))
    certificate, key = pki().client.write(tmp_path, "device")
    trust = tmp_path / "ca.pem"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    uri = f"coaps://localhost:{server.port}"
    options = ("--cert", str(certificate), "--key", str(key), "--trust", str(trust))
    assert main(["cacerts", uri, *options]) == 0
    said = capsys.readouterr()
    assert len(x509.load_pem_x509_certificates(said.out.encode())) == len(CERTIFICATES)
    assert said.err == (
        f"est: warning: {uri}: the server's list of resources says that EST is at /est\n"
    )


@pytest.mark.req("COAPS-033", "COAPS-047", "COAPS-049", "COAPS-074", "COAPS-076")
@pytest.mark.parametrize("block_bytes", [16, 64, 256, 1024])
def test_what_is_posted_arrives_whole_and_linked(server: LibcoapServer, block_bytes: int) -> None:
    exchange = server.session(pop=PopMode.ALWAYS).enroll(DEVICE.info)
    with client(block_bytes) as device:
        result = device.run(exchange)
    assert isinstance(result, Failed)  # it has no certificate to give
    assert result.code in ("response/status-201", "body/empty")
    content_format, body = server.get("sen")
    assert content_format == 286
    request = parse_cert_request(body, Limits())
    assert request.spki == DEVICE.signer.public_key_spki
    assert b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07" in body  # challengePassword


@pytest.mark.req("COAPS-044")
def test_what_it_does_not_have_is_not_available(server: LibcoapServer) -> None:
    with client() as device:
        assert device.run(server.session().csrattrs()) == CSRAttrsReceived(
            csrattrs=None, not_found=True
        )
        failure = device.run(server.session().cacerts())
    assert isinstance(failure, Failed)
    assert failure.code == "response/status-404"


def test_an_answer_in_another_format_is_not_read(server: LibcoapServer) -> None:
    server.put("crts", write_certs_only(CERTIFICATES), 60)
    with client() as device:
        failure = device.run(server.session().cacerts())
    assert isinstance(failure, Failed)
    assert failure.code == "response/media-type"


@pytest.mark.req("COAPS-053")
def test_a_server_that_loses_some_of_its_datagrams(name: str, tmp_path: Path) -> None:
    lost = "40,43-44,50"  # after the handshakes, which OpenSSL and GnuTLS repeat by the clock
    with (
        serving(name, tmp_path, pki().server, "-l", lost) as server,
        client(coap=CoapLimits(block_bytes=16, ack_timeout_s=0.1)) as device,
    ):
        server.put("crts", write_certs_only(CERTIFICATES), 281)
        certs = device.run(server.session().cacerts())
    assert isinstance(certs, CACertsReceived)
    assert set(certs.certificates) == set(CERTIFICATES)


@pytest.mark.req("COAPS-016")
def test_a_server_of_another_ca_is_not_believed(name: str, tmp_path: Path) -> None:
    subject = Subject(name="localhost", dns=("localhost",), eku=(SERVER_AUTH,))
    with serving(name, tmp_path, pki().rogue.issue(subject)) as server, client() as device:
        failure = device.run(server.session().cacerts())
    assert isinstance(failure, Failed)
    assert failure.code == "tls/untrusted-server"
