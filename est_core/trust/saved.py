"""The dates of trust anchors as text, for a file beside the anchors: one JSON object.

The text has the dates and no certificates; they are where other programs read them too. So a file
of certificates that was changed by hand, or written just before the power failed, and this text
need not be of one moment: an anchor that the text does not know is trusted since now, and what
the text knows of a certificate that is not there is forgotten. Neither loses trust, and neither
makes any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.trust.anchors import (
    DroppedAnchor,
    KnownAnchor,
    TrustedAnchors,
    anchor_id,
    check_utc,
)

TEXT_MAX_CHARS: Final = 64 * 1024
"""More than 64 anchors and 64 former ones have."""
_DATES: Final = ("since", "superseded_at", "drop_after")
_ID: Final = re.compile("[0-9a-f]{64}")


@checked
def trust_text(trust: TrustedAnchors) -> str:
    """Return the dates of these anchors as one line of JSON, to be read by `trust_of`."""
    anchors = {anchor_id(each.certificate): _dates(each) for each in trust.anchors}
    dropped = {each.anchor_id: each.at.isoformat() for each in trust.dropped}
    return json.dumps({"anchors": anchors, "dropped": dropped})


@checked
def trust_of(
    text: str, certificates: Iterable[x509.Certificate], *, now: datetime
) -> TrustedAnchors:
    """Return these anchors with the dates that `trust_text` wrote.

    Raises LocalProtocolError for any other text; a client then goes on with
    `TrustedAnchors.of(certificates, now=now)`.
    """
    if len(text) > TEXT_MAX_CHARS:
        raise LocalProtocolError(f"dates of trust anchors have at most {TEXT_MAX_CHARS} characters")
    bare = TrustedAnchors.of(certificates, now=now)
    try:
        values = json.loads(text)
        known = {_id(name): _read(dates) for name, dates in values["anchors"].items()}
        gone = {_id(name): _moment(at) for name, at in values["dropped"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise LocalProtocolError("those are no dates of trust anchors") from exc
    present = {anchor_id(each.certificate): each for each in bare.anchors}
    return TrustedAnchors(
        anchors=tuple(
            KnownAnchor(certificate=each.certificate, **known[name]) if name in known else each
            for name, each in present.items()
        ),
        # One that was dropped and is there again was put there by hand.
        dropped=tuple(
            DroppedAnchor(anchor_id=name, at=at) for name, at in gone.items() if name not in present
        ),
    )


def _dates(anchor: KnownAnchor) -> dict[str, str]:
    moments = ((name, getattr(anchor, name)) for name in _DATES)
    return {name: at.isoformat() for name, at in moments if at is not None}


def _read(dates: Mapping[str, Any]) -> dict[str, datetime]:
    """Return the dates of one anchor. Raises ValueError unless they are those of one."""
    if set(dates) not in ({"since"}, set(_DATES)):
        raise ValueError("an anchor has one date, or all three")
    return {name: _moment(dates[name]) for name in _DATES if name in dates}


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    check_utc(moment)
    return moment


def _id(text: Any) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("an anchor_id is a SHA-256 in small hexadecimal digits")
    return str(text)
