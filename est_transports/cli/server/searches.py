"""What `est why` looks for in an audit file: which entries fit, and what their lines hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from est_core import LocalProtocolError
from est_core.checks.names import canonical_text, shown_name
from est_core.values import unchecked_value_class
from est_transports.pki.serials import printed_serial
from est_transports.service.audit import Entry

_ESCAPED: Final = re.compile(r"\\([0-9A-Fa-f]{2}|.)")
_PLAIN: Final = re.compile(r"[\w .@:/-]+")
_PARTS: Final = re.compile(r"(?:\\.|[^,+\\])+")
_CERTIFICATES: Final = ("certificate", "shown", "issued")


@unchecked_value_class
class Search:
    """`fits` says whether an entry is looked for; each such has one of the `needles` in its line.

    No needles: any line may fit.
    """

    whose: str
    needles: tuple[str, ...]
    fits: Callable[[Entry], bool]


def of_id(refusal: str) -> Search:
    """Return the search for one refusal."""
    return Search(
        whose=f"the id {refusal}",
        needles=(refusal,),
        fits=lambda entry: entry.get("refusal") == refusal,
    )


def of_user(name: str) -> Search:
    """Return the search for a user, by the name that was proven or tried."""
    return Search(
        whose=f"user {shown_name(name)}",
        needles=(name,),
        fits=lambda entry: name in (entry.get("user"), entry.get("tried")),
    )


def of_serial(serial: str) -> Search:
    """Return the search for a certificate, by its serial number as stores write it."""
    printed = printed_serial(serial)
    return Search(
        whose=f"certificate {printed}",
        needles=(printed,),
        fits=lambda entry: any(
            each.get("serial") == printed for each in _certificates(entry, _CERTIFICATES)
        ),
    )


def of_peer(address: str) -> Search:
    """Return the search for an address, with a port or without.

    Raises LocalProtocolError for what is none.
    """
    host, port = _host(address), _port(address)
    if host is None:
        raise LocalProtocolError(f"{address[:64]!r} is no address: write 192.0.2.1, or 2001:db8::1")

    def fits(entry: Entry) -> bool:
        peer = str(entry.get("peer", ""))
        return _host(peer) == host and port in ("", _port(peer))

    return Search(whose=f"clients at {address}", needles=(host,), fits=fits)


def of_device(device_id: str, names: Collection[str]) -> Search:
    """Return the search for a device: by its id, and by each name that it may have."""
    texts = (device_id, *names)
    known = {canonical_text(text) for text in texts}
    # What is escaped in a subject is not in the line as it is here.
    is_plain = all(_PLAIN.fullmatch(text) for text in texts)
    return Search(
        whose=f"device {shown_name(device_id)}",
        needles=texts if is_plain else (),
        fits=lambda entry: any(canonical_text(each) in known for each in _names(entry)),
    )


def _names(entry: Entry) -> Iterator[str]:
    """Yield the names in an entry: users, and those of certificates and of what was asked for.

    A manufacturer's device is called as the file has it, "acme/4711", or by its number alone.
    """
    for key in ("user", "maker", "tried"):
        if isinstance(found := entry.get(key), str):
            yield found
    if isinstance(device := entry.get("maker"), str):
        yield device.partition("/")[2]
    for certificate in _certificates(entry, (*_CERTIFICATES, "requested")):
        yield from _values(str(certificate.get("subject", "")))
        names = certificate.get("names")
        for name in names if isinstance(names, list) else ():
            yield str(name).partition(":")[2]


def _values(subject: str) -> Iterator[str]:
    for part in _PARTS.findall(subject):
        _, _, value = part.partition("=")
        yield _ESCAPED.sub(lambda found: _unescaped(found[1]), value)


def _unescaped(text: str) -> str:
    return chr(int(text, 16)) if len(text) == 2 else text


def _certificates(entry: Entry, keys: Collection[str]) -> Iterator[Mapping[str, object]]:
    for key in keys:
        if isinstance(found := entry.get(key), dict):
            yield found


def _host(peer: str) -> str | None:
    """Return the address in ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT; None for what is none."""
    host = peer.partition("]")[0].removeprefix("[") if peer.startswith("[") else peer
    for each in (host, host.rpartition(":")[0]):
        try:
            return str(ip_address(each))
        except ValueError:
            continue
    return None


def _port(peer: str) -> str:
    if peer.startswith("["):
        return peer.rpartition("]:")[2] if "]:" in peer else ""
    return peer.rpartition(":")[2] if peer.count(":") == 1 else ""
