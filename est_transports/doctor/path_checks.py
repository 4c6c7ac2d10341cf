"""Checks of paths, methods and refusals: what a server says to what it does not have."""

from __future__ import annotations

import re
from typing import Final

from est_core import Label
from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning, worst
from est_transports.doctor.probes import HARMLESS, UNKNOWN_NAME, Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import quoted, shown

_ELSEWHERE: Final = f"/{UNKNOWN_NAME}"
_TOO_LARGE_BYTES: Final = 64 * 1024 * 1024
_TEXT_CHARS: Final = 1000
_LOOKED_AT_BYTES: Final = 4096
_TRACE: Final = re.compile(
    rb"Traceback \(most recent|\bat [\w.$]+\([\w]+\.java:\d+\)|goroutine \d+ \[|"
    rb"\bException in thread|Stack trace:|/(?:usr|home|opt|var)/[\w./-]+\.(?:py|rb|php|pl|c)\b"
)


def _readable(answer: Answer) -> Answer:
    if answer.failure:
        raise NotJudged(f"the answer cannot be read: {answer.failure}")
    return answer


def _other_path(probes: Probes) -> Verdict:
    return _not_there(_readable(probes.ask("GET", _ELSEWHERE)), "a path outside EST")


def _operation(probes: Probes) -> Verdict:
    return _not_there(_readable(probes.get(UNKNOWN_NAME)), "an unknown operation")


def _label(probes: Probes) -> Verdict:
    answer = _readable(probes.get("cacerts", label=Label(UNKNOWN_NAME)))
    if answer.status == 200:
        return note("a label that nobody made is answered as if it were there")
    return _not_there(answer, "an unknown label")


def _not_there(answer: Answer, what: str) -> Verdict:
    if answer.status == 404:
        return ok(f"{what} is answered 404")
    if answer.status in (200, 202, 204):
        return fault(f"{what} is answered {answer.status}")
    if answer.status >= 500 and answer.status != 501:
        return fault(f"{what} is answered {answer.status}: {shown(answer.body, 80)}")
    return warning(f"{what} is answered {answer.status}, and not 404")


def _given_label(probes: Probes) -> Verdict:
    label = probes.config.uri.label
    if label is None:
        raise NotJudged("no label was given: --label")
    answer = _readable(probes.get("cacerts"))
    if answer.status == 200:
        return ok(f"label {quoted(label.text)} is there")
    return fault(f"label {quoted(label.text)}: /cacerts is answered {answer.status}")


def _method(probes: Probes) -> Verdict:
    answer = _readable(probes.ask("DELETE", probes.path("cacerts")))
    if answer.status == 405:
        if answer.head.values(b"allow"):
            return ok(f"405, with Allow: {quoted(answer.first(b'allow') or '')}")
        return warning("405 without Allow")
    if answer.status in (400, 403, 404, 501):
        return note(f"DELETE is answered {answer.status}, and not 405")
    if 200 <= answer.status < 300:
        return fault(f"DELETE /cacerts is answered {answer.status}")
    return warning(f"DELETE is answered {answer.status}, and not 405")


def _media_type(probes: Probes) -> Verdict:
    fields = ((b"Content-Type", b"text/plain"),)
    path = probes.path("simpleenroll")
    answer = _readable(probes.ask("POST", path, fields=fields, body=HARMLESS))
    if answer.status == 415:
        return ok("415")
    if 200 <= answer.status < 300 or answer.status >= 500:
        return fault(f"a request of type text/plain is answered {answer.status}")
    return note(f"a request of type text/plain is answered {answer.status}, and not 415")


def _large(probes: Probes) -> Verdict:
    fields = (
        (b"Content-Type", b"application/pkcs10"),
        (b"Content-Length", str(_TOO_LARGE_BYTES).encode("ascii")),
        (b"Expect", b"100-continue"),
    )
    answer = _readable(probes.announce(probes.path("simpleenroll"), fields))
    if answer.status == 413:
        return ok("413, before the body is sent")
    if answer.status == 100:
        return warning("a body of 64 MiB is asked for")
    if 400 <= answer.status < 500:
        return ok(f"{answer.status}, before the body is sent")
    return warning(f"a body of 64 MiB is answered {answer.status}")


def _texts(probes: Probes) -> Verdict:
    refusals = {
        "an unknown path": probes.ask("GET", _ELSEWHERE),
        "an unknown operation": probes.get(UNKNOWN_NAME),
        "an empty request": probes.post("simpleenroll"),
    }
    found = []
    for what, answer in refusals.items():
        if answer.status < 400 or not answer.body:
            continue
        found += [each for each in (_text(what, answer),) if each is not None]
    return worst(found, ok("refusals have short texts, or none"))


def _text(what: str, answer: Answer) -> Verdict | None:
    body = answer.body[:_LOOKED_AT_BYTES]  # the patterns take time that grows by its square
    if _TRACE.search(body):
        return fault(f"the answer to {what} shows the inside of the server: {quoted(body[:60])}")
    if any(byte < 32 and byte not in b"\t\r\n" for byte in body):
        return warning(f"the answer to {what} has control characters")
    if "html" in answer.content_type.lower() or body.lstrip()[:1] == b"<":
        return note(f"the answer to {what} is a page of HTML")
    if len(answer.body) > _TEXT_CHARS:
        return note(f"the answer to {what} has {len(answer.body)} bytes")
    return None


CHECKS: Final = (
    Check(
        name="paths.elsewhere",
        title="A path outside EST is answered 404",
        means="EST is below /.well-known/est (RFC 7030 3.2.2); what is not there is 404.",
        do="let the server answer 404 to what it does not have",
        judge=_other_path,
    ),
    Check(
        name="paths.operation",
        title="An unknown operation is answered 404",
        means="A client learns by 404 that an optional operation is not offered (RFC 7030 3.2.2, "
        "RFC 9110 15.5.5).",
        do="let the server answer 404 to what it does not have",
        judge=_operation,
    ),
    Check(
        name="paths.unknown-label",
        title="An unknown label is answered 404",
        means="A label names a CA or a profile. A server that answers any label gives a device "
        "with a mistyped one the wrong certificate (RFC 7030 3.2.2).",
        do="let the server know its labels, and answer 404 to others",
        judge=_label,
    ),
    Check(
        name="paths.label",
        title="The label that was given is there",
        means="A label is one segment before the operation (RFC 7030 3.2.2).",
        do="check the label, or leave it out",
        judge=_given_label,
    ),
    Check(
        name="paths.method",
        title="A wrong method is answered 405 with Allow",
        means="405 MUST have Allow (RFC 9110 15.5.6).",
        do="let the server answer 405, with Allow: GET for /cacerts",
        judge=_method,
    ),
    Check(
        name="paths.media-type",
        title="A wrong media type is answered 415",
        means="A request for enrollment is application/pkcs10 (RFC 7030 4.2.1, RFC 9110 15.5.16).",
        do="let the server look at Content-Type before the body",
        judge=_media_type,
    ),
    Check(
        name="paths.large-body",
        title="A body that is too large is refused before it is sent",
        means="A request of a few kilobytes is large; 64 MiB are announced here, and none is sent "
        "(RFC 9110 10.1.1, 15.5.14).",
        do="set a bound on bodies, in nginx client_max_body_size 64k",
        judge=_large,
    ),
    Check(
        name="paths.texts",
        title="Refusals have short and safe texts",
        means="An error SHOULD say in plain text what is wrong (RFC 7030 4.2.3): short, printable, "
        "and with nothing of the server's inside.",
        do="turn debug pages off, and answer in text/plain",
        judge=_texts,
    ),
)
