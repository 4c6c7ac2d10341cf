"""One test for each hole that was published of a server of this field, against ours.

Each server is `est serve` as an operator starts it, each client comes over a socket. The docstring
names the hole, and the rule that closes it here. Every test has a good request beside the bad one,
so that it cannot pass because nothing works.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AttributeOID

from tests.deployment import USER, Deployment, prepared, serving
from tests.docs.toml_edit import edited
from tests.odd_certificates import element
from tests.pki import SERVER_AUTH, TOMORROW, YESTERDAY, Authority, Entity, Subject, common_name
from tests.system.devices import (
    NAME,
    called,
    device_key,
    enrolled,
    named,
    on_record,
    request_for,
    revoke,
    with_key_of,
    with_serial,
)
from tests.system.independent_client import BASIC, IndependentClient
from tests.system.peers import OPERATIONS, WIRES, OwnCa, asked, showing
from tests.system.proxy_headers import headers_of_proxies
from tests.system.records import issued
from tests.system.requests import csr, dns, new_key
from tests.wrong_certificates import namesake

COAP: Final = ("--coap", "127.0.0.1:0")
LONG_AGO: Final = YESTERDAY - timedelta(days=30)
LAST_YEAR: Final = YESTERDAY.replace(year=YESTERDAY.year - 1, day=1)
every_wire = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server of both wires, where every name may be asked for."""
    directory = prepared(tmp_path_factory.mktemp("operator") / "D")
    with serving(directory, "--coap", "127.0.0.1:0") as deployment:
        yield deployment


def set_up(factory: pytest.TempPathFactory, settings: str) -> Path:
    """Return the directory of a server with these settings beside the usual ones."""
    directory = prepared(factory.mktemp("operator") / "D")
    config = directory / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), settings), "utf-8")
    return directory


def re_enrolls(wire: str, server: Deployment, entity: Entity) -> bool:
    """True if a device gets a new certificate for the one that it shows."""
    return asked(wire, server, entity, "simplereenroll", csr(new_key(), NAME)).status == 200


def check_refused(wire: str, server: Deployment, entity: Entity, der: bytes) -> None:
    """Neither operation issues anything to who shows this certificate."""
    before = len(issued(server))
    with showing(wire, server, entity) as device:
        for answer in (device.enroll(der), device.reenroll(der)):
            assert answer.status in (401, 403), answer.text
    assert len(issued(server)) == before


def check_not_renewed(wire: str, server: Deployment, entity: Entity, *requests: bytes) -> None:
    """None of these requests gets who shows this certificate a new one."""
    before = len(issued(server))
    with showing(wire, server, entity) as device:
        for der in requests:
            answer = device.reenroll(der)
            assert answer.status in (400, 403), answer.text
    assert len(issued(server)) == before


# --- A certificate that counts no more, or not yet ------------------------------------------------


@every_wire
@pytest.mark.req("EST-165")
def test_a_revoked_certificate_enrolls_and_renews_nothing(wire: str, server: Deployment) -> None:
    """CVE-2020-25276: EST took a client certificate that the CA itself had revoked.

    Another product mended the same in 2026. Rule: the certificate shown is looked up in the CA's
    own records at every request, of both operations, on old connections too; no list need be out.
    """
    device = enrolled(server)
    der = csr(new_key(), NAME)
    for operation in OPERATIONS:
        assert asked(wire, server, device, operation, der).status == 200
    revoke(server, device)
    check_refused(wire, server, device, der)
    reply = asked(wire, server, device, "simpleenroll", der)
    assert "code auth/certificate-revoked" in reply.text


@pytest.mark.req("EST-165")
def test_a_connection_from_before_the_revocation_is_of_no_use(
    server: Deployment, tmp_path: Path
) -> None:
    """The same hole, for who stays connected. Rule: as above, at every request."""
    device = enrolled(server)
    before = len(issued(server))
    files = device.write(tmp_path, "device")
    with IndependentClient(server.port, server.ca_file, identity=files) as client:
        assert client.reenroll(csr(new_key(), NAME)).status == 200
        revoke(server, device)
        assert client.reenroll(csr(new_key(), NAME)).status == 403
        assert client.enroll(csr(new_key(), NAME)).status == 403
    assert len(issued(server)) == before + 1


