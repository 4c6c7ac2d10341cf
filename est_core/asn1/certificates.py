"""Reads one certificate whole, or says which part of it cannot be read.

Certificates come in bags, chains and files, and one that nobody can read must not cost the others:
it is kept as bytes, with its place, its subject as far as it can be read, and its fingerprint, so
that a person can tell which one was left out. RFC 5652 10.2.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import partial
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import _oids
from est_core._errors import RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.attributes import extensions_in
from est_core.asn1.distinguished_name import decode_name
from est_core.asn1.oid_names import named
from est_core.asn1.requested import decode_extensions
from est_core.values import unchecked_value_class

NOT_READ: Final = (
    ValueError,
    TypeError,
    KeyError,  # cryptography 49, for a name whose value is no string
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for a certificate, or a part of one, that it does not read."""

# For a serial number of 0 a warning, where the program turned warnings into errors.
UNREADABLE: Final = (*NOT_READ, Warning)
"""The same, and what it raises where it warns of one."""

_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_SUBJECT_ALT_NAME: Final = _der.oid(_oids.SUBJECT_ALT_NAME)
_CODE: Final = "cms/bad-certificate"
_SHOWN_CHARS: Final = 128
_ALL_EXTENSIONS: Final = Limits(csr_extensions=1024)


@unchecked_value_class
class UnreadableCertificate:
    """A certificate that was left out: `position` counts from 1 among those that came.

    `subject` is RFC 4514 text, cut where it is long, empty where it cannot be read either; `reason`
    is which part is wrong. `line` is where its PEM block begins, if it has one. `der` is empty
    where a PEM block has no bytes to be had.
    """

    position: int
    reason: str
    der: bytes = field(repr=False)
    subject: str = ""
    line: int | None = None

    @property
    def sha256(self) -> str:
        """The fingerprint in hexadecimal, in capitals."""
        return hashlib.sha256(self.der).hexdigest().upper()

    @property
    def text(self) -> str:
        """One line that tells it from others, and why it was left out."""
        if not self.der:
            return f"certificate {self.position}{self._place}: {self.reason}"
        digits = self.sha256
        pairs = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
        subject = f"subject {self.subject}" if self.subject else "subject unreadable"
        return (
            f"certificate {self.position}{self._place}, {subject}, SHA-256 {pairs}: {self.reason}"
        )

    @property
    def _place(self) -> str:
        return "" if self.line is None else f" (line {self.line})"


@unchecked_value_class
class CertificateBag:
    """The certificates that can be read, in their order, each once, and those left out."""

    certificates: tuple[x509.Certificate, ...]
    left_out: tuple[UnreadableCertificate, ...] = ()


def load_certificate(der: bytes) -> x509.Certificate:
    """Return a certificate, every part of it decoded once so that nothing fails later.

    Raises RemoteProtocolError("cms/bad-certificate"), whose message names the part that cannot be
    read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        _read_all(certificate)
    except UNREADABLE as exc:
        raise RemoteProtocolError(_CODE, f"a certificate cannot be read: {_why(der)}") from exc
    return certificate


def sorted_out(
    ders: Iterable[bytes], others: Mapping[bytes, str] = MappingProxyType({})
) -> CertificateBag:
    """Return what can be read of these, and what cannot. Repeats are dropped.

    `others` are those that are no certificates at all, and what they are.
    """
    found: dict[bytes, x509.Certificate | UnreadableCertificate] = {}
    for position, der in enumerate(ders, 1):
        if der in others:
            found[der] = UnreadableCertificate(
                position=position, der=der, reason=f"it is {others[der]}"
            )
        elif der not in found:
            found[der] = _sorted_out(der, position)
    return CertificateBag(
        certificates=tuple(each for each in found.values() if isinstance(each, x509.Certificate)),
        left_out=tuple(each for each in found.values() if isinstance(each, UnreadableCertificate)),
    )


def unreadable(
    der: bytes, position: int, *, reason: str = "", line: int | None = None
) -> UnreadableCertificate:
    """Return what is to be told of a certificate that cannot be read."""
    return UnreadableCertificate(
        position=position, der=der, reason=reason or _why(der), subject=_subject(der), line=line
    )


def key_of_unreadable(der: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo as it stands in a certificate, b"" where there is none."""
    try:
        return _parts(der)["subjectPublicKeyInfo"].der
    except (RemoteProtocolError, KeyError):
        return b""


def names_of(
    certificate: x509.Certificate, known: Mapping[bytes, x509.Name] = MappingProxyType({})
) -> tuple[x509.Name, bytes | None]:
    """Return the subject of a certificate and the GeneralNames of its subjectAltName, if any.

    Other parts may be what they will: they are not read. `known` are names by their DER that need
    not be decoded again. Raises RemoteProtocolError.
    """
    fields = _fields(_der.read_element(certificate.tbs_certificate_bytes))
    element = fields["subject"]
    subject = known.get(element.der) or decode_name(element, Limits(), "its subject")
    if "extensions" not in fields:
        return subject, None
    return subject, _alt_names(_der.children(fields["extensions"])[0])


def _alt_names(extensions: _der.Element) -> bytes | None:
    """Return the value of the subjectAltName in the Extensions of a certificate, if any."""
    found: dict[bytes, _der.Element] = {}
    for extension in _der.children(extensions):
        content = extension.content
        oid = content[: 2 + content[1]]  # `cryptography` reads none that is as long as 128 octets
        if found.setdefault(oid, extension).der != extension.der:
            # Two of one type: whether they contradict each other is said there.
            extensions_in(extensions.der, _ALL_EXTENSIONS, "its extensions")
    named = found.get(_SUBJECT_ALT_NAME)
    return None if named is None else _der.children(named)[-1].content


