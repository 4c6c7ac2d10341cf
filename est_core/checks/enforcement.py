"""Does a certificate request hold what the server's CSR attributes ask for?

RFC 7030 4.5 lets a client ignore what it does not know; a server may still insist. Linking is
not judged here: it belongs to the channel, and `pop` does that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import Enum, unique
from ipaddress import ip_address
from typing import Final

from est_core import _oids
from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
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
from est_core.asn1.oid_names import oid_name
from est_core.asn1.pkcs10 import CertRequest
from est_core.asn1.requested import name_kind
from est_core.asn1.template import (
    GAPS_IN_NAMES,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectTemplate,
)
from est_core.checks.names import shown_name
from est_core.values import value_class

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

_TEXTS: Final = ("rfc822Name", "dNSName", "uniformResourceIdentifier")
"""Kinds of alternative names that are text."""

_Part = tuple[str, bytes, str | None]
"""Type of a part of a subject, its encoded value, and its text where it is a string."""


@unique
class Demand(Enum):
    """What CSR attributes can ask for. OTHER is an object identifier whose kind is not known."""

    KEY = "key"
    SIGNATURE = "signature algorithm"
    SUBJECT = "subject"
    EXTENSION = "extension"
    ATTRIBUTE = "attribute"
    OTHER = "item"


@unique
class Flaw(Enum):
    """How a request does not hold what is asked for.

    UNWANTED: a part of the subject that a template leaves no place for. UNREADABLE: what is asked
    for is a subjectAltName that is none.
    """

    MISSING = "missing"
    WRONG = "wrong"
    UNWANTED = "unwanted"
    UNREADABLE = "unreadable"


@value_class
class Unmet:
    """One thing that CSR attributes ask for and a request does not hold, or holds otherwise.

    `oid` is that of the algorithm, the part of the subject, the extension or the attribute. `text`
    says what is asked for and, where that is WRONG, what is there instead; it fits after "the
    request does not hold".
    """

    demand: Demand
    flaw: Flaw
    oid: str
    text: str


@checked
def unmet_demands(
    csr: CertRequest, csrattrs: CsrAttrs, limits: Limits, *, renewal: bool = False
) -> tuple[Unmet, ...]:
    """Return all that CSR attributes ask for and a CSR does not hold, in their order.

    By the template where there is one (RFC 9908 4), else by the list (RFC 8951 4): the kind of
    key, one of the signature algorithms, each extension and attribute, with the values given, and
    the subject: its parts and no others. Of subjectAltName the CSR may have more names than asked
    for. A bare object identifier that is known to nobody counts as held where the CSR has an
    attribute, an extension or a part of the subject of that type. In a `renewal` the names are
    those of the old certificate (RFC 7030 4.2.2), whatever is asked for now. Linking is no part
    of it.
    """
    return tuple(dict.fromkeys(_unmet(csr, csrattrs, limits, renewal=renewal)))


def check_csrattrs(
    csr: CertRequest, csrattrs: CsrAttrs, limits: Limits, *, renewal: bool = False
) -> None:
    """Accept a CSR that holds all that was asked for, see `unmet_demands`, or raise.

    Raises RemoteProtocolError("csrattrs/missing"), which names each thing that is missing or wrong
    as far as `limits.error_text_chars` go, and how many are left out; LocalProtocolError for a
    subjectAltName asked for that is none.
    """
    unmet = unmet_demands(csr, csrattrs, limits, renewal=renewal)
    if any(each.flaw is Flaw.UNREADABLE for each in unmet):
        raise LocalProtocolError("the CSR attributes ask for no GeneralNames")
    if unmet:
        start = "the request does not hold what /csrattrs asks for: "
        text = start + _listed(unmet, limits.error_text_chars - len(start))
        raise RemoteProtocolError(
            "csrattrs/missing", text[: limits.error_text_chars], Fault.CONTENT
        )


def _listed(unmet: tuple[Unmet, ...], chars: int) -> str:
    """Return as many of the texts as fit, and how many more there are."""
    texts = [each.text for each in unmet]
    for shown in range(len(texts), 0, -1):
        left = len(texts) - shown
        found = "; ".join(texts[:shown]) + (f"; and {left} more" if left else "")
        if len(found) <= chars:
            return found
    return f"{len(texts)} things"


def _unmet(
    csr: CertRequest, csrattrs: CsrAttrs, limits: Limits, *, renewal: bool
) -> Iterator[Unmet]:
    plan = csrattrs.plan()
    yield from _unmet_algorithms(csr, csrattrs, plan)
    if plan.subject is not None and not renewal:
        yield from _unmet_subject(csr, plan.subject, limits)
    extensions: tuple[Extension | ExtensionTemplate, ...] = plan.extensions
    for extension in extensions + plan.extensions_to_fill:
        if renewal and extension.oid == _oids.SUBJECT_ALT_NAME:
            continue
        yield from _unmet_extension(csr, extension, csrattrs.limits, limits)
    yield from _unmet_attributes(csr, plan)
    yield from _unmet_types(csr, plan, renewal=renewal)


# Keys and signatures


def _unmet_algorithms(csr: CertRequest, csrattrs: CsrAttrs, plan: CsrPlan) -> Iterator[Unmet]:
    """Yield the key and the signature algorithm that are not among those listed."""
    said = plan.from_template or any(csrattrs.attributes(oid) for oid in KEY_ALGORITHMS)
    if said and plan.key_type is not None and not _is_key(csr.key, plan.key_type):
        yield _wrong_key(csr.key, plan.key_type)
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
        yield _wrong_key(csr.key, *(KeyTypeWanted(algorithm=oid) for oid in kinds))
    others = [oid for oid in signatures if oid not in both]
    if (others or (both and not kinds)) and csr.signature_algorithm not in others:
        wanted = " or ".join(map(oid_name, signatures))
        yield Unmet(
            demand=Demand.SIGNATURE,
            flaw=Flaw.WRONG,
            oid=signatures[0],
            text=f"signature algorithm {wanted} (it is {oid_name(csr.signature_algorithm)})",
        )


def _wrong_key(key: PublicKeyFacts, *wanted: KeyTypeWanted) -> Unmet:
    text = f"key {' or '.join(each.text for each in wanted)} (it is {key.name})"
    return Unmet(demand=Demand.KEY, flaw=Flaw.WRONG, oid=wanted[0].algorithm, text=text)


def _is_signature(oid: str) -> bool:
    known = signature_algorithm(oid) is not None
    return known or oid in _RSA_SIGNATURES or oid.startswith(_SIGNATURES)


def _is_key(key: PublicKeyFacts, wanted: KeyTypeWanted) -> bool:
    return (
        key.algorithm == wanted.algorithm
        and wanted.curve in (None, key.curve)
        and wanted.bits in (None, key.bits)
    )


# The subject


def _unmet_subject(csr: CertRequest, wanted: SubjectTemplate, limits: Limits) -> Iterator[Unmet]:
    """Yield the parts that are not there, and those that are and were not asked for.

    Two parts asked for are not met by one. How they are grouped in RDNs does not matter.
    """
    mine = _subject_parts(csr, limits)
    parts = [part for rdn in wanted for part in rdn]
    lacking = []
    for part in parts:
        if part.value is None:
            continue
        text = _text(part.value, limits)
        found = next((have for have in mine if _is_part(have, part.type, part.value, text)), None)
        if found is None:
            lacking.append((part.type, text))
        else:
            mine.remove(found)
    left = Counter(oid for oid, _, _ in mine)
    gaps = Counter(part.type for part in parts if part.value is None)
    unwanted = left - gaps
    for oid, text in lacking:
        wrong = bool(unwanted[oid])  # a part of that type takes the place of the one asked for
        unwanted[oid] -= wrong
        yield _unmet_part(oid, Flaw.WRONG if wrong else Flaw.MISSING, text)
    yield from (_unmet_part(oid, Flaw.MISSING) for oid in gaps - left)
    yield from (_unmet_part(oid, Flaw.UNWANTED) for oid in +unwanted)


def _unmet_part(oid: str, flaw: Flaw, told: str | None = None) -> Unmet:
    text = f"subject {oid_name(oid)}"
    if told is not None:
        text += f" {shown_name(told)!r}"
    if flaw is Flaw.WRONG:
        text += " (it is another)"
    if flaw is Flaw.UNWANTED:
        text = f"no other subject {oid_name(oid)}"
    return Unmet(demand=Demand.SUBJECT, flaw=flaw, oid=oid, text=text)


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


def _unmet_extension(
    csr: CertRequest, wanted: Extension | ExtensionTemplate, asked: Limits, limits: Limits
) -> Iterator[Unmet]:
    name, flaw = f"extension {oid_name(wanted.oid)}", Flaw.WRONG
    found = csr.extension(wanted.oid)
    if found is None:
        flaw, text = Flaw.MISSING, name
    elif wanted.critical and not found.critical:
        text = f"{name} as critical"
    elif wanted.value is None or found.value == wanted.value:
        return
    elif wanted.oid != _oids.SUBJECT_ALT_NAME:
        text = f"{name} with the value told (it is another)"
    else:
        try:
            names = read_general_names(wanted.value, asked)
        except RemoteProtocolError:
            flaw, text = Flaw.UNREADABLE, f"{name}, which is asked for with no GeneralNames"
        else:
            lacking = _lacking_names(read_general_names(found.value, limits), names)
            if not lacking:
                return
            text = f"{name} with {' and '.join(lacking)}"
    yield Unmet(demand=Demand.EXTENSION, flaw=flaw, oid=wanted.oid, text=text)


def _lacking_names(mine: tuple[bytes, ...], wanted: tuple[bytes, ...]) -> list[str]:
    """Return the names told that are not there, and the kinds of those to fill that have no name.

    Each gap takes one more name of its kind.
    """
    told = dict.fromkeys(name for name in wanted if name not in GAPS_IN_NAMES)
    gaps = Counter(name[0] for name in wanted if name in GAPS_IN_NAMES)
    own = Counter(name[0] for name in set(mine) - set(told) if name not in GAPS_IN_NAMES)
    lacking = [general_name_text(name) for name in told if name not in mine]
    return lacking + [f"one more {name_kind(tag)}" for tag in gaps - own]


def general_name_text(name: bytes) -> str:
    """Return an encoded alternative name in words: its kind and, where it has one, its text."""
    kind, content = name_kind(name[0]), _der.read_element(name).content
    if kind == "iPAddress" and len(content) in (4, 16):
        return f"{kind} {ip_address(content)}"
    if kind not in _TEXTS or not content.isascii():
        return kind
    return f"{kind} {shown_name(content.decode('ascii'))}"


def _unmet_attributes(csr: CertRequest, plan: CsrPlan) -> Iterator[Unmet]:
    wanted = [*plan.attributes, *(item for item in plan.unknown if _has_meaning(item))]
    held = {
        oid: {value for found in csr.attribute(oid) for value in found.values}
        for oid in {_type(attribute) for attribute in wanted}
    }
    for attribute in wanted:
        if isinstance(attribute, Attribute) and not held[attribute.type].issuperset(
            attribute.values
        ):
            flaw, text = Flaw.MISSING, f"attribute {oid_name(attribute.type)}"
            if held[attribute.type]:
                flaw, text = Flaw.WRONG, f"{text} with the value told (it is another)"
            yield Unmet(demand=Demand.ATTRIBUTE, flaw=flaw, oid=attribute.type, text=text)


def _has_meaning(item: CsrAttr) -> bool:
    """False for what has no values, and for the example of RFC 7030 4.5.2 (RFC 9908 5.2)."""
    return isinstance(item, Attribute) and bool(item.values) and not _is_request(item)


def _is_request(item: CsrAttr) -> bool:
    return _type(item) == _oids.EXTENSION_REQUEST


def _unmet_types(csr: CertRequest, plan: CsrPlan, *, renewal: bool) -> Iterator[Unmet]:
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
        demand, held = Demand.OTHER, anything
        if oid.startswith(_EXTENSIONS):
            demand, held = Demand.EXTENSION, extensions
        elif oid in KNOWN_ATTRIBUTES:
            demand, held = Demand.ATTRIBUTE, attributes
        if oid not in held:
            text = f"{demand.value} {oid_name(oid)}"
            yield Unmet(demand=demand, flaw=Flaw.MISSING, oid=oid, text=text)


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
