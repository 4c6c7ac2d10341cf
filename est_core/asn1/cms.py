"""The certs-only bag: a SignedData that signs nothing and carries certificates; or one bare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import _oids
from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.certificates import CertificateBag, load_certificate, sorted_out
from est_core.asn1.kinds import Kind, not_a

_EXPLICIT_0: Final = 0xA0
_CERTIFICATES: Final = 0xA0
_CRLS: Final = 0xA1
# Each is OPTIONAL. RFC 5652 5.1.
_BAGS: Final = ((), (_CERTIFICATES,), (_CRLS,), (_CERTIFICATES, _CRLS))
_VERSIONS: Final = frozenset({1, 3, 4, 5})  # RFC 5652 5.1: by the content and what is in the bag
_CONSTRUCTED: Final = 0x20

# CertificateChoices other than a certificate. RFC 5652 10.2.2.
_CHOICES: Final = {
    0xA0: "an extended certificate of PKCS#6",
    0xA1: "an attribute certificate of version 1",
    0xA2: "an attribute certificate",
    0xA3: "a certificate in another format than X.509",
}

# What stands around the certificates of every bag.
_NOTHING: Final = _der.set_of(())
_BEFORE: Final = _der.integer(1) + _NOTHING + _der.sequence(_der.oid(_oids.DATA))
_SIGNED_DATA: Final = _der.oid(_oids.SIGNED_DATA)


@checked
def write_certs_only(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return the DER of a ContentInfo that holds these certificates and nothing else.

    Version 1, no digest algorithm, no content, the certificates once each and sorted as DER
    demands, no `crls` (an empty one breaks a client), no signer: equal certificates give equal
    bytes in any order. Raises LocalProtocolError for none. RFC 5272 4.1,
    RFC 7030 4.1.3, 4.2.3.
    """
    if not certificates:
        raise LocalProtocolError("a certs-only bag holds at least one certificate")
    return _bag({certificate.public_bytes(Encoding.DER) for certificate in certificates})


@checked
def write_bag(certificates: Iterable[bytes]) -> bytes:
    """Return what write_certs_only does, of certificates in DER, which are not looked at."""
    return _bag(certificates)


def _bag(certificates: Iterable[bytes]) -> bytes:
    signed_data = _der.sequence(_BEFORE, _der.set_of(certificates, tag=_CERTIFICATES), _NOTHING)
    return _der.sequence(_SIGNED_DATA, _der.tlv(_EXPLICIT_0, signed_data))


@checked
def read_bag(der: bytes, limits: Limits, *, max_bytes: int | None = None) -> CertificateBag:
    """Return the certificates of a certs-only bag in the order they came, each once.

    One that cannot be read is left out, and so is what is no X.509 certificate: attribute
    certificates and other choices of RFC 5652 10.2.2. BER is accepted, a set out of order, a
    `crls` field (empty in the answers of Go servers with mozilla's pkcs7), digest algorithms
    (RFC 7030 A.1), versions 1 to 5, and content of no bytes (the Foundries.io server). The order
    means nothing (RFC 5272 4.1). `max_bytes` defaults to `limits.response_body_bytes`.
    Raises RemoteProtocolError: cms/malformed, cms/content (it carries something), cms/signed (it
    has a signer), cms/no-certificates, cms/too-many-certificates, der/... RFC 5652 5.1.
    """
    max_bytes = limits.response_body_bytes if max_bytes is None else max_bytes
    malformed: dict[bytes, str] = {}
    try:
        _der.check_ber(der, limits, max_bytes=max_bytes)
    except RemoteProtocolError:
        malformed = _malformed_untrusted(der, limits, max_bytes)
        if not malformed:
            raise
    elements = _certificates_untrusted(_signed_data_untrusted(der))
    if not elements:
        raise RemoteProtocolError("cms/no-certificates", "there is no certificate")
    if len(elements) > limits.certificates:
        message = f"{len(elements)} certificates, {limits.certificates} are allowed"
        raise RemoteProtocolError("cms/too-many-certificates", message)
    others = {
        element.der: _CHOICES.get(element.tag, f"a choice with tag {element.tag:#04x}")
        for element in elements
        if element.tag != _der.SEQUENCE
    }
    return sorted_out([element.der for element in elements], malformed | others)


