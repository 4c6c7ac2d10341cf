"""`est roll-back` and `est discard`: what a person does in the directory of a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from est_transports import _clock
from est_transports.agent.by_hand import discard as discard_candidate
from est_transports.agent.by_hand import roll_back as go_back
from est_transports.agent.errors import AgentError
from est_transports.agent.settings import AgentSettings, CertificateSettings
from est_transports.agent.sockets_loop import run_pass
from est_transports.cli.agent.directory import (
    chosen,
    directory_argument,
    exit_code,
    local_errors,
    read_settings,
)
from est_transports.cli.describe import certificate_values, moment, subject_text
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import log_as_warnings, print_json, print_line, warn
from est_transports.pairs.directory import PairDirectory
from est_transports.pairs.errors import PairError
from est_transports.pairs.values import Pair
from est_transports.pki.serials import printed_serial


@click.command("roll-back")
@directory_argument
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Go back to a certificate that is not valid now, too.")
@json_option
@verbose_option
def roll_back(directory: Path, *, name: str | None, force: bool, as_json: bool) -> ExitCode:
    """Use the certificate before again, with its key; NAME says whose, where DIR has several.

    The newer one is kept, and the same command goes back to it. The agent must not run: stop it
    first. The hook runs; the agent renews again after retry_max_s, `est renew` at once.
    """
    settings = read_settings(directory)
    certificate = _the_one(settings, name)
    with _opened(settings, certificate, "est roll-back") as pairs, log_as_warnings():
        previous = pairs.previous
        if previous is not None and not force:
            _check_valid(certificate, previous)
        agent = go_back(certificate, pairs)
        outcome = run_pass(agent, hook_alone=True)
        running = pairs.running
    if outcome is None or running is None:
        raise TypeError("a pass that nobody stops has an outcome, and a pair")
    if as_json:
        print_json(
            {
                "name": certificate.name,
                "certificate": certificate_values(running.certificate),
                "hook_problem": outcome.hook_problem or None,
            }
        )
    else:
        print_line(f"{certificate.name}: in use again: {_shown(running)}")
    return exit_code([outcome])


@click.command("discard")
@directory_argument
@click.argument("name", required=False)
@json_option
@verbose_option
def discard(directory: Path, *, name: str | None, as_json: bool) -> None:
    """Give up the certificate that is on its way, with its key; NAME says whose, of several.

    What is in use stays. The next renewal begins with a new key and a new request; a server that
    was asked already may have issued a certificate that nobody will have.
    """
    settings = read_settings(directory)
    certificate = _the_one(settings, name)
    problem = ""
    with _opened(settings, certificate, "est discard") as pairs:
        try:
            was_there = pairs.candidate is not None
        except PairError:
            was_there = True
        try:
            discard_candidate(certificate, pairs)
        except AgentError as exc:
            problem = f"{certificate.name}: its key stays in the token: {exc.message} [{exc.code}]"
    if problem:
        warn(problem)
    if as_json:
        print_json({"name": certificate.name, "discarded": was_there})
    elif was_there:
        print_line(f"{certificate.name}: what was on its way is given up; `est renew` begins anew")
    else:
        print_line(f"{certificate.name}: nothing was on its way")


def _the_one(settings: AgentSettings, name: str | None) -> CertificateSettings:
    """Return the certificate of that name, or the only one. Raises CliError."""
    found = chosen(settings, name)
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise CliError("which certificate? say NAME", ExitCode.USAGE, f"there are {names}")
    return found[0]


@contextmanager
def _opened(
    settings: AgentSettings, certificate: CertificateSettings, holder: str
) -> Iterator[PairDirectory]:
    path = settings.directory / certificate.name
    with local_errors(), PairDirectory.open(path, holder=holder) as pairs:
        yield pairs


def _check_valid(certificate: CertificateSettings, previous: Pair) -> None:
    now, shown = _clock.instant().wall, previous.certificate
    if not shown.not_valid_before_utc <= now <= shown.not_valid_after_utc:
        raise CliError(
            f"{certificate.name}: the certificate before is not valid now: {_shown(previous)}",
            ExitCode.LOCAL,
            "renew with `est renew --force`, or go back all the same with --force",
        )


def _shown(pair: Pair) -> str:
    certificate = pair.certificate
    serial, end = printed_serial(certificate.serial_number), certificate.not_valid_after_utc
    return f"{subject_text(certificate)}, serial {serial}, valid until {moment(end)}"
