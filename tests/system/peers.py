"""Devices that show whatever certificate they are given, over sockets, on both wires.

What they are certified by: the CA of a directory, with its key in our hands.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from est_core.wires.coapmap import Code
from est_transports.pki.trust import TrustAnchors
from tests.deployment import Deployment
from tests.pki import Authority, Entity
from tests.system.independent_client import IndependentClient
from tests.transports.coap_site import SEN, SREN
from tests.transports.coap_udp import UdpDevice
from tests.transports.dtls_pair import a_dtls_client

OPERATIONS: Final = ("simpleenroll", "simplereenroll")
_COAP_HEADS: Final = dict(zip(OPERATIONS, (SEN, SREN), strict=True))
_VERSIONS: Final = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
WIRES: Final = (*_VERSIONS, "DTLS")


class OwnCa(Authority):
    """The CA of a directory of `est init`."""

    def __init__(self, directory: Path) -> None:
        key = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key, self.issuer = key, None
        self.certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())


class Reply(NamedTuple):
    """Status and body of an answer; CoAP's 4.03 is told as 403, and 2.04 as 200."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def certificates(self) -> list[x509.Certificate]:
        """The certificates of the body, in DER on CoAP and in base64 of it elsewhere."""
        is_der = self.body.startswith(b"\x30")
        return load_der_pkcs7_certificates(self.body if is_der else base64.b64decode(self.body))


class Showing:
    """A device that has shown its certificate in a handshake, and may ask more than once."""

    def __init__(self, ask: Callable[[str, bytes], Reply]) -> None:
        self.ask = ask

    def enroll(self, der: bytes) -> Reply:
        """Ask for a certificate."""
        return self.ask("simpleenroll", der)

    def reenroll(self, der: bytes) -> Reply:
        """Ask for a new certificate instead of the one shown."""
        return self.ask("simplereenroll", der)


@contextmanager
def showing(wire: str, server: Deployment, entity: Entity) -> Iterator[Showing]:
    """Connect to a server with this certificate.

    One association for all questions: a server of DTLS ends those of a host with many bad ones.
    """
    if wire == "DTLS":
        trust = TrustAnchors(explicit=(server.ca,))
        context = a_dtls_client(entity, trust=trust, server_name="127.0.0.1")
        with UdpDevice(server.coap_port, context).connect() as device:
            yield Showing(partial(_by_coap, device))
        return
    with TemporaryDirectory() as place:
        identity = entity.write(Path(place), "shown")
        with IndependentClient(
            server.port, server.ca_file, version=_VERSIONS[wire], identity=identity
        ) as client:
            yield Showing(partial(_by_http, client))


def asked(wire: str, server: Deployment, entity: Entity, operation: str, der: bytes) -> Reply:
    """Connect with this certificate, send one request, and return the answer."""
    with showing(wire, server, entity) as device:
        return device.ask(operation, der)


def _by_http(client: IndependentClient, operation: str, der: bytes) -> Reply:
    answer = client.post(operation, base64.b64encode(der), authorization=None)
    return Reply(answer.status, answer.body)


def _by_coap(device: UdpDevice, operation: str, der: bytes) -> Reply:
    answer = device.ask(_COAP_HEADS[operation], der)
    code = answer.head.code
    status = 200 if code == Code.CHANGED else 100 * (code >> 5) + (code & 0x1F)
    return Reply(status, answer.payload)
