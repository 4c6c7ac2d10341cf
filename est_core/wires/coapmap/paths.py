"""Where a server of EST-coaps has its operations, and how that is found out. RFC 9148 4.1.

A server may have them under another root than /.well-known/est, and says so in the list of its
resources, /.well-known/core. Ways to say it differ: by the resource types of RFC 9148, or by paths
that end as the operations are called, with types of somebody's own. Both count, the types first.
What a list says about other origins does not count: only this server was verified.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core.codec.media import ContentFormat
from est_core.model import Label
from est_core.operation import Operation
from est_core.uri import EstUri
from est_core.values import value_class
from est_core.wires.coapmap.heads import CORE, WELL_KNOWN, Code, RequestHead, ResponseHead
from est_core.wires.coapmap.link_format import CoreLink, read_links

MAX_SEGMENTS: Final = 8
MAX_PATH_BYTES: Final = 255  # of all segments; RFC 7252 5.10 lets each Uri-Path have so many

_TYPE: Final = "ace.est."
# RFC 9148 4.1, Table 1: they show where the root is.
_SUFFIXES: Final = frozenset({"crts", "att", "sen", "sren", "skg", "skc"})

Path = tuple[str, ...]


@value_class
class CoapPaths:
    """Where a server has its operations: below `root`, but for those that `others` names.

    `others` are paths by the short name of their operation.

    A label comes behind the root. Raises LocalProtocolError for what is no path of a request.
    """

    root: Path = WELL_KNOWN
    others: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not all(map(_is_path, (self.root, *self.others.values()))):
            raise LocalProtocolError(
                f"a path has at most {MAX_SEGMENTS} segments and {MAX_PATH_BYTES} bytes"
            )

    @classmethod
    def below(cls, text: str) -> CoapPaths:
        """Return the operations below a root that is written as in a URI, such as `/est`.

        Raises LocalProtocolError for a text that is no path.
        """
        if not text.startswith("/"):
            raise LocalProtocolError("a root is a path such as /est")
        return cls(root=_segments(text.rstrip("/")))

    def path(self, operation: Operation, label: Label | None) -> Path:
        """Return the path of an operation that CoAP has; LocalProtocolError for another one."""
        short_path = operation.coap_row.short_path
        if operation.root != WELL_KNOWN:
            return (*operation.root, *_middle(label), short_path)
        return self.others.get(short_path) or self.below_root(short_path, label)

    def below_root(self, short_path: str, label: Label | None) -> Path:
        """Return where an operation of that short name is, if nothing else is said of it."""
        return (*self.root, *_middle(label), short_path)


def _middle(label: Label | None) -> Path:
    return (label.text,) if label else ()


def discovery_request(uri: EstUri) -> RequestHead:
    """Return the head of a request for the list of the server's resources. RFC 6690 4.

    The whole list: with `rt=ace.est*` a server that has types of its own would return nothing.
    """
    return RequestHead(
        code=Code.GET, path=CORE, accept=ContentFormat.LINK_FORMAT, host=name_of(uri)
    )


def name_of(uri: EstUri) -> str | None:
    """Return what Uri-Host says: the name, None for an address. RFC 7252 6.4."""
    try:
        ipaddress.ip_address(uri.host)
    except ValueError:
        return uri.host.lower()
    return None


def read_discovery(
    head: ResponseHead, payload: bytes, uri: EstUri, label: Label | None = None
) -> CoapPaths:
    """Return where this server has its operations, by the list of its resources.

    With a label, those of that label. Of several places the one with most of the operations
    counts, then the shortest, then the first. Raises RemoteProtocolError: coap/no-est for no list,
    and one without EST on this origin, coap/link-format for one that cannot be read.
    """
    if head.code != Code.CONTENT or head.content_format not in (None, ContentFormat.LINK_FORMAT):
        raise _no_est("the server has no list of its resources")
    found: list[tuple[Path, CoreLink]] = []
    for link in read_links(payload):
        path = _path_on(link.target, uri)
        if path is not None:
            found.append((path, link))
    typed = _by_type(found, label)
    root = _root(typed.values())
    if root is None:
        root = _root(path for path, _ in found)
    if root is None:
        if not typed:
            raise _no_est("the list of the server's resources has none of EST")
        root = WELL_KNOWN
    if label is not None and root and root[-1] == label.text:
        root = root[:-1]
    usual = CoapPaths(root=root)
    others = {each: path for each, path in typed.items() if path != usual.below_root(each, label)}
    return CoapPaths(root=root, others=MappingProxyType(others))


def _by_type(found: Iterable[tuple[Path, CoreLink]], label: Label | None) -> dict[str, Path]:
    """Return the paths that a resource type of RFC 9148 gives to operations, by short name."""
    best: dict[str, Path] = {}
    for path, link in found:
        if label is not None and label.text not in path[:-1]:
            continue
        for resource_type in link.resource_types:
            name = resource_type.removeprefix(_TYPE)
            if name == resource_type or name not in _SUFFIXES:
                continue
            if name not in best or len(path) < len(best[name]):
                best[name] = path
    return best


def _root(paths: Iterable[Path]) -> Path | None:
    """Return what stands before the names of operations, where paths end in them."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        if path[-1] in _SUFFIXES:
            names.setdefault(path[:-1], set()).add(path[-1])
    return min(names, key=lambda root: (-len(names[root]), len(root)), default=None)


def _path_on(target: str, uri: EstUri) -> Path | None:
    """Return the path of a reference; None on another origin, or where no request can go to it.

    A relative one is relative to the origin. RFC 6690 2.1.
    """
    if "://" in target or target.startswith("//"):
        origin, path = _split(target if "://" in target else f"{uri.scheme}:{target}")
        if origin != uri.origin:
            return None
    else:
        path = target
    try:
        segments = _segments(path)
    except LocalProtocolError:
        return None
    return segments if segments and _is_path(segments) else None


def _split(target: str) -> tuple[tuple[str, str, int] | None, str]:
    scheme, _, rest = target.partition("://")
    authority, _, path = rest.partition("/")
    try:
        return EstUri.parse(f"{scheme}://{authority}").origin, path
    except LocalProtocolError:
        return None, path


def _segments(text: str) -> Path:
    """Return the segments of a path. Raises LocalProtocolError for what is more than a path."""
    if any(char in text for char in "?#\\") or not text.isprintable():
        raise LocalProtocolError("a path has no query, no fragment and no blank")
    try:
        segments = [unquote_to_bytes(each).decode("utf-8") for each in text.split("/")]
    except UnicodeDecodeError as exc:
        raise LocalProtocolError("a path is UTF-8") from exc
    return tuple(segments[1:] if segments[0] == "" else segments)


def _no_est(text: str) -> RemoteProtocolError:
    return RemoteProtocolError("coap/no-est", text, Fault.NOT_FOUND)


def _is_path(path: Path) -> bool:
    sizes = [len(segment.encode("utf-8", "replace")) for segment in path]
    return (
        len(path) <= MAX_SEGMENTS
        and all(sizes)
        and sum(sizes) + len(sizes) <= MAX_PATH_BYTES
        and not {".", ".."} & set(path)
    )
