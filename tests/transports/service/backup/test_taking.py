"""What a backup holds, what it leaves out and says so, and where it is written."""

from __future__ import annotations

import errno
import gzip
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from est_transports.authority.stores import StoreError
from est_transports.service.backup.archive import ArchiveWriter
from est_transports.service.backup.contents import is_secret_key
from est_transports.service.backup.errors import BackupError
from est_transports.service.backup.manifest import Manifest, Reason
from est_transports.service.backup.restoring import restore_backup
from tests.docs.toml_edit import edited
from tests.transports.backup_site import PUBLIC, SECRETS, contents, made, packed, taken
from tests.transports.pair_faults import Call, FaultAt, fault_points

STORE = {"est.db"}
OWN = {"manifest.json", "manifest.sha256"}
LINE = b'{"event":"issued"}\n'


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return made(tmp_path / "ca")


def edit(ca: Path, text: str) -> None:
    config = ca / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), text), "utf-8")


def left_out(manifest: Manifest, reason: Reason) -> set[str]:
    return {each.path for each in manifest.left_out if each.reason is reason}


def test_keys_are_taken_on_request_alone(ca: Path, tmp_path: Path) -> None:
    (ca / "auth-secret.key").write_text("0" * 64)
    secrets = SECRETS | {"auth-secret.key"}
    without, with_keys = taken(ca, tmp_path / "a"), taken(ca, tmp_path / "b", with_keys=True)
    assert set(packed(tmp_path / "a")) == PUBLIC | STORE | OWN
    assert set(packed(tmp_path / "b")) == PUBLIC | STORE | OWN | secrets
    assert left_out(without, Reason.SECRET) == secrets
    assert not left_out(with_keys, Reason.SECRET)
    assert b"PRIVATE KEY" not in (tmp_path / "a").read_bytes()
    assert {each.path: each.named_by for each in without.left_out} == {
        "ca-key.pem": "[ca] key", "server-key.pem": "[tls] key",
        "auth-secret.key": "[auth] secret",
    }  # fmt: skip


def test_a_key_is_known_by_what_it_is_as_well(ca: Path, tmp_path: Path) -> None:
    (ca / "both.pem").write_bytes((ca / "ca-key.pem").read_bytes() + (ca / "ca.pem").read_bytes())
    (ca / "root-key.pem").write_bytes((ca / "ca-key.pem").read_bytes())
    edit(ca, '[tls]\nclient_trust = ["both.pem"]\n')
    manifest = taken(ca, tmp_path / "backup")
    assert left_out(manifest, Reason.SECRET) == SECRETS | {"both.pem", "root-key.pem"}
    assert b"PRIVATE KEY" not in (tmp_path / "backup").read_bytes()


@pytest.mark.parametrize("key", ["key", "keys", "secret", "key_password_file", "responder_key"])
def test_keys_of_secrets_are_known_by_their_names(key: str) -> None:
    assert is_secret_key(key)
    assert not is_secret_key("certificate")
    assert not is_secret_key("monkey")


def test_a_secret_that_all_can_read_is_not_restored_so(ca: Path, tmp_path: Path) -> None:
    (ca / "ca-key.pem").chmod(0o644)
    taken(ca, tmp_path / "backup", with_keys=True)
    restore_backup(tmp_path / "backup", tmp_path / "new")
    assert (tmp_path / "new" / "ca-key.pem").stat().st_mode & 0o777 == 0o640


def test_what_est_toml_names_is_taken_and_nothing_else(ca: Path, tmp_path: Path) -> None:
    (ca / "lists").mkdir()
    (ca / "lists" / "maker.crl").write_bytes(b"a list")
    (ca / "crl").mkdir()
    (ca / "crl" / "0a.crl").touch()
    (ca / "letter").touch()
    (ca / "trust.pem").symlink_to("ca.pem")
    (ca / "elsewhere.pem").symlink_to(tmp_path / "outside.pem")
    (tmp_path / "outside.pem").touch()
    edit(
        ca,
        '[crls]\nfiles = ["lists/maker.crl", "lists/../lists/maker.crl"]\n'
        '[tls]\nclient_trust = ["trust.pem", "elsewhere.pem", "../outside.pem", "missing.pem"]\n',
    )
    manifest = taken(ca, tmp_path / "backup")
    assert set(packed(tmp_path / "backup")) == PUBLIC | STORE | OWN | {
        "lists/maker.crl", "trust.pem",
    }  # fmt: skip
    assert packed(tmp_path / "backup")["trust.pem"] == (ca / "ca.pem").read_bytes()
    assert left_out(manifest, Reason.OUTSIDE) == {
        str(ca / "elsewhere.pem"), str(tmp_path / "outside.pem"),
    }  # fmt: skip
    assert left_out(manifest, Reason.UNNAMED) == {"letter"}
    restore_backup(tmp_path / "backup", tmp_path / "new")
    assert (tmp_path / "new" / "lists" / "maker.crl").read_bytes() == b"a list"
    assert (tmp_path / "new" / "lists").stat().st_mode & 0o777 == 0o700


