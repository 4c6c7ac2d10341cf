"""What an operation adds to its facts: what it asks of the application, and what answers mean.

An operation is one module. It makes a value of a subclass of `OperationDefinition`: with the facts
of `Operation`, and with three methods, which are all that both machines know of it.

On a server, once the client is let in::

    examine(asking)                     -> Inquiry: a question for the application, and
                                           RemoteProtocolError for a request that is not worth one
    answer(asking, inquiry, decision)   -> the next Inquiry, or the Response

On a client, with a success or a word that there is nothing::

    read(reading)                       -> ClientResult

The methods are pure: what they are given is all that they know, and what they return all that they
do, but for what `examine` notes in `Asking.binding_use`. So an exchange that fails at one of them
is where it was. The application answers a question by
its `method`; a server does not offer an operation whose methods its application lacks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import field
from datetime import datetime
from typing import ClassVar

from est_core._errors import LocalProtocolError
from est_core._limits import Limits
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo
from est_core.channel import Channel
from est_core.checks.pop import BindingUse
from est_core.codec.retry import RetryAfter
from est_core.credentials import CodeCredentials
from est_core.decisions import Decision
from est_core.events import ClientIdentity, ClientResult, ServerQuestion
from est_core.model import Label, NotAvailable, Part, Request, Response, Success
from est_core.operation import Operation
from est_core.policy import PolicyRow, ServerPolicy
from est_core.values import unchecked_value_class, value_class


@unchecked_value_class
class Asking:
    """A request that was let in, and what it is examined by.

    `payload` is the body in DER, empty for none; `item` the segment behind the operation, empty
    where its path has none. `row` is the rule of the policy that let it in.
    `binding_use` knows what the channel's binding has linked. RFC 9266 4.1.
    """

    request: Request
    payload: bytes = field(repr=False)
    identity: ClientIdentity
    channel: Channel
    row: PolicyRow
    policy: ServerPolicy
    limits: Limits
    binding_use: BindingUse

    @property
    def label(self) -> Label | None:
        """The label of the request."""
        return self.request.label

    @property
    def item(self) -> str:
        """What the request is about, where the operation's path says it."""
        return self.request.item

    def row_of(self, operation: Operation) -> PolicyRow | None:
        """Return the rule for another operation, with the same label on the same kind of wire."""
        return self.policy.row(
            operation, self.request.label, datagram=self.channel.version.is_datagram
        )


@value_class
class Inquiry:
    """A question for the application. `then` is the one that may follow it, if any does."""

    question: ServerQuestion
    then: ServerQuestion | None = None


@unchecked_value_class
class Reading:
    """An answer to a client's request: a success, or the word that there is nothing.

    `asked` is what was to be certified, `spki` its key in DER; None where nothing was. `now` is
    the wall clock. With `is_strict` a certificate that is dangerously not what was asked for fails.
    """

    response: Success | NotAvailable
    asked: CertRequest | CertRequestInfo | None = None
    spki: bytes | None = None
    now: datetime
    limits: Limits
    is_strict: bool = False

    @property
    def parts(self) -> tuple[bytes, ...]:
        """Return the content of each part, in the operation's order; none where there is nothing.

        That is DER, but for a part that is plain.
        """
        found = self.response.parts if isinstance(self.response, Success) else ()
        return tuple(part.content for part in found)


class OperationDefinition(Operation, ABC):
    """An operation, with what it asks and what its answers mean.

    `questions` are the kinds of questions that it asks under any policy. What `read` raises as
    RemoteProtocolError is an answer that cannot be used.
    """

    __slots__ = ()

    questions: ClassVar[tuple[type[ServerQuestion], ...]]

    def code(self, asking: Asking) -> CodeCredentials | None:
        """Return the one-time code that the request itself carries, if the policy takes one.

        Asked before the client is let in. Raises RemoteProtocolError for several of them.
        """
        return None

    @abstractmethod
    def examine(self, asking: Asking) -> Inquiry:
        """Return what to ask the application. Raises RemoteProtocolError for a refusal."""

    @abstractmethod
    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Inquiry | Response:
        """Return what the decision leads to; it is one of the question's own `answers`.

        Raises RemoteProtocolError for a refusal, and LocalProtocolError for a decision that does
        not fit, which is the application's fault: then nothing has happened.
        """

    @abstractmethod
    def read(self, reading: Reading) -> ClientResult:
        """Return what the answer gives. Raises RemoteProtocolError for one that is none."""

    def _check(self) -> None:
        super()._check()
        if not getattr(self, "questions", ()):
            raise LocalProtocolError("its class has no questions")
        for each in self.questions:
            if not (hasattr(each, "method") and hasattr(each, "answers")):
                raise LocalProtocolError(f"{each.__name__} has no method, or no answers")

    @property
    def methods(self) -> tuple[str, ...]:
        """The application's methods that its questions need."""
        return tuple(question.method for question in self.questions)

    def success(self, *parts: bytes, retry_after: RetryAfter | None = None) -> Success:
        """Return the answer of these parts, in the order of the operation's `parts`.

        Each is in DER, or as it is to be written where that part is plain. `retry_after` says when
        to ask again. Raises LocalProtocolError for another number of them.
        """
        if len(parts) != len(self.parts):
            raise LocalProtocolError(f"{self.name} is answered with {len(self.parts)} parts")
        return Success(
            operation=self,
            parts=tuple(
                [
                    Part(kind=row.kind, content=each)
                    for row, each in zip(self.parts, parts, strict=True)
                ]
            ),
            retry_after=retry_after,
        )


def defined(operation: Operation) -> OperationDefinition:
    """Return the operation. Raises LocalProtocolError for facts without a definition."""
    if not isinstance(operation, OperationDefinition):
        raise LocalProtocolError(f"operation {operation.name} is not defined, it has facts only")
    return operation
