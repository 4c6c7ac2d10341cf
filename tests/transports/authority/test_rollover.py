"""A root's next generation: links that a client follows, and that tell other CAs apart."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from est_core.trust import TrustedAnchors, follow
from est_transports.authority.former_cas import issuer_key_of
from est_transports.authority.issuers import IssuerError, ca_key_kind, make_issuer
from est_transports.authority.new_ca import new_root
from est_transports.authority.rollover import RolloverError, RootRollover, is_link, roll_root_over
from est_transports.authority.rollover_records import LINK_OPERATION, record_links
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import LocalSigner, SigningKey
from tests.pki import pki, rsa_key
from tests.transports.authority.generations import Generations
from tests.transports.ca_fakes import CA_NAME, NOW, counting_entropy

YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def three() -> Generations:
    """A CA that was rolled over twice, after four years each."""
    found = Generations(NOW)
    found.roll_over(NOW + 4 * YEAR)
    found.roll_over(NOW + 8 * YEAR)
    return found


@pytest.mark.req("EST-121", "EST-122", "EST-130")
def test_a_client_follows_over_a_generation_that_it_has_never_seen(three: Generations) -> None:
    trust = TrustedAnchors.of(three.roots[:1], now=NOW)
    followed = follow(trust, three.published(), now=NOW + 8 * YEAR)
    assert [each.anchor for each in followed.added] == three.roots[1:]
    assert not [each for each in followed.refused if not each.is_former]


@pytest.mark.req("EST-121")
def test_all_four_certificates_of_each_rollover_are_published(three: Generations) -> None:
    published = three.published()
    assert {each.subject for each in published} == {CA_NAME}
    assert set(published) == {*three.roots, *three.links[0].links, *three.links[1].links}


def test_each_certificate_names_the_key_that_signed_it(three: Generations) -> None:
    first, second = three.former[1], three.former[0]
    assert issuer_key_of(three.links[0].new_with_old) == first.key_identifier
    assert issuer_key_of(three.links[0].old_with_new) == second.key_identifier
    assert first.key_identifier != second.key_identifier


def test_the_next_root_claims_what_the_old_one_does(three: Generations) -> None:
    def claims(certificate: x509.Certificate) -> list[x509.Extension[x509.ExtensionType]]:
        of_keys = {x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid}
        return [each for each in certificate.extensions if each.oid not in of_keys]

    for each in (*three.roots, *three.links[0].links):
        assert claims(each) == claims(three.roots[0])


def test_a_link_ends_with_the_older_root_of_the_two(three: Generations) -> None:
    old, new, link = three.roots[0], three.roots[1], three.links[0]
    assert link.new_with_old.not_valid_after_utc == old.not_valid_after_utc
    assert link.new_with_old.not_valid_before_utc == new.not_valid_before_utc
    assert link.old_with_new.not_valid_after_utc == old.not_valid_after_utc


def test_a_root_is_newer_than_the_one_before_however_young_that_is() -> None:
    young = Generations(NOW)
    young.roll_over(NOW)
    young.roll_over(NOW)
    followed = follow(TrustedAnchors.of(young.roots[:1], now=NOW), young.published(), now=NOW)
    assert len(followed.added) == 2


def test_a_root_without_an_end_has_a_successor_without_one() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    days = (NOW.replace(year=9999) - NOW).days
    root = new_root(
        CA_NAME, LocalSigner(key), key.public_key(),
        now=NOW, entropy=counting_entropy(), validity_days=days,
    )  # fmt: skip
    assert rolled(root, key, NOW + YEAR).root.not_valid_after_utc == root.not_valid_after_utc


def test_what_is_no_root_or_has_ended_is_not_rolled_over() -> None:
    issuer = make_issuer("A", "EC P-256", intermediate=True, now=NOW, entropy=counting_entropy())
    with pytest.raises(RolloverError, match="not self-signed"):
        rolled(issuer.certificate, issuer.key)
    with pytest.raises(RolloverError, match="not valid now"):
        Generations(NOW).roll_over(NOW + 11 * YEAR)


def test_only_what_one_generation_certified_of_another_is_a_link(three: Generations) -> None:
    link = three.links[0].new_with_old
    assert is_link(link, three.roots)
    assert is_link(three.links[1].old_with_new, three.roots)
    assert not is_link(link, three.roots[1:])
    assert not is_link(three.roots[0], three.roots)
    assert not is_link(pki().server.certificate, three.roots)
    stranger = Generations(NOW)
    stranger.roll_over(NOW)
    assert not is_link(stranger.links[0].new_with_old, three.roots)


def test_links_are_on_record(three: Generations, tmp_path: Path) -> None:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        record_links(store, three.links[0], now=NOW)
        for link in three.links[0].links:
            record = store.find_certificate(serial_text(link.serial_number))
            assert record is not None
            assert record.operation == LINK_OPERATION
            assert record.issuer_key == issuer_key_of(link)
        assert store.count_by_issuer(NOW + 5 * YEAR) == ()


def test_a_new_key_is_of_the_kind_of_the_old_one() -> None:
    for kind in ("EC P-384", "Ed25519"):
        made = make_issuer("A", kind, intermediate=False, now=NOW, entropy=counting_entropy())
        assert ca_key_kind(made.certificate) == kind
    key = rsa_key()
    root = new_root(
        CA_NAME, LocalSigner(key), key.public_key(), now=NOW, entropy=counting_entropy()
    )  # fmt: skip
    assert ca_key_kind(root) == "RSA 3072"
    odd = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(IssuerError, match="name another kind"):
        ca_key_kind(with_key(odd))


def with_key(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Return a certificate with a key that no CA is made with."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(CA_NAME)
        .issuer_name(CA_NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + YEAR)
    )
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256())


def rolled(old: x509.Certificate, key: SigningKey, now: datetime = NOW) -> RootRollover:
    new = ec.generate_private_key(ec.SECP256R1())
    return roll_root_over(
        old, old_signer=LocalSigner(key), signer=LocalSigner(new), public_key=new.public_key(),
        now=now, entropy=counting_entropy(),
    )  # fmt: skip
