"""What fuzzing starts from: the published vectors and the golden answers beside the tests."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from est_core.asn1.cms import write_certs_only
from fuzz import cast

_TESTS: Final = Path(__file__).resolve().parents[1] / "tests"
_RECORDED: Final = Path(__file__).with_name("recorded")


def _files(*patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(_TESTS.glob(pattern))


@cache
def vectors(*patterns: str) -> tuple[bytes, ...]:
    """Return the vectors whose paths below tests/vectors match, with base64 undone."""
    found = []
    for path in _files(*(f"vectors/{pattern}" for pattern in patterns)):
        raw = path.read_bytes()
        try:
            found.append(binascii.a2b_base64(raw) if path.suffix == ".b64" else raw)
        except binascii.Error:  # it is one that must be refused
            continue
    return tuple(found)


@cache
def bodies() -> tuple[bytes, ...]:
    """Return bodies of HTTP messages: base64 in the forms that are met, PEM and DER."""
    found = [path.read_bytes() for path in _files("vectors/*/*.b64", "golden/*.pem")]
    return (*found, *(path.read_bytes() for path in _files("vectors/rfc7030/*.der")))


@cache
def files() -> tuple[bytes, ...]:
    """Return files as tools write them: PEM with text, several blocks, a bag, base64 of PEM."""
    certificate = cast.ca().certificate.public_bytes(Encoding.PEM)
    request = cast.requests()[0]
    csr = binascii.b2a_base64(request)
    armoured = b"-----BEGIN NEW CERTIFICATE REQUEST-----\n%s-----END NEW CERTIFICATE REQUEST-----\n"
    text = b"Certificate Request:\n    Data:\n        Version: 1 (0x0)\n" + armoured % csr
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    crl = cast.revocations().public_bytes(Encoding.PEM)
    key = cast.key_of(3).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    encrypted = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAA=\n"
    return (
        *(certificate, certificate * 3, text, parameters + text, text + certificate, request * 2),
        *(b"\xef\xbb\xbf" + text, text.decode().encode("utf-16"), binascii.b2a_base64(text)),
        *(crl, key, certificate + crl, certificate + key, crl + crl),
        *(encrypted + b"-----END RSA PRIVATE KEY-----\n", *bags()),
    )


@cache
def requests() -> tuple[bytes, ...]:
    """Return certificate requests in DER."""
    patterns = ("*/*request.der", "rfc9148/*request.bin", "csrattrs-repo-history/*real-CSR.der")
    return (*cast.requests(), *vectors(*patterns))


@cache
def certificates() -> tuple[bytes, ...]:
    """Return certificates in DER."""
    found = [x509.load_pem_x509_certificate(path.read_bytes()) for path in _files("golden/*.pem")]
    ours = (cast.ca(), cast.server(), cast.client())
    return tuple(
        each.public_bytes(Encoding.DER)
        for each in (*found, *(entity.certificate for entity in ours))
    )


@cache
def bags() -> tuple[bytes, ...]:
    """Return certs-only bags in DER and BER."""
    ours = write_certs_only([cast.ca().certificate, cast.client().certificate])
    return (ours, *vectors("rfc7030/a1*.der", "rfc7030/a3*response.der", "rfc9148/a[12]*resp*"))


@cache
def csrattrs() -> tuple[bytes, ...]:
    """Return CSR attributes in DER, those that must be refused too."""
    patterns = ("rfc9908/*.der", "rfc7030/*csrattrs*.der", "rfc7894/*csrattrs*.der")
    return vectors(*patterns, "rfc9148/a4*", "derived-est/csrattrs*", "csrattrs-repo-history/*")


@cache
def answers() -> tuple[bytes, ...]:
    """Return whole answers of our server, as they cross the wire; one has the client's key."""
    body = binascii.b2a_base64(write_certs_only([cast.client().certificate]), newline=False)
    enrolled = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n"
        b"Content-Transfer-Encoding: base64\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    return (*(path.read_bytes() for path in _files("golden/*.http")), enrolled)


@cache
def messages() -> tuple[bytes, ...]:
    """Return CoAP messages."""
    return vectors("rfc7252/*.bin", "rfc9148/b1*.bin")


def recorded(name: str) -> bytes:
    """Return a flight of a handshake that was recorded, for it cannot be made without chance."""
    return (_RECORDED / name).read_bytes()
