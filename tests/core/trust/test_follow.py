"""A new root becomes a trust anchor by a link certificate that is right in everything."""

from __future__ import annotations

import ipaddress
import itertools
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from est_core import LocalProtocolError
from est_core.trust import (
    DroppedAnchor,
    Followed,
    KnownAnchor,
    TrustedAnchors,
    TrustPolicy,
    anchor_id,
    follow,
)
from tests.core.trust.cast import (
    DAY,
    START,
    YEAR,
    Ca,
    certificate,
    generations,
    leaf,
    link,
    root,
)
from tests.odd_certificates import unreadable
from tests.pki import Authority, rsa_key, weak_rsa_key

OLD, NEW, NEWER = generations(3)
NOW = START + 11 * YEAR
"""The first two are there, and OLD lasts for nine years yet."""
LATER = START + 21 * YEAR
KNOWN = TrustedAnchors.of([root(OLD)], now=START)
RUSH = TrustPolicy(keep_old_s=0)
NAMES = x509.NameConstraints([x509.DNSName("plant.example")], None)

UNREADABLE = Authority("Plant Root")


def codes(followed: Followed) -> list[str]:
    return sorted(each.code for each in followed.refused)


def keys(trust: TrustedAnchors) -> list[str]:
    return [anchor_id(each) for each in trust.certificates]


def refused(*bag: x509.Certificate, trust: TrustedAnchors = KNOWN, now: datetime = NOW) -> str:
    """Return for what code the one CA of a bag was refused; the trust is as it was."""
    followed = follow(trust, list(bag), now=now)
    assert followed.trust == trust
    assert not followed.is_changed
    assert all(each.reason for each in followed.refused)
    (code,) = codes(followed)
    return code


@pytest.mark.req("EST-122", "EST-130")
def test_a_new_root_is_accepted_through_its_link_and_the_old_one_stays_for_a_while() -> None:
    new, over = root(NEW), link(NEW, OLD)
    followed = follow(KNOWN, [root(OLD), link(OLD, NEW), over, new], now=NOW)
    assert followed.trust.certificates == (root_of(KNOWN), new)
    (added,) = followed.added
    assert (added.anchor, added.link, added.issuer) == (new, over, root_of(KNOWN))
    assert (followed.refused, followed.dropped) == ((), ())
    old = followed.trust.anchors[0]
    assert (old.since, old.superseded_at, old.drop_after) == (START, NOW, NOW + YEAR)
    assert followed.trust.anchors[1] == KnownAnchor(certificate=new, since=NOW)


def root_of(trust: TrustedAnchors) -> x509.Certificate:
    return trust.certificates[0]


@pytest.mark.req("EST-129", "EST-130")
def test_a_root_without_a_link_is_not_trusted_for_being_in_the_bag() -> None:
    assert refused(root(NEW)) == "trust/no-link"
    assert refused(root(NEW), root(OLD), link(OLD, NEW)) == "trust/no-link"


@pytest.mark.req("EST-130")
def test_two_roots_of_one_name_are_told_apart_by_their_keys() -> None:
    impostor = Ca(begin=NEW.begin, end=NEW.end)
    followed = follow(KNOWN, [root(impostor), root(NEW), link(NEW, OLD)], now=NOW)
    assert keys(followed.trust) == [anchor_id(root_of(KNOWN)), anchor_id(root(NEW))]
    assert codes(followed) == ["trust/no-link"]
    assert not followed.refused[0].is_former


def test_an_empty_bag_and_a_bag_that_lacks_the_anchors_change_nothing() -> None:
    for bag in ([], [leaf(NEW)]):
        followed = follow(KNOWN, bag, now=NOW)
        assert followed == Followed(trust=KNOWN)


@pytest.mark.req("EST-129")
@pytest.mark.parametrize("order", list(itertools.permutations(range(5))), ids=str)
def test_several_generations_in_one_bag_are_followed_in_any_order(order: tuple[int, ...]) -> None:
    known = TrustedAnchors.of([FIRST_ROOT], now=START)
    followed = follow(known, [FOUR_GENERATIONS[place] for place in order], now=START + 18 * YEAR)
    assert [anchor_id(each.anchor) for each in followed.added] == [
        anchor_id(FOUR_GENERATIONS[0]),
        anchor_id(FOUR_GENERATIONS[1]),
    ]
    assert [bool(each.superseded_at) for each in followed.trust.anchors] == [True, True, False]


