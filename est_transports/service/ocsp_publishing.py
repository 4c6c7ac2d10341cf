"""OCSP over HTTP: POST of a request, or GET with it in the path. RFC 6960 A.1, RFC 5019 5."""

from __future__ import annotations

import binascii
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote_to_bytes

from est_transports.authority.ocsp_responder import MALFORMED, TRY_LATER, OcspAnswer
from est_transports.authority.stores import StoreError
from est_transports.publication.resources import Published, Resource

_log: Final = logging.getLogger("est_transports")

PATH: Final = "/ocsp"
REQUEST_TYPE: Final = "application/ocsp-request"
RESPONSE_TYPE: Final = "application/ocsp-response"

SAY_EVERY: Final = timedelta(minutes=1)

Respond = Callable[[bytes, datetime], OcspAnswer]


def ocsp_resource(respond: Respond) -> Resource:
    """Return the resource of a responder. Whatever is wrong is said in an OCSP response."""
    failing = _Failing()

    def answer(method: str, tail: str, body: bytes, now: datetime) -> Published:
        request = body if method == "POST" else request_in_path(tail)
        try:
            found = MALFORMED if request is None else respond(request, now)
        except StoreError as exc:
            failing.say(exc, now)
            found = TRY_LATER
        return _published(found, is_kept=method == "GET")

    return Resource(
        path=PATH,
        answer=answer,
        methods=frozenset({"GET", "POST"}),
        post_type=REQUEST_TYPE,
        has_tail=True,
    )


class _Failing:
    """Says that the store fails, once in SAY_EVERY: whoever asks often is not to fill the log."""

    def __init__(self) -> None:
        self._said_at: datetime | None = None

    def say(self, exc: StoreError, now: datetime) -> None:
        said = self._said_at
        if said is None or not said <= now < said + SAY_EVERY:
            self._said_at = now
            _log.error("OCSP requests are not answered: %s", exc)


def request_in_path(tail: str) -> bytes | None:
    """Return the request in a path: base64 that is percent-encoded, all of it or in part or not.

    None for what is not that.
    """
    try:
        return binascii.a2b_base64(unquote_to_bytes(tail), strict_mode=True) or None
    except binascii.Error:
        return None


def _published(answer: OcspAnswer, *, is_kept: bool) -> Published:
    """Return the answer with what caches are told, who keep what was had by GET."""
    max_age = answer.max_age if is_kept else None
    return Published(
        content_type=RESPONSE_TYPE,
        body=answer.der,
        max_age_s=None if max_age is None else int(max_age.total_seconds()),
        modified=answer.this_update,
        expires=answer.next_update,
    )
