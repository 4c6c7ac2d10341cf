"""Certificates and CSR attributes in words for people, and as values for JSON."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import Limits, RemoteProtocolError
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    read_directory_string,
    read_general_names,
)
from est_core.asn1.csrattrs import CsrAttrs, CsrPlan, ObjectId
from est_core.asn1.keys import signature_algorithm
from est_core.asn1.oid_names import oid_name
from est_core.asn1.requested import decoded_extensions, name_kind
from est_core.asn1.template import GAPS_IN_NAMES, ExtensionTemplate, KeyTypeWanted
from est_core.checks.enforcement import general_name_text
from est_core.checks.issued import key_uses
from est_core.checks.names import shown_name
from est_transports.cli.other_items import other_item_name, other_item_row
from est_transports.pki.names import name_text
from est_transports.pki.serials import printed_serial

_SUBJECT_ALT_NAME: Final = "2.5.29.17"
_SHOWN_BYTES: Final = 24
_SHOWN_NAMES: Final = 8


def moment(when: datetime) -> str:
    """Return a moment in UTC as RFC 3339 writes it."""
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the certificate in hexadecimal pairs."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def subject_text(certificate: x509.Certificate) -> str:
    """Return the subject as RFC 4514 text, or that it is empty."""
    return name_text(certificate.subject) or "(empty subject)"


def certificate_values(certificate: x509.Certificate) -> dict[str, object]:
    """Return what tells a certificate from others, for JSON."""
    return {
        "subject": name_text(certificate.subject),
        "issuer": name_text(certificate.issuer),
        "serial": printed_serial(certificate.serial_number),
        "not_before": moment(certificate.not_valid_before_utc),
        "not_after": moment(certificate.not_valid_after_utc),
        "sha256": fingerprint(certificate),
    }


# CSR attributes


def csrattrs_values(csrattrs: CsrAttrs) -> dict[str, object]:
    """Return everything that a server asks for, for JSON."""
    plan = csrattrs.plan()
    return {
        "from_template": plan.from_template,
        "key_type": None if plan.key_type is None else _key_values(plan.key_type),
        "signature_algorithms": [_named(oid) for oid in plan.signature_algorithms],
        "subject": None if plan.subject is None else _subject_values(plan),
        "extensions": [
            {**_named(found.oid), "critical": found.critical, "value": _base64(found.value)}
            for found in plan.extensions
        ],
        "extensions_to_fill": [
            {**_named(found.oid), "critical": found.critical} for found in plan.extensions_to_fill
        ],
        "attributes": [
            {**_named(found.type), "values": [_base64(value) for value in found.values]}
            for found in plan.attributes
        ],
        "attributes_to_fill": [_named(oid) for oid in plan.attribute_oids],
        "linking": plan.linking_attribute and oid_name(plan.linking_attribute),
        "unknown": [_named(item.oid if isinstance(item, ObjectId) else item.type)
                    for item in plan.unknown],
        "der": _base64(csrattrs.der()),
    }  # fmt: skip


def csrattrs_rows(csrattrs: CsrAttrs) -> tuple[tuple[str, str], ...]:
    """Return what a server asks for as pairs for people: what, and which."""
    plan = csrattrs.plan()
    rows = [("form", "template" if plan.from_template else "list")]
    if plan.key_type is not None:
        rows.append(("key type", plan.key_type.text))
    rows += [("signature algorithm", _algorithm_name(oid)) for oid in plan.signature_algorithms]
    if plan.subject is not None:
        rows.append(("subject", _subject_text(plan)))
    rows += [("extension", _extension_text(each)) for each in plan.extensions]
    rows += [("extension", _extension_text(each)) for each in plan.extensions_to_fill]
    rows += [("attribute", _attribute_text(found)) for found in plan.attributes]
    rows += [
        ("attribute", f"{oid_name(oid)}, value from the client") for oid in plan.attribute_oids
    ]
    if plan.linking_attribute:
        name = oid_name(plan.linking_attribute)
        rows.append(("linking", f"to the TLS connection, with {name}"))
    return (*rows, *map(other_item_row, plan.unknown))


def _named(oid: str) -> dict[str, object]:
    algorithm = signature_algorithm(oid)
    return {"oid": oid, "name": algorithm.name if algorithm else other_item_name(oid)}


def _algorithm_name(oid: str) -> str:
    algorithm = signature_algorithm(oid)
    return algorithm.name if algorithm else oid


def _key_values(wanted: KeyTypeWanted) -> dict[str, object]:
    return {
        "name": wanted.text,
        "algorithm": wanted.algorithm,
        "curve": wanted.curve,
        "bits": wanted.bits,
    }


def _subject_values(plan: CsrPlan) -> list[list[dict[str, object]]]:
    return [
        [{**_named(part.type), "value": part.value and _base64(part.value)} for part in rdn]
        for rdn in plan.subject or ()
    ]


def _subject_text(plan: CsrPlan) -> str:
    parts = [
        oid_name(part.type) + ("" if part.value is None else f"={_value_text(part.value)}")
        for rdn in plan.subject or ()
        for part in rdn
    ]
    return ", ".join(parts) or "empty"


def _attribute_text(attribute: Attribute) -> str:
    values = ", ".join(map(_value_text, attribute.values))
    return f"{oid_name(attribute.type)}={values}"


def _value_text(value: bytes) -> str:
    """Return a string as it is, and all else in hexadecimal as far as a line of it goes."""
    try:
        return shown_name(read_directory_string(value, Limits()))
    except RemoteProtocolError:
        return _hex(value)


def _hex(value: bytes) -> str:
    more = "..." if len(value) > _SHOWN_BYTES else ""
    return f"hex:{value[:_SHOWN_BYTES].hex()}{more}"


def _extension_text(wanted: Extension | ExtensionTemplate) -> str:
    """Return an extension with its value, and what of it is left to the client."""
    text = oid_name(wanted.oid) + (" (critical)" if wanted.critical else "")
    if wanted.value is None:
        return f"{text}, value from the client"
    if wanted.oid == _SUBJECT_ALT_NAME:
        return f"{text}: {_names_text(wanted.value)}"
    return f"{text}: {_judged_text(wanted.oid, wanted.value)}"


def _judged_text(oid: str, value: bytes) -> str:
    try:
        decoded = decoded_extensions([Extension(oid=oid, value=value)], Limits())
    except RemoteProtocolError:
        return "not readable"
    match [each.value for each in decoded]:
        case [x509.KeyUsage() as usage]:
            return ", ".join(key_uses(usage)) or "no use"
        case [x509.ExtendedKeyUsage() as purposes]:
            return ", ".join(map(_purpose, purposes))
        case [x509.BasicConstraints(ca=ca)]:
            return "CA:TRUE" if ca else "CA:FALSE"
        case _:
            return _hex(value)


def _purpose(oid: x509.ObjectIdentifier) -> str:
    return other_item_name(oid.dotted_string) or oid.dotted_string


def _names_text(value: bytes) -> str:
    """Return alternative names as they are asked for, the gaps with who fills them."""
    try:
        names = read_general_names(value, Limits())
    except RemoteProtocolError:
        return "not readable"
    texts = [
        f"{name_kind(name[0])} from the client"
        if name in GAPS_IN_NAMES
        else general_name_text(name)
        for name in names[:_SHOWN_NAMES]
    ]
    more = len(names) - _SHOWN_NAMES
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")
