"""Parts of a certificate request in words: "CN=gate", "keyUsage=critical,digitalSignature".

What a person writes in a configuration file or on a command line, in the manner of OpenSSL's
x509v3_config: a name or an object identifier and, where the value is told, "=" and the value. Case
and hyphens in names do not matter. Every function raises LocalProtocolError for a word that it
cannot read, and says what would be one.
"""

from __future__ import annotations

import ipaddress
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, unique
from typing import Final

from cryptography import x509

from est_core import LocalProtocolError
from est_core.asn1.attributes import Attribute, text_value
from est_core.asn1.csrattrs import KNOWN_ATTRIBUTES, ObjectId
from est_core.asn1.keys import ALGORITHM_OF_KIND, SIGNATURE_ALGORITHMS
from est_core.asn1.oid_names import OID_NAMES
from est_core.asn1.template import (
    ExtensionTemplate,
    KeyTypeWanted,
    NameGap,
    SubjectAttribute,
    names_template,
)
from est_core.checks.names import shown_name
from est_transports.pki.key_usage import KEY_USES, key_usage

_EC: Final = "1.2.840.10045.2.1"
_RSA: Final = "1.2.840.113549.1.1.1"
_CURVES: Final = {
    "EC P-256": "1.2.840.10045.3.1.7",
    "EC P-384": "1.3.132.0.34",
    "EC P-521": "1.3.132.0.35",
}
SUBJECT_ALT_NAME: Final = "2.5.29.17"
_SERIAL_NUMBER: Final = "2.5.4.5"
_KEY_USAGE: Final = "2.5.29.15"
_PURPOSE: Final = "2.5.29.37"
_BASIC_CONSTRAINTS: Final = "2.5.29.19"

_SHORT_SUBJECT_NAMES: Final = {  # RFC 4514 3
    "CN": "2.5.4.3",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "C": "2.5.4.6",
    "STREET": "2.5.4.9",
    "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
}
_SUBJECT_ARCS: Final = ("2.5.4.", "0.9.2342.19200300.100.1.", "1.3.6.1.4.1.311.60.2.1.")
_EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
_EXTENSION_ARCS: Final = ("2.5.29.", "1.3.6.1.5.5.7.1.")

_PURPOSES: Final = {
    "clientAuth": "1.3.6.1.5.5.7.3.2",
    "serverAuth": "1.3.6.1.5.5.7.3.1",
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "ipsecIKE": "1.3.6.1.5.5.7.3.17",
}
_SAN_GAPS: Final = {"ip": NameGap.IP_ADDRESS, "dirname": NameGap.DIRECTORY_NAME}
SAN_KINDS: Final[Mapping[str, Callable[[str], x509.GeneralName]]] = {
    "dns": x509.DNSName,
    "ip": lambda text: x509.IPAddress(ipaddress.ip_address(text)),
    "email": x509.RFC822Name,
    "uri": x509.UniformResourceIdentifier,
}
"""Kinds of alternative names by the word before their colon."""


def _folded(word: str) -> str:
    return word.strip().replace("-", "").replace("_", "").replace(" ", "").casefold()


def _by_word(names: Mapping[str, str]) -> Mapping[str, str]:
    return {_folded(name): oid for name, oid in names.items()}


def _names_a_subject(oid: str) -> bool:
    return oid.startswith(_SUBJECT_ARCS) or oid == _EMAIL_ADDRESS


_SUBJECT_WORDS: Final = _by_word(
    {name: oid for oid, name in OID_NAMES.items() if _names_a_subject(oid)} | _SHORT_SUBJECT_NAMES
)
_EXTENSION_WORDS: Final = _by_word(
    {name: oid for oid, name in OID_NAMES.items() if oid.startswith(_EXTENSION_ARCS)}
)
_ATTRIBUTE_WORDS: Final = _by_word(
    {
        name: oid
        for oid, name in OID_NAMES.items()
        if oid.startswith(("1.2.840.113549.1.9.", "1.3.6.1.1.1.1."))
        or oid in ("2.5.4.5", "0.9.2342.19200300.100.1.5")
    }
)
_SUBJECT_ONLY: Final = frozenset(map(_folded, ("serialNumber", "emailAddress")))
_SIGNATURE_WORDS: Final = _by_word({row.name: row.oid for row in SIGNATURE_ALGORITHMS})
_USE_WORDS: Final = _by_word(
    {name: name for name in KEY_USES} | {"nonRepudiation": "content_commitment"}
)
_PURPOSE_WORDS: Final = _by_word(_PURPOSES)


