"""Which names a request may ask for: those that its client is known by, and no others.

A certificate tells everybody who its holder is. So each name in it has to be one that somebody
vouched for: the user that was authenticated, the certificate that the client showed, or a list of
the operator's. `AllowedNames` are such names; `others_in` finds what a request asks for beyond.

Names of the subject are all its attributes but those that describe: country, place, organization
and the like, which many holders share. A text allows whatever is spelled so: a user "gate.example"
may be that common name, that serial number and that host. What is equal follows
RFC 5280 7 (`est_core.checks.names`, `est_core.checks.hosts`), but never by what lenient readers
make of a number: 2130706433 is no spelling of 127.0.0.1 here, for a name that is taken for equal
opens a door.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core._errors import Fault, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.certificates import names_of
from est_core.asn1.oid_names import OID_NAMES
from est_core.asn1.pkcs10 import CertRequest
from est_core.checks.hosts import address_in, canonical_address, canonical_host
from est_core.checks.issued import Contents, name_text
from est_core.checks.names import (
    CanonicalName,
    canonical_mailbox,
    canonical_name,
    canonical_text,
    canonical_uri,
    canonical_value,
    shown_name,
)
from est_core.values import value_class

DESCRIPTIVE: Final = frozenset(
    {
        NameOID.BUSINESS_CATEGORY,
        NameOID.COUNTRY_NAME,
        NameOID.DOMAIN_COMPONENT,
        NameOID.JURISDICTION_COUNTRY_NAME,
        NameOID.JURISDICTION_LOCALITY_NAME,
        NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME,
        NameOID.LOCALITY_NAME,
        NameOID.ORGANIZATION_IDENTIFIER,
        NameOID.ORGANIZATION_NAME,
        NameOID.ORGANIZATIONAL_UNIT_NAME,
        NameOID.POSTAL_ADDRESS,
        NameOID.POSTAL_CODE,
        NameOID.STATE_OR_PROVINCE_NAME,
        NameOID.STREET_ADDRESS,
        NameOID.TITLE,
    }
)
"""Attributes of a subject that say where its holder belongs, and not who it is."""

_MAIL_ATTRIBUTES: Final = frozenset({NameOID.EMAIL_ADDRESS})
_SHOWN_NAMES: Final = 4
_KEY_CHARS: Final = 255
_WITH_TEXT: Final = (
    x509.DNSName,
    x509.DirectoryName,
    x509.IPAddress,
    x509.RFC822Name,
    x509.UniformResourceIdentifier,
)


@value_class
class AllowedNames:
    """Names that a certificate may be issued for.

    `texts` allow every kind of name that is spelled so: an attribute of the subject, a host, an
    address, a mailbox, a URI. `subjects` are whole subjects, and directoryNames; `alt_names` are
    alternative names of exactly their kind. Without any nothing is allowed.
    """

    texts: frozenset[str] = frozenset()
    subjects: tuple[x509.Name, ...] = ()
    alt_names: tuple[x509.GeneralName, ...] = ()

    @classmethod
    def of_certificate(
        cls, certificate: x509.Certificate, limits: Limits | None = None
    ) -> AllowedNames:
        """Return the names of a certificate: its subject, and each name in it by itself.

        Raises RemoteProtocolError "names/certificate" for one that cannot be read.
        """
        contents = Contents.of_certificate(certificate, limits)
        if contents.flaw:
            message = f"the client's certificate is malformed: {contents.flaw}"
            raise RemoteProtocolError("names/certificate", message, Fault.FORBIDDEN)
        return cls(
            texts=frozenset(_texts(contents.subject, contents.names)),
            subjects=(contents.subject,) if contents.subject.rdns else (),
            alt_names=contents.names,
        )

    @classmethod
    def asked_for(cls, csr: CertRequest) -> AllowedNames:
        """Return the names that a request asks for: what they allow is just that request."""
        names = _alt_names(csr)
        return cls(
            texts=frozenset(_texts(csr.subject, names)),
            subjects=(csr.subject,) if csr.subject.rdns else (),
            alt_names=names,
        )

    @classmethod
    def of_names(cls, subject: x509.Name, names: Iterable[x509.GeneralName] = ()) -> AllowedNames:
        """Return the names that a certificate of this subject and these alternative names has."""
        alt_names = tuple(names)
        return cls(
            texts=frozenset(_texts(subject, alt_names)),
            subjects=(subject,) if subject.rdns else (),
            alt_names=alt_names,
        )

    def search_keys(self) -> frozenset[str]:
        """Return texts to find names by: two that anybody takes for equal share one.

        A text has one as what a subject holds, and one as a host where it may be one. Those that
        are longer than a name of a person or of a machine have a digest in their place.
        """
        texts = {text for text in self.texts if text.strip()}
        for each in self.alt_names:
            if isinstance(each, x509.DirectoryName):
                texts |= {part.value for part in _naming(each.value) if isinstance(part.value, str)}
        keys = {canonical_text(text) for text in texts} | {_host(text) for text in texts} - {""}
        others = (canonical_value(name) for name in self.alt_names if not _has_text(name))
        keys |= {f"name:{value.hex()}" for value in others if isinstance(value, bytes)}
        return frozenset(_bounded_key(key) for key in keys)

    def __or__(self, other: AllowedNames) -> AllowedNames:
        """Return the names that one of the two allows."""
        return AllowedNames(
            texts=self.texts | other.texts,
            subjects=self.subjects + other.subjects,
            alt_names=self.alt_names + other.alt_names,
        )

    def others_in(self, csr: CertRequest) -> tuple[str, ...]:
        """Return the names that a request asks for and that are not allowed, as text to show."""
        known = _Known(self)
        subject = () if canonical_name(csr.subject) in known.subjects else _naming(csr.subject)
        return (
            *(_attribute_text(each) for each in subject if not known.has_attribute(each)),
            *(
                shown_name(name_text(each))
                for each in _alt_names(csr)
                if not known.has_alt_name(each)
            ),
        )


@checked
def check_names(csr: CertRequest, allowed: AllowedNames, *, rule: str) -> None:
    """Return if a request asks for names that are allowed, and for one at least.

    Raises RemoteProtocolError "names/none" for a request that names nobody, "names/not-allowed"
    for another name; both say the `rule`.
    """
    _check_names_somebody(csr, rule)
    others = allowed.others_in(csr)
    if others:
        more = f" and {len(others) - _SHOWN_NAMES} more" if len(others) > _SHOWN_NAMES else ""
        message = (
            f"the client may not have {', '.join(others[:_SHOWN_NAMES])}{more}: "
            f"the rule here is names = {rule}"
        )
        raise RemoteProtocolError("names/not-allowed", message, Fault.CONTENT)


@checked
def check_names_of(csr: CertRequest, certificate: x509.Certificate, *, rule: str) -> bool:
    """Return whether a request asks for names of a certificate in the very same bytes.

    It may leave out all alternative names. False says nothing: hold it against
    `AllowedNames.of_certificate` then, which costs ten times as much. Raises
    RemoteProtocolError "names/none".
    """
    _check_names_somebody(csr, rule)
    try:
        subject, names = names_of(certificate, {csr.subject_der: csr.subject})
    except RemoteProtocolError:
        return False
    return subject is csr.subject and csr.subject_alt_name_der in (None, names)


def _check_names_somebody(csr: CertRequest, rule: str) -> None:
    if csr.subject_alt_name_der is None and not _naming(csr.subject):
        message = f"the request names nobody, and the rule here is names = {rule}"
        raise RemoteProtocolError("names/none", message, Fault.CONTENT)


class _Known:
    """Allowed names in the forms in which they compare, each worked out once."""

    def __init__(self, allowed: AllowedNames) -> None:
        texts = {text for text in allowed.texts if text.strip()}
        self._texts = {canonical_text(text) for text in texts}
        self._hosts = {_host(text) for text in texts} - {""}
        self._mailboxes = {canonical_mailbox(text) for text in texts if "@" in text}
        self._uris = {canonical_uri(text) for text in texts if ":" in text}
        self._alt_names = {canonical_value(name) for name in allowed.alt_names}
        directories = (
            each.value for each in allowed.alt_names if isinstance(each, x509.DirectoryName)
        )
        self.subjects: set[CanonicalName] = {
            canonical_name(name) for name in (*allowed.subjects, *directories)
        }

    def has_attribute(self, attribute: x509.NameAttribute[str | bytes]) -> bool:
        value = attribute.value
        if not isinstance(value, str):
            return False
        if attribute.oid in _MAIL_ATTRIBUTES:
            return canonical_mailbox(value) in self._mailboxes
        return canonical_text(value) in self._texts or _host(value) in self._hosts

    def has_alt_name(self, name: x509.GeneralName) -> bool:
        match name:
            case x509.DNSName(value=text):
                found = _host(text) in self._hosts
            case x509.IPAddress(value=ipaddress.IPv4Address() | ipaddress.IPv6Address() as address):
                found = str(canonical_address(address)) in self._hosts
            case x509.RFC822Name(value=text):
                found = canonical_mailbox(text) in self._mailboxes
            case x509.UniformResourceIdentifier(value=text):
                found = canonical_uri(text) in self._uris
            case x509.DirectoryName(value=subject):
                found = canonical_name(subject) in self.subjects
            case _:
                found = False
        return found or canonical_value(name) in self._alt_names


def _naming(subject: x509.Name) -> tuple[x509.NameAttribute[str | bytes], ...]:
    return tuple(each for rdn in subject.rdns for each in rdn if each.oid not in DESCRIPTIVE)


def _alt_names(csr: CertRequest) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(csr.decoded.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _host(text: str) -> str:
    """Return a text as a host that compares, "" for what is none.

    An address only where it is spelled as one.
    """
    try:
        return str(canonical_address(ipaddress.ip_address(text)))
    except ValueError:
        pass
    if text.startswith(".") or address_in(text) is not None:
        return ""
    return canonical_host(text)


def _texts(subject: x509.Name, names: Iterable[x509.GeneralName]) -> Iterator[str]:
    for attribute in _naming(subject):
        if isinstance(attribute.value, str):
            yield attribute.value
    for name in names:
        if isinstance(name, x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier):
            yield name.value
        elif isinstance(name, x509.IPAddress):
            yield str(name.value)


def _has_text(name: x509.GeneralName) -> bool:
    return isinstance(name, _WITH_TEXT)


def _bounded_key(key: str) -> str:
    if len(key) <= _KEY_CHARS:
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()}"


def _attribute_text(attribute: x509.NameAttribute[str | bytes]) -> str:
    kind = OID_NAMES.get(attribute.oid.dotted_string, attribute.oid.dotted_string)
    if not isinstance(attribute.value, str):
        return f"{kind} that is no text"
    return f"{kind} {shown_name(attribute.value)}"
