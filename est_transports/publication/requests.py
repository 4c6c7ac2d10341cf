"""Heads of requests for what is published: which resource is asked, and what caches know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from est_core import Instant
from est_core.codec.retry import format_http_date, parse_retry_after
from est_core.values import unchecked_value_class
from est_core.wires.httpmap import RequestHead
from est_transports.publication.resources import Publication, Published, Resource

Fields = list[tuple[str, str]]


@unchecked_value_class
class Refused:
    """A request that no resource is asked about."""

    status: int
    text: str
    allow: str = ""
    head_only: bool = False


@unchecked_value_class
class Asked:
    """What is asked of a resource. `etags` and `since` are the conditions of a GET."""

    resource: Resource
    tail: str
    method: str
    head_only: bool
    etags: str
    since: str


def judge(head: RequestHead, publication: Publication) -> Asked | Refused:
    """Return what is asked for, or why it is not answered: 404, 405, 415."""
    method, head_only = head.method.decode("ascii"), head.method == b"HEAD"
    found = publication.find(head.target.decode("ascii"))
    if found is None:
        return Refused(status=404, text="there is no such thing here", head_only=head_only)
    resource, tail = found
    if head_only:
        method = "GET"
    if method not in resource.methods:
        allow = resource.allowed
        return Refused(status=405, text=f"{allow} alone", allow=allow, head_only=head_only)
    if method == "POST" and _media_type(head) != resource.post_type:
        return Refused(status=415, text=f"{resource.post_type} alone")
    return Asked(
        resource=resource,
        tail=tail,
        method=method,
        head_only=head_only,
        etags=_value(head, b"if-none-match"),
        since=_value(head, b"if-modified-since"),
    )


def _media_type(head: RequestHead) -> str:
    return _value(head, b"content-type").partition(";")[0].strip().lower()


def _value(head: RequestHead, name: bytes) -> str:
    return b",".join(head.values(name)).decode("latin-1")


def etag_of(published: Published) -> str:
    """Return the entity tag of an answer: the same for the same content."""
    return f'"{hashlib.sha256(published.body).hexdigest()[:32]}"'


def is_known(asked: Asked, published: Published, etag: str, now: Instant) -> bool:
    """True if a client has this already, and says so. RFC 9110 13.1.2, 13.1.3."""
    if asked.etags:
        known = {each.strip().removeprefix("W/") for each in asked.etags.split(",")}
        return bool(known & {"*", etag})
    if published.modified is None or not asked.since:
        return False
    since = parse_retry_after(asked.since, now)
    return not isinstance(since, int | None) and published.modified.replace(microsecond=0) <= since


def cache_fields(published: Published, etag: str) -> Iterator[tuple[str, str]]:
    """Yield what caches are told. RFC 5019 6.2 wants all of it for OCSP by GET."""
    if published.max_age_s is None:
        yield "Cache-Control", "no-store"
        return
    yield (
        "Cache-Control",
        f"max-age={published.max_age_s}, public, no-transform, must-revalidate",
    )
    yield "ETag", etag
    if published.modified is not None:
        yield "Last-Modified", format_http_date(published.modified)
    if published.expires is not None:
        yield "Expires", format_http_date(published.expires)
