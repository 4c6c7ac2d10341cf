"""What the agent's commands do with DIR: read est-agent.toml, open certificates' directories."""

from __future__ import annotations

import logging
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from est_transports.agent.actions import Outcome
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.config import AGENT_FILE, load_agent_settings
from est_transports.agent.errors import AgentError
from est_transports.agent.settings import AgentSettings, CertificateSettings
from est_transports.cli.agent.hints import remedy
from est_transports.cli.client.failures import exit_code_of
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.paths import PATH
from est_transports.daemon.file_limit import raise_file_limit
from est_transports.pairs.directory import PairDirectory
from est_transports.pairs.errors import PairError
from est_transports.toml.tables import ConfigError

_Command = TypeVar("_Command", bound=Callable[..., Any])
_log: Final = logging.getLogger("est_transports")
_LOCAL: Final = frozenset({"agent", "pair", "key"})
"""First halves of codes of what is wrong on this machine."""
_FILES_EACH: Final = 8
"""A directory, that of its pairs and its lock; what is read or written; a connection, a hook."""
_FILES_BESIDES: Final = 64


def directory_argument(command: _Command) -> _Command:
    """Add the argument DIR; the command gets `directory`."""
    return click.argument("directory", metavar="DIR", type=PATH)(command)


@contextmanager
def local_errors() -> Iterator[None]:
    """Turn what is wrong with the files of this machine into a CliError (LOCAL)."""
    try:
        yield
    except ConfigError as exc:
        raise CliError(str(exc), ExitCode.LOCAL) from exc
    except (PairError, AgentError) as exc:
        hint = remedy(exc.code)
        raise CliError(exc.message, ExitCode.LOCAL, hint, error_code=exc.code) from exc


def read_settings(directory: Path) -> AgentSettings:
    """Return what DIR/est-agent.toml says. Raises CliError."""
    path = directory / AGENT_FILE
    if not path.exists():
        raise CliError(
            f"{directory}: there is no {AGENT_FILE}",
            ExitCode.LOCAL,
            "make one: est agent-init DIR NAME --url https://HOST --trust CA.pem",
        )
    with local_errors():
        _check_private(path)
        return load_agent_settings(path)


def _check_private(path: Path) -> None:
    """Raise ConfigError for a file that everybody may write: what its hooks say is run as us."""
    if path.is_file() and path.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(path, "", "everybody may write into it, and its hooks are run: chmod o-w")


def doubts(settings: AgentSettings, *, missing: bool = False) -> Iterator[str]:
    """Yield which secrets that the settings name everybody can read, and what is `missing`.

    A code may go once it was used, and what is needed and missing is told by whoever needs it.
    """
    named = {each.trust_file: False for each in settings.certificates}
    for each in (each.credentials for each in settings.certificates):
        secret = (each.password_file, each.token_file, each.code_file, each.key_file)
        named |= {each.certificate_file: False} | dict.fromkeys(secret, True)
    for path, is_secret in named.items():
        if path is None:
            continue
        try:
            mode = path.stat().st_mode
        except OSError as exc:
            if missing:
                yield f"{path}: {exc.strerror}"
        else:
            if is_secret and mode & stat.S_IROTH:
                how = f"chmod o= {shlex.quote(str(path))}"
                yield f"{path}: everybody on this machine can read it; take that away with: {how}"


def chosen(settings: AgentSettings, name: str | None) -> tuple[CertificateSettings, ...]:
    """Return the certificates that a command is about: the one of that name, else all."""
    if name is None:
        return settings.certificates
    found = settings.named(name)
    if found is None:
        names = ", ".join(each.name for each in settings.certificates)
        raise CliError(
            f"{AGENT_FILE} has no [certificate.{name}]", ExitCode.USAGE, f"it has {names}"
        )
    return (found,)


def opened(
    stack: ExitStack, settings: AgentSettings, certificate: CertificateSettings, holder: str
) -> CertificateAgent:
    """Return the agent of a certificate, whose directory is locked until the stack ends."""
    path = settings.directory / certificate.name
    with local_errors():
        pairs = stack.enter_context(PairDirectory.open(path, create=True, holder=holder))
        return CertificateAgent(certificate, pairs)


def opened_all(
    stack: ExitStack, settings: AgentSettings, holder: str
) -> tuple[list[CertificateAgent], list[CertificateSettings]]:
    """Return the agents of all certificates, and the certificates whose agents cannot be had.

    One that is damaged keeps nobody from looking after the others; why it is not looked after is
    logged. Raises CliError for none at all.
    """
    _make_room(len(settings.certificates))
    agents: list[CertificateAgent] = []
    missing: list[CertificateSettings] = []
    errors: list[CliError] = []
    for each in settings.certificates:
        try:
            agents.append(opened(stack, settings, each, holder))
        except CliError as exc:
            missing.append(each)
            errors.append(exc)
    if not agents:
        raise errors[0]
    for error in errors:
        _log.error("%s; not looked after: %s", error.text, error.hint)
    return agents, missing


def can_be_opened(settings: AgentSettings, certificate: CertificateSettings, holder: str) -> bool:
    """Return whether the agent of a certificate that was missing can be had by now."""
    with ExitStack() as stack:
        try:
            opened(stack, settings, certificate, holder)
        except CliError:
            return False
    return True


def _make_room(certificates: int) -> None:
    """Let this process have the files open that so many certificates need."""
    wanted = _FILES_EACH * certificates + _FILES_BESIDES
    allowed = raise_file_limit(wanted)
    if allowed < wanted:
        _log.warning(
            "only %d files may be open: %d certificates need %d; see ulimit -n",
            allowed,
            certificates,
            wanted,
        )


def exit_code(outcomes: list[Outcome]) -> ExitCode:
    """Return how a run of passes ends: the worst of them, by whom it concerns."""
    codes = [_exit_code(each) for each in outcomes]
    order = (ExitCode.LOCAL, ExitCode.REFUSED, ExitCode.NETWORK, ExitCode.PENDING)
    return next((code for code in order if code in codes), ExitCode.DONE)


def _exit_code(outcome: Outcome) -> ExitCode:
    if outcome.hook_problem:
        return ExitCode.LOCAL
    if outcome.code:
        is_local = outcome.code.partition("/")[0] in _LOCAL
        return ExitCode.LOCAL if is_local else exit_code_of(outcome.code)
    if outcome.alarms:
        return ExitCode.REFUSED
    return ExitCode.PENDING if outcome.pending else ExitCode.DONE