def key_type_wanted(word: str) -> KeyTypeWanted:
    """Return a kind of key: "EC P-256", "RSA 3072", "RSA", "Ed25519", "ML-DSA-65"."""
    if word in _CURVES:
        return KeyTypeWanted(algorithm=_EC, curve=_CURVES[word])
    if word in ALGORITHM_OF_KIND:
        return KeyTypeWanted(algorithm=ALGORITHM_OF_KIND[word])
    if word == "RSA":
        return KeyTypeWanted(algorithm=_RSA)
    bits = word.removeprefix("RSA ")
    if word.startswith("RSA ") and bits.isascii() and bits.isdigit() and len(bits) < 6:
        return KeyTypeWanted(algorithm=_RSA, bits=int(bits))
    known = ", ".join((*_CURVES, "RSA", "RSA 3072", *ALGORITHM_OF_KIND))
    raise LocalProtocolError(f"{shown_name(word)!r} is none of {known}")


def signature_oid(word: str) -> str:
    """Return the object identifier of a signature algorithm, "ecdsa-with-SHA256" or dotted."""
    return _oid(word, _SIGNATURE_WORDS, "signature algorithm")


def subject_part(word: str) -> SubjectAttribute:
    """Return a part of a subject: "CN" leaves the value to the client, "O=Example" tells it."""
    name, told, _ = word.partition("=")
    if not told:
        return SubjectAttribute(type=_oid(name, _SUBJECT_WORDS, "part of a subject"))
    return SubjectAttribute.of(subject_attribute(word))


def subject_attribute(word: str) -> x509.NameAttribute[str]:
    """Return a part of a subject with its value: "O=Example"."""
    name, told, text = word.partition("=")
    oid = _oid(name, _SUBJECT_WORDS, "part of a subject")
    if not told:
        raise LocalProtocolError("a value is needed, as NAME=VALUE")
    try:
        return x509.NameAttribute(x509.ObjectIdentifier(oid), text.strip())
    except ValueError as exc:
        raise LocalProtocolError(f"{_shown(word)}: {exc}") from exc


def alternative_names(words: Iterable[str]) -> bytes:
    """Return the value of a subjectAltName: "dns:gate.example", "ip:192.0.2.1", "email:", "uri:".

    "ip" and "dirname" alone leave the name to the client, which RFC 9908 3.4 allows for these two.
    """
    return names_template([_alternative_name(word) for word in words])


def _alternative_name(word: str) -> x509.GeneralName | NameGap:
    kind, told, text = word.strip().partition(":")
    if not told and kind.lower() in _SAN_GAPS:
        return _SAN_GAPS[kind.lower()]
    make = SAN_KINDS.get(kind.lower())
    if make is not None and not told:
        gaps = " and ".join(_SAN_GAPS)
        raise LocalProtocolError(
            f"{_shown(word)} needs a name, as {kind}:...; of one kind only {gaps} can be left to"
            ' the client, and "subjectAltName" in extensions leaves it all names'
        )
    if make is None or not text:
        known = ", ".join((*_SAN_GAPS, *(f"{name}:..." for name in SAN_KINDS)))
        raise LocalProtocolError(f"{_shown(word)} is none of {known}")
    try:
        return make(text)
    except ValueError as exc:
        raise LocalProtocolError(f"{_shown(word)}: {exc}") from exc


def wanted_extension(word: str) -> ExtensionTemplate:
    """Return an extension: "keyUsage=critical,digitalSignature", "1.2.3.4=hex:0500".

    Without a value, or with "critical" alone, the value is the client's. keyUsage, extendedKeyUsage
    and basicConstraints have words; any other value is DER, in "hex:" or "base64:".
    """
    name, _, text = word.partition("=")
    oid = _oid(name, _EXTENSION_WORDS, "extension")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    critical = bool(parts) and parts[0].lower() == "critical"
    parts = parts[critical:]
    if not parts:
        return ExtensionTemplate(oid=oid, critical=critical)
    value = _octets(parts[0]) if len(parts) == 1 else None
    if value is None:
        read = _VALUES.get(oid)
        if read is None:
            raise LocalProtocolError(f"{_shown(word)}: write its DER as hex:... or base64:...")
        value = read(parts)
    return ExtensionTemplate(oid=oid, critical=critical, value=value)


