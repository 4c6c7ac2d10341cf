"""`est why`: what became of a request that was refused, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import click

from est_core import LocalProtocolError, read_refusal_id
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, say
from est_transports.cli.server.directory import directory_argument, open_store, read_config
from est_transports.cli.server.explanations import explained, told
from est_transports.cli.server.searches import Search, of_device, of_id, of_peer, of_serial, of_user
from est_transports.pki.serials import read_serial
from est_transports.service.audit import AuditEvent, Entry, audit_files, entries_of

_REFUSALS: Final = frozenset(
    event.value
    for event in (AuditEvent.REFUSED, AuditEvent.ERROR, AuditEvent.LOST, AuditEvent.HANDSHAKE)
)
_LAST: Final = 3


@click.command()
@directory_argument
@click.argument("refusal", metavar="[ID]", default="")
@click.option(
    "--device", metavar="ID", help="Refusals of this device: of its ID, and of each of its names."
)
@click.option("--user", metavar="NAME", help="Refusals of who was this user, or said so.")
@click.option(
    "--serial", metavar="HEX", help="Refusals of who showed the certificate of this serial number."
)
@click.option("--peer", metavar="ADDRESS", help="Refusals of clients at this address.")
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=_LAST,
    show_default=True,
    help="How many, the newest first.",
)
@json_option
@verbose_option
def why(
    directory: Path,
    refusal: str,
    device: str | None,
    user: str | None,
    serial: str | None,
    peer: str | None,
    last: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Explain refusals of DIR's server: when, who, what was asked for, why, and what to do.

    ID is what a refused client was told. Without it, and without an option that says whose, the
    last ones are explained.
    """
    search = _search(
        directory, refusal=refusal or None, device=device, user=user, serial=serial, peer=peer
    )
    path = read_config(directory).audit.file
    if path is None:
        hint = "turn it on with enabled = true under [audit] of est.toml; the log has refusals too"
        raise CliError("there is no audit file: it is turned off", ExitCode.LOCAL, hint)
    paths, found, issued = _looked_up(path, search, last)
    if not found:
        raise _nothing(search, paths, issued)
    if as_json:
        print_json([explained(entry, directory) for entry in found])
    else:
        _print(found, directory)
    if issued is not None and not refusal:
        say(_since(issued))


def _print(found: Sequence[Entry], directory: Path) -> None:
    for number, entry in enumerate(found):
        if number:
            print_line("")
        for line in told(entry, directory):
            print_line(line)


def _search(
    directory: Path,
    *,
    refusal: str | None,
    device: str | None,
    user: str | None,
    serial: str | None,
    peer: str | None,
) -> Search:
    given = [each for each in (refusal, device, user, serial, peer) if each is not None]
    if len(given) > 1:
        raise CliError("an ID, or one of the options that say whose: not both", ExitCode.USAGE)
    try:
        if refusal is not None:
            return of_id(read_refusal_id(refusal))
        if serial is not None:
            return of_serial(read_serial(serial))
        if peer is not None:
            return of_peer(peer)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE) from exc
    if user is not None:
        return of_user(user)
    if device is not None:
        with open_store(directory) as store:
            record = store.find_device(device)
        if record is None:
            return of_device(device, ())
        pair = () if record.manufacturer is None else (str(record.manufacturer),)
        return of_device(device, (*record.names, *pair))
    return Search(whose="anybody", needles=(), fits=bool)


def _looked_up(
    path: Path, search: Search, last: int
) -> tuple[Sequence[Path], list[Entry], Entry | None]:
    """Return the files, and what is found in them. Raises CliError where there is none to read."""
    try:
        paths = audit_files(path)
        if paths:
            return paths, *_found(paths, search, last)
    except OSError as exc:
        hint = "run the command as the user who runs the server"
        name = exc.filename or path
        raise CliError(f"{name}: {exc.strerror or exc}", ExitCode.LOCAL, hint) from exc
    raise CliError(
        f"{path}: does not exist", ExitCode.LOCAL, "a server that was started since makes it"
    )


def _found(paths: Sequence[Path], search: Search, last: int) -> tuple[list[Entry], Entry | None]:
    """Return the last refusals, and the certificate that was issued after them, if any."""
    entries = _entries(paths, search, last)
    issued: Entry | None = None
    found: list[Entry] = []
    for entry in entries:
        if entry["event"] in _REFUSALS:
            found.append(entry)
            if len(found) == last:
                break
        elif issued is None and not found:
            issued = entry
    return found, issued


def _entries(paths: Sequence[Path], search: Search, last: int) -> Iterator[Entry]:
    """Yield the refusals, and of what was issued the newest one before them."""
    seen = False

    def wanted(entry: Entry) -> bool:
        nonlocal seen
        if entry["event"] not in _REFUSALS and (seen or entry["event"] != AuditEvent.ISSUED.value):
            return False
        if not search.fits(entry):
            return False
        seen = True
        return True

    return islice(entries_of(paths, wanted, last + 1, search.needles), last + 1)


def _since(issued: Entry) -> str:
    certificate = issued.get("issued")
    serial = certificate.get("serial", "?") if isinstance(certificate, dict) else "?"
    return f"after that a certificate was issued to it: {serial}, at {issued.get('time', '?')}"


def _nothing(search: Search, paths: Sequence[Path], issued: Entry | None) -> CliError:
    files = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} before it"
    hint = "it holds what it has room for; est why DIR shows the last ones of all"
    if not search.needles:
        hint = "the log has what older ones there were"
    if issued is not None:
        hint = _since(issued).removeprefix("after that ")
    return CliError(f"no refusal of {search.whose} in {files}", ExitCode.LOCAL, hint)
