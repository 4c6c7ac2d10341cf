"""Registers devices and the one-time codes that go with them: neither is there without the other.

The codes are handed out first, as those of `est otp` are; devices and codes are then added in one
transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from est_core import LocalProtocolError
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.stores import CodeRecord, DeviceRecord
from est_transports.authority.stores.credential_records import DIGEST_BYTES
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import refuse_existing
from est_transports.cli.output import say
from est_transports.cli.server.directory import open_store
from est_transports.cli.server.handing_out import handed_out
from est_transports.cli.server.issued_secrets import note_missing_scheme, server_secret
from est_transports.cli.server.new_codes import codes_csv, hashed_codes, made_codes
from est_transports.service.config.reader import CONFIG_FILE
from est_transports.service.config.settings import ServerConfig

_NAMED: Final = 3
"""How many of the ids that are taken an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Devices to be added; `with_code` has the ids of those that get a code, until `codes_end`."""

    directory: Path
    config: ServerConfig
    records: Sequence[DeviceRecord]
    with_code: Collection[str]
    codes_end: datetime
    out: Path | None
    force: bool


def register(wanted: Registration) -> None:
    """Hand out the codes and add the devices, all or none. Raises CliError."""
    if wanted.out is not None and not wanted.force:
        refuse_existing([wanted.out])
    patterns = _patterns(wanted)
    codes = made_codes(len(patterns))
    with open_store(wanted.directory) as store:
        hashed: list[CodeRecord] = []
        if patterns:  # without codes the server's secret is none of our business
            hashed = hashed_codes(patterns, codes, server_secret(wanted.config, store))
        if not wanted.force:
            _refuse_taken(store, wanted.records, hashed)
        shown = handed_out(codes_csv(patterns, codes), wanted.out, overwrite=wanted.force)
        with shown if patterns else nullcontext():
            try:
                taken = store.add_devices(wanted.records, codes=hashed, replace=wanted.force)
            except LocalProtocolError as exc:  # of a manufacturer's device
                raise CliError(f"{exc.message}; none was added", ExitCode.LOCAL) from exc
            if taken:
                _refuse_taken(store, wanted.records, hashed)  # by others, a moment ago
                raise CliError("somebody else registers devices now", ExitCode.LOCAL, "try again")
    count = len(wanted.records)
    also = f", {_counted(len(codes), 'code')} added" if codes else ""
    say(f"{_counted(count, 'device')} registered{also}")
    if codes:
        note_missing_scheme(wanted.config, Scheme.OTP, "one-time codes", wanted.directory)
    elif wanted.out is not None:
        say(f"no device asks for a code: {wanted.out} is not written")
    if not wanted.config.has_registered_names:
        say(
            'no enrollment asks the list yet: put names = "registered" under [auth], or under a'
            f" label, of {wanted.directory / CONFIG_FILE}"
        )


def _patterns(wanted: Registration) -> list[CodeRecord]:
    """Return the codes that are to be made, with a digest of none."""
    with_code = frozenset(wanted.with_code)
    return [
        CodeRecord(
            name=record.id, digest=bytes(DIGEST_BYTES), label=record.label,
            created_at=record.created_at,
            expires_at=min(wanted.codes_end, record.expires_at or wanted.codes_end),
        )
        for record in wanted.records
        if record.id in with_code
    ]  # fmt: skip


def _refuse_taken(
    store: SqliteStore, records: Sequence[DeviceRecord], codes: Sequence[CodeRecord]
) -> None:
    for kind, taken in (
        ("device", store.taken_devices([record.id for record in records])),
        ("code", store.taken_codes([record.name for record in codes])),
    ):
        if taken:
            more = f" and {len(taken) - _NAMED} more" if len(taken) > _NAMED else ""
            which = f"{kind}{'' if len(taken) == 1 else 's'} {', '.join(taken[:_NAMED])}{more}"
            raise CliError(
                f"{which} {'exists' if len(taken) == 1 else 'exist'} already, and none was added",
                ExitCode.LOCAL,
                "replace with --force",
            )


def _counted(count: int, what: str) -> str:
    return f"{count} {what if count == 1 else what + 's'}"
