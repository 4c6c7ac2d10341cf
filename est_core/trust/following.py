"""Follows a CA to its new root: from the anchors known, an answer of /cacerts and the time.

RFC 7030 4.1.3; RFC 4210 4.4. While a CA changes its key its answer holds up to four certificates of
itself: the old root (OldWithOld), the new one (NewWithNew), and each key certified with the other
one: OldWithNew, and NewWithOld, the link. The answer is a bag without an order, and whatever is in
it is not trusted for being there (RFC 5272 4.1).

What makes a new root an anchor is its link alone: a certificate with the subject and the public
key of the self-signed root that an anchor has issued, validated in full under that anchor. An
anchor that was just accepted may vouch for the next one, so a client that slept through several
generations follows all of them from one bag, whose order makes no difference.

Why the link is demanded of a bag that came over TLS. The server was verified with the explicit
anchors, so the bag is from the EST server, and was not changed on the way. But that proves the key
of a TLS server, which is online, often held by others than the CA's, and replaced every year;
whoever steals it could otherwise hand out a root of its own, that stays when the theft is over. The
link is signed with the key of the CA itself. What TLS adds: nobody on the way can withhold a new
root or play back an old bag, and a bag from elsewhere is not even looked at. RFC 7030 4.1.3 asks
for one of the two; this asks for the link in any case.

An issuing CA cannot make itself an anchor. Its certificate has the form of a link: issued by the
root, a CA's. Signing itself it could pose as a new root, which outlives its own end and its
revocation. So a link is *self-issued*: issuer and subject are one name (RFC 5280 3.2), as a root's
that changes its key. `TrustPolicy.renamed` gives that up, for a CA that takes another name with its
new key; it is for clients of which every CA below the anchor is guarded as well as the root itself.
And an issuing CA that is an anchor itself, as in a file that has the whole chain, vouches for
nobody: only a root goes over to a new key so. Nor is a generation skipped: for a key to vouch for
others its root has to be in the bag, and not just the link to it.

It goes forward only. A root that is older than the anchor that certified it is not accepted
(OldWithNew has the form of a link, from new to old), nor one that was dropped before. So loops of
cross-certificates end, and each call ends: every step adds an anchor, which are bounded, and so are
the signatures that are verified.

An anchor that has expired vouches for nobody, nor does an expired link. Its key may have been
thrown away, sold or published since, and nobody revokes what has expired. A client that was away
until its anchor expired needs a person: a fingerprint again. `TrustPolicy.late_s` opens that for
those who know that the key is still guarded. It does not help the TLS connection, for no server is
verified with an anchor that has expired.

Old anchors stay: for `keep_old_s`, and beyond that while something hangs on them. One is dropped
only when another one that has no successor is there and valid, and never because a bag does not
list it: an answer may be cut short, or come from a server that was set up halfway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from est_core.arguments import checked
from est_core.trust.anchors import (
    ANCHORS_MAX,
    DROPPED_MAX,
    DroppedAnchor,
    KnownAnchor,
    TrustedAnchors,
    TrustPolicy,
    age_order,
    anchor_id,
    check_utc,
)
from est_core.trust.bag import CaInBag, cas_of
from est_core.trust.facts import CaFacts, Signatures, facts_of
from est_core.trust.links import Problem, link_problem, root_problem
from est_core.trust.needed import needed_anchors
from est_core.values import value_class

BAG_MAX: Final = 1024
"""A bag with more certificates is not looked at; `Limits.certificates` lets in fewer."""
SIGNATURES_MAX: Final = 4 * BAG_MAX
"""So many signatures are verified at most, which takes about a second."""
_TOO_MANY: Final = Problem(
    code="trust/too-many", text="there is more in the answer than a client looks at"
)
_FORMER: Final = frozenset({"trust/dropped", "trust/not-newer"})
_NOT_SIGNED: Final = Problem(
    code="trust/link-signature",
    text="its link certificate is not signed with the key of the trust anchor that it names",
)
_ALONE: Final = Problem(
    code="trust/link-alone",
    text="the answer has a link certificate, and not the root that it is for",
)
_NO_LINK: Final = Problem(
    code="trust/no-link", text="the answer has no link certificate that vouches for it"
)
_OTHER_KEY: Final = Problem(
    code="trust/key-identifier",
    text="its link certificate names another key than that of the trust anchor of this name",
)
_UNKNOWN_ISSUER: Final = Problem(
    code="trust/unknown-issuer", text="its link certificate was issued by no trust anchor"
)
_DROPPED_ISSUER: Final = Problem(
    code="trust/unknown-issuer",
    text="its link certificate was issued by a trust anchor that has been dropped",
)


@value_class
class AddedAnchor:
    """A root that is trusted from now on, and what for.

    `link` is its link certificate, and `issuer` the anchor that signed that. `link` is None where
    a known anchor has a new certificate for the same key, and `issuer` is the former one.
    """

    anchor: x509.Certificate
    issuer: x509.Certificate
    link: x509.Certificate | None = None


@value_class
class RefusedRoot:
    """A root of the bag that is not trusted: `code` and `reason` say why.

    `link` is the certificate that was found wanting, if there was one. `root` is None where the
    bag has a link and not the root that it is for.
    """

    root: x509.Certificate | None
    code: str
    reason: str
    link: x509.Certificate | None = None

    @property
    def is_former(self) -> bool:
        """True for what the CA has left behind: an old root that nobody has to be told of."""
        return self.code in _FORMER


@value_class
class Followed:
    """What is trusted from now on, and what that changed."""

    trust: TrustedAnchors
    added: tuple[AddedAnchor, ...] = ()
    dropped: tuple[KnownAnchor, ...] = ()
    refused: tuple[RefusedRoot, ...] = ()

    @property
    def is_changed(self) -> bool:
        """True if other certificates are anchors than before: a file of them is to be written."""
        return bool(self.added or self.dropped)


@checked
def follow(
    trust: TrustedAnchors,
    bag: Sequence[x509.Certificate],
    *,
    now: datetime,
    policy: TrustPolicy | None = None,
    in_use: Sequence[x509.Certificate] = (),
) -> Followed:
    """Return what is trusted from `now` (aware UTC) on, given what a server answered to /cacerts.

    `in_use` are certificates that have to be verified yet, with their chains: the client's own,
    and the server's. The anchors that they hang on are not dropped. To be called with an empty
    bag too, where only time has passed. Never raises for what is in a bag.
    """
    check_utc(now)
    following = _Following(trust, bag, now, policy or TrustPolicy())
    following.accept()
    dropped = following.drop(in_use)
    anchors = sorted(following.anchors.values(), key=lambda each: age_order(each.certificate))
    return Followed(
        trust=TrustedAnchors(anchors=tuple(anchors), dropped=tuple(following.gone.values())),
        added=tuple(following.added),
        dropped=dropped,
        refused=tuple(following.refusals()),
    )


def _order(facts: CaFacts) -> tuple[tuple[datetime, datetime], bytes]:
    """Sort a bag, so that its order makes no difference to anything."""
    return facts.age, facts.certificate.fingerprint(SHA256())


class _Following:
    """One call of `follow`."""

    def __init__(
        self,
        trust: TrustedAnchors,
        bag: Sequence[x509.Certificate],
        now: datetime,
        policy: TrustPolicy,
    ) -> None:
        self._now, self._policy = now, policy
        self._signatures = Signatures(SIGNATURES_MAX)
        self.anchors = {anchor_id(each.certificate): each for each in trust.anchors}
        self.gone = {each.anchor_id: each for each in trust.dropped}
        self.added: list[AddedAnchor] = []
        each_once = set(bag)
        self._is_too_big = len(each_once) > BAG_MAX
        found = map(facts_of, () if self._is_too_big else each_once)
        self._bag = sorted((each for each in found if each is not None), key=_order)
        self._cas = cas_of(self._bag, self._signatures)

    # What is accepted

    def accept(self) -> None:
        """Add what the anchors vouch for, and what that vouches for in turn."""
        self._renew()
        links: dict[bytes, list[tuple[str, CaFacts]]] = {}
        for name, ca in self._cas.items():
            for link in ca.links if ca.roots or name in self.anchors else ():
                links.setdefault(link.issuer, []).append((name, link))
        todo = deque(self.anchors)
        while todo:
            name = todo.popleft()
            anchor = facts_of(self.anchors[name].certificate)
            if anchor is None:
                continue
            for below, link in links.get(anchor.subject, ()):
                if below != name and link.may_be_from(anchor) and self._take(below, link, anchor):
                    todo.append(below)

    def _renew(self) -> None:
        """Take the newer certificates of known anchors: their own key signed them."""
        for name, ca in self._cas.items():
            known, root = self.anchors.get(name), ca.root
            former = None if known is None else facts_of(known.certificate)
            if known is None or root is None or former is None or root.age <= former.age:
                continue
            ca.problem = root_problem(root, self._now) or link_problem(
                root, root, former, self._now, self._policy
            )
            if ca.problem is None:
                self.anchors[name] = replace(known, certificate=root.certificate)
                self.added.append(AddedAnchor(anchor=root.certificate, issuer=former.certificate))

    def _take(self, name: str, link: CaFacts, anchor: CaFacts) -> bool:
        """True if the link makes its root a new anchor, or shows a known one to be a successor."""
        known, ca = self.anchors.get(name), self._cas[name]
        root = ca.root if known is None else facts_of(known.certificate)
        if root is None:
            return False
        problem = self._problem(name, link, root, anchor)
        if problem is None:
            self._supersede(anchor)
        if known is not None:
            return False
        if problem is not None:
            ca.refuse(problem, link)
            return False
        ca.problem = None
        self.anchors[name] = KnownAnchor(certificate=root.certificate, since=self._now)
        self.added.append(
            AddedAnchor(anchor=root.certificate, link=link.certificate, issuer=anchor.certificate)
        )
        return True

    def _problem(self, name: str, link: CaFacts, root: CaFacts, anchor: CaFacts) -> Problem | None:
        """Return why the link does not make this CA an anchor."""
        if name in self.gone:
            return self._dropped(name)
        problem = root_problem(root, self._now) or link_problem(
            link, root, anchor, self._now, self._policy
        )
        if problem is not None:
            return problem
        if name not in self.anchors and len(self.anchors) >= ANCHORS_MAX:
            return _TOO_MANY
        if self._signatures.verify(link, anchor):
            return None
        return _TOO_MANY if self._signatures.are_used_up else _NOT_SIGNED

    def _dropped(self, name: str) -> Problem:
        return Problem(
            code="trust/dropped",
            text=f"it was a trust anchor, and was dropped on {self.gone[name].at:%Y-%m-%d}",
        )

    def _supersede(self, anchor: CaFacts) -> None:
        name = anchor_id(anchor.certificate)
        known = self.anchors[name]
        if known.superseded_at is None:
            left_s = max((anchor.end - self._now).total_seconds(), 0.0)
            wait = timedelta(seconds=min(self._policy.keep_old_s, left_s))
            self.anchors[name] = replace(
                known, superseded_at=self._now, drop_after=self._now + wait
            )

    # What is dropped

    def drop(self, in_use: Sequence[x509.Certificate]) -> tuple[KnownAnchor, ...]:
        """Drop the anchors whose time is over and that nothing hangs on; return them."""
        due = [
            name
            for name, each in self.anchors.items()
            if each.drop_after is not None and self._now >= each.drop_after
        ]
        if not due or not self._one_stays():
            return ()
        facts = {name: facts_of(each.certificate) for name, each in self.anchors.items()}
        anchors = {name: each for name, each in facts.items() if each is not None}
        needed = needed_anchors(in_use, self._bag, anchors, self._signatures)
        if self._signatures.are_used_up:  # it may have found less than there is
            return ()
        dropped = [name for name in due if name not in needed]
        for name in dropped:
            self.gone[name] = DroppedAnchor(anchor_id=name, at=self._now)
        while len(self.gone) > DROPPED_MAX:
            del self.gone[next(iter(self.gone))]
        return tuple(self.anchors.pop(name) for name in dropped)

    def _one_stays(self) -> bool:
        """True if there is a valid anchor that has no successor, and so is not dropped."""
        return any(
            each.superseded_at is None
            and each.certificate.not_valid_before_utc <= self._now
            and self._now <= each.certificate.not_valid_after_utc
            for each in self.anchors.values()
        )

    # What is refused

    def refusals(self) -> Iterator[RefusedRoot]:
        """Yield the CAs of the bag that say that they are roots, and are no anchors."""
        if self._is_too_big:
            yield RefusedRoot(root=None, code=_TOO_MANY.code, reason=_TOO_MANY.text)
        for name, ca in self._cas.items():
            problem, link = ca.problem, ca.blamed
            if problem is None and name not in self.anchors:
                problem, link = self._unlinked(name, ca)
            if problem is not None:
                yield RefusedRoot(
                    root=None if ca.root is None else ca.root.certificate,
                    link=None if link is None else link.certificate,
                    code=problem.code,
                    reason=problem.text,
                )

    def _unlinked(self, name: str, ca: CaInBag) -> tuple[Problem | None, CaFacts | None]:
        """Return why a CA is no anchor for which no anchor's link was found, and which link has."""
        anchors = [facts_of(each.certificate) for each in self.anchors.values()]
        of_anchor = [
            link for link in ca.links for each in anchors if each and link.issuer == each.subject
        ]
        if ca.root is None:
            # Without its root a link looks as any CA's certificate, but for its name.
            own = [link for link in of_anchor if link.is_self_issued]
            return (_ALONE, own[0]) if own and name not in self.gone else (None, None)
        if name in self.gone:
            return self._dropped(name), None
        if of_anchor:
            return _OTHER_KEY, of_anchor[0]
        if not ca.links:
            return _NO_LINK, None
        for other, above in self._cas.items():
            if other in self.gone and above.root and ca.links[0].may_be_from(above.root):
                return _DROPPED_ISSUER, ca.links[0]
        return _UNKNOWN_ISSUER, ca.links[0]