def test_audit_files_are_taken_in_whole_lines(ca: Path, tmp_path: Path) -> None:
    (ca / "audit.jsonl").write_bytes(LINE * 3 + LINE[:9])
    (ca / "audit.jsonl.1").write_bytes(LINE)
    (ca / "audit.jsonl.2.gz").write_bytes(gzip.compress(LINE))
    taken(ca, tmp_path / "backup")
    found = packed(tmp_path / "backup")
    assert found["audit.jsonl"] == LINE * 3
    assert found["audit.jsonl.1"] == LINE
    assert gzip.decompress(found["audit.jsonl.2.gz"]) == LINE
    manifest = taken(ca, tmp_path / "without", with_audit=False)
    audit = {"audit.jsonl", "audit.jsonl.1", "audit.jsonl.2.gz"}
    assert not audit & set(packed(tmp_path / "without"))
    assert left_out(manifest, Reason.AUDIT) == audit
    edit(ca, "[audit]\nenabled = false\n")
    assert left_out(taken(ca, tmp_path / "off"), Reason.UNNAMED) == audit


def test_a_store_elsewhere_is_taken_too(ca: Path, tmp_path: Path) -> None:
    (ca / "est.db").rename(tmp_path / "other.db")
    edit(ca, '[ca]\nstore = "../other.db"\n')
    manifest = taken(ca, tmp_path / "backup")
    assert (manifest.store, manifest.store_outside) == ("other.db", str(ca / "../other.db"))
    restore_backup(tmp_path / "backup", tmp_path / "new")
    assert (tmp_path / "new" / "other.db").is_file()
    (ca / "other.db").touch()
    edit(ca, '[tls]\nclient_trust = ["other.db"]\n')
    with pytest.raises(BackupError, match="place of another file"):
        taken(ca, tmp_path / "again")


def test_a_backup_is_its_owner_s_alone_and_replaces_nothing_unasked(
    ca: Path, tmp_path: Path
) -> None:
    old = os.umask(0)
    try:
        taken(ca, tmp_path / "backup")
    finally:
        os.umask(old)
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    (tmp_path / "backup").write_bytes(b"older")
    with pytest.raises(BackupError, match="is there already"):
        taken(ca, tmp_path / "backup")
    assert (tmp_path / "backup").read_bytes() == b"older"
    taken(ca, tmp_path / "backup", replace=True)
    assert set(packed(tmp_path / "backup")) >= PUBLIC
    for place in (tmp_path / "directory", tmp_path / "link"):
        if place.name == "directory":
            place.mkdir()
        else:
            place.symlink_to("backup")
        with pytest.raises(BackupError, match="is no file"):
            taken(ca, place, replace=True)
    with pytest.raises(BackupError, match="nowhere"):
        taken(ca, tmp_path / "nowhere" / "backup")


def test_who_was_first_is_not_replaced(
    ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(_source: object, _target: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def taken_meanwhile(_source: object, _target: object) -> None:
        raise FileExistsError(errno.EEXIST, "File exists")

    def broken(_source: object, _target: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", no_links)  # as on FAT
    taken(ca, tmp_path / "backup")
    assert set(packed(tmp_path / "backup")) >= PUBLIC
    for link, said in ((taken_meanwhile, "is there already"), (broken, "Input/output")):
        monkeypatch.setattr(os, "link", link)
        with pytest.raises(BackupError, match=said):
            taken(ca, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("what", ["pipe", "directory", "too long", "too large"])
def test_what_no_backup_can_hold_is_told(
    what: str, ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "x" * 200 + ".pem" if what == "too long" else "named.pem"
    if what == "pipe":
        os.mkfifo(ca / name)
    elif what == "directory":
        (ca / name).mkdir()
    else:
        (ca / name).touch()
    if what == "too large":
        os.truncate(ca / name, 64 * 1024 * 1024 + 1)
    edit(ca, f'[tls]\nclient_trust = ["{name}"]\n')
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(BackupError) as caught:
        taken(ca, tmp_path / "backup")
    assert name in caught.value.message
    assert sorted(os.listdir(tmp_path)) == before


def test_a_file_that_becomes_shorter_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"short")
    with (
        (tmp_path / "file").open("rb") as source,
        (tmp_path / "out").open("wb") as out,
        pytest.raises(BackupError) as caught,
    ):
        ArchiveWriter(out, 0).add("file", source, 6)
    assert caught.value.code == "backup/changing"


# Disks that fill


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Have the system refuse larger files, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 600, 12_000, 100_000])
def test_a_disk_that_fills_leaves_nothing_and_no_old_backup_is_lost(
    size: int, ca: Path, tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    (tmp_path / "backup").write_bytes(b"older")
    before = contents(ca), sorted(os.listdir(tmp_path))
    small_files(size)
    with pytest.raises((BackupError, StoreError)) as caught:
        taken(ca, tmp_path / "backup", replace=True)
    assert "\n" not in str(caught.value)
    assert (contents(ca), sorted(os.listdir(tmp_path))) == before
    assert (tmp_path / "backup").read_bytes() == b"older"


def test_each_step_may_fail(ca: Path, tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def before(call: Call) -> None:
        if not call.is_done and call.name not in ("unlink", "rmdir"):  # what is cleared away
            hook(call)

    at, hook = 0, FaultAt(-1, fail)
    while hook.at < hook.seen:
        (tmp_path / "backup").unlink(missing_ok=True)
        hook, at = FaultAt(at, fail), at + 1
        with (
            fault_points(before),
            suppress(pytest.fail.Exception),
            pytest.raises(BackupError, match="No space left"),
        ):
            taken(ca, tmp_path / "backup")
        assert sorted(os.listdir(tmp_path)) in (["backup", "ca"], ["ca"])
    assert at > 4
