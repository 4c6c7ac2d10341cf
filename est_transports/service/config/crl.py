"""`[crl]` of est.toml: the revocation lists that this CA makes, how often, and where they lie."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from est_core.values import value_class
from est_transports.authority.crls import CrlSchedule
from est_transports.service.config.key import Key
from est_transports.toml.tables import TomlTable

CRL_DIRECTORY: Final = "crl"
_HOURS_MAX: Final = 366 * 24

CRL_KEYS: Final = (
    Key(
        name="enabled",
        meaning="make lists while serving: when it starts, at once after a revocation, and by the"
        " schedule; without it only `est crl` does",
    ),
    Key(
        name="directory",
        meaning="where the newest list lies, in DER, as KEY.crl; KEY is the identifier of the CA's"
        " key in hexadecimal. It is made if its parent is there; everybody may read what is in it",
    ),
    Key(
        name="validity_hours", counted="hours",
        meaning="how long a list is good: its nextUpdate; longer than `every_hours`",
    ),
    Key(
        name="every_hours", counted="hours",
        meaning="how often one is made though nothing was revoked",
    ),
)  # fmt: skip


@value_class
class CrlMaking:
    """Whether lists are made while serving, by which schedule, and the directory of their files.

    None of a directory is for a configuration of no file: lists are in the store only then.
    """

    enabled: bool = True
    directory: Path | None = None
    schedule: CrlSchedule = CrlSchedule()


def read_crl(table: TomlTable) -> CrlMaking:
    """Return what `[crl]` says. Raises ConfigError."""
    usual = CrlSchedule()
    validity, every = (
        table.integer(key, value // timedelta(hours=1), least=1, most=_HOURS_MAX)
        for key, value in (("validity_hours", usual.validity), ("every_hours", usual.every))
    )
    with table.checks("every_hours"):
        schedule = CrlSchedule(validity=timedelta(hours=validity), every=timedelta(hours=every))
    making = CrlMaking(
        enabled=table.flag("enabled", True),
        directory=table.file("directory", CRL_DIRECTORY),
        schedule=schedule,
    )
    table.done()
    return making
