"""What `est doctor` says of servers with the habits of foreign ones: it names each of them."""

from __future__ import annotations

import json
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import pytest

from est_core import EstUri
from est_core.asn1.cms import write_certs_only
from est_transports.doctor import DoctorConfig, Report, Severity, examine
from est_transports.pki import TrustAnchors
from tests.deployment import PASSWORD, USER, Deployment, est
from tests.interop import foreign_answers as foreign
from tests.interop.foreign_answers import ATTRS, BASIC, CERTS, answer
from tests.interop.foreign_server import (
    Answers,
    Asked,
    Said,
    Then,
    foreign_server,
    server_tls,
)
from tests.pki import (
    CLIENT_AUTH,
    SERVER_AUTH,
    TOMORROW,
    YESTERDAY,
    Entity,
    Subject,
    pki,
    self_signed,
    signed_with_sha1,
    weak_rsa_key,
)

CODING: Final = "Content-Transfer-Encoding: base64"
TYPE: Final = f"Content-Type: {CERTS}"
REFUSED: Final = answer(401, b"", BASIC)
UNWANTED: Final = answer(413, b"", then=Then.CLOSE)
NO_EMS: Final = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, which ssl does not name


def date(moment: datetime) -> str:
    """The Date field of a moment."""
    return f"Date: {format_datetime(moment, usegmt=True)}"


def certificates(body: bytes | None = None, *fields: str, **options: object) -> Said:
    """An answer to /cacerts, in order where nothing else is said."""
    content = foreign.one_line_lf(foreign.ca_bag()) if body is None else body
    lines = fields or (TYPE, CODING, date(datetime.now(UTC)))
    return answer(200, content, *lines, **options)  # type: ignore[arg-type]  # as answer has them


def careful(**instead: Said) -> Answers:
    """A server that does all as it should, but what is said instead, by operation or method."""

    def answers(asked: Asked) -> Said:
        if "expect" in asked.fields:
            return instead.get("large", UNWANTED)
        if "/renewal-info/" in asked.path and "renewal" in instead:
            return instead["renewal"]
        if asked.operation in instead:
            return instead[asked.operation]
        if asked.path == "/.well-known/est/cacerts":
            if asked.method != "GET":
                return answer(405, b"", "Allow: GET")
            return certificates()
        if asked.path == "/.well-known/est/csrattrs":
            return answer(204)
        if asked.path == "/.well-known/est/simpleenroll":
            is_request = asked.fields.get("content-type") == "application/pkcs10"
            return REFUSED if is_request else answer(415)
        return instead.get("unknown", answer(404, b"not here\n", "Content-Type: text/plain"))

    return answers


def plain(context: ssl.SSLContext) -> None:
    """As it is."""


def without_ems(context: ssl.SSLContext) -> None:
    """TLS 1.2, without extended master secret."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= NO_EMS


def newest_only(context: ssl.SSLContext) -> None:
    """TLS 1.3 alone."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def of_old(context: ssl.SSLContext) -> None:
    """TLS from 1.0, with any suite that OpenSSL has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH:ECDHE+AES+SHA1:@SECLEVEL=0")


def asking(context: ssl.SSLContext) -> None:
    """Ask for a certificate, of anybody."""
    context.verify_mode = ssl.CERT_OPTIONAL


def requiring(context: ssl.SSLContext) -> None:
    """Require a certificate, in TLS 1.2, where a refusal ends the handshake."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED


Found = tuple[str, Severity, str]


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """What a server does, and what is to be found: check, how bad, and a part of what was seen."""

    answers: Answers = field(default_factory=careful)
    tls: Callable[[ssl.SSLContext], None] = plain
    found: tuple[Found, ...]


OK, NOTE, WARNING, FAULT, NOT_JUDGED = Severity
ROOT_ELSEWHERE: Final = write_certs_only([pki().client.certificate])
ROLLER: Final = answer(302, b"", "Location: http://127.0.0.1/.well-known/est/cacerts")

