"""The rules of a profile for renewals, as est.toml has them: `[profiles.NAME]`."""

from __future__ import annotations

from typing import Final

from est_transports.authority.renewal_rules import (
    PER_NAME_MAX,
    SAME_KEY_DAYS_MAX,
    SAME_KEY_RENEWALS_MAX,
    RenewalRules,
)
from est_transports.service.config.key import Key
from est_transports.toml.tables import TomlTable

RENEWAL_RULES_KEYS: Final = (
    Key(
        name="same_key_renewals", counted="times",
        meaning="how often a key may be certified again after the first time, by a renewal or by"
        " another enrollment: 0 demands a new key each time; none is as often as is asked for",
    ),
    Key(
        name="same_key_days",
        meaning="for how long after its first certificate a key may be certified again; none is for"
        " ever",
    ),
    Key(
        name="certificates_per_name", counted="certificates",
        meaning="how many of this profile one name may have at a time, each with its renewals; a"
        " further enrollment is refused until one has expired or is revoked. Those for one key"
        " count once; none is no bound",
    ),
    Key(
        name="adopt_unknown",
        meaning="renew certificates of this CA that are not on record, as after a restore, and"
        " record them; whether one was revoked nobody knows, unless `[crls]` has a list",
    ),
)  # fmt: skip


def read_renewal_rules(table: TomlTable) -> RenewalRules:
    """Return what a profile's table says of renewals."""
    return RenewalRules(
        same_key_renewals=table.optional_integer(
            "same_key_renewals", least=0, most=SAME_KEY_RENEWALS_MAX
        ),
        same_key_days=table.optional_integer("same_key_days", least=1, most=SAME_KEY_DAYS_MAX),
        certificates_per_name=table.optional_integer(
            "certificates_per_name", least=1, most=PER_NAME_MAX
        ),
        adopt_unknown=table.flag("adopt_unknown", False),
    )
