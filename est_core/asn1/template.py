"""CertificationRequestInfoTemplate: a certificate request with gaps that the client fills."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, unique
from typing import Final

from cryptography import x509

from est_core import _oids
from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    extension_request,
    read_attribute,
    read_extensions,
)
from est_core.asn1.oid_names import oid_name
from est_core.values import value_class

_CODE: Final = "csrattrs/template"
_KEY: Final = 0xA0
_ATTRIBUTES: Final = 0xA1
_VERSION_1: Final = _der.integer(0)
_RSA_BITS: Final = range(512, 16384 + 1)
_EXTENSION_ATTRIBUTES: Final = (_oids.EXTENSION_REQUEST, _oids.EXTENSION_REQ_TEMPLATE)
_KEY_KINDS: Final = {_oids.RSA_ENCRYPTION: "RSA", _oids.EC_PUBLIC_KEY: "EC"}


@unique
class NameGap(Enum):
    """Alternative names that a template leaves to the client, as they are encoded. RFC 9908 3.4."""

    IP_ADDRESS = b"\x87\x00"
    DIRECTORY_NAME = b"\xa4\x02\x30\x00"


GAPS_IN_NAMES: Final = tuple(gap.value for gap in NameGap)


@value_class
class KeyTypeWanted:
    """The kind of key a server demands: algorithm, and a curve or a modulus size in bits.

    Raises LocalProtocolError for a curve without an elliptic-curve algorithm, bits without RSA,
    or bits outside 512 to 16384.
    """

    algorithm: str
    curve: str | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.curve is not None and self.algorithm != _oids.EC_PUBLIC_KEY:
            raise LocalProtocolError("only an elliptic-curve key has a curve")
        if self.bits is not None and (
            self.algorithm != _oids.RSA_ENCRYPTION or self.bits not in _RSA_BITS
        ):
            raise LocalProtocolError("only RSA keys have a size to choose, 512 to 16384 bits")

    @property
    def text(self) -> str:
        """The kind of key in a word or two, as `PublicKeyFacts.name` has it: "EC P-256"."""
        kind = _KEY_KINDS.get(self.algorithm) or oid_name(self.algorithm)
        if self.curve is not None:
            return f"{kind} {oid_name(self.curve)}"
        return kind if self.bits is None else f"{kind} {self.bits}"

    def attribute(self) -> Attribute:
        """Return the CSR attribute that says so outside a template. RFC 9908 3.2.

        Raises LocalProtocolError where neither curve nor bits is given: such an attribute
        has no value, which its ASN.1 does not allow. A template can say it.
        """
        if self.curve is not None:
            value = _der.oid(self.curve)
        elif self.bits is not None:
            value = _der.integer(self.bits)
        else:
            raise LocalProtocolError("a key type without curve or bits needs a template")
        return Attribute(type=self.algorithm, values=(value,))


@value_class
class SubjectAttribute:
    """One part of a subject: its type and, unless the client is to choose it, its encoded value."""

    type: str
    value: bytes | None = None

    @classmethod
    def of(cls, part: x509.NameAttribute[str | bytes]) -> SubjectAttribute:
        """Return a part of a subject that the server tells, with its value."""
        rdn = _der.children(_der.read_element(x509.Name([part]).public_bytes()))[0]
        _, value = _der.children(_der.children(rdn)[0])
        return cls(type=part.oid.dotted_string, value=value.der)

    def der(self) -> bytes:
        """Return the SingleAttributeTemplate's DER."""
        return _der.sequence(_der.oid(self.type), self.value or b"")


SubjectTemplate = tuple[tuple[SubjectAttribute, ...], ...]
"""RDNs in order, each one or more attributes."""


@value_class
class ExtensionTemplate:
    """An extension the request must have; `value` is None where the client supplies it.

    Raises LocalProtocolError for a SubjectAltName that is no GeneralNames.
    """

    oid: str
    critical: bool = False
    value: bytes | None = None

    def __post_init__(self) -> None:
        try:
            _ = self.is_complete
        except RemoteProtocolError as exc:
            raise LocalProtocolError(f"not GeneralNames: {exc}") from exc

    @property
    def is_complete(self) -> bool:
        """True if nothing is left to the client, in GeneralNames neither (RFC 9908 3.4)."""
        if self.value is None:
            return False
        if self.oid != _oids.SUBJECT_ALT_NAME:
            return True
        names = _der.children(_der.read_element(self.value))
        return not any(name.der in GAPS_IN_NAMES for name in names)

    def der(self) -> bytes:
        """Return the ExtensionTemplate's DER."""
        critical = _der.tlv(_der.BOOLEAN, b"\xff") if self.critical else b""
        value = b"" if self.value is None else _der.tlv(_der.OCTET_STRING, self.value)
        return _der.sequence(_der.oid(self.oid), critical, value)


@value_class
class CertRequestInfoTemplate:
    """What a server wants to see in a request. RFC 9908 3.4.

    `subject` None means no demand. `extensions` are kept apart from the other `attributes`.
    Raises LocalProtocolError for an extension given twice, here or as an attribute.
    """

    subject: SubjectTemplate | None = None
    key: KeyTypeWanted | None = None
    attributes: tuple[Attribute, ...] = ()
    extensions: tuple[ExtensionTemplate, ...] = ()

    def __post_init__(self) -> None:
        if any(attribute.type in _EXTENSION_ATTRIBUTES for attribute in self.attributes):
            raise LocalProtocolError("a template's extensions are not among its attributes")
        if len({extension.oid for extension in self.extensions}) != len(self.extensions):
            raise LocalProtocolError("a template names each extension once")

    def der(self) -> bytes:
        """Return the template's DER."""
        subject = b""
        if self.subject is not None:
            rdns = (_der.set_of(part.der() for part in rdn) for rdn in self.subject)
            subject = _der.sequence(*rdns)
        key = b"" if self.key is None else _key_der(self.key)
        attributes = [attribute.der() for attribute in self.attributes]
        if self.extensions:
            attributes.append(_extension_attribute(self.extensions).der())
        return _der.sequence(_VERSION_1, subject, key, _der.set_of(attributes, tag=_ATTRIBUTES))

    def attribute(self) -> Attribute:
        """Return the CSR attribute that carries the template."""
        return Attribute(type=_oids.CERTIFICATION_REQUEST_INFO_TEMPLATE, values=(self.der(),))


def _key_der(key: KeyTypeWanted) -> bytes:
    """Return the SubjectPublicKeyInfoTemplate, tagged as the template has it."""
    parameters = placeholder = b""
    if key.curve is not None:
        parameters = _der.oid(key.curve)
    if key.algorithm == _oids.RSA_ENCRYPTION:
        parameters = _der.tlv(_der.NULL, b"")
    if key.bits is not None:
        # RFC 9908 3.4: a placeholder with a modulus of the wanted length; no key at all.
        modulus = 1 << (key.bits - 1) | 1
        numbers = _der.sequence(_der.integer(modulus), _der.integer(65537))
        placeholder = _der.tlv(_der.BIT_STRING, b"\0" + numbers)
    identifier = _der.sequence(_der.oid(key.algorithm), parameters)
    return _der.tlv(_KEY, identifier + placeholder)


def _extension_attribute(extensions: Sequence[ExtensionTemplate]) -> Attribute:
    """Return extensionRequest if all is said, else extensionReqTemplate (RFC 9908 3.4)."""
    if all(extension.is_complete for extension in extensions):
        return extension_request(complete_extensions(extensions))
    value = _der.sequence(*(extension.der() for extension in extensions))
    return Attribute(type=_oids.EXTENSION_REQ_TEMPLATE, values=(value,))


@checked
def complete_extensions(extensions: Sequence[ExtensionTemplate]) -> tuple[Extension, ...]:
    """Return those that leave nothing to the client, as they go into its request."""
    return tuple(
        Extension(oid=extension.oid, critical=extension.critical, value=extension.value)
        for extension in extensions
        if extension.value is not None and extension.is_complete
    )


