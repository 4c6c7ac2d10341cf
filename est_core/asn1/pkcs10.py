"""A PKCS#10 certificate request: read into a value, or built up to what is to be signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from est_core import _oids
from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    bound_name,
    challenge_password,
    gated_extensions,
    read_attribute,
    read_directory_string,
    read_general_names,
)
from est_core.asn1.keys import (
    USUAL_IDENTIFIERS,
    PublicKeyFacts,
    SignatureAlgorithm,
    gated_key_facts,
    signature_algorithm,
)

_ATTRIBUTES: Final = 0xA0
_VERSION_1: Final = _der.integer(0)

CHALLENGES: Final = frozenset(
    {
        _oids.CHALLENGE_PASSWORD,
        _oids.EST_IDENTITY_LINKING,
        _oids.OTP_CHALLENGE,
        _oids.REVOCATION_CHALLENGE,
    }
)
"""Attributes whose values are strings that a client proves something with. RFC 7894."""

# OpenSSL and `cryptography` read extensions from either, whichever comes first. What is checked
# here has to be what everybody else reads.
_EXTENSION_REQUESTS: Final = (_oids.EXTENSION_REQUEST, _oids.MICROSOFT_EXTENSION_REQUEST)
_NAME_BYTES: Final = 2  # of the shortest element: a tag and a length
_BOUNDS_OF_NAMES: Final = ("csr/too-many-names", "der/too-many-nodes")

_RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
_PSS_DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CertRequest:
    """A certificate request that was read whole; only its signature is not yet verified.

    `der` is all of it, `info_der` the part that is signed, `subject_der` its subject as it stands
    there. `spki` is the SubjectPublicKeyInfo in its usual form (`PublicKeyFacts.spki`), so that
    equal keys have equal bytes however the client wrote them.
    `extensions` are those of the extensionRequest, in its own attribute or in that of Microsoft,
    `challenges` every value of every attribute
    in CHALLENGES as (type, text), repeats included: whether one may repeat is for the check that
    reads it.
    """

    der: bytes = field(repr=False)
    info_der: bytes = field(repr=False)
    subject: x509.Name
    subject_der: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    key: PublicKeyFacts
    attributes: tuple[Attribute, ...]
    extensions: tuple[Extension, ...]
    challenges: tuple[tuple[str, str], ...] = field(repr=False)
    signature_algorithm: str
    """Object identifier of the algorithm it says it is signed with."""

    def public_key(self) -> CertificatePublicKeyTypes:
        """Return the key that is to be certified, for a CA to put into a certificate."""
        return x509.load_der_x509_csr(self.der).public_key()

    def attribute(self, oid: str) -> tuple[Attribute, ...]:
        """Return every attribute of that type."""
        return tuple(found for found in self.attributes if found.type == oid)

    def extension(self, oid: str) -> Extension | None:
        """Return the extension of that type, if it is asked for."""
        return next((found for found in self.extensions if found.oid == oid), None)

    def challenge(self, oid: str) -> tuple[str, ...]:
        """Return every value of a challenge attribute; more than one is a contradiction."""
        return tuple(text for kind, text in self.challenges if kind == oid)

    @property
    def challenge_passwords(self) -> tuple[str, ...]:
        """Every challengePassword. RFC 7030 3.5 knows one at most."""
        return self.challenge(_oids.CHALLENGE_PASSWORD)

    @property
    def subject_alt_name_der(self) -> bytes | None:
        """The GeneralNames of the SubjectAltName asked for."""
        found = self.extension(_oids.SUBJECT_ALT_NAME)
        return found.value if found else None


def parse_cert_request(der: bytes, limits: Limits) -> CertRequest:
    """Return the certificate request in `der`. Its signature is NOT verified.

    An empty subject is allowed. RFC 5272 3.2.1.2.1.
    Raises RemoteProtocolError: csr/malformed (also a version other than 1 and values that do not
    decode), csr/duplicate-attribute (a second extensionRequest), csr/too-many-attributes,
    csr/too-many-extensions, csr/too-many-names, csr/extensions, csr/duplicate-extension,
    attribute/string, attribute/too-long, key/unsupported, key/weak, der/... RFC 2986 4.
    """
    _der.check_der(der, limits)
    info, algorithm = _outer_untrusted(der)
    version, subject, spki, attribute_set = _info_untrusted(info)
    if version.der != _VERSION_1:
        raise RemoteProtocolError("csr/malformed", "the version is not 1")
    bound_name(subject, limits)
    key = gated_key_facts(spki, limits)
    attributes = _attributes_untrusted(attribute_set, limits)
    extensions = _requested_extensions(attributes, limits)
    return CertRequest(
        der=der,
        info_der=info.der,
        subject=_decoded_untrusted(der, extensions),
        subject_der=subject.der,
        spki=key.spki,
        key=key,
        attributes=attributes,
        extensions=extensions,
        challenges=tuple(_challenges_untrusted(attributes, limits)),
        signature_algorithm=algorithm,
    )


def _malformed(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("csr/malformed", message)


def _outer_untrusted(der: bytes) -> tuple[_der.Element, str]:
    """Return the CertificationRequestInfo and the signature algorithm of a request."""
    outer = _der.expect(_der.read_element(der), _der.SEQUENCE, "csr/malformed", "the request")
    parts = _der.children(outer)
    if [part.tag for part in parts] != [_der.SEQUENCE, _der.SEQUENCE, _der.BIT_STRING]:
        raise _malformed("not a certificate request")
    usual = USUAL_IDENTIFIERS.get(parts[1].der)
    if usual is not None:
        return parts[0], usual
    identifier = _der.children(parts[1])
    if not identifier:
        raise _malformed("the request names no signature algorithm")
    return parts[0], _der.read_oid(identifier[0])


def _info_untrusted(info: _der.Element) -> tuple[_der.Element, ...]:
    """Return version, subject, subjectPKInfo and attributes."""
    parts = _der.children(info)
    wanted = [_der.INTEGER, _der.SEQUENCE, _der.SEQUENCE, _ATTRIBUTES]
    if [part.tag for part in parts] != wanted:
        raise _malformed("not a CertificationRequestInfo")
    return parts


def _attributes_untrusted(attribute_set: _der.Element, limits: Limits) -> tuple[Attribute, ...]:
    elements = _der.children(attribute_set)
    if len(elements) > limits.csr_attributes:
        raise RemoteProtocolError(
            "csr/too-many-attributes", f"more than {limits.csr_attributes} attributes"
        )
    attributes = tuple(read_attribute(element, "csr/malformed") for element in elements)
    if not all(attribute.values for attribute in attributes):
        raise _malformed("an attribute has no value")
    return attributes


def _requested_extensions(
    attributes: tuple[Attribute, ...], limits: Limits
) -> tuple[Extension, ...]:
    requests = [found for found in attributes if found.type in _EXTENSION_REQUESTS]
    if not requests:
        return ()
    if len(requests) > 1:
        # RFC 2985 5.4.2 says SINGLE VALUE; two would let two readers see two requests.
        raise RemoteProtocolError("csr/duplicate-attribute", "more than one extensionRequest")
    extensions = gated_extensions(requests[0], limits)
    for extension in extensions:
        if extension.oid == _oids.SUBJECT_ALT_NAME:
            _bound_names_untrusted(extension.value, limits)
    return extensions


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


def _decoded_untrusted(der: bytes, extensions: tuple[Extension, ...]) -> x509.Name:
    """Return the subject, once a strict decoder has read it and every extension it knows.

    What a certificate would be made of is decoded here, so that nothing fails later.
    """
    try:
        request = x509.load_der_x509_csr(der)
        if extensions:
            _ = request.extensions
        return request.subject
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        Warning,  # for a long common name, where the program turned warnings into errors
    ) as exc:
        raise _malformed("the subject or an extension cannot be decoded") from exc


def _challenges_untrusted(
    attributes: tuple[Attribute, ...], limits: Limits
) -> Iterator[tuple[str, str]]:
    for attribute in attributes:
        if attribute.type in CHALLENGES:
            for value in attribute.values:
                yield attribute.type, read_directory_string(value, limits)


def signature_is_valid(csr: CertRequest) -> bool:
    """True if the request is signed with the key it is about: its proof of possession.

    Raises RemoteProtocolError("csr/signature-algorithm") for algorithms we do not verify, MD5
    and SHA-1 among them. RFC 2986 4.2; RFC 7030 3.4. A P-256 signature takes about 100 us.
    """
    request = x509.load_der_x509_csr(csr.der)
    try:
        if signature_algorithm(csr.signature_algorithm) is None and not _is_good_pss(request):
            raise RemoteProtocolError(
                "csr/signature-algorithm", f"signatures by {csr.signature_algorithm} are refused"
            )
        return request.is_signature_valid
    except UnsupportedAlgorithm as exc:
        raise RemoteProtocolError(
            "csr/signature-algorithm", f"signatures by {csr.signature_algorithm} are not verified"
        ) from exc
    except (ValueError, TypeError, InvalidSignature):
        return False


def _is_good_pss(request: x509.CertificateSigningRequest) -> bool:
    if request.signature_algorithm_oid.dotted_string != _RSASSA_PSS:
        return False
    digest = request.signature_hash_algorithm
    return digest is not None and digest.name in _PSS_DIGESTS


# --- Building --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CertRequestInfo:
    """What a certificate request says before it is signed. RFC 2986 4.1.

    `subject` is a Name or its DER, `spki` the DER of a SubjectPublicKeyInfo.
    """

    subject: x509.Name | bytes
    spki: bytes = field(repr=False)
    attributes: tuple[Attribute, ...] = ()

    @classmethod
    def of(cls, csr: CertRequest) -> CertRequestInfo:
        """Return what an existing request says, to be changed and signed anew."""
        return cls(subject=csr.subject_der, spki=csr.spki, attributes=csr.attributes)

    def der(self) -> bytes:
        """Return the bytes to be signed: always the same for the same value."""
        subject = self.subject if isinstance(self.subject, bytes) else self.subject.public_bytes()
        attributes = (attribute.der() for attribute in self.attributes)
        return _der.sequence(
            _VERSION_1, subject, self.spki, _der.set_of(attributes, tag=_ATTRIBUTES)
        )

    def with_attribute(self, attribute: Attribute) -> CertRequestInfo:
        """Return the same with this attribute in place of all others of its type."""
        return replace(self, attributes=(*self._all_but(attribute.type), attribute))

    def without_attribute(self, oid: str) -> CertRequestInfo:
        """Return the same without any attribute of that type."""
        return replace(self, attributes=self._all_but(oid))

    def with_challenge_password(self, text: str) -> CertRequestInfo:
        """Return the same linked by that channel binding, and by no other. RFC 7030 3.5."""
        return self.with_attribute(challenge_password(text))

    def _all_but(self, oid: str) -> tuple[Attribute, ...]:
        return tuple(kept for kept in self.attributes if kept.type != oid)


def assemble(
    info_der: bytes, algorithm: SignatureAlgorithm, signature: bytes, limits: Limits
) -> bytes:
    """Return the DER of a request from the bytes that were signed and their signature.

    Raises LocalProtocolError if that is not a request that a peer would read; the signature
    itself is not verified.
    """
    bits = _der.tlv(_der.BIT_STRING, b"\0" + signature)
    der = _der.sequence(info_der, algorithm.identifier, bits)
    try:
        parse_cert_request(der, limits)
    except RemoteProtocolError as exc:
        raise LocalProtocolError(f"no certificate request: {exc}") from exc
    return der
