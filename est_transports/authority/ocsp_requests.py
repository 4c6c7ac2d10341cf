"""OCSP requests, read as far as a responder has to: one certificate's id, and a nonce."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from est_core.arguments import checked
from est_core.values import value_class

MAX_REQUEST_BYTES: Final = 64 * 1024
MAX_NONCE_BYTES: Final = 32
_MAX_SERIAL_BITS: Final = 20 * 8  # RFC 5280 4.1.2.2


@value_class
class OcspQuestion:
    """What is asked: the status of one certificate, by the hashes of its issuer, and its serial.

    `nonce` is the extension to be repeated, None where there is none.
    """

    algorithm: hashes.HashAlgorithm | None
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    nonce: x509.OCSPNonce | None


@checked
def read_ocsp_request(der: bytes) -> OcspQuestion | None:
    """Return what a request asks, None for one that is malformed.

    That is one that is no OCSPRequest of version 1, is longer than MAX_REQUEST_BYTES, asks about
    another number of certificates than one (RFC 5019 2.1.1), about a serial number that no
    certificate can have, with a nonce of another length than 1 to 32 octets (RFC 8954 2.1), or
    with an extension that is critical and not known. A signature of the request is not looked at.
    `algorithm` is None for a hash that is not known.
    """
    if len(der) > MAX_REQUEST_BYTES:
        return None
    try:
        request = ocsp.load_der_ocsp_request(der)
        serial, extensions = request.serial_number, request.extensions
        name_hash, key_hash = request.issuer_name_hash, request.issuer_key_hash
    except (ValueError, NotImplementedError, x509.DuplicateExtension):
        return None
    try:
        algorithm = request.hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    nonce: x509.OCSPNonce | None = None
    for each in extensions:
        if isinstance(each.value, x509.OCSPNonce):
            nonce = each.value
        elif each.critical:
            return None
    is_serial = serial > 0 and serial.bit_length() <= _MAX_SERIAL_BITS
    if not is_serial or (nonce is not None and not 0 < len(nonce.nonce) <= MAX_NONCE_BYTES):
        return None
    return OcspQuestion(
        algorithm=algorithm,
        issuer_name_hash=name_hash,
        issuer_key_hash=key_hash,
        serial=serial,
        nonce=nonce,
    )
