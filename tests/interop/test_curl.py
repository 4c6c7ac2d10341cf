"""curl and openssl, what shell recipes are made of: every operation, every way to authenticate."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conftest import PeerFinder
from tests.deployment import PASSWORD, USER, Deployment
from tests.interop.curl_peer import LOG_IN, Curl
from tests.interop.openssl_peer import NEW_KEY, CertificateRequest, OpenSsl, renewal_name
from tests.pki import pki
from tests.programs import run

TLS: Final = {"TLS 1.2": ("--tls-max", "1.2"), "TLS 1.3": ("--tlsv1.3",)}


def pem_file(directory: Path, name: str, certificate: x509.Certificate) -> Path:
    """Write a certificate in PEM."""
    path = directory / name
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def shown(certificate: Path, key: Path) -> tuple[str, ...]:
    """Return the options that show a certificate in the handshake."""
    return ("--cert", str(certificate), "--key", str(key))


# CA certificates and attributes


@pytest.mark.req("EST-001")
@pytest.mark.req("EST-102")
@pytest.mark.req("EST-112")
@pytest.mark.req("EST-113")
@pytest.mark.req("EST-116")
@pytest.mark.req("EST-117")
@pytest.mark.req("EST-118")
@pytest.mark.req("EST-119")
@pytest.mark.parametrize("tls", TLS)
def test_curl_base64_and_openssl_in_a_pipe_print_the_ca_certificate(
    curl: Curl, peer: PeerFinder, tls: str
) -> None:
    fetch = curl.run("--fail", *TLS[tls], curl.deployment.url("cacerts")).checked()
    pipe = f"base64 -d | {shlex.quote(peer('openssl'))} pkcs7 -inform DER -print_certs"
    printed = run("sh", "-c", pipe, stdin=fetch.out).checked()
    assert x509.load_pem_x509_certificates(printed.out) == [curl.deployment.ca]


def test_curl_reaches_the_server_by_its_address_too(curl: Curl) -> None:
    url = curl.deployment.url("cacerts").replace("localhost", "127.0.0.1")
    assert curl.run("--fail", url).checked().out


@pytest.mark.req("EST-236")
@pytest.mark.req("EST-239")
def test_csrattrs_without_wishes_is_204_and_needs_no_password(curl: Curl) -> None:
    answer = curl.fetch("csrattrs")
    assert (answer.statuses, answer.body) == ((204,), b"")


def test_head_tells_of_cacerts_what_get_does_without_the_body(curl: Curl) -> None:
    told, got = curl.fetch("cacerts", "--head"), curl.fetch("cacerts")
    assert told.status == 200
    assert told.field("Content-Length") == str(len(got.body))
    assert told.field("Content-Type") == got.field("Content-Type")


@pytest.mark.req("EST-106")
@pytest.mark.req("EST-107")
def test_an_answer_has_the_shape_that_every_client_measured_accepts(curl: Curl) -> None:
    answer = curl.fetch("cacerts")
    assert answer.field("Content-Type") == "application/pkcs7-mime"
    assert answer.field("Content-Transfer-Encoding") == "base64"
    assert answer.field("Content-Length") == str(len(answer.body))
    assert answer.body.count(b"\n") == 1
    assert answer.body.endswith(b"\n")
    assert len(answer.head) < 1024
    assert all(name == name.title() for name, _ in answer.fields)


@pytest.mark.req("EST-106")
@pytest.mark.parametrize("agent", ["libest 3.2.0p", "Cisco EST client 1.0"])
def test_libest_gets_lines_of_64_which_are_the_longest_that_it_reads(
    curl: Curl, openssl: OpenSsl, agent: str
) -> None:
    answer = curl.fetch("cacerts", "--user-agent", agent)
    lines = answer.body.split(b"\n")
    assert lines.pop() == b""
    assert {len(line) for line in lines[:-1]} == {64}
    der = openssl.run("base64", "-d", stdin=answer.body).checked().out  # by libEST's own reader
    assert openssl.certificates(der) == [curl.deployment.ca]


# When to renew


@pytest.mark.req("EST-300", "EST-301")
@pytest.mark.parametrize("tls", TLS)
def test_curl_asks_when_to_renew_what_it_enrolled(curl: Curl, openssl: OpenSsl, tls: str) -> None:
    certificate = curl.enroll(openssl.request("to-be-renewed"))
    answer = curl.fetch(f"renewal-info/{renewal_name(certificate)}", *TLS[tls])
    assert answer.status == 200
    assert answer.field("Content-Type") == "application/json"
    assert 0.75 * 21600 <= int(answer.field("Retry-After")) <= 1.25 * 21600
    window = json.loads(answer.body)["suggestedWindow"]
    start, end = (datetime.fromisoformat(window[each]) for each in ("start", "end"))
    assert certificate.not_valid_before_utc < start < end < certificate.not_valid_after_utc
    assert curl.fetch("renewal-info/AA.AQ").status == 404
    assert curl.fetch("renewal-info").status == 404
    assert curl.fetch("renewal-info/AA.A").status == 400
    assert curl.fetch(f"other/renewal-info/{renewal_name(certificate)}").status == 404


# Enrolling


@pytest.mark.req("EST-135")
@pytest.mark.req("EST-148")
@pytest.mark.parametrize("kind", NEW_KEY)
def test_curl_enrolls_with_a_password_and_openssl_verifies_the_certificate(
    curl: Curl, openssl: OpenSsl, server: Deployment, tmp_path: Path, kind: str
) -> None:
    request = openssl.request("device", kind=kind, names="DNS:device.example")
    answer = curl.post("simpleenroll", base64.b64encode(request.der), *LOG_IN)
    certificate = curl.certificate(answer)
    assert answer.field("Content-Type") == "application/pkcs7-mime; smime-type=certs-only"
    assert request.is_for(certificate)
    openssl.verify(server.ca_file, pem_file(tmp_path, "device.pem", certificate))


def test_what_curl_enrolls_is_on_record_with_its_user(
    curl: Curl, openssl: OpenSsl, server: Deployment
) -> None:
    certificate = curl.enroll(openssl.request("recorded"))
    record = server.record(certificate)
    assert (record["subject"], record["user"]) == ("CN=recorded", USER)
    assert (record["operation"], record["state"]) == ("simpleenroll", "valid")


@pytest.mark.parametrize("tls", TLS)
def test_curl_enrolls_over_either_tls(curl: Curl, openssl: OpenSsl, tls: str) -> None:
    request = openssl.request("device")
    assert request.is_for(curl.enroll(request, *TLS[tls]))


@pytest.mark.req("EST-036")
def test_anyauth_probes_with_an_empty_post_and_logs_in_on_the_same_connection(
    curl: Curl, openssl: OpenSsl
) -> None:
    request = openssl.request("device")
    body = base64.b64encode(request.der)
    answer = curl.post("simpleenroll", body, "--anyauth", "--user", f"{USER}:{PASSWORD}")
    assert (answer.statuses, answer.connections) == ((401, 200), 1)
    assert request.is_for(curl.certificate(answer))


@pytest.mark.req("EST-036")
@pytest.mark.req("EST-135")
def test_without_a_password_there_is_a_challenge_and_an_empty_body(
    curl: Curl, openssl: OpenSsl
) -> None:
    answer = curl.post("simpleenroll", base64.b64encode(openssl.request("device").der))
    assert answer.status == 401
    assert answer.field("WWW-Authenticate").startswith("Basic realm=")
    assert (answer.field("Content-Length"), answer.body) == ("0", b"")


def test_a_wrong_password_is_refused_and_the_right_one_then_taken(
    curl: Curl, openssl: OpenSsl
) -> None:
    request = openssl.request("device")
    body = base64.b64encode(request.der)
    refused = curl.post("simpleenroll", body, "--basic", "--user", f"{USER}:wrong")
    assert (refused.status, refused.body) == (401, b"")
    assert request.is_for(curl.enroll(request))


# Certificates in the handshake


@pytest.mark.req("EST-065")
@pytest.mark.req("EST-158")
@pytest.mark.req("EST-163")
@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("same_key", [True, False], ids=["renew", "rekey"])
def test_curl_reenrolls_with_the_certificate_it_was_issued(
    curl: Curl, openssl: OpenSsl, tmp_path: Path, tls: str, same_key: bool
) -> None:
    first = openssl.request("device", names="DNS:device.example")
    current = curl.enroll(first)
    identity = shown(pem_file(tmp_path, "device.pem", current), first.key)
    key = first.key if same_key else None
    again = openssl.request("device", key=key, names="DNS:device.example")
    answer = curl.post("simplereenroll", base64.b64encode(again.der), *identity, *TLS[tls])
    renewed = curl.certificate(answer)
    assert again.is_for(renewed)
    assert renewed.serial_number != current.serial_number


@pytest.mark.req("EST-156")
@pytest.mark.req("EST-158")
@pytest.mark.parametrize(
    "name, names", [("device", ""), ("device", "DNS:other"), ("other", "DNS:device.example")]
)
def test_a_renewal_under_other_names_is_refused(
    curl: Curl, openssl: OpenSsl, tmp_path: Path, name: str, names: str
) -> None:
    first = openssl.request("device", names="DNS:device.example")
    identity = shown(pem_file(tmp_path, "device.pem", curl.enroll(first)), first.key)
    other = openssl.request(name, key=first.key, names=names)
    answer = curl.post("simplereenroll", base64.b64encode(other.der), *identity)
    assert answer.status == 400


@pytest.mark.req("EST-070")
def test_a_certificate_of_an_unknown_ca_neither_helps_nor_hurts(
    curl: Curl, openssl: OpenSsl, tmp_path: Path
) -> None:
    certificate, key = pki().rogue_client.write(tmp_path, "rogue")
    identity = shown(certificate, key)
    body = base64.b64encode(openssl.request("device").der)
    assert curl.fetch("cacerts", *identity).status == 200
    assert curl.post("simpleenroll", body, *identity).status == 401
    assert curl.post("simpleenroll", body, *identity, *LOG_IN).status == 200


@pytest.mark.req("EST-053")
def test_the_server_refuses_tls_1_1(server: Deployment, openssl: OpenSsl) -> None:
    weak = ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    ended = openssl.run("s_client", "-connect", f"localhost:{server.port}", *weak)
    assert ended.code != 0
    assert "alert protocol version" in ended.err


# Framing


@pytest.mark.parametrize(
    "options, statuses",
    [
        (("--header", "Transfer-Encoding: chunked"), (200,)),
        (("--header", "Expect: 100-continue"), (100, 200)),
        (
            ("--header", "Expect: 100-continue", "--header", "Transfer-Encoding: chunked"),
            (100, 200),
        ),
        (("--http1.0",), (200,)),
        (("--header", "Connection: close"), (200,)),
    ],
    ids=lambda value: " ".join(value[-1:]) if isinstance(value[0], str) else None,
)
def test_a_request_body_may_be_framed_as(
    curl: Curl, openssl: OpenSsl, options: tuple[str, ...], statuses: tuple[int, ...]
) -> None:
    request = openssl.request("device")
    answer = curl.post("simpleenroll", base64.b64encode(request.der), *LOG_IN, *options)
    assert answer.statuses == statuses
    assert request.is_for(curl.certificate(answer))


def test_two_requests_of_curl_share_one_connection(curl: Curl) -> None:
    urls = [curl.deployment.url(operation) for operation in ("cacerts", "csrattrs")]
    told = ("--write-out", "%{http_code} %{num_connects}\n", "--output", "/dev/null")
    ended = curl.run(*told, urls[0], "--output", "/dev/null", urls[1])
    assert ended.checked().out.split(b"\n") == [b"200 1", b"204 0", b""]


# Bodies


def wrapped(body: bytes, columns: int, end: bytes) -> bytes:
    """Return base64 in lines."""
    return b"".join(body[at : at + columns] + end for at in range(0, len(body), columns))


BODIES: Final[dict[str, Callable[[CertificateRequest], bytes]]] = {
    "one line without an end": lambda request: base64.b64encode(request.der),
    "one line": lambda request: base64.b64encode(request.der) + b"\n",
    "LF at 64": lambda request: wrapped(base64.b64encode(request.der), 64, b"\n"),
    "CRLF at 76": lambda request: wrapped(base64.b64encode(request.der), 76, b"\r\n"),
    "blanks and tabs": lambda request: wrapped(base64.b64encode(request.der), 60, b" \t\n"),
    "PEM": lambda request: request.pem,
    "DER": lambda request: request.der,
}


@pytest.mark.req("EST-104")
@pytest.mark.req("EST-108")
@pytest.mark.parametrize("form", BODIES)
def test_a_request_may_be_written_as(curl: Curl, openssl: OpenSsl, form: str) -> None:
    request = openssl.request("device")
    answer = curl.post("simpleenroll", BODIES[form](request), *LOG_IN)
    assert request.is_for(curl.certificate(answer))


@pytest.mark.req("EST-103")
@pytest.mark.parametrize("value", ["base64", "Base64", "binary", "8bit"])
def test_content_transfer_encoding_says_nothing_about_the_body(
    curl: Curl, openssl: OpenSsl, value: str
) -> None:
    request = openssl.request("device")
    said = ("--header", f"Content-Transfer-Encoding: {value}")
    answer = curl.post("simpleenroll", base64.b64encode(request.der), *LOG_IN, *said)
    assert request.is_for(curl.certificate(answer))


@pytest.mark.parametrize(
    "media", ["application/pkcs10; charset=utf-8", "Application/PKCS10", 'application/pkcs10;x="y"']
)
def test_the_media_type_of_a_request_is_parsed_not_compared(
    curl: Curl, openssl: OpenSsl, media: str
) -> None:
    body = base64.b64encode(openssl.request("device").der)
    assert curl.post("simpleenroll", body, *LOG_IN, media=media).status == 200


def test_any_accept_will_do(curl: Curl) -> None:
    assert curl.fetch("cacerts", "--header", "Accept: text/plain").status == 200
