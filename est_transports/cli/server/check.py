"""`est check`: whether a CA's directory is in order, for people and for monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from est_transports import _clock
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, print_table
from est_transports.cli.server.directory import directory_argument
from est_transports.service.condition import Condition, Finding, findings_of, worst_of
from est_transports.service.validity import CERTIFICATE_NOTICE


@click.command()
@directory_argument
@click.option(
    "--days",
    metavar="N",
    type=click.IntRange(0, 36_500),
    default=CERTIFICATE_NOTICE.days,
    show_default=True,
    help="Warn of certificates that end within so many days.",
)
@click.option("--quick", is_flag=True, help="Do not read all of the store.")
@json_option
@verbose_option
def check(directory: Path, days: int, quick: bool, as_json: bool) -> int:
    """Look whether DIR is in order, whether or not its server runs. Nothing is changed.

    The exit code is 0 where all is well, 1 with warnings, 2 where requests fail or would, as
    monitoring has it; the first line says the worst.
    """
    now = _clock.instant()
    found = findings_of(directory, now=now, notice=timedelta(days=days), quick=quick)
    worst = worst_of(found)
    if as_json:
        print_json({"condition": worst.name.lower(), "findings": [_values(each) for each in found]})
    else:
        print_line(f"EST {worst.name}: {_summary(found, worst)}")
        rows = [(each.about, each.condition.name, each.text, each.remedy) for each in found]
        print_table(("about", "condition", "finding", "what to do"), rows)
    return worst.value


def _values(finding: Finding) -> dict[str, str]:
    return {
        "about": finding.about,
        "condition": finding.condition.name.lower(),
        "text": finding.text,
        "remedy": finding.remedy,
    }


def _summary(found: Sequence[Finding], worst: Condition) -> str:
    if worst is Condition.OK:
        return f"{len(found)} things looked at"
    first, *others = [each for each in found if each.condition is worst]
    return f"{first.text} (and {len(others)} more)" if others else first.text
