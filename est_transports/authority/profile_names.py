"""Judges the names that a certificate request asks for: its subject and subjectAltName.

A certificate's names are what others will believe about its holder. So they are well formed, of
a kind that was agreed on, no wildcards, and not reserved: no name of the server that issues them,
in whatever spelling and place, and no subject of its CA.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core import Limits, RemoteProtocolError
from est_core.arguments import checked
from est_core.asn1 import children, read_element
from est_core.asn1.attributes import read_name
from est_core.asn1.oid_names import named
from est_core.checks.hosts import ProtectedHosts, address_in
from est_core.checks.names import CanonicalName, strings_in, widest_name
from est_transports.pki.names import SHORT_NAMES

_SUBJECT_ATTRIBUTES_MAX: Final = 32
_HOST_CHARS: Final = 253  # RFC 1035 2.3.4, without the final dot
_MAILBOX_CHARS: Final = 254  # RFC 5321 4.5.3.1.3, erratum 1690
_URI_CHARS: Final = 2048
_SHOWN_CHARS: Final = 64

READABLE_TAGS: Final = frozenset({0x03, 0x0C, 0x13, 0x16})
"""Of a BIT STRING (x500UniqueIdentifier), UTF8String, PrintableString and IA5String."""

_VALUE_CHARS: Final = 256
VALUE_CHARS_OF: Final = {  # upper bounds of RFC 5280 appendix A.1
    NameOID.COMMON_NAME: 64,
    NameOID.COUNTRY_NAME: 2,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
    NameOID.SERIAL_NUMBER: 64,
    NameOID.TITLE: 64,
}
_HOST_ATTRIBUTES: Final = frozenset({NameOID.COMMON_NAME, NameOID.USER_ID})
"""Attributes whose value is read as a host whatever it looks like."""
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAILBOX_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]+")


@checked
class Refused(Exception):  # noqa: N818 - says what happened
    """The CA will not do that. `code` is stable, `text` may be shown to the client.

    With `content` it is what the request asks for that is refused (400), else the client (403).
    """

    def __init__(self, code: str, text: str, *, content: bool = True) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.content = content


@unique
class SanKind(Enum):
    """Kinds of GeneralName that a profile may allow. RFC 5280 4.2.1.6."""

    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"
    DIRECTORY = "directory"
    REGISTERED_ID = "registered-id"


_KIND_OF: Final[dict[type[x509.GeneralName], SanKind]] = {
    x509.DNSName: SanKind.DNS,
    x509.IPAddress: SanKind.IP,
    x509.RFC822Name: SanKind.EMAIL,
    x509.UniformResourceIdentifier: SanKind.URI,
    x509.DirectoryName: SanKind.DIRECTORY,
    x509.RegisteredID: SanKind.REGISTERED_ID,
}


@checked
@dataclass(frozen=True, slots=True)
class ReservedNames:
    """Names that nobody is certified for. Make it by `of`.

    `hosts` are the server's own; `subjects` tells whose each reserved subject is, and `holders`
    whose each is that its holder may have renewed.
    """

    hosts: ProtectedHosts
    subjects: Mapping[CanonicalName, str] = field(default_factory=dict)
    holders: Mapping[CanonicalName, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        hosts: Iterable[str] = (),
        subjects: Iterable[tuple[str, x509.Name]] = (),
        holders: Iterable[tuple[str, x509.Name]] = (),
    ) -> ReservedNames:
        """Return the reservation of hosts and of subjects, each with whose it is.

        Of two with one subject the first counts; an empty subject is nobody's.
        """
        return cls(
            hosts=ProtectedHosts.of(hosts), subjects=_by_name(subjects), holders=_by_name(holders)
        )

    def whose(self, subject: x509.Name, renews: x509.Certificate | None = None) -> str:
        """Return whose a subject is that may not be certified, "" for one that may.

        `renews` is the certificate to be renewed, if it is a renewal.
        """
        name = widest_name(subject)
        if name in self.subjects:
            return self.subjects[name]
        if renews is not None and widest_name(renews.subject) == name:
            return ""
        return self.holders.get(name, "")


def _by_name(subjects: Iterable[tuple[str, x509.Name]]) -> Mapping[CanonicalName, str]:
    named: dict[CanonicalName, str] = {}
    for whose, subject in subjects:
        if subject.rdns:
            named.setdefault(widest_name(subject), whose)
    return named


def check_subject(
    subject: x509.Name, reserved: ReservedNames, renews: x509.Certificate | None = None
) -> None:
    """Refuse a subject that is too large, holds odd characters, or is or names what is reserved.

    A host is looked for in every attribute, in all spellings (`ProtectedHosts`): some program
    reads each as one. `renews` is the certificate to be renewed. Raises Refused: profile/subject,
    profile/wildcard (of a common name), profile/own-name, profile/reserved-subject.
    """
    attributes = [attribute for rdn in subject.rdns for attribute in rdn]
    if len(attributes) > _SUBJECT_ATTRIBUTES_MAX:
        raise Refused(
            "profile/subject",
            f"the subject has {len(attributes)} attributes, {_SUBJECT_ATTRIBUTES_MAX} are allowed",
        )
    for attribute in attributes:
        _check_attribute(attribute, reserved)
    _check_domain(subject, reserved)
    if whose := reserved.whose(subject, renews):
        raise Refused("profile/reserved-subject", f"the subject is that of {whose}")


def readable_subject(subject: x509.Name) -> x509.Name:
    """Return a subject in strings that everybody reads, with the same text. RFC 5280 4.1.2.4.

    Others than UTF8String, PrintableString and IA5String are for names that were certified before.
    """
    return x509.Name([x509.RelativeDistinguishedName(map(_readable, rdn)) for rdn in subject.rdns])


def _readable(part: x509.NameAttribute[str | bytes]) -> x509.NameAttribute[str | bytes]:
    (rdn,) = children(read_element(x509.Name([part]).public_bytes()))
    _, value = children(children(rdn)[0])
    return part if value.tag in READABLE_TAGS else x509.NameAttribute(part.oid, part.value)


def _check_domain(subject: x509.Name, reserved: ReservedNames) -> None:
    """Refuse a host that is spelled label by label: DC=com, DC=example, DC=est. RFC 2247 2."""
    found = subject.get_attributes_for_oid(NameOID.DOMAIN_COMPONENT)
    labels = [str(part.value) for part in found]
    for text in (".".join(labels[::-1]), ".".join(labels)) if len(labels) > 1 else ():
        _check_own("domainComponent", text, reserved)


def _check_attribute(attribute: x509.NameAttribute[str | bytes], reserved: ReservedNames) -> None:
    text, what = attribute.value, f"{named(attribute.oid.dotted_string)} in the subject"
    if not isinstance(text, str):
        raise Refused("profile/subject", f"{what} is not text")
    most = VALUE_CHARS_OF.get(attribute.oid, _VALUE_CHARS)
    if len(text) > most:
        raise Refused(
            "profile/subject",
            f"{what} has {len(text)} characters, {most} are allowed: {shown(text)}",
        )
    if not text.strip():
        raise Refused("profile/subject", f"{what} is {'blank' if text else 'empty'}")
    # Control characters and invisible ones, which make two names look like one.
    if not (text.isascii() and text.isprintable()) and any(
        unicodedata.category(char).startswith("C") for char in text
    ):
        raise Refused(
            "profile/subject", f"{what} holds characters that do not print: {shown(text)}"
        )
    kind = SHORT_NAMES.get(attribute.oid) or attribute.rfc4514_attribute_name
    if attribute.oid == NameOID.COMMON_NAME:
        _check_wildcard(kind, text)
    # A serial number may well look like an address written as one number.
    _check_own(kind, text, reserved, numbers=attribute.oid in _HOST_ATTRIBUTES)


def check_alt_names(
    names: Sequence[x509.GeneralName],
    *,
    kinds: frozenset[SanKind],
    other_types: tuple[str, ...],
    reserved: ReservedNames,
) -> None:
    """Refuse names that are malformed, of a kind not listed, wildcards, or reserved.

    `other_types` lists the otherName types that are allowed; of their values only the strings
    are looked into, for hosts that are reserved. Raises Refused: profile/name-kind, profile/name,
    profile/wildcard, profile/own-name, and those of check_subject for directory names.
    """
    for name in names:
        if isinstance(name, x509.OtherName):
            if name.type_id.dotted_string not in other_types:
                raise Refused(
                    "profile/name-kind", f"otherName {name.type_id.dotted_string} is not issued"
                )
            _check_other_name(name, reserved)
            continue
        kind = _KIND_OF[type(name)]
        if kind not in kinds:
            raise Refused("profile/name-kind", f"names of kind {kind.value} are not issued")
        _check_name(name, reserved)


def shown(text: str) -> str:
    """Return text of a peer fit for a log line or an error: ASCII, quoted, not long."""
    short = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
    return ascii(short)


def _check_name(name: x509.GeneralName, reserved: ReservedNames) -> None:
    match name:
        case x509.DNSName():
            _check_wildcard("dNSName", name.value)
            _check_own("dNSName", name.value, reserved)
            _check_host_syntax(name.value)
        case x509.IPAddress():
            if not isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
                raise Refused("profile/name", "an iPAddress is a network and not an address")
            _check_own("iPAddress", str(name.value), reserved)
        case x509.RFC822Name():
            _check_mailbox(name.value, reserved)
        case x509.UniformResourceIdentifier():
            _check_uri(name.value, reserved)
        case x509.DirectoryName():
            check_subject(name.value, reserved)
            _check_strings(name.value)
        case _:  # a registeredID has nothing to look into
            pass


def _check_strings(name: x509.Name) -> None:
    """Refuse strings that a subject would get in another type: an extension is kept as it came.

    OpenSSL takes no certificate whose alternative names hold, say, a VisibleString.
    """
    der = name.public_bytes()
    if read_name(der, Limits()).public_bytes() != der:
        raise Refused(
            "profile/name",
            "a directoryName holds a type of string that not everybody reads, or that has not all "
            "of its characters: use UTF8String",
        )


def _check_other_name(name: x509.OtherName, reserved: ReservedNames) -> None:
    kind = f"otherName {name.type_id.dotted_string}"
    try:
        texts = strings_in(name.value, Limits())
    except RemoteProtocolError as exc:
        raise Refused("profile/name", f"the value of {kind} is not DER") from exc
    for text in texts:
        _check_own(kind, text, reserved)


def _check_wildcard(kind: str, text: str) -> None:
    if "*" in unicodedata.normalize("NFKC", text):
        raise Refused("profile/wildcard", f"{kind} {shown(text)} is a wildcard")


def _check_own(kind: str, text: str, reserved: ReservedNames, *, numbers: bool = True) -> None:
    if reserved.hosts.claimed_in(text, numbers=numbers):
        raise Refused("profile/own-name", f"{kind} {shown(text)} is a name of this server")


def _check_host_syntax(text: str) -> None:
    # RFC 5280 4.2.1.6: "preferred name syntax", so letters, digits and hyphens; no final dot.
    labels = text.split(".") if 0 < len(text) <= _HOST_CHARS else []
    if not labels or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise Refused("profile/name", f"{shown(text)} is not a host name")
    # As a dNSName an IP address is none. RFC 3696 2.
    if labels[-1].isdigit() or address_in(text) is not None:
        raise Refused("profile/name", f"{shown(text)} looks like an IP address")


def _check_mailbox(text: str, reserved: ReservedNames) -> None:
    local, _, domain = text.rpartition("@")  # without an @ there is no local part
    if len(text) > _MAILBOX_CHARS or not _MAILBOX_LOCAL.fullmatch(local):
        raise Refused("profile/name", f"{shown(text)} is not a mailbox")
    _check_own("rfc822Name", text, reserved)
    _check_host_syntax(domain)


def _check_uri(text: str, reserved: ReservedNames) -> None:
    # RFC 5280 4.2.1.6: absolute, and an authority names a host in full or an IP address.
    refusal = Refused("profile/name", f"{shown(text)} is not an absolute URI")
    if len(text) > _URI_CHARS or not _URI.fullmatch(text):
        raise refusal
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError as exc:
        raise refusal from exc
    _check_own("URI", text, reserved)
    if not text.partition(":")[2].startswith("//"):
        return
    if not host:
        raise refusal
    _check_wildcard("URI", host)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        _check_host_syntax(host)
