"""Trust that follows: which anchors a pair has after the CA certificates were fetched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from est_core import LocalProtocolError
from est_core.trust import Followed, TrustedAnchors, follow, trust_of
from est_transports.pairs.values import Pair


def followed(
    running: Pair,
    dates: str,
    bag: Sequence[x509.Certificate],
    now: datetime,
    *,
    shown: Sequence[x509.Certificate] = (),
) -> Followed | None:
    """Return what the anchors of a pair become, given what a server answered to /cacerts.

    `shown` is the server's own certificate with what it sent along: anchors that this one, or the
    pair's, hangs on are not dropped. `dates` is what `trust_text` wrote, "" at first; another text
    counts for nothing. None where the pair has more anchors than anybody follows.
    """
    try:
        try:
            trust = trust_of(dates, running.anchors, now=now)
        except LocalProtocolError:
            trust = TrustedAnchors.of(running.anchors, now=now)
    except LocalProtocolError:
        return None
    return follow(trust, bag, now=now, in_use=(running.certificate, *running.chain, *shown))
