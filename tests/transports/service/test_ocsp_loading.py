"""The file of the OCSP responder's key: made, read by others, renewed, and what prevents it."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from est_transports.authority.ocsp_identity import RENEWED_BEFORE, VALIDITY, new_ocsp_identity
from est_transports.pki.serials import serial_text
from est_transports.pki.trust import CredentialFileError
from est_transports.service.ocsp_loading import RETRY, OcspIdentityFile
from tests.transports.authority.ocsp_site import NOW, make_ca

DUE = NOW + VALIDITY - RENEWED_BEFORE


def test_it_is_made_once_and_read_by_everybody_else(tmp_path: Path) -> None:
    ca, path = make_ca(), tmp_path / "ocsp.pem"
    made = OcspIdentityFile(path, ca).load(NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["ocsp.pem"]
    again = OcspIdentityFile(path, ca).load(NOW)
    assert again.certificate == made.certificate
    assert again.is_of(ca)


def test_it_is_renewed_in_time_by_one_process_for_all(tmp_path: Path) -> None:
    ca, path = make_ca(), tmp_path / "ocsp.pem"
    here, there = OcspIdentityFile(path, ca), OcspIdentityFile(path, ca)
    first = here.load(NOW)
    assert there(NOW) is not None
    assert here(DUE - timedelta(seconds=1)) is first
    renewed = here(DUE)
    assert renewed is not None
    assert renewed.certificate != first.certificate
    assert here(DUE) is renewed
    found = there(DUE)
    assert found is not None
    assert found.certificate == renewed.certificate


@pytest.mark.parametrize("which", ["another CA's", "revoked"])
def test_what_no_longer_counts_is_replaced_at_a_start(tmp_path: Path, which: str) -> None:
    ca, path = make_ca(), tmp_path / "ocsp.pem"
    if which == "revoked":
        made = OcspIdentityFile(path, ca).load(NOW)
        serial = serial_text(made.certificate.serial_number)
        assert ca.store.revoke_certificate(serial, at=NOW, reason="keyCompromise")
    else:
        OcspIdentityFile(path, make_ca("Other CA")).load(NOW)
    before = path.read_bytes()
    assert OcspIdentityFile(path, ca).load(NOW).is_of(ca)
    assert path.read_bytes() != before


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ocsp.pem"
    path.write_text("my diary")
    with pytest.raises(CredentialFileError, match=r"ocsp\.pem"):
        OcspIdentityFile(path, make_ca()).load(NOW)
    assert path.read_text() == "my diary"


def test_what_keeps_it_from_being_renewed_is_said_and_the_old_one_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    source = OcspIdentityFile(place / "ocsp.pem", make_ca())
    first = source.load(NOW)
    place.rename(tmp_path / "elsewhere")
    assert source(DUE) is first
    assert source(DUE + RETRY / 2) is first  # not tried again so soon
    assert source(DUE + RETRY) is first
    assert source(NOW + VALIDITY) is None  # nobody would accept it
    said = [each.message for each in caplog.records if each.levelname == "ERROR"]
    assert len(said) == 3
    assert "the OCSP responder gets no new certificate" in said[0]
    (tmp_path / "elsewhere").rename(place)
    assert source(NOW + VALIDITY + RETRY) is not None


def test_a_ca_that_has_expired_makes_none(tmp_path: Path) -> None:
    ca = make_ca()
    source = OcspIdentityFile(tmp_path / "ocsp.pem", ca)
    assert source(ca.certificate.not_valid_after_utc + timedelta(days=1)) is None
    assert new_ocsp_identity(ca, now=NOW).is_of(ca)
