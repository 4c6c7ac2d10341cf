"""`[ra]` of est.toml: which certificates may act as a registration authority."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from est_core.values import value_class
from est_transports.toml.tables import TomlTable

_SHA256: Final = re.compile("[0-9a-f]{64}")


@value_class
class RaConfig:
    """Who may send requests of others, with a certificate of the own CA for id-kp-cmcRA.

    Of `certificates` the subject counts, which a renewed certificate keeps; `fingerprints`
    (SHA-256) are for one certificate each. RFC 7030 3.7.
    """

    certificates: tuple[Path, ...] = ()
    fingerprints: frozenset[bytes] = frozenset()


def read_ra(table: TomlTable) -> RaConfig:
    """Return what `[ra]` says. Raises ConfigError."""
    config = RaConfig(
        certificates=table.files("certificates"),
        fingerprints=frozenset(_fingerprint(table, text) for text in table.texts("fingerprints")),
    )
    table.done()
    return config


def _fingerprint(table: TomlTable, text: str) -> bytes:
    plain = text.replace(":", "").lower()
    if not _SHA256.fullmatch(plain):
        raise table.error(
            "fingerprints",
            f"{text[:80]!r} is no SHA-256 in hexadecimal; `openssl x509 -fingerprint -sha256`"
            " prints one",
        )
    return bytes.fromhex(plain)