QUIRKS: Final[dict[str, Quirk]] = {
    "no Content-Transfer-Encoding": Quirk(
        answers=careful(cacerts=certificates(None, TYPE)),
        found=(("cacerts.transfer-encoding", NOTE, "absent"),),
    ),
    "a wrong Content-Transfer-Encoding": Quirk(
        answers=careful(cacerts=certificates(None, TYPE, "Content-Transfer-Encoding: binary")),
        found=(("cacerts.transfer-encoding", WARNING, "'binary', and not base64"),),
    ),
    "Content-Transfer-Encoding in capitals": Quirk(
        answers=careful(cacerts=certificates(None, TYPE, "Content-Transfer-Encoding: BASE64")),
        found=(("cacerts.transfer-encoding", NOTE, "'BASE64'"),),
    ),
    "Content-Transfer-Encoding twice": Quirk(
        answers=careful(cacerts=certificates(None, TYPE, CODING, CODING)),
        found=(("cacerts.transfer-encoding", WARNING, "2 times"),),
    ),
    "gzip": Quirk(
        answers=careful(cacerts=certificates(b"x", TYPE, "Content-Encoding: gzip")),
        found=(("cacerts.transfer-encoding", FAULT, "'gzip', unasked"),),
    ),
    "one line without an end": Quirk(
        answers=careful(cacerts=certificates(foreign.in_one_line(foreign.ca_bag()))),
        found=(("cacerts.base64", NOTE, "without a line end"),),
    ),
    "one long line": Quirk(
        answers=careful(
            cacerts=certificates(
                foreign.one_line_lf(foreign.bag([pki().ca.certificate, pki().rogue.certificate]))
            )
        ),
        found=(("cacerts.base64", NOTE, "libEST reads lines of up to about 1000"),),
    ),
    "lines of 64": Quirk(
        answers=careful(cacerts=certificates(foreign.lf_64(foreign.ca_bag()))),
        found=(("cacerts.base64", NOTE, "lines of up to 64 characters, with LF"),),
    ),
    "lines of 76 with CRLF": Quirk(
        answers=careful(cacerts=certificates(foreign.crlf_76(foreign.ca_bag()))),
        found=(("cacerts.base64", NOTE, "lines of up to 76 characters, with CRLF"),),
    ),
    "base64 with garbage": Quirk(
        answers=careful(cacerts=certificates(b"!oops!\n")),
        found=(
            ("cacerts.base64", FAULT, "no base64"),
            ("cacerts.certs-only", FAULT, "cannot be read"),
            ("cacerts.root", NOT_JUDGED, "cannot be read"),
        ),
    ),
    "an equals sign in the middle": Quirk(
        answers=careful(cacerts=certificates(b"MAA=MAA=\n")),
        found=(("cacerts.base64", FAULT, "a = in the middle"),),
    ),
    "a NUL at the end": Quirk(
        answers=careful(cacerts=certificates(foreign.with_nul(foreign.ca_bag()))),
        found=(("cacerts.base64", WARNING, "NUL"),),
    ),
    "PEM": Quirk(
        answers=careful(cacerts=certificates(foreign.pem_pkcs7(foreign.ca_bag()))),
        found=(("cacerts.base64", FAULT, "PEM"), ("cacerts.certs-only", OK, "1 certificate")),
    ),
    "DER": Quirk(
        answers=careful(cacerts=certificates(foreign.ca_bag(), TYPE)),
        found=(("cacerts.base64", FAULT, "DER"), ("cacerts.certs-only", OK, "1 certificate")),
    ),
    "an empty body": Quirk(
        answers=careful(cacerts=certificates(b"")),
        found=(("cacerts.base64", FAULT, "empty"), ("cacerts.certs-only", FAULT, "empty")),
    ),
    "text/plain": Quirk(
        answers=careful(cacerts=certificates(None, "Content-Type: text/plain", CODING)),
        found=(("cacerts.media-type", FAULT, "'text/plain', and not application/pkcs7-mime"),),
    ),
    "no media type": Quirk(
        answers=careful(cacerts=certificates(None, CODING)),
        found=(("cacerts.media-type", FAULT, "no Content-Type"),),
    ),
    "nonsense for a media type": Quirk(
        answers=careful(cacerts=certificates(None, "Content-Type: certs")),
        found=(("cacerts.media-type", FAULT, "no media type"),),
    ),
    "a media type in capitals": Quirk(
        answers=careful(cacerts=certificates(None, "Content-Type: Application/PKCS7-mime")),
        found=(("cacerts.media-type", NOTE, "with case"),),
    ),
    "a wrong smime-type": Quirk(
        answers=careful(
            cacerts=certificates(None, f"{TYPE}; smime-type=server-generated-key", CODING)
        ),
        found=(("cacerts.media-type", WARNING, "'server-generated-key', and not certs-only"),),
    ),
    "a bag without the root": Quirk(
        answers=careful(cacerts=certificates(foreign.one_line_lf(ROOT_ELSEWHERE))),
        found=(
            ("cacerts.root", FAULT, "the root is missing"),
            ("cacerts.path", NOT_JUDGED, "no root"),
            ("cacerts.server", NOT_JUDGED, "no root"),
        ),
    ),
    "a bag of others": Quirk(
        answers=careful(
            cacerts=certificates(
                foreign.one_line_lf(
                    foreign.bag([pki().rogue.certificate, pki().client.certificate])
                )
            )
        ),
        found=(
            ("cacerts.path", WARNING, "CN=device-1: leads to no trust anchor"),
            ("cacerts.server", WARNING, "do not verify the server"),
            ("certificate.complete", OK, "leads to a root"),
        ),
    ),
    "CA certificates behind a login": Quirk(
        answers=careful(cacerts=REFUSED),
        found=(
            ("cacerts.status", WARNING, "behind authentication"),
            ("cacerts.base64", NOT_JUDGED, "the status of /cacerts is 401"),
        ),
    ),
    "no CA certificates": Quirk(
        answers=careful(cacerts=answer(500, b"\x1b[31mboom\n")),
        found=(("cacerts.status", FAULT, "500: ?[31mboom"),),
    ),
    "chunks": Quirk(
        answers=careful(cacerts=certificates(None, TYPE, CODING, framing=foreign.chunked)),
        found=(("http.length", WARNING, "chunks"), ("cacerts.certs-only", OK, "")),
    ),
    "no length": Quirk(
        answers=careful(
            cacerts=certificates(None, TYPE, framing=foreign.until_close, then=Then.CLOSE)
        ),
        found=(
            ("http.length", WARNING, "the end of the connection"),
            ("http.keep-alive", NOTE, "ends after the answer"),
        ),
    ),
    "HTTP/1.0": Quirk(
        answers=careful(
            cacerts=certificates(None, TYPE, then=Then.CLOSE, version="HTTP/1.0"),
        ),
        found=(("http.version", WARNING, "HTTP/1.0"),),
    ),
    "no HTTP": Quirk(
        answers=careful(cacerts=Said(raw=b"hello\r\n\r\n", then=Then.CLOSE)),
        found=(
            ("http.version", FAULT, "another protocol"),
            ("http.length", NOT_JUDGED, "another protocol"),
            ("cacerts.status", FAULT, "another protocol"),
        ),
    ),
    "a large head in small letters": Quirk(
        answers=careful(
            cacerts=certificates(None, f"content-type: {CERTS}", f"X-Policy: {'x' * 1200}")
        ),
        found=(("http.head", NOTE, "small letters: content-type"),),
    ),
    "a clock years behind": Quirk(
        answers=careful(
            cacerts=certificates(None, TYPE, date(datetime.now(UTC) - timedelta(days=3 * 365)))
        ),
        found=(("clock.date", FAULT, "1095 days behind ours"),),
    ),
    "a clock minutes ahead": Quirk(
        answers=careful(
            cacerts=certificates(None, TYPE, date(datetime.now(UTC) + timedelta(minutes=30)))
        ),
        found=(("clock.date", WARNING, "minutes ahead of ours"),),
    ),
    "no clock": Quirk(
        answers=careful(cacerts=certificates(None, TYPE)),
        found=(("clock.date", NOTE, "no Date"),),
    ),
    "nonsense for a date": Quirk(
        answers=careful(cacerts=certificates(None, TYPE, "Date: soon")),
        found=(("clock.date", WARNING, "'soon'"),),
    ),
    "a redirect off HTTPS": Quirk(
        answers=careful(cacerts=ROLLER),
        found=(("http.redirects", FAULT, "302, to 'http://127.0.0.1"),),
    ),
    "a redirect": Quirk(
        answers=careful(
            cacerts=answer(307, b"", "Location: https://other.example/.well-known/est/cacerts")
        ),
        found=(("http.redirects", NOTE, "it was not followed"),),
    ),
    "csrattrs 200 and nothing": Quirk(
        answers=careful(csrattrs=answer(200, b"", f"Content-Type: {ATTRS}")),
        found=(("csrattrs.status", FAULT, "200 with an empty body"),),
    ),
    "csrattrs 404": Quirk(
        answers=careful(csrattrs=answer(404)), found=(("csrattrs.status", OK, "404"),)
    ),
    "csrattrs behind a login": Quirk(
        answers=careful(csrattrs=REFUSED), found=(("csrattrs.status", WARNING, "401"),)
    ),
    "csrattrs 500": Quirk(
        answers=careful(csrattrs=answer(500, b"no")), found=(("csrattrs.status", FAULT, "500: no"),)
    ),
    "csrattrs in PEM, of another type": Quirk(
        answers=careful(csrattrs=answer(200, b"MAA=\n", "Content-Type: text/plain")),
        found=(
            ("csrattrs.media-type", FAULT, "'text/plain', and not application/csrattrs"),
            ("csrattrs.transfer-encoding", NOTE, "absent"),
            ("csrattrs.base64", OK, "one line"),
            ("csrattrs.content", OK, "a list, of 0 items"),
        ),
    ),
    "csrattrs that are none": Quirk(
        answers=careful(csrattrs=answer(200, b"AgEB\n", f"Content-Type: {ATTRS}")),
        found=(
            ("csrattrs.content", FAULT, ""),
            ("csrattrs.linking", NOT_JUDGED, "cannot be read"),
        ),
    ),
    "csrattrs that ask for linking": Quirk(
        answers=careful(
            csrattrs=answer(200, b"MAsGCSqGSIb3DQEJBw==\n", f"Content-Type: {ATTRS}", CODING)
        ),
        found=(
            ("csrattrs.content", OK, "1 item"),
            ("csrattrs.linking", NOTE, "challengePassword"),
        ),
    ),
    "401 without a challenge": Quirk(
        answers=careful(simpleenroll=answer(401, b"no")),
        found=(
            ("login.challenge", FAULT, "without WWW-Authenticate"),
            ("login.order", NOT_JUDGED, "no challenge"),
            ("login.body", NOTE, "2 bytes"),
        ),
    ),
    "a challenge that cannot be read": Quirk(
        answers=careful(simpleenroll=answer(401, b"", "WWW-Authenticate: =")),
        found=(("login.challenge", FAULT, "cannot be read: '='"),),
    ),
    "a scheme that nobody knows": Quirk(
        answers=careful(simpleenroll=answer(401, b"", "WWW-Authenticate: Negotiate")),
        found=(
            ("login.challenge", WARNING, "'Negotiate'"),
            ("login.order", NOTE, "'Negotiate' comes first"),
        ),
    ),
    "two challenges in one field": Quirk(
        answers=careful(
            simpleenroll=answer(401, b"", 'WWW-Authenticate: Bearer realm="e", Basic realm="e"')
        ),
        found=(("login.order", NOTE, "several challenges in one"),),
    ),
    "Basic without a realm": Quirk(
        answers=careful(simpleenroll=answer(401, b"", "WWW-Authenticate: Basic")),
        found=(("login.challenge", WARNING, "Basic without a realm"),),
    ),
    "Digest with MD5 alone": Quirk(
        answers=careful(
            simpleenroll=answer(
                401, b"", 'WWW-Authenticate: Digest realm="e", qop="auth", nonce="n"'
            )
        ),
        found=(("login.digest", NOTE, "MD5 alone"),),
    ),
    "Digest without a nonce, and with auth-int": Quirk(
        answers=careful(
            simpleenroll=answer(
                401,
                b"",
                'WWW-Authenticate: Digest realm="e", qop="auth-int", algorithm=SHA-256',
            )
        ),
        found=(("login.digest", FAULT, "without a nonce"),),
    ),
    "an enrollment for everybody": Quirk(
        answers=careful(simpleenroll=answer(200, b"MAA=", TYPE)),
        found=(
            ("login.nobody", FAULT, "taken from nobody"),
            ("paths.media-type", FAULT, "text/plain is answered 200"),
        ),
    ),
    "an enrollment that is pending for everybody": Quirk(
        answers=careful(simpleenroll=answer(202, b"", "Retry-After: 5")),
        found=(("login.nobody", FAULT, "202"),),
    ),
    "a body judged first": Quirk(
        answers=careful(simpleenroll=answer(400, b"no request")),
        found=(("login.nobody", NOTE, "400"), ("login.challenge", NOT_JUDGED, "400")),
    ),
    "a body that breaks the server": Quirk(
        answers=careful(
            simpleenroll=answer(500, b"Traceback (most recent call last):\n", TYPE),
        ),
        found=(("login.nobody", FAULT, "breaks"), ("paths.texts", FAULT, "the inside of")),
    ),
    "a page for everything": Quirk(
        answers=careful(unknown=answer(200, b"<html>", "Content-Type: text/html")),
        found=(
            ("paths.elsewhere", FAULT, "200"),
            ("paths.operation", FAULT, "200"),
            ("paths.unknown-label", NOTE, "as if it were there"),
            ("options.fullcmc", FAULT, "200"),
        ),
    ),
    "pages of HTML for errors": Quirk(
        answers=careful(unknown=answer(404, b"<html>not here", "Content-Type: text/html")),
        found=(("paths.texts", NOTE, "a page of HTML"),),
    ),
    "texts with escape sequences": Quirk(
        answers=careful(unknown=answer(404, b"\x1b]0;owned\x07", "Content-Type: text/plain")),
        found=(("paths.texts", WARNING, "control characters"),),
    ),
    "long texts": Quirk(
        answers=careful(unknown=answer(404, b"no" * 1000, "Content-Type: text/plain")),
        found=(("paths.texts", NOTE, "2000 bytes"),),
    ),
    "410 and 503 for what is not there": Quirk(
        answers=careful(unknown=answer(503, b"busy")),
        found=(("paths.operation", FAULT, "503"), ("options.fullcmc", NOT_JUDGED, "503")),
    ),
    "403 for what is not there": Quirk(
        answers=careful(unknown=answer(403)),
        found=(("paths.operation", WARNING, "403"), ("options.fullcmc", OK, "offered (403")),
    ),
    "renewal information": Quirk(
        answers=careful(
            renewal=answer(200, b'{"suggestedWindow":{}}', "Content-Type: application/json")
        ),
        found=(("options.renewal-info", OK, "offered: {"),),
    ),
    "renewal information of another type": Quirk(
        answers=careful(renewal=answer(200, b"{}", "Content-Type: text/html")),
        found=(("options.renewal-info", WARNING, "'text/html'"),),
    ),
    "renewal information of others": Quirk(
        answers=careful(renewal=answer(400, b"no")),
        found=(("options.renewal-info", OK, "nothing to say"),),
    ),
    "a large body wanted": Quirk(
        answers=careful(large=Said(raw=b"HTTP/1.1 100 Continue\r\n\r\n")),
        found=(("paths.large-body", WARNING, "asked for"),),
    ),
    "a large body refused by a login": Quirk(
        answers=careful(large=REFUSED), found=(("paths.large-body", OK, "401"),)
    ),
    "a large body and a broken server": Quirk(
        answers=careful(large=answer(500)), found=(("paths.large-body", WARNING, "500"),)
    ),
    "TLS 1.2 without EMS": Quirk(
        tls=without_ems,
        found=(
            ("tls.extended-master-secret", WARNING, "without"),
            ("tls.channel-binding", WARNING, "safely"),
            ("tls.1-3", NOTE, "no TLS 1.3"),
        ),
    ),
    "TLS 1.3 alone": Quirk(
        tls=newest_only,
        found=(
            ("tls.1-2", WARNING, "refused"),
            ("tls.suite", NOT_JUDGED, "TLS 1.2"),
            ("tls.channel-binding", NOTE, "tls-exporter"),
            ("certificate.names", OK, "127.0.0.1"),
            ("certificate.order", OK, "in order"),
        ),
    ),
    "TLS of old": Quirk(
        tls=of_old,
        found=(
            ("tls.old-versions", FAULT, "TLS 1.1 is taken"),
            ("tls.forbidden-suites", FAULT, "AECDH-AES"),
            ("tls.suite", WARNING, "ECDHE-ECDSA-AES"),
        ),
    ),
    "a certificate of anybody asked for": Quirk(
        tls=asking,
        found=(
            ("tls.client-certificate", OK, "TLS 1.2 and TLS 1.3"),
            ("tls.ca-names", NOTE, "names no CA"),
        ),
    ),
    "a certificate required": Quirk(
        tls=requiring,
        found=(
            ("tls.anybody", FAULT, "it requires a certificate"),
            ("cacerts.status", NOT_JUDGED, "it requires a certificate"),
            ("certificate.complete", OK, "leads to a root"),
        ),
    ),
    "no certificate asked for": Quirk(
        found=(
            ("tls.client-certificate", WARNING, "TLS 1.2 and TLS 1.3"),
            ("tls.ca-names", NOT_JUDGED, "asks for no certificate"),
            ("tls.resumption", NOTE, "tickets"),
        )
    ),
}


