"""What is published, by its path, and what is answered for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from typing import Final

from est_core import LocalProtocolError
from est_core.values import value_class

_PATH: Final = re.compile(r"(?:/[-._~0-9A-Za-z]+)+")
_METHODS: Final = frozenset({"GET", "POST"})


@value_class
class Published:
    """An answer: status, content, and how long it may be kept by caches.

    None of `max_age_s` is not at all. `modified` and `expires` are told to caches too, where there
    are any; they are aware.
    """

    status: int = 200
    content_type: str = "text/plain"
    body: bytes = field(default=b"", repr=False)
    max_age_s: int | None = None
    modified: datetime | None = None
    expires: datetime | None = None


Answer = Callable[[str, str, bytes, datetime], Published]
"""Takes method ("GET" or "POST"), tail, body and the time. May be called from several threads."""


@value_class
class Resource:
    """What is under one path. HEAD is answered as GET, without the body.

    With `has_tail` it has all paths that begin with `path` and "/" too, and `answer` gets what
    follows as it was sent, percent-encoded. A POST has to be of the media type `post_type`.
    `waits` False says that `answer` returns at once: no thread is used. Raises LocalProtocolError
    for a path that is none, and for other methods than GET and POST.
    """

    path: str
    answer: Answer = field(repr=False)
    methods: frozenset[str] = frozenset({"GET"})
    post_type: str = ""
    has_tail: bool = False
    waits: bool = True

    def __post_init__(self) -> None:
        if _PATH.fullmatch(self.path) is None:
            raise LocalProtocolError(f"{self.path!r} is no path of a resource")
        if not self.methods or not self.methods <= _METHODS:
            raise LocalProtocolError("a resource has GET, POST or both")

    @property
    def allowed(self) -> str:
        """The methods, as the Allow field lists them."""
        both = ("GET", "HEAD") if "GET" in self.methods else ()
        return ", ".join((*both, *(("POST",) if "POST" in self.methods else ())))


@value_class
class Publication:
    """All resources. Raises LocalProtocolError for two with one path."""

    resources: tuple[Resource, ...] = ()

    def __post_init__(self) -> None:
        paths = [each.path for each in self.resources]
        if len(set(paths)) < len(paths):
            raise LocalProtocolError("two resources have one path")

    def find(self, target: str) -> tuple[Resource, str] | None:
        """Return the resource of a request's target, and its tail; None where there is none.

        The target may be a whole URL, whose host does not count (RFC 9112 3.2.2), and a query
        does not count either.
        """
        path = _path_of(target)
        for each in self.resources:
            if path == each.path:
                return each, ""
            if each.has_tail and path.startswith(f"{each.path}/"):
                return each, path[len(each.path) + 1 :]
        return None


def _path_of(target: str) -> str:
    scheme, slashes, rest = target.partition("://")
    if slashes and scheme.lower() == "http":
        target = "/" + rest.partition("/")[2]
    return target.partition("?")[0]
