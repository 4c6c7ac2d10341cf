"""est cacerts, csrattrs, enroll, reenroll against a real server on loopback."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from est_core import (
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    Deny,
    EnrollRequested,
    Fail,
    Limits,
    ReenrollRequested,
    TlsVersion,
)
from est_core.asn1.csrattrs import CsrAttrs, ObjectId, parse_csrattrs
from est_core.asn1.template import KeyTypeWanted
from est_transports.cli import main
from est_transports.cli.client.conversation import Conversation
from tests.application import PASSWORD, USER, certificate_for
from tests.cli.canned import CannedServer, canned_server, certify_after
from tests.pki import CLIENT_AUTH, CMC_RA, SERVER_AUTH, Entity, Subject, new_key, pki

LOGIN = ("--user", f"{USER}:{PASSWORD}")
CA_SHA256 = pki().ca.certificate.fingerprint(hashes.SHA256()).hex()
CHALLENGE_PASSWORD = ObjectId(oid="1.2.840.113549.1.9.7")
P_384 = KeyTypeWanted(algorithm="1.2.840.10045.2.1", curve="1.3.132.0.34")
RSA_1024 = KeyTypeWanted(algorithm="1.2.840.113549.1.1.1", bits=1024)


class Terminal:
    """Runs commands as `main` does and returns exit code, stdout and stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
        self._capsys = capsys
        self.directory = directory
        self.out = directory / "out"
        self.trust = directory / "ca.pem"
        self.trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    def ask(self, command: str, server: CannedServer, *more: str | Path) -> tuple[int, str, str]:
        """Run a client command against the server, which is trusted."""
        return self(command, server.url, "--trust", self.trust, *more)

    def enroll(self, server: CannedServer, *more: str | Path) -> tuple[int, str, str]:
        """Run `est enroll` for device-1 with a password."""
        return self.ask("enroll", server, "--cn", "device-1", *LOGIN, "--out", self.out, *more)

    def identity(self, entity: Entity) -> tuple[str, str, str, str]:
        """Return the options that show this entity."""
        certificate, key = entity.write(self.directory, "identity")
        return ("--cert", str(certificate), "--key", str(key))


