"""`est certs revoke` and `est certs release`: which certificates count no more, or count again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core.values import unchecked_value_class
from est_transports import _clock
from est_transports.authority.crls import REVOCATION_REASONS, UNSPECIFIED
from est_transports.authority.stores import HOLD, IssuedRecord, Store
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_line, say
from est_transports.cli.paths import PATH
from est_transports.cli.server.directory import (
    directory_argument,
    local_errors,
    opened_store,
    read_config,
)
from est_transports.cli.server.records import every_record, find_record
from est_transports.cli.server.superseded import superseded as left_behind
from est_transports.pki.serials import printed_serial, serial_text
from est_transports.pki.trust import CredentialFileError, load_pem_certificates
from est_transports.service.config.settings import ServerConfig

_SHOWN: Final = 20
"""Of many that are to be revoked, how many are shown to the person that is asked."""
SUPERSEDED: Final = "superseded"
_AT_ONCE: Final = 10_000
"""In one transaction, for which a server waits."""


@unchecked_value_class
class Selection:
    """What the command line asks to revoke. `by_search`: nobody named each of them."""

    serials: tuple[str, ...]
    subject: str | None
    user: str | None
    file: Path | None
    superseded: bool = False

    @property
    def by_search(self) -> bool:
        """True where certificates are looked for by what they have."""
        return self.subject is not None or self.user is not None or self.superseded

    def check(self) -> None:
        """Raise CliError unless it is one way to say which."""
        ways = [self.serials or None, self.subject, self.user, self.file, self.superseded or None]
        if sum(way is not None for way in ways) != 1:
            raise CliError(
                "say which certificates: serial numbers, or one of --subject, --user, --file and"
                " --superseded",
                ExitCode.USAGE,
            )
        if "" in (self.subject, self.user):
            raise CliError("--subject and --user are not empty: that is everything", ExitCode.USAGE)


class _Reason(click.ParamType[str]):
    """A reason as RFC 5280 spells it, in any case; dashes do no harm."""

    name = "REASON"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return it in the spelling of the RFC."""
        known = {word.casefold(): word for word in REVOCATION_REASONS}
        found = known.get(str(value).replace("-", "").casefold())
        if found is None:
            self.fail(f"{str(value)[:80]!r} is none of {', '.join(REVOCATION_REASONS)}", param, ctx)
        return found


