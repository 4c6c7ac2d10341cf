"""Checks of optional operations: which of them are offered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import NotJudged, Verdict, fault, ok
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check

_NOT_OFFERED: Final = frozenset({404, 405, 410, 501})
_UNKNOWN_CERTIFICATE: Final = "ZXN0LWRvY3Rvcg.AQ"
"""An issuer's key identifier and a serial number that nobody has."""


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
    answer = probes.get(f"renewal-info/{_UNKNOWN_CERTIFICATE}")
    if answer.failure:
        raise NotJudged(f"the answer cannot be read: {answer.failure}")
    unknown = probes.get(f"est-doctor-looks-here/{_UNKNOWN_CERTIFICATE}")
    if answer.status == 200:
        return ok("offered")
    if answer.status == unknown.status:
        return ok(f"not offered, or not for an unknown certificate ({answer.status})")
    return ok(f"offered ({answer.status} for an unknown certificate)")


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
