"""Judges the names that a certificate request asks for: its subject and subjectAltName.

A certificate's names are what others will believe about its holder. So they are well formed, of
a kind that was agreed on, no wildcards, and not the names of the server that issues them.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from enum import Enum, unique
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

_SUBJECT_ATTRIBUTES_MAX: Final = 32
_HOST_CHARS: Final = 253  # RFC 1035 2.3.4, without the final dot
_MAILBOX_CHARS: Final = 254  # RFC 5321 4.5.3.1.3, erratum 1690
_URI_CHARS: Final = 2048
_SHOWN_CHARS: Final = 64

_VALUE_CHARS: Final = 256
_VALUE_CHARS_OF: Final = {  # upper bounds of RFC 5280 appendix A.1
    NameOID.COMMON_NAME: 64,
    NameOID.COUNTRY_NAME: 2,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
    NameOID.SERIAL_NUMBER: 64,
    NameOID.TITLE: 64,
}
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAILBOX_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]+")


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


def canonical_host(text: str) -> str:
    """Return a host name or IP address in the one form in which two of them compare.

    Lower case, no final dot, A-labels; IPv4 where an IPv6 address maps it.
    """
    host = unicodedata.normalize("NFKC", text).strip().casefold().rstrip(".")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host if host.isascii() else _a_labels(host)
    return str(getattr(address, "ipv4_mapped", None) or address)


@lru_cache(maxsize=16)
def canonical_hosts(names: frozenset[str]) -> frozenset[str]:
    """Return names in the form of `canonical_host`; a server's own are the same each time."""
    return frozenset(map(canonical_host, names))


def check_subject(subject: x509.Name, own_names: frozenset[str]) -> None:
    """Refuse a subject that is too large, holds odd characters, or names a host it must not.

    `own_names` are in canonical form. Raises Refused: profile/subject, profile/wildcard,
    profile/own-name. Only common names are taken for host names: nothing else ever was.
    """
    attributes = [attribute for rdn in subject.rdns for attribute in rdn]
    if len(attributes) > _SUBJECT_ATTRIBUTES_MAX:
        raise Refused("profile/subject", f"the subject has {len(attributes)} attributes")
    for attribute in attributes:
        text = attribute.value
        if not isinstance(text, str):
            raise Refused("profile/subject", "the subject holds a value that is not text")
        if not 0 < len(text) <= _VALUE_CHARS_OF.get(attribute.oid, _VALUE_CHARS):
            raise Refused("profile/subject", f"{shown(text)} is too long or too short a value")
        if not text.strip():
            raise Refused("profile/subject", "a value of the subject is blank")
        # Control characters and invisible ones, which make two names look like one.
        if any(unicodedata.category(char).startswith("C") for char in text):
            raise Refused("profile/subject", f"{shown(text)} holds characters that do not print")
        if attribute.oid == NameOID.COMMON_NAME:
            _check_host_claim(text, own_names)


def check_alt_names(
    names: Sequence[x509.GeneralName],
    *,
    kinds: frozenset[SanKind],
    other_types: tuple[str, ...],
    own_names: frozenset[str],
) -> None:
    """Refuse names that are malformed, of a kind not listed, wildcards, or the server's own.

    `other_types` lists the otherName types that are allowed, whose values are not looked into.
    Raises Refused: profile/name-kind, profile/name, profile/wildcard, profile/own-name, and
    those of check_subject for directory names.
    """
    for name in names:
        if isinstance(name, x509.OtherName):
            if name.type_id.dotted_string not in other_types:
                raise Refused(
                    "profile/name-kind", f"otherName {name.type_id.dotted_string} is not issued"
                )
            continue
        kind = _KIND_OF[type(name)]
        if kind not in kinds:
            raise Refused("profile/name-kind", f"names of kind {kind.value} are not issued")
        _check_name(name, own_names)


def shown(text: str) -> str:
    """Return text of a peer fit for a log line or an error: ASCII, quoted, not long."""
    short = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
    return ascii(short)


def _check_name(name: x509.GeneralName, own_names: frozenset[str]) -> None:
    match name:
        case x509.DNSName():
            _check_host_claim(name.value, own_names)
            _check_host_syntax(name.value)
        case x509.IPAddress():
            if not isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
                raise Refused("profile/name", "an iPAddress is a network and not an address")
            _check_host_claim(str(name.value), own_names)
        case x509.RFC822Name():
            _check_mailbox(name.value)
        case x509.UniformResourceIdentifier():
            _check_uri(name.value, own_names)
        case x509.DirectoryName():
            check_subject(name.value, own_names)
        case _:  # a registeredID has nothing to look into
            pass


def _check_host_claim(text: str, own_names: frozenset[str]) -> None:
    if "*" in unicodedata.normalize("NFKC", text):
        raise Refused("profile/wildcard", f"{shown(text)} is a wildcard")
    if canonical_host(text) in own_names:
        raise Refused("profile/own-name", f"{shown(text)} is a name of this server")


def _check_host_syntax(text: str) -> None:
    # RFC 5280 4.2.1.6: "preferred name syntax", so letters, digits and hyphens; no final dot.
    labels = text.split(".") if 0 < len(text) <= _HOST_CHARS else []
    if not labels or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise Refused("profile/name", f"{shown(text)} is not a host name")
    if labels[-1].isdigit():  # an IP address as a dNSName. RFC 3696 2
        raise Refused("profile/name", f"{shown(text)} looks like an IP address")


def _check_mailbox(text: str) -> None:
    local, at, domain = text.rpartition("@")
    if not at or len(text) > _MAILBOX_CHARS or not _MAILBOX_LOCAL.fullmatch(local):
        raise Refused("profile/name", f"{shown(text)} is not a mailbox")
    _check_host_syntax(domain)


def _check_uri(text: str, own_names: frozenset[str]) -> None:
    # RFC 5280 4.2.1.6: absolute, and an authority names a host in full or an IP address.
    refusal = Refused("profile/name", f"{shown(text)} is not an absolute URI")
    if len(text) > _URI_CHARS or not _URI.fullmatch(text):
        raise refusal
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError as exc:
        raise refusal from exc
    if not text.partition(":")[2].startswith("//"):
        return
    if not host:
        raise refusal
    _check_host_claim(host, own_names)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        _check_host_syntax(host)


def _a_labels(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host
