"""Judges a link certificate: whether an anchor may vouch by it for a new root. RFC 4210 4.4.

The new root is to be trusted for no more than path validation (RFC 5280 6) under the old anchor
allows, but for its dates. So the link is validated in full, and a root that claims more than its
link or the old anchor do is refused: a longer path, or without their name constraints.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from est_core.trust.anchors import TrustPolicy
from est_core.trust.facts import NARROWING, CaFacts, weak_key
from est_core.values import unchecked_value_class

_NO_BOUND: Final = 1 << 31


@unchecked_value_class
class Problem:
    """Why something is refused: a stable code, and words that fit after the root's name."""

    code: str
    text: str


def root_problem(root: CaFacts, now: datetime) -> Problem | None:
    """Return what is wrong with a new root by itself. Its self-signature has been verified."""
    if root.flaw:
        return Problem(code="trust/root-unfit", text=root.flaw)
    if root.weakness:
        return Problem(code="trust/weak", text=root.weakness)
    if not root.begin <= now <= root.end:
        return Problem(code="trust/root-dates", text=f"it is {_when(root, now)}")
    return None


def link_problem(
    link: CaFacts, root: CaFacts, anchor: CaFacts, now: datetime, policy: TrustPolicy
) -> Problem | None:
    """Return why `link` does not make `root` an anchor on the word of `anchor`, or None.

    Its signature is to be verified after that: it costs most.
    """
    return (
        _dates_problem(link, anchor, now, policy)
        or _fitness_problem(link, anchor)
        or _names_problem(link, root, anchor, policy)
        or _width_problem(link, root, anchor)
    )


def _dates_problem(
    link: CaFacts, anchor: CaFacts, now: datetime, policy: TrustPolicy
) -> Problem | None:
    late = timedelta(seconds=policy.late_s)
    for what, code, facts in (
        ("the trust anchor that vouches for it", "trust/anchor-dates", anchor),
        ("its link certificate", "trust/link-dates", link),
    ):
        # Not end + late, for which there is no date behind the year 9999.
        if now < facts.begin or now - facts.end > late:
            return Problem(code=code, text=f"{what} is {_when(facts, now)}")
    return None


def _fitness_problem(link: CaFacts, anchor: CaFacts) -> Problem | None:
    if link.flaw:
        return Problem(code="trust/link-unfit", text=f"its link certificate: {link.flaw}")
    if not anchor.is_self_issued:
        text = "its link certificate was issued by a trust anchor that is no root itself"
        return Problem(code="trust/link-unfit", text=text)
    if anchor.flaw:
        return Problem(code="trust/link-unfit", text=f"the trust anchor of its link: {anchor.flaw}")
    if link.weakness:
        return Problem(code="trust/weak", text=f"its link certificate: {link.weakness}")
    weakness = weak_key(anchor.certificate)
    if weakness:
        return Problem(code="trust/weak", text=f"the trust anchor of its link: {weakness}")
    return None


def _names_problem(
    link: CaFacts, root: CaFacts, anchor: CaFacts, policy: TrustPolicy
) -> Problem | None:
    if None not in (link.key_id, root.key_id) and link.key_id != root.key_id:
        return Problem(
            code="trust/key-identifier",
            text="its subjectKeyIdentifier is not that of its link certificate",
        )
    if not link.is_self_issued and not policy.renamed:
        return Problem(
            code="trust/renamed",
            text="it has another name than the trust anchor that certified its key, "
            "as an issuing CA of that anchor has",
        )
    if not link.is_self_issued and anchor.path_length == 0:
        # A self-issued certificate does not count. RFC 5280 6.1.4 (l).
        return Problem(
            code="trust/wider",
            text="the path length of the trust anchor does not allow another CA below it",
        )
    if root.age <= anchor.age:
        return Problem(
            code="trust/not-newer", text="it is no newer than the trust anchor that certified it"
        )
    return None


def _width_problem(link: CaFacts, root: CaFacts, anchor: CaFacts) -> Problem | None:
    for what, above in (("its link certificate", link), ("the trust anchor", anchor)):
        if _room(root) > _room(above):
            return Problem(
                code="trust/wider", text=f"it allows longer paths than {what} (pathLenConstraint)"
            )
        for oid, value in above.narrowing.items():
            if root.narrowing.get(oid) != value:
                return Problem(
                    code="trust/wider", text=f"it has not the {NARROWING[oid]} of {what}"
                )
    return None


def _room(facts: CaFacts) -> int:
    return _NO_BOUND if facts.path_length is None else facts.path_length


def _when(facts: CaFacts, now: datetime) -> str:
    if now < facts.begin:
        return f"valid from {facts.begin:%Y-%m-%d %H:%M} on, and the time is {now:%Y-%m-%d %H:%M}"
    return f"expired since {facts.end:%Y-%m-%d %H:%M}, and the time is {now:%Y-%m-%d %H:%M}"
