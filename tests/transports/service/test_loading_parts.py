"""What a server refuses to start with, and whose names it keeps to itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from est_core import Channel, ClientIdentity, CSRAttrsRequested, Label, ProvideCSRAttrs, TlsVersion
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_transports import _clock
from est_transports.authority.ca import Enrollment, Refused
from est_transports.authority.issuers import given_issuer
from est_transports.pki.trust import CredentialFileError
from est_transports.service.errors import ServingError
from est_transports.service.initialisation import (
    CA_CERTIFICATE,
    CA_KEY,
    SERVER_CERTIFICATE,
    SERVER_KEY,
    CaSpec,
)
from tests.core.asn1.build import GOST_KEY
from tests.core.asn1.build import certificate as odd_certificate
from tests.pki import (
    CMC_RA,
    SERVER_AUTH,
    Authority,
    Entity,
    Subject,
    common_name,
    pki,
    rsa_key,
    weak_rsa_key,
)
from tests.transports.ca_fakes import request
from tests.transports.pki.test_credential_files import pem
from tests.transports.service.test_initialisation import make as make_ca
from tests.transports.service.test_loading import load


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    make_ca(tmp_path / "ca")
    return tmp_path / "ca"


def pem_of(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def put_server(directory: Path, server: Entity) -> None:
    (directory / SERVER_CERTIFICATE).write_bytes(pem_of(*server.chain))
    (directory / SERVER_KEY).write_bytes(server.key_pem)


def put_ca(directory: Path, authority: Authority, *above: x509.Certificate) -> None:
    (directory / CA_CERTIFICATE).write_bytes(pem_of(authority.certificate, *above))
    (directory / CA_KEY).write_bytes(
        authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def refusal(directory: Path, subject: x509.Name, extra: str = "") -> str:
    """Return why the CA of a directory certifies nobody of that name; "" if it does."""
    ca = load(directory, extra).authority.ca
    try:
        ca.issue(
            request(subject=subject),
            Enrollment(operation="simpleenroll"),
            now=_clock.instant().wall,
        )
    except Refused as refused:
        return f"{refused.code}: {refused.text}"
    return ""


# Files


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda path: path.unlink(), r"restore it, or correct \[ca\] certificate in est\.toml"),
        (
            lambda path: path.write_text("x"),
            r"put the right one there, or correct \[ca\] certificate in est\.toml",
        ),
        (lambda path: (path.unlink(), path.mkdir()), "is a directory, not a file"),
    ],
    ids=["away", "no certificate", "a directory"],
)
def test_of_a_file_that_does_not_do_it_is_said_what_to_do(
    spoil: Callable[[Path], object], words: str, directory: Path
) -> None:
    spoil(directory / CA_CERTIFICATE)
    with pytest.raises(CredentialFileError, match=words):
        load(directory)


def test_the_certificate_of_the_ca_is_the_first_of_its_file_and_no_other(directory: Path) -> None:
    file = directory / CA_CERTIFICATE
    file.write_bytes(pem("CERTIFICATE", odd_certificate(key=GOST_KEY)) + file.read_bytes())
    with pytest.raises(CredentialFileError, match=r"certificate 1 .*\[ca\] certificate"):
        load(directory)


def test_a_server_certificate_that_openssl_does_not_take_is_refused(directory: Path) -> None:
    put_server(directory, pki().ca.issue(Subject(name="s", eku=(SERVER_AUTH,), key=weak_rsa_key())))
    with pytest.raises(ServingError, match=rf"^{directory / SERVER_CERTIFICATE}: "):
        load(directory)


def test_coap_needs_another_key_than_https_may_have(directory: Path) -> None:
    put_server(directory, pki().ca.issue(Subject(name="s", eku=(SERVER_AUTH,), key=rsa_key())))
    load(directory)
    words = rf"\[coap\] listen: {directory / SERVER_CERTIFICATE}: .*P-256"
    with pytest.raises(ServingError, match=words):
        load(directory, '[coap]\nlisten = "127.0.0.1:0"\n')


# Names


@pytest.mark.parametrize(
    "text, own",
    [
        ("old.example", True),
        ("2001:db8::9", True),
        ("plant", False),
        ("EST server 1.0", False),
    ],
)
def test_a_common_name_of_the_server_that_is_a_host_is_its_own(
    text: str, own: bool, directory: Path
) -> None:
    put_server(directory, pki().ca.issue(Subject(name=text, eku=(SERVER_AUTH,))))
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )
    assert refusal(directory, subject).startswith("profile/own-name") is own


def test_subjects_that_are_somebodys_are_refused_and_it_is_said_whose(directory: Path) -> None:
    middle = Authority("Middle", issuer=pki().ca)
    put_server(directory, middle.issue(Subject(name="Server 1", eku=(SERVER_AUTH,))))
    (directory / "others.pem").write_bytes(
        pem_of(
            pki().ca.issue(Subject(name="Registrar", eku=(CMC_RA,))).certificate,
            pki().ca.issue(Subject(name="Boss")).certificate,
        )
    )
    extra = '[ca]\nreserved = ["others.pem"]\n'
    whose = {
        "Server 1": "this server's TLS certificate",
        "Middle": "a CA above this server's TLS certificate",
        "Registrar": "a registration authority",
        "Boss": "a certificate that is reserved",
    }
    for name, holder in whose.items():
        reason = refusal(directory, common_name(name), extra)
        assert reason.startswith("profile/reserved-subject: "), reason
        assert reason.rpartition("that of ")[2] == holder
    assert refusal(directory, common_name("device-9"), extra) == ""


# What is told


def test_a_ca_below_one_that_allows_none_is_worth_a_notice(directory: Path) -> None:
    low = Authority("Too low", issuer=pki().intermediate)
    put_ca(directory, low, pki().intermediate.certificate, pki().ca.certificate)
    file = directory / CA_CERTIFICATE
    (notice,) = [line for line in load(directory).notices if "nothing that it issues" in line]
    assert notice.startswith(f"{file}: nothing that it issues will verify: ")
    assert "path length" in notice


def test_what_a_ca_can_never_issue_is_worth_a_notice(tmp_path: Path) -> None:
    only = x509.NameConstraints([x509.DNSName("plant.example")], None)
    ca = pki().ca.issue(Subject(name="Bound", ca=True, eku=None, extra=(only,)))
    issuer = given_issuer((ca.certificate, pki().ca.certificate), ca.key, now=_clock.instant().wall)
    made = make_ca(tmp_path / "ca", CaSpec(given=issuer, hosts=("est.plant.example",)))
    expected = tuple(f"{made.certificates_file}: {line}" for line in made.never_issued)
    assert expected
    assert load(tmp_path / "ca").notices == expected


def test_a_label_has_the_csr_attributes_of_all_or_its_own(directory: Path) -> None:
    text = """
    [csrattrs]
    oids = ["1.2.3.4"]
    [labels.own]
    csrattrs = { oids = ["1.2.3.5"] }
    [labels.none]
    """
    authority = load(directory, text).authority
    told = {}
    for label in (None, Label("own"), Label("none")):
        channel = Channel(version=TlsVersion.TLS_1_3)
        question = CSRAttrsRequested(label=label, identity=ClientIdentity(), channel=channel)
        answer = authority.csr_attrs(question)
        assert isinstance(answer, ProvideCSRAttrs)
        told[label] = answer.csrattrs
    usual, own = (CsrAttrs(items=(ObjectId(oid=f"1.2.3.{last}"),)) for last in (4, 5))
    assert told == {None: usual, Label("own"): own, Label("none"): usual}