@pytest.fixture
def est(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    return Terminal(capsys, tmp_path)


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


def certificate_in(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def key_in(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def one_error_line(err: str) -> bool:
    return err.startswith("est: ") and err.count("\n") == 1


# cacerts


@pytest.mark.req("EST-078", "EST-112")
def test_cacerts_prints_pem_where_nobody_watches(est: Terminal, server: CannedServer) -> None:
    code, out, err = est.ask("cacerts", server)
    assert (code, err) == (0, "")
    assert x509.load_pem_x509_certificates(out.encode()) == [pki().ca.certificate]


def test_cacerts_json_has_fingerprint_and_validity(est: Terminal, server: CannedServer) -> None:
    code, out, _ = est.ask("cacerts", server, "--json")
    (found,) = json.loads(out)
    assert code == 0
    assert found["subject"] == "CN=Test EST CA"
    assert found["sha256"].replace(":", "").lower() == (
        pki().ca.certificate.fingerprint(hashes.SHA256()).hex()
    )
    assert found["not_after"].endswith("Z")


def test_cacerts_writes_a_file_once(est: Terminal, server: CannedServer) -> None:
    assert est.ask("cacerts", server, "--out", est.out)[0] == 0
    assert certificate_in(est.out / "cacerts.pem") == pki().ca.certificate
    code, _, err = est.ask("cacerts", server, "--out", est.out)
    assert code == 5
    assert "--force" in err
    assert est.ask("cacerts", server, "--out", est.out, "--force")[0] == 0
    assert server.connections == 2  # the refused one asked nothing


def test_cacerts_of_a_label(est: Terminal, server: CannedServer) -> None:
    assert est.ask("cacerts", server, "--label", "devices")[0] == 0
    assert est("cacerts", f"{server.url}/devices", "--trust", est.trust)[0] == 0
    code, _, err = est.ask("cacerts", server, "--label", "others")
    assert code == 1
    assert "HTTP 404" in err
    assert [str(record.label) for record in server.records[:2]] == ["devices", "devices"]


# csrattrs


def test_a_server_without_csrattrs_has_no_opinion(est: Terminal, server: CannedServer) -> None:
    assert est.ask("csrattrs", server) == (0, "the server has no opinion\n", "")
    code, out, _ = est.ask("csrattrs", server, "--json")
    assert (code, json.loads(out)) == (0, {"csrattrs": None})


def test_csrattrs_of_a_label_that_is_not_there_are_an_error(
    est: Terminal, server: CannedServer
) -> None:
    code, out, err = est.ask("csrattrs", server, "--label", "others")
    assert (code, out) == (1, "")
    assert one_error_line(err)
    assert "(HTTP 404) [path/not-offered]" in err
    assert "; ask the server's operator which labels and operations there are; " in err
    record = server.records[-1]
    why = f"the server's operator finds out why with: est why DIR {record.refusal_id}"
    assert err.endswith(f"; {why}\n")


def test_csrattrs_are_told_in_words_and_in_json(est: Terminal, server: CannedServer) -> None:
    wanted = CsrAttrs(
        items=(
            CHALLENGE_PASSWORD,
            P_384.attribute(),
            ObjectId(oid="1.2.840.10045.4.3.3"),
            ObjectId(oid="1.3.6.1.1.1.1.22"),
            ObjectId(oid="1.2.3.4"),
        )
    )
    server.application.csrattrs = wanted
    code, out, _ = est.ask("csrattrs", server)
    assert code == 0
    assert out.splitlines() == [
        "form\tlist",
        "key type\tEC P-384",
        "signature algorithm\tecdsa-with-SHA384",
        "attribute\tmacAddress, value from the client",
        "linking\tto the TLS connection, with challengePassword",
        "not understood\t1.2.3.4",
    ]
    found = json.loads(est.ask("csrattrs", server, "--json")[1])["csrattrs"]
    assert found["key_type"]["name"] == "EC P-384"
    assert found["linking"] == "challengePassword"
    assert parse_csrattrs(b64decode(found["der"]), Limits()) == wanted


# enroll


@pytest.mark.req("EST-296", "EST-138", "EST-154")
def test_enroll_makes_key_and_certificate(est: Terminal, server: CannedServer) -> None:
    code, out, err = est.enroll(server, "--san", "dns:a.example,ip:192.0.2.1", "--json")
    assert (code, err) == (0, "")
    certificate = certificate_in(est.out / "cert.pem")
    assert key_in(est.out / "key.pem").public_key() == certificate.public_key()
    assert certificate_in(est.out / "chain.pem") == pki().ca.certificate
    assert certificate_in(est.out / "cacerts.pem") == pki().ca.certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert sorted(path.name for path in est.out.iterdir()) == [
        "cacerts.pem",
        "cert.pem",
        "chain.pem",
        "key.pem",
    ]
    assert (est.out / "key.pem").stat().st_mode & 0o777 == 0o600
    told = json.loads(out)
    assert told["status"] == "enrolled"
    assert int(told["serial"], 16) == certificate.serial_number


@pytest.mark.req("EST-016", "EST-133", "EST-235")
def test_enroll_asks_everything_on_as_few_connections_as_are_safe(
    est: Terminal, server: CannedServer
) -> None:
    est.enroll(server)
    asked = [record.operation.name for record in server.records if record.operation]
    assert asked == ["cacerts", "csrattrs", "simpleenroll", "simpleenroll"]
    assert server.connections == 3  # a POST follows neither the 204 nor the 401
    server.records.clear()
    server.application.csrattrs = CsrAttrs(items=()).with_challenge_password()
    est.enroll(server, "--force", "--send-password", "--tls-max", "1.2")
    assert [record.status for record in server.records] == [200, 200, 200]
    assert server.connections == 4


@pytest.mark.req("EST-051")
def test_the_password_is_sent_only_when_it_is_asked_for(
    est: Terminal, server: CannedServer
) -> None:
    est.enroll(server)
    assert [record.status for record in server.records] == [200, 204, 401, 200]
    assert [record.identity.user for record in server.records] == [None, None, None, USER]


@pytest.mark.parametrize("name", ["key.pem", "cert.pem", "chain.pem"])
@pytest.mark.parametrize("command", ["enroll", "enroll --fingerprint", "reenroll --rekey"])
def test_where_a_file_is_in_the_way_nothing_is_asked(
    command: str, name: str, est: Terminal, server: CannedServer
) -> None:
    """A certificate that is issued and cannot be written is lost."""
    est.out.mkdir()
    (est.out / name).write_bytes(b"mine")
    arguments: dict[str, tuple[str | Path, ...]] = {
        "enroll": ("--trust", est.trust, "--cn", "device-1"),
        "enroll --fingerprint": ("--fingerprint", CA_SHA256, "--cn", "device-1"),
        "reenroll --rekey": ("--trust", est.trust, "--rekey", *est.identity(pki().client)),
    }
    asked = command.split(maxsplit=1)[0], server.url, *arguments[command], *LOGIN, "--out", est.out
    code, _, err = est(*asked)
    assert code == 5
    assert f"{name} is there already" in err
    assert server.connections == 0
    assert [each.name for each in est.out.iterdir()] == [name]
    assert (est.out / name).read_bytes() == b"mine"


def test_what_came_into_the_way_during_a_bootstrap_is_found_before_a_certificate_is_asked_for(
    est: Terminal, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = server.application.ca_certs

    def somebody_is_faster(question: CACertsRequested) -> Decision:
        (est.out / "cert.pem").parent.mkdir(exist_ok=True)
        (est.out / "cert.pem").write_bytes(b"somebody else's")
        return usual(question)

    monkeypatch.setattr(server.application, "ca_certs", somebody_is_faster)
    arguments = ("--fingerprint", CA_SHA256, "--cn", "device-1", *LOGIN, "--out", est.out)
    code, _, err = est("enroll", server.url, *arguments)
    assert code == 5
    assert "cert.pem is there already" in err
    assert server.application.enrollments == []
    assert (est.out / "cert.pem").read_bytes() == b"somebody else's"


def test_enroll_never_replaces_files_unasked(est: Terminal, server: CannedServer) -> None:
    est.enroll(server)
    before, connections = (est.out / "key.pem").read_bytes(), server.connections
    code, _, err = est.enroll(server)
    assert code == 5
    assert one_error_line(err)
    assert (est.out / "key.pem").read_bytes() == before
    assert server.connections == connections
    assert est.enroll(server, "--force")[0] == 0
    assert (est.out / "key.pem").read_bytes() != before


@pytest.mark.req("EST-246")
def test_the_key_is_of_the_kind_that_the_server_asks_for(
    est: Terminal, server: CannedServer
) -> None:
    server.application.csrattrs = CsrAttrs(items=(P_384.attribute(),))
    assert est.enroll(server)[0] == 0
    assert isinstance(key_in(est.out / "key.pem").curve, ec.SECP384R1)


def test_the_users_choice_of_key_wins_with_a_warning(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = CsrAttrs(items=(P_384.attribute(),))
    code, _, err = est.enroll(server, "--key-type", "rsa:2048")
    assert code == 0
    assert "does not hold: key EC P-384 (it is RSA 2048)" in err
    key = load_pem_private_key((est.out / "key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)


@pytest.mark.req("EST-274")
def test_a_server_cannot_ask_for_a_weak_key(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = CsrAttrs(items=(RSA_1024.attribute(),))
    code, _, err = est.enroll(server)
    assert code == 1
    assert "RSA 1024" in err
    assert not est.out.exists()


@pytest.mark.req("EST-240")
def test_failing_csrattrs_are_a_warning_and_no_end(est: Terminal, server: CannedServer) -> None:
    server.application.answers[CSRAttrsRequested] = Fail()
    code, _, err = est.enroll(server)
    assert code == 0
    assert "warning: cannot fetch the CSR attributes" in err
    assert (est.out / "cert.pem").exists()


def test_what_all_requests_are_refused_for_is_said_once(
    est: Terminal, server: CannedServer
) -> None:
    refused = Deny(code="test/denied", reason="not for you")
    server.application.answers[CACertsRequested] = refused
    server.application.decide_enrollments(refused)
    code, _, err = est.enroll(server)
    assert code == 1
    assert one_error_line(err)
    assert "cannot enroll" in err


def test_what_else_went_wrong_is_said_before_the_refusal(
    est: Terminal, server: CannedServer
) -> None:
    server.application.answers[CSRAttrsRequested] = Fail()
    server.application.decide_enrollments(Deny(code="test/denied", reason="not for you"))
    first, second = est.enroll(server)[2].splitlines()
    assert "warning: cannot fetch the CSR attributes" in first
    assert "cannot enroll" in second


def test_without_cacerts_the_trust_anchors_verify(est: Terminal, server: CannedServer) -> None:
    refused = Deny(code="test/denied", reason="not for you")
    server.application.answers[CACertsRequested] = refused
    code, _, err = est.enroll(server)
    assert code == 0
    assert "warning: cannot fetch the CA certificates" in err
    assert not (est.out / "cacerts.pem").exists()
    assert certificate_in(est.out / "chain.pem") == pki().ca.certificate


@pytest.mark.req("EST-149")
def test_a_certificate_of_another_ca_is_not_installed(est: Terminal, server: CannedServer) -> None:
    server.application.certify = partial(certificate_for, issuer=pki().rogue)
    code, _, err = est.enroll(server)
    assert code == 1
    assert "response/untrusted-certificate" in err
    assert not (est.out / "cert.pem").exists()
    assert not (est.out / "key.pem").exists()
    # Its key is kept and in nobody's way.
    kept = key_in(est.out / "key.pem.pending").public_key()
    server.application.certify = certificate_for
    other = ("--cn", "device-2", *LOGIN, "--out", est.out)
    code, _, err = est.ask("enroll", server, *other)
    assert code == 0, err
    assert key_in(est.out / "key.pem.refused.1").public_key() == kept


@pytest.mark.req("EST-169")
@pytest.mark.parametrize(
    ("version", "linked"), [("1.2", True), ("1.3", False)], ids=["tls-1.2", "tls-1.3"]
)
def test_requests_are_linked_where_the_connection_can(
    version: str, linked: bool, est: Terminal, server: CannedServer
) -> None:
    assert est.enroll(server, "--tls-max", version)[0] == 0
    assert [question.linked for question in server.application.enrollments] == [linked]


@pytest.mark.req("EST-173")
def test_where_the_server_wants_linking_the_client_goes_down_to_tls_1_2(
    est: Terminal, server: CannedServer
) -> None:
    server.application.csrattrs = CsrAttrs(items=(CHALLENGE_PASSWORD,))
    assert est.enroll(server)[0] == 0
    (question,) = server.application.enrollments
    assert question.linked
    assert question.channel.version is TlsVersion.TLS_1_2


@pytest.mark.req("EST-184", "CB-015", "CB-024")
@pytest.mark.parametrize("pop", ["auto", "always"])
def test_told_of_the_exporter_both_ends_link_on_tls_1_3(pop: str, est: Terminal) -> None:
    with canned_server(require_pop=True, tls_exporter=True) as server:
        assert est.enroll(server, "--tls-exporter", "--pop", pop)[0] == 0
        renewal = ("--cert", est.out / "cert.pem", "--key", est.out / "key.pem")
        again = ("--tls-exporter", "--pop", pop, "--out", est.directory / "again")
        assert est.ask("reenroll", server, *renewal, *again)[0] == 0
        for question in server.application.enrollments:
            assert question.linked
            assert question.channel.version is TlsVersion.TLS_1_3
        assert len(server.application.enrollments) == 2


@pytest.mark.req("EST-184")
def test_what_only_the_client_was_told_is_refused(est: Terminal) -> None:
    with canned_server() as server:
        code, _, err = est.enroll(server, "--tls-exporter")
    assert code == 1
    assert "403" in err
    assert server.records[-1].code == "pop/mismatch"


def test_the_exporter_is_for_tls_1_3(est: Terminal, server: CannedServer) -> None:
    code, _, err = est.enroll(server, "--tls-exporter", "--tls-max", "1.2")
    assert code == 2
    assert one_error_line(err)
    code, _, err = est(
        "enroll", "coaps://localhost", "--trust", est.trust, "--tls-exporter", "--cn", "x",
        *est.identity(pki().client),
    )  # fmt: skip
    assert code == 2
    assert one_error_line(err)


def test_pop_never_does_not_link(est: Terminal, server: CannedServer) -> None:
    assert est.enroll(server, "--tls-max", "1.2", "--pop", "never")[0] == 0
    assert [question.linked for question in server.application.enrollments] == [False]


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_the_digest_can_be_chosen(digest: str, est: Terminal, server: CannedServer) -> None:
    assert est.enroll(server, "--digest", digest)[0] == 0
    csr = x509.load_der_x509_csr(server.application.enrollments[0].csr.der)
    assert csr.signature_hash_algorithm is not None
    assert csr.signature_hash_algorithm.name == digest


def test_a_digest_that_the_key_has_no_use_for_is_a_usage_error(
    est: Terminal, server: CannedServer
) -> None:
    code, _, err = est.enroll(server, "--key-type", "ed25519", "--digest", "sha256")
    assert code == 2
    assert one_error_line(err)


def test_an_existing_key_can_be_certified(est: Terminal, server: CannedServer) -> None:
    path = est.directory / "mine.pem"
    path.write_bytes(pki().client.key_pem)
    assert est.enroll(server, "--new-key", path)[0] == 0
    assert certificate_in(est.out / "cert.pem").public_key() == pki().client.key.public_key()
    assert not (est.out / "key.pem").exists()
    assert path.read_bytes() == pki().client.key_pem


# On a terminal


def on_terminal(arguments: list[str], typed: list[bytes]) -> tuple[int, str]:
    """Run the command on a terminal of its own, typing a line at each prompt."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "est_transports", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # Linux: the other side was closed
                break
            if typed and shown.endswith(b": "):
                os.write(ours, typed.pop(0))
                shown += b"\n"
    finally:
        os.close(ours)
    return process.wait(10), shown.decode()


def test_on_a_terminal_the_password_is_asked_for_and_once_more(
    est: Terminal, server: CannedServer
) -> None:
    arguments = ["enroll", server.url, "--trust", str(est.trust), "--cn", "x", "--user", USER]
    arguments += ["--out", str(est.out)]
    code, shown = on_terminal(arguments, [b"typo\n", f"{PASSWORD}\n".encode()])
    assert code == 0
    assert shown.count(f"Password of {USER}: ") == 2
    first, second = shown.split(f"Password of {USER}: ")[:2]
    assert "refuses that password" not in first
    assert "the server refuses that password of alice" in second
    assert PASSWORD not in shown
    assert "typo" not in shown
    assert "CN=x" in shown
    assert "\x1b[3" not in shown  # colours; NO_COLOR is set


# CSRs of others


def write_csr(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    path.write_bytes(csr.public_bytes(Encoding.PEM))


def test_a_foreign_csr_is_sent_as_it_is(est: Terminal, server: CannedServer) -> None:
    path, key = est.directory / "request.pem", new_key()
    write_csr(path, key)
    code, _, _ = est.ask("enroll", server, "--csr", path, *LOGIN, "--out", est.out)
    assert code == 0
    sent = server.application.enrollments[0].csr.der
    assert x509.load_pem_x509_csr(path.read_bytes()).public_bytes(Encoding.DER) == sent
    assert not (est.out / "key.pem").exists()
    assert certificate_in(est.out / "cert.pem").public_key() == key.public_key()


def test_a_foreign_csr_that_must_be_linked_needs_its_key(
    est: Terminal, server: CannedServer
) -> None:
    server.application.csrattrs = CsrAttrs(items=(CHALLENGE_PASSWORD,))
    path, key, key_path = est.directory / "request.pem", new_key(), est.directory / "key"
    write_csr(path, key)
    key_path.write_bytes(Entity(certificate=pki().ca.certificate, key=key, chain=()).key_pem)
    arguments: tuple[str | Path, ...] = ("--csr", path, *LOGIN, "--out", est.out)
    code, _, err = est.ask("enroll", server, *arguments)
    assert code == 1
    assert "pop/cannot-relink" in err
    assert "--new-key" in err
    assert est.ask("enroll", server, *arguments, "--new-key", key_path)[0] == 0
    assert [question.linked for question in server.application.enrollments] == [True]


def test_the_key_of_another_request_is_refused(est: Terminal, server: CannedServer) -> None:
    path, key_path = est.directory / "request.pem", est.directory / "key"
    write_csr(path, new_key())
    key_path.write_bytes(pki().client.key_pem)
    code, _, err = est.ask("enroll", server, "--csr", path, "--new-key", key_path)
    assert code == 5
    assert "is not the key of" in err


# Pending


@pytest.mark.req("EST-027", "EST-028")
def test_a_pending_request_exits_with_3_and_goes_on_with_the_same_key(
    est: Terminal, server: CannedServer
) -> None:
    server.application.pend(3600)
    code, out, err = est.enroll(server, "--json")
    assert code == 3
    assert json.loads(out)["status"] == "pending"
    assert 3590 <= json.loads(out)["retry_after_s"] <= 3600
    assert "run the same command again after" in err
    pending = est.out / "key.pem.pending"
    assert pending.stat().st_mode & 0o777 == 0o600
    kept = key_in(pending)
    assert not (est.out / "key.pem").exists()
    assert est.enroll(server)[0] == 0
    assert key_in(est.out / "key.pem").public_key() == kept.public_key()
    assert not list(est.out.glob("*.pending"))
    first, second = (question.csr for question in server.application.enrollments)
    assert (first.spki, first.subject_der) == (second.spki, second.subject_der)


def test_a_pending_request_is_found_without_naming_it_again(
    est: Terminal, server: CannedServer
) -> None:
    server.application.pend(3600)
    est.enroll(server, "--san", "dns:a.example")
    code, _, err = est.ask("enroll", server, *LOGIN, "--out", est.out)
    assert code == 0
    assert "CN=device-1" in err
    first, second = (question.csr for question in server.application.enrollments)
    assert first.subject_alt_name_der == second.subject_alt_name_der is not None


@pytest.mark.parametrize(
    "other",
    [("--cn", "device-2"), ("--cn", "device-1", "--key-type", "ec:P-384")],
    ids=["subject", "key type"],
)
def test_another_request_does_not_take_over_a_pending_one(
    other: tuple[str, ...], est: Terminal, server: CannedServer
) -> None:
    server.application.pend(3600)
    est.enroll(server)
    arguments: tuple[str | Path, ...] = (*other, *LOGIN, "--out", est.out)
    code, _, err = est.ask("enroll", server, *arguments)
    assert code == 5
    assert "CN=device-1" in err
    assert est.ask("enroll", server, *arguments, "--force")[0] == 0
    first, second = server.application.enrollments
    assert first.csr.spki != second.csr.spki


def test_a_pending_key_of_another_request_is_not_used(est: Terminal, server: CannedServer) -> None:
    server.application.pend(3600)
    assert est.enroll(server)[0] == 3
    connections = server.connections
    pending = est.out / "key.pem.pending"
    other = pki().manufacturer_client.key_pem
    pending.write_bytes(other)
    for options in ((), ("--force",)):
        code, _, err = est.enroll(server, *options)
        assert code == 5
        assert "its key is another than its request's" in err
        assert str(pending) in err
        assert pending.read_bytes() == other
    assert server.connections == connections


def test_with_wait_a_pending_request_is_repeated(est: Terminal, server: CannedServer) -> None:
    server.application.pend(1)
    assert est.enroll(server, "--wait", "30")[0] == 0
    assert len(server.application.enrollments) == 2


def test_a_refused_request_leaves_no_key(est: Terminal, server: CannedServer) -> None:
    server.application.decide_enrollments(Deny(code="policy/test", reason="not this device"))
    code, _, err = est.enroll(server)
    assert code == 1
    assert "not this device (HTTP 403)" in err
    assert not est.out.exists() or list(est.out.iterdir()) == []


@pytest.mark.parametrize("command", ["enroll", "provision"])
def test_a_failure_leaves_no_directory_that_was_not_there(
    command: str, est: Terminal, server: CannedServer, tmp_path: Path
) -> None:
    server.application.decide_enrollments(Deny(code="policy/test", reason="not this device"))
    (tmp_path / "old").mkdir()
    for place, stays in (
        (tmp_path / "new", tmp_path),
        (tmp_path / "old" / "a" / "b", tmp_path / "old"),
        (tmp_path / "old", tmp_path / "old"),
    ):
        assert est.ask(command, server, *LOGIN, "--cn", "x", "--out", place)[0] == 1
        assert stays.is_dir()
        assert not place.exists() or place == stays
        assert list((tmp_path / "old").iterdir()) == []


def test_a_pending_request_that_was_refused_is_kept_and_blocks_no_other(
    est: Terminal, server: CannedServer
) -> None:
    server.application.pend(3600)
    assert est.enroll(server)[0] == 3
    kept = key_in(est.out / "key.pem.pending").public_key()
    server.application.decide_enrollments(Deny(code="policy/test", reason="not this device"))
    assert est.enroll(server)[0] == 1
    # It may have been issued before, so the key is there, and the same request can be repeated.
    assert key_in(est.out / "key.pem.pending").public_key() == kept
    assert est.enroll(server)[0] == 1
    first, second, third = server.application.enrollments
    assert first.csr.spki == second.csr.spki == third.csr.spki
    server.application.decide_enrollments(server.application.issue)
    other = ("--cn", "device-2", *LOGIN, "--out", est.out)
    code, _, err = est.ask("enroll", server, *other)
    assert code == 0, err
    assert f"is set aside; its key is {est.out}/key.pem.refused.1" in err
    assert key_in(est.out / "key.pem.refused.1").public_key() == kept
    assert (est.out / "request.pem.refused.1").exists()
    assert certificate_in(est.out / "cert.pem").public_key() != kept
    assert not list(est.out.glob("*.pending"))


def test_a_refused_request_that_is_taken_at_last_is_like_any(
    est: Terminal, server: CannedServer
) -> None:
    server.application.pend(3600)
    est.enroll(server)
    server.application.decide_enrollments(Deny(code="policy/test", reason="not today"))
    est.enroll(server)
    server.application.pend(3600)
    assert est.enroll(server)[0] == 3
    other = ("--cn", "device-2", *LOGIN, "--out", est.out)
    assert est.ask("enroll", server, *other)[0] == 5  # it is pending again
    assert est.enroll(server)[0] == 0


def test_the_key_is_kept_where_a_certificate_may_have_been_issued(
    est: Terminal, server: CannedServer
) -> None:
    server.application.certify = certify_after(server.cut)
    code, _, err = est.enroll(server)
    assert code == 4
    assert one_error_line(err)
    assert "connection/lost" in err
    assert "the same key" in err
    kept = key_in(est.out / "key.pem.pending")
    server.application.certify = certificate_for
    assert est.enroll(server)[0] == 0
    assert key_in(est.out / "key.pem").public_key() == kept.public_key()
    first, second = server.application.enrollments
    assert first.csr.spki == second.csr.spki


# reenroll


@pytest.mark.req("EST-066", "EST-156", "EST-045")
def test_reenroll_keeps_names_and_key(est: Terminal, server: CannedServer) -> None:
    assert est.enroll(server, "--san", "dns:a.example")[0] == 0
    old, old_key = certificate_in(est.out / "cert.pem"), (est.out / "key.pem").read_bytes()
    files = ("--cert", est.out / "cert.pem", "--key", est.out / "key.pem")
    code, _, err = est.ask("reenroll", server, *files, "--out", est.out)
    assert code == 5
    assert "--force" in err
    assert est.ask("reenroll", server, *files, "--out", est.out, "--force")[0] == 0
    new = certificate_in(est.out / "cert.pem")
    assert new.serial_number != old.serial_number
    assert new.public_key() == old.public_key()
    assert new.subject == old.subject
    assert (est.out / "key.pem").read_bytes() == old_key
    question = server.application.enrollments[-1]
    assert isinstance(question, ReenrollRequested)
    assert (question.current, question.identity.user) == (old, None)


def test_reenroll_with_rekey_makes_a_new_key_of_the_same_kind(
    est: Terminal, server: CannedServer
) -> None:
    assert est.enroll(server, "--key-type", "ec:P-384")[0] == 0
    old = certificate_in(est.out / "cert.pem")
    files = ("--cert", est.out / "cert.pem", "--key", est.out / "key.pem")
    code, _, _ = est.ask("reenroll", server, *files, "--out", est.out, "--force", "--rekey")
    assert code == 0
    key, new = key_in(est.out / "key.pem"), certificate_in(est.out / "cert.pem")
    assert key.public_key() == new.public_key() != old.public_key()
    assert isinstance(key.curve, ec.SECP384R1)
    question = server.application.enrollments[-1]
    assert isinstance(question, ReenrollRequested)
    assert question.rekey


@pytest.mark.req("EST-296")
def test_a_failed_renewal_leaves_the_old_files(est: Terminal, server: CannedServer) -> None:
    assert est.enroll(server)[0] == 0
    before = {path.name: path.read_bytes() for path in est.out.iterdir()}
    server.application.certify = partial(certificate_for, issuer=pki().rogue)
    files = ("--cert", est.out / "cert.pem", "--key", est.out / "key.pem")
    assert est.ask("reenroll", server, *files, "--out", est.out, "--force")[0] == 1
    after = {path.name: path.read_bytes() for path in est.out.iterdir()}
    assert after.pop("cert.pem.refused")  # put aside, for whoever wants it after all
    assert after == before


def test_an_encrypted_key_is_opened_with_its_password_file(
    est: Terminal, server: CannedServer
) -> None:
    identity = pki().client
    certificate, key = identity.write(est.directory, "old")
    password = est.directory / "password"
    password.write_bytes(b"hunter2\n")
    key.write_bytes(
        identity.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")
        )
    )
    files: tuple[str | Path, ...] = ("--cert", certificate, "--key", key, "--out", est.out)
    code, _, err = est.ask("reenroll", server, *files)
    assert code == 2  # nobody to ask
    assert "no terminal" in err
    assert err.endswith("; give it with --key-password-file\n")
    new = ("--new-key", key, "--cn", "x", *LOGIN, "--out", est.out)
    assert est.ask("enroll", server, *new)[2].endswith("; give it with --new-key-password-file\n")
    assert est.ask("reenroll", server, *files, "--key-password-file", password)[0] == 0
    arguments = (*files, "--key-password-file", password, "--rekey", "--force")
    assert est.ask("reenroll", server, *arguments)[0] == 0
    written = (est.out / "key.pem").read_bytes()
    assert b"ENCRYPTED" in written
    load_pem_private_key(written, b"hunter2")
    password.write_bytes(b"wrong\n")
    code, _, err = est.ask("reenroll", server, *files, "--key-password-file", password, "--force")
    assert code == 5
    assert "password is wrong" in err
    assert "hunter2" not in err


# What goes wrong


def test_a_wrong_password_is_a_refusal_tried_once(est: Terminal, server: CannedServer) -> None:
    arguments = ("--cn", "x", "--user", f"{USER}:wrong", "--out", est.out)
    code, _, err = est.ask("enroll", server, *arguments)
    assert code == 1
    assert one_error_line(err)
    assert "refuses user alice" in err
    assert "auth/refused" in err
    assert "wrong" not in err
    assert [record.code for record in server.records].count("auth/wrong-credentials") == 1


def test_a_password_can_be_sent_without_being_asked_for(
    est: Terminal, server: CannedServer
) -> None:
    est.enroll(server, "--send-password")
    asked = [(record.status, record.identity.user) for record in server.records]
    assert asked[-1] == (200, USER)
    assert 401 not in [status for status, _ in asked]


def test_a_wrong_password_that_nobody_asked_for_is_not_sent_again(
    est: Terminal, server: CannedServer
) -> None:
    arguments = ("--cn", "x", "--user", f"{USER}:wrong", "--send-password", "--out", est.out)
    code, _, err = est.ask("enroll", server, *arguments)
    assert (code, "auth/refused" in err) == (1, True)
    assert [record.code for record in server.records].count("auth/wrong-credentials") == 1


def test_no_password_is_sent_to_a_server_that_is_yet_to_be_trusted(
    est: Terminal, server: CannedServer
) -> None:
    print_ = pki().ca.certificate.fingerprint(hashes.SHA256()).hex()
    login = ("--user", f"{USER}:{PASSWORD}", "--send-password", "--cn", "x", "--out", est.out)
    assert est("enroll", server.url, "--fingerprint", print_, *login)[0] == 0
    assert server.records[0].identity.user is None
    assert server.records[-1].identity.user == USER


def test_without_any_identity_the_error_says_what_to_give(
    est: Terminal, server: CannedServer
) -> None:
    code, _, err = est.ask("enroll", server, "--cn", "x", "--out", est.out)
    assert code == 1
    assert one_error_line(err)
    assert "--user NAME" in err


@pytest.fixture
def system_trust(est: Terminal, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the system trust the CA, and return the file that says so."""
    path = est.directory / "system.pem"
    path.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(est.directory / "none"))
    return path


@pytest.mark.req("EST-079", "EST-080")
def test_with_trust_given_the_systems_trust_store_does_not_count(
    est: Terminal, server: CannedServer, system_trust: Path
) -> None:
    est.trust.write_bytes(pki().rogue.certificate.public_bytes(Encoding.PEM))
    code, out, err = est.ask("cacerts", server)
    assert (code, out) == (4, "")
    assert one_error_line(err)
    assert "tls/untrusted-server" in err
    assert "--trust" not in err  # it was given


def test_a_server_that_the_system_does_not_trust_asks_for_the_ca_that_certified_it(
    est: Terminal, server: CannedServer, system_trust: Path
) -> None:
    system_trust.write_bytes(pki().rogue.certificate.public_bytes(Encoding.PEM))
    code, _, err = est("cacerts", server.url, "--system-trust")
    assert code == 4
    assert "no trust anchor" in err
    assert err.endswith("; name the CA that certified the server with --trust CA.pem\n")


def test_an_expired_server_certificate_is_its_operators_business(est: Terminal) -> None:
    old = Subject(
        name="old",
        ips=("127.0.0.1",),
        eku=(SERVER_AUTH,),
        not_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_after=datetime(2021, 1, 1, tzinfo=UTC),
    )
    with canned_server(identity=pki().ca.issue(old)) as server:
        code, _, err = est.ask("cacerts", server)
    assert code == 4
    assert one_error_line(err)
    assert "expired (the clock here shows 20" in err
    assert err.endswith("if it is ahead; else the server's operator must renew the certificate\n")


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        (
            {
                "not_before": datetime(2098, 1, 1, tzinfo=UTC),
                "not_after": datetime(2099, 1, 1, tzinfo=UTC),
            },
            " UTC) [tls/untrusted-server]; check the clock of this machine, and of the one that "
            "made the certificate; where this one cannot know the time, give --clock-floor DATE\n",
        ),
        (
            {"eku": (CLIENT_AUTH,)},
            "extendedKeyUsage does not allow a TLS server [tls/untrusted-server]; the server's "
            "operator must replace that certificate\n",
        ),
        (
            {"ips": ()},
            "the common name, 127.0.0.1, does not count (RFC 9525) [server/name-mismatch]; the "
            "server's operator must have its name put into subjectAltName\n",
        ),
    ],
)
def test_what_is_wrong_with_a_servers_certificate_has_its_own_remedy(
    est: Terminal, changes: dict[str, Any], end: str
) -> None:
    subject = Subject(
        **{"name": "127.0.0.1", "ips": ("127.0.0.1",), "eku": (SERVER_AUTH,), **changes}
    )
    with canned_server(identity=pki().ca.issue(subject)) as server:
        code, _, err = est.ask("cacerts", server)
    assert code == 4
    assert one_error_line(err)
    assert err.endswith(end)


@pytest.mark.req("EST-080", "EST-093")
def test_the_systems_trust_store_is_used_on_request_alone(
    est: Terminal, server: CannedServer, system_trust: Path
) -> None:
    assert est("cacerts", server.url, "--system-trust")[0] == 0
    code, _, err = est("cacerts", server.url)
    assert code == 2
    assert one_error_line(err)
    assert "by which CA must the server be certified?; give --trust CA.pem or" in err
    for other in (("--trust", est.trust), ("--fingerprint", "ab" * 32)):
        code, _, err = est("cacerts", server.url, "--system-trust", *other)
        assert code == 2
        assert f"{other[0]} and --system-trust exclude each other" in err
    wanted = ("--cn", "x", *LOGIN, "--out", est.out)
    code, _, err = est("enroll", server.url, "--system-trust", *wanted)
    assert code == 0
    assert "warning: the password goes to a server that only the system" in err


def test_the_systems_trust_store_may_be_a_directory(
    est: Terminal, server: CannedServer, system_trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = est.directory / "hashed"
    directory.mkdir()
    system_trust.rename(directory / "0123abcd.0")
    (directory / "README").write_bytes(b"no certificate")
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    assert est("cacerts", server.url, "--system-trust")[0] == 0


@pytest.mark.req("EST-084")
def test_a_server_with_another_name_is_refused_under_implicit_trust_too(
    est: Terminal, system_trust: Path
) -> None:
    other = pki().ca.issue(Subject(name="other", dns=("other.example",), eku=(SERVER_AUTH, CMC_RA)))
    with canned_server(identity=other) as server:
        code, _, err = est("cacerts", server.url, "--system-trust")
        assert est.ask("cacerts", server)[0] == 0  # the EST CA's own word that it is its server
    assert code == 4
    assert "server/name-mismatch" in err


@pytest.mark.req("EST-080")
def test_a_machine_without_trust_store_is_told_to_name_a_ca(
    est: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(est.directory / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(est.directory))
    code, _, err = est("cacerts", "https://localhost", "--system-trust")
    assert code == 5
    assert "--trust" in err


def test_a_server_with_another_name_is_refused(est: Terminal) -> None:
    other = pki().ca.issue(Subject(name="other", dns=("other.example",), eku=(SERVER_AUTH,)))
    with canned_server(identity=other) as server:
        code, _, err = est.ask("cacerts", server)
    assert code == 4
    assert "server/name-mismatch" in err


def test_an_unreachable_port_is_a_network_error(est: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, _, err = est("cacerts", f"https://127.0.0.1:{port}", "--trust", est.trust)
    assert code == 4
    assert one_error_line(err)
    assert "connect/refused" in err
    assert str(port) in err


def test_an_unknown_host_is_a_network_error(est: Terminal) -> None:
    code, _, err = est("cacerts", "https://no-such-host.invalid", "--trust", est.trust)
    assert code == 4
    assert one_error_line(err)
    assert "connect/unknown-host" in err


@contextmanager
def plain_server(answer: bytes) -> Iterator[int]:
    """Answer whoever connects with these bytes, or with nothing and no end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()
        thread = threading.Thread(target=_answer, args=(listener, answer, done))
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        thread.join(10)


def _answer(listener: socket.socket, answer: bytes, done: threading.Event) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        if answer:
            connection.sendall(answer)
        done.wait(10)


def test_a_port_without_tls_is_named_as_such(est: Terminal) -> None:
    with plain_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        code, _, err = est("cacerts", f"https://127.0.0.1:{port}", "--trust", est.trust)
    assert code == 4
    assert one_error_line(err)
    assert "tls/not-tls" in err


def test_a_silent_server_is_given_up_after_the_timeout(est: Terminal) -> None:
    with plain_server(b"") as port:
        url = f"https://127.0.0.1:{port}"
        code, _, err = est("cacerts", url, "--trust", est.trust, "--timeout", "0.2")
    assert code == 4
    assert one_error_line(err)
    assert "tls/timeout" in err


@pytest.mark.parametrize("command", ["enroll", "reenroll"])
def test_an_expired_client_certificate_is_named_as_the_cause(
    command: str, est: Terminal, server: CannedServer
) -> None:
    identity = est.identity(pki().expired_client)
    names = ("--cn", "device-1") if command == "enroll" else ()
    code, _, err = est.ask(command, server, *identity, *names, "--out", est.out)
    assert code == 1
    assert one_error_line(err)
    assert "expired on" in err


def test_a_certificate_of_an_unknown_ca_is_refused(est: Terminal, server: CannedServer) -> None:
    identity = est.identity(pki().rogue_client)
    code, _, err = est.ask("enroll", server, *identity, "--cn", "x", "--out", est.out)
    assert code == 1
    assert "does not accept the certificate" in err
    assert "check --cert: a CA that the server accepts must have issued it; or give --user" in err
    assert "est why DIR " in err


def test_the_reason_of_a_server_cannot_command_a_terminal(
    est: Terminal, server: CannedServer
) -> None:
    server.application.decide_enrollments(Deny(code="policy/test", reason="no\x1b[2J\nthanks"))
    _, _, err = est.enroll(server)
    assert "\x1b" not in err
    assert one_error_line(err)


USAGE_ERRORS: tuple[tuple[str, ...], ...] = (
    ("cacerts",),
    ("cacerts", "http://host"),
    ("cacerts", "coaps://host"),
    ("cacerts", "https://host/a/b"),
    ("cacerts", "https://user@host"),
    ("cacerts", "https://host/one", "--label", "two"),
    ("cacerts", "https://host", "--label", "cacerts"),
    ("cacerts", "https://host", "--cert", "c.pem"),
    ("cacerts", "https://host", "--key", "k.pem"),
    ("cacerts", "https://host", "--key-password-file", "p"),
    ("cacerts", "https://host", "--password-stdin"),
    ("cacerts", "https://host", "--timeout", "0"),
    ("cacerts", "https://host", "--tls-max", "1.1"),
    ("enroll", "https://host"),
    ("enroll", "https://host", "--cn", ""),
    ("enroll", "https://host", "--cn", "x" * 65),
    ("enroll", "https://host", "--cn", "x", "--csr", "r.pem"),
    ("enroll", "https://host", "--cn", "x", "--san", "host"),
    ("enroll", "https://host", "--cn", "x", "--san", "ip:host"),
    ("enroll", "https://host", "--cn", "x", "--san", "dns:ü"),
    ("enroll", "https://host", "--csr", "r.pem", "--key-type", "rsa:2048"),
    ("enroll", "https://host", "--cn", "x", "--key-type", "dsa:1024"),
    ("reenroll", "https://host"),
    ("reenroll", "https://host", "--rekey", "--key-type", "ec:P-521"),
)


@pytest.mark.parametrize("arguments", USAGE_ERRORS, ids=" ".join)
def test_usage_errors_exit_with_2_and_one_line(
    arguments: tuple[str, ...], est: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(est.directory)
    trust = ("--trust", est.trust) if "https://host" in arguments else ()
    code, out, err = est(*arguments, *trust)
    assert (code, out) == (2, "")
    assert one_error_line(err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--trust", "missing.pem"),
        ("--trust", "empty.pem"),
        ("--trust", "ca.pem", "--cert", "missing.pem", "--key", "missing.key"),
        ("--trust", "ca.pem", "--cert", "ca.pem", "--key", "missing.key"),
        ("--trust", "ca.pem", "--cert", "ca.pem", "--key", "ca.pem"),
        ("--trust", "ca.pem", "--cert", "ca.pem", "--key", "other.key"),
        ("--trust", "ca.pem", "--cn", "x", "--new-key", "missing.key"),
        ("--trust", "ca.pem", "--csr", "missing.pem"),
        ("--trust", "ca.pem", "--csr", "empty.pem"),
        ("--trust", "ca.pem", "--csr", "ca.pem"),
        ("--trust", "ca.pem", "--cn", "x", "--out", "empty.pem"),
    ],
    ids=" ".join,
)
def test_files_that_cannot_be_used_exit_with_5_and_one_line(
    arguments: tuple[str, ...],
    est: Terminal,
    server: CannedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(est.directory)
    (est.directory / "empty.pem").write_bytes(b"")
    (est.directory / "other.key").write_bytes(pki().client.key_pem)
    code, out, err = est("enroll", server.url, *arguments)
    assert (code, out) == (5, "")
    assert one_error_line(err)
    assert "--out" in arguments or any(
        f"{name}: " in err and f"({option})" in err for option, name in pairwise(arguments)
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty"),
        (b"text", "is neither PEM, nor DER, nor base64 of DER"),
        (b"\x30\x03\x02\x01\x00", "its certificate request cannot be read"),
        (
            pki().ca.certificate.public_bytes(Encoding.PEM),
            "has no certificate request, but a certificate (line 1)",
        ),
    ],
)
def test_a_file_that_is_no_request_is_said_to_be_none(
    content: bytes, words: str, est: Terminal, server: CannedServer
) -> None:
    path = est.directory / "text"
    path.write_bytes(content)
    code, _, err = est.ask("enroll", server, "--csr", path)
    assert code == 5
    assert f"est: {path}: {words}" in err


def test_a_file_that_may_not_be_read_is_no_error_of_usage(
    est: Terminal, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_arguments, **_options: False)
    assert est.ask("cacerts", server)[0] == 0  # whoever opens it will see


@pytest.mark.parametrize("command", ["cacerts", "csrattrs"])
@pytest.mark.parametrize("option", ["--pop", "--digest", "--tls-exporter"])
def test_what_is_about_signing_is_no_option_where_nothing_is_signed(
    command: str, option: str, est: Terminal
) -> None:
    assert est(command, "https://localhost", option, "auto")[0] == 2
    assert option in est("enroll", "--help")[1]
    assert option in est("reenroll", "--help")[1]


def test_a_renewal_says_that_its_new_key_is_of_the_old_kind(est: Terminal) -> None:
    assert "the kind of the old key" in " ".join(est("reenroll", "--help")[1].split())


def test_a_password_that_nobody_can_be_asked_for_leaves_no_pending_request(
    est: Terminal, server: CannedServer
) -> None:
    code, _, err = est.ask(
        "enroll", server, "--cn", "device-1", "--user", USER, "--out", est.out
    )  # fmt: skip
    assert code == 2
    assert "--password-stdin" in err
    assert not list(est.out.glob("*.pending"))


def test_an_interrupted_enrollment_says_that_its_key_is_kept(
    est: Terminal, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Conversation, "enroll", interrupted)
    code, _, err = est.enroll(server)
    assert code == 130
    assert err == "\nest: interrupted; run the command again: the same key will be used\n"
    assert (est.out / "key.pem.pending").exists()


@pytest.mark.parametrize("command", ["cacerts", "enroll"])
def test_a_full_disk_on_standard_output_is_a_local_error(
    command: str, est: Terminal, server: CannedServer
) -> None:
    more = ["--cn", "x", *LOGIN, "--out", str(est.out)] if command == "enroll" else []
    asked = [command, server.url, "--trust", str(est.trust), *more]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "est_transports", *asked],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    words = "est: cannot write to standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (5, words)


def test_a_csr_with_a_broken_signature_is_refused_here(est: Terminal, server: CannedServer) -> None:
    path = est.directory / "request.pem"
    write_csr(path, new_key())
    der = bytearray(x509.load_pem_x509_csr(path.read_bytes()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    path.write_bytes(bytes(der))
    code, _, err = est.ask("enroll", server, "--csr", path)
    assert code == 5
    assert "signature does not verify" in err


@pytest.mark.req("EST-297")
def test_no_secret_is_printed_even_with_verbose(est: Terminal, server: CannedServer) -> None:
    runs = (
        est.enroll(server, "--verbose"),
        est.ask("enroll", server, "--cn", "x", "--user", f"{USER}:s3cr3t", "--verbose"),
    )
    texts = [text for _, *printed in runs for text in printed]
    assert not any(PASSWORD in text or "s3cr3t" in text or "PRIVATE" in text for text in texts)


def test_questions_of_enroll_are_first_enrollments(est: Terminal, server: CannedServer) -> None:
    est.enroll(server)
    assert isinstance(server.application.enrollments[0], EnrollRequested)
