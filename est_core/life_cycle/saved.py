"""A certificate's life as text, for a file: one JSON object, dates as in RFC 3339."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.life_cycle.state import Attempt, LifeCycleState
from est_core.renewal_window import RenewalWindow

TEXT_MAX_CHARS: Final = 4096
"""More than any state has."""


@checked
def state_text(state: LifeCycleState) -> str:
    """Return a state as one line of JSON, to be read by `state_of`."""
    values: dict[str, object] = {
        "received_at": state.received_at.isoformat(),
        "seen_at": state.seen_at.isoformat(),
        "age_s": state.age_s,
        "place": state.place,
        "failures": state.failures,
        "failure": state.failure,
        "pending": state.pending,
        "new_key": state.new_key,
    }
    for name in ("attempt", "info", "trust"):
        tried: Attempt | None = getattr(state, name)
        if tried is not None:
            values[name] = {"at": tried.at.isoformat(), "wait_s": tried.wait_s}
    if state.window is not None:
        values["window"] = {
            "start": state.window.start.isoformat(),
            "end": state.window.end.isoformat(),
        }
    return json.dumps(values)


@checked
def state_of(text: str) -> LifeCycleState:
    """Return the state that `state_text` wrote.

    Raises LocalProtocolError for any other text. A client then goes on as with a new certificate.
    """
    if len(text) > TEXT_MAX_CHARS:
        raise LocalProtocolError(f"a state has at most {TEXT_MAX_CHARS} characters")
    try:
        values = json.loads(text)
        return LifeCycleState(
            received_at=_moment(values, "received_at"),
            seen_at=_moment(values, "seen_at"),
            age_s=values["age_s"],
            place=values["place"],
            failures=values["failures"],
            failure=values["failure"],
            pending=values["pending"],
            new_key=values.get("new_key", False),  # earlier releases wrote none
            attempt=_attempt(values, "attempt"),
            info=_attempt(values, "info"),
            trust=_attempt(values, "trust"),
            window=_window(values),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise LocalProtocolError("that is no state of a certificate's life") from exc


def _moment(values: Mapping[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(values[name])


def _attempt(values: Mapping[str, Any], name: str) -> Attempt | None:
    tried = values.get(name)
    return None if tried is None else Attempt(at=_moment(tried, "at"), wait_s=tried["wait_s"])


def _window(values: Mapping[str, Any]) -> RenewalWindow | None:
    window = values.get("window")
    if window is None:
        return None
    return RenewalWindow(start=_moment(window, "start"), end=_moment(window, "end"))
