"""The guard around an application: what it raises costs its client a 500, and nobody else."""

from __future__ import annotations

import logging
from typing import Final

from est_core import Decision, Fail, ServerQuestion
from est_core.arguments import checked
from est_transports.drive.application import Application, AsyncApplication, ask, ask_async

_log: Final = logging.getLogger("est_transports")


@checked
def consult(application: Application, question: ServerQuestion) -> Decision:
    """Return the application's decision; Fail, with the traceback in the log, if it raises."""
    try:
        return ask(application, question)
    except Exception:  # noqa: BLE001  # whatever an application may raise
        _log.exception("the application failed on %s", type(question).__name__)
        return Fail()


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
