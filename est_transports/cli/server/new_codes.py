"""One-time codes that are made now: their records, and the CSV in which they are handed out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

from est_transports import _clock
from est_transports.authority.authentication.server_secret import ServerSecret, new_code
from est_transports.authority.stores import CodeRecord
from est_transports.cli.describe import moment


def made_codes(count: int) -> list[str]:
    """Return so many new codes."""
    return [new_code(_clock.entropy) for _ in range(count)]


def codes_csv(records: Sequence[CodeRecord], codes: Sequence[str]) -> str:
    """Return a CSV with a head: the name, the code, and until when it is taken."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "code", "expires"))
    writer.writerows(
        (record.name, code, moment(record.expires_at))
        for record, code in zip(records, codes, strict=True)
    )
    return text.getvalue()


def hashed_codes(
    records: Sequence[CodeRecord], codes: Sequence[str], secret: ServerSecret
) -> list[CodeRecord]:
    """Return the records, each with the keyed hash of its code."""
    found = []
    for record, code in zip(records, codes, strict=True):
        digest = secret.code_digest(code)
        if digest is None:
            raise ValueError("a new code cannot be read")
        found.append(replace(record, digest=digest))
    return found
