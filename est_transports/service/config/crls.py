"""`[crls]` of est.toml: revocation lists, and what becomes of what they leave in doubt."""

from __future__ import annotations

from enum import Enum, unique
from pathlib import Path

from est_core.values import value_class
from est_transports.toml.tables import TomlTable


@unique
class InDoubt(Enum):
    """What is done where revocation lists leave something in doubt."""

    REFUSE = "refuse"
    WARN = "warn"


@value_class
class CrlConfig:
    """Files of revocation lists; without any nothing is looked up.

    A list is missing where a CA that clients' certificates lead to has none, and stale where it is
    past its nextUpdate. `..._at_start` counts for reloads too: REFUSE leaves what is served alone.
    `..._in_requests` says whether a certificate counts as failed, or is accepted and logged.
    """

    files: tuple[Path, ...] = ()
    missing_at_start: InDoubt = InDoubt.REFUSE
    stale_at_start: InDoubt = InDoubt.WARN
    missing_in_requests: InDoubt = InDoubt.REFUSE
    stale_in_requests: InDoubt = InDoubt.REFUSE


def read_crls(table: TomlTable) -> CrlConfig:
    """Return what `[crls]` says. Raises ConfigError."""
    usual = CrlConfig()
    words = {each.value: each for each in InDoubt}
    config = CrlConfig(
        files=table.files("files"),
        missing_at_start=table.choice("missing_at_start", words, usual.missing_at_start),
        stale_at_start=table.choice("stale_at_start", words, usual.stale_at_start),
        missing_in_requests=table.choice("missing_in_requests", words, usual.missing_in_requests),
        stale_in_requests=table.choice("stale_in_requests", words, usual.stale_in_requests),
    )
    table.done()
    return config