def wanted_attribute(word: str) -> Attribute | ObjectId:
    """Return an attribute: "unstructuredName=gate", "1.2.3.4=hex:0500"; a bare name is left open.

    A value is text, in the string type that the attribute has, or DER in "hex:" or "base64:";
    "text:" before a text that begins like one of these.
    """
    name, told, text = word.partition("=")
    oid = _oid(name, _ATTRIBUTE_WORDS, "attribute")
    if not told:
        return ObjectId(oid=oid)
    value = _octets(text.strip())
    if value is None:
        try:
            value = text_value(oid, text.removeprefix("text:"))
        except LocalProtocolError as exc:
            raise LocalProtocolError(f"{_shown(word)}: {exc.message}") from exc
    return Attribute(type=oid, values=(value,))


@unique
class PartKind(Enum):
    """Where in a request a part has its place."""

    SUBJECT = "subject"
    EXTENSION = "extension"
    ATTRIBUTE = "attribute"


def kind_of_part(word: str) -> PartKind:
    """Return where a word belongs whose name says it alone.

    A serialNumber is a part of the subject (RFC 9908 5.5). An object identifier is one where its
    arc is X.520's or that of RFC 4519, an extension where that is RFC 5280's, else an attribute.
    """
    name = word.partition("=")[0]
    if _folded(name) in _EXTENSION_WORDS:
        return PartKind.EXTENSION
    if _folded(name) in _ATTRIBUTE_WORDS and _folded(name) not in _SUBJECT_ONLY:
        return PartKind.ATTRIBUTE
    if _folded(name) in _SUBJECT_WORDS:
        return PartKind.SUBJECT
    oid = _oid(name, {}, "part of a request")
    if oid.startswith(_EXTENSION_ARCS):
        return PartKind.EXTENSION
    if _names_a_subject(oid) and oid not in KNOWN_ATTRIBUTES - {_SERIAL_NUMBER}:
        return PartKind.SUBJECT
    return PartKind.ATTRIBUTE


def bare_oid(word: str) -> str:
    """Return an object identifier given by its dotted form, checked."""
    return ObjectId(oid=word).oid


def _oid(word: str, known: Mapping[str, str], what: str) -> str:
    """Return what a name stands for, or the object identifier that it is."""
    if (oid := known.get(_folded(word))) is not None:
        return oid
    if word.strip()[:1].isdigit():
        return bare_oid(word.strip())
    raise LocalProtocolError(
        f"{_shown(word)} is no {what} that is known; write its object identifier"
    )


def _octets(text: str) -> bytes | None:
    """Return DER written in hexadecimal or base64; None for what is neither."""
    kind, _, digits = text.partition(":")
    try:
        match kind.lower():
            case "hex":
                return bytes.fromhex(digits)
            case "base64":
                return b64decode(digits, validate=True)
            case _:
                return None
    except ValueError as exc:
        raise LocalProtocolError(f"{_shown(text)} is no {kind.lower()}") from exc


def _key_usage(words: list[str]) -> bytes:
    uses = {_known(word, _USE_WORDS, "use of a key") for word in words}
    try:
        return key_usage(uses).public_bytes()
    except ValueError as exc:
        raise LocalProtocolError(f"keyUsage: {exc}") from exc


def _purposes(words: list[str]) -> bytes:
    oids = [_oid(word, _PURPOSE_WORDS, "purpose") for word in words]
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in oids]).public_bytes()


def _basic_constraints(words: list[str]) -> bytes:
    told = dict(word.lower().partition(":")[::2] for word in words)
    length = told.pop("pathlen", None)
    is_number = length is None or (length.isascii() and length.isdigit() and len(length) < 4)
    if told not in ({"ca": "true"}, {"ca": "false"}) or not is_number:
        raise LocalProtocolError("basicConstraints is CA:FALSE, CA:TRUE or CA:TRUE,pathlen:0")
    ca = told["ca"] == "true"
    try:
        path_length = None if length is None else int(length)
        return x509.BasicConstraints(ca=ca, path_length=path_length).public_bytes()
    except ValueError as exc:
        raise LocalProtocolError(f"basicConstraints: {exc}") from exc


_VALUES: Final[Mapping[str, Callable[[list[str]], bytes]]] = {
    _KEY_USAGE: _key_usage,
    _PURPOSE: _purposes,
    _BASIC_CONSTRAINTS: _basic_constraints,
    SUBJECT_ALT_NAME: alternative_names,
}


def _known(word: str, known: Mapping[str, str], what: str) -> str:
    found = known.get(_folded(word))
    if found is None:
        raise LocalProtocolError(f"{_shown(word)} is no {what}")
    return found


def _shown(word: str) -> str:
    return repr(shown_name(word))
