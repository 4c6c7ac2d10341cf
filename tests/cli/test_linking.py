"""est enroll where it must link: by which attribute, and what it says before anything is sent."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import EnrollRequested
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.asn1.pkcs10 import CertRequest
from tests.cli.canned import CannedServer
from tests.cli.test_client_commands import LOGIN, Terminal, est, one_error_line, server
from tests.core.asn1.build import CHALLENGE_PASSWORD, IDENTITY_LINKING
from tests.core.cast import csr_der
from tests.pki import pki

__all__ = ["est", "server"]

OTP, REVOCATION = "1.2.840.113549.1.9.16.2.56", "1.2.840.113549.1.9.16.2.57"
DEMANDING = CsrAttrs(items=()).with_challenge_password()
NO_EXTENDED_MASTER_SECRET = (
    1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, which the ssl module has no name for
)


class OtherServer:
    """A server made of the ssl module: it demands linking, and takes down what it is asked."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        self.requests: list[str] = []
        self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        self._listener, self._context = listener, context

    def serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError), raw, self._context.wrap_socket(raw, server_side=True) as tls:
                self._answer(tls)

    def _answer(self, tls: ssl.SSLSocket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := tls.recv(4096)):
                return
            head += piece
        line = head.partition(b"\r\n")[0].decode()
        self.requests.append(line)
        status, kind, body = "404 Not Found", "text/plain", b""
        if "csrattrs" in line:
            status, kind = "200 OK", "application/csrattrs"
            body = base64.b64encode(DEMANDING.der())
        tls.sendall(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )


@contextmanager
def other_server(
    directory: Path, *, only_1_3: bool = False, without_ems: bool = False
) -> Iterator[OtherServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki().server.write(directory, "server"))
    if only_1_3:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if without_ems:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.options |= NO_EXTENDED_MASTER_SECRET
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = OtherServer(listener, context)
        thread = threading.Thread(target=running.serve)
        thread.start()
        try:
            yield running
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


def enroll(est: Terminal, url: str, *more: str | Path) -> tuple[int, str, str]:
    arguments = ("--trust", est.trust, "--cn", "device-1", *LOGIN, "--out", est.out, *more)
    return est("enroll", url, *arguments)


# A must that cannot be kept


@pytest.mark.req("CB-024", "CB-021", "EST-173")
@pytest.mark.parametrize("pop", ["auto", "always"])
@pytest.mark.parametrize(
    ("only_1_3", "without_ems", "says"),
    [
        (True, False, "the request must be linked, which needs TLS 1.2 here"),
        (False, True, "it is without extended master secret (RFC 7627); nothing was sent on it"),
    ],
    ids=["TLS 1.3 alone", "no extended master secret"],
)
def test_who_must_link_and_cannot_says_so_and_sends_nothing(
    only_1_3: bool, without_ems: bool, says: str, pop: str, est: Terminal, tmp_path: Path
) -> None:
    with other_server(tmp_path, only_1_3=only_1_3, without_ems=without_ems) as other:
        code, _, err = enroll(est, other.url, "--pop", pop)
        assert code == 1
        assert one_error_line(err.splitlines(keepends=True)[-1])
        assert says in err
        assert "[pop/no-binding]" in err
        assert "--pop never" in err, "what to do about it"
        assert all(line.startswith("GET ") for line in other.requests)
        assert any("csrattrs" in line for line in other.requests)
        assert not est.out.exists()


def test_who_need_not_link_sends_the_same_request_unlinked(est: Terminal, tmp_path: Path) -> None:
    with other_server(tmp_path, only_1_3=True) as other:
        assert enroll(est, other.url, "--pop", "never")[0] == 1
        assert other.requests[-1].startswith("POST ")


@pytest.mark.parametrize("pop", ["auto", "always"])
def test_a_request_of_somebody_else_is_not_sent_where_it_would_have_to_be_linked(
    pop: str, est: Terminal, server: CannedServer
) -> None:
    server.application.csrattrs = DEMANDING
    path = est.directory / "foreign.csr"
    path.write_bytes(csr_der())
    options = ("--csr", path, *LOGIN, "--out", est.out, "--pop", pop, "--tls-max", "1.2")
    code, _, err = est.ask("enroll", server, *options)
    assert code == 1
    assert "[pop/cannot-relink]" in err
    assert "--new-key" in err
    assert server.application.enrollments == []
    assert [each.operation.name for each in server.records if each.operation] == [
        "cacerts",
        "csrattrs",
    ]


