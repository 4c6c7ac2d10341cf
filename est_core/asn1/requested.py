"""The extensions that a certificate request asks for, found in either attribute and decoded.

Only those that end up in a certificate, or decide whether there is one, are decoded: any other is
kept as bytes, and may hold what it will. RFC 2985 5.4.2, MS-WCCE 2.2.2.7.7.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from est_core import _oids
from est_core._errors import RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    extensions_in,
    read_general_names,
)
from est_core.asn1.distinguished_name import decode_name
from est_core.asn1.oid_names import named

JUDGED: Final = frozenset(
    {
        _oids.SUBJECT_ALT_NAME,
        _oids.KEY_USAGE,
        _oids.EXTENDED_KEY_USAGE,
        _oids.BASIC_CONSTRAINTS,
    }
)
"""Extensions that are decoded: names, uses, and whether it is a CA's."""

_ATTRIBUTES: Final = (_oids.EXTENSION_REQUEST, _oids.MICROSOFT_EXTENSION_REQUEST)

# What stands around extensions in a request that is read for them alone. The key is not looked
# at, and no signature is verified.
_HEAD: Final = _der.integer(0) + _der.sequence()
_KEY: Final = _der.sequence(
    _der.sequence(_der.oid(_oids.ED25519)), _der.tlv(_der.BIT_STRING, bytes(33))
)
_TAIL: Final = _der.sequence(_der.oid(_oids.ED25519)) + _der.tlv(_der.BIT_STRING, bytes(65))

_UNDECODABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,  # of a long name in a directoryName, where the program turned warnings into errors
)

_NAME_KINDS: Final = {
    0xA0: "otherName",
    0x81: "rfc822Name",
    0x82: "dNSName",
    0xA3: "x400Address",
    0xA4: "directoryName",
    0xA5: "ediPartyName",
    0x86: "uniformResourceIdentifier",
    0x87: "iPAddress",
    0x88: "registeredID",
}
_NOT_READ: Final = frozenset({0xA3, 0xA5})


def name_kind(tag: int) -> str:
    """Return what RFC 5280 calls a GeneralName of that tag."""
    return _NAME_KINDS.get(tag) or f"a name with tag {tag:#04x}"


def requested_extensions(attributes: Iterable[Attribute], limits: Limits) -> tuple[Extension, ...]:
    """Return the extensions asked for, each once, in the order of the first attribute.

    They may stand in extensionRequest, in Microsoft's attribute, or in both, and be repeated: what
    is equal contradicts nothing. Raises RemoteProtocolError csr/duplicate-attribute, which names
    both, where two places ask for different ones, for two readers would see two requests; and
    csr/extensions, csr/duplicate-extension, csr/too-many-extensions, csr/too-many-names.
    """
    requests = [
        (found.type, value)
        for found in attributes
        if found.type in _ATTRIBUTES
        for value in found.values
    ]
    if not requests:
        return ()
    (first_type, first_value), *others = requests
    extensions = extensions_in(first_value, limits, named(first_type))
    for other_type, value in others:
        if set(extensions_in(value, limits, named(other_type))) != set(extensions):
            where = f"{named(first_type)} and {named(other_type)} ask"
            if first_type == other_type:
                where = f"{named(first_type)} occurs twice and asks"
            message = f"{where} for different extensions"
            raise RemoteProtocolError("csr/duplicate-attribute", message)
    for extension in extensions:
        if extension.oid == _oids.SUBJECT_ALT_NAME:
            _bound_names_untrusted(extension.value, limits)
    return extensions


def decoded_extensions(extensions: Iterable[Extension], limits: Limits) -> x509.Extensions:
    """Return those of the extensions that are JUDGED, decoded.

    basicConstraints and keyUsage are made anew in every certificate: where these are not DER, or
    say more than means anything, what has one meaning all the same is taken.
    Raises RemoteProtocolError("csr/extensions"), which names the one that cannot be decoded.
    """
    judged = [each for each in extensions if each.oid in JUDGED]
    if not judged:
        return x509.Extensions(())
    try:
        return decode_extensions(judged)
    except _UNDECODABLE:
        judged = [_in_der(each, limits) for each in judged]
    try:
        return decode_extensions(judged)
    except _UNDECODABLE as exc:
        for extension in judged:
            _name_the_fault(extension, limits)
        raise RemoteProtocolError("csr/extensions", "an extension cannot be decoded") from exc


def decode_extensions(extensions: Iterable[Extension]) -> x509.Extensions:
    """Return all of these, decoded. Raises what the library raises for one that it cannot read."""
    value = _der.sequence(*(extension.der() for extension in extensions))
    request = _der.sequence(_der.oid(_oids.EXTENSION_REQUEST), _der.set_of([value]))
    info = _der.sequence(_HEAD, _KEY, _der.tlv(0xA0, request))
    return x509.load_der_x509_csr(_der.sequence(info, _TAIL)).extensions


