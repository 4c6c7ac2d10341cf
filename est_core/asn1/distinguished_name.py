"""A distinguished name out of DER: every part decoded, or the one that is wrong is named.

Written by devices, names come with string types and characters that strict decoders refuse. What
has one clear meaning is taken. A part whose type cannot hold its text, or is one that readers of
certificates refuse, gets UTF8String in the decoded name, so that a certificate made of it can be
read by everybody; its text stays. RFC 5280 4.1.2.4 and 7.1.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from cryptography import x509

from est_core._errors import RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.oid_names import named, type_name

_UNIQUE_IDENTIFIER: Final = "2.5.4.45"
_NUMERIC_STRING: Final = 0x12
_VISIBLE_STRING: Final = 0x1A

STRING_CODECS: Final = {
    _der.UTF8_STRING: "utf-8",
    _NUMERIC_STRING: "ascii",
    _der.PRINTABLE_STRING: "ascii",
    # Nobody implements T.61; those who still emit it mean Latin-1.
    _der.T61_STRING: "latin-1",
    _der.IA5_STRING: "ascii",
    _VISIBLE_STRING: "ascii",
    _der.UNIVERSAL_STRING: "utf-32-be",
    _der.BMP_STRING: "utf-16-be",
}
"""How the octets of each string type stand for text."""

_KEPT: Final = {
    # None for all of it.
    _der.UTF8_STRING: None,
    # Surrogates are none of its characters, and OpenSSL reads no certificate that has them.
    # What it may hold would be a set of 65,536, which takes 7 ms to compile.
    _der.BMP_STRING: re.compile(r"[^\U00010000-\U0010ffff]*"),
    _der.UNIVERSAL_STRING: None,
    _der.IA5_STRING: None,
    _NUMERIC_STRING: re.compile(r"[0-9 ]*"),
    _der.PRINTABLE_STRING: re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*"),
    _der.T61_STRING: re.compile(r"[\0-\x7f]*"),
}
"""What text a string type may keep; any other is decoded as a UTF8String. X.680 41."""
_NOTHING: Final = re.compile(r"(?!)")

# `cryptography` warns of other lengths of these, even where it only reads. X.520 upper bounds.
_BOUNDED: Final = {"2.5.4.3": (1, 64), "2.5.4.6": (2, 2), "1.3.6.1.4.1.311.60.2.1.3": (2, 2)}
_UNBOUNDED: Final = _der.oid("2.5.4.10")


class _Part(NamedTuple):
    """One AttributeTypeAndValue: its type, its encoding, whether that is the one that came."""

    oid: str
    der: bytes
    same: bool
    short: bool
    """False where `cryptography` has an opinion about its length."""


class _LongAttribute(x509.NameAttribute[str]):
    """A part of a name that is longer or shorter than X.520 allows: left to policy."""

    def __init__(self, oid: str, text: str, like: x509.NameAttribute[str | bytes]) -> None:
        super().__init__(like.oid, text, like._type)  # noqa: SLF001  no public name has it
        self._real = x509.ObjectIdentifier(oid)

    @property
    def oid(self) -> x509.ObjectIdentifier:
        return self._real


def decode_name(name: _der.Element, limits: Limits, what: str = "the name") -> x509.Name:
    """Return a Name that passed the gate, its parts in their order.

    Raises RemoteProtocolError csr/name, which says which part of `what` is wrong and how, and
    csr/too-many-names above `limits.names`: every part of every RDN counts, and one RDN can hold
    thousands.
    """
    _der.expect(name, _der.SEQUENCE, "csr/name", what)
    rdns = [
        _der.expect(rdn, _der.SET, "csr/name", f"an RDN of {what}") for rdn in _der.children(name)
    ]
    members = [_der.children(rdn) for rdn in rdns]
    count = sum(map(len, members))
    if count > limits.names:
        message = f"{what} has {count} parts, {limits.names} are allowed"
        raise RemoteProtocolError("csr/too-many-names", message)
    if not all(members):
        raise RemoteProtocolError("csr/name", f"{what} has an RDN without a part")
    parts = [[_part_untrusted(each, what) for each in rdn] for rdn in members]
    flat = [part for rdn in parts for part in rdn]
    if not all(part.short for part in flat):
        return _long_name(parts, what)
    der = name.der
    if not all(part.same for part in flat) or any(len(rdn) > 1 for rdn in parts):
        # In DER order, which not every client keeps to in an RDN of several parts.
        der = _der.sequence(*(_der.set_of(part.der for part in rdn) for rdn in parts))
    try:
        return x509.Name.from_bytes(der)
    except (ValueError, TypeError) as exc:
        raise _unreadable(what) from exc


def _part_untrusted(element: _der.Element, what: str) -> _Part:
    members = _der.children(element) if element.tag == _der.SEQUENCE else ()
    if len(members) != 2:
        raise RemoteProtocolError("csr/name", f"a part of {what} is not a type and a value")
    oid, value = _der.read_oid(members[0]), members[1]
    if value.tag == _der.BIT_STRING and oid == _UNIQUE_IDENTIFIER:
        return _Part(oid, element.der, same=True, short=True)
    codec = STRING_CODECS.get(value.tag)
    if codec is None:
        message = f"{named(oid)} in {what} is no string but {type_name(value.tag)}"
        raise RemoteProtocolError("csr/name", message)
    try:
        text = value.content.decode(codec)
    except UnicodeDecodeError as exc:
        message = f"{named(oid)} in {what} holds octets that no {type_name(value.tag)} has"
        raise RemoteProtocolError("csr/name", message) from exc
    kept = _KEPT.get(value.tag, _NOTHING)
    same = kept is None or kept.fullmatch(text) is not None
    encoded = text.encode("utf-8")
    der = element.der
    if not same:
        der = _der.sequence(members[0].der, _der.tlv(_der.UTF8_STRING, encoded))
    least, most = _BOUNDED.get(oid, (0, len(encoded)))
    return _Part(oid, der, same=same, short=least <= len(encoded) <= most)


def _long_name(parts: list[list[_Part]], what: str) -> x509.Name:
    try:
        return x509.Name([x509.RelativeDistinguishedName(map(_attribute, rdn)) for rdn in parts])
    except (ValueError, TypeError) as exc:
        raise _unreadable(what) from exc


def _attribute(part: _Part) -> x509.NameAttribute[str | bytes]:
    der = part.der
    if not part.short:
        value = _der.children(_der.read_element(der))[1]
        der = _der.sequence(_UNBOUNDED, value.der)
    (attribute,) = x509.Name.from_bytes(_der.sequence(_der.set_of([der])))
    if part.short or not isinstance(attribute.value, str):
        return attribute
    return _LongAttribute(part.oid, attribute.value, attribute)


def _unreadable(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("csr/name", f"{what} holds a part twice, or one that nobody reads")
