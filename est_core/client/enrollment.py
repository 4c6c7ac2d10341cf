"""What a client puts into its CSR: its own names, and what the server's CSR attributes ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core._oids import (
    BASIC_CONSTRAINTS,
    CERTIFICATION_REQUEST_INFO_TEMPLATE,
    CHALLENGE_PASSWORD,
    CLIENT_AUTH,
    EST_IDENTITY_LINKING,
    EXTENDED_KEY_USAGE,
    EXTENSION_REQ_TEMPLATE,
    EXTENSION_REQUEST,
    KEY_USAGE,
    MICROSOFT_EXTENSION_REQUEST,
    OTP_CHALLENGE,
    SUBJECT_ALT_NAME,
)
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    ChangeSubjectName,
    Extension,
    extension_request,
    read_general_names,
)
from est_core.asn1.csrattrs import CsrAttrs, CsrPlan
from est_core.asn1.keys import (
    PublicKeyFacts,
    SignatureAlgorithm,
    public_key_facts,
    signature_algorithm,
    signature_algorithm_for,
)
from est_core.asn1.oid_names import named
from est_core.asn1.pkcs10 import (
    CertRequestInfo,
    CsrArgument,
    assemble,
    given_request,
    parse_cert_request,
)
from est_core.asn1.template import (
    GAPS_IN_NAMES,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectAttribute,
    SubjectTemplate,
)
from est_core.checks.changed_names import with_changed_names
from est_core.checks.enforcement import Unmet, unmet_demands
from est_core.checks.identity import has_cmc_ra
from est_core.checks.renewal import check_renewal

_LINKING: Final = (CHALLENGE_PASSWORD, EST_IDENTITY_LINKING)
_NOT_BY_HAND: Final = (
    *(*_LINKING, OTP_CHALLENGE),  # they belong to a channel, or are secret
    *(EXTENSION_REQUEST, MICROSOFT_EXTENSION_REQUEST),  # extensions have a place of their own
    *(CERTIFICATION_REQUEST_INFO_TEMPLATE, EXTENSION_REQ_TEMPLATE),  # of servers
)

_DEFAULTS: Final = {
    KEY_USAGE: x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    ).public_bytes(),
    EXTENDED_KEY_USAGE: x509.ExtendedKeyUsage([x509.ObjectIdentifier(CLIENT_AUTH)]).public_bytes(),
    BASIC_CONSTRAINTS: x509.BasicConstraints(ca=False, path_length=None).public_bytes(),
}
"""Values for extensions that a server wants to see and leaves to the client."""


@checked
def wanted_key(csrattrs: CsrAttrs | None) -> KeyTypeWanted | None:
    """Return the kind of key the server demands, or None where it has no opinion."""
    return None if csrattrs is None else csrattrs.plan().key_type


@checked
def wanted_algorithm(
    csrattrs: CsrAttrs | None, key: PublicKeyFacts, digest: str | None = None
) -> SignatureAlgorithm:
    """Return how to sign the CSR: by `digest` if given, else as the server asks, else as usual.

    Raises LocalProtocolError for a digest the key cannot be used with.
    """
    asked = () if csrattrs is None else csrattrs.plan().signature_algorithms
    for oid in asked if digest is None else ():
        algorithm = signature_algorithm(oid)
        if algorithm is not None and algorithm.key_algorithm == key.algorithm:
            return algorithm
    return signature_algorithm_for(key, digest)


@checked
def signing(
    info: CertRequestInfo, algorithm: SignatureAlgorithm | None, limits: Limits
) -> tuple[bytes, SignatureAlgorithm]:
    """Return the key of a CSR in its usual form (PublicKeyFacts.spki), and how to sign with it.

    Raises LocalProtocolError for a key that cannot be read, or not used with `algorithm`.
    """
    try:
        key = public_key_facts(info.spki, limits)
    except RemoteProtocolError as exc:
        raise LocalProtocolError(f"not a key to be certified: {exc}") from exc
    if algorithm is None:
        algorithm = signature_algorithm_for(key)
    if algorithm.key_algorithm != key.algorithm:
        raise LocalProtocolError(f"{key.name} keys do not sign by {algorithm.name}")
    return key.spki, algorithm


@checked
def request_info(
    *,
    subject: x509.Name,
    key: bytes | CertificatePublicKeyTypes,
    names: Sequence[x509.GeneralName] = (),
    csrattrs: CsrAttrs | None = None,
    attributes: Sequence[Attribute] = (),
    extensions: Sequence[Extension] = (),
    limits: Limits | None = None,
) -> CertRequestInfo:
    """Return what a first request says: subject and names, and what the server asks for.

    `key` is a public key, or its SubjectPublicKeyInfo in DER. A template decides which parts of
    the subject are sent (RFC 9908 3.4). Extensions with values are copied; those left to the
    client are filled from `names` or a safe default, and left out where there is neither.
    `attributes` and `extensions` are the client's own: each takes the place of one of its type
    that the server tells, critical if either is. What the server asks for and the request does not
    hold then, `unmet_by` says. Linking is not done here: it belongs to a channel.
    Raises LocalProtocolError if the server demands a part of the subject that is not there, or
    if `subject`, `key` and `names` make no request; RemoteProtocolError where the subjectAltName
    it tells is none (see `read_general_names`), and "csrattrs/unusable" where a request with all
    that it tells could be read by nobody.
    """
    limits = limits or Limits()
    plan = CsrPlan() if csrattrs is None else csrattrs.plan()
    info = CertRequestInfo(
        subject=subject if plan.subject is None else _subject(plan.subject, subject),
        spki=_spki(key),
        attributes=_attributes(plan, attributes),
    )
    alternatives = _alternative_names(plan, names, limits)
    info = _with_extensions(info, _extensions(plan, extensions), alternatives)
    try:
        _check_readable(info, limits)
    except LocalProtocolError as exc:
        if csrattrs is None:
            raise
        request_info(  # is it our own fault?
            subject=subject,
            key=key,
            names=names,
            attributes=attributes,
            extensions=extensions,
            limits=limits,
        )
        raise _unusable() from exc
    return info


def _check_readable(info: CertRequestInfo, limits: Limits) -> None:
    """Raise LocalProtocolError if no signature could make a request of it."""
    _, algorithm = signing(info, None, limits)
    assemble(info.der(), algorithm, b"", limits)


@checked
def renewal_request_info(
    *,
    current: x509.Certificate,
    key: bytes | CertificatePublicKeyTypes,
    change: ChangeSubjectName | None = None,
    csrattrs: CsrAttrs | None = None,
    attributes: Sequence[Attribute] = (),
    extensions: Sequence[Extension] = (),
    limits: Limits | None = None,
) -> CertRequestInfo:
    """Return what a request for renewal says: subject and subjectAltName of `current`, exactly.

    With `change` it asks for other names beside these: see `change_of_names`.

    `key` is the same key to renew, another to rekey, as in `request_info`. What `csrattrs` ask for
    beside the names, and what else is the client's own, is told as by `request_info`, with its
    errors. RFC 7030 4.2.2.
    """
    limits = limits or Limits()
    plan = CsrPlan() if csrattrs is None else csrattrs.plan()
    if change is not None:
        attributes = (*attributes, change.attribute())
    info = CertRequestInfo(
        subject=current.subject.public_bytes(),
        spki=_spki(key),
        attributes=_attributes(plan, attributes),
    )
    info = _with_extensions(info, _extensions(plan, extensions), _names_of(current))
    try:
        _check_readable(info, limits)
    except LocalProtocolError as exc:
        if csrattrs is None:
            raise
        renewal_request_info(  # is it our own fault?
            current=current, key=key, attributes=attributes, extensions=extensions, limits=limits
        )
        raise _unusable() from exc
    return info


@checked
def change_of_names(
    current: x509.Certificate,
    *,
    subject: x509.Name | None = None,
    names: Sequence[x509.GeneralName] | None = None,
) -> ChangeSubjectName:
    """Return what asks for another subject, other alternative names, or both. RFC 6402 2.8.

    What is None stays as it is in `current`: what the attribute leaves out, the new certificate
    has not. An empty `subject`, or no `names` at all, is asked for as that. Raises
    LocalProtocolError for names that no request holds, or where nothing is left.
    """
    if subject is None:
        subject = current.subject
    if names is None:
        kept = _names_of(current)
        alt = None if kept is None else kept.value
    else:
        alt = x509.SubjectAlternativeName(names).public_bytes() if names else None
    if not subject.rdns and alt is None:
        raise LocalProtocolError("a certificate has a subject or an alternative name")
    return ChangeSubjectName(subject=subject if subject.rdns else None, subject_alt_name=alt)


def _names_of(current: x509.Certificate) -> Extension | None:
    try:
        names = current.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return None
    value = names.value.public_bytes()
    return Extension(oid=SUBJECT_ALT_NAME, critical=names.critical, value=value)


@checked
def unmet_by(
    csr: CsrArgument,
    csrattrs: CsrAttrs,
    *,
    algorithm: SignatureAlgorithm | None = None,
    renewal: bool = False,
    limits: Limits | None = None,
) -> tuple[Unmet, ...]:
    """Return what the server asks for and a request does not hold, as a server would enforce it.

    `algorithm` is what a request that is not signed yet will be signed with. In a `renewal` the
    names are those of the old certificate, whatever is asked for. RFC 7030 4.5 leaves it to the
    client to go on. Raises LocalProtocolError for what is no request.
    """
    limits, csr = limits or Limits(), given_request(csr)
    if isinstance(csr, CertRequestInfo):
        _, algorithm = signing(csr, algorithm, limits)
        csr = parse_cert_request(assemble(csr.der(), algorithm, b"", limits), limits)
    return unmet_demands(csr, csrattrs, limits, renewal=renewal)


def _spki(key: bytes | CertificatePublicKeyTypes) -> bytes:
    if isinstance(key, bytes):
        return key
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _attributes(plan: CsrPlan, own: Sequence[Attribute]) -> tuple[Attribute, ...]:
    types = [attribute.type for attribute in own]
    for oid in types:
        if oid in _NOT_BY_HAND:
            raise LocalProtocolError(f"{named(oid)} is not among the attributes of one's own")
        if types.count(oid) > 1:
            raise LocalProtocolError(f"attribute {named(oid)} is given twice")
    told = (
        known for known in plan.attributes if known.type not in _LINKING and known.type not in types
    )
    return (*told, *own)


def _unusable() -> RemoteProtocolError:
    return RemoteProtocolError(
        "csrattrs/unusable", "the CSR attributes ask for what no request can hold"
    )


def _subject(template: SubjectTemplate, subject: x509.Name) -> bytes:
    """Return the template's RDNs, the empty ones filled from ours, in DER."""
    mine = list(subject)
    rdns = []
    for rdn in template:
        parts = []
        for wanted in rdn:
            if wanted.value is not None:
                parts.append(_der.sequence(_der.oid(wanted.type), wanted.value))
            else:
                parts.append(SubjectAttribute.of(_taken(mine, wanted.type)).der())
        rdns.append(_der.set_of(parts))
    return _der.sequence(*rdns)


