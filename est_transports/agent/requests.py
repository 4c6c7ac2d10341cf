"""The request of a candidate: made once, kept with its key, and sent again as it was."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from est_core import Limits, LocalProtocolError, RemoteProtocolError
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm, public_key_facts
from est_core.asn1.pkcs10 import CertRequestInfo, assemble, parse_cert_request
from est_core.checks.issued import told_differences
from est_core.client.enrollment import (
    renewal_request_info,
    request_info,
    wanted_algorithm,
)
from est_transports.agent.errors import AgentError
from est_transports.agent.keys import UNMET
from est_transports.agent.settings import CertificateSettings
from est_transports.pki.pkcs11_uri import TokenError
from est_transports.pki.signers import Signer

ASKS_FOR_CA: Final = "csrattrs/asks-for-ca"
_LINKING: Final = ("1.2.840.113549.1.9.7", "1.2.840.113549.1.9.16.2.58")


def request_for(
    settings: CertificateSettings,
    key: Signer,
    csrattrs: CsrAttrs | None,
    *,
    current: x509.Certificate | None,
) -> bytes:
    """Return a signed request in DER: for the names of `current`, else for those of the settings.

    What the server's CSR attributes ask for is in it. Raises AgentError where they cannot be met,
    and where they would make it the request of a CA.
    """
    try:
        ours = _info(settings, key, None, current)
        told = _info(settings, key, csrattrs, current)
        dangerous = [each.text for each in told_differences(ours, told) if each.dangerous]
        if dangerous:
            text = f"by the server's CSR attributes, the request {'; it '.join(dangerous)}"
            raise AgentError(ASKS_FOR_CA, text)
        algorithm = algorithm_for(key, csrattrs)
        signature = key.sign(told.der(), algorithm)
        return assemble(told.der(), algorithm, signature, Limits())
    except TokenError as exc:
        raise AgentError(exc.code, exc.message) from exc
    except (LocalProtocolError, RemoteProtocolError) as exc:
        text = f"the server's CSR attributes cannot be met: {exc.message}"
        raise AgentError(UNMET, text) from exc


def other_names(settings: CertificateSettings, current: x509.Certificate) -> str:
    """Return what names the settings have that a certificate lacks, "" if none.

    They count for the first request alone: who changes them later has to be told.
    """
    found = list(current.subject)
    lacks = [each.rfc4514_string() for each in settings.subject if each not in found]
    try:
        names = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    lacks += [str(each.value) for each in settings.names if each not in list(names)]
    if not lacks:
        return ""
    return (
        f"est-agent.toml names {', '.join(lacks)}, which the certificate in use lacks; a renewal"
        " keeps the names of the certificate: write another table for others"
    )


def info_of(request: bytes) -> CertRequestInfo:
    """Return what a kept request says, to be linked to a connection and signed again.

    Raises LocalProtocolError for what is none.
    """
    try:
        info = CertRequestInfo.of(parse_cert_request(request, Limits()))
    except RemoteProtocolError as exc:
        raise LocalProtocolError(f"the request that was kept: {exc.message}") from exc
    for oid in _LINKING:  # of another connection, if of any
        info = info.without_attribute(oid)
    return info


def algorithm_for(key: Signer, csrattrs: CsrAttrs | None) -> SignatureAlgorithm:
    """Return how a request for this key is signed."""
    return wanted_algorithm(csrattrs, public_key_facts(key.public_key_spki, Limits()))


def _info(
    settings: CertificateSettings,
    key: Signer,
    csrattrs: CsrAttrs | None,
    current: x509.Certificate | None,
) -> CertRequestInfo:
    if current is not None:
        return renewal_request_info(current=current, key=key.public_key_spki, csrattrs=csrattrs)
    return request_info(
        subject=settings.subject,
        key=key.public_key_spki,
        names=settings.names,
        csrattrs=csrattrs,
    )
