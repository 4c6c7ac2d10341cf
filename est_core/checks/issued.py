"""Says in which points an issued certificate is not what was asked for, and which are dangerous.

A CA may change what it certifies (RFC 7030 4.2.1), and a client that installs whatever comes may
find itself with the right to sign certificates, or with names that are not its own. Two things are
compared in the same terms: a request with the certificate that was issued for it, and a request
with what the server's CSR attributes make of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum, unique
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core._errors import RemoteProtocolError
from est_core._limits import Limits
from est_core._oids import EXTENSION_REQUEST
from est_core.arguments import checked
from est_core.asn1.attributes import Extension
from est_core.asn1.certificate_extensions import certificate_extensions
from est_core.asn1.oid_names import named
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo
from est_core.asn1.requested import JUDGED, decoded_extensions, requested_extensions
from est_core.checks.changed_names import change_in, changed_extensions
from est_core.checks.hosts import canonical_host
from est_core.checks.names import canonical_name, canonical_value
from est_core.values import value_class

_KEY_USES: Final = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
_OF_A_CA: Final = frozenset({"keyCertSign", "cRLSign"})
_NAME_WORDS: Final = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "URI",
    x509.RegisteredID: "registeredID",
}
_SHOWN_NAMES: Final = 8
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


@unique
class Point(Enum):
    """In what a certificate can differ from its request."""

    SUBJECT = "subject"
    NAMES = "subjectAltName"
    CA = "CA"
    KEY_USAGE = "keyUsage"
    PURPOSES = "extendedKeyUsage"
    VALIDITY = "validity"
    UNREADABLE = "unreadable"
    OTHER = "other"


@value_class
class Difference:
    """One point in which something is not as asked, in words that fit after "the certificate".

    `dangerous`: a client should not take it unless its user or program says so. Dangerous are the
    rights of a CA, other names than asked, a certificate that has expired, and what cannot be
    read.
    """

    point: Point
    text: str
    dangerous: bool = False


@value_class
class Contents:
    """What a request or a certificate says of its holder.

    `key_uses` and `purposes` (object identifiers) are None where it does not say. `flaw` names
    what cannot be read.
    """

    subject: x509.Name
    names: tuple[x509.GeneralName, ...] = ()
    is_ca: bool = False
    key_uses: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    flaw: str = ""

    @classmethod
    def of_request(
        cls, csr: CertRequest | CertRequestInfo, limits: Limits | None = None
    ) -> Contents:
        """Return what a request asks for, by a ChangeSubjectName where it has one."""
        limits = limits or Limits()
        subject = csr.subject if isinstance(csr.subject, x509.Name) else _name(csr.subject)
        try:
            extensions = requested_extensions(csr.attributes, limits)
            if change := change_in(csr.attributes, limits):
                subject = change.subject or x509.Name([])
                extensions = changed_extensions(extensions, change)
            return _contents(subject, extensions, limits)
        except RemoteProtocolError as exc:
            return cls(subject=subject, flaw=exc.message)

    @classmethod
    def of_certificate(
        cls, certificate: x509.Certificate, limits: Limits | None = None
    ) -> Contents:
        """Return what a certificate says. An extension that is not judged may hold what it will."""
        subject = x509.Name([])
        try:
            subject = certificate.subject
            return _contents(subject, certificate_extensions(certificate), limits or Limits())
        except RemoteProtocolError as exc:
            return cls(subject=subject, flaw=exc.message)
        except (ValueError, TypeError, IndexError, Warning):
            return cls(subject=subject, flaw="it cannot be read")


@checked
def issued_differences(
    asked: CertRequest | CertRequestInfo,
    certificate: x509.Certificate,
    *,
    now: datetime | None = None,
    limits: Limits | None = None,
) -> tuple[Difference, ...]:
    """Return in which points a certificate is not what was asked for; the dangerous ones first.

    `now` is aware UTC; without it the validity is not judged. What a request leaves open, its
    key usage say, is not a difference, unless it is the right to sign certificates or CRLs. An
    alternative name that only repeats the common name that was asked for is told and not
    dangerous. Never raises for what a peer sent.
    """
    found = [
        *_differences(
            Contents.of_request(asked, limits), Contents.of_certificate(certificate, limits)
        )
    ]
    if now is not None:
        found += _validity(certificate, now)
    return tuple(sorted(found, key=lambda each: not each.dangerous))


@checked
def told_differences(
    ours: CertRequest | CertRequestInfo,
    told: CertRequest | CertRequestInfo,
    limits: Limits | None = None,
) -> tuple[Difference, ...]:
    """Return what the server's CSR attributes change in a request; the dangerous ones first.

    `ours` is the request without them, `told` the one with them. Only the rights of a CA are
    dangerous here: names that a server tells a client to ask for are what CSR attributes are for.
    """
    before, after = Contents.of_request(ours, limits), Contents.of_request(told, limits)
    found = [
        *_subject(before.subject, after.subject),
        *_names(before, after),
        *_rights(before, after),
    ]
    for point, was, becomes in (
        (Point.KEY_USAGE, before.key_uses, after.key_uses),
        (Point.PURPOSES, before.purposes, after.purposes),
    ):
        added = (becomes or frozenset()) - (was or frozenset()) - _OF_A_CA
        if added:
            found.append(Difference(point=point, text=f"has {point.value} {_listed(added)}"))
    if others := _others(told, limits) - _others(ours, limits):
        found.append(Difference(point=Point.OTHER, text=f"has {_listed(others)}"))
    safe = (
        each if each.point is Point.CA else Difference(point=each.point, text=each.text)
        for each in found
    )
    return tuple(sorted(safe, key=lambda each: not each.dangerous))


def _others(csr: CertRequest | CertRequestInfo, limits: Limits | None) -> frozenset[str]:
    """Return the types of attributes and extensions that are not looked into."""
    attributes = {each.type for each in csr.attributes} - {EXTENSION_REQUEST}
    try:
        extensions = requested_extensions(csr.attributes, limits or Limits())
    except RemoteProtocolError:
        return frozenset(attributes)
    return frozenset(attributes | ({each.oid for each in extensions} - JUDGED))


# --- One point after the other ---------------------------------------------------------------


def _differences(asked: Contents, got: Contents) -> Iterator[Difference]:
    if got.flaw:
        yield Difference(point=Point.UNREADABLE, text=f"is unreadable: {got.flaw}", dangerous=True)
        return
    yield from _subject(asked.subject, got.subject)
    yield from _names(asked, got)
    yield from _rights(asked, got)
    for point, wanted, given in (
        (Point.KEY_USAGE, asked.key_uses, got.key_uses),
        (Point.PURPOSES, asked.purposes, got.purposes),
    ):
        if wanted is None or given is None:  # without the extension every use is allowed
            continue
        if lacking := wanted - given:
            yield Difference(point=point, text=f"lacks {point.value} {_listed(lacking)}")
        if more := given - wanted - _OF_A_CA:
            text = f"has {point.value} {_listed(more)}, which was not asked for"
            yield Difference(point=point, text=text)


def _subject(asked: x509.Name, got: x509.Name) -> Iterator[Difference]:
    """Another subject; dangerous unless it holds all that was asked for, and a CA added to it."""
    if canonical_name(asked) == canonical_name(got):
        return
    wanted, given = (
        {part for rdn in canonical_name(name) for part in rdn} for name in (asked, got)
    )
    text = f"is for {got.rfc4514_string() or 'an empty subject'}, not for {asked.rfc4514_string()}"
    if not asked.rdns:
        text = f"is for {got.rfc4514_string()}, where no subject was asked for"
    yield Difference(point=Point.SUBJECT, text=text, dangerous=not wanted <= given)


def _names(asked: Contents, got: Contents) -> Iterator[Difference]:
    wanted = {canonical_value(name): name for name in asked.names}
    given = {canonical_value(name): name for name in got.names}
    lacking = [name for key, name in wanted.items() if key not in given]
    added = [name for key, name in given.items() if key not in wanted]
    hosts = {
        canonical_host(str(part.value))
        for part in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    }
    repeated = [
        name
        for name in added
        if isinstance(name, x509.DNSName | x509.IPAddress)
        and canonical_host(str(name.value)) in hosts
    ]
    if other := [name for name in added if name not in repeated]:
        text = f"is also for {_texts(other)}, which was not asked for"
        yield Difference(point=Point.NAMES, text=text, dangerous=True)
    if lacking:
        yield Difference(point=Point.NAMES, text=f"is not for {_texts(lacking)}", dangerous=True)
    if repeated:
        text = f"repeats the common name as {_texts(repeated)}"
        yield Difference(point=Point.NAMES, text=text)


def _rights(asked: Contents, got: Contents) -> Iterator[Difference]:
    if got.is_ca and not asked.is_ca:
        yield Difference(point=Point.CA, text="is that of a CA", dangerous=True)
    signing = (got.key_uses or frozenset()) & _OF_A_CA - (asked.key_uses or frozenset())
    if signing:
        yield Difference(point=Point.CA, text=f"allows {_listed(signing)}", dangerous=True)


def _validity(certificate: x509.Certificate, now: datetime) -> Iterator[Difference]:
    try:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError:
        yield Difference(point=Point.UNREADABLE, text="has no readable validity", dangerous=True)
        return
    if end <= now:
        text = f"is expired since {end:%Y-%m-%d %H:%M:%SZ}"
        yield Difference(point=Point.VALIDITY, text=text, dangerous=True)
    elif begin > now:  # often a clock that is behind: nothing is lost by waiting
        text = f"is not valid before {begin:%Y-%m-%d %H:%M:%SZ}"
        yield Difference(point=Point.VALIDITY, text=text)


# --- Reading ---------------------------------------------------------------------------------


def _contents(subject: x509.Name, extensions: Iterable[Extension], limits: Limits) -> Contents:
    judged = [each for each in extensions if each.oid in JUDGED]
    decoded = decoded_extensions(judged, limits)
    names = _found(decoded, x509.SubjectAlternativeName)
    constraints = _found(decoded, x509.BasicConstraints)
    usage = _found(decoded, x509.KeyUsage)
    purposes = _found(decoded, x509.ExtendedKeyUsage)
    return Contents(
        subject=subject,
        names=tuple(names or ()),
        is_ca=constraints is not None and constraints.ca,
        key_uses=None if usage is None else frozenset(key_uses(usage)),
        purposes=None if purposes is None else frozenset(oid.dotted_string for oid in purposes),
    )


def key_uses(usage: x509.KeyUsage) -> tuple[str, ...]:
    """Return the names of the bits that are set, RFC 5280 4.2.1.3, but for the last two."""
    return tuple(word for use, word in _KEY_USES.items() if getattr(usage, use))


def _found(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(der: bytes) -> x509.Name:
    try:
        return x509.Name.from_bytes(der)
    except (ValueError, TypeError, Warning):
        return x509.Name([])


def _texts(names: Iterable[x509.GeneralName]) -> str:
    texts = [name_text(name) for name in names]
    more = len(texts) - _SHOWN_NAMES
    return ", ".join(texts[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def name_text(name: x509.GeneralName) -> str:
    """Return an alternative name with the word for its kind, to show. OpenSSL's words."""
    if isinstance(name, x509.DirectoryName):
        return f"dirName:{name.value.rfc4514_string()}"
    if isinstance(name, x509.OtherName):
        return f"otherName:{name.type_id.dotted_string}"
    value = name.value.dotted_string if isinstance(name, x509.RegisteredID) else name.value
    return f"{_NAME_WORDS[type(name)]}:{value}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(map(named, words)))
