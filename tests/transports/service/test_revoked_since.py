"""What was revoked after a backup was taken is revoked again, by the lists of the CA."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_transports.authority.crls import CrlSchedule, make_crl
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.trust import load_pem_private_key
from est_transports.service.config.reader import load_config
from est_transports.service.loading import load_service
from est_transports.service.revoked_since import is_own_list, revoke_as_listed
from tests.transports.backup_site import NOW, made

LATER = (NOW.wall + timedelta(minutes=1)).replace(microsecond=0)


def own(ca: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((ca / "ca.pem").read_bytes())


def listed(ca: Path, entries: dict[int, x509.ReasonFlags | None]) -> x509.CertificateRevocationList:
    """Return a list with these entries, which are revoked at LATER."""
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=own(ca).subject, last_update=LATER, next_update=LATER + timedelta(days=1)
    )
    for serial, reason in entries.items():
        entry = x509.RevokedCertificateBuilder(serial_number=serial, revocation_date=LATER)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    key = load_pem_private_key(ca / "ca-key.pem")
    return builder.sign(key, hashes.SHA256())


def test_what_is_on_a_list_and_not_revoked_is_revoked_as_it_was(tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    with closing(SqliteStore(ca / "est.db")) as store:
        (record,) = store.list_certificates()
        serial = int(record.serial, 16)
        crl = listed(ca, {serial: x509.ReasonFlags.key_compromise, 0xABC: None})
        found = revoke_as_listed(store, [crl, crl])
        assert (found.again, found.unknown) == ((record.serial,), ("abc",))
        now = store.find_certificate(record.serial)
        assert now is not None
        assert (now.revoked_at, now.revocation_reason) == (LATER, "keyCompromise")
        assert not revoke_as_listed(store, [crl]).again


def test_a_reason_that_is_none_of_ours_is_unspecified(tmp_path: Path) -> None:
    for reason in (None, x509.ReasonFlags.aa_compromise):
        ca = made(tmp_path / str(reason))
        with closing(SqliteStore(ca / "est.db")) as store:
            (record,) = store.list_certificates()
            revoke_as_listed(store, [listed(ca, {int(record.serial, 16): reason})])
            now = store.find_certificate(record.serial)
            assert now is not None
            assert now.revocation_reason == "unspecified"


def test_a_list_is_that_of_the_key_that_signed_it(tmp_path: Path) -> None:
    ca, other = made(tmp_path / "ca"), made(tmp_path / "other")
    with closing(SqliteStore(ca / "est.db")) as store:
        authority = load_service(load_config(ca / "est.toml"), store=store).authority.ca
        crl = x509.load_der_x509_crl(make_crl(authority, store, CrlSchedule(), now=LATER).der)
    assert is_own_list(crl, (own(other), own(ca)))
    assert not is_own_list(crl, (own(other),))
