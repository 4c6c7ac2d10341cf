"""Which trust anchors a client has, and how a new root becomes one without anybody at hand."""

from __future__ import annotations

from est_core.trust.anchors import (
    DroppedAnchor,
    KnownAnchor,
    TrustedAnchors,
    TrustPolicy,
    anchor_id,
)
from est_core.trust.following import AddedAnchor, Followed, RefusedRoot, follow
from est_core.trust.saved import trust_of, trust_text

__all__ = [
    "AddedAnchor",
    "DroppedAnchor",
    "Followed",
    "KnownAnchor",
    "RefusedRoot",
    "TrustPolicy",
    "TrustedAnchors",
    "anchor_id",
    "follow",
    "trust_of",
    "trust_text",
]
