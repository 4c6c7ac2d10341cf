"""An entry of the audit file for people: who, what, why, what to do, and where to look next.

Cause and remedy are those of the table of error codes, which the client prints too.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from est_core.error_codes import Audience, ErrorCode
from est_transports.error_codes import find_error_code
from est_transports.service.audit import AuditEvent, Entry

_WHO: Final = {
    Audience.USER: "whoever runs the client",
    Audience.OPERATOR: "the operator of this server",
    Audience.AUTHOR: "the author of the client's program",
}
_OF_CODES: Final = frozenset(
    {"auth/code-expired", "auth/code-label", "auth/code-of-another", "auth/code-spent"}
)
"""Codes about one-time codes."""
_HERE: Final = {
    "auth/certificate-not-accepted": (
        "a CA under [manufacturers.NAME], or in client_trust of [tls], counts from a reload on"
    ),
    "path/not-offered": "a label that was added to est.toml is there from a reload on",
}
"""What an operator may have left out, which is no business of the client."""
_HEADS: Final = {
    AuditEvent.REFUSED.value: "refused",
    AuditEvent.ERROR.value: "failed here",
    AuditEvent.LOST.value: "the client did not wait",
    AuditEvent.HANDSHAKE.value: "failed in the handshake",
}


def told(entry: Entry, directory: Path) -> Iterator[str]:
    """Yield the lines that explain an entry, each with a word for what it tells."""
    head = _HEADS.get(_text(entry, "event"), _text(entry, "event"))
    refusal = _text(entry, "refusal")
    yield f"{f'{refusal}: ' if refusal else ''}{head} at {_text(entry, 'time')}"
    for word, text in _rows(entry, directory):
        yield f"  {word + ':':<10} {text}"


def explained(entry: Entry, directory: Path) -> dict[str, object]:
    """Return an entry with what the table says about its code, and the commands to go on with."""
    row = _table_row(entry)
    return {
        **entry,
        "cause": None if row is None else _plain(row.cause),
        "remedy": None if row is None else _plain(row.remedy),
        "who": None if row is None else row.audience.value,
        "here": None if row is None else _HERE.get(row.code),
        "next": list(_commands(entry, directory)),
    }


def _rows(entry: Entry, directory: Path) -> Iterator[tuple[str, str]]:
    row = _table_row(entry)
    yield "client", _client(entry)
    if shown := _certificate(entry, "shown"):
        yield "showed", shown
    yield from _asked(entry)
    yield ("answer" if entry.get("status") else "failed"), _answer(entry)
    if note := _text(entry, "note"):
        yield "note", note
    if issued := _certificate(entry, "issued"):
        yield "issued", issued
    if row is None:
        yield "cause", "no code of this table: the application behind this server documents it"
    else:
        yield "cause", _plain(row.cause)
        yield "remedy", f"{_plain(row.remedy)} ({_can(row)})"
        if here := _HERE.get(row.code):
            yield "here", here
    for command in _commands(entry, directory):
        yield "next", command


def _table_row(entry: Entry) -> ErrorCode | None:
    """Return what the table says of an entry's code.

    Who showed a certificate that does not count, and was asked for something else, has that
    certificate explained: to be asked is no refusal.
    """
    code = _text(entry, "code")
    shown = entry.get("shown")
    if code == "auth/missing" and isinstance(shown, Mapping):
        code = str(shown.get("code", code))
    return find_error_code(code)


def _can(row: ErrorCode) -> str:
    return f"{_WHO[row.audience]} can do that"


def _client(entry: Entry) -> str:
    parts = []
    if user := _text(entry, "user"):
        parts.append(f"user {user}")
    if device := _text(entry, "maker"):
        parts.append(f"manufacturer's device {device}")
    if certificate := _certificate(entry, "certificate"):
        parts.append(f"certificate {certificate}")
    if tried := _text(entry, "tried"):
        parts.append(f"calls itself {tried}")
    return f"{' and '.join(parts) or 'nobody known'}, from {_text(entry, 'peer') or 'nowhere'}"


def _asked(entry: Entry) -> Iterator[tuple[str, str]]:
    operation, label = _text(entry, "operation"), _text(entry, "label")
    if operation or _text(entry, "target"):
        under = f" under label {label}" if label else ""
        asked = _text(entry, "target") or operation
        yield "asked for", f"{asked}{under}, over {_text(entry, 'wire')}"
    requested = entry.get("requested")
    if isinstance(requested, dict):
        names = requested.get("names")
        texts = [str(requested.get("subject", "")) or "an empty subject"]
        texts += [str(each) for each in names] if isinstance(names, list) else []
        more = requested.get("names_more")
        yield "names", ", ".join(texts) + (f" and {more} more" if more else "")


def _answer(entry: Entry) -> str:
    status, code, reason = entry.get("status"), _text(entry, "code"), _text(entry, "reason")
    number = f"{_status(status, _text(entry, 'wire'))} " if status else ""
    return f"{number}{code}{f': {reason}' if reason else ''}"


def _status(status: object, wire: str) -> str:
    if wire == "coaps" and isinstance(status, int):
        return f"{status // 100}.{status % 100:02}"
    return str(status)


def _certificate(entry: Entry, key: str) -> str:
    found = entry.get(key)
    if not isinstance(found, dict):
        return ""
    serial = found.get("serial")
    named = str(found.get("subject") or ("" if serial is None else "without a subject"))
    text = f"{named} (serial {serial})" if serial else named
    failure = found.get("failure")
    return f"{text}: {failure}".lstrip(": ") if failure else text


def _commands(entry: Entry, directory: Path) -> Iterator[str]:
    """Yield what shows more about it, as it is typed."""
    code, user = _text(entry, "code"), _text(entry, "user") or _text(entry, "tried")
    where = shlex.quote(str(directory))
    serial = _serial(entry)
    if code.startswith("names/"):
        device = f"show {where} {shlex.quote(user)}" if user else f"list {where}"
        yield f"est device {device}"
    elif code in _OF_CODES:
        yield f"est otp list {where}"
    elif code in ("auth/wrong-credentials", "auth/conflicting-credentials", "server/busy"):
        yield f"est user list {where}"
    elif serial and code.startswith(("renewal/", "auth/certificate-revoked")):
        yield f"est certs show {where} {shlex.quote(serial)}"
    elif code.startswith(("profile/", "csrattrs/", "path/")):
        yield f"less {shlex.quote(str(directory / 'est.toml'))}"


def _serial(entry: Entry) -> str:
    certificate = entry.get("certificate")
    return str(certificate.get("serial", "")) if isinstance(certificate, Mapping) else ""


def _text(entry: Entry, key: str) -> str:
    found = entry.get(key, "")
    return found if isinstance(found, str) else str(found)


def _plain(text: str) -> str:
    return text.replace("`", "")  # of a page's markup
