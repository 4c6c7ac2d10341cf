"""An application for tests: a table of answers by kind of question, and what was asked so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableSequence
from itertools import chain, repeat
from typing import Protocol, TypeVar

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.decisions import Decision
from est_core.events import AuthenticateRequested, ServerQuestion
from est_core.operations.cacerts import CACertsRequested
from est_core.operations.csrattrs import CSRAttrsRequested
from est_core.operations.simpleenroll import EnrollRequested
from est_core.operations.simplereenroll import ReenrollRequested

_Question_contra = TypeVar("_Question_contra", bound=ServerQuestion, contravariant=True)
Answer = Decision | Callable[..., Decision]
"""A decision, or a function that makes one of the question."""


class _Method(Protocol[_Question_contra]):
    def __call__(self, question: _Question_contra) -> Decision: ...


class _AsyncMethod(Protocol[_Question_contra]):
    async def __call__(self, question: _Question_contra) -> Decision: ...


@checked
class ScriptedApplication:
    """An application that answers by a table, for tests, and keeps what it was asked.

    `answers` has for each kind of question a decision, or a function that makes one of the
    question; put another one in its place at any time. The application has the methods of the
    kinds that were there at the start, whosever operation asks them, so that a server offers
    these operations and no others. `decide` is what all of these methods are: hand it to
    ExchangePair, or override it.
    `asked` holds the questions. Where they are many, give one that forgets: `deque(maxlen=100)`.
    Raises LocalProtocolError for a kind of question that names no method.
    """

    # Each is `decide`, where there is an answer to such a question.
    authenticate: _Method[AuthenticateRequested]
    ca_certs: _Method[CACertsRequested]
    csr_attrs: _Method[CSRAttrsRequested]
    enroll: _Method[EnrollRequested]
    reenroll: _Method[ReenrollRequested]

    def __init__(
        self,
        answers: Mapping[type[ServerQuestion], Answer],
        *,
        asked: MutableSequence[ServerQuestion] | None = None,
    ) -> None:
        self.answers: dict[type[ServerQuestion], Answer] = dict(answers)
        self.asked: MutableSequence[ServerQuestion] = [] if asked is None else asked
        _offer(self, self.answers)

    def decide(self, question: ServerQuestion) -> Decision:
        """Return the answer to such a question; raises LocalProtocolError where there is none."""
        self.asked.append(question)
        kind = type(question)
        if kind not in self.answers:
            raise LocalProtocolError(f"no answer to {kind.__name__} is scripted")
        return _decision(self.answers[kind], question)


async def _at_once(decide: Callable[..., Decision], question: ServerQuestion) -> Decision:
    return decide(question)


@checked
class AsyncScriptedApplication:
    """A ScriptedApplication for event loops: each method is a coroutine function.

    `run` awaits what has to come first, if anything, calls the `decide` it is given with the
    question and returns the decision: `asyncio.to_thread` and `trio.to_thread.run_sync` do.
    """

    # Each is `decide`, as above.
    authenticate: _AsyncMethod[AuthenticateRequested]
    ca_certs: _AsyncMethod[CACertsRequested]
    csr_attrs: _AsyncMethod[CSRAttrsRequested]
    enroll: _AsyncMethod[EnrollRequested]
    reenroll: _AsyncMethod[ReenrollRequested]

    def __init__(
        self,
        application: ScriptedApplication,
        run: Callable[..., Awaitable[Decision]] = _at_once,
    ) -> None:
        self.application = application
        self._run = run
        _offer(self, application.answers)

    async def decide(self, question: ServerQuestion) -> Decision:
        """Return the application's answer."""
        return await self._run(self.application.decide, question)


@checked
def in_turn(*answers: Answer) -> Callable[[ServerQuestion], Decision]:
    """Return an answer that is each of these once, in their order, and then always the last.

    Raises LocalProtocolError for none.
    """
    if not answers:
        raise LocalProtocolError("in_turn needs an answer")
    turns = chain(answers, repeat(answers[-1]))
    return lambda question: _decision(next(turns), question)


def _decision(answer: Answer, question: ServerQuestion) -> Decision:
    return answer if isinstance(answer, Decision) else answer(question)


def _offer(
    application: ScriptedApplication | AsyncScriptedApplication,
    kinds: Iterable[type[ServerQuestion]],
) -> None:
    for kind in kinds:
        if not hasattr(kind, "method"):
            raise LocalProtocolError(f"{kind.__name__} names no method that answers it")
        if not hasattr(application, kind.method):  # what a subclass has is better than the table
            setattr(application, kind.method, application.decide)
