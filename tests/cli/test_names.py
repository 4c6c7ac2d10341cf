"""Who may have which name, over both wires: each rule of est.toml for each kind of client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    pkcs7,
)
from cryptography.x509.oid import NameOID

from est_core import ManufacturerIdentity
from est_transports import _clock
from est_transports.authority import CodeRecord, ServerSecret, SqliteStore, new_code
from est_transports.authority.stores.device_records import DeviceRecord
from est_transports.pki.trust import TrustAnchors
from est_transports.service.initialisation import CaSpec, initialise
from tests.cli.serve_process import ServeProcess, serving
from tests.cli.test_serve import add_user
from tests.docs.toml_edit import edited
from tests.pki import CLIENT_AUTH, CMC_RA, Authority, Entity, Subject, new_key
from tests.transports.coap_site import SEN, SREN
from tests.transports.coap_udp import UdpDevice
from tests.transports.dtls_pair import a_dtls_client

ID, OTHER, PASSWORD = "SN-1041", "SN-1042", "correct horse battery"
MADE = "SN-7001"
"""The number of a device of two manufacturers; that of one of them has a certificate."""
DAY: Final = timedelta(days=1)
MAKERS: Final = {"manufacturer's": "acme", "other maker's": "other"}
RULES: Final = ("any", "identity", "registered")
ENROLLED: Final = "manufacturer's, enrolled"
CLIENTS: Final = (
    *("user", "code", "own certificate", "trusted certificate", "manufacturer's", "other maker's"),
    "RA",
)
CONFIG: Final = """\
[auth]
schemes = ["basic", "otp"]
[ra]
certificates = ["ra.pem"]
[tls]
client_trust = ["trusted.pem"]
[manufacturers.acme]
trust = ["acme.pem"]
[manufacturers.other]
trust = ["other.pem"]
[labels.any]
names = "any"
[labels.identity]
names = "identity"
[labels.registered]
names = "registered"
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server with a label for each rule, and who comes to it."""

    server: ServeProcess
    certificates: dict[str, Entity]
    code: str

    def ask(self, wire: str, operation: str, rule: str, client: str, csr: bytes) -> str:
        """Return the code of the answer, "-" for a certificate."""
        if wire == "coaps":
            self._ask_over_coap(operation, rule, client, csr)
        else:
            self._ask_over_https(operation, rule, client, csr)
        line = self.server.wait_for(f"wire={wire} operation={operation} label={rule} ")
        found = re.search(r" code=(\S+) ", line)
        assert found, line
        return found[1]

    def _ask_over_https(self, operation: str, rule: str, client: str, csr: bytes) -> None:
        entity, login = self.certificates.get(client), ""
        if entity is None:
            login = f"{ID}:{self.code if client == 'code' else PASSWORD}"
        connection = self.server.connect(None if entity is None else self._file(client, entity))
        connection.ask(f"{rule}/{operation}", csr, login)
        connection.close()

    def _ask_over_coap(self, operation: str, rule: str, client: str, csr: bytes) -> None:
        root = x509.load_pem_x509_certificate((self.server.directory / "ca.pem").read_bytes())
        trust = TrustAnchors(explicit=(root,))
        context = a_dtls_client(self.certificates[client], trust=trust, server_name="127.0.0.1")
        head = SEN if operation == "simpleenroll" else SREN
        head = replace(head, path=(*head.path[:-1], rule, head.path[-1]))
        with UdpDevice(self.server.coap_port, context).connect() as device:
            device.ask(head, csr)

    def _file(self, client: str, entity: Entity) -> Path:
        file = self.server.directory / f"{client}.pem"
        file.write_bytes(entity.chain_pem + entity.key_pem)
        return file


def csr(key: ec.EllipticCurvePrivateKey, common_name: str, *hosts: str) -> bytes:
    """Return a request for that common name, if any, and those hosts."""
    oid = NameOID.COMMON_NAME if common_name else NameOID.ORGANIZATION_NAME
    subject = x509.Name([x509.NameAttribute(oid, common_name or "Example")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


IDEVID: Final = Subject(
    name="",
    whole=x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, OTHER),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, MADE),
        ]
    ),
)
"""A manufacturer's device, which bears another name in its certificate than its number."""

ASKED: Final = {
    "own name": (ID, ()),
    "other's name": (OTHER, ()),
    "no name": ("", ()),
    "extra name": (ID, ("gate.example",)),
    "registered name": (ID, ("door.example",)),
}
ASKED_BY_MADE: Final = ASKED | {
    "own name": (MADE, ()),
    "extra name": (MADE, ("gate.example",)),
    "registered name": (MADE, ("hatch.example",)),
}


def expected(operation: str, rule: str, client: str, asked: str) -> str:
    """Return the code that an answer is to have, "-" for a certificate."""
    if client in MAKERS:
        return _for_a_device(operation, rule, client, asked)
    if operation == "simplereenroll" and client != "RA" and asked != "own name":
        return "renewal/subject-alt-name" if ASKED[asked][1] else "renewal/subject"
    if client == "RA":
        return _for_an_ra(rule, asked)
    if rule == "any" or asked == "own name":
        return "-"
    if asked == "no name":
        return "names/none"
    if rule == "registered" and asked == "registered name":
        return "-"
    return "names/not-allowed"


