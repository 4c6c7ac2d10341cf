"""What those items of CSR attributes ask for that a client may ignore. RFC 8951 4.

Servers list more than RFC 8951 gives a meaning to: bare extensions, purposes, hashes, curves, parts
of a subject. `est` acts on none of these, and a person who reads them wants to know what they are.
"""

from __future__ import annotations

from typing import Final

from est_core import RemoteProtocolError
from est_core.asn1.attributes import Attribute, read_oid_value
from est_core.asn1.csrattrs import CsrAttr, ObjectId
from est_core.asn1.oid_names import oid_name

_OTHER_NAMES: Final = {
    "1.2.840.113549.1.9.16.2.61": "certificationRequestInfoTemplate",
    "1.2.840.113549.1.9.16.2.62": "extensionReqTemplate",
    "1.3.6.1.4.1.311.13.2.3": "Microsoft's version of the system",
    "1.3.6.1.4.1.311.20.2": "Microsoft's name of a certificate template",
    "1.3.6.1.4.1.311.21.7": "Microsoft's certificate template",
    "1.3.6.1.4.1.311.21.20": "Microsoft's client information",
}
"""Names of what only some servers list, and nothing else here speaks of."""
_EXTENSIONS: Final = {
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "1.3.6.1.5.5.7.1.3": "qcStatements",
    "1.3.6.1.5.5.7.1.11": "subjectInfoAccess",
    "2.5.29.9": "subjectDirectoryAttributes",
    "2.5.29.16": "privateKeyUsagePeriod",
    "2.5.29.46": "freshestCRL",
    "1.3.6.1.4.1.311.25.2": "Microsoft's security identifier",
}
_EXTENSION_ARCS: Final = ("2.5.29", "1.3.6.1.5.5.7.1")
_PURPOSES: Final = {
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "1.3.6.1.5.5.7.3.17": "ipsecIKE",
    "1.3.6.1.5.5.7.3.27": "cmcCA",
    "1.3.6.1.5.5.7.3.28": "cmcRA",
    "1.3.6.1.4.1.311.20.2.2": "smart card logon",
    "2.5.29.37.0": "anyExtendedKeyUsage",
}
_HASHES: Final = {
    "1.2.840.113549.2.5": "MD5",
    "1.3.14.3.2.26": "SHA-1",
    "2.16.840.1.101.3.4.2.1": "SHA-256",
    "2.16.840.1.101.3.4.2.2": "SHA-384",
    "2.16.840.1.101.3.4.2.3": "SHA-512",
    "2.16.840.1.101.3.4.2.4": "SHA-224",
    "2.16.840.1.101.3.4.2.8": "SHA3-256",
    "2.16.840.1.101.3.4.2.9": "SHA3-384",
    "2.16.840.1.101.3.4.2.10": "SHA3-512",
}
_CURVES: Final = {
    "1.2.840.10045.3.1.1": "P-192",
    "1.2.840.10045.3.1.7": "P-256",
    "1.3.132.0.10": "secp256k1",
    "1.3.132.0.33": "P-224",
    "1.3.132.0.34": "P-384",
    "1.3.132.0.35": "P-521",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
    "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}
_SIGNATURE_ARCS: Final = ("1.2.840.113549.1.1", "1.2.840.10045.4", "1.2.840.10045.4.3")
_SUBJECT_ARCS: Final = ("2.5.4", "0.9.2342.19200300.100.1")
_EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
_LEFT: Final = "value from the client"


def other_item_row(item: CsrAttr) -> tuple[str, str]:
    """Return what an item asks for as a pair for people: what, and which."""
    if isinstance(item, ObjectId):
        return _row_of_oid(item.oid)
    kind, name = _kind_and_name(item.type)
    return kind, f"{name}, {_values_text(item)}"


def other_item_name(oid: str) -> str | None:
    """Return the name of what an object identifier stands for, None where it is not known."""
    kind, name = _kind_and_name(oid)
    return None if kind == _UNKNOWN else name


_UNKNOWN: Final = "not understood"


def _row_of_oid(oid: str) -> tuple[str, str]:
    kind, name = _kind_and_name(oid)
    match kind:
        case "extension" | "attribute" | "subject":
            return kind, f"{name}, {_LEFT}"
        case "purpose":
            return kind, f"{name}, for the extendedKeyUsage"
        case "hash":
            return kind, f"{name}, for the signature of the request"
        case "key type":
            return kind, f"EC {name}"
        case "signature algorithm":
            return kind, f"{name}, which is not made here"
        case _:
            return kind, name


def _kind_and_name(oid: str) -> tuple[str, str]:
    """Return what kind of thing an object identifier names, and its name."""
    for kind, names in (
        ("purpose", _PURPOSES),
        ("extension", _EXTENSIONS),
        ("hash", _HASHES),
        ("key type", _CURVES),
        ("attribute", _OTHER_NAMES),
    ):
        if oid in names:
            return kind, names[oid]
    name, arc = oid_name(oid), oid.rpartition(".")[0]
    if name == oid:
        return _UNKNOWN, oid
    if arc in _EXTENSION_ARCS:
        return "extension", name
    if arc in _SUBJECT_ARCS or oid == _EMAIL_ADDRESS:
        return "subject", name
    if arc in _SIGNATURE_ARCS:
        return "signature algorithm", name
    return "attribute", name


def _values_text(attribute: Attribute) -> str:
    """Return what the values of an attribute name, or how many there are."""
    try:
        named = [oid_name(read_oid_value(value)) for value in attribute.values]
    except RemoteProtocolError:
        named = []
    if named:
        return f"for {', '.join(named)}"
    return f"{len(attribute.values)} value(s) given"
