"""What `est token` and `est otp` share: the server's secret, labels, missing schemes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from est_core import Label, LocalProtocolError
from est_transports import _clock
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.authentication.kept_secret import SecretLostError, kept_secret
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import DeviceRecord, Store
from est_transports.authority.stores.sqlite_values import required_name
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.output import say
from est_transports.files.ownership import ownership_of, take_over
from est_transports.service.config.reader import CONFIG_FILE
from est_transports.service.config.settings import ServerConfig


def now() -> datetime:
    """Return the present moment in UTC, without what is under a second."""
    return _clock.instant().wall.replace(microsecond=0)


def server_secret(config: ServerConfig, store: Store) -> ServerSecret:
    """Return the server's secret; where there is none yet, make it, for the store's owner.

    Raises CliError, CredentialFileError, also where the store needs another one.
    """
    path = config.auth.secret
    if path is None:
        raise CliError(
            f"{CONFIG_FILE} names no file for the server's secret", ExitCode.LOCAL,
            "give [auth] secret a file",
        )  # fmt: skip
    is_new = not path.exists()
    try:
        secret = kept_secret(path, store, entropy=_clock.entropy, now=now()).secret
    except SecretLostError as exc:
        raise CliError(str(exc), ExitCode.LOCAL, exc.remedy) from exc
    owner = ownership_of(config.ca.store) if is_new else None
    if owner is not None:
        try:
            take_over(path, owner, secret=True)
        except OSError as exc:
            raise CliError(f"{path}: {exc.strerror}", ExitCode.LOCAL) from exc
    return secret


def proven_name(name: str, whose: str) -> str:
    """Return a name as it is kept. Raises CliError for one that nobody can have."""
    try:
        return required_name(name, whose)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE, f"correct {name[:80]!r}") from exc


def known_manufacturers(config: ServerConfig, devices: Iterable[DeviceRecord]) -> None:
    """Say once of each manufacturer of the devices that the server does not know it."""
    present = {each.manufacturer.name for each in config.manufacturers}
    named = {each.manufacturer.manufacturer for each in devices if each.manufacturer is not None}
    for name in sorted(named - present):
        table = f"[manufacturers.{name}] of {CONFIG_FILE}"
        say(f"the server has no manufacturer {name} yet: see {table}")


def known_labels(config: ServerConfig, labels: Iterable[str]) -> frozenset[str]:
    """Return labels, of which "" is none; say so where the server has no such label.

    Raises CliError for what is no label.
    """
    present = {"", *(each.label.text for each in config.labels)}
    found = frozenset(labels)
    for text in sorted(found - present):
        try:
            Label(text)
        except LocalProtocolError as exc:
            raise CliError(f"--label: {exc.message}", ExitCode.USAGE) from exc
        say(f"the server has no label {text} yet: see [labels.{text}] of {CONFIG_FILE}")
    return found


def note_missing_scheme(config: ServerConfig, wanted: Scheme, what: str, directory: Path) -> None:
    """Say what to put into est.toml where it does not turn on what was just made."""
    if wanted in config.auth.schemes:
        return
    words = ", ".join(
        f'"{each.value}"' for each in Scheme if each is wanted or each in config.auth.schemes
    )
    say(
        f"{CONFIG_FILE} does not turn {what} on: put schemes = [{words}] under [auth] of"
        f" {directory / CONFIG_FILE}, or give est serve --auth"
    )
