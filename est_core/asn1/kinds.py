"""Tells what a piece of DER is, by its outermost structure, or a PEM block by its label.

For messages that say what came instead, and to pick one thing out of a file that holds several. It
is a look at tags: whether the thing is a good one of its kind is for its own decoder.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from est_core import _oids
from est_core._errors import RemoteProtocolError
from est_core.asn1 import _der

_EXPLICIT_0: Final = 0xA0
_TIMES: Final = frozenset({0x17, 0x18})
_PKCS12_VERSION: Final = _der.integer(3)
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


def _kind_untrusted(der: bytes) -> Kind:
    if der.startswith(_INDEFINITE):  # BER, as some write PKCS#12 and PKCS#7
        rest = der[len(_INDEFINITE) :]
        if rest.startswith(_PKCS12_VERSION):
            return Kind.PKCS12
        return Kind.SIGNED_DATA if rest.startswith(_SIGNED_DATA) else Kind.UNKNOWN
    outer = _der.read_element(der)
    if outer.tag != _der.SEQUENCE:
        return Kind.UNKNOWN
    parts = _der.children(outer, ber=True)
    tags = tuple(part.tag for part in parts)
    if tags == (_der.SEQUENCE, _der.SEQUENCE, _der.BIT_STRING):
        return _signed_kind(parts[0])
    if tags[:1] == (_der.OBJECT_IDENTIFIER,):
        return _content_kind(parts)
    if tags[:1] == (_der.INTEGER,):
        return _numbered_kind(parts, tags)
    if tags == (_der.SEQUENCE, _der.BIT_STRING):
        return Kind.PUBLIC_KEY
    return Kind.ENCRYPTED_KEY if tags == (_der.SEQUENCE, _der.OCTET_STRING) else Kind.UNKNOWN


def _signed_kind(signed: _der.Element) -> Kind:
    """Return whether it is a certificate, a request or a CRL that is signed."""
    tags = [part.tag for part in _der.children(signed, ber=True)]
    if tags[:3] == [_der.INTEGER, _der.SEQUENCE, _der.SEQUENCE] and (
        len(tags) == 3 or tags[3] == _EXPLICIT_0
    ):
        return Kind.REQUEST
    if tags[:1] == [_der.INTEGER] and tags[3:4] and tags[3] in _TIMES:
        return Kind.CRL
    if tags[:2] == [_der.SEQUENCE, _der.SEQUENCE] and tags[2:3] and tags[2] in _TIMES:
        return Kind.CRL
    explicit = tags[:2] == [_EXPLICIT_0, _der.INTEGER]
    of_version_1 = tags[:1] == [_der.INTEGER] and len(tags) >= _FIELDS_OF_VERSION_1
    return Kind.CERTIFICATE if explicit or of_version_1 else Kind.UNKNOWN


_FIELDS_OF_VERSION_1: Final = 6  # more than a request has. RFC 5280 4.1


def _content_kind(parts: tuple[_der.Element, ...]) -> Kind:
    if len(parts) == 1:
        return Kind.UNKNOWN
    if parts[1].tag != _EXPLICIT_0:
        return Kind.UNKNOWN
    return Kind.SIGNED_DATA if parts[0].der == _SIGNED_DATA else Kind.OTHER_CMS


def _numbered_kind(parts: tuple[_der.Element, ...], tags: tuple[int, ...]) -> Kind:
    """Return what begins with a version, or with a number of an RSA key."""
    if tags[1:2] == (_der.OCTET_STRING,):
        return Kind.PRIVATE_KEY  # SEC 1
    if tags[1:3] == (_der.SEQUENCE, _der.OCTET_STRING):
        return Kind.PRIVATE_KEY  # PKCS#8
    if tags[1:2] == (_der.SEQUENCE,) and parts[0].der == _PKCS12_VERSION:
        return Kind.PKCS12
    if set(tags) == {_der.INTEGER}:
        return {2: Kind.PUBLIC_KEY, 9: Kind.PRIVATE_KEY, 6: Kind.PRIVATE_KEY}.get(
            len(tags), Kind.UNKNOWN
        )  # PKCS#1, and DSA's
    return Kind.UNKNOWN
