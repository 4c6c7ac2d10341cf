"""A directory made of a backup: whole or not at all, and nothing before the file was judged."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from est_core import LocalProtocolError
from est_transports.authority.crls import CrlSchedule, make_crl
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_schema import APPLICATION_ID, MIGRATIONS, upgrade
from est_transports.service.backup.archive import ArchiveWriter, check_name
from est_transports.service.backup.errors import BackupError
from est_transports.service.backup.restoring import restore_backup
from est_transports.service.config.reader import load_config
from est_transports.service.loading import load_service
from tests.cli.other_user import AS_ROOT, GID, UID
from tests.docs.toml_edit import edited
from tests.transports.backup_site import (
    NOW,
    PUBLIC,
    SECRETS,
    contents,
    forged,
    made,
    packed,
    taken,
    user_names,
)
from tests.transports.pair_faults import Call, FaultAt, fault_points


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup with keys of a CA with one user."""
    place = tmp_path_factory.mktemp("backup")
    ca = made(place / "ca")
    store = SqliteStore(ca / "est.db")
    store.add_user("alice", "x")
    store.close()
    (ca / "lists").mkdir()
    (ca / "lists" / "maker.crl").write_bytes(b"a list")
    text = (ca / "est.toml").read_text("utf-8")
    (ca / "est.toml").write_text(edited(text, '[crls]\nfiles = ["lists/maker.crl"]\n'), "utf-8")
    taken(ca, place / "ca.backup", with_keys=True)
    return place / "ca.backup"


def refusal(
    file: Path, directory: Path, *, replace: bool = False, begins: bool = False
) -> BackupError:
    """Return why a backup is not restored; the directory's place and those beside are untouched.

    Unless it `begins`, nothing is written at all, not even for a moment.
    """
    before = sorted(os.listdir(directory.parent)), contents(directory)
    hook = _nothing if begins else _refuse_changes
    with pytest.raises(BackupError) as caught, fault_points(hook):
        restore_backup(file, directory, replace=replace)
    assert (sorted(os.listdir(directory.parent)), contents(directory)) == before
    return caught.value


def _nothing(_call: Call) -> None:
    pass


def _refuse_changes(call: Call) -> None:
    assert not call.is_change, call


