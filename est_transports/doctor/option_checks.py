"""Checks of optional operations: which of them are offered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from est_core import LocalProtocolError
from est_core.operations.renewal_info import renewal_item
from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import NotJudged, Verdict, fault, ok, warning
from est_transports.doctor.probes import UNKNOWN_NAME, Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import quoted, shown

_NOT_OFFERED: Final = frozenset({404, 405, 410, 501})
_JSON: Final = "application/json"
_RENEWAL_INFO: Final = "renewal-info"


def _offered(operation: str) -> Callable[[Probes], Verdict]:
    def judge(probes: Probes) -> Verdict:
        return _by_status(probes.post(operation), operation)

    return judge


def _by_status(answer: Answer, operation: str) -> Verdict:
    if answer.failure:
        raise NotJudged(f"the answer cannot be read: {answer.failure}")
    if answer.status in _NOT_OFFERED:
        return ok(f"not offered ({answer.status})")
    if 200 <= answer.status < 300:
        return fault(f"an empty request of nobody to /{operation} is answered {answer.status}")
    if answer.status in (400, 401, 403, 415, 422):
        return ok(f"offered ({answer.status} to an empty request)")
    raise NotJudged(f"the status is {answer.status}")


def _renewal_info(probes: Probes) -> Verdict:
    item = _item(probes)
    answer = probes.get(f"{_RENEWAL_INFO}/{item}") if item else None
    if answer is not None and answer.status == 200:
        said = shown(answer.body, 120)
        if answer.content_type.partition(";")[0].strip().lower() != _JSON:
            return warning(f"offered, and Content-Type is {quoted(answer.content_type)}: {said}")
        return ok(f"offered: {said}")
    # What names no certificate is a bad request where the operation is there.
    malformed, unknown = probes.get(f"{_RENEWAL_INFO}/x"), probes.get(f"{UNKNOWN_NAME}/x")
    if malformed.failure or unknown.failure:
        raise NotJudged("the answer cannot be read")
    if malformed.status == unknown.status:
        return ok(f"not offered ({malformed.status})")
    return ok("offered, with nothing to say of the certificate that was asked for")


def _item(probes: Probes) -> str:
    """Return how one's own certificate is asked for, or the server's; "" for one without a name."""
    identity = probes.config.identity
    try:
        return renewal_item(probes.chain()[0] if identity is None else identity.certificate)
    except (LocalProtocolError, NotJudged):
        return ""


CHECKS: Final = (
    Check(
        name="options.serverkeygen",
        title="Whether keys are made by the server",
        means="Server-side key generation is optional (RFC 7030 4.4).",
        do="require authentication for it as for enrollment",
        judge=_offered("serverkeygen"),
    ),
    Check(
        name="options.fullcmc",
        title="Whether Full CMC is offered",
        means="Full CMC is optional (RFC 7030 4.3).",
        do="require authentication for it as for enrollment",
        judge=_offered("fullcmc"),
    ),
    Check(
        name="options.renewal-info",
        title="Whether the server says when to renew",
        means="A server may tell clients in which window to renew, so that not all come at once "
        "(draft-ietf-lamps-est-renewal-info 3.1).",
        do="nothing: it is optional",
        judge=_renewal_info,
    ),
)