# --- Odd encodings ---------------------------------------------------------------------------


def _in_der(extension: Extension, limits: Limits) -> Extension:
    """Return basicConstraints or keyUsage as a strict decoder reads it; all else as it came."""
    rewrite = _REWRITTEN.get(extension.oid)
    if rewrite is None:
        return extension
    try:
        _der.check_der(extension.value, limits)
    except RemoteProtocolError:
        return extension
    return replace(extension, value=rewrite(_der.read_element(extension.value)))


def _basic_constraints(element: _der.Element) -> bytes:
    """Return it with a cA of TRUE as DER has it; cA FALSE and what goes with it are the default.

    X.690 11.1, 11.5. Devices write FALSE out, and a pathLenConstraint beside it.
    """
    parts = list(_der.children(element)) if element.tag == _der.SEQUENCE else []
    flag = parts.pop(0) if parts and parts[0].tag == _der.BOOLEAN else None
    known = [part.tag for part in parts] in ([], [_der.INTEGER])
    if not known or element.tag != _der.SEQUENCE or (flag and len(flag.content) != 1):
        return element.der
    if flag is None or flag.content == b"\0":
        return _der.sequence()
    return _der.sequence(_der.tlv(_der.BOOLEAN, b"\xff"), *(part.der for part in parts))


def _key_usage(element: _der.Element) -> bytes:
    """Return it without bits that mean nothing.

    Those are padding that is not zero (X.690 11.2.1), and encipherOnly and decipherOnly where
    keyAgreement is not asked for (RFC 5280 4.2.1.3).
    """
    content = element.content
    if element.tag != _der.BIT_STRING or len(content) < 2:
        return element.der
    bits = bytearray(content[1:])
    bits[-1] &= 0xFF << content[0]
    if not bits[0] & _KEY_AGREEMENT:
        bits[0] &= ~_ENCIPHER_ONLY
        if len(bits) > 1:
            bits[1] &= ~_DECIPHER_ONLY
    return _der.tlv(_der.BIT_STRING, content[:1] + bits)


_KEY_AGREEMENT, _ENCIPHER_ONLY, _DECIPHER_ONLY = 0x08, 0x01, 0x80
_REWRITTEN: Final = {_oids.BASIC_CONSTRAINTS: _basic_constraints, _oids.KEY_USAGE: _key_usage}


# --- What cannot be decoded ------------------------------------------------------------------


def _name_the_fault(extension: Extension, limits: Limits) -> None:
    try:
        decode_extensions([extension])
    except _UNDECODABLE as exc:
        text = f"extension {named(extension.oid)} cannot be decoded"
        if extension.oid == _oids.SUBJECT_ALT_NAME:
            text = f"{text}: {_fault_in_names(extension.value, limits)}"
        raise RemoteProtocolError("csr/extensions", text) from exc


def _fault_in_names(names_der: bytes, limits: Limits) -> str:
    """Return which alternative name is wrong, and how."""
    try:
        names = read_general_names(names_der, limits)
    except RemoteProtocolError as exc:
        return exc.message
    for position, name in enumerate(names, 1):
        try:
            decode_extensions([Extension(oid=_oids.SUBJECT_ALT_NAME, value=_der.sequence(name))])
        except _UNDECODABLE:
            return f"name {position} {_fault_in_name(_der.read_element(name), limits)}"
    return "its names cannot be read together"


def _fault_in_name(name: _der.Element, limits: Limits) -> str:
    kind = _NAME_KINDS.get(name.tag)
    if kind is None:
        return f"has tag {name.tag:#04x}, which is no kind of name"
    if name.tag in _NOT_READ:
        return f"is an {kind}, which nobody reads"
    if kind == "iPAddress":
        return f"is an iPAddress of {len(name.content)} bytes, not 4 or 16"
    if kind == "directoryName":
        try:
            decode_name(_der.read_element(name.content), limits)
        except RemoteProtocolError as exc:
            return f"is a directoryName: {exc.message}"
    if not name.content.isascii():
        return f"is a {kind} with characters beyond ASCII"
    return f"is a malformed {kind}"


def _bound_names_untrusted(names_der: bytes, limits: Limits) -> None:
    """Refuse too many names before the decoder makes an object of each.

    An OCTET STRING is opaque to the first gate, and 60 KiB hold 30 000 names. Malformed ones are
    for the decoder to refuse, and a value that is too short for too many needs no look.
    """
    if len(names_der) <= _NAME_BYTES * min(limits.names, limits.der_nodes):
        return
    try:
        read_general_names(names_der, limits)
    except RemoteProtocolError as exc:
        if exc.code in _BOUNDS_OF_NAMES:
            raise


_NAME_BYTES: Final = 2  # of the shortest element: a tag and a length
_BOUNDS_OF_NAMES: Final = ("csr/too-many-names", "der/too-many-nodes")
