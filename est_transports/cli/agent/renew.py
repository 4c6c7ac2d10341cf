"""`est renew`: one pass of the agent, now."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from est_transports.agent.actions import Outcome
from est_transports.agent.settings import AgentSettings, CertificateSettings
from est_transports.agent.sockets_loop import run_pass
from est_transports.cli.agent.directory import (
    chosen,
    directory_argument,
    doubts,
    exit_code,
    opened,
    read_settings,
)
from est_transports.cli.agent.hints import remedy
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import log_as_warnings, print_json, print_line, warn


@click.command("renew")
@directory_argument
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Renew now, whether it is time or not.")
@json_option
@verbose_option
def renew(directory: Path, *, name: str | None, force: bool, as_json: bool) -> ExitCode:
    """Do what is due for the certificates of DIR, or the one called NAME, and end.

    What failed, a hook too, or was put off, is tried again at once. Else nothing is due most of the
    time: --force renews all the same. Where a renewal fails the certificate in use stays, and the
    exit code says why it failed.
    """
    settings = read_settings(directory)
    for doubt in doubts(settings):
        warn(doubt)
    outcomes: list[Outcome] = []
    error: CliError | None = None
    for certificate in chosen(settings, name):
        try:
            outcome, hook_again = _renewed(settings, certificate, force=force)
            outcomes.append(outcome)
        except CliError as exc:  # the others are renewed all the same
            if error is not None:
                warn(error.text)
            error = exc
            continue
        if not as_json:
            _show(outcomes[-1], hook_again=hook_again)
    if as_json:
        print_json([outcome_values(each) for each in outcomes])
    if error is not None:
        raise error
    return exit_code(outcomes)


def _renewed(
    settings: AgentSettings, certificate: CertificateSettings, *, force: bool
) -> tuple[Outcome, bool]:
    """Return what came of a pass, and whether a hook that had failed was run again."""
    with ExitStack() as stack, log_as_warnings():
        agent = opened(stack, settings, certificate, "est renew")
        hook_again = agent.retry_hook()
        if agent.other_names:
            warn(f"{certificate.name}: {agent.other_names}")
        outcome = run_pass(agent, force=force or agent.is_retrying)
    if outcome is None:
        raise TypeError("a pass that nobody stops has an outcome")
    return outcome, hook_again


def outcome_values(outcome: Outcome) -> dict[str, object]:
    """Return what became of a pass, for JSON."""
    return {
        "name": outcome.name,
        "renewed": outcome.renewed,
        "pending": outcome.pending,
        "code": outcome.code or None,
        "message": outcome.message or None,
        "hint": remedy(outcome.code) or None,
        "hook_problem": outcome.hook_problem or None,
        "alarms": sorted(each.value for each in outcome.alarms),
        "next": moment(outcome.until.wall),
    }


def _show(outcome: Outcome, *, hook_again: bool) -> None:
    if hook_again and not outcome.hook_problem:
        print_line(f"{outcome.name}: the hook, which had failed, has ended well")
    if outcome.renewed:
        print_line(f"{outcome.name}: has a new certificate")
    elif outcome.code:
        hint = remedy(outcome.code)
        warn(f"{outcome.name}: not renewed; {hint}" if hint else f"{outcome.name}: not renewed")
    elif outcome.alarms:
        warn(f"{outcome.name}: not renewed; `est status` says what to do")
    elif outcome.pending:
        when = moment(outcome.until.wall)
        print_line(f"{outcome.name}: the server answers later, at {when} or after")
    else:
        print_line(f"{outcome.name}: nothing is due; `est status` says when")
