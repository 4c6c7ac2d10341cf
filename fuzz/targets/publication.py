"""Targets: plain HTTP for what is published, and the requests of OCSP."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder, OCSPResponseStatus, load_der_ocsp_response
from cryptography.x509.oid import NameOID

from est_core import Instant
from est_core.testing import FIXED_INSTANT
from est_transports.authority.ocsp_identity import OcspIdentity
from est_transports.authority.ocsp_requests import read_ocsp_request
from est_transports.authority.ocsp_responder import OcspResponder
from est_transports.authority.stores import IssuedRecord
from est_transports.http import Close, Receive, Send
from est_transports.publication import (
    Publication,
    PublicationConversation,
    PublicationLimits,
    Published,
    Resource,
)
from est_transports.publication.conversation import Produce
from est_transports.service.ocsp_publishing import ocsp_resource
from fuzz.target import Result, Shape, Target, accepted, passed, stopped

_NOW: Final = FIXED_INSTANT
_SHA1: Final = hashes.SHA1()
_STEPS_MAX: Final = 400


class _Nothing:
    """A store without a certificate."""

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        """Return None."""
        assert 0 < len(serial) <= 40
        return None


@cache
def _responder() -> tuple[OcspResponder, x509.Certificate]:
    key = ec.derive_private_key(4711, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    issuer = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    identity = OcspIdentity(key=key, certificate=issuer)
    return OcspResponder(issuer=issuer, store=_Nothing(), identity=lambda _: identity), issuer


def _request(nonce: bytes | None = None) -> bytes:
    _, issuer = _responder()
    builder = OCSPRequestBuilder().add_certificate(issuer, issuer, _SHA1)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def ocsp_requests(data: bytes) -> Result:
    """Any octets have an OCSP response, which says what is wrong, or is about what was asked."""
    responder, _ = _responder()
    asked = read_ocsp_request(data)
    answer = responder.answer(data, _NOW.wall)
    response = load_der_ocsp_response(answer.der)
    status = response.response_status
    if asked is None:
        assert status is OCSPResponseStatus.MALFORMED_REQUEST
        return stopped(status.name)
    if status is OCSPResponseStatus.UNAUTHORIZED:
        return passed(f"{status.name} {asked.algorithm is None}")
    assert status is OCSPResponseStatus.SUCCESSFUL
    assert response.serial_number == asked.serial
    nonces = [each.value for each in response.extensions]
    assert nonces == ([] if asked.nonce is None else [asked.nonce])
    assert answer.max_age is None  # the store knows nothing
    return accepted(f"{response.certificate_status.name} {bool(nonces)}")


def _published() -> Publication:
    def fixed(_method: str, _tail: str, _body: bytes, _now: datetime) -> Published:
        return Published(body=b"0123", max_age_s=60, modified=_NOW.wall)

    responder, _ = _responder()
    return Publication(
        resources=(Resource(path="/ca/0.cer", answer=fixed), ocsp_resource(responder.answer))
    )


def publication(data: bytes) -> Result:
    """Whatever is sent, each request has one answer of HTTP, and the connection comes to an end."""
    published = _published()
    conversation = PublicationConversation(lambda: published, limits=PublicationLimits(), now=_NOW)
    left, statuses = [data, b""], list[str]()
    for number in range(_STEPS_MAX):
        now = Instant(mono=_NOW.mono + number, wall=_NOW.wall)
        match conversation.next_step(now):
            case Send(data=sent):
                statuses.append(_status(sent))
            case Produce(answer=answer):
                conversation.produced(answer(), now)
            case Receive(deadline=deadline):
                assert deadline > now.mono - number
                conversation.receive(left.pop(0))
            case Close():
                break
    else:
        raise AssertionError("it does not end")
    text = " ".join(sorted(set(statuses)))
    if "200" in statuses or "304" in statuses:
        return accepted(text)
    return passed(text) if "404" in statuses or "405" in statuses else stopped(text)


def _status(sent: bytes) -> str:
    head, blank, body = sent.partition(b"\r\n\r\n")
    assert blank
    line, *fields = head.split(b"\r\n")
    assert line.startswith(b"HTTP/1.1 ")
    status = line[9:12].decode()
    lengths = [each[16:] for each in fields if each.lower().startswith(b"content-length: ")]
    assert status in {"100", "304"} or len(lengths) == 1
    assert not body or (lengths and int(lengths[0]) == len(body))
    return status


def _messages() -> tuple[bytes, ...]:
    request = _request()
    in_path = base64.b64encode(request).replace(b"/", b"%2F").replace(b"+", b"%2B")
    post = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\n"
    size = b"Content-Length: %d\r\n\r\n" % len(request)
    chunk = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(request), request)
    return (
        b"GET /ca/0.cer HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
        b"HEAD /ca/0.cer HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /ca/0.cer HTTP/1.0\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
        b"GET http://x/ocsp/" + in_path + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        post + size + request,
        post + chunk,
        post + b"Expect: 100-continue\r\n" + size + request,
    )


TARGETS: Final = (
    Target(
        run=ocsp_requests,
        gate="is a request about one certificate",
        goal="asks this CA's responder",
        modules=(
            "est_transports.authority.ocsp_requests",
            "est_transports.authority.ocsp_responder",
        ),
        seeds=lambda: (_request(), _request(b"n"), _request(b"n" * 32), _request(b"n" * 33)),
        shape=Shape.DER,
        max_bytes=2048,
    ),
    Target(
        run=publication,
        gate="is a request of HTTP",
        goal="asks for what is there",
        modules=(
            "est_transports.publication.conversation",
            "est_transports.publication.requests",
            "est_transports.publication.resources",
            "est_transports.service.ocsp_publishing",
        ),
        seeds=_messages,
        shape=Shape.LINES,
        words=(
            *(b"GET ", b"HEAD ", b"POST ", b"/ocsp/", b"/ca/0.cer", b" HTTP/1.1\r\n", b"\r\n\r\n"),
            *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"%2F", b"?", b"http://"),
            *(b"If-None-Match: ", b"If-Modified-Since: ", b"Host: x\r\n", b"\0"),
        ),
        max_bytes=4096,
    ),
)