def _for_a_device(operation: str, rule: str, client: str, asked: str) -> str:
    """Return what the certificate that a device came with is good for."""
    if operation == "simplereenroll":
        return "auth/certificate-not-accepted"
    is_registered = client == "manufacturer's"
    if rule == "registered" and not is_registered:
        return "names/not-registered"  # the device that is registered is another
    if rule != "any" and asked == "no name":
        return "names/none"
    allowed = {"any": set(ASKED), "identity": {"own name"}}
    if asked not in allowed.get(rule, {"own name", "registered name"}):
        return "names/not-allowed"
    if asked in ("other's name", "extra name"):
        return "names/held"  # by a user
    return "-" if is_registered or asked == "no name" else "names/held"  # by the first one's


def _for_an_ra(rule: str, asked: str) -> str:
    if rule != "registered" or asked in ("own name", "registered name"):
        return "-"
    return "names/not-allowed" if asked == "extra name" else "names/not-registered"


def own_ca(directory: Path) -> Authority:
    """Return the CA in a directory, to issue what it would not issue by itself."""
    key = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    ca = Authority("EST CA", key=key)
    ca.certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    return ca


def registered(directory: Path) -> str:
    """Register the device, and return a code of it that is good for many certificates."""
    now, code = _clock.instant().wall, new_code(_clock.entropy)
    secret = ServerSecret.load_or_make(directory / "auth-secret.key", _clock.entropy)
    digest = secret.code_digest(code)
    assert digest is not None
    with closing(SqliteStore(directory / "est.db")) as store:
        made = ManufacturerIdentity(manufacturer="acme", value=MADE)
        store.add_devices(
            [
                DeviceRecord(id=ID, names=("door.example",), created_at=now),
                DeviceRecord(id=MADE, names=("hatch.example",), created_at=now, manufacturer=made),
            ]
        )
        record = CodeRecord(
            name=ID, digest=digest, uses_max=1000, created_at=now, expires_at=now + DAY
        )
        store.add_codes([record])
    return code


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for all."""
    directory = tmp_path_factory.mktemp("names") / "ca"
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    add_user(directory, ID, PASSWORD)
    config = directory / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), CONFIG), "utf-8")
    makers = {name: Authority(f"{name} root") for name in ("trusted", *MAKERS.values())}
    for name, maker in makers.items():
        (directory / f"{name}.pem").write_bytes(maker.certificate.public_bytes(Encoding.PEM))
    code, key = registered(directory), new_key()
    ra = own_ca(directory).issue(Subject(name="ra", eku=(CMC_RA, CLIENT_AUTH)))
    (directory / "ra.pem").write_bytes(ra.chain_pem)
    with serving(directory, "--coap", "127.0.0.1:0") as server:
        for name, hosts in reversed(ASKED.values()):  # so that an RA finds each on record
            connection = server.connect()
            login = f"{ID}:{PASSWORD}"
            status, der = connection.ask("any/simpleenroll", csr(key, name, *hosts), login)
            connection.close()
            assert status == 200
            server.wait_for("status=200")
        (certificate,) = pkcs7.load_der_pkcs7_certificates(der)
        idevids = {client: makers[name].issue(IDEVID) for client, name in MAKERS.items()}
        file = directory / "idevid.pem"
        file.write_bytes(idevids["manufacturer's"].chain_pem + idevids["manufacturer's"].key_pem)
        connection = server.connect(file)
        _, made = connection.ask("registered/simpleenroll", csr(key, MADE))
        connection.close()
        server.wait_for("maker:acme/SN-7001")
        (enrolled,) = pkcs7.load_der_pkcs7_certificates(made)
        certificates = {
            **idevids,
            ENROLLED: Entity(certificate=enrolled, key=key, chain=(enrolled,)),
            "own certificate": Entity(certificate=certificate, key=key, chain=(certificate,)),
            "trusted certificate": makers["trusted"].issue(Subject(name=ID)),
            "RA": ra,
        }
        yield Site(server=server, certificates=certificates, code=code)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("wire", "operation", "client"),
    [
        *product(("https",), ("simpleenroll",), CLIENTS),
        *product(("coaps",), ("simpleenroll",), CLIENTS[2:]),
        *product(
            ("https", "coaps"),
            ("simplereenroll",),
            ("own certificate", "manufacturer's", ENROLLED, "RA"),
        ),
    ],
)
def test_a_client_gets_the_names_that_the_rule_of_its_label_gives_it(
    site: Site, wire: str, operation: str, client: str, rule: str, asked: str
) -> None:
    name, hosts = (ASKED_BY_MADE if client in (*MAKERS, ENROLLED) else ASKED)[asked]
    code = site.ask(wire, operation, rule, client, csr(new_key(), name, *hosts))
    assert code == expected(operation, rule, client, asked)


def test_a_refusal_tells_the_client_the_rule_and_the_name(site: Site) -> None:
    connection = site.server.connect()
    login = f"{ID}:{PASSWORD}"
    status, body = connection.ask("identity/simpleenroll", csr(new_key(), OTHER), login)
    connection.close()
    site.server.wait_for("names/not-allowed")
    assert status == 400
    assert f"commonName {OTHER}" in body.decode()
    assert "names = identity" in body.decode()
