"""Which trust anchors are still needed: those that some certificates hang on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cryptography import x509

from est_core.trust.anchors import anchor_id
from est_core.trust.facts import CaFacts, Signatures, facts_of

_CHAIN_MAX: Final = 16  # CAs between a certificate and its anchor


def needed_anchors(
    in_use: Iterable[x509.Certificate],
    bag: Sequence[CaFacts],
    anchors: Mapping[str, CaFacts],
    signatures: Signatures,
) -> set[str]:
    """Return which of the anchors these certificates lead up to, through each other or the bag.

    The first anchor on the way up is where it stops: the link of that one would lead on to the
    next older one, which is not needed for it.
    """
    given = [each for each in map(facts_of, in_use) if each is not None]
    cas = [each for each in (*given, *bag) if not each.flaw]
    needed: set[str] = set()
    seen: set[bytes] = set()
    todo = deque((each, 0) for each in given)
    while todo:
        facts, depth = todo.popleft()
        own = anchor_id(facts.certificate)
        above = {own} if own in anchors else _issuers(facts, anchors, signatures)
        needed |= above
        if above or depth == _CHAIN_MAX:
            continue
        for issuer in cas:
            key = issuer.subject + issuer.key
            if key not in seen and facts.may_be_from(issuer) and signatures.verify(facts, issuer):
                seen.add(key)
                todo.append((issuer, depth + 1))
    return needed


def _issuers(facts: CaFacts, anchors: Mapping[str, CaFacts], signatures: Signatures) -> set[str]:
    return {
        name
        for name, anchor in anchors.items()
        if facts.may_be_from(anchor) and signatures.verify(facts, anchor)
    }
