"""How the directory of a CA comes to be: secrets for their owner alone, all of it on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from est_transports import _clock
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.config.reader import CONFIG_FILE
from est_transports.service.initialisation import (
    CA_KEY,
    ROOT_KEY,
    SERVER_KEY,
    STORE,
    CaSpec,
    initialise,
)
from tests.recorded_os import RecordedOs, record_os

SECRET = {CA_KEY, ROOT_KEY, SERVER_KEY, STORE, CONFIG_FILE}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedOs]:
    """What is asked of the file system, under a umask that takes nothing away."""
    old = os.umask(0)
    try:
        yield record_os(monkeypatch, tmp_path)
    finally:
        os.umask(old)


def make(directory: Path, *, replace: bool = False) -> None:
    """Make a CA with an intermediate, which has all the files that there can be."""
    spec = CaSpec(intermediate=True, name="Plant")
    initialise(directory, spec, now=_clock.instant(), entropy=_clock.entropy, replace=replace)


def test_every_file_of_a_ca_is_its_owner_s_alone_from_the_first_moment(
    disk: RecordedOs, tmp_path: Path
) -> None:
    make(tmp_path / "ca")
    made = disk.made()
    assert {call.path.name for call in made} == {each.name for each in (tmp_path / "ca").iterdir()}
    for call in made:
        assert call.mode == 0o600, call
        assert call.flags & os.O_EXCL, call
    opened = {call.path.name for call in disk.of("fchmod") if call.mode & 0o077}
    assert {call.path.name for call in made} >= SECRET
    assert not SECRET & opened


@pytest.mark.parametrize("present", ["nothing", "an empty directory", "an older one"])
def test_a_ca_is_on_the_disk_when_it_is_there(
    present: str, disk: RecordedOs, tmp_path: Path
) -> None:
    directory = tmp_path / "ca"
    if present == "an empty directory":
        directory.mkdir()
    elif present == "an older one":
        make(directory)
        disk.calls.clear()
    make(directory, replace=present == "an older one")
    moves = [place for place, call in enumerate(disk.calls) if call.other is not None]
    (staging,) = {call.path.parent for call in disk.made()}
    for call in disk.made():
        if call.path.name != STORE:  # SQLite's own business
            assert disk.at("fsync", call.path) < moves[0], call
    assert disk.at("fsync", staging) < moves[0]
    above = directory if present == "an empty directory" else tmp_path
    assert disk.at("fsync", above) > moves[-1]


def test_a_new_database_is_its_owner_s_alone_from_the_first_moment(
    disk: RecordedOs, tmp_path: Path
) -> None:
    store = SqliteStore.create(tmp_path / "est.db")
    try:
        (made,) = disk.made()
        assert (made.mode, made.flags & os.O_EXCL != 0) == (0o600, True)
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
        assert set(modes.values()) == {0o600}, modes
    finally:
        store.close()


def test_a_new_database_is_its_owner_s_under_a_strange_umask_too(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        SqliteStore.create(tmp_path / "est.db").close()
    finally:
        os.umask(old)
    assert (tmp_path / "est.db").stat().st_mode & 0o777 == 0o600
