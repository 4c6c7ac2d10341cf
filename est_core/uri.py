"""The address of an EST server: scheme, host, port and an optional label. RFC 7030 3.1, 3.2.2."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.model import RESERVED_SEGMENTS, Label
from est_core.values import value_class

DEFAULT_PORTS: Final = {"https": 443, "coaps": 5684}

_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_MAX_URI_CHARS: Final = 2048
_SHOWN_CHARS: Final = 64  # of what may be a peer's Location, in an error's text


@value_class
class EstUri:
    """Where an EST server is. `host` is a DNS name or an IP literal without brackets."""

    host: str
    port: int
    label: Label | None = None
    scheme: str = "https"

    def __post_init__(self) -> None:
        if self.scheme not in DEFAULT_PORTS:
            raise LocalProtocolError(
                f"{self.scheme[:_SHOWN_CHARS]!r} is not one of {', '.join(DEFAULT_PORTS)}"
            )
        if not 1 <= self.port <= 65535:
            raise LocalProtocolError("a port is a number from 1 to 65535")
        if not _is_host(self.host):
            raise LocalProtocolError(f"{self.host[:_SHOWN_CHARS]!r} is no host name or IP address")

    @classmethod
    def from_argument(cls, value: object) -> EstUri | None:
        """Return what a str says, as `parse`; None for anything else. See `est_core.arguments`."""
        return cls.parse(value) if isinstance(value, str) else None

    @classmethod
    @checked
    def parse(cls, text: str) -> EstUri:
        """Return the server that a URI names.

        The path is empty, `/label`, or `/.well-known/est[/label]`. Raises LocalProtocolError
        for anything else: another scheme, user information, a query, a longer path.
        """
        segments, uri = cls._split(text)
        return _located(uri, segments)

    @classmethod
    @checked
    def parse_operation(
        cls,
        text: str,
        *,
        root: tuple[str, ...] = (".well-known", "est"),
        names: Collection[str] = RESERVED_SEGMENTS,
    ) -> tuple[EstUri, str]:
        """Return the server, and the name of the operation, of a full URI, as in a redirect.

        Raises LocalProtocolError where it has none of `names`: what `parse` lets people leave out
        has to be there. `root` is what stands before the label and the operation.
        """
        segments, uri = cls._split(text)
        if tuple(segments[: len(root)]) != root:
            raise LocalProtocolError(f"an operation is below /{'/'.join(root)}")
        tail = segments[len(root) :]
        if not tail or tail[-1] not in names:
            raise LocalProtocolError("the URI names no EST operation")
        return _located(uri, [".well-known", "est", *tail[:-1]]), tail[-1]

    @classmethod
    def _split(cls, text: str) -> tuple[list[str], EstUri]:
        if len(text) > _MAX_URI_CHARS:
            raise LocalProtocolError("the URI is too long")
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise LocalProtocolError("a URI starts with https:// or coaps://")
        if re.search(r"[?#\s\\]", rest):
            raise LocalProtocolError("a URI here has no query, fragment or blank")
        authority, _, path = rest.partition("/")
        if "@" in authority:
            raise LocalProtocolError("no user in a URI")
        host, port = _split_authority(authority)
        scheme = scheme.lower()
        if port is None and scheme in DEFAULT_PORTS:
            port = DEFAULT_PORTS[scheme]
        uri = cls(scheme=scheme, host=host, port=port or 0)
        return (path.rstrip("/").split("/") if path.strip("/") else []), uri

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, lower-case host and port: what RFC 6454 compares."""
        return (self.scheme, self.host.lower(), self.port)

    @property
    def authority(self) -> str:
        """`host` or `host:port` as a Host header has it, with brackets around IPv6."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}" + (f"/{self.label}" if self.label else "")


def _located(uri: EstUri, segments: list[str]) -> EstUri:
    """Return the server that a path names on this host."""
    match segments:
        case [] | [".well-known", "est"]:
            return uri
        # ".well-known" alone could be a label by its characters; it is half a path.
        case [label] | [".well-known", "est", label] if label != ".well-known":
            return replace(uri, label=Label(unquote(label)))
        case _:
            raise LocalProtocolError(_path_problem(segments))


def _path_problem(segments: list[str]) -> str:
    """Return which part of a path is wrong: it is empty, /LABEL, or /.well-known/est[/LABEL]."""
    if not all(segments):
        return "the path has an empty segment"
    if segments[0] == ".well-known":
        if segments[1:2] != ["est"]:
            return "the path of EST begins with /.well-known/est"
        segments = segments[2:]
    if len(segments) == 2 and segments[1] in RESERVED_SEGMENTS:
        return f"the path ends with the label: leave /{segments[1]} out"
    labels = "/".join(segments)[:_SHOWN_CHARS]
    return f"a label is one segment of the path, and {labels!r} is {len(segments)}"


def _split_authority(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        port = rest.removeprefix(":") if rest.startswith(":") or not rest else "no port"
        if not bracket or ":" not in host:
            raise LocalProtocolError("brackets go around an IPv6 address")
    elif authority.count(":") > 1:
        raise LocalProtocolError("write an IPv6 address in brackets")
    else:
        host, _, port = authority.partition(":")
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise LocalProtocolError("a port is a number from 1 to 65535")
    return host, int(port) if port else None


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and _HOST_NAME.fullmatch(host) is not None
    return "%" not in host
