"""Why OpenSSL did not verify a certificate path, in words that name the certificate meant.

Its error is about one certificate of the path, and often what stands in the way is another: an
anchor of the issuer's name with another key, a certificate that OpenSSL reads by half. So the text
names the certificate that is meant, and looks once more where "no issuer" has several causes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.x509.oid import SignatureAlgorithmOID
from OpenSSL import SSL

from est_transports.pki.certificate_checks import UNREADABLE, unreadable_part
from est_transports.pki.certificates import shown, shown_name
from est_transports.pki.signers import is_for_pss

_Codes: Final = SSL.X509VerificationCodes
NO_ANCHOR: Final = "leads to no trust anchor"
_NO_ISSUER: Final = frozenset(
    {
        _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        _Codes.ERR_CERT_UNTRUSTED,
        1,  # X509_V_ERR_UNSPECIFIED; OpenSSL has it for certificates that it reads by half
    }
)
_SELF_SIGNED: Final = (
    _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN,
)
_PROBLEMS: Final = {
    **dict.fromkeys(_NO_ISSUER, NO_ANCHOR),
    1: "cannot be verified",
    _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed and not a trust anchor",
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: "leads to a self-signed root that is no trust anchor",
    _Codes.ERR_CERT_SIGNATURE_FAILURE: "signature does not verify",
    _Codes.ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE: "signature does not verify",
    _Codes.ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: "issuer's key is of a kind that is not known",
    _Codes.ERR_CERT_NOT_YET_VALID: "not yet valid",
    _Codes.ERR_CERT_HAS_EXPIRED: "expired",
    _Codes.ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD: "the beginning of its validity cannot be read",
    _Codes.ERR_ERROR_IN_CERT_NOT_AFTER_FIELD: "the end of its validity cannot be read",
    _Codes.ERR_INVALID_CA: "issued by a certificate that is no CA",
    _Codes.ERR_INVALID_NON_CA: "marked as a CA",
    _Codes.ERR_KEYUSAGE_NO_CERTSIGN: "issued by a certificate without keyCertSign",
    _Codes.ERR_PATH_LENGTH_EXCEEDED: "path length exceeded",
    _Codes.ERR_INVALID_PURPOSE: "issuer not allowed to certify for this purpose",
    _Codes.ERR_CERT_CHAIN_TOO_LONG: "chain too long",
    _Codes.ERR_PERMITTED_VIOLATION: "name outside the issuer's permitted names",
    _Codes.ERR_EXCLUDED_VIOLATION: "name among the issuer's excluded names",
    _Codes.ERR_SUBTREE_MINMAX: "name constraints of a form that is not understood",
    _Codes.ERR_UNSUPPORTED_CONSTRAINT_TYPE: "name constraints of a form that is not understood",
    _Codes.ERR_UNSUPPORTED_CONSTRAINT_SYNTAX: "name constraints of a form that is not understood",
    _Codes.ERR_UNSUPPORTED_NAME_SYNTAX: "a name that cannot be compared with name constraints",
    _Codes.ERR_UNHANDLED_CRITICAL_EXTENSION: "critical extension that is not understood",
    _Codes.ERR_INVALID_EXTENSION: "an extension that contradicts itself or others",
    _Codes.ERR_INVALID_POLICY_EXTENSION: "a policy extension that contradicts itself",
    _Codes.ERR_PROXY_CERTIFICATES_NOT_ALLOWED: "issued by another certificate that is no CA's",
    _Codes.ERR_UNNESTED_RESOURCE: "addresses that its issuer has not",
    # pyOpenSSL does not name these, of X509_V_ERR_.
    24: "issuer without a key",  # NO_ISSUER_PUBLIC_KEY
    66: "key too weak",  # EE_KEY_TOO_SMALL
    67: "issuer's key too weak",  # CA_KEY_TOO_SMALL
    68: "signed with a hash too weak",  # CA_MD_TOO_WEAK
    76: "signed with an algorithm that is not known",  # UNSUPPORTED_SIGNATURE_ALGORITHM
    77: "signed with an algorithm that is none of its issuer's key",  # SIGNATURE_ALGORITHM_MISMATCH
    78: "signature algorithms inside and outside differ",  # SIGNATURE_ALGORITHM_INCONSISTENCY
}
"""OpenSSL's verification results in a few words each."""
_OF_ISSUER: Final = {
    _Codes.ERR_INVALID_CA: "is no CA",
    _Codes.ERR_KEYUSAGE_NO_CERTSIGN: "has no keyCertSign",
    _Codes.ERR_INVALID_PURPOSE: "is not allowed to certify for this purpose",
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: "is a self-signed root that is no trust anchor",
    67: "its key is too weak",
}
"""The same about the issuer, where the certificate that OpenSSL names is that one."""


def problem_text(error: int) -> str:
    """Return what an error of OpenSSL's verification means, in a few words."""
    return _PROBLEMS.get(error, f"verification error {error}")


def problem_of(
    certificate: x509.Certificate,
    error: int,
    *,
    depth: int,
    anchors: Iterable[x509.Certificate],
) -> str:
    """Return what an error of OpenSSL's verification means for a certificate of the path.

    `depth` is 0 for the peer's own, about which the text goes without a name.
    """
    text = _OF_ISSUER.get(error, "") if depth else ""
    if error in _NO_ISSUER:
        text = unreadable_part(certificate) or _why_no_issuer(certificate, anchors)
    elif error in _SELF_SIGNED and any(_is_subject(each, certificate.subject) for each in anchors):
        text = f"is self-signed, and the trust anchor of that name has another key: {NO_ANCHOR}"
    return at_depth(text or problem_text(error), certificate, depth)


def at_depth(text: str, certificate: x509.Certificate, depth: int) -> str:
    """Return a text about a certificate of the path, with its name if it is not the peer's own."""
    return (
        text
        if depth == 0
        else f"CA certificate {depth + 1} of the path, {shown(certificate)}: {text}"
    )


def _why_no_issuer(certificate: x509.Certificate, anchors: Iterable[x509.Certificate]) -> str:
    """Return what is known of a certificate that no anchor has signed."""
    named = [each for each in anchors if _is_subject(each, certificate.issuer)]
    if not named:
        return f"{NO_ANCHOR} (its issuer: {shown_name(certificate.issuer)})"
    if all(map(is_for_pss, named)) and not _is_signed_with_pss(certificate):
        return (
            "signed with an algorithm that is none of its issuer's key, which is for RSASSA-PSS "
            f"only: {NO_ANCHOR}"
        )
    return f"not signed by the key of the trust anchor that its issuer is called after: {NO_ANCHOR}"


def _is_subject(certificate: x509.Certificate, name: x509.Name) -> bool:
    try:
        return certificate.subject == name
    except UNREADABLE:
        return False


def _is_signed_with_pss(certificate: x509.Certificate) -> bool:
    return certificate.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS
