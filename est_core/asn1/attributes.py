"""Attributes of a certificate request: extensions, challenges, changed names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field
from typing import Final

from cryptography import x509

from est_core import _oids
from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.distinguished_name import STRING_CODECS, decode_name
from est_core.asn1.oid_names import named, type_name
from est_core.values import value_class

_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]+")
_CHALLENGE_CHARS: Final = 255  # ub-challengePassword, RFC 2985; RFC 7894 A for the others
_STRINGS_OF: Final = {
    "1.3.6.1.1.1.1.22": (_der.IA5_STRING, "ascii"),  # macAddress
    "1.2.840.113549.1.9.1": (_der.IA5_STRING, "ascii"),  # emailAddress
    "1.2.840.113549.1.9.20": (_der.BMP_STRING, "utf-16-be"),  # friendlyName
}
_SUBJECT_ALT: Final = 0xA1  # subjectAlt [1], as erratum 3943 of RFC 6402 corrects it


@value_class
class Attribute:
    """A type and its values, each an encoded element. RFC 2986 4.1.

    `values` keep the order they came in; `der` sorts them. They may be empty in CSR attributes
    only. They are not shown by repr: one of them may be a one-time password.
    """

    type: str
    values: tuple[bytes, ...] = field(repr=False)

    def der(self) -> bytes:
        """Return the attribute's DER."""
        return _der.sequence(_der.oid(self.type), _der.set_of(self.values))


@value_class
class Extension:
    """A certificate extension; `value` is what its OCTET STRING holds. RFC 5280 4.1."""

    oid: str
    critical: bool = False
    value: bytes = field(repr=False)

    def der(self) -> bytes:
        """Return the extension's DER, `critical` left out where it is False."""
        critical = _der.tlv(_der.BOOLEAN, b"\xff") if self.critical else b""
        return _der.sequence(_der.oid(self.oid), critical, _der.tlv(_der.OCTET_STRING, self.value))


def read_attribute(element: _der.Element, code: str, what: str = "an attribute") -> Attribute:
    """Return the Attribute in an element that passed the gate.

    Raises RemoteProtocolError(code) if it is none; `what` names it there.
    """
    parts = _der.children(element) if element.tag == _der.SEQUENCE else ()
    if [part.tag for part in parts] != [_der.OBJECT_IDENTIFIER, _der.SET]:
        raise RemoteProtocolError(code, f"{what} is not a type and a set of values")
    values = tuple(value.der for value in _der.children(parts[1]))
    return Attribute(type=_der.read_oid(parts[0]), values=values)


# --- Challenges ------------------------------------------------------------------------------


def read_oid_value(value_der: bytes) -> str:
    """Return the object identifier that a value of an attribute is, in dotted form.

    For DER that has passed the gate. Raises RemoteProtocolError("der/oid") for another value.
    """
    return _der.read_oid(_der.read_element(value_der))


@checked
def directory_string(text: str) -> bytes:
    """Return a DirectoryString: PrintableString where possible, else UTF8String. RFC 7894 3.

    Raises LocalProtocolError unless it has 1 to 255 characters.
    """
    if not 0 < len(text) <= _CHALLENGE_CHARS:
        raise LocalProtocolError(f"a string has 1 to {_CHALLENGE_CHARS} characters")
    tag = _der.PRINTABLE_STRING if _PRINTABLE.fullmatch(text) else _der.UTF8_STRING
    try:
        return _der.tlv(tag, text.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise LocalProtocolError("a string holds a lone surrogate") from exc


@checked
def text_value(oid: str, text: str) -> bytes:
    """Return a text as a value of the attribute of that type, in the string type it is to have.

    IA5String for a macAddress, BMPString for a friendlyName, and a DirectoryString else. Raises
    LocalProtocolError for an empty text, one of more than 255 characters, or with characters that
    its type does not have. RFC 2307 2.4, RFC 2985 5.5.1.
    """
    tag, codec = _STRINGS_OF.get(oid, (None, ""))
    if tag is None or not 0 < len(text) <= _CHALLENGE_CHARS:
        return directory_string(text)
    try:
        if max(text) <= "\uffff":
            return _der.tlv(tag, text.encode(codec))
    except UnicodeEncodeError:
        pass
    raise LocalProtocolError(f"{named(oid)} is a {type_name(tag)}, which has no such characters")


def read_directory_string(value_der: bytes, limits: Limits, what: str = "a string") -> str:
    """Return the text of a DirectoryString, or of another string type, as some tools send.

    `what` names it in errors. Raises RemoteProtocolError attribute/string for anything else or
    for text that its encoding does not allow, attribute/too-long above `limits.challenge_chars`,
    and der/... RFC 2985 5.4.1, RFC 7894 3.
    """
    # A character has at most four octets; tag and length have at most four here.
    if len(value_der) > 4 * limits.challenge_chars + 8:
        message = f"{what} has {len(value_der)} bytes; {limits.challenge_chars} characters fit"
        raise RemoteProtocolError("attribute/too-long", message)
    _der.check_der(value_der, limits)
    element = _der.read_element(value_der)
    codec = STRING_CODECS.get(element.tag)
    if codec is None:
        message = f"{what} is no string but {type_name(element.tag)}"
        raise RemoteProtocolError("attribute/string", message)
    text = _text_untrusted(element.content, codec)
    if text is None:
        message = f"{what} holds octets that no {type_name(element.tag)} has"
        raise RemoteProtocolError("attribute/string", message)
    if not text:
        raise RemoteProtocolError("attribute/string", f"{what} is empty")
    if len(text) > limits.challenge_chars:
        message = f"{what} has {len(text)} characters, {limits.challenge_chars} are allowed"
        raise RemoteProtocolError("attribute/too-long", message)
    return text


def _text_untrusted(octets: bytes, codec: str) -> str | None:
    # None instead of raising inside `except`: a UnicodeError keeps the octets, which may be a
    # password, and chained to ours it would carry them into a crash report.
    try:
        return octets.decode(codec)
    except UnicodeDecodeError:
        return None


@checked
def challenge_attribute(oid: str, text: str) -> Attribute:
    """Return a challenge attribute: challengePassword or one of RFC 7894, with one value."""
    return Attribute(type=oid, values=(directory_string(text),))


@checked
def challenge_password(text: str) -> Attribute:
    """Return the attribute that links identity and proof of possession. RFC 7030 3.5."""
    return challenge_attribute(_oids.CHALLENGE_PASSWORD, text)


# --- Extensions ------------------------------------------------------------------------------


@checked
def extension_request(extensions: Sequence[Extension]) -> Attribute:
    """Return an extensionRequest attribute. RFC 2985 5.4.2.

    Raises LocalProtocolError for none, or for two of one type.
    """
    if not extensions:
        raise LocalProtocolError("an extensionRequest holds at least one extension")
    if len({extension.oid for extension in extensions}) != len(extensions):
        raise LocalProtocolError("an extensionRequest holds each extension once")
    value = _der.sequence(*(extension.der() for extension in extensions))
    return Attribute(type=_oids.EXTENSION_REQUEST, values=(value,))


@checked
def read_extensions(attribute: Attribute, limits: Limits) -> tuple[Extension, ...]:
    """Return the extensions an extensionRequest attribute asks for, in its order.

    Raises RemoteProtocolError csr/extensions unless its one value is an Extensions,
    csr/duplicate-extension, csr/too-many-extensions, and der/... RFC 9908 3.2.
    """
    if len(attribute.values) == 1:
        _der.check_der(attribute.values[0], limits)
    return gated_extensions(attribute, limits)


def gated_extensions(attribute: Attribute, limits: Limits) -> tuple[Extension, ...]:
    """Return what read_extensions does, of an attribute that passed the gate already."""
    if len(attribute.values) != 1:
        message = f"{named(attribute.type)} has {len(attribute.values)} values instead of one"
        raise RemoteProtocolError("csr/extensions", message)
    extensions = extensions_in(attribute.values[0], limits, named(attribute.type))
    if not extensions:
        raise RemoteProtocolError("csr/extensions", f"{named(attribute.type)} is empty")
    return extensions


def extensions_in(value_der: bytes, limits: Limits, what: str) -> tuple[Extension, ...]:
    """Return the members of an Extensions that passed the gate; it may be empty.

    An extension that stands there twice with one value counts once. Raises RemoteProtocolError
    csr/extensions, csr/too-many-extensions, csr/duplicate-extension; `what` names it in errors.
    """
    outer = _der.read_element(value_der)
    if outer.tag != _der.SEQUENCE:
        message = f"{what} holds no Extensions but {type_name(outer.tag)}"
        raise RemoteProtocolError("csr/extensions", message)
    elements = _der.children(outer)
    if len(elements) > limits.csr_extensions:
        message = f"{len(elements)} extensions are asked for, {limits.csr_extensions} are allowed"
        raise RemoteProtocolError("csr/too-many-extensions", message)
    found: dict[str, Extension] = {}
    for position, element in enumerate(elements, 1):
        extension = _extension_untrusted(element, f"extension {position} in {what}")
        if found.setdefault(extension.oid, extension) != extension:
            message = f"extension {named(extension.oid)} is asked for twice, differently"
            raise RemoteProtocolError("csr/duplicate-extension", message)
    return tuple(found.values())


def _extension_untrusted(element: _der.Element, what: str) -> Extension:
    parts = list(_der.children(element)) if element.tag == _der.SEQUENCE else []
    critical = False
    if len(parts) == 3:
        # DEFAULT FALSE is not encoded in DER, and TRUE is 0xff (X.690 11.1, 11.5); tools write
        # both otherwise, and each has one meaning.
        flag = parts.pop(1)
        if flag.tag != _der.BOOLEAN or len(flag.content) != 1:
            raise RemoteProtocolError("csr/extensions", f"critical is no BOOLEAN in {what}")
        critical = flag.content != b"\0"
    if [part.tag for part in parts] != [_der.OBJECT_IDENTIFIER, _der.OCTET_STRING]:
        raise RemoteProtocolError("csr/extensions", f"{what} is not a type and a value")
    return Extension(oid=_der.read_oid(parts[0]), critical=critical, value=parts[1].content)


# --- Names -----------------------------------------------------------------------------------


@checked
def read_name(name_der: bytes, limits: Limits) -> x509.Name:
    """Return a Name. Raises RemoteProtocolError csr/name, csr/too-many-names, and der/..."""
    _der.check_der(name_der, limits)
    return decode_name(_der.read_element(name_der), limits)


def read_general_names(names_der: bytes, limits: Limits) -> tuple[bytes, ...]:
    """Return the names in the value of a SubjectAltName, each encoded, in order.

    The first octet of each is its kind: 0x82 for dNSName. Raises RemoteProtocolError
    csr/general-names, csr/too-many-names, and der/... RFC 5280 4.2.1.6.
    """
    _der.check_der(names_der, limits)
    outer = _der.read_element(names_der)
    _der.expect(outer, _der.SEQUENCE, "csr/general-names", "GeneralNames")
    return tuple(name.der for name in _names_untrusted(outer, limits))


def _names_untrusted(element: _der.Element, limits: Limits) -> tuple[_der.Element, ...]:
    names = _der.children(element)
    if len(names) > limits.names:
        message = f"{len(names)} alternative names, {limits.names} are allowed"
        raise RemoteProtocolError("csr/too-many-names", message)
    if not names:
        raise RemoteProtocolError("csr/general-names", "there is no alternative name")
    for position, name in enumerate(names, 1):
        if not _is_general_name(name.der):
            message = f"alternative name {position} is no GeneralName but {type_name(name.tag)}"
            raise RemoteProtocolError("csr/general-names", message)
    return names


def _is_general_name(der: bytes) -> bool:
    """Return whether it begins with a context tag, as every choice of GeneralName does."""
    return bool(der) and 0x80 <= der[0] < 0xC0


@value_class
class ChangeSubjectName:
    """The names a renewal asks for in place of those it must repeat. RFC 6402 2.8.

    `subject` None means an empty subject and `subject_alt_name` None no SubjectAltName
    (RFC 6402 2.8); the latter is the DER of GeneralNames, as the value of the extension is.
    LocalProtocolError unless at least one is there and the latter is a SEQUENCE.
    """

    subject: x509.Name | None = None
    subject_alt_name: bytes | None = None

    def __post_init__(self) -> None:
        if self.subject is None and self.subject_alt_name is None:
            raise LocalProtocolError("ChangeSubjectName holds a subject, a subjectAlt or both")
        if self.subject_alt_name is not None and self.subject_alt_name[:1] != b"\x30":
            raise LocalProtocolError("subject_alt_name is the DER of GeneralNames")

    def attribute(self) -> Attribute:
        """Return the attribute, subjectAlt tagged [1] as erratum 3943 says (RFC 6402 2.8)."""
        subject = b"" if self.subject is None else self.subject.public_bytes()
        alt = b""
        if self.subject_alt_name is not None:
            alt = _der.tlv(_SUBJECT_ALT, _der.read_element(self.subject_alt_name).content)
        return Attribute(type=_oids.CHANGE_SUBJECT_NAME, values=(_der.sequence(subject, alt),))


@checked
def read_change_subject_name(attribute: Attribute, limits: Limits) -> ChangeSubjectName:
    """Return what a ChangeSubjectName attribute asks for.

    RFC 6402 prints both members untagged, which is ambiguous with one present; its erratum 3943
    tags subjectAlt [1]. Both are read: a lone untagged SEQUENCE is GeneralNames if its content
    starts with a context tag, and a Name if it is empty or starts with a SET.
    Raises RemoteProtocolError csr/change-subject-name, csr/name,
    csr/general-names, csr/too-many-names, der/...
    """
    malformed = RemoteProtocolError("csr/change-subject-name", "not a ChangeSubjectName")
    if len(attribute.values) != 1:
        raise malformed
    _der.check_der(attribute.values[0], limits)
    outer = _der.expect(
        _der.read_element(attribute.values[0]), _der.SEQUENCE, malformed.code, "ChangeSubjectName"
    )
    parts = _der.children(outer)
    kinds = [_kind_untrusted(part) for part in parts]
    if kinds not in (["name"], ["alt"], ["name", "alt"]):
        raise malformed
    by_kind = dict(zip(kinds, parts, strict=True))
    subject, alt = by_kind.get("name"), by_kind.get("alt")
    return ChangeSubjectName(
        subject=None if subject is None else read_name(subject.der, limits),
        subject_alt_name=None if alt is None else _as_general_names(alt, limits),
    )


def _kind_untrusted(element: _der.Element) -> str:
    """Return "name", "alt" or "" for a member of ChangeSubjectName."""
    if element.tag == _SUBJECT_ALT:
        return "alt"
    if element.tag != _der.SEQUENCE:
        return ""
    return "alt" if _is_general_name(element.content) else "name"


def _as_general_names(element: _der.Element, limits: Limits) -> bytes:
    """Return GeneralNames as an extension has them, whatever tag they came with."""
    _names_untrusted(element, limits)
    return _der.tlv(_der.SEQUENCE, element.content)
