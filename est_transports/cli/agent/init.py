"""`est agent-init`: est-agent.toml for a certificate, and a pair that is taken over."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Final

import click

from est_transports.agent.config import AGENT_FILE, agent_settings_of
from est_transports.cli.agent.directory import (
    directory_argument,
    doubts,
    local_errors,
    read_settings,
)
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import CERTIFICATE, CHAIN, KEY, Output, make_directory, write_files
from est_transports.cli.keys import load_key
from est_transports.cli.options import verbose_option
from est_transports.cli.output import print_line, warn
from est_transports.cli.paths import PATH
from est_transports.pairs.directory import PairDirectory
from est_transports.pki.credential_files import key_pem
from est_transports.pki.trust import TlsIdentity, load_pem_certificates
from est_transports.toml.tables import ConfigError

_FILES: Final = ("trust", "password_file", "token_file", "code_file",
          "identity_certificate", "identity_key")  # fmt: skip


_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A key that TOML takes without quotes."""


@click.command("agent-init")
@directory_argument
@click.argument("name")
@click.option("--url", required=True, help="Its EST server: https://HOST[:PORT][/LABEL].")
@click.option("--trust", type=PATH, metavar="CA.pem", help="The server is certified by these CAs.")
@click.option("--fingerprint", metavar="SHA256", help="Or the CA's root has this fingerprint.")
@click.option("--user", metavar="NAME", help="Log in as NAME to get the first certificate.")
@click.option("--password-file", type=PATH, metavar="FILE", help="The password of --user.")
@click.option("--token-file", type=PATH, metavar="FILE", help="Or log in with this token.")
@click.option("--code-file", type=PATH, metavar="FILE", help="Or with this one-time code.")
@click.option("--cert", "identity_certificate", type=PATH, metavar="CERT.pem",
              help="Show this certificate, the manufacturer's, to get the first one.")  # fmt: skip
@click.option("--key", "identity_key", type=PATH, metavar="KEY.pem", help="Its private key.")
@click.option("--make-key", "key", metavar="URI",
              help="Make its keys in a token: pkcs11:token=TOKEN;object=LABEL.")  # fmt: skip
@click.option("--cn", metavar="NAME", help="Common name of the certificate.")
@click.option("--san", multiple=True, metavar="KIND:NAME", help="An alternative name: dns:...")
@click.option("--take", type=PATH, metavar="DIR",
              help="Take over the pair that `est enroll` put into this directory.")  # fmt: skip
@verbose_option
def agent_init(directory: Path, *, name: str, take: Path | None, **options: object) -> None:
    """Have the agent of DIR look after a certificate, called NAME there.

    It writes DIR/est-agent.toml, or adds a table to it; files are named in it, not copied. The
    first certificate is got by `est renew DIR` or `est agent DIR`, unless --take brings one.
    """
    make_directory(directory)
    text = _with_certificate(directory, name, options)
    _check(text, directory / AGENT_FILE)
    if take is not None:
        trust = options["trust"]
        _take_over(directory / name, *_pair_in(take), trust if isinstance(trust, Path) else None)
    path = directory / AGENT_FILE
    write_files([Output(path=path, content=text.encode())], overwrite=True)
    for doubt in doubts(read_settings(directory), missing=True):
        warn(doubt)
    print_line(f"{path} has [certificate.{name}]")
    for line in ("Next:", f"  est renew {directory}", f"  est agent {directory}"):
        print_line(line)


def _with_certificate(directory: Path, name: str, options: dict[str, object]) -> str:
    """Return est-agent.toml with one more table. Raises CliError."""
    path = directory / AGENT_FILE
    text = path.read_text("utf-8") if path.exists() else ""
    if name in _names_in(text):
        hint = "edit that, or give another NAME"
        raise CliError(f"{path} has [certificate.{name}] already", ExitCode.USAGE, hint)
    lines = [f"[certificate.{name if _BARE.fullmatch(name) else _quoted(name)}]"]
    for key, value in options.items():
        if key in _FILES and isinstance(value, Path):
            lines.append(f"{key} = {_quoted(_named(value, directory))}")
        elif isinstance(value, str):
            lines.append(f"{key} = {_quoted(value)}")
        elif isinstance(value, tuple) and value:
            lines.append(f"{key} = [{', '.join(_quoted(str(each)) for each in value)}]")
    before = f"{text.rstrip()}\n\n" if text.strip() else ""
    return before + "\n".join(lines) + "\n"


def _names_in(text: str) -> Collection[object]:
    try:
        found = tomllib.loads(text).get("certificate")
    except tomllib.TOMLDecodeError:
        return ()  # `_check` says what is wrong
    return found if isinstance(found, dict) else ()


def _named(path: Path, directory: Path) -> str:
    """Return a path as it stands in a file of the directory."""
    whole = Path(os.path.abspath(path))
    home = Path(os.path.abspath(directory))
    return str(whole.relative_to(home) if whole.is_relative_to(home) else whole)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # what JSON escapes, TOML does too


def _check(text: str, path: Path) -> None:
    """Raise CliError (USAGE) where a file that says this would not be read."""
    try:
        agent_settings_of(text, path)
    except ConfigError as exc:
        message = f"{exc.where}: {exc.reason}" if exc.where else exc.reason
        raise CliError(message, ExitCode.USAGE, "see 'est agent-init --help'") from exc


def _pair_in(path: Path) -> tuple[TlsIdentity, bytes]:
    """Return the pair of `est enroll`, and its key in PEM. Raises CliError, CredentialFileError."""
    certificates = load_pem_certificates(path / CERTIFICATE, needs_first=True)
    chain = load_pem_certificates(path / CHAIN) if (path / CHAIN).exists() else ()
    key, _ = load_key(path / KEY, None)
    issuers = tuple(each for each in (*certificates[1:], *chain) if each.issuer != each.subject)
    if key.public_key() != certificates[0].public_key():
        raise CliError(f"{path / KEY}: is not the key of {CERTIFICATE}", ExitCode.LOCAL)
    return TlsIdentity(chain=(certificates[0], *dict.fromkeys(issuers)), key=key), key_pem(key)


def _take_over(place: Path, identity: TlsIdentity, pem: bytes, trust: Path | None) -> None:
    anchors = () if trust is None else load_pem_certificates(trust)
    with local_errors(), PairDirectory.open(place, create=True, holder="est agent-init") as pairs:
        if pairs.running is not None:
            raise CliError(f"{place}: has a certificate already", ExitCode.LOCAL)
        pairs.discard()
        pairs.begin(pem, None)
        pairs.receive(identity.certificate, identity.chain[1:])
        pairs.promote(anchors)