def _taken(
    mine: list[x509.NameAttribute[str | bytes]], oid: str
) -> x509.NameAttribute[str | bytes]:
    """Take the first part of that type out: two gaps of one type are filled by two parts."""
    for at, part in enumerate(mine):
        if part.oid.dotted_string == oid:
            return mine.pop(at)
    raise LocalProtocolError(f"the server asks for {oid} in the subject")


def _extensions(plan: CsrPlan, own: Sequence[Extension]) -> list[Extension]:
    """Return the extensions but for the names: our own, and those told in the other types."""
    if any(extension.oid == SUBJECT_ALT_NAME for extension in own):
        raise LocalProtocolError("alternative names are given as names, not as an extension")
    mine = {extension.oid for extension in own}
    critical = {each.oid for each in plan.extensions if each.critical}
    critical |= {each.oid for each in plan.extensions_to_fill if each.critical}
    filled = (usual_extension(each) for each in plan.extensions_to_fill)
    told = [*plan.extensions, *(each for each in filled if each is not None)]
    return [
        *(each for each in told if each.oid != SUBJECT_ALT_NAME and each.oid not in mine),
        *(replace(each, critical=each.critical or each.oid in critical) for each in own),
    ]


@checked
def usual_extension(wanted: ExtensionTemplate) -> Extension | None:
    """Return an extension with the value told, else with a safe default; None where is neither.

    keyUsage is digitalSignature, extendedKeyUsage clientAuth, basicConstraints that of no CA.
    """
    value = _DEFAULTS.get(wanted.oid) if wanted.value is None else wanted.value
    if value is None:
        return None
    return Extension(oid=wanted.oid, critical=wanted.critical, value=value)


