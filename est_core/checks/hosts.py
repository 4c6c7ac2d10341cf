"""Decides when two texts name the same host, and whether a text names one that is protected.

A host has one canonical form; two are the same if their forms are equal, so that "the same" is an
equivalence by construction. There is no resolver here and nothing is looked up: every answer
follows from the text alone, in time bounded by its length.

`ProtectedHosts` asks more than that: could somebody read the text as that host? It takes any
reading for an answer that some program has, since one lenient program is enough for a name to be
believed.
"""

from __future__ import annotations

import ipaddress
import re
import string
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from est_core.arguments import checked

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TEXT_CHARS: Final = 4096  # a URI that a profile allows has half of that
_BLANKS: Final = string.whitespace
_EDGES: Final = _BLANKS + ".[]"
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
_PLAIN: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_BROWSED: Final = frozenset({"ftp:", "http:", "https:", "ws:", "wss:"})  # WHATWG URL 3
_SERVICES: Final = re.compile(r"(?:_[^.]*\.)+")  # RFC 4985 2: _service.name
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*):[0-9]*")
_MAIL_TAG: Final = "ipv6:"  # RFC 5321 4.1.3
_A_LABEL: Final = "xn--"
_LABEL_CHARS: Final = 63

_LOOPBACK_NAMES: Final = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost4.localdomain4",
        "localhost6",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
    }
)
"""Names that hosts files of common systems give to the machine itself."""

_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291 2.5.5.1
_TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765 2.1
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_6TO4: Final = ipaddress.IPv6Network("2002::/16")  # RFC 3056 2
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214 6.1
_IPV4_MASK: Final = 0xFFFFFFFF


# --- Hosts -----------------------------------------------------------------------------------


def canonical_host(text: str) -> str:
    """Return a host name or IP address in the one form in which two of them compare.

    Names: lower case, A-labels, without dots, blanks and brackets at the ends. Addresses: as
    `canonical_address`, whatever inet_aton or a resolver would take for one (127.1, 0x7f.0.0.1,
    2130706433), without a zone. Text that is no host at all has a form too.
    """
    host = _plain(text)
    address = _address(host)
    return host if address is None else str(canonical_address(address))


def address_in(text: str) -> Address | None:
    """Return the IP address that a text spells, in its canonical form, or None."""
    address = _address(_plain(text))
    return None if address is None else canonical_address(address)


def canonical_address(address: Address) -> Address:
    """Return the IPv4 address where an IPv6 one only stands for it, else the address without zone.

    Mapped (::ffff:a.b.c.d), compatible (::a.b.c.d), translated (::ffff:0:a.b.c.d), NAT64
    (64:ff9b::/96) and 6to4 (2002:abcd:abcd::, the router of the site).
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    # :: and ::1 are no IPv4 addresses, nor what else lies in 0.0.0.0/16.
    if (address in _COMPATIBLE and number >> 16) or address in _TRANSLATED or address in _NAT64:
        return ipaddress.IPv4Address(number & _IPV4_MASK)
    if address in _6TO4 and not number & ((1 << 80) - 1):
        return ipaddress.IPv4Address(number >> 80 & _IPV4_MASK)
    return ipaddress.IPv6Address(number)


def _plain(text: str) -> str:
    if len(text) > _TEXT_CHARS:
        return text
    if text.isascii():
        return text.lower().strip(_EDGES)
    return ".".join(map(_a_label, folded(text).strip(_EDGES).split(".")))


def folded(text: str) -> str:
    """Return text as it is compared: compatibility forms, invisible characters, case. UTS #46."""
    if text.isascii():
        return text.lower()
    # U+3002, an ideographic full stop, is a dot between labels. RFC 3490 3.1.
    visible = (char for char in text if unicodedata.category(char) != "Cf")
    normal = unicodedata.normalize("NFKC", "".join(visible)).lower().replace("\u3002", ".")
    return unicodedata.normalize("NFKC", normal)


def _a_label(label: str) -> str:
    """Return an A-label for one that is not ASCII. "ß" stays what it is: RFC 5894 7.2."""
    if label.isascii() or len(label) > _LABEL_CHARS:
        return label
    encoded = _A_LABEL + label.encode("punycode").decode("ascii")
    return encoded if len(encoded) <= _LABEL_CHARS else label


def _address(host: str) -> Address | None:
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host.removeprefix(_MAIL_TAG).partition("%")[0])
        except ValueError:
            return None
    return _ipv4(host, octal=True)


def _ipv4(host: str, *, octal: bool) -> ipaddress.IPv4Address | None:
    """Return what inet_aton makes of a text: one to four numbers, the last fills the rest.

    A leading zero means octal there, and nothing where `octal` is false, as for some programs.
    """
    parts = host.split(".", 4)
    if len(parts) > 4 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    numbers = [_number(part, octal=octal) for part in parts]
    if None in numbers:
        return None
    *bytes_, rest = (number or 0 for number in numbers)
    if rest >= 1 << 8 * (4 - len(bytes_)) or any(number > 0xFF for number in bytes_):
        return None
    for place, number in enumerate(bytes_):
        rest |= number << 8 * (3 - place)
    return ipaddress.IPv4Address(rest)