def _sorted_out(der: bytes, position: int) -> x509.Certificate | UnreadableCertificate:
    try:
        return load_certificate(der)
    except RemoteProtocolError:
        return unreadable(der, position)


def _read_all(certificate: x509.Certificate) -> None:
    _ = (
        certificate.subject,
        certificate.issuer,
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.extensions,
        certificate.public_key(),
    )


# --- What is wrong with it -------------------------------------------------------------------


def _parts(der: bytes) -> dict[str, _der.Element]:
    """Return the fields of a certificate by their names. Raises RemoteProtocolError."""
    outer = _der.children(_der.read_element(der))
    found = _fields(outer[0]) if outer else {}
    if len(outer) > 1:
        found["signatureAlgorithm"] = outer[1]
    return found


def _fields(tbs: _der.Element) -> dict[str, _der.Element]:
    """Return the fields of a TBSCertificate by their names."""
    fields = list(_der.children(tbs))
    if fields and fields[0].tag == _VERSION:
        fields.pop(0)
    found = dict(zip(_FIELDS, fields, strict=False))
    for each in fields:
        if each.tag == _EXTENSIONS:
            found["extensions"] = each
    return found


_FIELDS: Final = (
    *("serialNumber", "signature", "issuer", "validity"),
    *("subject", "subjectPublicKeyInfo"),
)


def _subject(der: bytes) -> str:
    try:
        return _shown(decode_name(_parts(der)["subject"], Limits(), "the subject"))
    except (RemoteProtocolError, KeyError):
        return ""


def _shown(name: x509.Name) -> str:
    """Return a name that nobody vouches for as one line that is not long."""
    text = name.rfc4514_string()
    text = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
    return "".join(char if char.isprintable() else "?" for char in text)


def _why(der: bytes) -> str:
    """Return which part of a certificate is the first that cannot be read."""
    try:
        parts = _parts(der)
    except RemoteProtocolError as exc:
        return f"it is not well-formed DER ({exc.message})"
    if not all(name in parts for name, _ in _CHECKS):
        return "it is no X.509 certificate"
    for name, check in _CHECKS:
        if reason := check(parts[name]):
            return reason
    for reason in _whole_faults(der):
        return reason
    return "it is not an X.509 certificate in DER"


def _name_fault(what: str, element: _der.Element) -> str:
    try:
        name = decode_name(element, Limits(), f"its {what}")
        x509.Name.from_bytes(element.der)
    except RemoteProtocolError as exc:
        return exc.message
    except UNREADABLE:
        return f"its {what} holds what its string types have not: {_shown(name)}"
    return ""


def _serial_fault(element: _der.Element) -> str:
    try:
        serial = _der.read_integer(element)
    except RemoteProtocolError as exc:
        return f"its serial number is malformed ({exc.message})"
    return "" if serial >= 0 else "its serial number is negative"


def _algorithm_fault(element: _der.Element) -> str:
    try:
        parts = _der.children(element)
        algorithm = _der.read_oid(parts[0])
    except (RemoteProtocolError, IndexError):
        return "its signature algorithm is malformed"
    if algorithm.startswith("1.2.840.10045.4.") and len(parts) > 1:
        return f"its signature algorithm {named(algorithm)} has parameters, and must have none"
    return ""


def _key_fault(element: _der.Element) -> str:
    try:
        algorithm = _der.read_oid(_der.children(_der.children(element)[0])[0])
    except (RemoteProtocolError, IndexError):
        return "its public key is malformed"
    try:
        load_der_public_key(element.der)
    except UNREADABLE:
        return f"its public key, of kind {named(algorithm)}, cannot be read"
    return ""


_CHECKS: Final[tuple[tuple[str, Callable[[_der.Element], str]], ...]] = (
    ("serialNumber", _serial_fault),
    ("signature", _algorithm_fault),
    ("issuer", partial(_name_fault, "issuer")),
    ("subject", partial(_name_fault, "subject")),
    ("subjectPublicKeyInfo", _key_fault),
    ("signatureAlgorithm", _algorithm_fault),
)


def _whole_faults(der: bytes) -> Iterator[str]:
    """Yield what is wrong where each part by itself seemed right."""
    try:
        certificate = x509.load_der_x509_certificate(der)
    except x509.InvalidVersion as exc:
        yield f"its version is {exc.parsed_version + 1}"
        return
    except Warning:
        yield "its serial number is not positive"
        return
    except UNREADABLE:
        yield from _extension_faults(der)
        return
    try:
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except UNREADABLE:
        yield "its validity is no time that exists"
    try:
        _ = certificate.extensions
    except x509.DuplicateExtension as exc:
        yield f"its extension {named(exc.oid.dotted_string)} is there twice"
    except UNREADABLE:
        yield from _extension_faults(der)


def _extension_faults(der: bytes) -> Iterator[str]:
    try:
        (outer,) = _der.children(_parts(der)["extensions"])
        extensions = extensions_in(outer.der, _ALL_EXTENSIONS, "its extensions")
    except RemoteProtocolError as exc:
        yield exc.message
        return
    except (KeyError, ValueError):
        return
    for extension in extensions:
        try:
            decode_extensions([extension])
        except UNREADABLE:
            yield f"its extension {named(extension.oid)} cannot be decoded"
