"""Revocation lists of a server: what is refused at a start, what is said, what is seen changed."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports import _clock
from est_transports.pki.trust import CredentialFileError
from est_transports.service.config.crls import CrlConfig, InDoubt
from est_transports.service.crl_loading import LoadedCrls, crl_states, load_crls
from tests.pki import YESTERDAY, Authority, pki
from tests.transports.pki.test_revocation import a_list

MAKERS = Path("makers.pem")


def written(path: Path, *crls: x509.CertificateRevocationList) -> Path:
    path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in crls))
    return path


def loaded(config: CrlConfig) -> LoadedCrls:
    """Return what is loaded where the CA is the EST CA, and a manufacturer is trusted besides."""
    return load_crls(
        config,
        ca=(pki().ca.certificate,),
        anchors=[(MAKERS, pki().manufacturer.certificate)],
        now=_clock.instant().wall,
    )


def refused(config: CrlConfig) -> CredentialFileError:
    with pytest.raises(CredentialFileError) as caught:
        loaded(config)
    return caught.value


def stale() -> x509.CertificateRevocationList:
    return a_list(by=pki().manufacturer, starts=YESTERDAY - timedelta(days=30), ends=YESTERDAY)


def test_without_files_nothing_is_looked_up_and_nothing_is_missed() -> None:
    assert loaded(CrlConfig()).revocation.crls == ()
    assert loaded(CrlConfig()).notices == ()


def test_pem_and_der_files_are_taken_and_what_is_in_doubt_is_refused(tmp_path: Path) -> None:
    own, makers = a_list(), a_list(by=pki().manufacturer)
    der = tmp_path / "own.crl"
    der.write_bytes(own.public_bytes(Encoding.DER))
    found = loaded(CrlConfig(files=(der, written(tmp_path / "makers.crl", makers))))
    assert found.revocation.crls == (own, makers)
    assert found.revocation.recorded == (pki().ca.certificate,)
    assert not found.revocation.accept_missing
    assert not found.revocation.accept_stale
    assert found.notices == ()
    assert len(found.validities) == 2


def test_a_ca_without_a_list_stops_the_start_or_is_said(tmp_path: Path) -> None:
    config = CrlConfig(files=(written(tmp_path / "own.crl", a_list()),))
    error = refused(config)
    assert error.path == MAKERS
    assert error.reason == (
        "there is no CRL of CN=Test Manufacturer CA in [crls] files, and each certificate that it"
        ' issued is refused; fetch it from the CA, or do without with missing_at_start = "warn"'
    )
    warned = loaded(replace(config, missing_at_start=InDoubt.WARN))
    (notice,) = warned.notices
    assert notice.startswith("makers.pem: there is no CRL of CN=Test Manufacturer CA")
    assert not warned.revocation.accept_missing  # the start is one question, requests another
    both = replace(config, missing_at_start=InDoubt.WARN, missing_in_requests=InDoubt.WARN)
    assert loaded(both).revocation.accept_missing
    assert "so none that it issued is looked up" in loaded(both).notices[0]


def test_a_list_that_is_stale_is_said_or_stops_the_start(tmp_path: Path) -> None:
    path = written(tmp_path / "makers.crl", stale())
    found = loaded(CrlConfig(files=(path,)))
    assert not found.revocation.accept_stale
    (validity,) = found.validities
    text = validity.text(_clock.instant().wall)
    assert "every certificate of that CA is refused, and its clients with 403" in text
    error = refused(CrlConfig(files=(path,), stale_at_start=InDoubt.REFUSE))
    assert error.path == path
    assert error.reason.startswith("the CRL of CN=Test Manufacturer CA: lapsed on ")
    accepting = loaded(CrlConfig(files=(path,), stale_in_requests=InDoubt.WARN))
    assert accepting.revocation.accept_stale
    text = accepting.validities[0].text(_clock.instant().wall)
    assert "what that CA revoked since is accepted" in text


def test_a_good_list_passes_where_stale_ones_stop_the_start(tmp_path: Path) -> None:
    path = written(tmp_path / "makers.crl", a_list(by=pki().manufacturer))
    assert loaded(CrlConfig(files=(path,), stale_at_start=InDoubt.REFUSE)).notices == ()


@pytest.mark.req("EST-061")
def test_a_list_with_the_signature_of_a_namesake_stops_the_start(tmp_path: Path) -> None:
    path = written(tmp_path / "makers.crl", a_list(by=Authority("Test Manufacturer CA")))
    error = refused(CrlConfig(files=(path,)))
    assert error.path == path
    assert "is not signed by the CA of that name that is trusted; fetch the list" in error.reason


def test_a_list_of_nobody_is_said(tmp_path: Path) -> None:
    """It may be that of a CA below one that is trusted, which comes with a certificate."""
    lists = (a_list(by=pki().manufacturer), a_list(by=pki().rogue))
    (notice,) = loaded(CrlConfig(files=(written(tmp_path / "all.crl", *lists),))).notices
    assert "the CRL of CN=Test Rogue CA: no CA that is trusted has that name" in notice


def test_a_list_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    delta = a_list((x509.DeltaCRLIndicator(1), True), by=pki().manufacturer)
    path = written(tmp_path / "delta.crl", delta)
    error = refused(CrlConfig(files=(path,), missing_at_start=InDoubt.WARN))
    assert error.path == path
    assert error.reason == (
        "the CRL of CN=Test Manufacturer CA is not usable: it has changes only (a delta CRL), and"
        " the complete list is needed"
    )
    assert "cannot be read" not in error.reason


def test_a_change_of_a_file_is_seen_and_so_is_one_that_is_gone(tmp_path: Path) -> None:
    path = written(tmp_path / "makers.crl", a_list(by=pki().manufacturer))
    config = CrlConfig(files=(path, tmp_path / "none.crl"))
    first = crl_states(config)
    assert crl_states(config) == first
    assert first[1] == ()
    os.utime(path, (1, 1))
    touched = crl_states(config)
    assert touched != first
    path.unlink()
    assert crl_states(config) == ((), ())
