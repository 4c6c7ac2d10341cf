"""The options by which a client goes through a proxy: --proxy, and what belongs to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from est_core import EstUri, LocalProtocolError
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.password_input import secret_from_file
from est_transports.cli.paths import PATH
from est_transports.tunnels.proxy import Proxy

_FORM: Final = (
    "a proxy is http://HOST:PORT, or socks4, socks4a, socks5 or socks5h in place of http; "
    "percent-encode what is special in a user or a password"
)

PROXY_NAMES: Final = ("proxy", "proxy_password_file", "proxy_from_environment")
PROXY_OPTIONS: Final = (
    click.option("--proxy", metavar="URL",
                 help="Go through this proxy: http://[USER[:PASSWORD]@]HOST:PORT, or socks4, "
                 "socks4a, socks5 or socks5h in place of http. Others on this machine can see a "
                 "password given here (ps): rather use --proxy-password-file."),
    click.option("--proxy-password-file", type=PATH, metavar="FILE",
                 help="Read the password of --proxy's user from a file."),
    click.option("--proxy-from-environment", is_flag=True,
                 help="Go through the proxy that HTTPS_PROXY or ALL_PROXY names, except to the "
                 "hosts of NO_PROXY. Without this option they are not looked at."),
)  # fmt: skip


def proxy_of(
    uri: EstUri,
    url: str | None = None,
    password_file: Path | None = None,
    from_environment: bool = False,
) -> Proxy | None:
    """Return the proxy that the options mean. Raises CliError: USAGE, or LOCAL for a file."""
    if url is not None and from_environment:
        raise CliError("--proxy and --proxy-from-environment exclude each other", ExitCode.USAGE)
    if password_file is not None and url is None:
        raise CliError("--proxy-password-file goes with --proxy", ExitCode.USAGE)
    if from_environment:
        return _from_environment(uri)
    return None if url is None else _parsed(url, _password(password_file))


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    if str(path) == "-":
        raise CliError("--proxy-password-file is a file, not standard input", ExitCode.USAGE)
    return secret_from_file(path, "--proxy-password-file")


def _parsed(url: str, password: str | None) -> Proxy:
    try:
        return Proxy.parse(url, password=password)
    except LocalProtocolError as exc:
        raise CliError(f"--proxy: {exc.message}", ExitCode.USAGE, _FORM) from exc


def _from_environment(uri: EstUri) -> Proxy | None:
    from est_transports.tunnels.environment import proxy_from_environment

    try:
        return proxy_from_environment(uri, os.environ)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE, _FORM) from exc
