"""What to do about an error, in the words of est-agent.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from est_core.life_cycle import Alarm, WhenExpired
from est_transports.cli.client import hints

_IN_FILE: Final = (
    (
        "with --trust CA.pem",
        "as trust in est-agent.toml (where there is a certificate, its trust.pem)",
    ),
    ("with --timeout", "with connect_s, handshake_s or response_s in est-agent.toml"),
    (
        "USER@HOST:PORT, and --proxy-password-file",
        "http://USER:PASSWORD@HOST:PORT in est-agent.toml",
    ),
    ("--cert and --key", "identity_certificate and identity_key in est-agent.toml"),
    ("--user NAME", "user and password_file in est-agent.toml"),
    ("--pop never", 'pop = "never" in est-agent.toml'),
    ("--tls-exporter", "tls_exporter = true in est-agent.toml"),
)


def remedy(code: str) -> str:
    """Return what the table says to do about a code, "" for one that is not in it."""
    text = hints.remedy(code)
    for option, key in _IN_FILE:
        text = text.replace(option, key)
    return text


_EXPIRED: Final = {
    WhenExpired.STOP: 'where the clock is right, set when_expired to "renew" or "enroll" in '
    "est-agent.toml, whichever the server allows, and run `est renew`",
    WhenExpired.RENEW: "renewing is tried all the same; if the server refuses, "
    'set when_expired = "enroll" in est-agent.toml',
    WhenExpired.ENROLL: "enrolling is tried again; see that its credentials are still good",
}
_ALARMS: Final[Mapping[Alarm, str]] = {
    Alarm.LATE: "little of its life is left; mend why renewals fail, and run `est renew`",
    Alarm.CLOCK_BEHIND: "set this machine's clock, which is behind what is known for certain",
    Alarm.CLOCK_AHEAD: "check this machine's clock: it was past the end of this certificate "
    "when that came",
}


def alarm_lines(alarms: Iterable[Alarm], when_expired: WhenExpired) -> list[str]:
    """Return for each alarm what it is and what to do about it."""
    advice = {**_ALARMS, Alarm.EXPIRED: _EXPIRED[when_expired]}
    return [f"{each.value}: {advice[each]}" for each in sorted(alarms, key=lambda a: a.value)]
