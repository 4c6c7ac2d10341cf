"""What a check is, what it finds, and what all of them together are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Final

from est_core.values import value_class
from est_transports.doctor.findings import Severity, Verdict
from est_transports.doctor.probes import Probes

SEEN_CHARS: Final = 1000  # of what one check saw


@value_class
class Check:
    """One thing that is looked at.

    `name` is "subject.topic", stable. `means` says what it is about, with the section of the RFC,
    and `do` what to do where it is not well. `judge` looks, and may raise NotJudged.
    """

    name: str
    title: str
    means: str
    do: str
    judge: Callable[[Probes], Verdict] = field(repr=False)
    schemes: tuple[str, ...] = ("https",)

    @property
    def subject(self) -> str:
        """What the check is about, as `--only` takes it."""
        return self.name.partition(".")[0]


@value_class
class Finding:
    """What one check found. `do` is empty where there is nothing to be done.

    `seen` holds text of the server's, printable and short.
    """

    check: Check
    severity: Severity
    seen: str
    do: str = ""


@value_class
class Report:
    """What all checks found, and what it took.

    `is_reachable`: some address took a connection, and who answers there could be judged.
    """

    findings: tuple[Finding, ...]
    connections: int
    requests: int
    is_reachable: bool

    def count(self, severity: Severity) -> int:
        """Return how many findings are that bad."""
        return sum(finding.severity is severity for finding in self.findings)
