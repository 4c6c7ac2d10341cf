"""`est status`: how the certificates of an agent stand."""

from __future__ import annotations

from pathlib import Path

import click

from est_core.life_cycle import WhenExpired
from est_transports import _clock
from est_transports.agent.status import CertificateStatus, certificate_status
from est_transports.cli.agent.directory import (
    chosen,
    directory_argument,
    read_settings,
)
from est_transports.cli.agent.hints import alarm_lines, remedy
from est_transports.cli.describe import certificate_values, moment, subject_text
from est_transports.cli.errors import ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_table, say

_COLUMNS = ("name", "subject", "expires", "state", "next", "failure")


@click.command("status")
@directory_argument
@click.argument("name", required=False)
@json_option
@verbose_option
def status(directory: Path, *, name: str | None, as_json: bool) -> ExitCode:
    """Show how the certificates of DIR stand, or the one called NAME.

    It reads beside a running agent. The exit code is 1 where a person has to do something: a
    certificate has expired or is about to, a clock is wrong, a hook failed.
    """
    settings = read_settings(directory)
    now = _clock.instant()
    found = [
        certificate_status(settings.directory / each.name, each, now)
        for each in chosen(settings, name)
    ]
    if as_json:
        print_json([_values(each) for each in found])
    else:
        print_table(_COLUMNS, [_row(each) for each in found])
        for each, of in zip(found, chosen(settings, name), strict=True):
            for line in _advice(each, of.policy.when_expired):
                say(line)
    return ExitCode.REFUSED if any(each.needs_person for each in found) else ExitCode.DONE


def _row(status: CertificateStatus) -> tuple[str, ...]:
    certificate, failure = status.certificate, status.last_failure
    return (
        status.name,
        "-" if certificate is None else subject_text(certificate),
        "-" if certificate is None else moment(certificate.not_valid_after_utc),
        ", ".join([status.standing.value, *_alarms(status)]),
        "-" if status.next_at is None else moment(status.next_at),
        "-" if failure is None else failure[0],
    )


def _advice(status: CertificateStatus, when_expired: WhenExpired) -> list[str]:
    """Return lines about what failed last, what is wrong, and what to do."""
    lines = [f"{status.name}: {each}" for each in alarm_lines(status.alarms, when_expired)]
    if status.note:
        lines.append(f"{status.name}: {status.note}")
    for failure in (status.last_failure, status.hook_failure):
        if failure is not None:
            code, message, at = failure
            hint = remedy(code)
            text = f"{status.name}: {moment(at)}: {message} [{code}]"
            lines.append(f"{text}; {hint}" if hint else text)
    return lines


def _alarms(status: CertificateStatus) -> list[str]:
    return sorted(each.value for each in status.alarms if each.value != status.standing.value)


def _values(status: CertificateStatus) -> dict[str, object]:
    certificate = status.certificate
    return {
        "name": status.name,
        "state": status.standing.name.lower(),
        "needs_person": status.needs_person,
        "alarms": sorted(each.value for each in status.alarms),
        "certificate": None if certificate is None else certificate_values(certificate),
        "next": None if status.next_at is None else moment(status.next_at),
        "last_failure": _failure_values(status.last_failure),
        "hook_failure": _failure_values(status.hook_failure),
        "agent": status.holder or None,
        "note": status.note or None,
    }


def _failure_values(failure: tuple[str, str, object] | None) -> dict[str, object] | None:
    if failure is None:
        return None
    code, message, at = failure
    return {"code": code, "message": message, "hint": remedy(code) or None, "at": str(at)}
