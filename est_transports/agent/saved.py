"""What an agent keeps of a certificate between two passes: one JSON object, for a file."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from est_core import LocalProtocolError
from est_core.life_cycle import LifeCycleState, state_of, state_text
from est_core.values import unchecked_value_class

TEXT_MAX_CHARS: Final = 64 * 1024
MESSAGE_MAX_CHARS: Final = 500


@unchecked_value_class
class Failure:
    """What failed last, and when. `message` is plain text, of a server's too."""

    code: str
    message: str
    at: datetime


@unchecked_value_class
class Saved:
    """What is known of a certificate's life: of which one, by its SHA-256, and how far it is.

    `of` is "" before there is any. `hook_due` is the certificate whose hook has not ended yet, and
    `hook_event` what that is told. `trust` has the dates of the trust anchors.
    `failure` is the last renewal that failed, `hook_failure` the last hook.
    """

    cycle: LifeCycleState | None = None
    of: str = ""
    hook_due: str = ""
    hook_event: str = ""
    trust: str = ""
    failure: Failure | None = None
    hook_failure: Failure | None = None

    def text(self) -> str:
        """Return it for `saved_of`."""
        values = {
            "cycle": self.cycle and state_text(self.cycle),
            "of": self.of,
            "hook_due": self.hook_due,
            "hook_event": self.hook_event,
            "trust": self.trust,
            "failure": _failure_values(self.failure),
            "hook_failure": _failure_values(self.hook_failure),
        }
        return json.dumps(values, indent=1) + "\n"


def saved_of(text: str) -> Saved:
    """Return what `text` wrote; nothing is known where it is "".

    Raises LocalProtocolError for any other text.
    """
    if not text:
        return Saved()
    if len(text) > TEXT_MAX_CHARS:
        raise LocalProtocolError(f"a state has at most {TEXT_MAX_CHARS} characters")
    try:
        values = json.loads(text)
        cycle = values["cycle"]
        return Saved(
            cycle=None if cycle is None else state_of(cycle),
            of=_text(values["of"]),
            hook_due=_text(values["hook_due"]),
            hook_event=_text(values["hook_event"]),
            trust=_whole_text(values["trust"]),
            failure=_failure(values["failure"]),
            hook_failure=_failure(values["hook_failure"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise LocalProtocolError("that is no state of an agent") from exc


def readable_saved(text: str) -> Saved:
    """Return what `saved_of` does, and that nothing is known where it refuses the text."""
    try:
        return saved_of(text)
    except LocalProtocolError:
        return Saved()


def plain(text: str) -> str:
    """Return a text, a server's say, fit for a line of a log and for a file."""
    safe = "".join(each if each.isprintable() else " " for each in text[: 4 * MESSAGE_MAX_CHARS])
    return " ".join(safe.split())[:MESSAGE_MAX_CHARS]


def _failure_values(failure: Failure | None) -> dict[str, str] | None:
    if failure is None:
        return None
    return {"code": failure.code, "message": failure.message, "at": failure.at.isoformat()}


def _failure(values: Any) -> Failure | None:
    if values is None:
        return None
    at = datetime.fromisoformat(values["at"])
    if at.utcoffset() is None:
        raise ValueError("a moment without a zone")
    return Failure(code=_text(values["code"]), message=_text(values["message"]), at=at)


def _text(value: Any) -> str:
    return plain(_whole_text(value))


def _whole_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