def test_a_directory_is_what_it_was(backup: Path, tmp_path: Path) -> None:
    restored = restore_backup(backup, tmp_path / "new")
    assert restored.aside is None
    assert restored.manifest.with_keys
    assert set(contents(tmp_path / "new")) == PUBLIC | SECRETS | {
        "est.db", "lists/maker.crl",
    }  # fmt: skip
    for name in PUBLIC | SECRETS:
        assert (tmp_path / "new" / name).read_bytes() == packed(backup)[name]
    assert user_names(tmp_path / "new") == ["alice"]
    modes = {name: (tmp_path / "new" / name).stat().st_mode & 0o777 for name in SECRETS | PUBLIC}
    assert {modes[name] for name in SECRETS} == {0o600}
    assert (modes["ca.pem"], modes["est.toml"]) == (0o644, 0o600)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_what_was_there_stays_and_with_force_is_moved_aside(backup: Path, tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    old = contents(ca)
    assert "not empty" in refusal(backup, ca).message
    restored = restore_backup(backup, ca, replace=True)
    assert restored.aside == tmp_path / "ca.old-1"
    assert contents(restored.aside) == old
    assert user_names(ca) == ["alice"]


def test_an_empty_directory_is_filled_and_a_file_is_none(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    restore_backup(backup, tmp_path / "empty")
    assert user_names(tmp_path / "empty") == ["alice"]
    (tmp_path / "file").touch()
    assert "not a directory" in refusal(backup, tmp_path / "file").message
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").touch()
    assert "something else" in refusal(backup, tmp_path / "home", replace=True).message


def test_the_current_directory_is_not_moved_aside(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made(tmp_path / "ca"))
    with pytest.raises(LocalProtocolError):
        restore_backup(backup, Path(), replace=True)


@AS_ROOT
@pytest.mark.parametrize("replace", [False, True])
def test_files_belong_to_the_owner_of_the_directory(
    replace: bool, backup: Path, tmp_path: Path
) -> None:
    ca = made(tmp_path / "ca") if replace else tmp_path / "ca"
    ca.mkdir(exist_ok=True)
    for each in (ca, *ca.iterdir()):
        os.chown(each, UID, GID)
    if replace:
        (ca / "ca-key.pem").chmod(0o640)
    restore_backup(backup, ca, replace=replace)
    for each in (ca, *ca.rglob("*")):
        assert (each.stat().st_uid, each.stat().st_gid) == (UID, GID), each
    assert (ca / "ca-key.pem").stat().st_mode & 0o777 == (0o640 if replace else 0o600)


def test_a_store_that_somebody_has_open_is_not_moved_away(backup: Path, tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    program = (
        "import sys; from est_transports.authority.stores.sqlite import SqliteStore\n"
        "store = SqliteStore(sys.argv[1]); store.open(); print('open', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(ca / "est.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert refusal(backup, ca, replace=True).code == "backup/in-use"
        (ca / "est.toml").write_text("this is no TOML")
        assert refusal(backup, ca, replace=True).code == "backup/in-use"
    finally:
        process.communicate(b"\n")
    assert restore_backup(backup, ca, replace=True).aside is not None


def test_an_older_store_is_brought_up_to_date(tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    (ca / "est.db").unlink()
    with closing(sqlite3.connect(ca / "est.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE TABLE schema_migration (number INTEGER PRIMARY KEY) STRICT")
        upgrade(connection, ca / "est.db", MIGRATIONS[:1])
    assert taken(ca, tmp_path / "old.backup").schema == 1
    restore_backup(tmp_path / "old.backup", tmp_path / "new")
    assert user_names(tmp_path / "new") == []
    assert taken(tmp_path / "new", tmp_path / "new.backup").schema == len(MIGRATIONS)


def test_the_numbers_of_revocation_lists_do_not_go_back(tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    before = _next_list(ca, 0)
    taken(ca, tmp_path / "backup", with_keys=True)
    since = [_next_list(ca, minutes) for minutes in (1, 2)]
    restore_backup(tmp_path / "backup", ca, replace=True)
    assert before < since[0] < since[1] < _next_list(ca, 3)


def _next_list(ca: Path, minutes: int) -> int:
    store = SqliteStore(ca / "est.db")
    with closing(store):
        authority = load_service(load_config(ca / "est.toml"), store=store).authority.ca
        at = NOW.wall + timedelta(minutes=minutes)
        return make_crl(authority, store, CrlSchedule(), now=at).number


# Files that are no backup, or not any more


def test_every_file_that_was_cut_off_is_refused(backup: Path, tmp_path: Path) -> None:
    whole, short = backup.read_bytes(), tmp_path / "short.backup"
    for size in (*range(512, len(whole), 4096), len(whole) - 1024, len(whole) - 1):
        short.write_bytes(whole[:size])
        assert refusal(short, tmp_path / "new").code == "backup/damaged", size
    short.write_bytes(whole + b"\0")
    assert refusal(short, tmp_path / "new").code == "backup/damaged"


def test_no_byte_may_be_another_one(backup: Path, tmp_path: Path) -> None:
    whole, changed = backup.read_bytes(), tmp_path / "changed.backup"
    for place in range(0, len(whole), 997):
        damaged = bytearray(whole)
        damaged[place] ^= 0x20
        changed.write_bytes(damaged)
        assert refusal(changed, tmp_path / "new").code in ("backup/damaged", "backup/unknown")


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(10240), b"\x1f\x8b" + bytes(600)])
def test_what_is_no_backup_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert refusal(tmp_path / "file", tmp_path / "new").code == "backup/unknown"


def test_another_archive_is_no_backup(backup: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(backup, "data", filter=_plain)
    assert refusal(tmp_path / "other.tar", tmp_path / "new").code in (
        "backup/unknown", "backup/damaged",
    )  # fmt: skip
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        assert str(place) in refusal(place, tmp_path / "new").message


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o600, 0, 0, "", ""
    member.mtime = int(member.mtime)
    return member


HEAD = re.compile(
    "head of another form|cut off|a file in it (leads out|is no name|has an impossible)"
)


def evil(name: str, **values: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = 0o600
    for key, value in values.items():
        setattr(member, key, value)
    return member


@pytest.mark.parametrize(
    "member",
    [
        evil("../est.toml"),
        evil("/etc/passwd"),
        evil("a/../../b"),
        evil("./est.toml"),
        evil("a//b"),
        evil("a\nb"),
        evil("est.toml", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        evil("est.toml", type=tarfile.LNKTYPE, linkname="../est.toml"),
        evil("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        evil("disk", type=tarfile.BLKTYPE),
        evil("pipe", type=tarfile.FIFOTYPE),
        evil("directory", type=tarfile.DIRTYPE),
        evil("sparse", type=tarfile.GNUTYPE_SPARSE),
        evil("long", type=tarfile.GNUTYPE_LONGNAME),
        evil("extended", type=tarfile.XHDTYPE),
        evil("setuid", mode=0o4755),
        evil("his", uid=1000),
        evil("bomb", size=8**11 - 1),
        evil("bomb", size=2**40),
    ],
    ids=lambda member: f"{member.name!r}-{member.type!r}",
)
def test_hostile_members_are_refused(member: tarfile.TarInfo, backup: Path, tmp_path: Path) -> None:
    """Nothing else is wrong: the list of files has it, with the digest that it should have."""
    members = packed(backup)
    rest = forged(tmp_path / "rest", members, _listed_too(member)).read_bytes()
    file = tmp_path / "evil.backup"
    file.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + rest)
    error = refusal(file, tmp_path / "new")
    assert error.code == "backup/damaged"
    assert HEAD.search(error.message), error.message
    assert "\n" not in error.message


def _listed_too(member: tarfile.TarInfo) -> Callable[[Any], object]:
    digest = hashlib.sha256(b"").hexdigest()
    entry = {"path": member.name, "size": 0, "sha256": digest, "mode": 0o600}
    return lambda listed: listed["members"].insert(0, entry)


@pytest.mark.parametrize("name", ["../est.toml", "/etc/passwd", "a/../b", "./a", "a//b", "", "a\n"])
def test_a_name_that_leads_elsewhere_is_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"leads out|no name"):
        check_name(name)
    check_name("a/b.pem")


def test_a_file_is_in_it_once(backup: Path, tmp_path: Path) -> None:
    members = packed(backup)
    digest = hashlib.sha256(members["ca.pem"]).hexdigest()
    entry = {"path": "ca.pem", "size": len(members["ca.pem"]), "sha256": digest, "mode": 0o600}
    twice = forged(tmp_path / "f", members, lambda listed: listed["members"].insert(0, entry))
    found = packed(twice)
    names = ("ca.pem", *found)
    assert refusal(_written(tmp_path / "g", found, names), tmp_path / "new").code == (
        "backup/damaged"
    )


def test_a_date_that_was_changed_is_told(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    place = whole.rindex(b'"created": "2') + len(b'"created": "')
    changed = tmp_path / "changed.backup"
    changed.write_bytes(whole[:place] + b"1" + whole[place + 1 :])
    assert "list of files was changed" in refusal(changed, tmp_path / "new").message


def test_the_number_of_files_is_bounded_before_the_list_is_read(tmp_path: Path) -> None:
    many = {f"{number}": b"" for number in range(1003)}
    file = _written(tmp_path / "f", many, tuple(many))
    assert "more than 1000 files" in refusal(file, tmp_path / "new").message


def _set(key: str, value: object) -> Callable[[Any], object]:
    return lambda listed: listed.__setitem__(key, value)


def _member(key: str, value: object) -> Callable[[Any], object]:
    return lambda listed: listed["members"][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_set("format", 2), "backup/newer"),
        (_set("format", -1), "backup/damaged"),
        (_set("format", True), "backup/damaged"),
        (_set("members", []), "backup/damaged"),
        (_set("members", {}), "backup/damaged"),
        (_set("members", [1]), "backup/damaged"),
        (_set("store", "other.db"), "backup/damaged"),
        (_set("created", "yesterday"), "backup/damaged"),
        (_set("created", "2026-11-28T00:00:00"), "backup/damaged"),
        (_set("directory", "x" * 5000), "backup/damaged"),
        (_set("with_keys", 1), "backup/damaged"),
        (_set("left_out", [{"path": "x", "named_by": "", "reason": "mood"}]), "backup/damaged"),
        (_member("path", "../est.toml"), "backup/damaged"),
        (_member("path", "other.toml"), "backup/damaged"),
        (_member("sha256", "0" * 64), "backup/damaged"),
        (_member("sha256", "0"), "backup/damaged"),
        (_member("mode", 0o7777), "backup/damaged"),
        (_member("size", 1), "backup/damaged"),
        (lambda listed: listed["members"].append(listed["members"][0]), "backup/damaged"),
        (lambda listed: listed["members"].pop(), "backup/damaged"),
        (lambda listed: listed.pop("store"), "backup/damaged"),
    ],
)
def test_a_list_of_files_that_lies_is_refused(
    change: Callable[[Any], object], code: str, backup: Path, tmp_path: Path
) -> None:
    file = forged(tmp_path / "forged.backup", packed(backup), change)
    assert refusal(file, tmp_path / "new").code == code


def test_a_list_of_files_that_lies_about_the_store_is_refused(backup: Path, tmp_path: Path) -> None:
    file = forged(tmp_path / "forged.backup", packed(backup), _set("certificates", 7))
    assert refusal(file, tmp_path / "new", begins=True).code == "backup/damaged"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("est.toml",), "backup/unknown"),
        (("est.toml", "est.db"), "backup/unknown"),
        (("manifest.json", "manifest.sha256", "est.toml"), "backup/damaged"),
        (("manifest.sha256", "manifest.json"), "backup/damaged"),
    ],
)
def test_a_list_of_files_that_is_elsewhere_is_refused(
    names: tuple[str, ...], code: str, backup: Path, tmp_path: Path
) -> None:
    assert refusal(_written(tmp_path / "f", packed(backup), names), tmp_path / "new").code == code


@pytest.mark.parametrize("size", [0, 1024 * 1024 + 1])
def test_a_list_of_files_is_bounded(size: int, backup: Path, tmp_path: Path) -> None:
    members = {"manifest.json": b" " * size, "manifest.sha256": b"0"}
    file = _written(tmp_path / "f", packed(backup) | members, ("manifest.json", "manifest.sha256"))
    assert "too large, or empty" in refusal(file, tmp_path / "new").message


def _written(file: Path, members: dict[str, bytes], names: tuple[str, ...]) -> Path:
    with file.open("wb") as out:
        writer = ArchiveWriter(out, 0)
        for name in names:
            writer.add(name, io.BytesIO(members[name]), len(members[name]))
        writer.end()
    return file


def test_a_backup_that_is_changed_while_it_is_read_is_refused(backup: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    file.write_bytes(backup.read_bytes())

    def change(call: Call) -> None:
        if call.name != "mkdir":
            return
        with file.open("r+b") as changed:
            changed.seek(600)
            changed.write(b"!")

    with pytest.raises(BackupError, match="while it was read"), fault_points(change):
        restore_backup(file, tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["a.backup"]


@pytest.mark.parametrize("text", [b"[" * 100_000, b"[]", b"nothing", b"{}", b"\xff"])
def test_a_list_of_files_that_is_none_is_refused(text: bytes, backup: Path, tmp_path: Path) -> None:
    from est_transports.service.backup.manifest import read_manifest

    with pytest.raises(BackupError) as caught:
        read_manifest(text)
    assert caught.value.code == "backup/damaged"


@pytest.mark.parametrize(
    ("extra", "lost"),
    [
        ({"est.toml/inside": b""}, ""),
        ({f"{number}": b"" for number in range(1001)}, ""),
        ({}, "est.toml"),
    ],
    ids=["a file and a directory", "too many", "no est.toml"],
)
def test_what_cannot_be_a_directory_is_refused(
    extra: dict[str, bytes], lost: str, backup: Path, tmp_path: Path
) -> None:
    members = {name: text for name, text in packed(backup).items() if name != lost}
    file = forged(tmp_path / "forged.backup", extra | members, lambda _listed: None)
    assert refusal(file, tmp_path / "new").code == "backup/damaged"


def _overwrite(store: Path) -> None:
    content = bytearray(store.read_bytes())
    content[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    store.write_bytes(content)


def _lose_a_device(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:  # which looks after no foreign keys
        connection.execute("INSERT INTO device_name VALUES ('gone', 1, 'name', 'name')")
        connection.commit()


@pytest.mark.parametrize(
    "damage", [_overwrite, _lose_a_device, lambda store: store.write_bytes(b"no database")]
)
def test_a_store_that_is_damaged_is_refused(
    damage: Callable[[Path], object], backup: Path, tmp_path: Path
) -> None:
    members, store = packed(backup), tmp_path / "est.db"
    store.write_bytes(members["est.db"])
    damage(store)
    members["est.db"] = store.read_bytes()
    file = forged(tmp_path / "f.backup", members, lambda _listed: None)
    assert refusal(file, tmp_path / "new", begins=True).code == "backup/store-damaged"


# Disks that fill, and processes that end


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Have the system refuse larger files, as a full disk does: a part of them is there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 5000, 50_000])
def test_a_disk_that_fills_leaves_nothing(
    size: int, backup: Path, tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    small_files(size)
    assert "File too large" in refusal(backup, tmp_path / "new", begins=True).message


def test_a_disk_without_room_is_not_written_to(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    full = os.statvfs_result((*real[:4], 10, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    error = refusal(backup, tmp_path / "new", begins=True)
    assert error.remedy == "make room there"


def _before(hook: FaultAt) -> Callable[[Call], None]:
    return lambda call: None if call.is_done else hook(call)


def test_each_step_may_fail_and_everything_is_as_it_was(backup: Path, tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")

    def fail() -> None:
        raise OSError(28, "No space left on device")

    aside, at, hook = tmp_path / "ca.old-1", 0, FaultAt(-1, fail)
    while hook.at < hook.seen:
        hook, at = FaultAt(at, fail), at + 1
        before = contents(ca)
        with fault_points(_before(hook)), suppress(pytest.fail.Exception):
            assert "No space left" in refusal(backup, ca, replace=True, begins=True).message
        if aside.exists():  # it did without, as with a directory that need not be made
            assert contents(aside) == before
            shutil.rmtree(ca)
            aside.rename(ca)
    assert 15 < hook.seen <= at


def test_whoever_is_killed_leaves_the_old_directory_or_the_new_one(
    backup: Path, tmp_path: Path
) -> None:
    made(tmp_path / "ca")
    done = subprocess.run(
        [sys.executable, "-m", "tests.transports.backup_site", backup, tmp_path / "ca", "5"],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert int(done.stdout) > 15
    assert json.loads(packed(backup)["manifest.json"])["format"] == 1
