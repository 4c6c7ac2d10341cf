"""`est doctor`: examines a server, and says what was seen, what it means, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from est_core import BasicCredentials, BearerCredentials, EstUri
from est_transports.cli.client.login_options import LoginOptions
from est_transports.cli.client.proxy_options import PROXY_OPTIONS, proxy_of
from est_transports.cli.client.target_options import (
    fingerprint_of_option,
    identity_of_options,
    parse_url,
    timeouts_of_option,
    trust_of_options,
)
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import (
    log_as_warnings,
    print_json,
    print_pairs,
    print_table,
    progress,
    say,
)
from est_transports.cli.paths import KEY_PLACE, PATH
from est_transports.cli.terminal_text import terminal_safe
from est_transports.doctor.checks import CHECKS, SUBJECTS
from est_transports.doctor.config import DoctorConfig
from est_transports.doctor.examination import examine
from est_transports.doctor.findings import Severity
from est_transports.doctor.report import Finding, Report
from est_transports.tunnels.proxy import Proxy

if TYPE_CHECKING:
    from est_transports.pki.pkcs11_uri import Pkcs11Uri

_OPTIONS: Final = (
    click.argument("url"),
    click.option("--trust", type=PATH, metavar="CA.pem",
                 help="Judge whether these CAs verify the server."),
    click.option("--fingerprint", metavar="SHA256",
                 help="Judge whether the root with this fingerprint, of the server's own CA "
                 "certificates, verifies it (SHA-256, SHA-384 or SHA-512)."),
    click.option("--system-trust", is_flag=True,
                 help="Judge whether the CAs that this machine trusts verify the server."),
    click.option("--user", metavar="NAME[:PASSWORD]",
                 help="Try to log in as NAME, by Basic, once and if the server was verified. A "
                 "password given here can be seen by others on this machine (ps)."),
    click.option("--password-stdin", is_flag=True,
                 help="Read the password of --user from standard input."),
    click.option("--token-file", type=PATH, metavar="FILE",
                 help="Try to log in with the token in a file, or with - from standard input."),
    click.option("--cert", type=PATH, metavar="CERT.pem",
                 help="Try to log in with this certificate, if the server was verified."),
    click.option("--key", type=KEY_PLACE, metavar="KEY.pem",
                 help="Its private key, in a file: TLS cannot use one in a token here."),
    click.option("--key-password-file", type=PATH, metavar="FILE",
                 help="Password of an encrypted private key; without it you are asked."),
    *PROXY_OPTIONS,
    click.option("--label", metavar="LABEL", help="Label of the CA or profile at the server."),
    click.option("--only", type=click.Choice(SUBJECTS), multiple=True,
                 help="Make the checks of this subject alone; may be given again."),
    click.option("--all", "show_all", is_flag=True,
                 help="On a terminal, show what is well too."),
    click.option("--timeout", type=click.FloatRange(min=0.1, max=3600), metavar="SECONDS",
                 help="For connecting, the handshake, and each answer, instead of 5, 10 and 20."),
    json_option,
    verbose_option,
)  # fmt: skip

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_SHOWN: Final = (Severity.FAULT, Severity.WARNING, Severity.NOTE, Severity.NOT_JUDGED)
_WORDS: Final = {
    Severity.FAULT: ("fault", "faults"),
    Severity.WARNING: ("warning", "warnings"),
    Severity.NOTE: ("note", "notes"),
    Severity.OK: ("ok", "ok"),
    Severity.NOT_JUDGED: ("not judged", "not judged"),
}


def _options(command: Decorated) -> Decorated:
    decorated: Any = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    result: Decorated = decorated
    return result


@click.command("doctor")
@_options
def doctor(*, only: tuple[str, ...], show_all: bool, as_json: bool, **options: Any) -> ExitCode:
    """Examine the EST server at URL: what it does, what that means, and what to do.

    URL is https://HOST[:PORT][/LABEL], of any make of server, or coaps:// in place of https:// (EST
    over CoAP and DTLS; needs --trust, --cert and --key). Nothing is enrolled: the only request that
    is sent is empty, and no certificate can be made of it. Credentials go to a server that was
    verified, and to no other. Exits with 1 where a fault was found, and with 4 where the server
    cannot be reached.
    """
    config = _config(**options)
    uri = config.uri
    _check_scheme(config, only)
    with progress(f"examining {uri} ..."):
        report = examine(config, only=only)
    if as_json:
        print_json(_values(uri, report))
    else:
        _print(report, show_all=show_all or not sys.stdout.isatty())
        say(_summary(uri, report))
    return _exit_code(report)


def _config(
    *,
    url: str,
    trust: Path | None,
    fingerprint: str | None,
    system_trust: bool,
    user: str | None,
    password_stdin: bool,
    token_file: Path | None,
    cert: Path | None,
    key: Path | Pkcs11Uri | None,
    key_password_file: Path | None,
    proxy: str | None,
    proxy_password_file: Path | None,
    proxy_from_environment: bool,
    label: str | None,
    timeout: float | None,
) -> DoctorConfig:
    """Return what the options mean. Raises CliError: USAGE, or LOCAL for files."""
    uri = parse_url(url, label)
    with log_as_warnings():
        anchors = trust_of_options(trust, fingerprint, system_trust=system_trust)
        identity, _ = identity_of_options(cert, key, key_password_file)
        login = _login(uri, user, token_file, stdin=password_stdin, implicit=bool(anchors.implicit))
    config = DoctorConfig(
        uri=uri,
        trust=anchors,
        accept=fingerprint_of_option(fingerprint),
        identity=identity,
        login=login,
        proxy=_proxy(uri, proxy, proxy_password_file, proxy_from_environment),
    )
    return config if timeout is None else replace(config, timeouts=timeouts_of_option(timeout))


def _proxy(
    uri: EstUri, url: str | None, password_file: Path | None, from_environment: bool
) -> Proxy | None:
    proxy = proxy_of(uri, url, password_file, from_environment)
    if proxy is not None and uri.scheme == "coaps":
        raise CliError(f"{uri}: no proxy passes UDP on", ExitCode.USAGE, "leave --proxy out")
    return proxy if proxy is not None and proxy.is_for(uri) else None


def _check_scheme(config: DoctorConfig, only: tuple[str, ...]) -> None:
    """Refuse what there is not over this wire. RFC 9148 3."""
    uri = config.uri
    if uri.scheme == "coaps" and not (config.trust.certificates and config.identity):
        raise CliError(
            f"{uri}: over CoAP both sides show certificates",
            ExitCode.USAGE,
            "give --trust CA.pem, or --system-trust, and --cert and --key",
        )
    subjects = {check.subject for check in CHECKS if uri.scheme in check.schemes}
    if only and not subjects & set(only):
        names = ", ".join(each for each in SUBJECTS if each in subjects)
        raise CliError(f"{uri}: --only is one of {names} there", ExitCode.USAGE)


def _exit_code(report: Report) -> ExitCode:
    if not report.is_reachable:
        return ExitCode.NETWORK
    return ExitCode.REFUSED if report.count(Severity.FAULT) else ExitCode.DONE


def _login(
    uri: EstUri, user: str | None, token_file: Path | None, *, stdin: bool, implicit: bool
) -> BasicCredentials | BearerCredentials | None:
    is_given = user is not None or token_file is not None
    options = LoginOptions(
        user=user, password_stdin=stdin, token_file=token_file, send_password=is_given
    )
    login, _, _ = options.read(uri, implicit=implicit)
    credentials = login.unasked()
    if isinstance(credentials, BasicCredentials | BearerCredentials):
        return credentials
    return None


def _print(report: Report, *, show_all: bool) -> None:
    """Print what was found.

    On a terminal in a table, and below it what the findings mean that are not well; elsewhere
    all of a finding in one line.
    """
    shown = [each for each in report.findings if show_all or each.severity in _SHOWN]
    if not sys.stdout.isatty():
        print_table((), [_row(each) for each in shown])
        return
    print_table(("check", "", "seen"), [_row(each)[:3] for each in shown])
    for each in shown:
        if each.do:
            print_pairs(
                tuple(zip(("check", "it means", "what to do"), _explained(each), strict=True))
            )


def _row(finding: Finding) -> tuple[str, ...]:
    means = finding.check.means if finding.do else ""
    return (finding.check.name, finding.severity.value, finding.seen, means, finding.do)


def _explained(finding: Finding) -> tuple[str, str, str]:
    check = finding.check
    return f"{check.name}: {check.title}", check.means, finding.do


def _summary(uri: EstUri, report: Report) -> str:
    counts = [(each, report.count(each)) for each in _WORDS]
    texts = [f"{number} {_WORDS[each][number != 1]}" for each, number in counts if number]
    made = f"{report.connections} connections, {report.requests} requests"
    reached = "" if report.is_reachable else "not reachable: "
    return f"{uri}: {reached}{', '.join(texts) or 'nothing was looked at'}; {made}"


def _values(uri: EstUri, report: Report) -> dict[str, object]:
    return {
        "url": str(uri),
        "reachable": report.is_reachable,
        "connections": report.connections,
        "requests": report.requests,
        "counts": {each.value: report.count(each) for each in Severity},
        "checks": [
            {
                "check": each.check.name,
                "subject": each.check.subject,
                "title": each.check.title,
                "severity": each.severity.value,
                "seen": terminal_safe(each.seen),
                "means": each.check.means,
                "do": each.do or None,
            }
            for each in report.findings
        ],
    }
