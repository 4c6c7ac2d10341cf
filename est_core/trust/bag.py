"""Sorts the certificates of CAs in a bag: whose they are, and which are roots and which are not."""

from __future__ import annotations

from collections.abc import Iterable

from est_core.trust.anchors import anchor_id
from est_core.trust.facts import CaFacts, Signatures
from est_core.trust.links import Problem


class CaInBag:
    """The certificates in a bag of one CA: of one name and one key.

    `links` are those that another key has signed: a root's link, and as well an issuing CA's
    certificate, until a root of the same CA is found. `problem` is why it is no trust anchor, as
    far as that has come out, and `blamed` the link that was found wanting.
    """

    def __init__(self) -> None:
        self.roots: list[CaFacts] = []
        self.links: list[CaFacts] = []
        self.problem: Problem | None = None
        self.blamed: CaFacts | None = None

    @property
    def root(self) -> CaFacts | None:
        """Its newest self-signed certificate."""
        return max(self.roots, key=lambda each: each.age, default=None)

    def refuse(self, problem: Problem, link: CaFacts) -> None:
        """Keep the first problem that was found."""
        if self.problem is None:
            self.problem, self.blamed = problem, link


def cas_of(bag: Iterable[CaFacts], signatures: Signatures) -> dict[str, CaInBag]:
    """Return the CAs of a bag by their `anchor_id`."""
    cas: dict[str, CaInBag] = {}
    for facts in bag:
        ca = cas.setdefault(anchor_id(facts.certificate), CaInBag())
        # A link has the root's name as its issuer too. What tells them apart is who signed.
        is_root = facts.may_be_from(facts) and signatures.verify(facts, facts)
        (ca.roots if is_root else ca.links).append(facts)
    return cas