@click.command()
@directory_argument
@click.argument("serials", metavar="[SERIAL]...", nargs=-1)
@click.option("--subject", metavar="TEXT", help="All with TEXT in the subject, in any case.")
@click.option(
    "--user", metavar="NAME", help="All that this user or device got, and their renewals."
)
@click.option("--file", type=PATH, metavar="FILE", help="The certificates in FILE, PEM or DER.")
@click.option(
    "--superseded",
    is_flag=True,
    help="All that renewals have left behind, once what replaced them was renewed in its turn.",
)
@click.option(
    "--reason",
    metavar="REASON",
    type=_Reason(),
    help="Why: a reason of RFC 5280; certificateHold can be ended with est certs release."
    "  [default: unspecified; superseded with --superseded]",
)
@click.option("--yes", is_flag=True, help="Do not ask, where many would be revoked.")
@click.option("--dry-run", is_flag=True, help="Only say what would be revoked.")
@json_option
@verbose_option
def revoke(
    directory: Path,
    serials: tuple[str, ...],
    subject: str | None,
    user: str | None,
    file: Path | None,
    superseded: bool,
    reason: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Revoke certificates; a running server refuses them from this moment on.

    SERIAL is as in est certs show. Where one that is named is not there, none is revoked.
    """
    selection = Selection(
        serials=serials, subject=subject, user=user, file=file, superseded=superseded
    )
    selection.check()
    reason = reason or (SUPERSEDED if superseded else UNSPECIFIED)
    config = read_config(directory)
    own = _own_certificates(config)
    store = opened_store(config)
    with local_errors():
        try:
            found, left = _chosen(store, selection, config, own, reason)
            if not dry_run:
                _confirm(found, selection, yes=yes)
                by_name = selection.by_search and not selection.superseded
                found += _revoked(store, found, reason, with_renewals=by_name)
        finally:
            store.close()
    _tell(found, left, reason, dry_run=dry_run, as_json=as_json)


@click.command()
@directory_argument
@click.argument("serial", metavar="SERIAL")
@json_option
@verbose_option
def release(directory: Path, serial: str, as_json: bool) -> None:
    """End the hold of a certificate: it counts again, as if it had never been revoked.

    SERIAL is as in est certs show. What was revoked for another reason stays revoked.
    """
    store = opened_store(read_config(directory))
    with local_errors():
        try:
            record = find_record(store, serial)
            released = store.release_hold(record.serial)
        finally:
            store.close()
    name = f"certificate {printed_serial(record.serial)}"
    if not released and record.revoked_at is None:
        raise CliError(f"{name} is not on hold: it was not revoked", ExitCode.REFUSED)
    if not released:
        raise CliError(
            f"{name} is not on hold: {_since(record)}", ExitCode.REFUSED,
            "that is for good; let its holder enroll again",
        )  # fmt: skip
    if as_json:
        print_json({"serial": printed_serial(record.serial), "subject": record.subject})
    else:
        print_line(f"released {printed_serial(record.serial)}  {record.subject}")


def _own_certificates(config: ServerConfig) -> dict[bytes, str]:
    """Return the certificates that are not revoked here, and what each of them is."""
    try:
        tls = load_pem_certificates(config.tls.certificate)[0]
        files = [config.ca.certificate]
        for former in config.ca.former:
            files += [former.certificate, *([former.links] if former.links else [])]
        chain = [each for file in files for each in load_pem_certificates(file)]
    except CredentialFileError as exc:
        raise CliError(str(exc), ExitCode.LOCAL) from exc
    own = {
        each.public_bytes(Encoding.DER): "is a certificate of the CA itself, which no list of its"
        " own can revoke: take it out of what clients trust"
        for each in chain
    }
    own[tls.public_bytes(Encoding.DER)] = (
        "is the server's own TLS certificate, which is in use: renew it first, with est init"
        f" {config.directory or 'DIR'} --renew-server, then revoke this one"
    )
    return own


def _chosen(
    store: Store,
    selection: Selection,
    config: ServerConfig,
    own: dict[bytes, str],
    reason: str,
) -> tuple[list[IssuedRecord], list[tuple[IssuedRecord, str]]]:
    """Return what is to be revoked, and what is left alone and why. Raises CliError for none."""
    if selection.superseded:
        candidates = list(_left_behind(store))
    elif selection.by_search:
        candidates = list(_searched(store, selection, config, _clock.instant().wall))
    else:
        candidates = list(_named(store, selection, own))
    found: dict[str, IssuedRecord] = {}
    left: dict[str, tuple[IssuedRecord, str]] = {}
    for record in candidates:
        why = own.get(record.der) or _is_revoked_already(record, reason)
        if why and not selection.by_search and record.der in own:
            raise CliError(f"certificate {printed_serial(record.serial)} {why}", ExitCode.REFUSED)
        if why:
            left[record.serial] = record, why
        else:
            found[record.serial] = record
    if not candidates:
        raise CliError("there is no such certificate that still counts", ExitCode.LOCAL)
    if not found:
        record, why = next(iter(left.values()))
        name = f"certificate {printed_serial(record.serial)}"
        of_many = f"none of {len(left)} certificates is revoked: " if len(left) > 1 else ""
        raise CliError(f"{of_many}{name} {why}", ExitCode.REFUSED)
    return list(found.values()), list(left.values())


def _named(store: Store, selection: Selection, own: dict[bytes, str]) -> Iterator[IssuedRecord]:
    """Yield the records of certificates that were named one by one. Raises CliError."""
    by_serial = {
        serial_text(x509.load_der_x509_certificate(der).serial_number): why
        for der, why in own.items()
    }
    for serial in selection.serials:
        try:
            yield find_record(store, serial)
        except CliError as exc:
            whole = serial.lower().replace(":", "").removeprefix("0x").lstrip("0")
            if whole not in by_serial:
                raise
            message = f"certificate {printed_serial(whole)} {by_serial[whole]}"
            raise CliError(message, ExitCode.REFUSED) from exc
    for certificate in () if selection.file is None else load_pem_certificates(selection.file):
        serial, der = serial_text(certificate.serial_number), certificate.public_bytes(Encoding.DER)
        name = f"{selection.file}: certificate {printed_serial(serial)}"
        record = store.find_certificate(serial)
        if record is not None and record.is_of(certificate):
            yield record
        elif der in own:
            raise CliError(f"{name} {own[der]}", ExitCode.REFUSED)
        else:
            raise CliError(f"{name} is none that this CA issued", ExitCode.LOCAL)


def _searched(
    store: Store, selection: Selection, config: ServerConfig, now: datetime
) -> Iterator[IssuedRecord]:
    """Yield the records that fit and may still be of use: one that has expired may be renewed.

    A renewal by certificate names no user: it is of the user that the first one was issued to.
    """
    grace = [config.auth.renew_expired_days, *(x.renew_expired_days or 0 for x in config.labels)]
    ended = now - timedelta(days=max(grace))
    text = None if selection.subject is None else selection.subject.casefold()
    of_user: set[str | None] = set()
    for record in every_record(store):  # in their order: what is renewed comes first
        if selection.user is not None:
            whose = (record.user, None if record.manufacturer is None else str(record.manufacturer))
            if selection.user not in whose and record.replaces not in of_user:
                continue
            of_user.add(record.serial)
        fits = text is None or text in record.subject.casefold()
        if fits and record.not_after >= ended:
            yield record


def _left_behind(store: Store) -> Iterator[IssuedRecord]:
    """Yield what renewals have left behind and is valid and not revoked."""
    now = _clock.instant().wall
    serials = left_behind(every_record(store))
    for record in every_record(store) if serials else ():
        counts = record.revoked_at is None and record.not_after >= now
        if record.serial in serials and counts:
            yield record


def _is_revoked_already(record: IssuedRecord, reason: str) -> str:
    if record.revoked_at is None or (record.revocation_reason == HOLD != reason):
        return ""
    return _since(record)


def _since(record: IssuedRecord) -> str:
    """Return since when a certificate is revoked or on hold."""
    when = "" if record.revoked_at is None else moment(record.revoked_at)
    if record.revocation_reason == HOLD:
        return f"is on hold since {when}"
    return f"was revoked already, on {when} ({record.revocation_reason})"


def _confirm(found: Sequence[IssuedRecord], selection: Selection, *, yes: bool) -> None:
    """Ask the person, where more than one is revoked, or one that nobody named. CliError for no."""
    if yes or (len(found) == 1 and not selection.by_search):
        return
    count = f"{len(found)} certificates" if len(found) > 1 else "1 certificate"
    if not sys.stdin.isatty():
        raise CliError(
            f"{count} would be revoked, and there is no terminal to ask on", ExitCode.USAGE,
            "look at them with --dry-run, and revoke them with --yes",
        )  # fmt: skip
    for record in found[:_SHOWN]:
        say(f"{printed_serial(record.serial)}  {record.subject}")
    if len(found) > _SHOWN:
        say(f"and {len(found) - _SHOWN} more: --dry-run shows all")
    if not click.confirm(f"Revoke {count}?", err=True):
        raise CliError("nothing was revoked", ExitCode.REFUSED)


def _revoked(
    store: Store, found: Sequence[IssuedRecord], reason: str, *, with_renewals: bool
) -> list[IssuedRecord]:
    """Revoke what was found, and return what was revoked besides: its renewals, if they go too."""
    _revoke(store, found, reason)
    renewals = _renewed_meanwhile(store, found) if with_renewals else []
    _revoke(store, renewals, reason)
    return renewals


def _revoke(store: Store, found: Sequence[IssuedRecord], reason: str) -> None:
    now = _clock.instant().wall
    for start in range(0, len(found), _AT_ONCE):
        serials = [record.serial for record in found[start : start + _AT_ONCE]]
        store.revoke_certificates(serials, at=now, reason=reason)


def _renewed_meanwhile(store: Store, found: Sequence[IssuedRecord]) -> list[IssuedRecord]:
    """Return the renewals of what is revoked by now that count still.

    Those that were under way between the search and the revocation. There is no more of it after
    that: what renews a certificate is not recorded once that is revoked.
    """
    line = {record.serial for record in found}
    renewals: list[IssuedRecord] = []
    for record in every_record(store):
        if record.replaces in line and record.serial not in line:
            line.add(record.serial)
            if record.revoked_at is None:
                renewals.append(record)
    return renewals


def _tell(
    found: Sequence[IssuedRecord],
    left: Sequence[tuple[IssuedRecord, str]],
    reason: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "reason": reason,
                "revoked": [
                    {
                        "serial": printed_serial(record.serial),
                        "subject": record.subject,
                    }
                    for record in found
                ],
                "left": [
                    {"serial": printed_serial(record.serial), "reason": why} for record, why in left
                ],
            }
        )
        return
    done = "put on hold" if reason == HOLD else "revoked"
    for record in found:
        what = f"would be {done}:" if dry_run else done
        print_line(f"{what} {printed_serial(record.serial)}  {record.subject}  ({reason})")
    for record, why in left:
        say(f"left alone: {printed_serial(record.serial)} {why}")