HOSTS: Final[dict[str, Any]] = {"dns": ("localhost",), "ips": ("127.0.0.1",), "eku": (SERVER_AUTH,)}


def issued(**facts: Any) -> Entity:
    """A server's certificate, of the test CA."""
    return pki().ca.issue(Subject(**{"name": "localhost", **HOSTS, **facts}))


def below_intermediate() -> Entity:
    """A server's certificate below the intermediate CA."""
    return pki().intermediate.issue(Subject(name="localhost", **HOSTS))


def without_intermediate() -> Entity:
    """Such a one, which sends nothing else."""
    entity = below_intermediate()
    return replace(entity, chain=(entity.certificate,))


def out_of_order() -> Entity:
    """Such a one, with what it leads to in the wrong order."""
    entity = below_intermediate()
    return replace(
        entity, chain=(entity.certificate, pki().ca.certificate, pki().intermediate.certificate)
    )


CERTIFICATES: Final[dict[str, tuple[Callable[[], Entity], tuple[Found, ...]]]] = {
    "expired": (
        lambda: issued(not_before=YESTERDAY - timedelta(days=9), not_after=YESTERDAY),
        (("certificate.validity", FAULT, "expired"), ("certificate.trust", FAULT, "expired")),
    ),
    "of tomorrow": (
        lambda: issued(not_before=TOMORROW),
        (
            ("certificate.validity", FAULT, "not valid before"),
            ("clock.certificates", FAULT, "begin in the future"),
        ),
    ),
    "soon expired": (
        lambda: issued(not_before=YESTERDAY - timedelta(days=90), not_after=TOMORROW),
        (("certificate.validity", WARNING, "0 days left"),),
    ),
    "of another name": (
        lambda: issued(dns=("other.example",), ips=()),
        (("certificate.names", FAULT, "it names 'other.example'"),),
    ),
    "of a common name": (
        lambda: issued(name="127.0.0.1", dns=(), ips=()),
        (("certificate.names", FAULT, "common name only"),),
    ),
    "for clients": (
        lambda: issued(eku=(CLIENT_AUTH,)),
        (("certificate.usage", FAULT, "extendedKeyUsage"),),
    ),
    "of somebody else": (
        lambda: pki().rogue.issue(Subject(name="localhost", **HOSTS)),
        (
            ("certificate.trust", FAULT, "not verified"),
            ("certificate.complete", WARNING, "neither sent nor in /cacerts"),
            ("cacerts.server", WARNING, "do not verify"),
        ),
    ),
    "self-signed": (
        lambda: self_signed(Subject(name="localhost", **HOSTS)),
        (("certificate.complete", WARNING, "self-signed"),),
    ),
    "below an intermediate": (
        below_intermediate,
        (("certificate.order", OK, "in order"), ("certificate.complete", OK, "leads to a root")),
    ),
    "with the root": (
        lambda: issued().with_chain(pki().ca.certificate),
        (("certificate.order", NOTE, "the last is the root"),),
    ),
    "without the intermediate": (
        without_intermediate,
        (("certificate.trust", FAULT, "not verified"), ("certificate.complete", WARNING, "ends")),
    ),
    "out of order": (
        out_of_order,
        (("certificate.order", FAULT, "certificate 2 (CN=Test EST CA) is out of order"),),
    ),
    "with a stranger": (
        lambda: issued().with_chain(pki().rogue.certificate),
        (("certificate.order", WARNING, "does not belong"),),
    ),
    "with a weak key": (
        lambda: issued(key=weak_rsa_key()),
        (("certificate.key", FAULT, "RSA key of 1024 bits"),),
    ),
    "with SHA-1": (
        lambda: signed_with_sha1(issued(), pki().ca),
        (("certificate.signature", FAULT, "sha1"),),
    ),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_what_is_wrong_with_a_certificate_is_named(name: str, tmp_path: Path) -> None:
    make, wanted = CERTIFICATES[name]
    entity = make()
    with foreign_server(careful(), tls_of(entity, tmp_path)) as server:
        found = by_name(examined(server.url))
    for check, severity, seen in wanted:
        assert found[check][0] is severity, (check, found[check])
        assert seen in found[check][1]


def tls_of(entity: Entity, directory: Path) -> ssl.SSLContext:
    """A server that shows this chain, whatever OpenSSL thinks of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(*entity.write(directory, "odd"))
    return context


def examined(url: str, **options: object) -> Report:
    """What is found out about a server, trusting the test CA."""
    trust = TrustAnchors(explicit=(pki().ca.certificate,))
    return examine(DoctorConfig(uri=EstUri.parse(url), trust=trust), **options)  # type: ignore[arg-type]  # as examine has them


def by_name(report: Report) -> dict[str, tuple[Severity, str]]:
    """What each check found."""
    return {each.check.name: (each.severity, each.seen) for each in report.findings}


def test_a_careful_server_has_no_fault(tmp_path: Path) -> None:
    with foreign_server(careful(), server_tls(tmp_path)) as server:
        report = examined(server.url)
    faults = [each for each in report.findings if each.severity is FAULT]
    assert faults == []
    assert report.is_reachable
    assert len(report.findings) >= 30
    assert not any("the check broke" in each.seen for each in report.findings)
    assert server.connections <= report.connections <= 15
    assert len(server.asked) == report.requests <= 20


@pytest.mark.parametrize("name", QUIRKS)
def test_a_quirk_is_named(name: str, tmp_path: Path) -> None:
    quirk = QUIRKS[name]
    context = server_tls(tmp_path)
    quirk.tls(context)
    with foreign_server(quirk.answers, context) as server:
        report = examined(server.url)
    found = by_name(report)
    for check, severity, seen in quirk.found:
        assert found[check][0] is severity, (check, found[check])
        assert seen in found[check][1]
    assert not any("the check broke" in each.seen for each in report.findings)
    assert all(each.do for each in report.findings if each.severity in (NOTE, WARNING, FAULT))


def test_an_implicit_anchor_is_told_apart(tmp_path: Path) -> None:
    trust = TrustAnchors(implicit=(pki().ca.certificate,))
    with foreign_server(careful(), server_tls(tmp_path)) as server:
        config = DoctorConfig(uri=EstUri.parse(server.url), trust=trust)
        found = by_name(examine(config, only=["certificate"]))
    assert found["certificate.trust"][0] is NOTE
    assert "as any site's could be" in found["certificate.trust"][1]


def test_nothing_is_sent_that_could_be_issued_or_is_secret(tmp_path: Path) -> None:
    with foreign_server(careful(), server_tls(tmp_path)) as server:
        examined(server.url)
    assert {asked.body for _, asked in server.asked if asked.method == "POST"} == {b"", b"MAA=\n"}
    assert not any(asked.authorization for _, asked in server.asked)


def test_our_own_server_has_no_fault(server: Deployment) -> None:
    log_in = ("--user", USER, "--password-stdin")
    trust = ("--trust", str(server.ca_file))
    ended = est("doctor", server.server, *trust, *log_in, "--json", stdin=PASSWORD.encode())
    report = json.loads(ended.checked().out)
    assert report["counts"]["fault"] == report["counts"]["warning"] == 0
    found = {each["check"]: each for each in report["checks"]}
    assert found["login.password"]["severity"] == "ok"
    assert found["options.renewal-info"]["seen"].startswith("offered")
    assert found["certificate.trust"]["seen"] == "verified by a trust anchor that was given"