FIRST, SECOND, THIRD = generations(3, every=8 * YEAR)
FIRST_ROOT = root(FIRST)
FOUR_GENERATIONS = [
    root(SECOND),
    root(THIRD),
    link(SECOND, FIRST),
    link(THIRD, SECOND),
    FIRST_ROOT,
]


def test_a_generation_whose_root_is_not_in_the_bag_vouches_for_nobody() -> None:
    """Without it the link of that generation is any issuing CA's certificate."""
    known = TrustedAnchors.of([FIRST_ROOT], now=START)
    bag = [link(SECOND, FIRST), link(THIRD, SECOND), root(THIRD)]
    followed = follow(known, bag, now=START + 18 * YEAR)
    assert followed.trust == known
    assert codes(followed) == ["trust/key-identifier", "trust/link-alone"]


def test_anchors_stand_in_the_order_of_their_age_however_they_came() -> None:
    known = TrustedAnchors.of([FIRST_ROOT, FOUR_GENERATIONS[1]], now=START)
    followed = follow(known, FOUR_GENERATIONS, now=START + 18 * YEAR)
    assert followed.trust.certificates == (FIRST_ROOT, *FOUR_GENERATIONS[:2])


# What is wrong with a link


def test_a_link_that_has_expired_or_is_not_yet_valid_is_none() -> None:
    ended = link(NEW, OLD, end=NOW - timedelta(seconds=1))
    early = link(NEW, OLD, begin=NOW + timedelta(seconds=1))
    assert refused(root(NEW), ended) == "trust/link-dates"
    assert refused(root(NEW), early) == "trust/link-dates"
    exactly = link(NEW, OLD, begin=NOW, end=NOW)
    assert follow(KNOWN, [root(NEW), exactly], now=NOW).added


def test_an_anchor_that_has_expired_vouches_for_nobody() -> None:
    endless = link(NEW, OLD, end=NEW.end)
    assert refused(root(NEW), endless, now=LATER) == "trust/anchor-dates"


def test_by_option_an_anchor_vouches_for_a_while_after_it_has_expired() -> None:
    bag = [root(NEW), link(NEW, OLD)]
    late = OLD.end + 9 * DAY
    for days, code in ((8, ["trust/anchor-dates"]), (9, [])):
        policy = TrustPolicy(late_s=days * DAY.total_seconds())
        followed = follow(KNOWN, bag, now=late, policy=policy)
        assert codes(followed) == code
        assert bool(followed.added) == (not code)


def test_a_link_signed_with_another_key_is_none() -> None:
    forged = link(NEW, OLD, signer=NEW)
    assert refused(root(NEW), forged) == "trust/link-signature"


@pytest.mark.req("EST-130")
def test_a_link_whose_key_identifiers_name_other_keys_is_none() -> None:
    stranger = Ca()
    of_other_issuer = link(NEW, OLD, issuer_key_id=stranger.key_id)
    for_other_key = link(NEW, OLD, subject_key_id=stranger.key_id)
    assert refused(root(NEW), of_other_issuer) == "trust/key-identifier"
    assert refused(root(NEW), for_other_key) == "trust/key-identifier"


def test_key_identifiers_may_be_left_out_for_the_keys_decide() -> None:
    old, new = replace(OLD, key_ids=False), replace(NEW, key_ids=False)
    known = TrustedAnchors.of([root(old)], now=START)
    assert follow(known, [root(new), link(new, old)], now=NOW).added
    forged = link(new, old, signer=NEWER)
    assert refused(root(new), forged, trust=known) == "trust/link-signature"


def test_the_serial_number_that_a_link_names_is_its_anchors() -> None:
    def named(serial: int) -> x509.Certificate:
        issuer = [x509.DirectoryName(root_of(KNOWN).subject)]
        names = x509.AuthorityKeyIdentifier(OLD.key_id, issuer, serial)
        return link(replace(NEW, key_ids=False, extra=((names, False),)), OLD)

    serial = root_of(KNOWN).serial_number
    assert follow(KNOWN, [root(NEW), named(serial)], now=NOW).added
    assert refused(root(NEW), named(serial + 1)) == "trust/key-identifier"