@checked
def names_template(names: Sequence[x509.GeneralName | NameGap]) -> bytes:
    """Return the value of a subjectAltName with gaps for the client to fill, in that order.

    Raises LocalProtocolError for no name.
    """
    if not names:
        raise LocalProtocolError("a subjectAltName holds at least one name")
    parts = []
    for name in names:
        if isinstance(name, NameGap):
            parts.append(name.value)
        else:
            value = x509.SubjectAlternativeName([name]).public_bytes()
            parts += [each.der for each in _der.children(_der.read_element(value))]
    return _der.sequence(*parts)


# --- Reading ---------------------------------------------------------------------------------


def _malformed(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(_CODE, message)


@checked
def read_template(attribute: Attribute, limits: Limits) -> CertRequestInfoTemplate:
    """Return the template that an attribute carries, every part decoded.

    Raises RemoteProtocolError csrattrs/template for what RFC 9908 3.4 does not allow (among it
    both extension attributes, or one of them twice), and der/...
    """
    if len(attribute.values) != 1:
        raise _malformed(f"a template attribute has {len(attribute.values)} values, not one")
    _der.check_der(attribute.values[0], limits)
    outer = _der.expect(_der.read_element(attribute.values[0]), _der.SEQUENCE, _CODE, "a template")
    parts = list(_der.children(outer))
    if not parts or parts.pop(0).der != _VERSION_1:
        raise _malformed("the template's version is not 1")
    optional = [part.tag for part in parts[:-1]]
    if optional not in ([], [_der.SEQUENCE], [_KEY], [_der.SEQUENCE, _KEY]):
        raise _malformed("not a template")
    if not parts or parts[-1].tag != _ATTRIBUTES:
        raise _malformed("the template lacks its attributes")
    by_tag = {part.tag: part for part in parts}
    subject, key = by_tag.get(_der.SEQUENCE), by_tag.get(_KEY)
    attributes, extensions = _attributes_untrusted(by_tag[_ATTRIBUTES], limits)
    return CertRequestInfoTemplate(
        subject=None if subject is None else _subject_untrusted(subject, limits),
        key=None if key is None else _key_untrusted(key, limits),
        attributes=attributes,
        extensions=extensions,
    )


def _subject_untrusted(element: _der.Element, limits: Limits) -> SubjectTemplate:
    rdns = _der.children(element)
    count = sum(len(_der.children(rdn)) for rdn in rdns)
    if count > limits.names:
        raise _malformed(f"the subject has {count} parts, {limits.names} are allowed")
    return tuple(_rdn_untrusted(rdn) for rdn in rdns)


def _rdn_untrusted(element: _der.Element) -> tuple[SubjectAttribute, ...]:
    parts = _der.children(_der.expect(element, _der.SET, _CODE, "an RDN"))
    if not parts:
        raise _malformed("an RDN is empty")
    found = []
    for part in parts:
        members = _der.children(_der.expect(part, _der.SEQUENCE, _CODE, "a part of an RDN"))
        if not 1 <= len(members) <= 2:
            raise _malformed("a part of an RDN is not a type and at most one value")
        value = members[1].der if len(members) == 2 else None
        found.append(SubjectAttribute(type=_der.read_oid(members[0]), value=value))
    return tuple(found)


def _key_untrusted(element: _der.Element, limits: Limits) -> KeyTypeWanted:
    parts = _der.children(element)
    if [part.tag for part in parts] not in (
        [_der.SEQUENCE],
        [_der.SEQUENCE, _der.BIT_STRING],
    ):
        raise _malformed("not a SubjectPublicKeyInfoTemplate")
    identifier = _der.children(parts[0])
    if not 1 <= len(identifier) <= 2:
        raise _malformed("the template's key has no algorithm")
    algorithm = _der.read_oid(identifier[0])
    if algorithm == _oids.EC_PUBLIC_KEY and len(identifier) == 2:
        return KeyTypeWanted(algorithm=algorithm, curve=_der.read_oid(identifier[1]))
    # With any other algorithm a placeholder says nothing, and is not looked at.
    if algorithm == _oids.RSA_ENCRYPTION and len(parts) == 2:
        return KeyTypeWanted(algorithm=algorithm, bits=_rsa_bits_untrusted(parts[1], limits))
    return KeyTypeWanted(algorithm=algorithm)


def _rsa_bits_untrusted(placeholder: _der.Element, limits: Limits) -> int:
    """Return the modulus length of a placeholder key."""
    content = placeholder.content
    if content[:1] != b"\0":
        raise _malformed("the placeholder key is not a whole number of octets")
    _der.check_der(content[1:], limits)
    key = _der.expect(_der.read_element(content[1:]), _der.SEQUENCE, _CODE, "the placeholder key")
    numbers = _der.children(key)
    if len(numbers) != 2:
        raise _malformed("the placeholder is not an RSA key")
    bits = _der.read_integer(numbers[0]).bit_length()
    if bits not in _RSA_BITS:
        raise _malformed(f"an RSA key of {bits} bits is asked for")
    return bits


def _attributes_untrusted(
    element: _der.Element, limits: Limits
) -> tuple[tuple[Attribute, ...], tuple[ExtensionTemplate, ...]]:
    """Return the attributes other than extensions, and the extensions."""
    elements = _der.children(element)
    if len(elements) > limits.csr_attributes:
        raise _malformed(f"{len(elements)} attributes, {limits.csr_attributes} are allowed")
    attributes = [
        read_attribute(part, _CODE, f"attribute {position} of the template")
        for position, part in enumerate(elements, 1)
    ]
    requests = [found for found in attributes if found.type in _EXTENSION_ATTRIBUTES]
    if len(requests) > 1:
        # RFC 9908 3.4: neither "multiple id-aa-extensionReqTemplate" nor both kinds.
        raise _malformed("the template asks for extensions in two attributes")
    others = tuple(found for found in attributes if found.type not in _EXTENSION_ATTRIBUTES)
    return others, _extensions_untrusted(requests[0], limits) if requests else ()


def _extensions_untrusted(attribute: Attribute, limits: Limits) -> tuple[ExtensionTemplate, ...]:
    if attribute.type == _oids.EXTENSION_REQUEST:
        try:
            complete = read_extensions(attribute, limits)
        except RemoteProtocolError as exc:
            raise _malformed(exc.message) from exc
        return tuple(
            _template_untrusted(found.oid, found.critical, found.value, limits)
            for found in complete
        )
    if len(attribute.values) != 1:
        raise _malformed("an extension template attribute has exactly one value")
    outer = _der.read_element(attribute.values[0])
    elements = _der.children(_der.expect(outer, _der.SEQUENCE, _CODE, "extension templates"))
    if elements and elements[0].tag == _der.OBJECT_IDENTIFIER:
        # The prose of RFC 9908 3.4 says one ExtensionTemplate, its module a SEQUENCE OF them.
        elements = (outer,)
    if not 0 < len(elements) <= limits.csr_extensions:
        raise _malformed(f"not 1 to {limits.csr_extensions} extension templates")
    extensions = tuple(_extension_untrusted(part, limits) for part in elements)
    if len({extension.oid for extension in extensions}) != len(extensions):
        raise _malformed("the template names an extension twice")
    return extensions


def _extension_untrusted(element: _der.Element, limits: Limits) -> ExtensionTemplate:
    _der.expect(element, _der.SEQUENCE, _CODE, "an extension template")
    parts = list(_der.children(element))
    if not parts:
        raise _malformed("an extension template is empty")
    oid = _der.read_oid(parts.pop(0))
    critical = bool(parts) and parts[0].tag == _der.BOOLEAN
    if critical and parts.pop(0).content != b"\xff":
        raise _malformed("critical is neither absent nor TRUE")
    if [part.tag for part in parts] not in ([], [_der.OCTET_STRING]):
        raise _malformed("not an extension template")
    value = parts[0].content if parts else None
    return _template_untrusted(oid, critical, value, limits)


def _template_untrusted(
    oid: str, critical: bool, value: bytes | None, limits: Limits
) -> ExtensionTemplate:
    if oid == _oids.SUBJECT_ALT_NAME and value is not None:
        # is_complete will look into it.
        _der.check_der(value, limits)
        _der.children(_der.expect(_der.read_element(value), _der.SEQUENCE, _CODE, "GeneralNames"))
    return ExtensionTemplate(oid=oid, critical=critical, value=value)
