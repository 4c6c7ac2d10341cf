"""Renewals that come late and devices that come with an expired certificate, over both wires."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from est_transports import _clock
from est_transports.authority import IssuedRecord, SqliteStore
from est_transports.pki.serials import serial_text
from est_transports.pki.trust import TrustAnchors
from est_transports.service.initialisation import CaSpec, initialise
from tests.cli.serve_process import ServeProcess, serving
from tests.cli.test_names import csr, own_ca
from tests.docs.toml_edit import edited
from tests.pki import SERVER_AUTH, Authority, Entity, Subject
from tests.transports.coap_site import SEN, SREN
from tests.transports.coap_udp import UdpDevice
from tests.transports.dtls_pair import a_dtls_client

NOW: Final = _clock.instant().wall.replace(microsecond=0)
DAY: Final = timedelta(days=1)
WIRES: Final = ("https", "coaps")
CONFIG: Final = """\
[labels.late]
renew_expired_days = 10
[labels.strict]
[manufacturers.acme]
trust = ["acme.pem"]
accept_expired = true
[manufacturers.other]
trust = ["other.pem"]
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server with a label that forgives, and one that does not."""

    server: ServeProcess
    entities: dict[str, Entity]

    def ask(self, wire: str, operation: str, label: str, who: str, name: str) -> str:
        """Return the log line of a request that a client makes by its certificate."""
        entity = self.entities[who]
        assert isinstance(entity.key, ec.EllipticCurvePrivateKey)
        body = csr(entity.key, name)
        if wire == "https":
            file = self.server.directory / "client.pem"
            file.write_bytes(entity.chain_pem + entity.key_pem)
            connection = self.server.connect(file)
            connection.ask(f"{label}/{operation}", body)
            connection.close()
        else:
            root = x509.load_pem_x509_certificate((self.server.directory / "ca.pem").read_bytes())
            trust = TrustAnchors(explicit=(root,))
            context = a_dtls_client(entity, trust=trust, server_name="127.0.0.1")
            head = SEN if operation == "simpleenroll" else SREN
            head = replace(head, path=(*head.path[:-1], label, head.path[-1]))
            with UdpDevice(self.server.coap_port, context).connect() as device:
                device.ask(head, body)
        return self.server.wait_for(f"wire={wire} ")


def code_of(line: str) -> str:
    found = re.search(r" code=(\S+) ", line)
    assert found, line
    return found[1]


def ended(subject: Subject, days: int) -> Subject:
    """What a certificate is to say that expired so many days ago."""
    end = NOW - days * DAY
    return replace(subject, not_before=end - 30 * DAY, not_after=end)


def recorded(store: SqliteStore, entity: Entity) -> Entity:
    """Put a certificate on record as one of the CA's."""
    certificate = entity.certificate
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = IssuedRecord(
        serial=serial_text(certificate.serial_number),
        subject=certificate.subject.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        der=certificate.public_bytes(Encoding.DER),
        spki_sha256=hashlib.sha256(spki).digest(),
        issued_at=certificate.not_valid_before_utc,
        operation="simpleenroll",
    )
    store.record_certificate(record)
    return entity


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for all."""
    directory = tmp_path_factory.mktemp("late") / "ca"
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    makers = {name: Authority(f"{name} root") for name in ("acme", "other")}
    for name, maker in makers.items():
        pem = maker.certificate.public_bytes(Encoding.PEM)
        (directory / f"{name}.pem").write_bytes(pem)
    config = directory / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), CONFIG), "utf-8")
    ca, namesake = own_ca(directory), Authority("EST CA")
    namesake.certificate = Authority("EST CA", key=namesake.key).certificate
    early = Subject(name="early", not_before=NOW + DAY, not_after=NOW + 9 * DAY)
    for_servers = Subject(name="server", eku=(SERVER_AUTH,))
    number = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, "SN-1")])
    with closing(SqliteStore(directory / "est.db")) as store:
        entities = {
            "late": recorded(store, ca.issue(ended(Subject(name="late"), 3))),
            "too late": recorded(store, ca.issue(ended(Subject(name="too-late"), 11))),
            "revoked": recorded(store, ca.issue(ended(Subject(name="revoked"), 3))),
            "not recorded": ca.issue(ended(Subject(name="gone"), 3)),
            "early": recorded(store, ca.issue(early)),
            "wrong purpose": recorded(store, ca.issue(ended(for_servers, 3))),
            "forged": recorded(store, namesake.issue(ended(Subject(name="forged"), 3))),
            "acme's": makers["acme"].issue(ended(Subject(name="", whole=number), 400)),
            "other's": makers["other"].issue(ended(Subject(name="", whole=number), 400)),
        }
        revoked = serial_text(entities["revoked"].certificate.serial_number)
        store.revoke_certificate(revoked, at=NOW - 5 * DAY, reason="keyCompromise")
    with serving(directory, "--coap", "127.0.0.1:0") as server:
        yield Site(server=server, entities=entities)


@pytest.mark.req("EST-165")
@pytest.mark.parametrize("wire", WIRES)
def test_a_renewal_comes_late_where_the_label_forgives_that(site: Site, wire: str) -> None:
    line = site.ask(wire, "simplereenroll", "late", "late", "late")
    assert code_of(line) == "-"
    assert 'identity="expired cert:CN=late"' in line
    line = site.ask(wire, "simplereenroll", "strict", "late", "late")
    assert code_of(line) == "auth/certificate-not-accepted"


@pytest.mark.req("EST-165")
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("who", "name", "code"),
    [
        ("too late", "too-late", "auth/certificate-not-accepted"),
        ("revoked", "revoked", "auth/certificate-revoked"),
        ("not recorded", "gone", "renewal/unknown-certificate"),
        ("early", "early", "auth/certificate-not-accepted"),
        ("wrong purpose", "server", "auth/certificate-not-accepted"),
        ("forged", "forged", "auth/certificate-not-accepted"),
        ("late", "another", "renewal/subject"),
        ("acme's", "SN-1", "auth/certificate-not-accepted"),
    ],
)
def test_no_other_renewal_does(site: Site, wire: str, who: str, name: str, code: str) -> None:
    assert code_of(site.ask(wire, "simplereenroll", "late", who, name)) == code


@pytest.mark.req("EST-165")
@pytest.mark.parametrize("wire", WIRES)
def test_an_expired_certificate_of_ours_enrolls_nobody(site: Site, wire: str) -> None:
    code = code_of(site.ask(wire, "simpleenroll", "late", "late", "late"))
    expected = "auth/missing" if wire == "https" else "auth/certificate-not-accepted"
    assert code == expected


@pytest.mark.req("COAPS-019")
@pytest.mark.parametrize("wire", WIRES)
def test_a_manufacturers_device_enrolls_late_where_that_is_said_of_it(
    site: Site, wire: str
) -> None:
    line = site.ask(wire, "simpleenroll", "strict", "acme's", "SN-1")
    assert code_of(line) == "-"
    assert 'identity="expired maker:acme/SN-1 ' in line
    code = code_of(site.ask(wire, "simpleenroll", "strict", "other's", "SN-1"))
    assert code == ("auth/missing" if wire == "https" else "auth/certificate-not-accepted")
