"""Decides when two names are the same: distinguished names, mailboxes, URIs, alternative names.

Each kind has one canonical form; two names are the same if their forms are equal. RFC 5280 7 says
what does not matter. Hosts are in `est_core.checks.hosts`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.attributes import read_general_names, read_name
from est_core.checks.hosts import folded

CanonicalName = tuple[tuple[tuple[str, str, bytes], ...], ...]
"""A distinguished name in the form that compares: type, kind and value of each part by RDN."""

CanonicalNames = frozenset[bytes | CanonicalName | str]
"""The names of a subjectAltName in the form that compares."""

_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_MAILBOX, _DNS, _DIRECTORY, _URI = 0x81, 0x82, 0xA4, 0x86  # tags of GeneralName
_STRINGS: Final = {
    _der.UTF8_STRING: "utf-8",
    _der.PRINTABLE_STRING: "latin-1",
    _der.T61_STRING: "latin-1",
    _der.IA5_STRING: "latin-1",
    0x1A: "latin-1",  # VisibleString
    0x1B: "latin-1",  # GeneralString, of which Kerberos names are made
    _der.BMP_STRING: "utf-16-be",
    _der.UNIVERSAL_STRING: "utf-32-be",
}
_STRING_DEPTH: Final = 8
_SHOWN_CHARS: Final = 64
_BLANKS: Final = re.compile(r"[ \t\n\v\f\r]+")


# --- Distinguished names ----------------------------------------------------------------------


def canonical_name(name: x509.Name) -> CanonicalName:
    """Return a distinguished name in the form in which RFC 5280 7.1 compares it.

    String type, case, and blanks at the ends or in a row do not matter, nor the order inside an
    RDN; the order of RDNs does. Case is folded for ASCII only: the full folding of RFC 4518 makes
    one name of "straße" and "strasse", which most who read certificates take for two.
    """
    return tuple(
        tuple(sorted(_part(part.oid.dotted_string, part.value) for part in rdn))
        for rdn in name.rdns
    )


def same_name(one: x509.Name, other: x509.Name) -> bool:
    """True if RFC 5280 7.1 takes two distinguished names for one. See `canonical_name`."""
    return canonical_name(one) == canonical_name(other)


def look_alike(one: x509.Name, other: x509.Name) -> bool:
    """True if some reader takes two distinguished names for one: all that `same_name` does too."""
    return widest_name(one) == widest_name(other)


def widest_name(name: x509.Name) -> CanonicalName:
    """Return a distinguished name in the form in which `look_alike` compares it.

    As `canonical_name`, with Unicode folded whole and invisible characters left out. RFC 4518 2.
    """
    return tuple(
        tuple(sorted(_part(part.oid.dotted_string, _wide(part.value)) for part in rdn))
        for rdn in name.rdns
    )


def _wide(value: str | bytes) -> str | bytes:
    return " ".join(folded(folded(value).casefold()).split()) if isinstance(value, str) else value


def _part(oid: str, value: str | bytes) -> tuple[str, str, bytes]:
    if isinstance(value, bytes):
        return oid, "octets", value
    return oid, "text", canonical_text(value).encode("utf-8", "surrogatepass")


def canonical_text(text: str) -> str:
    """Return the value of an attribute in the form of `canonical_name`: no case, single blanks."""
    # Blanks of ASCII only: OpenSSL takes a no-break space for a letter like others.
    return " ".join(_BLANKS.split(text)).strip(" ").translate(_ASCII_LOWER)


def shown_name(text: str) -> str:
    """Return a name of a peer fit for a line of text: what prints, and no more than 64 of it."""
    return "".join(char if char.isprintable() else " " for char in text[:_SHOWN_CHARS])


# --- Alternative names ------------------------------------------------------------------------


def canonical_mailbox(text: str) -> str:
    """Return a mailbox in the form in which RFC 5280 7.5 compares it: its domain has no case."""
    local, at, domain = text.rpartition("@")
    return f"{local}{at}{domain.translate(_ASCII_LOWER)}"


def canonical_uri(text: str) -> str:
    """Return a URI in the form in which RFC 5280 7.4 compares it: scheme and host have no case.

    Nothing else is normalised: what a server makes of a path is its own.
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.translate(_ASCII_LOWER) + colon
    if not colon or not rest.startswith("//"):
        return scheme + rest
    authority = re.split("[/?#]", rest[2:], maxsplit=1)[0]
    user, at, host = authority.rpartition("@")
    return f"{scheme}//{user}{at}{host.translate(_ASCII_LOWER)}{rest[2 + len(authority) :]}"


def canonical_general_name(der: bytes, limits: Limits) -> bytes | CanonicalName | str:
    """Return an encoded GeneralName in the form in which RFC 5280 7.2 to 7.5 compare it.

    Of a dNSName neither case nor a final dot matters; an address is its octets. Raises
    RemoteProtocolError for a directoryName that cannot be read.
    """
    element = _der.read_element(der)
    if element.tag == _DNS:
        host = element.content.lower()
        return bytes([_DNS]) + host.removesuffix(b".")
    if element.tag == _MAILBOX:
        return f"mailbox:{canonical_mailbox(element.content.decode('latin-1'))}"
    if element.tag == _URI:
        return f"uri:{canonical_uri(element.content.decode('latin-1'))}"
    if element.tag == _DIRECTORY:
        return canonical_name(read_name(element.content, limits))
    return der


def canonical_value(name: x509.GeneralName) -> bytes | CanonicalName | str:
    """Return a decoded GeneralName in the form of `canonical_general_name`."""
    if isinstance(name, x509.DirectoryName):
        return canonical_name(name.value)
    (der,) = _der.children(_der.read_element(x509.SubjectAlternativeName([name]).public_bytes()))
    return canonical_general_name(der.der, Limits())


def canonical_general_names(der: bytes | None, limits: Limits) -> CanonicalNames:
    """Return the names of a subjectAltName as the set that compares; empty for None.

    Raises what `read_general_names` does.
    """
    if der is None:
        return frozenset()
    names = read_general_names(der, limits)
    return frozenset(canonical_general_name(name, limits) for name in names)


# --- Names of unknown form ------------------------------------------------------------------


def strings_in(der: bytes, limits: Limits) -> tuple[str, ...]:
    """Return every character string in a DER value, at any depth, in order.

    For names whose form is not known here, as those of otherName. Octets that are no text in
    their encoding are replaced. Raises RemoteProtocolError der/... for what is not DER.
    """
    _der.check_der(der, limits)
    return tuple(_strings(_der.read_element(der), 0))


def _strings(element: _der.Element, depth: int) -> Iterator[str]:
    codec = _STRINGS.get(element.tag)
    if codec is None and 0x80 <= element.tag < 0xA0:  # implicitly tagged: perhaps a string
        codec = "utf-8"
    if codec is not None:
        yield element.content.decode(codec, errors="replace")
    elif element.tag & 0x20 and depth < _STRING_DEPTH:
        for child in _der.children(element):
            yield from _strings(child, depth + 1)
