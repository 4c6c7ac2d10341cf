"""Responses by their outcome, and the one class of them that a test looks into."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from est_core import (
    AuthChallenge,
    Challenged,
    Fault,
    NotAvailable,
    Operation,
    Outcome,
    Part,
    Pending,
    Redirected,
    Refused,
    Response,
    Success,
)

_R = TypeVar("_R")


def one_of(kind: type[_R], response: object) -> _R:
    """Return the response, which is of that class."""
    assert isinstance(response, kind), response
    return response


def value_of(response: Response, name: str) -> Any:
    """Return what the response has by that name, None where its class has nothing of it."""
    return getattr(response, name, None)


def response_of(
    outcome: Outcome,
    operation: Operation,
    *,
    parts: tuple[Part, ...] = (),
    challenges: tuple[AuthChallenge, ...] = (),
    retry_after: int | datetime | None = None,
    fault: Fault = Fault.INTERNAL,
    location: str = "",
    reason: str = "",
) -> Response:
    """Return a response with that outcome, and what belongs to it; the rest is left out."""
    match outcome:
        case Outcome.OK:
            return Success(operation=operation, parts=parts, reason=reason)
        case Outcome.NOT_AVAILABLE:
            return NotAvailable(operation=operation, reason=reason)
        case Outcome.PENDING:
            return Pending(operation=operation, retry_after=retry_after, reason=reason)
        case Outcome.CHALLENGE:
            return Challenged(operation=operation, challenges=challenges, reason=reason)
        case Outcome.REDIRECT:
            return Redirected(operation=operation, location=location, reason=reason)
        case Outcome.DENIED:
            return Refused(operation=operation, fault=Fault.FORBIDDEN, reason=reason)
        case Outcome.FAULT:
            return Refused(operation=operation, fault=fault, retry_after=retry_after, reason=reason)
