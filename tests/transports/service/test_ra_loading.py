"""Registration authorities that est.toml lists: certificates of the own CA for id-kp-cmcRA."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from est_core.checks.identity import RegistrationAuthorities
from est_transports.pki.trust import CredentialFileError
from est_transports.service.config.registration import RaConfig
from est_transports.service.ra_loading import registration_authorities
from tests.pki import CMC_RA, YESTERDAY, Authority, Entity, Subject, pki
from tests.registration import ras


def loaded(tmp_path: Path, *listed: Entity) -> RegistrationAuthorities:
    path = tmp_path / "ra.pem"
    path.write_bytes(b"".join(each.chain_pem for each in listed))
    config = RaConfig(certificates=(path,), fingerprints=frozenset({bytes(32)}))
    return registration_authorities(config, (pki().ca.certificate,))


@pytest.mark.req("EST-092")
def test_the_subjects_of_the_files_are_listed_and_so_are_fingerprints(tmp_path: Path) -> None:
    first, second = (pki().ca.issue(Subject(name=name, eku=(CMC_RA,))) for name in ("a", "b"))
    found = loaded(tmp_path, first, second)
    assert found.subjects == ras("a", "b").subjects
    assert found.fingerprints == {bytes(32)}


def test_one_that_has_expired_still_says_who_it_is(tmp_path: Path) -> None:
    past = YESTERDAY - timedelta(days=9)
    expired = Subject(name="a", eku=(CMC_RA,), not_before=past, not_after=YESTERDAY)
    assert loaded(tmp_path, pki().ca.issue(expired)).subjects == ras("a").subjects


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (lambda: pki().client, "is not for id-kp-cmcRA; issue one"),
        (
            lambda: pki().manufacturer.issue(Subject(name="a", eku=(CMC_RA,))),
            "the certificate of CN=a is not of this CA, CN=Test EST CA, which alone",
        ),
        (
            lambda: Authority("Test EST CA").issue(Subject(name="a", eku=(CMC_RA,))),
            "the certificate of CN=a is not of this CA",
        ),
    ],
    ids=["no purpose", "another CA's", "a namesake's"],
)
@pytest.mark.req("EST-090", "EST-092")
def test_a_certificate_that_makes_no_ra_stops_the_start(
    tmp_path: Path, listed: object, words: str
) -> None:
    assert callable(listed)
    with pytest.raises(CredentialFileError) as caught:
        loaded(tmp_path, listed())
    assert words in caught.value.reason
