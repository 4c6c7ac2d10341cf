"""`[ocsp]` of est.toml: whether OCSP is answered, with which key, and how long answers are good."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from est_core.values import value_class
from est_transports.authority.ocsp_responder import OcspTimes
from est_transports.service.config.key import Key
from est_transports.toml.tables import TomlTable

OCSP_FILE: Final = "ocsp.pem"

OCSP_KEYS: Final = (
    Key(
        name="enabled",
        meaning="answer OCSP requests at `/ocsp` of what `[publication]` serves",
    ),
    Key(
        name="identity",
        meaning="the key that signs answers and its certificate, one PEM file, 0600; it is made"
        " where it is not there, and again when the certificate has ten days left",
    ),
    Key(name="validity_s", meaning="how long an answer is good: its nextUpdate"),
    Key(
        name="max_age_s",
        meaning="how long HTTP caches may keep an answer, so that a revocation is not seen through"
        " them; half of `validity_s` or less",
    ),
)  # fmt: skip


@value_class
class OcspConfig:
    """Whether OCSP is answered, the file of what signs, and how long answers are good."""

    enabled: bool = False
    identity: Path | None = None
    times: OcspTimes = OcspTimes()


def read_ocsp(table: TomlTable) -> OcspConfig:
    """Return what `[ocsp]` says. Raises ConfigError."""
    usual = OcspTimes()
    second = timedelta(seconds=1)
    validity = table.integer("validity_s", usual.validity // second, least=60, most=30 * 24 * 3600)
    max_age = table.integer("max_age_s", usual.max_age // second, least=1, most=30 * 24 * 3600)
    with table.checks("max_age_s"):
        times = OcspTimes(validity=timedelta(seconds=validity), max_age=timedelta(seconds=max_age))
    config = OcspConfig(
        enabled=table.flag("enabled", False),
        identity=table.file("identity", OCSP_FILE),
        times=times,
    )
    table.done()
    return config