def _malformed_untrusted(der: bytes, limits: Limits, max_bytes: int) -> dict[bytes, str]:
    """Return the certificates of a bag that did not pass the gate, and what is wrong with each.

    Where they begin and end is known if the bag itself is in order: none is returned if it is
    not, or is too large. A revocation list is not looked into, as nowhere.
    """
    if len(der) > max_bytes:
        return {}
    try:
        outer = _der.read_element(der, ber=True)
        members = _signed_data_untrusted(der)
        for member in members:
            if member.tag not in (_CERTIFICATES, _CRLS):
                _der.check_ber(member.der, limits, max_bytes=max_bytes)
        elements = _certificates_untrusted(members)
    except RemoteProtocolError:
        return {}
    if len(outer.der) != len(der) or len(elements) > limits.certificates:
        return {}
    return {
        element.der: f"not well-formed DER ({reason})"
        for element in elements
        if (reason := _fault_untrusted(element.der, limits, max_bytes))
    }


def _fault_untrusted(der: bytes, limits: Limits, max_bytes: int) -> str:
    try:
        _der.check_ber(der, limits, max_bytes=max_bytes)
    except RemoteProtocolError as exc:
        return exc.message
    return ""


@checked
def read_certs_only(
    der: bytes, limits: Limits, *, max_bytes: int | None = None
) -> tuple[x509.Certificate, ...]:
    """Return all certificates of a certs-only bag, as read_bag does.

    Raises RemoteProtocolError("cms/bad-certificate") if one of them cannot be read.
    """
    bag = read_bag(der, limits, max_bytes=max_bytes)
    if bag.left_out:
        raise RemoteProtocolError("cms/bad-certificate", bag.left_out[0].text)
    return bag.certificates


@checked
def read_certificate(
    der: bytes, limits: Limits, *, max_bytes: int | None = None
) -> x509.Certificate:
    """Return the one certificate that stands there by itself, as application/pkix-cert has it.

    `max_bytes` defaults to `limits.response_body_bytes`. Raises RemoteProtocolError:
    cms/bad-certificate (it cannot be read whole, key included), der/... RFC 2585 3.
    """
    _der.check_der(
        der, limits, max_bytes=limits.response_body_bytes if max_bytes is None else max_bytes
    )
    return load_certificate(der)


def _malformed(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("cms/malformed", message)


def _members(element: _der.Element, what: str) -> list[_der.Element]:
    _der.expect(element, _der.SEQUENCE, "cms/malformed", what)
    return list(_der.children(element, ber=True))


def _signed_data_untrusted(der: bytes) -> list[_der.Element]:
    """Return the members of the SignedData in a ContentInfo."""
    outer = _members(_der.read_element(der, ber=True), "the ContentInfo")
    if [part.tag for part in outer] != [_der.OBJECT_IDENTIFIER, _EXPLICIT_0]:
        raise _malformed(not_a(Kind.SIGNED_DATA, der))
    content = _der.read_oid(outer[0])
    if content != _oids.SIGNED_DATA:
        raise _malformed(f"the content is of type {content}, not SignedData")
    inner = _der.children(outer[1], ber=True)
    if len(inner) != 1:
        raise _malformed("not one SignedData")
    return _members(inner[0], "the SignedData")


def _certificates_untrusted(members: list[_der.Element]) -> tuple[_der.Element, ...]:
    """Return the certificates of a SignedData once everything around them is as it must be."""
    tags = [member.tag for member in members]
    around = [_der.INTEGER, _der.SET, _der.SEQUENCE, _der.SET]
    if tags[:3] + tags[-1:] != around or tuple(tags[3:-1]) not in _BAGS:
        raise _malformed("not a SignedData")
    version = _der.read_integer(members[0])
    if version not in _VERSIONS:
        raise _malformed(f"the version of the SignedData is {version}, not 1, 3, 4 or 5")
    _refuse_content(members[2])
    if signers := _der.children(members[-1], ber=True):
        message = f"a certs-only message is signed, by {len(signers)}"
        raise RemoteProtocolError("cms/signed", message)
    if members[3].tag != _CERTIFICATES:
        return ()
    return _der.children(members[3], ber=True)


def _refuse_content(encapsulated: _der.Element) -> None:
    """Refuse content other than an OCTET STRING of no bytes, which some servers send."""
    parts = _members(encapsulated, "the content info")
    if [part.tag for part in parts] not in (
        [_der.OBJECT_IDENTIFIER],
        [_der.OBJECT_IDENTIFIER, _EXPLICIT_0],
    ):
        raise _malformed("not an EncapsulatedContentInfo")
    _der.read_oid(parts[0])
    # A BER string may be in pieces and the pieces in pieces; the gate has bounded the depth.
    pending = list(_der.children(parts[1], ber=True)) if len(parts) > 1 else []
    while pending:
        part = pending.pop()
        if part.tag & ~_CONSTRUCTED != _der.OCTET_STRING:
            raise RemoteProtocolError("cms/content", "a certs-only message has content")
        if part.tag & _CONSTRUCTED:
            pending.extend(_der.children(part, ber=True))
        elif part.content:
            raise RemoteProtocolError("cms/content", "a certs-only message has content")