def test_a_link_for_the_same_key_under_another_name_is_no_link_for_that_root() -> None:
    other = replace(NEW, name="Another Root")
    followed = follow(KNOWN, [root(other), link(NEW, OLD)], now=NOW)
    assert followed.trust == KNOWN
    assert codes(followed) == ["trust/link-alone", "trust/no-link"]


@pytest.mark.parametrize(
    "how",
    [
        {"is_ca": False, "cert_sign": False},
        {"cert_sign": False},
        {"extra": ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True),)},
    ],
    ids=["no CA", "no keyCertSign", "critical extension"],
)
def test_a_link_and_a_root_are_certificates_of_a_ca(how: dict[str, object]) -> None:
    unfit = replace(NEW, **how)  # type: ignore[arg-type]
    assert refused(root(NEW), link(unfit, OLD)) == "trust/link-unfit"
    assert refused(root(unfit), link(NEW, OLD)) == "trust/root-unfit"
    anchor = replace(OLD, **how)  # type: ignore[arg-type]
    known = TrustedAnchors.of([root(anchor)], now=START)
    assert refused(root(NEW), link(NEW, anchor), trust=known) == "trust/link-unfit"


def test_a_ca_without_key_usage_is_one() -> None:
    old, new = replace(OLD, cert_sign=None), replace(NEW, cert_sign=None)
    known = TrustedAnchors.of([root(old)], now=START)
    assert follow(known, [root(new), link(new, old)], now=NOW).added


def test_without_basic_constraints_it_is_no_ca() -> None:
    bare = (
        x509.CertificateBuilder()
        .subject_name(root_of(KNOWN).subject)
        .issuer_name(root_of(KNOWN).subject)
        .public_key(NEW.key.public_key())
        .serial_number(7)
        .not_valid_before(NEW.begin)
        .not_valid_after(NEW.end)
    )
    assert refused(root(NEW), bare.sign(OLD.key, None)) == "trust/link-unfit"


def test_a_weak_key_or_hash_anywhere_is_refused() -> None:
    old = replace(OLD, key=ec.generate_private_key(ec.SECP256R1()))
    known = TrustedAnchors.of([root(old)], now=START)
    over = partial(refused, trust=known)
    weak_hash = replace(NEW, hash_=hashes.SHA224())
    assert follow(known, [root(NEW), link(weak_hash, old)], now=NOW).added
    assert over(root(NEW), signed_with_sha1(NEW, old)) == "trust/weak"
    for key in (weak_rsa_key(), ec.generate_private_key(ec.SECP192R1())):
        weak = replace(NEW, key=key)
        assert over(root(weak), link(weak, old)) == "trust/weak"
        anchor = replace(OLD, key=key)
        strong = TrustedAnchors.of([root(anchor)], now=START)
        assert refused(root(NEW), link(NEW, anchor), trust=strong) == "trust/weak"
    rsa_anchor = replace(OLD, key=rsa_key())
    known = TrustedAnchors.of([root(rsa_anchor)], now=START)
    assert follow(known, [root(NEW), link(NEW, rsa_anchor)], now=NOW).added


def signed_with_sha1(subject: Ca, issuer: Ca) -> x509.Certificate:
    parsed = asn1_x509.Certificate.load(link(subject, issuer).public_bytes(Encoding.DER))
    parsed["tbs_certificate"]["signature"] = {"algorithm": "sha1_ecdsa"}
    parsed["signature_algorithm"] = {"algorithm": "sha1_ecdsa"}
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    tbs = parsed["tbs_certificate"].dump(force=True)
    parsed["signature_value"] = issuer.key.sign(tbs, ec.ECDSA(hashes.SHA1()))
    return x509.load_der_x509_certificate(parsed.dump(force=True))


# Who may vouch, and for whom


@pytest.mark.req("EST-129", "EST-130")
def test_an_issuing_ca_cannot_make_itself_an_anchor() -> None:
    """Its certificate has the form of a link, and it can sign a root for itself."""
    issuing = Ca(name="Issuing CA", begin=START + 10 * YEAR)
    assert refused(root(issuing), certificate(issuing, OLD)) == "trust/renamed"


