"""Who is told of finished requests, the log first: a line for each, as text or as JSON.

Nothing is configured by importing this: loggers are those of the standard library, named
"est_transports" and "est_transports.requests".
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from est_core import Channel, ClientIdentity, TlsVersion
from est_core.arguments import checked
from est_core.checks.identity import may_be_registration_authority
from est_transports.drive.authentication_results import AuthenticationOutcome, Judged
from est_transports.drive.records import Record
from est_transports.pki.names import subject_text
from est_transports.pki.serials import printed_serial

_log: Final = logging.getLogger("est_transports")
_requests: Final = logging.getLogger("est_transports.requests")

FIELDS: Final = "est_fields"
"""Attribute of a LogRecord that holds its values; the message is the same as text."""

_SHOWN_CHARS: Final = 256
_CAP_TLS: Final = '[tls] max_version = "1.2" in est.toml has all clients use TLS 1.2'
_UNLISTED_RA: Final = (
    "its certificate is for id-kp-cmcRA and not in [ra] of est.toml: taken for any other client"
)
_NOBODY_JUDGED: Final[Mapping[str, object]] = {"auth": "", "tried": "", "auth_ms": None}
_QUOTED: Final = frozenset(' "=\\')

_ANOTHER: Final = re.compile(r"\s(user|maker|cert):")

Observe = Callable[[Record], None]
"""Told of every finished request. Must be quick: it runs on the connection's own time."""


@checked
def ignore(_record: Record) -> None:
    """Observe nothing."""


@checked
def notify(observe: Observe, record: Record) -> None:
    """Tell the observer; what it raises goes to the log and no further."""
    try:
        observe(record)
    except Exception:  # noqa: BLE001  # whatever an observer may raise
        _log.exception("the observer failed")


@checked
def observers(*each: Observe) -> Observe:
    """Return an observer that tells all of these; what one raises keeps it from no other."""

    def observe(record: Record) -> None:
        for one in each:
            notify(one, record)

    return observe


@checked
def request_fields(record: Record) -> dict[str, object]:
    """Return what is logged about a request; None and "" stand for what there is not.

    `identity` is user:NAME, maker:MANUFACTURER/VALUE and cert:SUBJECT, those of them there are; one
    that holds the beginning of another is quoted, as JSON does it. Before them stands "expired" for
    a certificate that is taken though it has.
    Lengths are bounded by the limits on what a client may send. `refusal` is the id by which the
    client can name it. `auth` has the scheme and the outcome of credentials, `tried` whom those
    that were refused name, `auth_ms` how long the application took for them.
    """
    return {
        "peer": record.peer,
        "wire": record.wire.value,
        "operation": _asked_for(record),
        "label": record.label.text if record.label else "",
        "identity": " ".join(_identities(record.identity)),
        "status": record.status,
        "code": record.code,
        "serial": printed_serial(record.issued.serial_number) if record.issued else "",
        "ms": round(record.seconds * 1000, 1),
        "reason": _reason(record),
        "refusal": record.refusal_id,
        **_authentication_fields(record.judged),
    }


def _identities(identity: ClientIdentity) -> Iterator[str]:
    """Yield all that a client is, each so that nothing in it reads as another."""
    if identity.is_expired:
        yield "expired"  # first, where no name can say it
    if identity.user:
        yield f"user:{_unmistakable(identity.user)}"
    if identity.manufacturer is not None:
        yield f"maker:{_unmistakable(str(identity.manufacturer))}"
    if identity.certificate is not None:
        yield f"cert:{_unmistakable(subject_text(identity.certificate))}"


def _unmistakable(text: str) -> str:
    """Return a text as it is, quoted where it could be taken for two: "x maker:acme/4711"."""
    is_plain = not text.startswith('"') and not _ANOTHER.search(text)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _authentication_fields(judged: tuple[Judged, ...]) -> Mapping[str, object]:
    """What became of credentials, in the line of the request: a line of its own would double it.

    Who shows none is asked for some: that is what the code "auth/missing" says.
    """
    if not judged:
        return _NOBODY_JUDGED
    told = [each for each in judged if each.scheme is not None]
    refused = [each.user for each in told if each.outcome is not AuthenticationOutcome.ACCEPTED]
    return {
        "auth": " ".join(
            f"{each.scheme.value}/{each.outcome.value}" for each in told if each.scheme
        ),
        "tried": "".join(refused),
        "auth_ms": round(sum(each.seconds for each in told) * 1000, 1) if told else None,
    }


def _asked_for(record: Record) -> str:
    """The operation, or the path where there is none, or one with a label that does not exist."""
    if record.operation is None or record.code.startswith("path/"):
        return record.target
    return record.operation.name


def _reason(record: Record) -> str:
    """What the client was told, and what beside it helps the operator.

    That is what the application noted, what is wrong with the certificate that the client showed,
    or how clients come to link their requests that take TLS 1.3 for a version with tls-unique.
    """
    channel = record.channel
    on_1_3 = channel is not None and channel.version is TlsVersion.TLS_1_3
    notes = [record.note] if record.note else []
    if channel is not None and _is_unlisted_ra(record, channel):
        notes.append(_UNLISTED_RA)
    if not record.code:
        return "; ".join(notes) or record.reason
    if channel is not None and channel.failure:
        shown = channel.peer_certificate
        # Nobody vouches for it: a name of 64 KiB would be repeated with each small request.
        whose = "" if shown is None else f"{subject_text(shown)[:_SHOWN_CHARS]}: "
        notes.append(f"{whose}{channel.failure}")
    if record.code == "pop/mismatch" and on_1_3:
        notes.append(_CAP_TLS)
    beside = f"({'; '.join(notes)})" if notes else ""
    return f"{record.reason} {beside}".strip()  # a 401 has no text


def _is_unlisted_ra(record: Record, channel: Channel) -> bool:
    """True for a client that might have sent a request of another, had somebody listed it."""
    operation, identity = record.operation, record.identity
    return (
        operation is not None
        and operation.is_enrollment
        and identity.certificate is not None
        and not identity.is_ra
        and may_be_registration_authority(channel)
    )


@checked
def log_request(record: Record) -> None:
    """Write one line about a finished request; an `Observe` for the servers.

    A failure of ours is an error, everything else information: refusing is the server's work.
    """
    values = request_fields(record)
    level = logging.ERROR if record.status == 500 else logging.INFO
    _requests.log(level, "%s", _KeyValues(values), extra={FIELDS: values})


class _KeyValues:
    """Values that become text when a formatter asks for it, which that for JSON does not."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __str__(self) -> str:
        return key_values(self._values)


@checked
def key_values(values: Mapping[str, object]) -> str:
    """Return the values as `key=value`, quoted where they need it, "-" for nothing.

    What a peer sent can neither end the line nor pretend to be another key.
    """
    return " ".join(f"{key}={_value(value)}" for key, value in values.items())


class TextFormatter(logging.Formatter):
    """Time in UTC, level and message, on one line but for tracebacks."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line with everything a terminal might obey replaced by "?"."""
        line = f"{_time(record)} {record.levelname} {record.getMessage()}"
        return "".join(char if char.isprintable() else "?" for char in line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, process, and message or the values of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        values: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "pid": record.process,
        }
        fields = getattr(record, FIELDS, None)
        values |= fields if isinstance(fields, dict) else {"message": record.getMessage()}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: object) -> str:
    text = str(value)
    if value is None or not text:
        return "-"
    if text == "-" or not text.isprintable() or not _QUOTED.isdisjoint(text):
        return json.dumps(text)
    return text
