"""The guard around an application: what it raises costs its client a 500, and nobody else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from est_core import Decision, Fail, ServerQuestion
from est_core.arguments import checked
from est_transports.drive.application import (
    Application,
    AsyncApplication,
    ask,
    ask_async,
    begin_to_ask,
)

_D = TypeVar("_D")

_log: Final = logging.getLogger("est_transports")


@checked
def consult(application: Application, question: ServerQuestion) -> Decision:
    """Return the application's decision; Fail, with the traceback in the log, if it raises."""
    return _guarded(lambda: ask(application, question), question)


@checked
def begin_to_consult(
    application: Application, question: ServerQuestion
) -> Decision | Future[Decision | None]:
    """Return the application's decision, as `consult` does, or the future of it, as guarded."""
    decision = _guarded(lambda: begin_to_ask(application, question), question)
    if not isinstance(decision, Future):
        return decision
    guarded: Future[Decision | None] = Future()

    def settle(made: Future[Decision]) -> None:
        try:
            guarded.set_result(_guarded(made.result, question))
        except BaseException as exc:  # noqa: BLE001  # the end of a thread, and nobody may wait on
            guarded.set_exception(exc)

    decision.add_done_callback(settle)
    return guarded


@checked
async def consult_async(application: AsyncApplication, question: ServerQuestion) -> Decision:
    """Return the application's decision, as `consult` does. Cancellation passes through."""
    try:
        return await ask_async(application, question)
    except Exception:  # noqa: BLE001  # whatever an application may raise
        _log.exception("the application failed on %s", type(question).__name__)
        return Fail()
    except BaseExceptionGroup as group:  # cancelled, and it broke while it cleaned up
        _log.exception("the application failed on %s", type(question).__name__)
        _, passing = group.split(Exception)
        if passing is None:
            return Fail()
        raise passing from None


def _guarded(decide: Callable[[], _D], question: ServerQuestion) -> _D | Decision:
    try:
        return decide()
    except Exception:  # noqa: BLE001  # whatever an application may raise
        _log.exception("the application failed on %s", type(question).__name__)
        return Fail()