@pytest.mark.req("EST-130")
def test_an_issuing_ca_that_is_an_anchor_vouches_for_nobody() -> None:
    """A file may have the whole chain. The key of an issuing CA is online."""
    issuing = Ca(name="Issuing CA", begin=START + YEAR)
    known = TrustedAnchors.of([root(OLD), certificate(issuing, OLD)], now=START)
    again = Ca(name="Issuing CA", begin=START + 2 * YEAR)
    assert refused(root(again), link(again, issuing), trust=known) == "trust/link-unfit"
    as_root = root(replace(issuing, begin=START + 2 * YEAR))
    assert refused(as_root, trust=known) == "trust/link-unfit"


@pytest.mark.req("EST-130")
def test_a_link_issued_by_an_intermediate_is_none() -> None:
    issuing = Ca(name="Issuing CA")
    bag = [certificate(issuing, OLD), root(NEW), link(NEW, issuing)]
    assert refused(*bag) == "trust/unknown-issuer"


def test_by_option_a_root_may_have_another_name() -> None:
    renamed = replace(NEW, name="Plant Root G2")
    bag = [root(renamed), link(renamed, OLD)]
    policy = TrustPolicy(renamed=True)
    assert follow(KNOWN, bag, now=NOW, policy=policy).added
    narrow = TrustedAnchors.of([root(replace(OLD, path_length=0))], now=START)
    followed = follow(narrow, bag, now=NOW, policy=policy)
    assert codes(followed) == ["trust/wider"]


def test_a_root_may_do_no_more_than_its_link_and_the_old_root() -> None:
    short = replace(NEW, path_length=0)
    assert refused(root(NEW), link(short, OLD)) == "trust/wider"
    known = TrustedAnchors.of([root(replace(OLD, path_length=1))], now=START)
    assert refused(root(NEW), link(NEW, OLD), trust=known) == "trust/wider"
    assert follow(known, [root(short), link(NEW, OLD)], now=NOW).added


