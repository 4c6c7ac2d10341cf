"""Targets: renewal information, of a server and of a client."""

from __future__ import annotations

import base64
import json
from typing import Final

from est_core import (
    RENEWAL_INFO,
    Channel,
    ProvideRenewalInfo,
    Reading,
    RemoteProtocolError,
    RenewalInfoReceived,
    RenewalInfoRequested,
    Request,
    ResponseReady,
    ServerSession,
    Success,
    TlsVersion,
    default_policy,
)
from est_core.model import Part
from est_core.operations.renewal_info import RETRY_MAX_S, RETRY_MIN_S
from est_core.testing import FIXED_INSTANT
from fuzz.cast import LIMITS
from fuzz.target import Result, Target, accepted, passed, refused, stopped

_POLICY: Final = default_policy(operations=(RENEWAL_INFO,))
_NAMES: Final = (
    b"aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
    b"AA.AQ",
    b"AA._w",
    b"A.AQ",
    b"AA.AR",
    b"AB.AQ",
    b"AA.AAE",
)
_ANSWERS: Final = (
    b'{"suggestedWindow":{"start":"2027-01-01T00:00:00Z","end":"2027-01-03T00:00:00.5Z"},'
    b'"explanationURL":"https://example.com/why"}',
    b'{"suggestedWindow":{"start":"1970-01-01T00:00:00+01:00","end":"9999-12-31T23:59:59Z"}}',
    b'{"suggestedWindow":{"start":"2027-01-01T00:00:00Z","end":"2027-01-01T00:00:00Z"}}',
    b'{"suggestedWindow":{"start":NaN,"end":[]},"x":[[[[{}]]]]}',
)
_JSON_WORDS: Final = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\u0000", b"NaN", b"Infinity", b"1e999", b"null"),
    *(b'"suggestedWindow":', b'"start":', b'"end":', b'"explanationURL":"http://', b"Z", b"\xff"),
)


def renewal_info_server(data: bytes) -> Result:
    """A name is refused, or it is that of one certificate, and no other name is."""
    request = Request(operation=RENEWAL_INFO, item=data.decode("latin-1"))
    session = ServerSession(policy=_POLICY, channel=Channel(version=TlsVersion.TLS_1_3))
    exchange = session.receive_request(request, FIXED_INSTANT)
    event = exchange.next_event()
    if isinstance(event, ResponseReady):
        assert event.response.code == "renewal-info/certificate"
        return stopped(" ".join(event.response.reason.split()[:4]))
    assert isinstance(event, RenewalInfoRequested)
    assert len(event.key_identifier) <= 64
    assert -(2**255) <= event.serial < 2**255
    key, _, serial = data.partition(b".")
    assert base64.urlsafe_b64encode(event.key_identifier).rstrip(b"=") == key
    octets = event.serial.to_bytes(len(serial) * 3 // 4, "big", signed=True)
    assert base64.urlsafe_b64encode(octets).rstrip(b"=") == serial
    exchange.decide(ProvideRenewalInfo(window=None))
    return accepted(f"below zero {event.serial < 0}")


def renewal_info_client(data: bytes) -> Result:
    """An answer is refused, or has a window whose end is behind its start, or none."""
    answer = Success(operation=RENEWAL_INFO, parts=(Part(kind="renewal-info", content=data),))
    reading = Reading(response=answer, now=FIXED_INSTANT.wall, limits=LIMITS)
    try:
        result = RENEWAL_INFO.read(reading)
    except RemoteProtocolError as error:
        assert error.code == "renewal-info/unreadable"
        return refused(error, "renewal-info/unreadable renewal information: it is")
    assert isinstance(result, RenewalInfoReceived)
    assert RETRY_MIN_S <= result.retry_after_s <= RETRY_MAX_S
    assert result.explanation_url.isprintable()
    assert len(data) <= 4096
    json.loads(data)
    if result.window is None:
        return passed("no window")
    assert result.window.start < result.window.end
    return accepted(f"page {bool(result.explanation_url)}")


TARGETS: Final = (
    Target(
        run=renewal_info_server,
        gate="is base64url with a dot in the middle",
        goal="names a certificate",
        modules=("est_core.operations.renewal_info",),
        seeds=lambda: _NAMES,
        words=(b".", b"=", b"-", b"_", b"AA", b"AQ", b"%2E", b"_w"),
        max_bytes=256,
    ),
    Target(
        run=renewal_info_client,
        gate="is JSON",
        goal="has a window",
        modules=("est_core.operations.renewal_info", "est_core.renewal_window"),
        seeds=lambda: _ANSWERS,
        words=_JSON_WORDS,
        max_bytes=5000,
    ),
)