@every_wire
@pytest.mark.req("EST-165")
def test_an_expired_certificate_counts_for_nothing(wire: str, server: Deployment) -> None:
    """A switch that let expired certificates renew let in everybody with one, for ever.

    Rule: none counts after its notAfter; what lets it has to be asked for, and is bounded.
    """
    subject = Subject(name=NAME, not_before=LAST_YEAR, not_after=YESTERDAY)
    check_refused(wire, server, on_record(server, subject), csr(new_key(), NAME))
    assert re_enrolls(wire, server, on_record(server, Subject(name=NAME)))


@every_wire
@pytest.mark.req("EST-165")
def test_a_certificate_from_before_its_beginning_counts_for_nothing(
    wire: str, server: Deployment
) -> None:
    """The same switch ignored notBefore too: it asked "is it valid?", and took No for "expired".

    Rule: a certificate that is not valid yet is never good for anything, whatever is switched on.
    """
    early = on_record(server, Subject(name=NAME, not_before=TOMORROW))
    check_refused(wire, server, early, csr(new_key(), NAME))
    assert re_enrolls(wire, server, on_record(server, Subject(name=NAME)))


@pytest.fixture(scope="module")
def graceful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server that renews certificates for two days after they expired."""
    settings = "[auth]\nrenew_expired_days = 2\n"
    with serving(set_up(tmp_path_factory, settings), *COAP) as deployment:
        yield deployment


LATE: Final = {
    "long expired": Subject(name=NAME, not_before=LAST_YEAR, not_after=LONG_AGO),
    "not yet valid": Subject(name=NAME, not_before=TOMORROW),
    "for servers": Subject(
        name=NAME, not_before=LAST_YEAR, not_after=YESTERDAY, eku=(SERVER_AUTH,)
    ),
}
"""What a server does not renew that renews certificates which expired yesterday."""


@every_wire
@pytest.mark.parametrize("kind", list(LATE))
@pytest.mark.req("EST-165")
def test_a_switch_for_expired_certificates_lets_in_no_others(
    kind: str, wire: str, graceful: Deployment
) -> None:
    """Both of the two above, with what their switches were for: renewals that come a little late.

    Rule: it is bounded in days, for renewals alone, and forgives nothing but that one certificate's
    notAfter: not its notBefore, its purpose, nor that it was revoked or is not on record.
    """
    check_refused(wire, graceful, on_record(graceful, LATE[kind]), csr(new_key(), NAME))


@every_wire
@pytest.mark.req("EST-165")
def test_an_expired_certificate_is_renewed_by_its_own_ca_and_not_when_revoked(
    wire: str, graceful: Deployment
) -> None:
    """The same switch, for a certificate that was revoked, is a namesake's, or nobody's."""
    late = Subject(name=NAME, not_before=LAST_YEAR, not_after=YESTERDAY)
    ca = OwnCa(graceful.directory)
    for stranger in (namesake(ca).issue(late), ca.issue(late)):
        check_refused(wire, graceful, stranger, csr(new_key(), NAME))
    device = on_record(graceful, late)
    other = csr(new_key(), "device-2")
    check_not_renewed(wire, graceful, device, other)
    same = csr(device_key(device), NAME)
    assert asked(wire, graceful, device, "simpleenroll", same).status in (401, 403)
    assert asked(wire, graceful, device, "simplereenroll", same).status == 200
    revoke(graceful, device)
    check_refused(wire, graceful, device, same)


# --- A renewal for somebody else ------------------------------------------------------------------


@every_wire
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("device-2", ("one.example",)),
        ("device-1 ", ("one.example", "two.example")),
        (NAME, ("two.example",)),
        (NAME, ("one.example", "two.example")),
        (NAME, ()),
    ],
)
@pytest.mark.req("EST-158", "EST-159")
def test_a_renewal_does_not_change_who_it_is_for(
    name: str, names: tuple[str, ...], wire: str, server: Deployment
) -> None:
    """A server renewed a certificate and took subject and names from the new request.

    Rule: subject and subjectAltName of the request are those of the certificate shown (RFC 7030
    4.2.2), whatever names the label allows: on this server anybody may enroll for every name.
    """
    device = enrolled(server, NAME, dns("one.example"))
    extensions = (dns(*names),) if names else ()
    check_not_renewed(wire, server, device, csr(new_key(), name, *extensions))
    same = csr(new_key(), NAME, dns("one.example"))
    assert asked(wire, server, device, "simplereenroll", same).status == 200


@every_wire
@pytest.mark.req("EST-156", "EST-165")
def test_a_renewal_is_not_matched_by_a_stop_gap(wire: str, server: Deployment) -> None:
    """A server that did not find the certificate shown took the newest one of that name instead.

    Rule: what is renewed is the certificate that was shown, byte for byte on record. Another one
    of the same CA, of the same name, or with the same serial number, stands for nothing.
    """
    device = enrolled(server)
    der = csr(device_key(device), NAME)
    stranger = OwnCa(server.directory).issue(Subject(name=NAME))
    check_not_renewed(wire, server, stranger, der)
    twin = with_serial(OwnCa(server.directory), device)
    check_not_renewed(wire, server, twin, der)
    assert asked(wire, server, device, "simplereenroll", der).status == 200


@pytest.mark.req("EST-156")
def test_nothing_is_renewed_for_who_shows_no_certificate(server: Deployment) -> None:
    """The same stop-gap, for a client with a password: the name in the request decided.

    Rule: a renewal needs the certificate that it renews, in the handshake: the policy says so, no
    configuration can say otherwise, and the operation itself takes none without.
    """
    enrolled(server)
    before = len(issued(server))
    body = base64.b64encode(csr(new_key(), NAME))
    with IndependentClient(server.port, server.ca_file) as client:
        for authorization in (None, BASIC):
            answer = client.post("simplereenroll", body, authorization=authorization)
            assert answer.status in (401, 403), answer.body
        assert client.post("simpleenroll", body).status == 200
    assert len(issued(server)) == before + 1


# --- A name or a key of somebody else -------------------------------------------------------------


@every_wire
@pytest.mark.req("EST-061")
def test_a_ca_that_is_called_like_ours_certifies_nobody(wire: str, server: Deployment) -> None:
    """A server looked for the issuer by its name, and took the certificates of any namesake.

    Rule: an anchor is a name and a key (RFC 5280 6.1.1 (d)). The namesake's certificate has the
    serial number of one on record too.
    """
    device = enrolled(server)
    twin = with_serial(namesake(OwnCa(server.directory)), device)
    assert twin.certificate.issuer == device.certificate.issuer
    assert twin.certificate.serial_number == device.certificate.serial_number
    check_refused(wire, server, twin, csr(new_key(), NAME))
    assert re_enrolls(wire, server, device)


@every_wire
@pytest.mark.req("EST-142", "EST-156")
def test_a_certificate_is_not_renewed_with_the_key_of_another(
    wire: str, server: Deployment
) -> None:
    """A server did not look whose key a request for renewal had: it certified a key of another's.

    Rule: the request is signed with the key that it asks to have certified, and it has the names of
    the certificate shown: so neither another's key nor another's request will do.
    """
    device, other = enrolled(server), enrolled(server, "device-2")
    stolen = with_key_of(csr(device_key(device), NAME), csr(device_key(other), NAME))
    relayed = csr(device_key(other), "device-2")
    check_not_renewed(wire, server, device, stolen, relayed)
    assert asked(wire, server, other, "simplereenroll", relayed).status == 200


# --- What a client says of itself -----------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.req("EST-065")
def test_a_header_of_a_client_is_not_taken_for_a_proxys(operation: str, server: Deployment) -> None:
    """Servers behind a proxy believed X-SSL-Client-Cert and the like, from whoever sent it.

    Rule: who a client is, is known from its handshake and its credentials. No header field that
    proxies write is read, not even for its address.
    """
    device = enrolled(server)
    before, body = len(issued(server)), base64.b64encode(csr(new_key(), NAME))
    fields = headers_of_proxies(device.certificate)
    with IndependentClient(server.port, server.ca_file) as client:
        for one in ({name: value} for name, value in fields.items()):
            answer = client.post(operation, body, authorization=None, headers=one)
            assert answer.status in (401, 403), (one, answer.body)
        answer = client.post(operation, body, authorization=None, headers=fields)
        assert answer.status in (401, 403), answer.body
        assert len(issued(server)) == before
        assert client.post("simpleenroll", body, headers=fields).status == 200
    record = issued(server)[-1]
    assert (record.user, record.client_subject) == (USER, None)
    assert record.peer is not None
    assert "192.0.2.1" not in record.peer


# --- Proof of possession --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server that takes no request which is not linked to its connection."""
    with serving(set_up(tmp_path_factory, "[auth]\nrequire_pop = true\n")) as deployment:
        yield deployment


