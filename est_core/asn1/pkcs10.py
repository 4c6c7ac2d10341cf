"""A PKCS#10 certificate request: read into a value, or built up to what is to be signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from typing import Final, NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from est_core import _oids
from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    challenge_password,
    read_attribute,
    read_directory_string,
)
from est_core.asn1.distinguished_name import decode_name
from est_core.asn1.keys import PublicKeyFacts, SignatureAlgorithm, SpkiDer, gated_key
from est_core.asn1.kinds import Kind, not_a
from est_core.asn1.oid_names import named
from est_core.asn1.request_signature import read_identifier, signature_verifies
from est_core.asn1.requested import decoded_extensions, requested_extensions
from est_core.values import value_class

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

_UNJUDGED: Final = frozenset({_oids.REVOCATION_CHALLENGE})
"""Challenges that nothing is decided by when a certificate is asked for. RFC 7894 3.2."""


class _Read(NamedTuple):
    """What reading a request made, and verifying and certifying it can use."""

    key: PublicKeyTypes
    outer: tuple[_der.Element, _der.Element, _der.Element]


@value_class
class CertRequest:
    """A certificate request that was read whole; only its signature is not yet verified.

    `der` is all of it, `info_der` the part that is signed, `subject_der` its subject as it stands
    there. `spki` is the SubjectPublicKeyInfo in its usual form (`PublicKeyFacts.spki`), so that
    equal keys have equal bytes however the client wrote them.
    `subject` is what `subject_der` says, with types of strings that everybody reads.
    `extensions` are those of the extensionRequest, in its own attribute or in that of Microsoft,
    `decoded` those of them that a certificate is made of (`requested.JUDGED`).
    `challenges` is every value of every attribute
    in CHALLENGES as (type, text), repeats included: whether one may repeat is for the check that
    reads it. A revocationChallenge that is no text is not among them.
    """

    der: bytes = field(repr=False)
    info_der: bytes = field(repr=False)
    subject: x509.Name
    subject_der: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    key: PublicKeyFacts
    attributes: tuple[Attribute, ...]
    extensions: tuple[Extension, ...]
    decoded: x509.Extensions = field(repr=False, compare=False)
    challenges: tuple[tuple[str, str], ...] = field(repr=False)
    signature_algorithm: str
    """Object identifier of the algorithm it says it is signed with."""
    _read: _Read | None = field(init=False, default=None, repr=False, compare=False)
    """None in a copy with other values, which is read again where that is needed."""

    @classmethod
    def from_argument(cls, value: object) -> CertRequest | None:
        """Return what a request object of `cryptography` says; None for anything else.

        Raises LocalProtocolError for one that no peer would read.
        """
        return _parsed(value) if isinstance(value, x509.CertificateSigningRequest) else None

    def public_key(self) -> CertificatePublicKeyTypes:
        """Return the key that is to be certified, for a CA to put into a certificate."""
        key = self._read.key if self._read else load_der_public_key(self.spki)
        # cast: the kinds of key that gated_key lets through can all be certified.
        return cast(CertificatePublicKeyTypes, key)

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


@checked
def parse_cert_request(der: bytes, limits: Limits) -> CertRequest:
    """Return the certificate request in `der`. Its signature is NOT verified.

    Parts are judged that are carried into a certificate or decide whether there is one; others
    may be odd or malformed: unknown attributes, extensions that are only kept as bytes, the order
    of the attributes. An empty subject is allowed. RFC 5272 3.2.1.2.1.
    Raises RemoteProtocolError, which names the part: csr/malformed (also a version other than 1),
    csr/name, csr/duplicate-attribute (extensionRequests that differ), csr/too-many-attributes,
    csr/too-many-extensions, csr/too-many-names, csr/extensions, csr/duplicate-extension,
    attribute/string, attribute/too-long, key/unsupported, key/weak, der/... RFC 2986 4.
    """
    _der.check_der(der, limits)
    outer = _outer_untrusted(der)
    info, identifier, _ = outer
    subject, spki, elements = _info_untrusted(info, der)
    algorithm, _ = read_identifier(identifier)
    name = decode_name(subject, limits, "the subject")
    facts, key = gated_key(spki, limits)
    attributes = _attributes_untrusted(elements, limits)
    extensions = requested_extensions(attributes, limits)
    csr = CertRequest(
        der=der,
        info_der=info.der,
        subject=name,
        subject_der=subject.der,
        spki=facts.spki,
        key=facts,
        attributes=attributes,
        extensions=extensions,
        decoded=decoded_extensions(extensions, limits),
        challenges=tuple(_challenges_untrusted(attributes, limits)),
        signature_algorithm=algorithm,
    )
    object.__setattr__(csr, "_read", _Read(key, outer))
    return csr


def _malformed(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("csr/malformed", message)


def _outer_untrusted(der: bytes) -> tuple[_der.Element, _der.Element, _der.Element]:
    """Return CertificationRequestInfo, signature algorithm and signature of a request."""
    outer = _der.expect(_der.read_element(der), _der.SEQUENCE, "csr/malformed", "the request")
    parts = _der.children(outer)
    if [part.tag for part in parts] != [_der.SEQUENCE, _der.SEQUENCE, _der.BIT_STRING]:
        raise _malformed(not_a(Kind.REQUEST, der))
    return parts[0], parts[1], parts[2]


def _info_untrusted(
    info: _der.Element, der: bytes
) -> tuple[_der.Element, _der.Element, tuple[_der.Element, ...]]:
    """Return subject, subjectPKInfo and the attributes, which some leave out where none is."""
    parts = _der.children(info)
    tags = [part.tag for part in parts]
    wanted = [_der.INTEGER, _der.SEQUENCE, _der.SEQUENCE]
    if tags not in (wanted, [*wanted, _ATTRIBUTES]):
        raise _malformed(not_a(Kind.REQUEST, der))
    version = _der.read_integer(parts[0])
    if version:
        raise _malformed(f"the version is {version + 1} (INTEGER {version}), only 1 (0) is known")
    return parts[1], parts[2], _der.children(parts[3]) if len(parts) == 4 else ()


def _attributes_untrusted(
    elements: tuple[_der.Element, ...], limits: Limits
) -> tuple[Attribute, ...]:
    if len(elements) > limits.csr_attributes:
        message = f"{len(elements)} attributes, {limits.csr_attributes} are allowed"
        raise RemoteProtocolError("csr/too-many-attributes", message)
    return tuple(
        read_attribute(element, "csr/malformed", f"attribute {position}")
        for position, element in enumerate(elements, 1)
    )


def _challenges_untrusted(
    attributes: tuple[Attribute, ...], limits: Limits
) -> Iterator[tuple[str, str]]:
    for attribute in attributes:
        if attribute.type not in CHALLENGES:
            continue
        for value in attribute.values:
            try:
                text = read_directory_string(value, limits, named(attribute.type))
            except RemoteProtocolError:
                if attribute.type not in _UNJUDGED:
                    raise
            else:
                yield attribute.type, text


def signature_is_valid(csr: CertRequest) -> bool:
    """True if the request is signed with the key it is about: its proof of possession.

    Raises RemoteProtocolError("csr/signature-algorithm") for algorithms we do not verify, MD5
    and SHA-1 among them. RFC 2986 4.2; RFC 7030 3.4. A P-256 signature takes about 100 us.
    """
    read = csr._read  # noqa: SLF001  of this module's own
    info, identifier, signature = read.outer if read else _outer_untrusted(csr.der)
    return signature_verifies(csr.public_key(), csr.key.algorithm, identifier, signature, info.der)


# --- Building --------------------------------------------------------------------------------


@value_class
class CertRequestInfo:
    """What a certificate request says before it is signed. RFC 2986 4.1.

    `subject` is a Name or its DER, `spki` the DER of a SubjectPublicKeyInfo, made of a public key
    where one is given instead.
    """

    subject: x509.Name | bytes
    spki: SpkiDer = field(repr=False)
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


@checked
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


CsrArgument = CertRequestInfo | CertRequest | x509.CertificateSigningRequest
"""What there may be of a request that is to be sent; the last is a CertRequest in other words."""


def given_request(csr: CsrArgument) -> CertRequestInfo | CertRequest:
    """Return it as the core knows it. Raises LocalProtocolError if no peer would read it."""
    return csr if isinstance(csr, CertRequestInfo | CertRequest) else _parsed(csr)


def _parsed(csr: x509.CertificateSigningRequest) -> CertRequest:
    try:
        return parse_cert_request(csr.public_bytes(Encoding.DER), Limits())
    except RemoteProtocolError as exc:
        raise LocalProtocolError(f"no certificate request: {exc}") from exc
