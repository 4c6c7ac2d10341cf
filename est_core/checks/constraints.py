"""Decides whether names are within the nameConstraints of a CA. RFC 5280 4.2.1.10.

A verifier applies every nameConstraints above a certificate to all its names: the subject, e-mail
addresses in it, each alternative name, and, as OpenSSL does, a common name that looks like a host
where no alternative name is one. What is allowed here is what both RFC 5280 and OpenSSL allow, so
that what a CA issues after asking is also accepted. What cannot be judged is not allowed: a
constraint of a kind that is not known here forbids every name of that kind.

Both let names pass that are not within an excluded subtree and are used as if they were. The
wildcard `*.example.com` is a certificate for `bar.example.com`, which may be excluded
(CVE-2025-61727), and whoever compares hosts may drop the space of " bar.example.com", or a final
dot. So a wildcard is excluded where a host that it stands for is, and names that are no names of
their kind cannot be judged.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.attributes import read_name
from est_core.asn1.certificate_extensions import certificate_extensions
from est_core.checks.names import canonical_name
from est_core.values import value_class

NAME_CONSTRAINTS: Final = "2.5.29.30"

_PERMITTED, _EXCLUDED = 0xA0, 0xA1
_SMTP_UTF8_MAILBOX: Final = "1.3.6.1.5.5.7.8.9"  # RFC 8398: under the constraints of mailboxes
# As OpenSSL has it: two labels or more, and neither dots nor hyphens where they cannot be.
_HOST_IN_COMMON_NAME: Final = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)+"
)
_LABELS: Final = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABELS}")
_MAILBOX: Final = re.compile(rf"[^@\s]+@{_LABELS}")
_WILDCARD: Final = "*."


class NameKind(Enum):
    """Kinds of GeneralName, by their tag. RFC 5280 4.2.1.6."""

    OTHER = 0
    EMAIL = 1
    DNS = 2
    X400 = 3
    DIRECTORY = 4
    EDI_PARTY = 5
    URI = 6
    IP = 7
    REGISTERED_ID = 8


@value_class
class Subtree:
    """A subtree of names of one kind. `text` says which in words.

    `base` is None where it cannot be judged: a kind that is not known here, or other bounds than
    minimum 0 and no maximum. `type_id` is that of an otherName.
    """

    kind: NameKind
    text: str
    base: str | bytes | x509.Name | None
    type_id: str = ""

    def holds(self, name: ConstrainedName) -> bool | None:
        """Return whether a name of the same kind is in the subtree; None if nobody can tell."""
        match self.base, name.value:
            case None, _:
                return None
            case str(base), str(text):
                return _HOLDS[self.kind](text, base)
            case bytes(base), bytes(octets):
                return _holds_address(octets, base)
            case x509.Name() as base, x509.Name() as subject:
                above, below = canonical_name(base), canonical_name(subject)
                return below[: len(above)] == above
            case _:
                return None

    def holds_one_of(self, name: ConstrainedName) -> bool:
        """Return whether a name is a wildcard, and a host that it stands for is in the subtree.

        Those are the ones with one more label: a subtree has one of them and not the wildcard
        where its base is one.
        """
        base, text = self.base, name.value
        if self.kind is not NameKind.DNS or not isinstance(base, str) or not isinstance(text, str):
            return False
        _, _, domain = base.lower().partition(".")
        return text.startswith(_WILDCARD) and text.removeprefix(_WILDCARD).lower() == domain


@value_class
class ConstrainedName:
    """A name as constraints see it: text, the octets of an address, or a Name.

    `flaw` says why no verifier could judge it.
    """

    kind: NameKind
    value: str | bytes | x509.Name
    text: str
    type_id: str = ""
    flaw: str = ""

    def is_like(self, tree: Subtree) -> bool:
        """True if a subtree is for names of this kind."""
        return self.kind is tree.kind and self.type_id == tree.type_id


@value_class
class NameConstraints:
    """Which names may stand below a CA. Read it from a certificate by `name_constraints`."""

    permitted: tuple[Subtree, ...] = ()
    excluded: tuple[Subtree, ...] = ()

    def violation(self, name: ConstrainedName) -> str:
        """Return why a name may not stand below the CA, or ""."""
        if name.flaw:
            return name.flaw
        permitted = [tree for tree in self.permitted if name.is_like(tree)]
        excluded = [tree for tree in self.excluded if name.is_like(tree)]
        for tree in (*permitted, *excluded):
            if tree.holds(name) is None:
                return f"cannot be judged by the constraint {tree.text}"
        for tree in excluded:
            if tree.holds(name):
                return f"is excluded by {tree.text}"
            if tree.holds_one_of(name):
                return f"stands for a name that is excluded by {tree.text}"
        if permitted and not any(tree.holds(name) for tree in permitted):
            return f"is outside of {', '.join(tree.text for tree in permitted[:4])}"
        return ""


def constrained_names(
    subject: x509.Name, alternatives: x509.SubjectAlternativeName | None
) -> Iterator[ConstrainedName]:
    """Yield every name of a certificate that the constraints above it are applied to."""
    if subject.rdns:
        text = subject.rfc4514_string()
        yield ConstrainedName(kind=NameKind.DIRECTORY, value=subject, text=f"the subject {text}")
    for mailbox in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        value = str(mailbox.value)
        # RFC 5280 A.1 says IA5String, and OpenSSL judges no other type.
        flaw = "" if _is_ia5(mailbox) else "is not an IA5String"
        text = f"emailAddress={value}"
        yield ConstrainedName(kind=NameKind.EMAIL, value=value, text=text, flaw=flaw)
    names = tuple(alternatives or ())
    yield from map(_constrained, names)
    if any(isinstance(name, x509.DNSName) for name in names):
        return
    for common in subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        text = str(common.value)
        if _HOST_IN_COMMON_NAME.fullmatch(text):
            yield ConstrainedName(kind=NameKind.DNS, value=text, text=f"CN={text}")


def _is_ia5(attribute: x509.NameAttribute[str | bytes]) -> bool:
    name = _der.read_element(x509.Name([attribute]).public_bytes())
    (rdn,) = _der.children(name)
    (part,) = _der.children(rdn)
    return _der.children(part)[1].tag == _der.IA5_STRING


def _constrained(name: x509.GeneralName) -> ConstrainedName:
    match name:
        case x509.DNSName(value=text):
            return ConstrainedName(kind=NameKind.DNS, value=text, text=f"DNS:{text}")
        case x509.RFC822Name(value=text):
            return ConstrainedName(kind=NameKind.EMAIL, value=text, text=f"email:{text}")
        case x509.UniformResourceIdentifier(value=text):
            return ConstrainedName(kind=NameKind.URI, value=text, text=f"URI:{text}")
        case x509.IPAddress(value=address):
            packed = b"" if not hasattr(address, "packed") else address.packed
            return ConstrainedName(kind=NameKind.IP, value=packed, text=f"IP:{address}")
        case x509.DirectoryName(value=subject):
            text = f"dirName:{subject.rfc4514_string()}"
            return ConstrainedName(kind=NameKind.DIRECTORY, value=subject, text=text)
        case x509.OtherName(type_id=type_id, value=value):
            oid = type_id.dotted_string
            if oid == _SMTP_UTF8_MAILBOX:
                mailbox = value[2:].decode("utf-8", "replace")
                return ConstrainedName(kind=NameKind.EMAIL, value=mailbox, text=f"email:{mailbox}")
            text = f"otherName:{oid}"
            return ConstrainedName(kind=NameKind.OTHER, value=value, text=text, type_id=oid)
        case _:
            oid = name.value.dotted_string if isinstance(name, x509.RegisteredID) else ""
            return ConstrainedName(
                kind=NameKind.REGISTERED_ID, value=b"", text=f"registeredID:{oid}"
            )


# --- Is a name in a subtree? -----------------------------------------------------------------


def _holds_host(host: str, base: str) -> bool | None:
    """RFC 5280 4.2.1.10: the base itself and all below it; with a dot before it, only those."""
    if not _HOST.fullmatch(host):
        return None
    host, base = host.lower(), base.lower()
    if not base:
        return True
    return host.endswith(base) if base.startswith(".") else f".{host}".endswith(f".{base}")


def _holds_mailbox(mailbox: str, base: str) -> bool | None:
    if not _MAILBOX.fullmatch(mailbox):
        return None
    local, _, domain = mailbox.partition("@")
    wanted, at, host = base.rpartition("@")
    if not at and base.startswith("."):
        return domain.lower().endswith(base.lower()) and len(domain) > len(base)
    return (not wanted or wanted == local) and domain.lower() == host.lower()


def _holds_uri(uri: str, base: str) -> bool | None:
    """The host of a URI; one without a host, or with an address for it, is not allowed."""
    host = _host_of_uri(uri)
    if host is None:
        return None
    base = base.lower()
    return host.endswith(base) and len(host) > len(base) if base[:1] == "." else host == base


def _host_of_uri(uri: str) -> str | None:
    """Return the host of a URI, None where it has none that all readers agree upon."""
    _, separator, rest = uri.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0]
    # OpenSSL does not know of user names: what it reads has to be the host too.
    if not separator or not host or host != re.split("[:/]", rest, maxsplit=1)[0]:
        return None
    if not re.fullmatch(_LABELS, host) or host.replace(".", "").isdigit():
        return None
    return host.lower()


_WELL_FORMED: Final[dict[NameKind, Callable[[str], object]]] = {
    NameKind.DNS: _HOST.fullmatch,
    NameKind.EMAIL: _MAILBOX.fullmatch,
    NameKind.URI: _host_of_uri,
}


def is_well_formed(name: ConstrainedName) -> bool:
    """Return whether a name is written as names of its kind are, so that all readers see one."""
    if name.flaw or not isinstance(name.value, str):
        return not name.flaw
    return bool(_WELL_FORMED[name.kind](name.value))


def _holds_address(octets: bytes, base: bytes) -> bool:
    """True if an address is in a network: as many octets of address and of mask."""
    if len(base) != 2 * len(octets):
        return False
    network, mask = base[: len(octets)], base[len(octets) :]
    return all(
        octet & bits == wanted & bits
        for octet, wanted, bits in zip(octets, network, mask, strict=True)
    )


_HOLDS: Final = {
    NameKind.DNS: _holds_host,
    NameKind.EMAIL: _holds_mailbox,
    NameKind.URI: _holds_uri,
}


# --- Reading ---------------------------------------------------------------------------------


def name_constraints(certificate: x509.Certificate) -> NameConstraints | None:
    """Return the nameConstraints of a certificate, or None where it has none.

    Read from its octets: a kind of name that `cryptography` does not know spoils nothing here.
    Raises LocalProtocolError where they cannot be read.
    """
    try:
        found = (
            each for each in certificate_extensions(certificate) if each.oid == NAME_CONSTRAINTS
        )
        extension = next(found, None)
        if extension is None:
            return None
        value, limits = extension.value, Limits()
        _der.check_der(value, limits)
        parts = {part.tag: part for part in _der.children(_der.read_element(value))}
        permitted, excluded = (
            tuple(_subtree(tree, limits) for tree in _der.children(parts[tag]))
            if tag in parts
            else ()
            for tag in (_PERMITTED, _EXCLUDED)
        )
        if not permitted and not excluded:  # "MUST NOT be an empty sequence"
            raise LocalProtocolError("the nameConstraints are empty")
    except (RemoteProtocolError, IndexError, ValueError) as exc:
        raise LocalProtocolError("the nameConstraints cannot be read") from exc
    return NameConstraints(permitted=permitted, excluded=excluded)


def _subtree(element: _der.Element, limits: Limits) -> Subtree:
    base, *bounds = _der.children(element)
    kind = NameKind(base.tag & 0x1F)
    tree = _subtree_of(kind, base, limits)
    if bounds:  # RFC 5280: "minimum MUST be zero, and maximum MUST be absent"
        return Subtree(kind=kind, text=tree.text, base=None, type_id=tree.type_id)
    return tree


def _subtree_of(kind: NameKind, base: _der.Element, limits: Limits) -> Subtree:
    content = base.content
    match kind:
        case NameKind.DNS | NameKind.EMAIL | NameKind.URI:
            text = content.decode("latin-1")
            return Subtree(kind=kind, base=text, text=f"{_WORDS[kind]}:{text or '(all)'}")
        case NameKind.IP:
            return Subtree(kind=kind, base=content, text=f"IP:{_network_text(content)}")
        case NameKind.DIRECTORY:
            name = read_name(content, limits)
            return Subtree(kind=kind, base=name, text=f"dirName:{name.rfc4514_string()}")
        case NameKind.OTHER:
            oid = _der.read_oid(_der.children(base)[0])
            return Subtree(kind=kind, base=None, text=f"otherName:{oid}", type_id=oid)
        case _:
            return Subtree(kind=kind, base=None, text=kind.name.lower())


_WORDS: Final = {NameKind.DNS: "DNS", NameKind.EMAIL: "email", NameKind.URI: "URI"}


def _network_text(base: bytes) -> str:
    half = len(base) // 2
    try:
        address, mask = ipaddress.ip_address(base[:half]), ipaddress.ip_address(base[half:])
    except ValueError:
        return base.hex()
    prefix = f"{int(mask):b}".rstrip("0")
    whole = "0" not in prefix and (not int(mask) or int(mask) >> (8 * half - 1))
    return f"{address}/{len(prefix) if whole else mask}"
