"""What a check says: how bad it is, and what was seen; or that it cannot be judged."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from est_core.values import unchecked_value_class

SHOWN_CHARS: Final = 200  # of a text that a server gave


@unique
class Severity(Enum):
    """How bad a finding is, from nothing at all to what breaks a rule."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing: some client minds it, or an option is not offered."""
    WARNING = "warning"
    """Against advice, or soon a fault."""
    FAULT = "fault"
    """Against a rule, or clients fail."""
    NOT_JUDGED = "not-judged"
    """Nothing is known, and `seen` says why."""


_ORDER: Final = (Severity.OK, Severity.NOTE, Severity.WARNING, Severity.FAULT)


@unchecked_value_class
class Verdict:
    """What a check says: how bad it is, and what was seen. `do` replaces the check's own advice."""

    severity: Severity
    seen: str
    do: str = ""


def ok(seen: str) -> Verdict:
    """Return that all is well."""
    return Verdict(severity=Severity.OK, seen=seen)


def note(seen: str, do: str = "") -> Verdict:
    """Return something worth knowing."""
    return Verdict(severity=Severity.NOTE, seen=seen, do=do)


def warning(seen: str, do: str = "") -> Verdict:
    """Return something that is against advice."""
    return Verdict(severity=Severity.WARNING, seen=seen, do=do)


def fault(seen: str, do: str = "") -> Verdict:
    """Return something that is against a rule."""
    return Verdict(severity=Severity.FAULT, seen=seen, do=do)


def worst(verdicts: list[Verdict], otherwise: Verdict) -> Verdict:
    """Return one verdict for several: as bad as the worst of them; `otherwise` for none."""
    if not verdicts:
        return otherwise
    severity = max((each.severity for each in verdicts), key=_ORDER.index)
    of_it = [each for each in verdicts if each.severity is severity]
    others = [each for each in verdicts if each.severity is not severity]
    seen = "; ".join(each.seen for each in (*of_it, *others))
    return Verdict(severity=severity, seen=seen, do=next((e.do for e in of_it if e.do), ""))


class NotJudged(Exception):  # noqa: N818 - no error: an answer
    """A check cannot be judged; the text says why, and `code` is that of an error behind it."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class NoAnswer(NotJudged):
    """The server took the connection, and gave no answer to what it was asked."""
