"""Our revocation lists, judged by OpenSSL, GnuTLS and Java, for certificates in every state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports import _clock
from est_transports.authority.ca import Enrollment, ReferenceCA
from est_transports.authority.crls import REVOCATION_REASONS, CrlSchedule, make_crl
from est_transports.authority.stores import HOLD
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import serial_text
from est_transports.service.config.reader import load_config
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import CredentialChecks, load_service
from tests.conftest import PeerFinder
from tests.interop.java_peer import QUICK_START
from tests.programs import run
from tests.transports.ca_fakes import name, request

JAVA_CHECK = Path(__file__).with_name("java") / "CrlCheck.java"


@dataclass(frozen=True)
class Lists:
    """A CA, a certificate for each reason and a good one, and the list of the revoked ones."""

    place: Path
    ca: ReferenceCA
    store: SqliteStore

    @property
    def anchor(self) -> str:
        return str(self.place / "ca.pem")

    @property
    def crl(self) -> str:
        return str(self.place / "list.pem")

    def leaf(self, word: str) -> str:
        return str(self.place / f"{word}.pem")

    def issue(self, word: str) -> None:
        """Issue a certificate of that name, revoked for that reason, if it is one."""
        now = _clock.instant().wall
        enrollment = Enrollment(operation="simpleenroll")
        made = self.ca.issue(request(subject=name(word)), enrollment, now=now)
        Path(self.leaf(word)).write_bytes(made.public_bytes(Encoding.PEM))
        if word in REVOCATION_REASONS:
            serial = serial_text(made.serial_number)
            assert self.store.revoke_certificate(serial, at=now, reason=word)

    def publish(self) -> x509.CertificateRevocationList:
        record = make_crl(self.ca, self.store, CrlSchedule(), now=_clock.instant().wall)
        made = x509.load_der_x509_crl(record.der)
        Path(self.crl).write_bytes(made.public_bytes(Encoding.PEM))
        return made


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lists]:
    place = tmp_path_factory.mktemp("lists") / "ca"
    initialise(place, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    config = load_config(place / "est.toml")
    with closing(SqliteStore(config.ca.store)) as store:
        service = load_service(config, store=store, checks=CredentialChecks())
        made = Lists(place, service.authority.ca, store)
        for word in ("good", *REVOCATION_REASONS):
            made.issue(word)
        yield made


def test_openssl_reads_and_verifies_a_list(lists: Lists, peer: PeerFinder) -> None:
    crl = lists.publish()
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    read = run(
        *(peer("openssl"), "crl", "-in", lists.crl, "-CAfile", lists.anchor),
        *("-noout", "-crlnumber", "-text"),
        directory=lists.place,
    ).checked()
    assert "verify OK" in read.err
    assert f"{number}\n".encode() in read.out
    assert read.out.count(b"Serial Number:") == len(REVOCATION_REASONS)
    assert read.out.count(b"X509v3 CRL Reason Code:") == len(REVOCATION_REASONS) - 1


def test_openssl_accepts_the_good_one_alone(lists: Lists, peer: PeerFinder) -> None:
    lists.publish()
    words = ("good", *REVOCATION_REASONS)
    verify = (peer("openssl"), "verify", "-CAfile", lists.anchor, "-crl_check", "-CRLfile")
    done = run(*verify, lists.crl, *map(lists.leaf, words), directory=lists.place)
    assert done.out.decode() == f"{lists.leaf('good')}: OK\n"
    assert done.err.count("certificate revoked") == len(REVOCATION_REASONS)


def test_gnutls_reads_a_list_and_refuses_what_is_on_it(lists: Lists, peer: PeerFinder) -> None:
    lists.publish()
    certtool = (peer("certtool"), "--load-ca-certificate", lists.anchor)
    read = run(*certtool, "--verify-crl", "--infile", lists.crl, directory=lists.place).checked()
    assert b"Verified. The certificate is trusted." in read.out
    for word, verdict in (("good", "Verified."), (HOLD, "The certificate chain is revoked.")):
        verify = ("--verify", "--load-crl", lists.crl, "--infile", lists.leaf(word))
        assert verdict.encode() in run(*certtool, *verify, directory=lists.place).out


def test_java_knows_each_reason_and_what_was_released(lists: Lists, peer: PeerFinder) -> None:
    java = peer("java")
    peer("javac")  # what runs a source file
    held = x509.load_pem_x509_certificate(Path(lists.leaf(HOLD)).read_bytes())
    serial = serial_text(held.serial_number)
    assert lists.store.release_hold(serial)
    lists.publish()
    words = ("good", "unspecified", "keyCompromise", "privilegeWithdrawn", HOLD)
    check = (java, *QUICK_START, str(JAVA_CHECK), lists.anchor, lists.crl)
    done = run(*check, *map(lists.leaf, words), directory=lists.place).checked()
    assert done.out.decode().splitlines() == [
        "good",
        "revoked UNSPECIFIED",
        "revoked KEY_COMPROMISE",
        "revoked PRIVILEGE_WITHDRAWN",
        "good",
    ]
    assert lists.store.revoke_certificate(serial, at=_clock.instant().wall, reason=HOLD)