@pytest.mark.parametrize(
    "extension",
    [
        NAMES,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.PolicyConstraints(0, None),
        x509.InhibitAnyPolicy(0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_root_keeps_the_constraints_of_its_link_and_of_the_old_root(
    extension: x509.ExtensionType,
) -> None:
    narrow = ((extension, True),)
    old, new = replace(OLD, extra=narrow), replace(NEW, extra=narrow)
    known = TrustedAnchors.of([root(old)], now=START)
    assert refused(root(NEW), link(new, OLD)) == "trust/wider"
    assert refused(root(NEW), link(NEW, old), trust=known) == "trust/wider"
    assert follow(known, [root(new), link(new, old)], now=NOW).added


def test_other_name_constraints_are_not_the_same() -> None:
    net = x509.NameConstraints([x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))], None)
    old, new = replace(OLD, extra=((NAMES, True),)), replace(NEW, extra=((net, True),))
    known = TrustedAnchors.of([root(old)], now=START)
    assert refused(root(new), link(NEW, old), trust=known) == "trust/wider"


def test_a_root_that_is_not_valid_now_is_not_accepted() -> None:
    soon = replace(NEW, begin=NOW + DAY)
    assert refused(root(soon), link(NEW, OLD)) == "trust/root-dates"
    over = replace(NEW, end=NOW - DAY)
    assert refused(root(over), link(NEW, OLD)) == "trust/root-dates"


def test_nobody_goes_back_to_a_root_that_is_older() -> None:
    """OldWithNew has the form of a link, from new to old."""
    known = TrustedAnchors.of([root(NEW)], now=NOW)
    assert refused(root(OLD), link(OLD, NEW), trust=known) == "trust/not-newer"
    twin = replace(OLD, key=NEW.key, end=OLD.end - DAY)
    known = TrustedAnchors.of([root(OLD)], now=NOW)
    assert refused(root(twin), link(twin, OLD), trust=known) == "trust/not-newer"


def test_cross_certificates_in_a_circle_end() -> None:
    cas = generations(6, every=YEAR)
    links = [link(a, b) for a in cas for b in cas if a is not b]
    known = TrustedAnchors.of([root(cas[2])], now=START)
    followed = follow(known, [*links, *map(root, cas)], now=NOW)
    assert set(keys(followed.trust)) == {anchor_id(root(each)) for each in cas[2:]}
    assert codes(followed) == ["trust/not-newer"] * 2


def test_a_link_without_the_root_that_it_is_for_adds_nothing() -> None:
    assert refused(link(NEW, OLD)) == "trust/link-alone"
    followed = follow(KNOWN, [certificate(Ca(name="Issuing CA"), OLD)], now=NOW)
    assert followed.refused == (), "an issuing CA's certificate is nothing to tell of"


def test_a_root_that_is_for_another_key_than_its_link_is_not_accepted() -> None:
    followed = follow(KNOWN, [root(NEWER), link(NEW, OLD)], now=LATER - 2 * YEAR)
    assert followed.trust == KNOWN
    assert codes(followed) == ["trust/link-alone", "trust/no-link"]


def test_a_bad_link_does_not_spoil_a_good_one() -> None:
    bad = [link(NEW, OLD, end=NOW - DAY), link(NEW, OLD, signer=NEW), link(NEW, NEWER)]
    followed = follow(KNOWN, [root(NEW), *bad, link(NEW, OLD)], now=NOW)
    assert followed.added
    assert followed.refused == ()


def test_certificates_of_which_a_part_cannot_be_read_are_passed_over() -> None:
    bag = [*unreadable_certificates(), root(NEW), link(NEW, OLD)]
    followed = follow(KNOWN, bag, now=NOW)
    assert followed.added
    assert followed.refused == ()


def unreadable_certificates() -> list[x509.Certificate]:
    found = []
    for der in unreadable(UNREADABLE.certificate, UNREADABLE).values():
        with suppress(ValueError, x509.InvalidVersion):
            found.append(x509.load_der_x509_certificate(der))
    return found


# One CA, several certificates


def test_a_newer_certificate_of_a_known_root_takes_its_place() -> None:
    renewed = replace(OLD, begin=START + 5 * YEAR, end=START + 30 * YEAR)
    followed = follow(KNOWN, [root(renewed)], now=NOW)
    (added,) = followed.added
    assert (added.link, added.issuer) == (None, root_of(KNOWN))
    assert followed.trust.certificates == (added.anchor,)
    assert followed.trust.anchors[0].since == START
    assert follow(followed.trust, [root_of(KNOWN)], now=NOW) == Followed(trust=followed.trust)


def test_a_newer_certificate_of_a_known_root_is_held_against_the_same_rules() -> None:
    narrow = TrustedAnchors.of([root(replace(OLD, path_length=0))], now=START)
    renewed = replace(OLD, begin=START + 5 * YEAR, end=START + 30 * YEAR)
    assert refused(root(renewed), trust=narrow) == "trust/wider"
    assert refused(root(renewed), now=LATER) == "trust/anchor-dates"
    assert refused(root(replace(renewed, begin=NOW + DAY))) == "trust/root-dates"


def test_of_several_certificates_of_a_new_root_the_newest_counts() -> None:
    again = replace(NEW, begin=NEW.begin + DAY)
    newest = root(again)
    followed = follow(KNOWN, [root(NEW), newest, link(NEW, OLD)], now=NOW)
    assert [each.anchor for each in followed.added] == [newest]


def test_an_anchor_given_by_hand_supersedes_the_old_one_too() -> None:
    known = TrustedAnchors.of([root(OLD), root(NEW)], now=START)
    followed = follow(known, [link(NEW, OLD)], now=NOW)
    assert [bool(each.superseded_at) for each in followed.trust.anchors] == [True, False]
    again = follow(followed.trust, [link(NEW, OLD)], now=NOW + DAY)
    assert again.trust == followed.trust, "since when is not moved"


# What is dropped


def test_an_old_anchor_is_dropped_after_its_time_and_does_not_come_back() -> None:
    bag = [root(OLD), root(NEW), link(NEW, OLD), link(OLD, NEW)]
    trust = follow(KNOWN, bag, now=NOW).trust
    assert not follow(trust, bag, now=NOW + YEAR - DAY).dropped
    followed = follow(trust, bag, now=NOW + YEAR)
    assert [each.certificate for each in followed.dropped] == [root_of(KNOWN)]
    assert followed.is_changed
    assert [each.at for each in followed.trust.dropped] == [NOW + YEAR]
    again = follow(followed.trust, bag, now=NOW + 2 * YEAR)
    assert again.trust == followed.trust
    assert codes(again) == ["trust/dropped"]
    assert again.refused[0].is_former


def test_a_link_of_an_anchor_that_was_dropped_is_none() -> None:
    gone = DroppedAnchor(anchor_id=anchor_id(root(OLD)), at=NOW)
    other = Ca(name="Another Root")
    trust = TrustedAnchors(
        anchors=TrustedAnchors.of([root(other)], now=START).anchors, dropped=(gone,)
    )
    followed = follow(trust, [root(OLD), root(NEW), link(NEW, OLD)], now=NOW)
    assert followed.trust == trust
    assert codes(followed) == ["trust/dropped", "trust/unknown-issuer"]
    assert follow(trust, [link(OLD, other)], now=NOW) == Followed(trust=trust)


def test_an_old_anchor_is_dropped_when_it_expires_before_its_time() -> None:
    now = OLD.end - 30 * DAY
    old, _ = follow(KNOWN, [root(NEW), link(NEW, OLD)], now=now).trust.anchors
    assert old.drop_after == OLD.end


@pytest.mark.parametrize("through", ["itself", "an issuing CA in use", "an issuing CA in the bag"])
def test_an_anchor_that_a_certificate_hangs_on_is_not_dropped(through: str) -> None:
    issuing = Ca(name="Issuing CA")
    above = certificate(issuing, OLD)
    device = leaf(OLD if through == "itself" else issuing)
    in_use = [device, above] if through == "an issuing CA in use" else [device]
    bag = [root(NEW), link(NEW, OLD)]
    bag += [above] if through == "an issuing CA in the bag" else []
    followed = follow(KNOWN, bag, now=NOW, policy=RUSH, in_use=in_use)
    assert not followed.dropped
    assert followed.trust.anchors[0].drop_after == NOW
    assert follow(followed.trust, bag, now=NOW, in_use=[leaf(NEW)]).dropped


def test_what_hangs_on_the_new_anchor_does_not_keep_the_old_one() -> None:
    bag = [root(NEW), link(NEW, OLD), root(OLD)]
    followed = follow(KNOWN, bag, now=NOW, policy=RUSH, in_use=[leaf(NEW), root(NEW)])
    assert [each.certificate for each in followed.dropped] == [root_of(KNOWN)]


def test_an_anchor_in_use_itself_is_kept_and_a_long_chain_ends() -> None:
    bag = [root(NEW), link(NEW, OLD)]
    assert not follow(KNOWN, bag, now=NOW, policy=RUSH, in_use=[root_of(KNOWN)]).dropped
    cas = [OLD, *(Ca(name=f"CA {n}") for n in range(20))]
    chain = [certificate(below, above) for above, below in itertools.pairwise(cas)]
    in_use = [leaf(cas[-1])]
    assert follow(KNOWN, [*bag, *chain], now=NOW, policy=RUSH, in_use=in_use).dropped


def test_the_last_anchor_is_never_dropped() -> None:
    trust = follow(KNOWN, [root(NEW), link(NEW, OLD)], now=NOW).trust
    only_old = replace(trust, anchors=trust.anchors[:1])
    assert not follow(only_old, [], now=NOW + 5 * YEAR).dropped
    assert not follow(KNOWN, [], now=LATER).dropped
    when_both_are_over = NEW.end + DAY
    assert not follow(trust, [], now=when_both_are_over).dropped
    assert follow(trust, [], now=NEW.end).dropped


# Bounds


def test_a_thousand_certificates_are_looked_at_and_more_are_not() -> None:
    strangers = [root(Ca(name=f"Root {n}")) for n in range(1000)]
    bag = [*strangers, root(NEW), link(NEW, OLD)]
    followed = follow(KNOWN, bag, now=NOW)
    assert len(followed.added) == 1
    assert codes(followed) == ["trust/no-link"] * 1000
    more = [root(Ca(name=f"Root {n}")) for n in range(30)]
    followed = follow(KNOWN, [*bag, *more], now=NOW)
    assert followed.trust == KNOWN
    assert codes(followed) == ["trust/too-many"]


def test_a_client_has_so_many_anchors_and_no_more() -> None:
    cas = [Ca(name="Plant Root", begin=START + n * DAY) for n in range(70)]
    known = TrustedAnchors.of([root(cas[0])], now=START)
    bag = [*map(root, cas), *(link(below, cas[0]) for below in cas[1:])]
    followed = follow(known, bag, now=NOW)
    assert len(followed.trust.anchors) == 64
    assert codes(followed) == ["trust/too-many"] * 6


def test_so_many_signatures_are_verified_and_nothing_is_dropped_after_that() -> None:
    """Without key identifiers each link may be any anchor's, and each certificate a root."""
    old = [replace(OLD, key=Ca().key, key_ids=False) for _ in range(9)]
    many = [replace(NEW, key=Ca().key, key_ids=False) for _ in range(480)]
    superseded = KnownAnchor(
        certificate=root(old[0]), since=START, superseded_at=START, drop_after=START
    )
    last = Ca(name="Last Root")
    others = [KnownAnchor(certificate=root(each), since=START) for each in (*old[1:], last)]
    known = TrustedAnchors(anchors=(superseded, *others))
    after = replace(NEW, name=last.name)
    bag = [each for ca in many for each in (root(ca), link(ca, old[0], signer=NEWER))]
    bag += [root(after), link(after, last)]
    followed = follow(known, bag, now=NOW, in_use=[leaf(NEWER)])
    assert followed.trust == known
    assert set(codes(followed)) == {"trust/link-signature", "trust/too-many"}
    assert follow(known, [], now=NOW, in_use=[leaf(NEWER)]).dropped


def test_so_many_former_anchors_are_remembered_the_latest_ones() -> None:
    gone = [DroppedAnchor(anchor_id=f"{n:064x}", at=START) for n in range(64)]
    trust = follow(KNOWN, [root(NEW), link(NEW, OLD)], now=NOW).trust
    followed = follow(replace(trust, dropped=tuple(gone)), [], now=NOW + YEAR)
    assert followed.trust.dropped[:-1] == tuple(gone[1:])
    assert followed.trust.dropped[-1].anchor_id == anchor_id(root(OLD))


# Values


def test_values_that_make_no_sense_are_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    known = KNOWN.anchors[0]
    gone = DroppedAnchor(anchor_id=anchor_id(root_of(KNOWN)), at=NOW)
    for wrong in (
        lambda: follow(KNOWN, [], now=naive),
        lambda: KnownAnchor(certificate=root_of(KNOWN), since=naive),
        lambda: KnownAnchor(certificate=root_of(KNOWN), since=START, drop_after=NOW),
        lambda: KnownAnchor(certificate=root_of(KNOWN), since=START, superseded_at=NOW),
        lambda: DroppedAnchor(anchor_id="ab", at=NOW),
        lambda: DroppedAnchor(anchor_id="X" * 64, at=NOW),
        lambda: TrustedAnchors(anchors=(known, known)),
        lambda: TrustedAnchors(anchors=(known,), dropped=(gone,)),
        lambda: TrustedAnchors.of([root(Ca()) for _ in range(65)], now=NOW),
        lambda: TrustPolicy(keep_old_s=-1),
        lambda: TrustPolicy(late_s=float("nan")),
    ):
        with pytest.raises(LocalProtocolError):
            wrong()


def test_of_several_certificates_of_one_ca_given_by_hand_the_newest_counts() -> None:
    newest = root(replace(OLD, end=OLD.end + DAY))
    for given in ([root_of(KNOWN), newest], [newest, root_of(KNOWN)]):
        assert TrustedAnchors.of(given, now=START).certificates == (newest,)


def test_a_ca_that_cannot_be_read_is_its_own_bytes() -> None:
    *_, nameless = unreadable_certificates()
    assert anchor_id(nameless) == sha256(nameless.public_bytes(Encoding.DER)).hexdigest()
    trust = TrustedAnchors.of([*unreadable_certificates(), root_of(KNOWN)], now=START)
    certified = [*unreadable_certificates(), link(replace(NEW, key=UNREADABLE.key), OLD)]  # type: ignore[arg-type]
    assert follow(trust, certified, now=NOW) == Followed(trust=trust)
