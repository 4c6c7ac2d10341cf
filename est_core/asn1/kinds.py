"""Tells what a piece of DER is, by its outermost structure, or a PEM block by its label.

For messages that say what came instead, and to pick one thing out of a file that holds several. It
is a look at tags: whether the thing is a good one of its kind is for its own decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, unique
from typing import Final

from est_core import _oids
from est_core._errors import RemoteProtocolError
from est_core.asn1 import _der

_PKCS12_VERSION: Final = _der.integer(3)
_SEQUENCE: Final = b"\x30"
_INDEFINITE: Final = b"\x30\x80"
_SIGNED_DATA: Final = _der.oid(_oids.SIGNED_DATA)


@unique
class Kind(Enum):
    """What stands in a file, a PEM block or a body; the value is its name for people."""

    CERTIFICATE = "certificate"
    REQUEST = "certificate request"
    CRL = "revocation list"
    SIGNED_DATA = "PKCS#7 bag"
    OTHER_CMS = "CMS message that is no bag of certificates"
    PRIVATE_KEY = "private key"
    ENCRYPTED_KEY = "encrypted private key"
    PUBLIC_KEY = "public key"
    PARAMETERS = "parameters of a key"
    PKCS12 = "PKCS#12 file"
    OPENSSH_KEY = "OpenSSH private key"
    SSH_PUBLIC_KEY = "SSH public key"
    KEYSTORE = "Java keystore"
    UNKNOWN = "something unknown"

    @property
    def is_secret(self) -> bool:
        """True for what nobody should send or show."""
        return self in _SECRETS


_SECRETS: Final = frozenset(
    {Kind.PRIVATE_KEY, Kind.ENCRYPTED_KEY, Kind.PKCS12, Kind.OPENSSH_KEY, Kind.KEYSTORE}
)

_LABELS: Final = {
    "CERTIFICATE": Kind.CERTIFICATE,
    "X509 CERTIFICATE": Kind.CERTIFICATE,
    "TRUSTED CERTIFICATE": Kind.CERTIFICATE,
    "CERTIFICATE REQUEST": Kind.REQUEST,
    "NEW CERTIFICATE REQUEST": Kind.REQUEST,
    "X509 CRL": Kind.CRL,
    "CRL": Kind.CRL,
    "PKCS7": Kind.SIGNED_DATA,
    "PKCS #7 SIGNED DATA": Kind.SIGNED_DATA,
    "CMS": Kind.SIGNED_DATA,
    "CERTIFICATE CHAIN": Kind.SIGNED_DATA,
    "PRIVATE KEY": Kind.PRIVATE_KEY,
    "ENCRYPTED PRIVATE KEY": Kind.ENCRYPTED_KEY,
    "PUBLIC KEY": Kind.PUBLIC_KEY,
    "PKCS12": Kind.PKCS12,
    "OPENSSH PRIVATE KEY": Kind.OPENSSH_KEY,
    "SSH2 PUBLIC KEY": Kind.SSH_PUBLIC_KEY,
    "SSH2 ENCRYPTED PRIVATE KEY": Kind.OPENSSH_KEY,
}

# What consists of numbers alone, by how many come after the first: PKCS#1, and DSA's.
_NUMBERS: Final = {1: Kind.PUBLIC_KEY, 5: Kind.PRIVATE_KEY, 8: Kind.PRIVATE_KEY}


def named_kind(kind: Kind) -> str:
    """Return the name of a kind with its article."""
    name = kind.value
    if kind in (Kind.UNKNOWN, Kind.PARAMETERS):
        return name
    return f"{'an' if name[0] in 'aeiouO' or kind is Kind.SSH_PUBLIC_KEY else 'a'} {name}"


def not_a(wanted: Kind, der: bytes) -> str:
    """Return that `der` is not what is wanted, and what it is, where that can be told."""
    kind = kind_of(der)
    if kind in (wanted, Kind.UNKNOWN):
        return f"not a well-formed {wanted.value}"
    return f"not a {wanted.value} but {named_kind(kind)}"


def kind_of_label(label: str) -> Kind:
    """Return what a PEM label says; the older ones name the algorithm first. RFC 7468 4."""
    found = _LABELS.get(label)
    if found is not None:
        return found
    if label.endswith("PRIVATE KEY"):
        return Kind.PRIVATE_KEY
    if label.endswith("PUBLIC KEY"):
        return Kind.PUBLIC_KEY
    return Kind.PARAMETERS if label.endswith("PARAMETERS") else Kind.UNKNOWN


def kind_of(der: bytes) -> Kind:
    """Return what the bytes are. Bytes after the first element are not looked at."""
    try:
        return _kind_untrusted(der)
    except RemoteProtocolError:
        return Kind.UNKNOWN


def is_secret(der: bytes) -> bool:
    """Return whether `kind_of` the bytes is one that nobody should send or show."""
    try:
        return _kind_untrusted(der, within_signed=False).is_secret
    except RemoteProtocolError:
        return False


def _kind_untrusted(der: bytes, *, within_signed: bool = True) -> Kind:
    """Return the kind; of what is signed UNKNOWN, unless a look is to be taken at that."""
    if der.startswith(_INDEFINITE):  # BER, as some write PKCS#12 and PKCS#7
        rest = der[len(_INDEFINITE) :]
        if rest.startswith(_PKCS12_VERSION):
            return Kind.PKCS12
        return Kind.SIGNED_DATA if rest.startswith(_SIGNED_DATA) else Kind.UNKNOWN
    if not der.startswith(_SEQUENCE):
        return Kind.UNKNOWN
    tags, first = _der.member_tags(der)
    match tags:
        case [_der.SEQUENCE, _der.SEQUENCE, _der.BIT_STRING]:
            return _signed_kind(der, first) if within_signed else Kind.UNKNOWN
        case [_der.OBJECT_IDENTIFIER, 0xA0, *_]:
            return Kind.SIGNED_DATA if der.startswith(_SIGNED_DATA, first) else Kind.OTHER_CMS
        case [_der.INTEGER, *others]:
            return _numbered_kind(others, is_3=der.startswith(_PKCS12_VERSION, first))
        case [_der.SEQUENCE, _der.BIT_STRING]:
            return Kind.PUBLIC_KEY
        case [_der.SEQUENCE, _der.OCTET_STRING]:
            return Kind.ENCRYPTED_KEY
        case _:
            return Kind.UNKNOWN


def _signed_kind(der: bytes, pos: int) -> Kind:
    """Return whether it is a certificate, a request or a CRL that is signed, and begins there."""
    match _der.member_tags(der, pos, ber=True)[0]:
        case [_der.INTEGER, _der.SEQUENCE, _der.SEQUENCE]:
            return Kind.REQUEST  # without its attributes, which some leave out
        case [_der.INTEGER, _der.SEQUENCE, _der.SEQUENCE, 0xA0, *_]:
            return Kind.REQUEST
        case [_der.INTEGER, _, _, 0x17 | 0x18, *_] | [_der.SEQUENCE, _, 0x17 | 0x18, *_]:
            return Kind.CRL  # thisUpdate; only the version may be left out. RFC 5280 5.1
        case [0xA0, _der.INTEGER, *_] | [_der.INTEGER, _, _, _, _, _, *_]:
            return Kind.CERTIFICATE  # with a version, or of version 1. RFC 5280 4.1
        case _:
            return Kind.UNKNOWN


def _numbered_kind(others: Sequence[int], *, is_3: bool) -> Kind:
    """Return what begins with a version, which may be 3, or with a number of an RSA key."""
    match others:
        case [_der.OCTET_STRING, *_] | [_der.SEQUENCE, _der.OCTET_STRING, *_]:
            return Kind.PRIVATE_KEY  # SEC 1, PKCS#8
        case [_der.SEQUENCE, *_] if is_3:
            return Kind.PKCS12
        case _ if {*others} == {_der.INTEGER}:
            return _NUMBERS.get(len(others), Kind.UNKNOWN)
        case _:
            return Kind.UNKNOWN
