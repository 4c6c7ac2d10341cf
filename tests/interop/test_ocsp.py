"""Our OCSP responder, asked by OpenSSL, curl, GnuTLS and Java."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports import _clock
from est_transports.authority.ca import Enrollment
from est_transports.authority.crls import REVOCATION_REASONS
from est_transports.authority.stores import HOLD
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import serial_text
from est_transports.service.config.reader import load_config
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import CredentialChecks, load_service
from tests.cli.serve_process import serving
from tests.conftest import PeerFinder
from tests.interop.java_peer import QUICK_START
from tests.programs import run
from tests.transports.ca_fakes import name, request

JAVA_CHECK = Path(__file__).with_name("java") / "OcspCheck.java"
CONFIG = '\n[publication]\nlisten = ["127.0.0.1:0"]\n\n[ocsp]\nenabled = true\n'
LISTENS = re.compile(r"publishing at (http://127\.0\.0\.1:\d+): .* /ocsp")
WORDS = ("good", "keyCompromise", "unspecified", HOLD)


@dataclass(frozen=True)
class Responding:
    """A server that answers, and certificates in files by what they are."""

    place: Path
    url: str

    @property
    def anchor(self) -> str:
        return str(self.place / "ca.pem")

    def leaf(self, word: str) -> str:
        return str(self.place / f"{word}.pem")

    def openssl(self, program: str, word: str, *options: str, before: tuple[str, ...] = ()) -> str:
        """Return what `openssl ocsp` says of a certificate; a hash stands before it."""
        trust = ("-issuer", self.anchor, "-CAfile", self.anchor)
        command = (program, "ocsp", *trust, *before, "-cert", self.leaf(word), *options)
        done = run(*command, directory=self.place).checked()
        assert "Response verify OK" in done.err
        assert "WARNING" not in done.err
        return done.out.decode()


@pytest.fixture(scope="module")
def responding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    place = tmp_path_factory.mktemp("ocsp") / "ca"
    initialise(place, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    config = load_config(place / "est.toml")
    now = _clock.instant().wall
    with closing(SqliteStore(config.ca.store)) as store:
        ca = load_service(config, store=store, checks=CredentialChecks()).authority.ca
        for word in WORDS:
            asked, enrollment = request(subject=name(word)), Enrollment(operation="simpleenroll")
            made = ca.issue(asked, enrollment, now=now)
            (place / f"{word}.pem").write_bytes(made.public_bytes(Encoding.PEM))
            if word in REVOCATION_REASONS:
                serial = serial_text(made.serial_number)
                assert store.revoke_certificate(serial, at=now, reason=word)
    (place / "est.toml").write_text((place / "est.toml").read_text() + CONFIG)
    with serving(place) as server:
        found = LISTENS.search("".join(server.log))
        assert found is not None
        yield Responding(place, f"{found[1]}/ocsp")


@pytest.mark.parametrize("options", [(), ("-sha256",), ("-no_nonce",)], ids=str)
def test_openssl_verifies_an_answer_and_its_nonce(
    responding: Responding, peer: PeerFinder, options: tuple[str, ...]
) -> None:
    def said(word: str) -> str:
        return responding.openssl(peer("openssl"), word, "-url", responding.url, before=options)

    assert f"{responding.leaf('good')}: good" in said("good")
    held = said(HOLD)
    assert f"{responding.leaf(HOLD)}: revoked" in held
    assert "Reason: certificateHold" in held
    assert "Reason" not in said("unspecified")


def test_openssl_is_told_what_nobody_issued_and_whose_another_ca_is(
    responding: Responding, peer: PeerFinder
) -> None:
    trust = ("-issuer", responding.anchor, "-CAfile", responding.anchor)
    command = (peer("openssl"), "ocsp", "-url", responding.url, *trust)
    done = run(*command, "-serial", "4711", directory=responding.place).checked()
    assert done.out.startswith(b"4711: unknown\n")
    two = run(*command, "-serial", "1", "-serial", "2", directory=responding.place)
    assert "malformedrequest" in (two.out.decode() + two.err)
    other = (peer("openssl"), "ocsp", "-url", responding.url, "-issuer", responding.leaf("good"))
    done = run(*other, "-serial", "1", directory=responding.place)
    assert "unauthorized" in (done.out.decode() + done.err)


def test_curl_gets_what_openssl_verifies_and_caches_may_keep(
    responding: Responding, peer: PeerFinder
) -> None:
    asked, answer = responding.place / "asked.der", responding.place / "answer.der"
    responding_to = ("-issuer", responding.anchor, "-cert", responding.leaf("keyCompromise"))
    run(peer("openssl"), "ocsp", *responding_to, "-no_nonce", "-reqout", str(asked)).checked()
    path = quote(base64.b64encode(asked.read_bytes()).decode(), safe="")
    url, curl = f"{responding.url}/{path}", peer("curl")
    got = run(curl, "-sS", "-D", "-", "-o", str(answer), url).checked().out.decode()
    assert "Cache-Control: max-age=300, public, no-transform, must-revalidate" in got
    assert "Content-Type: application/ocsp-response" in got
    said = responding.openssl(peer("openssl"), "keyCompromise", "-respin", str(answer), "-no_nonce")
    assert "Reason: keyCompromise" in said
    (etag,) = re.findall(r'ETag: ("[0-9a-f]+")', got)
    again = run(curl, "-sS", "-D", "-", "-H", f"If-None-Match: {etag}", url).checked()
    assert again.out.startswith(b"HTTP/1.1 304 Not Modified\r\n")


def test_gnutls_verifies_an_answer(responding: Responding, peer: PeerFinder) -> None:
    program = peer("ocsptool")
    trust = ("--load-issuer", responding.anchor, "--load-trust", responding.anchor)
    for word, verdict in (("good", "good"), ("keyCompromise", "revoked")):
        done = run(
            *(program, f"--ask={responding.url}", "--nonce", *trust),
            *("--load-cert", responding.leaf(word)),
            directory=responding.place,
        )
        said = done.out.decode() + done.err
        assert f"Certificate Status: {verdict}" in said
        assert "Verifying OCSP Response: Success." in said


def test_java_knows_each_status(responding: Responding, peer: PeerFinder) -> None:
    java = peer("java")
    peer("javac")  # what runs a source file
    check = (java, *QUICK_START, str(JAVA_CHECK), responding.anchor, responding.url)
    done = run(*check, *map(responding.leaf, WORDS), directory=responding.place).checked()
    assert done.out.decode().splitlines() == [
        "good",
        "revoked KEY_COMPROMISE",
        "revoked UNSPECIFIED",
        "revoked CERTIFICATE_HOLD",
    ]


def test_the_delegate_is_one_by_rfc_6960(responding: Responding) -> None:
    pem = (responding.place / "ocsp.pem").read_bytes()
    delegate = x509.load_pem_x509_certificate(pem)
    (anchor,) = x509.load_pem_x509_certificates(Path(responding.anchor).read_bytes())
    delegate.verify_directly_issued_by(anchor)
    critical = {each.oid: each.critical for each in delegate.extensions}
    assert critical[x509.OCSPNoCheck.oid] is False
    assert critical[x509.ExtendedKeyUsage.oid] is False
