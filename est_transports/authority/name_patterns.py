"""Patterns of the names that a profile certifies.

A pattern is a name with wildcards in it: `*` stands for one or more characters but the one that
separates the parts of such a name (a dot of a host, the @ of a mailbox, a slash of a URI), `**` for
one or more of any. All wildcards are tried at once, a bit each, so that no name takes longer to
judge than its length times that of the pattern.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core import LocalProtocolError
from est_core.checks.hosts import folded
from est_core.values import unchecked_value_class, value_class
from est_transports.authority.profile_names import Refused, shown

PATTERNS_MAX: Final = 64
_PATTERN_CHARS: Final = 255
_SEPARATORS: Final = {"dns": ".", "email": "@", "uri": "/"}
_PART: Final = re.compile(r"\*\*|\*|[^*]")
# What looks like a host in a common name is one to some programs, in whatever alphabet.
_HOST: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@value_class
class NamePatterns:
    """Patterns of host names, mailboxes and URIs, and networks of IP addresses.

    A name of a kind that has some must fit one of them; a kind without any is not looked at. A
    common name that reads as a host is one, and an emailAddress of the subject is a mailbox. Hosts
    compare without case. Raises LocalProtocolError for a pattern that nothing fits, and for more
    than PATTERNS_MAX of a kind.
    """

    dns: tuple[str, ...] = ()
    ip: tuple[Network, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind, separator in _SEPARATORS.items():
            patterns: tuple[str, ...] = getattr(self, kind)
            if len(patterns) > PATTERNS_MAX:
                raise LocalProtocolError(f"{len(patterns)} patterns, {PATTERNS_MAX} are allowed")
            for text in patterns:
                _compiled(text, separator)
        if len(self.ip) > PATTERNS_MAX:
            raise LocalProtocolError(f"{len(self.ip)} networks, {PATTERNS_MAX} are allowed")

    def check(self, names: Iterable[x509.GeneralName]) -> None:
        """Return if each alternative name fits. Raises Refused("profile/name-pattern")."""
        for name in names:
            match name:
                case x509.DNSName(value=text):
                    self._check("dns", self.dns, text)
                case x509.RFC822Name(value=text):
                    self._check("email", self.email, text)
                case x509.UniformResourceIdentifier(value=text):
                    self._check("uri", self.uri, text)
                case x509.IPAddress(value=address):
                    self._check_address(address)
                case x509.DirectoryName(value=subject):
                    self.check_subject(subject)
                case _:
                    pass

    def check_subject(self, subject: x509.Name) -> None:
        """Return if hosts and mailboxes in a subject fit. Raises Refused as `check`."""
        if self.dns or self.ip:
            for common in subject.get_attributes_for_oid(NameOID.COMMON_NAME):
                self._check_common(str(common.value))
        if self.email:
            for mailbox in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
                self._check("email", self.email, str(mailbox.value))

    def _check_common(self, text: str) -> None:
        host = folded(text).strip(" .[]")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if _HOST.fullmatch(host):
                self._check("dns", self.dns, host)
        else:
            self._check_address(address)

    def _check_address(self, address: object) -> None:
        if self.ip and not any(address in network for network in self.ip):
            raise _unfit("IP address", str(address))

    def _check(self, kind: str, patterns: tuple[str, ...], text: str) -> None:
        if patterns and not any(_compiled(each, _SEPARATORS[kind]).fits(text) for each in patterns):
            raise _unfit(f"{kind} name", text)


def _unfit(kind: str, text: str) -> Refused:
    return Refused("profile/name-pattern", f"{kind} {shown(text)} fits no pattern of the profile")


@unchecked_value_class
class _Pattern:
    """A pattern in parts, as masks: bit n is for part n.

    `literals` has the parts that are a character, `narrow` those that are `*`, `wide` those that
    are `**`.
    """

    literals: Mapping[str, int]
    narrow: int
    wide: int
    length: int
    separator: str

    def fits(self, text: str) -> bool:
        """Return whether a name fits. Bit n of `states` is set if the first n parts may have."""
        states, separator = 1, self.separator
        for char in text.lower() if separator == "." else text:
            wild = self.wide if char == separator else self.wide | self.narrow
            # A part takes the character: one that is next, or a wildcard that goes on.
            states = (states & (wild | self.literals.get(char, 0))) << 1 | states & wild << 1
            if not states:
                return False
        return bool(states >> self.length & 1)


@lru_cache(maxsize=1024)
def _compiled(text: str, separator: str) -> _Pattern:
    if not text or len(text) > _PATTERN_CHARS or not (text.isascii() and text.isprintable()):
        raise LocalProtocolError(
            f"{text[:_PATTERN_CHARS]!r} is no pattern: 1 to {_PATTERN_CHARS} ASCII characters"
        )
    if "***" in text:
        raise LocalProtocolError(f"{text!r}: write * or **")
    parts = _PART.findall(text.lower() if separator == "." else text)
    masks: dict[str, int] = {}
    for at, part in enumerate(parts):
        masks[part] = masks.get(part, 0) | 1 << at
    narrow, wide = masks.pop("*", 0), masks.pop("**", 0)
    return _Pattern(
        literals=masks, narrow=narrow, wide=wide, length=len(parts), separator=separator
    )
