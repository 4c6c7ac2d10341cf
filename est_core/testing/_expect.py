"""What a check of these kits expects, and the error that says what came instead."""

from __future__ import annotations

from typing import NoReturn, TypeVar

from est_core._errors import Fault
from est_core.model import Part, Refused, Response, Success
from est_core.operation import Operation

_R = TypeVar("_R", bound=Response)


class CheckFailedError(AssertionError):
    """The transport does not do what it has to; the text says what."""


def fail(problem: str) -> NoReturn:
    """Raise CheckFailedError."""
    raise CheckFailedError(problem)


def expect(found: object, wanted: object, what: str) -> None:
    """Fail unless both are the same."""
    if found != wanted:
        fail(f"{what}: {found!r} where {wanted!r} was expected")


def expect_kind(response: Response, kind: type[_R], what: str) -> _R:
    """Return the response; fail unless it is of that class."""
    if not isinstance(response, kind):
        fail(f"{what}: {response!r} where {kind.__name__} was expected")
    return response


def expect_fault(response: Response, fault: Fault) -> Refused:
    """Return the response; fail unless it is that fault."""
    refused = expect_kind(response, Refused, "the answer")
    expect(refused.fault, fault, "the answer")
    return refused


def expect_part(response: Response, operation: Operation, der: bytes) -> None:
    """Fail unless the answer is a success with that content."""
    success = expect_kind(response, Success, operation.name)
    expect(success.parts, (Part(kind=operation.parts[0].kind, content=der),), operation.name)
