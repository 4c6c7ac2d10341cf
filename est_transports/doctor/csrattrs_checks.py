"""Checks of the CSR attributes: /csrattrs. RFC 7030 4.5, RFC 8951 4, RFC 9908."""

from __future__ import annotations

from typing import Final

from est_core import RemoteProtocolError
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.codec.media import parse_media_type
from est_core.codec.transfer import decode
from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import counted, quoted, shown
from est_transports.doctor.transfer_shape import body_verdict, coding_verdict

_WANTED: Final = "application/csrattrs"
_BLANK: Final = b"\0\r\n \t"


def _status(probes: Probes) -> Verdict:
    answer = probes.get("csrattrs")
    if answer.failure:
        return fault(f"the answer cannot be read: {answer.failure}")
    match answer.status:
        case 200 if not answer.body.strip(_BLANK):
            return fault("200 with an empty body")
        case 200:
            return ok("200")
        case 204:
            return ok("204: the server has no opinion")
        case 404:
            return ok("404: the server has no CSR attributes")
        case 401 | 403:
            return warning(f"{answer.status}: the CSR attributes are behind authentication")
        case _:
            return fault(f"the status is {answer.status}: {shown(answer.body, 100)}")


def _answer(probes: Probes) -> Answer:
    answer = probes.get("csrattrs")
    if answer.status != 200:
        raise NotJudged(f"the status of /csrattrs is {answer.status}: there is nothing to read")
    if not answer.body.strip(_BLANK):
        raise NotJudged("the body of /csrattrs is empty")
    return answer


def _media_type(probes: Probes) -> Verdict:
    text = _answer(probes).content_type
    try:
        is_it = bool(text) and parse_media_type(text).essence == _WANTED
    except RemoteProtocolError:
        is_it = False
    if is_it:
        return ok(shown(text, 100))
    return fault(f"Content-Type is {quoted(text) if text else 'absent'}, and not {_WANTED}")


def _coding(probes: Probes) -> Verdict:
    return coding_verdict(_answer(probes))


def _transfer(probes: Probes) -> Verdict:
    return body_verdict(_answer(probes).body)


def _attributes(probes: Probes) -> CsrAttrs:
    answer, limits = _answer(probes), probes.config.limits
    return parse_csrattrs(decode(answer.body, max_bytes=limits.response_body_bytes), limits)


def _readable(probes: Probes) -> Verdict:
    try:
        found = _attributes(probes)
    except RemoteProtocolError as exc:
        return fault(f"{shown(exc.message)} [{exc.code}]")
    if found.has_malformed_extension_request:
        return warning("an extensionRequest holds no Extensions, as in the example of RFC 7030")
    kind = "a template" if found.template() is not None else "a list"
    return ok(f"{kind}, of {counted(len(found.items), 'item')}")


def _linking(probes: Probes) -> Verdict:
    try:
        found = _attributes(probes)
    except RemoteProtocolError as exc:
        raise NotJudged(f"they cannot be read: {exc.message}") from exc
    if not found.requires_linking:
        return ok("a request need not be linked to the connection")
    return note("a request has to be linked to the connection (challengePassword)")


CHECKS: Final = (
    Check(
        name="csrattrs.status",
        title="/csrattrs is answered with 200, 204 or 404",
        means="204 or 404 says that there are none, 200 has a body, and nobody SHOULD be asked "
        "who wants them (RFC 7030 4.5.1, 4.5.2).",
        do="answer 204 where there are no attributes; let anybody ask",
        judge=_status,
    ),
    Check(
        name="csrattrs.media-type",
        title="The media type is application/csrattrs",
        means="Clients refuse attributes of another media type (RFC 7030 4.5.2).",
        do="send Content-Type: application/csrattrs",
        judge=_media_type,
    ),
    Check(
        name="csrattrs.transfer-encoding",
        title="Content-Transfer-Encoding is base64",
        means="As for /cacerts: ignored by RFC 8951 3, and needed by older clients.",
        do="send Content-Transfer-Encoding: base64, in these letters, once",
        judge=_coding,
    ),
    Check(
        name="csrattrs.base64",
        title="The body is base64 that clients read",
        means="The body is base64 of DER, without armour (RFC 8951 3, RFC 4648 4).",
        do="send base64 in one line that ends in LF",
        judge=_transfer,
    ),
    Check(
        name="csrattrs.content",
        title="The attributes can be read",
        means="They are CsrAttrs: object identifiers and attributes with values, or a template "
        "(RFC 8951 4, RFC 9908 3).",
        do="see RFC 9908 for what belongs where; an extensionRequest holds one Extensions value",
        judge=_readable,
    ),
    Check(
        name="csrattrs.linking",
        title="Whether a request has to be linked",
        means="A server that lists challengePassword wants tls-unique in it, which is of TLS 1.2 "
        "(RFC 7030 3.5, RFC 8951 4).",
        do="see that clients can: with TLS 1.2, or both ends set to tls-exporter",
        judge=_linking,
    ),
)
