"""Does a certificate request hold what the server's CSR attributes ask for?

RFC 7030 4.5 lets a client ignore what it does not know; a server may still insist. Linking is
not judged here: it belongs to the channel, and `pop` does that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from est_core import _oids
from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    read_directory_string,
    read_general_names,
)
from est_core.asn1.csrattrs import (
    KNOWN_ATTRIBUTES,
    LINKING,
    CsrAttr,
    CsrAttrs,
    CsrPlan,
    ObjectId,
)
from est_core.asn1.keys import KEY_ALGORITHMS, PublicKeyFacts, signature_algorithm
from est_core.asn1.pkcs10 import CertRequest
from est_core.asn1.template import (
    GAPS_IN_NAMES,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectTemplate,
)

_KEY_NAMES: Final = {
    _oids.RSA_ENCRYPTION: "RSA",
    _oids.EC_PUBLIC_KEY: "EC",
}
_EXTENSIONS: Final = "2.5.29."
_DIGESTS: Final = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
# Arcs of signature algorithms that others may list: DSA, ECDSA, SHA-3 and ML-DSA of NIST; RSA.
_SIGNATURES: Final = ("2.16.840.1.101.3.4.3.", "1.2.840.10045.4.")
_RSA_SIGNATURES: Final = frozenset(
    f"1.2.840.113549.1.1.{number}" for number in (4, 5, 10, 11, 12, 13, 14, 15, 16)
)

_Part = tuple[str, bytes, str | None]
"""Type of a part of a subject, its encoded value, and its text where it is a string."""


def check_csrattrs(
    csr: CertRequest, csrattrs: CsrAttrs, limits: Limits, *, renewal: bool = False
) -> None:
    """Accept a CSR that holds all that was asked for, or raise.

    By the template where there is one (RFC 9908 4), else by the list (RFC 8951 4): the kind of
    key, one of the signature algorithms, each extension and attribute, with the values given, and
    the subject: its parts and no others. Of subjectAltName the CSR may have more names than asked
    for. A bare object identifier that is known to nobody counts as held where the CSR has an
    attribute, an extension or a part of the subject of that type. In a `renewal` the names are
    those of the old certificate (RFC 7030 4.2.2), whatever is asked for now.
    Raises RemoteProtocolError("csrattrs/missing"), which names what is missing as far as
    `limits.error_text_chars` go; LocalProtocolError for a subjectAltName asked for that is none.
    """
    missing = tuple(dict.fromkeys(_missing(csr, csrattrs, limits, renewal=renewal)))
    if missing:
        text = f"the request does not hold what /csrattrs asks for: {', '.join(missing)}"
        raise RemoteProtocolError(
            "csrattrs/missing", text[: limits.error_text_chars], Fault.CONTENT
        )


def _missing(
    csr: CertRequest, csrattrs: CsrAttrs, limits: Limits, *, renewal: bool
) -> Iterator[str]:
    plan = csrattrs.plan()
    yield from _missing_algorithms(csr, csrattrs, plan)
    if plan.subject is not None and not renewal:
        yield from _missing_subject(csr, plan.subject, limits)
    extensions: tuple[Extension | ExtensionTemplate, ...] = plan.extensions
    for extension in extensions + plan.extensions_to_fill:
        if renewal and extension.oid == _oids.SUBJECT_ALT_NAME:
            continue
        if not _has_extension(csr, extension, csrattrs.limits, limits):
            yield f"extension {extension.oid}"
    yield from _missing_attributes(csr, plan)
    yield from _missing_types(csr, plan, renewal=renewal)


# Keys and signatures


def _missing_algorithms(csr: CertRequest, csrattrs: CsrAttrs, plan: CsrPlan) -> Iterator[str]:
    """Yield the key and the signature algorithm that are not among those listed."""
    said = plan.from_template or any(csrattrs.attributes(oid) for oid in KEY_ALGORITHMS)
    if said and plan.key_type is not None and not _is_key(csr.key, plan.key_type):
        yield _key_text(plan.key_type)
    if plan.from_template:
        return
    listed = dict.fromkeys(csrattrs.oids())
    kinds = [oid for oid in listed if oid in KEY_ALGORITHMS]
    signatures = [oid for oid in listed if _is_signature(oid)]
    both = set(kinds) & set(signatures)  # one identifier for the key and the algorithm: Ed25519
    if csr.signature_algorithm in both:
        return
    kinds = [oid for oid in kinds if oid not in both]
    if kinds and csr.key.algorithm not in kinds and not said:
        yield " or ".join(_key_text(KeyTypeWanted(algorithm=oid)) for oid in kinds)
    others = [oid for oid in signatures if oid not in both]
    if (others or (both and not kinds)) and csr.signature_algorithm not in others:
        yield f"signature algorithm {' or '.join(signatures)}"


def _is_signature(oid: str) -> bool:
    known = signature_algorithm(oid) is not None
    return known or oid in _RSA_SIGNATURES or oid.startswith(_SIGNATURES)


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


# The subject


def _missing_subject(csr: CertRequest, wanted: SubjectTemplate, limits: Limits) -> Iterator[str]:
    """Yield the parts that are not there, and those that are and were not asked for.

    Two parts asked for are not met by one. How they are grouped in RDNs does not matter.
    """
    mine = _subject_parts(csr, limits)
    parts = [part for rdn in wanted for part in rdn]
    for part in parts:
        if part.value is None:
            continue
        text = _text(part.value, limits)
        found = next((have for have in mine if _is_part(have, part.type, part.value, text)), None)
        if found is None:
            yield f"subject {part.type}"
        else:
            mine.remove(found)
    left = Counter(oid for oid, _, _ in mine)
    gaps = Counter(part.type for part in parts if part.value is None)
    yield from (f"subject {oid}" for oid in gaps - left)
    yield from (f"no other subject {oid}" for oid in left - gaps)


def _subject_parts(csr: CertRequest, limits: Limits) -> list[_Part]:
    found = []
    for rdn in _der.children(_der.read_element(csr.subject_der)):
        for part in _der.children(rdn):
            kind, value = _der.children(part)
            found.append((_der.read_oid(kind), value.der, _text(value.der, limits)))
    return found


def _is_part(have: _Part, oid: str, value: bytes, text: str | None) -> bool:
    # Whatever the ASN.1 type of a string: tools write UTF8String for anything.
    return have[0] == oid and (have[1] == value or (text is not None and have[2] == text))


def _text(value: bytes, limits: Limits) -> str | None:
    try:
        return read_directory_string(value, limits)
    except RemoteProtocolError:
        return None


# Extensions and attributes


def _has_extension(
    csr: CertRequest, wanted: Extension | ExtensionTemplate, asked: Limits, limits: Limits
) -> bool:
    found = csr.extension(wanted.oid)
    if found is None or (wanted.critical and not found.critical):
        return False
    if wanted.value is None:
        return True
    if wanted.oid != _oids.SUBJECT_ALT_NAME:
        return found.value == wanted.value
    try:
        names = read_general_names(wanted.value, asked)
    except RemoteProtocolError as exc:
        raise LocalProtocolError(f"the CSR attributes ask for no GeneralNames: {exc}") from exc
    return _has_names(read_general_names(found.value, limits), names)


def _has_names(mine: Iterable[bytes], wanted: Iterable[bytes]) -> bool:
    """Return whether all names are there, and one more of its kind for each gap."""
    told = set(wanted) - set(GAPS_IN_NAMES)
    mine = set(mine)
    gaps = Counter(name[0] for name in wanted if name in GAPS_IN_NAMES)
    own = Counter(name[0] for name in mine - told if name not in GAPS_IN_NAMES)
    return told <= mine and gaps <= own


def _missing_attributes(csr: CertRequest, plan: CsrPlan) -> Iterator[str]:
    wanted = [*plan.attributes, *(item for item in plan.unknown if _has_meaning(item))]
    held = {
        oid: {value for found in csr.attribute(oid) for value in found.values}
        for oid in {_type(attribute) for attribute in wanted}
    }
    for attribute in wanted:
        if isinstance(attribute, Attribute) and not held[attribute.type].issuperset(
            attribute.values
        ):
            yield f"attribute {attribute.type}"


def _has_meaning(item: CsrAttr) -> bool:
    """False for what has no values, and for the example of RFC 7030 4.5.2 (RFC 9908 5.2)."""
    return isinstance(item, Attribute) and bool(item.values) and not _is_request(item)


def _is_request(item: CsrAttr) -> bool:
    return _type(item) == _oids.EXTENSION_REQUEST


def _missing_types(csr: CertRequest, plan: CsrPlan, *, renewal: bool) -> Iterator[str]:
    """Yield the object identifiers, alone or without meaning, of what is not in the request."""
    bare = [_type(item) for item in plan.unknown if not _has_meaning(item)]
    extensions = {extension.oid for extension in csr.extensions}
    attributes = {attribute.type for attribute in csr.attributes}
    if extensions:
        attributes.add(_oids.EXTENSION_REQUEST)  # or its values, in Microsoft's attribute
    attributes.update(oid for oid, _, _ in _subject_parts(csr, Limits()))
    anything = attributes | extensions | set(_algorithms(csr))
    for oid in (*plan.attribute_oids, *bare):
        if oid in LINKING or _is_signature(oid):
            continue
        if renewal and oid == _oids.SUBJECT_ALT_NAME:
            continue
        if oid.startswith(_EXTENSIONS):
            held = extensions
        else:
            held = attributes if oid in KNOWN_ATTRIBUTES else anything
        if oid not in held:
            yield oid


def _algorithms(csr: CertRequest) -> Iterator[str]:
    """Yield what names the key and the signature: algorithms, curve, digest."""
    yield csr.key.algorithm
    if csr.key.curve is not None:
        yield csr.key.curve
    yield csr.signature_algorithm
    known = signature_algorithm(csr.signature_algorithm)
    if known is not None and known.digest in _DIGESTS:
        yield _DIGESTS[known.digest]


def _type(item: CsrAttr) -> str:
    return item.oid if isinstance(item, ObjectId) else item.type
