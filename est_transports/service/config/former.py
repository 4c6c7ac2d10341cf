"""[[ca.former]] of est.toml: the keys that the CA issued with before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from est_core import RemoteProtocolError
from est_core.codec.timestamps import parse_timestamp
from est_core.values import value_class
from est_transports.service.config.key import Key
from est_transports.toml.tables import TomlTable

FORMER_MAX: Final = 32
"""So many generations are served at most: a bag has to be read by devices."""

FORMER_KEYS: Final = (
    Key(
        name="certificate", kind="string (file)",
        meaning="the certificate of that generation, and its chain to the root; needed",
    ),
    Key(
        name="links", kind="string (file)",
        meaning="the link certificates between it and the generation after it",
    ),
    Key(name="key", kind="string (file)", meaning="its private key, where it is still there"),
    Key(
        name="key_password_file", kind="string (file)",
        meaning="where the first line is the password of that key",
    ),
    Key(
        name="trusted_until", kind="date and time such as `\"2027-11-27T18:00:00Z\"`",
        meaning="what it issued is taken for authentication, and is renewed, until then; needed",
    ),
)  # fmt: skip


@value_class
class FormerCaConfig:
    """Files of a generation that issues no more, and until when what it issued counts."""

    certificate: Path
    links: Path | None = None
    key: Path | None = None
    key_password_file: Path | None = None
    trusted_until: datetime


def read_former(ca: TomlTable) -> Iterator[FormerCaConfig]:
    """Yield what `[[ca.former]]` says, the newest first. Raises ConfigError."""
    for number, table in enumerate(ca.array("former"), 1):
        if number > FORMER_MAX:
            raise ca.error("former", f"has more than {FORMER_MAX} generations")
        certificate = table.optional_file("certificate")
        config = None
        until = _moment(table)
        links, key = table.optional_file("links"), table.optional_file("key")
        password = table.optional_file("key_password_file")
        if certificate is not None and until is not None:
            config = FormerCaConfig(
                certificate=certificate,
                links=links,
                key=key,
                key_password_file=password,
                trusted_until=until,
            )
        table.done()
        if config is None:
            missing = "certificate" if certificate is None else "trusted_until"
            raise table.error(missing, "is missing")
        yield config


def _moment(table: TomlTable) -> datetime | None:
    text = table.optional_text("trusted_until")
    try:
        return None if text is None else parse_timestamp(text)
    except RemoteProtocolError as exc:
        raise table.error(
            "trusted_until", f"{text!r} is no date and time such as 2027-11-27T18:00:00Z"
        ) from exc