# By which attribute


def linking_of(csr: CertRequest) -> set[str]:
    return {oid for oid in (CHALLENGE_PASSWORD, IDENTITY_LINKING) if csr.challenge(oid)}


@pytest.mark.req("EST-188", "EST-189")
@pytest.mark.parametrize(
    ("link_with", "oids"),
    [
        ("auto", {CHALLENGE_PASSWORD}),
        ("challengePassword", {CHALLENGE_PASSWORD}),
        ("estIdentityLinking", {IDENTITY_LINKING}),
        ("both", {CHALLENGE_PASSWORD, IDENTITY_LINKING}),
    ],
)
def test_the_attribute_that_links_can_be_chosen(
    link_with: str, oids: set[str], est: Terminal, server: CannedServer
) -> None:
    code, _, err = est.enroll(server, "--link-with", link_with, "--pop", "always")
    assert code == 0, err
    question = server.application.asked[-1]
    assert isinstance(question, EnrollRequested)
    assert question.linked
    assert linking_of(question.csr) == oids


# The other challenges


@pytest.mark.req("EST-187", "EST-194", "EST-196")
@pytest.mark.parametrize("text", ["revoke me", "wider:ruf_ü"])
def test_a_revocation_challenge_comes_from_a_file_and_is_shown_nowhere(
    text: str, est: Terminal, server: CannedServer
) -> None:
    path = est.directory / "challenge"
    path.write_text(f"{text}\n", encoding="utf-8")
    told = ObjectId(oid=REVOCATION)
    server.application.csrattrs = CsrAttrs(items=(told,))
    options = ("--revocation-challenge-file", path, "--strict-csrattrs", "--json", "--verbose")
    code, out, err = est.enroll(server, *options)
    assert code == 0, err
    question = server.application.asked[-1]
    assert isinstance(question, EnrollRequested)
    assert question.csr.challenge(REVOCATION) == (text,)
    (attribute,) = question.csr.attribute(REVOCATION)
    assert attribute.values[0][0] == (0x13 if text.isascii() else 0x0C)
    for shown in (out, err, repr(question), *map(repr, server.noted)):
        assert text not in shown
    assert text.encode() not in (est.out / "cert.pem").read_bytes()
    issued = x509.load_pem_x509_certificate((est.out / "cert.pem").read_bytes())
    assert text.encode() not in issued.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--revocation-challenge-file", "{long}"), 2, "1 to 255 characters"),
        (("--revocation-challenge-file", "{empty}"), 2, "the first line has 1 to"),
        (("--revocation-challenge-file", "{two}"), 2, "holds more than one line"),
        (("--revocation-challenge-file", "{none}"), 5, "cannot be read"),
        (("--attr", "revocationChallenge=secret"), 2, "give --revocation-challenge-file"),
        (("--revocation-challenge-file", "{good}", "--csr", "{good}"), 2, "--csr goes without"),
    ],
)
def test_a_revocation_challenge_that_cannot_be_sent_is_refused_before_connecting(
    options: tuple[str, ...], code: int, says: str, est: Terminal, server: CannedServer
) -> None:
    texts = {"long": "a" * 256, "empty": "", "two": "a\nb", "good": "a"}
    names = {name: str(est.directory / name) for name in (*texts, "none")}
    for name, text in texts.items():
        Path(names[name]).write_text(text)
    given = [option.format(**names) for option in options]
    found, _, err = est("enroll", server.url, "--trust", est.trust, *given, "--cn", "device-1")
    assert found == code
    assert says in err
    assert server.connections == 0


@pytest.mark.req("EST-187")
def test_a_code_is_for_who_has_one_and_counts_as_what_was_asked_for(
    est: Terminal, server: CannedServer
) -> None:
    server.application.csrattrs = CsrAttrs(items=(ObjectId(oid=OTP),))
    code, out, err = est.enroll(server, "--json")
    assert (code, json.loads(out)["unmet"]) == (0, [])
    assert "does not hold" not in err
    code, _, err = est.enroll(server, "--force", "--strict-csrattrs")
    assert code == 1
    assert "does not hold: attribute otpChallenge" in err
    path = est.directory / "code"
    path.write_text("7QXK")
    options = ("--code-file", path, "--code-in", "otp", "--force", "--strict-csrattrs")
    code, _, err = est.enroll(server, *options)
    assert code == 0, err
