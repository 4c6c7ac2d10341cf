"""Whom a request head is addressed to: its host, and the label and operation of its path.

RFC 9112 3.2, RFC 3986 3.2, RFC 7030 3.2.2. Which names are this server's own is not judged here:
TLS has done that. But a head that no two readers would read alike goes no further.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from est_core._errors import Fault, RemoteProtocolError
from est_core.policy import ServerPolicy
from est_core.wires.operation_path import Addressed, find_operation

_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)")
_HTTP_SCHEMES: Final = (b"https", b"http")

_UNRESERVED: Final = r"A-Za-z0-9\-._~!$&'()*+,;="
_NAME: Final = rf"(?:[{_UNRESERVED}]|%[0-9A-Fa-f]{{2}})+"
_FUTURE: Final = rf"v[0-9A-Fa-f]+\.[{_UNRESERVED}:]+"
_AUTHORITY: Final = re.compile(
    rf"(?:\[(?:(?P<v6>[0-9A-Fa-f:.]+)|{_FUTURE})\]|{_NAME})(?::(?P<port>[0-9]*))?", re.IGNORECASE
)
_MAX_HOST_BYTES: Final = 1024  # a DNS name has 253 characters, each perhaps percent-encoded
_SHOWN_CHARS: Final = 64


def check_host(target: bytes, found: Sequence[bytes]) -> None:
    """Raise RemoteProtocolError("http/host") for a Host that is none, or a second one.

    `found` are the values of the field. RFC 9112 3.2: a server "MUST respond with a 400" to two of
    them, and to one that is no `uri-host [":" port]`. That one is there at all is for whoever reads
    the wire to see. An empty host is refused too: https has none (RFC 9110 4.2.2), and RFC 9112 3.3
    lets a server do so.
    Of an absolute target the same is asked; its host may be another than that of the field, which
    it overrides (RFC 9112 3.2.2). "http/target-form" for one of another scheme than http(s).
    """
    if len(found) > 1:
        raise RemoteProtocolError("http/host", f"one Host field belongs here, not {len(found)}")
    for value in found:
        _check_authority_untrusted("Host", value.strip(b" \t"))
    if absolute := _ABSOLUTE.match(target):
        if absolute[1].lower() not in _HTTP_SCHEMES:
            raise RemoteProtocolError("http/target-form", "the target is no URI of https")
        _check_authority_untrusted("the host of the target", absolute[2])


def _check_authority_untrusted(what: str, value: bytes) -> None:
    text = value.decode("latin-1")
    match = _AUTHORITY.fullmatch(text) if len(value) <= _MAX_HOST_BYTES else None
    if match is None:
        shown = ascii(text[:_SHOWN_CHARS])
        raise RemoteProtocolError(
            "http/host", f"{what} is {shown}, and no host with a port or none"
        )
    if match["v6"] is not None:
        try:
            ipaddress.IPv6Address(match["v6"])
        except ValueError as exc:
            raise RemoteProtocolError(
                "http/host", f"{what} has no IPv6 address in its brackets"
            ) from exc
    if int(match["port"] or "0") > 65535:
        raise RemoteProtocolError("http/host", f"{what} has a port above 65535")


def is_whole_uri(uri: str, target: bytes, host: bytes) -> bool:
    """True if `uri` is the https URI that a request of this target and Host is about. RFC 9110 7.1.

    `host` is empty where no field came. Scheme and host compare without case, and port 443 is as
    good as none. The rest is compared as it is written.
    """
    whole = _ABSOLUTE.fullmatch(uri.encode("ascii")) if uri.isascii() else None
    if whole is None or whole[1].lower() != b"https":
        return False
    if absolute := _ABSOLUTE.fullmatch(target):  # its host overrides the field's (RFC 9112 3.2.2)
        host, target = absolute[2], absolute[3]
    return bool(host) and _plain(whole[2]) == _plain(host) and whole[3] == target


def _plain(authority: bytes) -> bytes:
    lowered = authority.strip(b" \t").lower()
    return lowered.removesuffix(b":443").removesuffix(b":")


def parse_target(target: bytes, policy: ServerPolicy) -> Addressed:
    """Split `/.well-known/est[/label]/operation[/item]`; RFC 7030 3.2.2. A query is ignored.

    The operation is one that the policy has a row for. Raises RemoteProtocolError: "path/unknown",
    "path/operation", "path/label", "path/item", "path/not-offered".
    """
    # What nearly every request asks for, without a label, an escape or a query: one look reads it.
    usual = policy.on_http.whole.get(target.decode("latin-1"))
    if usual is not None:
        return Addressed(usual)
    path = target.partition(b"?")[0]
    # The absolute form, which RFC 9112 3.2.2 makes us accept.
    if absolute := _ABSOLUTE.match(path):
        path = absolute[3]
    try:
        segments = tuple([unquote_to_bytes(part).decode("ascii") for part in path.split(b"/")])
    except UnicodeDecodeError as exc:
        raise RemoteProtocolError(
            "path/unknown", "the path has octets that are no ASCII", Fault.NOT_FOUND
        ) from exc
    # What does not begin with a slash is below no root.
    below = segments[1:] if segments[0] == "" else ("", *segments)
    return find_operation(below, policy.on_http, policy.labels, datagram=False)
