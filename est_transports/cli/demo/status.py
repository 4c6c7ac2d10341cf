"""The step of `est demo` that asks the OCSP responder for the status of what was revoked."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import (
    OCSPCertStatus,
    OCSPRequestBuilder,
    OCSPResponse,
    OCSPResponseStatus,
    load_der_ocsp_response,
)

from est_transports.cli.describe import subject_text
from est_transports.cli.errors import CliError, ExitCode
from est_transports.pki.trust import load_pem_certificates

PATH: Final = "/ocsp"
_TIMEOUT_S: Final = 10.0


def ask_status(host: str, port: int, leaf: Path, anchor: Path) -> str:
    """Ask for the status of a certificate that was revoked, and verify the answer.

    Raises CliError where anything else is said, or signed by anybody else.
    """
    (certificate, *_), (issuer, *_) = map(load_pem_certificates, (leaf, anchor))
    builder = OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/ocsp-request"}
        connection.request("POST", PATH, builder.build().public_bytes(Encoding.DER), headers)
        response = load_der_ocsp_response(connection.getresponse().read())
        if response.response_status is not OCSPResponseStatus.SUCCESSFUL:
            raise ValueError(response.response_status.name)
        (delegate,) = response.certificates
        delegate.verify_directly_issued_by(issuer)
        _verify(response)
    except (OSError, http.client.HTTPException, ValueError, TypeError, InvalidSignature) as exc:
        raise CliError(f"no good answer of the OCSP responder: {exc}", ExitCode.REFUSED) from exc
    finally:
        connection.close()
    if response.certificate_status is not OCSPCertStatus.REVOKED:
        raise CliError("the OCSP responder lacks what was revoked", ExitCode.INTERNAL)
    reason = response.revocation_reason
    return (
        f"http://{host}:{port}{PATH}: revoked ({'' if reason is None else reason.value}),"
        f" signed by {subject_text(delegate)}"
    )


def _verify(response: OCSPResponse) -> None:
    key = response.certificates[0].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("another key than a responder of ours has")
    key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))