def _number(digits: str, *, octal: bool) -> int | None:
    base = 10
    if digits.startswith("0x"):
        digits, base = digits[2:], 16
    elif octal and digits.startswith("0"):
        base = 8
    digits = digits.lstrip("0") or "0"
    if len(digits) > 11 or (base == 8 and not digits.isdigit()):  # 2**32 has 11 octal digits
        return None
    try:
        return int(digits, base)
    except ValueError:  # an 8 or 9 in an octal number
        return None


# --- Hosts that nobody may claim --------------------------------------------------------------


@checked
@dataclass(frozen=True, slots=True)
class ProtectedHosts:
    """Hosts that nobody is to be certified for. Make it by `of`.

    `loopback`: one of them is this machine itself, and then every name and address of it is
    protected: 127.0.0.0/8, ::1, 0.0.0.0, ::, localhost and all below it (RFC 6761 6.3). Whoever
    may be localhost may be each of them. A wildcard protects every name that it covers, one label
    more (RFC 6125 6.4.3): which of them the server has, it does not say.
    """

    hosts: frozenset[str]
    loopback: bool

    @classmethod
    def of(cls, names: Iterable[str]) -> ProtectedHosts:
        """Return the protection of these host names and addresses."""
        hosts = frozenset(map(canonical_host, names)) - {""}
        return cls(hosts=hosts, loopback=any(map(_is_loopback, hosts)))

    def claimed_in(self, text: str, *, numbers: bool = True) -> bool:
        """True if some reader could take one of the hosts out of `text`.

        As a host, with a port, in a URI, after an "@", behind _service labels, percent-encoded.
        With `numbers` false, a lone number such as 2130706433 is a number and not an address.
        """
        return any(map(self._protects, hosts_claimed(text, numbers=numbers)))

    def _protects(self, host: str) -> bool:
        if host in self.hosts or (self.loopback and _is_loopback(host)):
            return True
        _, dot, parent = host.partition(".")
        if dot and f"*.{parent}" in self.hosts:
            return True
        address = address_in(host) if ":" in host else None
        return isinstance(address, ipaddress.IPv6Address) and any(
            self._protects(str(carried)) for carried in _carried(address)
        )


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return host in _LOOPBACK_NAMES or host.endswith(".localhost")


def _carried(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses through which an IPv6 address of a transition network leads."""
    number = int(address)
    if address in _6TO4:
        yield ipaddress.IPv4Address(number >> 80 & _IPV4_MASK)
    if address in _NAT64_LOCAL or number >> 32 & _IPV4_MASK in _ISATAP:
        yield ipaddress.IPv4Address(number & _IPV4_MASK)
    if address.teredo is not None:
        yield address.teredo[1]


def hosts_claimed(text: str, *, numbers: bool = True) -> frozenset[str]:
    """Return all hosts, in canonical form, that some reader could take out of `text`."""
    if _PLAIN.fullmatch(text):  # most names: there is one way to read them
        return frozenset(_as_host(text, numbers=numbers))
    found: set[str] = set()
    for reading in _readings(text[:_TEXT_CHARS]):
        for authority in _authorities(reading):
            found.update(_hosts_of(authority, numbers=numbers))
    return frozenset(found - {""})


def _readings(text: str) -> set[str]:
    """Return the text, without percent-encoding, and with the slashes that browsers read."""
    found = {folded(text)}
    if "%" in text:
        found.add(folded(unquote(text, errors="replace")))
    if not text.isascii():  # as IDNA 2003 has it, where "ß" is "ss"
        found.add(folded(text.casefold()))
    return found | {each.replace("\\", "/") for each in found}


def _authorities(text: str) -> set[str]:
    starts = {text, text.lstrip("/" + _BLANKS)}
    if scheme := _SCHEME.match(text.strip(_BLANKS)):
        # Browsers want no slashes, and take any number of them: https:localhost.
        rest = text.strip(_BLANKS)[scheme.end() :]
        # But "sensor:0" is no URI of the host 0.
        if rest.startswith("/") or scheme[0] in _BROWSED or not _NUMBER.fullmatch(rest):
            starts.add(rest.lstrip("/"))
    first, slash, second = text.partition("/")
    if slash and ":" not in first:  # of a service principal: HTTP/localhost
        starts |= {second, second.partition("@")[0]}
    found = {re.split("[/?#]", start, maxsplit=1)[0] for start in starts}
    for authority in tuple(found):
        found |= {authority.partition("@")[2], authority.rpartition("@")[2]}
    return found


def _hosts_of(authority: str, *, numbers: bool) -> Iterator[str]:
    host = authority.strip(_BLANKS)
    spellings = [host]
    if with_port := _PORT.fullmatch(host):
        spellings.append(with_port[1])
    if services := _SERVICES.match(host):
        spellings.append(host[services.end() :])
    for spelling in spellings:
        yield from _as_host(spelling, numbers=numbers)
    # inet_aton looks no further than the first blank.
    words = host.split(maxsplit=1)
    if len(words) > 1 and _address(_plain(words[0])) is not None:
        yield from _as_host(words[0], numbers=numbers)


def _as_host(spelling: str, *, numbers: bool) -> Iterator[str]:
    plain = _plain(spelling)
    if not numbers and _NUMBER.fullmatch(plain):
        return
    yield canonical_host(spelling)
    decimal = _ipv4(plain, octal=False)
    if decimal is not None:
        yield str(decimal)
