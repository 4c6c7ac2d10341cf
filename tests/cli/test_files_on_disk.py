"""How files come to be: for their owner alone from the first moment, on the disk, over no other."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from est_transports.cli.client.pending import (
    Pending,
    find_pending,
    mark_refused,
    resume,
    save_pending,
)
from est_transports.cli.client.received_certificate import Destination, install
from est_transports.cli.client.requested_names import RequestedNames
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, write_files
from est_transports.cli.keys import NewKey
from est_transports.pairs import PairDirectory
from est_transports.pki.credential_files import key_pem
from tests.pki import common_name, new_key, pki
from tests.recorded_os import Call, RecordedOs, record_os


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedOs]:
    """What is asked of the file system, under a umask that takes nothing away."""
    old = os.umask(0)
    try:
        yield record_os(monkeypatch, tmp_path)
    finally:
        os.umask(old)


def outputs(directory: Path) -> list[Output]:
    """Return a key, a certificate, and a certificate in another directory."""
    return [
        Output(path=directory / "key.pem", content=b"key", secret=True),
        Output(path=directory / "cert.pem", content=b"certificate"),
        Output(path=directory / "below" / "chain.pem", content=b"chain"),
    ]


def staged(disk: RecordedOs, path: Path) -> Path:
    """Return the temporary name under which a file was written."""
    (call,) = [each for each in disk.calls if each.other == path]
    return call.path


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.req("EST-296")
def test_a_file_is_its_owner_s_alone_from_the_first_moment(
    overwrite: bool, disk: RecordedOs, tmp_path: Path
) -> None:
    write_files(outputs(tmp_path), overwrite=overwrite)
    made = disk.made()
    assert len(made) == 3
    for call in made:
        assert call.mode == 0o600
        assert call.flags & os.O_EXCL
        assert call.flags & os.O_NOFOLLOW
    key = staged(disk, tmp_path / "key.pem")
    assert [call.mode for call in disk.of("fchmod", key)] == [0o600]
    certificate = staged(disk, tmp_path / "cert.pem")
    assert [call.mode for call in disk.of("fchmod", certificate)] == [0o644]


@pytest.mark.parametrize("overwrite", [False, True])
def test_every_file_is_on_the_disk_before_any_has_its_name_and_then_the_directories_are(
    overwrite: bool, disk: RecordedOs, tmp_path: Path
) -> None:
    wanted = outputs(tmp_path)
    write_files(wanted, overwrite=overwrite)
    moves = [place for place, call in enumerate(disk.calls) if call.other is not None]
    assert [disk.calls[place].other for place in moves] == [output.path for output in wanted]
    for output in wanted:
        assert disk.at("fsync", staged(disk, output.path)) < moves[0]
        assert disk.at("fsync", output.path.parent) > moves[-1]


def test_a_file_that_came_to_be_a_moment_ago_is_not_replaced(
    disk: RecordedOs, tmp_path: Path
) -> None:
    def somebody_is_faster(call: Call) -> None:
        if call.name == "fsync":
            (tmp_path / "key.pem").write_bytes(b"somebody else's")

    disk.before = somebody_is_faster
    with pytest.raises(CliError, match=r"key\.pem is there already") as refused:
        write_files(outputs(tmp_path)[:2])
    assert refused.value.code is ExitCode.LOCAL
    assert (tmp_path / "key.pem").read_bytes() == b"somebody else's"
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_where_there_are_no_hard_links_a_file_is_looked_for_once_more(
    number: int, disk: RecordedOs, tmp_path: Path
) -> None:
    def no_links(call: Call) -> None:
        if call.name == "link":
            raise OSError(number, os.strerror(number), str(call.path))

    disk.before = no_links
    write_files(outputs(tmp_path)[:1])
    assert (tmp_path / "key.pem").read_bytes() == b"key"
    assert [call.name for call in disk.calls if call.other is not None] == ["replace"]

    def no_links_and_somebody_is_faster(call: Call) -> None:
        if call.name == "link":
            (tmp_path / "cert.pem").write_bytes(b"somebody else's")
        no_links(call)

    disk.before = no_links_and_somebody_is_faster
    with pytest.raises(CliError, match="is there already"):
        write_files(outputs(tmp_path)[1:2])
    assert (tmp_path / "cert.pem").read_bytes() == b"somebody else's"


@pytest.mark.parametrize("overwrite", [False, True])
def test_where_a_file_does_not_reach_the_disk_nothing_has_changed(
    overwrite: bool, disk: RecordedOs, tmp_path: Path
) -> None:
    if overwrite:
        (tmp_path / "key.pem").write_bytes(b"old")

    def full(call: Call) -> None:
        if call.name == "fsync" and len(disk.of("fsync")) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.before = full
    with pytest.raises(CliError, match="cannot write"):
        write_files(outputs(tmp_path)[:2], overwrite=overwrite)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == ({"key.pem": b"old"} if overwrite else {})


def test_the_key_comes_after_what_it_is_good_for(disk: RecordedOs, tmp_path: Path) -> None:
    chain = (pki().ca.certificate,)
    written = install(
        Destination(directory=tmp_path, force=False, with_key=True),
        certificate=pki().client.certificate,
        chain=chain,
        ca_certificates=chain,
        key=NewKey(key=new_key()),
    )
    moved = [call.other for call in disk.calls if call.other is not None]
    assert moved == list(written)
    assert [path.name for path in written[-2:]] == ["cert.pem", "key.pem"]


def test_the_keys_of_all_requests_that_were_refused_are_kept(tmp_path: Path) -> None:
    keys = [NewKey(key=new_key()) for _ in range(3)]
    for number, key in enumerate(keys):
        requested = RequestedNames(subject=common_name(f"device-{number}"))
        assert resume(tmp_path, requested, None, None, force=False) is None
        save_pending(tmp_path, Pending(requested=requested, key=key))
        mark_refused(tmp_path, Pending(requested=requested, key=key))
    last = find_pending(tmp_path)
    assert last is not None
    assert last.refused
    kept = [(tmp_path / f"key.pem.refused.{number}").read_bytes() for number in (1, 2)]
    assert isinstance(last.key, NewKey)
    assert [*kept, key_pem(last.key.key)] == [key_pem(key.key) for key in keys]


@pytest.mark.parametrize("way", ["current", "pairs/1"])
def test_nothing_is_written_into_a_pair_that_an_agent_looks_after(tmp_path: Path, way: str) -> None:
    device = tmp_path / "device"
    with PairDirectory.open(device, create=True) as pairs:
        pairs.begin(pki().client.key_pem, None)
        pairs.receive(pki().client.certificate)
        pairs.promote()
    place = device / way
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    with pytest.raises(CliError, match="est agent") as caught:
        write_files(outputs(place), overwrite=True)
    assert caught.value.code is ExitCode.LOCAL
    destination = Destination(directory=place, force=True, with_key=True)
    with pytest.raises(CliError, match="est agent"):
        destination.check()
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_directory_that_is_only_called_so_may_be_written_to(tmp_path: Path) -> None:
    place = tmp_path / "pairs" / "7"
    write_files(outputs(place))
    assert (place / "key.pem").exists()
