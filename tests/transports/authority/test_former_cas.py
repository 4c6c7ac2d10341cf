"""Generations of a CA: whose certificates count until when, and how a server shows its own."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from cryptography import x509

from est_core import LocalProtocolError
from est_transports.authority.ca import Enrollment, Refused
from est_transports.authority.former_cas import (
    FormerCa,
    former_ca_of,
    issuer_key_of,
    linked_chain,
)
from est_transports.pki.chains import is_issued_by
from tests.pki import pki
from tests.transports.authority.generations import Generations
from tests.transports.ca_fakes import NOW, ec_key, name, request

DAY = timedelta(days=1)


def issued(generations: Generations) -> x509.Certificate:
    """Return a certificate of the generation that issues now."""
    csr = request(key=ec_key("device"), subject=name("device"))
    return generations.ca().issue(csr, Enrollment(operation="simpleenroll"), now=NOW)


def test_what_a_former_key_issued_is_renewed_until_its_date() -> None:
    generations = Generations(NOW)
    device = issued(generations)
    generations.roll_over(NOW, until=NOW + 100 * DAY)
    ca = generations.ca()
    assert ca.may_renew(device, NOW + 100 * DAY).serial
    csr = request(key=ec_key("device"), subject=name("device"))
    renewal = Enrollment(operation="simplereenroll")
    renewed = ca.issue(csr, renewal, now=NOW + DAY, replaces=device)
    assert issuer_key_of(renewed) == ca.key_identifier != issuer_key_of(device)
    with pytest.raises(Refused) as refused:
        ca.may_renew(device, NOW + 101 * DAY)
    assert refused.value.code == "renewal/former-ca"


def test_a_key_that_is_named_nowhere_is_not_this_ca_s_though_its_name_is() -> None:
    generations = Generations(NOW)
    device = issued(generations)
    generations.roll_over(NOW)
    generations.former = ()
    with pytest.raises(Refused) as refused:
        generations.ca().may_renew(device, NOW)
    assert refused.value.code == "renewal/unknown-certificate"


def test_generations_are_told_apart_by_the_key_identifier_and_the_name() -> None:
    generations = Generations(NOW)
    device = issued(generations)
    generations.roll_over(NOW)
    assert former_ca_of(device, generations.former) is generations.former[0]
    assert former_ca_of(issued(generations), generations.former) is None
    assert former_ca_of(generations.roots[0], generations.former) is None  # names no issuer's key
    stranger = Generations(NOW)
    stranger.roll_over(NOW)
    assert former_ca_of(device, stranger.former) is None


def test_a_date_is_aware() -> None:
    with pytest.raises(LocalProtocolError):
        FormerCa(certificate=pki().ca.certificate, trusted_until=NOW.replace(tzinfo=None))


def test_a_server_s_chain_leads_to_every_root_in_one_path() -> None:
    generations = Generations(NOW)
    first = issued(generations)
    generations.roll_over(NOW)
    second = issued(generations)
    generations.roll_over(NOW)
    third = issued(generations)
    newest, former = generations.roots[-1], generations.former
    one, two = generations.links
    assert linked_chain([third], newest, former) == (third, two.new_with_old, one.new_with_old)
    assert linked_chain([first], newest, former) == (first, one.old_with_new, two.old_with_new)
    assert linked_chain([second], newest, former) == (second, two.old_with_new)
    for server in (first, second, third):
        for below, above in pairwise(linked_chain([server], newest, former)):
            assert is_issued_by(below, above)
    assert linked_chain([third, newest], newest, former) == (third, newest)
    other = pki().server.certificate
    assert linked_chain([other], newest, former) == (other,)
    assert linked_chain([third], newest, ()) == (third,)
