"""`[renewal_info]` of est.toml: when clients are told to renew, and who may ask."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from est_core import RENEWAL_INFO, Authentication, LocalProtocolError, RemoteProtocolError
from est_core.codec.timestamps import parse_timestamp
from est_core.operations.renewal_info import RETRY_MAX_S, RETRY_MIN_S
from est_core.values import value_class
from est_transports.authority.renewal_windows import RenewalSchedule, renewal_serials
from est_transports.service.config.key import Key
from est_transports.toml.tables import TomlTable

_WITHIN_MAX_S: Final = 366 * 86400.0

RENEWAL_INFO_KEYS: Final = (
    Key(
        name="enabled",
        meaning="answer `/renewal-info`: when to renew a certificate of this CA",
    ),
    Key(
        name="authentication", kind="word",
        meaning="who may ask; over CoAP a certificate is always needed",
    ),
    Key(
        name="begin_percent", counted="percent",
        meaning="of a certificate's life, when the first devices are told to renew",
    ),
    Key(
        name="end_percent", counted="percent",
        meaning="when all have been; more than twice `begin_percent` keeps a fleet even",
    ),
    Key(
        name="retry_after_s",
        meaning="when to ask again, a quarter less or more for each certificate",
    ),
    Key(
        name="renew_before", kind="date and time such as `\"2026-11-27T18:00:00Z\"`",
        meaning="certificates that were issued until then are to be renewed from then on",
    ),
    Key(
        name="renew_now", kind="serial numbers in hexadecimal",
        meaning="certificates that are to be renewed at once",
    ),
    Key(
        name="renew_within_s",
        meaning="the time that those of `renew_before` are spread over",
    ),
)  # fmt: skip


@value_class
class RenewalInfoConfig:
    """Whether clients are told when to renew, when that is, and who may ask."""

    enabled: bool = True
    authentication: Authentication = RENEWAL_INFO.authentication
    schedule: RenewalSchedule = RenewalSchedule()


def read_renewal_info(table: TomlTable) -> RenewalInfoConfig:
    """Return what `[renewal_info]` says. Raises ConfigError."""
    usual = RenewalInfoConfig()
    words = {each.value: each for each in Authentication}
    schedule = usual.schedule
    config = RenewalInfoConfig(
        enabled=table.flag("enabled", usual.enabled),
        authentication=table.choice("authentication", words, usual.authentication),
        schedule=RenewalSchedule(
            **_percents(table, schedule),
            retry_after_s=table.integer(
                "retry_after_s", schedule.retry_after_s, least=RETRY_MIN_S, most=RETRY_MAX_S
            ),
            renew_before=_moment(table),
            renew_within_s=table.seconds(
                "renew_within_s", schedule.renew_within_s, most=_WITHIN_MAX_S
            ),
            renew_now=_serials(table),
        ),
    )
    table.done()
    return config


def _percents(table: TomlTable, usual: RenewalSchedule) -> dict[str, int]:
    begin = table.integer("begin_percent", usual.begin_percent, least=1, most=98)
    end = table.integer("end_percent", usual.end_percent, least=2, most=99)
    if begin >= end:
        raise table.error("end_percent", f"is not more than begin_percent, {begin}")
    return {"begin_percent": begin, "end_percent": end}


def _moment(table: TomlTable) -> datetime | None:
    text = table.optional_text("renew_before")
    try:
        return None if text is None else parse_timestamp(text)
    except RemoteProtocolError as exc:
        raise table.error(
            "renew_before", f"{text!r} is no date and time such as 2026-11-27T18:00:00Z"
        ) from exc


def _serials(table: TomlTable) -> frozenset[str]:
    try:
        return renewal_serials(table.texts("renew_now"))
    except LocalProtocolError as exc:
        raise table.error("renew_now", exc.message) from exc
