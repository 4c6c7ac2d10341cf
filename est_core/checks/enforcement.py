"""Does a certificate request hold what the server's CSR attributes ask for?

RFC 7030 4.5 lets a client ignore what it does not know; a server may still insist. Linking is
not judged here: it belongs to the channel, and `pop` does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from est_core import _oids
from est_core._errors import Fault, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    read_directory_string,
    read_general_names,
)
from est_core.asn1.csrattrs import LINKING, CsrAttr, CsrAttrs, CsrPlan, ObjectId
from est_core.asn1.keys import PublicKeyFacts
from est_core.asn1.pkcs10 import CertRequest
from est_core.asn1.template import (
    GAPS_IN_NAMES,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectAttribute,
    SubjectTemplate,
)

_KEY_NAMES: Final = {
    _oids.RSA_ENCRYPTION: "RSA",
    _oids.EC_PUBLIC_KEY: "EC",
}


def check_csrattrs(csr: CertRequest, csrattrs: CsrAttrs, limits: Limits) -> None:
    """Accept a CSR that holds all that was asked for, or raise.

    By the template where there is one (RFC 9908 4), else by the list (RFC 8951 4): the kind of
    key, one of the signature algorithms, each extension and attribute, with the values given,
    and each part of the subject. Of subjectAltName the CSR may have more names than asked for.
    An object identifier that is known to nobody counts as held where the CSR has a part of that
    type: an attribute, an extension, a part of the subject.
    Raises RemoteProtocolError("csrattrs/missing") that names everything missing.
    """
    missing = tuple(dict.fromkeys(_missing(csr, csrattrs.plan(), limits)))
    if missing:
        text = f"the request lacks what /csrattrs asks for: {', '.join(missing)}"
        raise RemoteProtocolError(
            "csrattrs/missing", text[: limits.error_text_chars], Fault.CONTENT
        )


def _missing(csr: CertRequest, plan: CsrPlan, limits: Limits) -> Iterator[str]:
    if plan.key_type is not None and not _is_key(csr.key, plan.key_type):
        yield _key_text(plan.key_type)
    algorithms = plan.signature_algorithms
    if algorithms and csr.signature_algorithm not in algorithms:
        yield f"signature algorithm {' or '.join(algorithms)}"
    if plan.subject is not None:
        yield from _missing_subject(csr, plan.subject, limits)
    extensions: tuple[Extension | ExtensionTemplate, ...] = plan.extensions
    for extension in extensions + plan.extensions_to_fill:
        if not _has_extension(csr, extension.oid, extension.value, limits):
            yield f"extension {extension.oid}"
    for attribute in plan.attributes:
        if not _has_values(csr, attribute):
            yield f"attribute {attribute.type}"
    held = _types_held(csr)
    for oid in (*plan.attribute_oids, *map(_type, plan.unknown)):
        if oid not in held and oid not in LINKING:
            yield oid


def _is_key(key: PublicKeyFacts, wanted: KeyTypeWanted) -> bool:
    return (
        key.algorithm == wanted.algorithm
        and wanted.curve in (None, key.curve)
        and wanted.bits in (None, key.bits)
    )


def _key_text(wanted: KeyTypeWanted) -> str:
    name = _KEY_NAMES.get(wanted.algorithm, wanted.algorithm)
    detail = wanted.curve or (None if wanted.bits is None else f"{wanted.bits} bits")
    return f"key {name}" if detail is None else f"key {name} {detail}"


def _missing_subject(csr: CertRequest, wanted: SubjectTemplate, limits: Limits) -> Iterator[str]:
    """Yield the parts that are not there; two parts asked for are not met by one."""
    mine = _subject_parts(csr)
    parts = [part for rdn in wanted for part in rdn]
    for part in sorted(parts, key=lambda each: each.value is None):  # gaps take what is left
        found = next((have for have in mine if _is_part(have, part, limits)), None)
        if found is None:
            yield f"subject {part.type}"
        else:
            mine.remove(found)


def _subject_parts(csr: CertRequest) -> list[tuple[str, bytes]]:
    found = []
    for rdn in _der.children(_der.read_element(csr.subject_der)):
        for part in _der.children(rdn):
            kind, value = _der.children(part)
            found.append((_der.read_oid(kind), value.der))
    return found


def _is_part(have: tuple[str, bytes], wanted: SubjectAttribute, limits: Limits) -> bool:
    oid, value = have
    if oid != wanted.type or wanted.value is None:
        return oid == wanted.type
    return value == wanted.value or _same_text(value, wanted.value, limits)


def _same_text(one: bytes, other: bytes, limits: Limits) -> bool:
    """Compare two strings whatever their ASN.1 types: tools write UTF8String for anything."""
    try:
        return read_directory_string(one, limits) == read_directory_string(other, limits)
    except RemoteProtocolError:
        return False


def _has_extension(csr: CertRequest, oid: str, value: bytes | None, limits: Limits) -> bool:
    found = csr.extension(oid)
    if found is None or value is None:
        return found is not None
    if oid != _oids.SUBJECT_ALT_NAME:
        return found.value == value
    wanted = set(read_general_names(value, limits)) - set(GAPS_IN_NAMES)
    return wanted <= set(read_general_names(found.value, limits))


def _has_values(csr: CertRequest, wanted: Attribute) -> bool:
    held = {value for found in csr.attribute(wanted.type) for value in found.values}
    return held.issuperset(wanted.values)


def _types_held(csr: CertRequest) -> frozenset[str]:
    return frozenset(
        {
            *(attribute.type for attribute in csr.attributes),
            *(extension.oid for extension in csr.extensions),
            *((_oids.EXTENSION_REQUEST,) if csr.extensions else ()),  # or in Microsoft's attribute
            *(oid for oid, _ in _subject_parts(csr)),
            *(oid for oid in (csr.key.algorithm, csr.key.curve) if oid is not None),
            csr.signature_algorithm,
        }
    )


def _type(item: CsrAttr) -> str:
    return item.oid if isinstance(item, ObjectId) else item.type
