"""Raw HTTP answers of foreign servers, and the pieces that they are made of."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_core.asn1.cms import write_certs_only
from tests.core.asn1.build import oid, seq, tlv
from tests.interop.foreign_server import Answers, Asked, Said, Then
from tests.pki import HOUR_AGO, IN_TEN_YEARS, pki

CERTS = "application/pkcs7-mime"
ENROLLED = "application/pkcs7-mime; smime-type=certs-only"
ATTRS = "application/csrattrs"
BASIC = 'WWW-Authenticate: Basic realm="est"'
PHRASES = {200: "OK", 202: "Accepted", 204: "No Content", 401: "Unauthorized"}

Framing = Callable[[bytes], tuple[list[str], bytes]]


def counted(body: bytes) -> tuple[list[str], bytes]:
    """Content-Length."""
    return [f"Content-Length: {len(body)}"], body


def chunked(body: bytes) -> tuple[list[str], bytes]:
    """Chunks of 100 bytes, the first with an extension, and a trailer field."""
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    lines = [
        b"%X%s\r\n%s\r\n" % (len(piece), b"" if index else b" ;ext=1", piece)
        for index, piece in enumerate(pieces)
    ]
    return ["Transfer-Encoding: chunked"], b"".join(lines) + b"0\r\nX-Sum: 1\r\n\r\n"


def until_close(body: bytes) -> tuple[list[str], bytes]:
    """Nothing: the connection's end is the body's."""
    return [], body


def answer(
    status: int,
    body: bytes = b"",
    *fields: str,
    framing: Framing = counted,
    then: Then = Then.GO_ON,
    version: str = "HTTP/1.1",
) -> Said:
    """Return an answer; a 204 has no length."""
    length, sent = framing(body) if status != 204 else ([], b"")
    line = f"{version} {status} {PHRASES.get(status, 'Some Phrase')}"
    head = "\r\n".join([line, *length, *fields, "", ""])
    return Said(raw=head.encode("latin-1") + sent, then=then)


def in_one_line(der: bytes) -> bytes:
    return base64.b64encode(der)


def one_line_lf(der: bytes) -> bytes:
    return base64.b64encode(der) + b"\n"


def lf_64(der: bytes) -> bytes:
    text = base64.b64encode(der)
    return b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64))


def crlf_76(der: bytes) -> bytes:
    return base64.encodebytes(der).replace(b"\n", b"\r\n")


def with_nul(der: bytes) -> bytes:
    return lf_64(der) + b"\0"


def pem_pkcs7(der: bytes) -> bytes:
    return b"-----BEGIN PKCS7-----\n" + lf_64(der) + b"-----END PKCS7-----\n"


def pem_cms_crlf(der: bytes) -> bytes:
    body = lf_64(der).replace(b"\n", b"\r\n")
    return b"-----BEGIN CMS-----\r\n" + body + b"-----END CMS-----\r\n"


def as_der(der: bytes) -> bytes:
    return der


def gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(body) + packer.flush()


# What is inside


def issued(csr: bytes) -> x509.Certificate:
    """Return the certificate that the test CA makes of a request."""
    request = x509.load_der_x509_csr(csr)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(pki().ca.name)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO + timedelta(minutes=1))
        .not_valid_after(IN_TEN_YEARS)
    )
    return builder.sign(pki().ca.key, hashes.SHA256())


def bag(
    certificates: Iterable[x509.Certificate],
    *,
    content: bytes = b"",
    crls: bytes = b"",
) -> bytes:
    """Return a bag in the given order, DER or not; `content` and `crls` as they are to stand."""
    ders = [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    inner = seq(oid("1.2.840.113549.1.7.1"), content)
    signed = seq(tlv(2, b"\1"), tlv(0x31), inner, tlv(0xA0, *ders), crls, tlv(0x31))
    return seq(oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed))


def ca_bag() -> bytes:
    return write_certs_only([pki().ca.certificate])


# Whole servers


def well_behaved(
    *,
    body: Callable[[bytes], bytes] = one_line_lf,
    framing: Framing = counted,
    fields: tuple[str, ...] = ("Content-Transfer-Encoding: base64",),
    types: Mapping[str, str] | None = None,
    enrolled: Callable[[bytes], bytes] = lambda csr: write_certs_only([issued(csr)]),
    status: int = 200,
    then: Then = Then.GO_ON,
    version: str = "HTTP/1.1",
) -> Answers:
    """Return a server that gives what it is asked for, in a manner of its own."""
    types = types or {}

    def answers(asked: Asked) -> Said:
        if asked.operation == "csrattrs":
            return answer(204, b"", then=Then.GO_ON, version="HTTP/1.1")
        is_enrollment = asked.method == "POST"
        der = enrolled(asked.csr) if is_enrollment else ca_bag()
        media = types.get(asked.operation, ENROLLED if is_enrollment else CERTS)
        lines = [f"Content-Type: {media}"] if media else []
        return answer(
            status if is_enrollment else 200,
            body(der),
            *lines,
            *fields,
            framing=framing,
            then=then,
            version=version,
        )

    return answers


def instead(operation: str, *said: Said, otherwise: Answers | None = None) -> Answers:
    """Return a server that first answers an operation so, one after the other, and then well."""
    left = list(said)
    well = otherwise or well_behaved()

    def answers(asked: Asked) -> Said:
        if asked.operation == operation and left:
            return left.pop(0)
        return well(asked)

    return answers


def guarded(
    refusal: Said, *, operation: str = "simpleenroll", scheme: str = "Basic ", wrong: bool = False
) -> Answers:
    """Return a server that refuses an operation so, to who does not log in by that scheme."""
    well = well_behaved()

    def answers(asked: Asked) -> Said:
        let_in = asked.authorization.startswith(scheme) and not wrong
        return well(asked) if let_in or asked.operation != operation else refusal

    return answers