def with_parts(name: str, *parts: tuple[x509.ObjectIdentifier, bytes]) -> bytes:
    """Return a request with these attributes, whose values are UTF8Strings, or octets."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    for oid, value in parts:
        kind = _ASN1Type.UTF8String if value.isascii() else _ASN1Type.OctetString
        builder = builder.add_attribute(oid, value, _tag=kind)
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


def elsewhere(text: bytes) -> dict[str, bytes]:
    """Return requests that have the text of a binding, and do not link anything by it."""
    challenge, other = AttributeOID.CHALLENGE_PASSWORD, AttributeOID.UNSTRUCTURED_NAME
    attribute = bytes.fromhex("06092a864886f70d010907") + element(0x31, element(0x13, text))
    extension = x509.UnrecognizedExtension(challenge, element(0x13, text))
    return {
        "in the subject": with_parts(text.decode()),
        "in another attribute": with_parts(NAME, (other, text)),
        "in another attribute, with all of challengePassword": with_parts(
            NAME, (other, element(0x30, attribute))
        ),
        "in an extension": csr(new_key(), NAME, extension),
        "at the beginning of challengePassword": with_parts(NAME, (challenge, text + b"AAAA")),
        "at the end of challengePassword": with_parts(NAME, (challenge, b"AAAA" + text)),
        "in challengePassword, between others": with_parts(
            NAME, (challenge, b"tls-unique=" + text + b";")
        ),
        "in the other letters": with_parts(NAME, (challenge, text.swapcase())),
        "cut short": with_parts(NAME, (challenge, text[:-4])),
    }


@pytest.mark.parametrize("where", list(elsewhere(b"AAAAAAAAAAAAAAAA")))
@pytest.mark.req("EST-136", "EST-170", "CB-010")
def test_a_request_is_not_linked_by_a_text_that_stands_in_it(
    where: str, linking: Deployment
) -> None:
    """A check for proof of possession looked for the text of the binding anywhere in the request.

    Another compared as many octets as the shorter of both had. Rule: the value of the attribute
    challengePassword, parsed, is the text of the binding and nothing else.
    """
    before = len(issued(linking))
    with IndependentClient(linking.port, linking.ca_file) as client:
        text = base64.b64encode(client.tls_unique())
        answer = client.enroll(elsewhere(text)[where])
        assert answer.status in (400, 403), answer.body
        assert b"challengePassword" in answer.body or b"POP" in answer.body
        assert len(issued(linking)) == before
        challenge = (AttributeOID.CHALLENGE_PASSWORD, text)
        assert client.enroll(with_parts(NAME, challenge)).status == 200


# --- The number of another manufacturer's device --------------------------------------------------


MANUFACTURERS: Final = """\
[auth]
names = "identity"
[manufacturers.acme]
trust = ["acme.pem"]
field = "serialNumber"
csr_field = "serialNumber"
[manufacturers.globex]
trust = ["globex.pem"]
field = "CN"
csr_field = "CN"
"""


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A server that knows two manufacturers by two fields, and what they certify."""

    server: Deployment
    acme: Authority
    globex: Authority


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """A server that knows two manufacturers, each by a field of its own."""
    directory = prepared(tmp_path_factory.mktemp("factory") / "D")
    acme, globex = Authority("Acme"), Authority("Globex")
    for name, maker in (("acme", acme), ("globex", globex)):
        (directory / f"{name}.pem").write_bytes(maker.certificate.public_bytes(Encoding.PEM))
    (directory / "est.toml").write_text(MANUFACTURERS, "utf-8")
    with serving(directory, "--coap", "127.0.0.1:0") as deployment:
        yield Factory(server=deployment, acme=acme, globex=globex)


