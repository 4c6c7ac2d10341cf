"""What a new CA may be called and hold, and what is said where it cannot be made."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority import issuers
from est_transports.authority.issuers import Issuer, given_issuer
from est_transports.pki.signers import SigningKey
from est_transports.service.config.reader import CONFIG_FILE
from est_transports.service.initialisation import (
    CA_CERTIFICATE,
    CA_KEY,
    ISSUING_CERTIFICATES,
    ROOT_KEY,
    SERVER_CERTIFICATE,
    SERVER_KEY,
    STORE,
    CaSpec,
    InitialisationError,
    InitialisedCa,
    OccupiedError,
    initialise,
)
from tests.pki import Authority, Subject, new_key, pki

FILE = Path("password")


def make(directory: Path, spec: CaSpec | None = None, **how: object) -> InitialisedCa:
    return initialise(
        directory,
        spec or CaSpec(name="Plant"),
        now=_clock.instant(),
        entropy=_clock.entropy,
        **how,  # type: ignore[arg-type]  # by name
    )


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"hosts": ()}, "no host name"),
        ({"key_password": b"x"}, "go together"),
        ({"password_file": FILE}, "go together"),
        ({"key_password": b"", "password_file": FILE}, "1 to 1023 bytes"),
        ({"key_password": b"x" * 1024, "password_file": FILE}, "1 to 1023 bytes"),
        ({"root_key_password": b"", "intermediate": True}, "1 to 1023 bytes"),
        ({"root_key_password": b"x" * 1024, "intermediate": True}, "1 to 1023 bytes"),
        ({"name": ""}, "1 to 64"),
        ({"name": "  "}, "1 to 64"),
        ({"name": "x" * 65}, "1 to 64"),
        ({"name": "a\nb"}, "1 to 64"),
    ],
)
def test_what_a_ca_cannot_be_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        CaSpec(**changes)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    "changes",
    [
        {"key_password": b"x", "password_file": FILE},
        {"key_password": b"x" * 1023, "password_file": FILE},
        {"root_key_password": b"x" * 1023, "intermediate": True},
        {"name": "x"},
        {"name": "x" * 64},
        {"name": "Plant 7, hall B"},
    ],
)
def test_what_a_ca_can_just_be_is_taken(changes: dict[str, object]) -> None:
    made = CaSpec(**changes)  # type: ignore[arg-type]  # by name
    assert {name: getattr(made, name) for name in changes} == changes


def test_every_file_has_its_permissions_and_is_whole_when_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = os.fsync, dict[int, int]()

    def noted(descriptor: int) -> None:
        found = os.fstat(descriptor)
        sizes[found.st_ino] = found.st_size
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    directory = tmp_path / "ca"
    make(directory, CaSpec(intermediate=True))
    files = {path.name: path.stat() for path in directory.iterdir()}
    assert {name: file.st_mode & 0o777 for name, file in files.items()} == {
        CA_CERTIFICATE: 0o644,
        CA_KEY: 0o600,
        CONFIG_FILE: 0o600,
        ISSUING_CERTIFICATES: 0o644,
        ROOT_KEY: 0o600,
        SERVER_CERTIFICATE: 0o644,
        SERVER_KEY: 0o600,
        STORE: 0o600,
    }
    del files[STORE]  # SQLite's own business
    assert {name: sizes.get(file.st_ino) for name, file in files.items()} == {
        name: file.st_size for name, file in files.items()
    }


def test_a_ca_without_a_name_gets_one_of_its_own(tmp_path: Path) -> None:
    names = [make(tmp_path / f"ca{n}", CaSpec()).root.subject.rfc4514_string() for n in range(2)]
    assert all(re.fullmatch("CN=EST CA [0-9a-f]{8}", name) for name in names)
    assert names[0] != names[1]


def test_who_asks_is_told_where_an_older_ca_has_gone_and_of_nothing_else(tmp_path: Path) -> None:
    directory, told = tmp_path / "ca", list[Path]()
    make(directory, moved=told.append)
    make(directory, replace=True)
    assert told == []
    make(directory, replace=True, moved=told.append)
    assert told == [tmp_path / "ca.old-2"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_is_no_place_for_a_ca(replace: bool, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("mine")
    with pytest.raises(InitialisationError, match="ca: is a file, not a directory") as caught:
        make(tmp_path / "ca", replace=replace)
    assert not isinstance(caught.value, OccupiedError)
    assert (tmp_path / "ca").read_text() == "mine"


def test_what_holds_no_ca_is_not_moved_aside(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "notes.txt").write_text("mine")
    with pytest.raises(InitialisationError, match="holds something else than a CA"):
        make(tmp_path / "ca", replace=True)
    with pytest.raises(OccupiedError, match="is there already and not empty"):
        make(tmp_path / "ca")
    assert [path.name for path in tmp_path.iterdir()] == ["ca"]


def test_an_empty_directory_is_filled_by_whoever_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    make(tmp_path / "ca")
    assert (tmp_path / "ca" / CONFIG_FILE).exists()


@pytest.mark.parametrize(
    "name, reason", [("x" * 300, "File name too long"), ("f/ca", "f is no di")]
)
def test_a_directory_that_the_system_does_not_make_is_told(
    name: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(InitialisationError, match=f"cannot be made: .*{reason}"):
        make(tmp_path / name)


def test_a_kind_of_key_that_is_not_to_be_had_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown() -> SigningKey:
        raise UnsupportedAlgorithm("no ML-DSA here")

    monkeypatch.setattr(issuers, "CA_KEYS", {"ML-DSA-44": unknown})
    with pytest.raises(InitialisationError, match="cannot make ML-DSA-44 keys"):
        make(tmp_path / "ca", CaSpec(ca_key="ML-DSA-44"))
    assert list(tmp_path.iterdir()) == []


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="where open files are seen")
def test_a_ca_that_does_not_fit_its_key_leaves_nothing_there_and_nothing_open(
    tmp_path: Path,
) -> None:
    issuer = Issuer(certificate=pki().ca.certificate, key=new_key())
    before = open_files()
    with pytest.raises(InitialisationError, match=r"cannot issue: .*not that of its") as caught:
        make(tmp_path / "ca", CaSpec(given=issuer))
    assert open_files() == before, caught.value  # the frames of which are still there
    assert list(tmp_path.iterdir()) == []


def test_a_ca_below_one_that_allows_none_is_refused(tmp_path: Path) -> None:
    low = Authority("Too low", issuer=pki().intermediate)
    chain = (pki().intermediate.certificate, pki().ca.certificate)
    issuer = Issuer(certificate=low.certificate, chain=chain, key=low.key)
    with pytest.raises(InitialisationError, match=r"would not verify: .*path length"):
        make(tmp_path / "ca", CaSpec(given=issuer))
    assert list(tmp_path.iterdir()) == []


def test_what_a_given_ca_can_never_issue_is_told(tmp_path: Path) -> None:
    only = x509.NameConstraints([x509.DNSName("plant.example")], None)
    ca = pki().ca.issue(Subject(name="Bound", ca=True, eku=None, extra=(only,)))
    issuer = given_issuer((ca.certificate, pki().ca.certificate), ca.key, now=_clock.instant().wall)
    made = make(tmp_path / "ca", CaSpec(given=issuer, hosts=("est.plant.example",)))
    assert made.never_issued
    assert all(line.startswith("profile client can never issue ") for line in made.never_issued)
    assert made.certificates_file == tmp_path / "ca" / ISSUING_CERTIFICATES
    assert make(tmp_path / "free").never_issued == ()
