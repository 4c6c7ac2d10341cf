"""Checks of the clock, and of how HTTP is spoken."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Final

from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning, worst
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import counted, listed, quoted

_SKEW_NOTED_S: Final = 10.0
_SKEW_WARNED_S: Final = 120.0
_SKEW_FAULT_S: Final = 3600.0
_HEAD_BYTES: Final = 1024
_FIELD_NAME: Final = re.compile(rb"\r\n([^:\r\n]+):")
_MATTERS: Final = frozenset({b"content-type", b"content-length", b"www-authenticate",
                             b"content-transfer-encoding", b"retry-after"})  # fmt: skip


def _answer(probes: Probes) -> Answer:
    answer = probes.get("cacerts")
    if not answer.status:
        raise NotJudged(f"the answer to /cacerts cannot be read: {answer.failure}")
    return answer


def _date(probes: Probes) -> Verdict:
    answer = _answer(probes)
    text = answer.first(b"date")
    if text is None:
        return note("there is no Date field")
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return warning(f"Date is no date: {quoted(text)}")
    if date.tzinfo is None:
        return warning(f"Date has no time zone: {quoted(text)}")
    ahead_s = (date - answer.at.wall).total_seconds()
    seen = f"the server's clock is {_span(ahead_s)} {'ahead of' if ahead_s > 0 else 'behind'} ours"
    if abs(ahead_s) >= _SKEW_FAULT_S:
        return fault(seen)
    if abs(ahead_s) >= _SKEW_WARNED_S:
        return warning(seen)
    if abs(ahead_s) >= _SKEW_NOTED_S:
        return note(seen)
    return ok("the server's clock agrees with ours within 10 seconds")


def _span(seconds: float) -> str:
    size = abs(seconds)
    for unit, of_it in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if size >= of_it:
            return counted(round(size / of_it), unit)
    return counted(round(size), "second")


def _dates_of_certificates(probes: Probes) -> Verdict:
    now = probes.clock().wall
    certificates = (*probes.chain(), *probes.ca_certificates())
    later = [each for each in certificates if each.not_valid_before_utc > now]
    if not later:
        return ok("no certificate begins in the future")
    days = max((each.not_valid_before_utc - now).days for each in later)
    seen = f"{counted(len(later), 'certificate')} begin in the future, up to {days} days from now"
    return fault(seen)


def _speaks_http(probes: Probes) -> Verdict:
    answer = probes.get("cacerts")
    if answer.failure:
        return fault(f"{answer.failure} [{answer.code}]")
    line = answer.raw_head.partition(b"\r\n")[0]
    if not line.startswith(b"HTTP/1.1 "):
        return warning(f"the answer begins with {quoted(line)}")
    return ok("HTTP/1.1")


def _length(probes: Probes) -> Verdict:
    answer = _answer(probes)
    if answer.head.values(b"transfer-encoding"):
        return warning("the body comes in chunks")
    if answer.status == 204 or answer.head.values(b"content-length"):
        return ok("the body has a Content-Length")
    return warning("the end of the body is the end of the connection")


def _kept_open(probes: Probes) -> Verdict:
    if _answer(probes).closes:
        return note("the connection ends after the answer")
    return ok("the connection takes another request")


def _head(probes: Probes) -> Verdict:
    answer = _answer(probes)
    found = []
    small = {
        name.decode("latin-1")
        for name in _FIELD_NAME.findall(answer.raw_head)
        if name.islower() and name in _MATTERS
    }
    if small:
        found.append(note(f"field names in small letters: {listed(sorted(small))}"))
    size = len(answer.raw_head)
    if size > _HEAD_BYTES:
        found.append(note(f"the head has {size} bytes"))
    return worst(found, ok(f"a head of {size} bytes, with names as clients compare them"))


def _redirects(probes: Probes) -> Verdict:
    answers = {name: probes.get(name) for name in ("cacerts", "csrattrs")}
    found = []
    for name, answer in answers.items():
        if not 300 <= answer.status < 400:
            continue
        place = answer.first(b"location") or ""
        seen = f"/{name} is answered {answer.status}, to {quoted(place) if place else 'nowhere'}"
        secure = place.startswith(("https://", "/"))
        found.append(note(f"{seen}; it was not followed") if secure else fault(seen))
    return worst(found, ok("no operation is redirected"))


CHECKS: Final = (
    Check(
        name="clock.date",
        title="The server's clock agrees with ours",
        means="A server whose clock is off issues certificates that begin in the future, and "
        "takes expired ones. Date SHOULD be sent by who has a clock (RFC 9110 6.6.1).",
        do="let the server take its time from NTP; if it is right, look at this machine's clock",
        judge=_date,
    ),
    Check(
        name="clock.certificates",
        title="No certificate begins in the future",
        means="A certificate that is not valid yet verifies nowhere, most of all on a device whose "
        "clock was never set (RFC 5280 4.1.2.5).",
        do="check the clock of the CA, and of this machine; issue with a date some minutes back",
        judge=_dates_of_certificates,
    ),
    Check(
        name="http.version",
        title="HTTP/1.1 is spoken",
        means="EST is HTTP over TLS, and clients such as strongSwan's want HTTP/1.1 to the letter "
        "(RFC 7030 3.2).",
        do="look what listens on that port; let a gateway in front answer in HTTP/1.1",
        judge=_speaks_http,
    ),
    Check(
        name="http.length",
        title="A body has a Content-Length",
        means="Chunks are HTTP/1.1 too, and yet strongSwan, Bouncy Castle 1.72 and libEST cannot "
        "read an answer in chunks (RFC 9112 6).",
        do="let the server, or the gateway in front, buffer its answers and send Content-Length",
        judge=_length,
    ),
    Check(
        name="http.keep-alive",
        title="The connection is kept",
        means="An enrollment takes three or four requests. A connection that ends after each "
        "costs a handshake each (RFC 9112 9.3).",
        do="turn keep-alive on",
        judge=_kept_open,
    ),
    Check(
        name="http.head",
        title="The head is small and its names are as usual",
        means="libEST compares names with case, though RFC 9110 5.1 forbids it, and strongSwan "
        "reads 1024 bytes of a head.",
        do="send canonical names such as Content-Type, and leave security fields for browsers out",
        judge=_head,
    ),
    Check(
        name="http.redirects",
        title="Operations are not redirected, or to https only",
        means="A client follows a redirect on the same origin by itself, asks before another, and "
        "never goes to http (RFC 7030 3.2.1).",
        do="answer where clients ask; redirect to https URLs only",
        judge=_redirects,
    ),
)