@every_wire
def test_a_device_of_one_manufacturer_is_none_of_another(wire: str, factory: Factory) -> None:
    """libEST's masquerade: with two manufacturers, one field that fitted was enough.

    A device of one, whose own number was in the request, could put the number of the other's device
    beside it. Rule: a device is the pair of manufacturer and number; the manufacturer follows from
    the anchor, and a request has no name but that number, or all that its certificate says.
    """
    server, before = factory.server, len(issued(factory.server))
    device = called(factory.globex.issue(Subject(name="G-1")), named(cn="G-1"), factory.globex)
    seen = len(server.log.lines)
    with showing(wire, server, device) as globex:
        for subject in (
            named(cn="G-1", serial="A-1"),  # its own number fits, and the other is acme's device
            named(cn="A-1"),
            named(serial="A-1"),
            named(serial="G-1"),
        ):
            answer = globex.enroll(request_for(subject))
            assert answer.status in (400, 403), (subject, answer.text)
            assert globex.reenroll(request_for(subject)).status == 403
        assert len(issued(server)) == before
        own = globex.enroll(request_for(named(cn="G-1")))
        assert own.status == 200, own.text
    server.log.wait_for(r'identity="maker:globex/G-1 .* status=20[04]', after=seen)


@every_wire
def test_one_number_of_two_manufacturers_is_two_devices(wire: str, factory: Factory) -> None:
    """The same from the other side: a manufacturer that gives its device another's number.

    Rule: as above; and a name that a valid certificate has is refused to another device.
    """
    server, number = factory.server, f"4711-{WIRES.index(wire)}"
    for maker, subject, name, status in (
        (factory.acme, named(serial=number), "acme", 200),
        (factory.globex, named(cn=number), "globex", 400),
        (factory.acme, named(serial=number), "acme", 200),
    ):
        seen = len(server.log.lines)
        device = called(maker.issue(Subject(name="x")), subject, maker)
        answer = asked(wire, server, device, "simpleenroll", request_for(subject))
        assert answer.status == status, answer.text
        assert ("code names/held" in answer.text) is (status == 400)
        server.log.wait_for(rf'identity="maker:{name}/{number} ', after=seen)
        missing = called(maker.issue(Subject(name="x")), named(), maker)
        answer = asked(wire, server, missing, "simpleenroll", request_for(subject))
        assert answer.status in (400, 403), answer.text


@every_wire
def test_a_name_beside_its_own_is_not_to_be_had_in_two_steps(wire: str, factory: Factory) -> None:
    """The same, with a certificate of the EST CA between.

    A device whose own certificate has another's number beside its own may have both together, and
    then showed that one for the other's number alone. Rule: of a certificate of ours with several
    names, none counts by itself.
    """
    server, both = factory.server, named(cn="G-1", serial="A-1")
    device = called(factory.globex.issue(Subject(name="x")), both, factory.globex)
    key = new_key()
    first = asked(wire, server, device, "simpleenroll", request_for(both, key))
    assert first.status == 200, first.text
    (certificate,) = first.certificates
    own = Entity(certificate=certificate, key=key, chain=(certificate,))
    with showing(wire, server, own) as again:
        for subject in (named(cn="A-1"), named(serial="A-1")):
            assert again.enroll(request_for(subject)).status == 400
            assert again.reenroll(request_for(subject)).status == 400
        assert again.enroll(request_for(both)).status == 200
        assert again.reenroll(request_for(both)).status == 200