def _with_extensions(
    info: CertRequestInfo, extensions: list[Extension], names: Extension | None
) -> CertRequestInfo:
    every = extensions if names is None else [*extensions, names]
    return info.with_attribute(extension_request(every)) if every else info


def _alternative_names(
    plan: CsrPlan, names: Sequence[x509.GeneralName], limits: Limits
) -> Extension | None:
    """Merge the names the server tells with our own; gaps in its list are left out."""
    everything: tuple[Extension | ExtensionTemplate, ...] = plan.extensions
    everything += plan.extensions_to_fill
    told = [extension for extension in everything if extension.oid == SUBJECT_ALT_NAME]
    merged: list[bytes] = []
    for extension in told:
        if extension.value is not None:
            merged += read_general_names(extension.value, limits)
    if names:
        merged += _own_names(names, limits)
    merged = [name for name in dict.fromkeys(merged) if name not in GAPS_IN_NAMES]
    if not merged:
        return None
    critical = any(extension.critical for extension in told)
    return Extension(oid=SUBJECT_ALT_NAME, critical=critical, value=_der.sequence(*merged))


def _own_names(names: Sequence[x509.GeneralName], limits: Limits) -> tuple[bytes, ...]:
    try:
        return read_general_names(x509.SubjectAlternativeName(names).public_bytes(), limits)
    except RemoteProtocolError as exc:  # too many: no peer has said anything
        raise LocalProtocolError(f"no names for a request: {exc.message}") from exc


@checked
def check_renewal_request(csr: CsrArgument, current: x509.Certificate, limits: Limits) -> None:
    """Raise LocalProtocolError for a CSR that does not keep the names of `current`.

    RFC 7030 4.2.2: subject and subjectAltName MUST be identical; other names are asked for with
    the ChangeSubjectName attribute. A registration authority (id-kp-cmcRA) asks for others, and
    the server knows their certificates (RFC 7030 3.7).
    """
    csr = given_request(csr)
    if has_cmc_ra(current):
        return
    if isinstance(csr, CertRequestInfo):
        _, algorithm = signing(csr, None, limits)
        csr = parse_cert_request(assemble(csr.der(), algorithm, b"", limits), limits)
    try:
        with_changed_names(csr, limits)
        check_renewal(csr, current, limits)
    except RemoteProtocolError as exc:
        raise LocalProtocolError(f"no request for renewal: {exc.message}") from exc
