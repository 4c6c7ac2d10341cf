"""Where files and directories of the commands go, and whose they are when they replace others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from est_transports.cli import group
from est_transports.cli.errors import CliError
from est_transports.cli.files import Output, write_files
from tests.cli.other_user import AS_ROOT, GID, UID, common_place, est_as, give_away

__all__ = ["common_place"]


def est(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, [str(each) for each in arguments])


def whose(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    directory = tmp_path / "ca"
    assert est("init", directory).exit_code == 0
    return directory


# Whose


@AS_ROOT
def test_root_renews_a_server_s_identity_for_the_user_who_runs_it(common_place: Path) -> None:
    ca = common_place / "ca"
    assert est("init", ca).exit_code == 0
    give_away(ca)
    (ca / "server-key.pem").chmod(0o640)
    before = {path.name: whose(path) for path in ca.iterdir()}
    old = (ca / "server-key.pem").read_bytes()
    assert est("init", ca, "--renew-server").exit_code == 0
    assert (ca / "server-key.pem").read_bytes() != old
    assert {path.name: whose(path) for path in ca.iterdir()} == before
    # That user can go on: everything is read, and the store is written.
    done = est_as(UID, "init", ca, "--renew-server")
    assert done.returncode == 0, done.stderr


@AS_ROOT
def test_who_may_not_give_a_file_to_its_owner_replaces_nothing(common_place: Path) -> None:
    ca = common_place / "ca"
    assert est("init", ca).exit_code == 0
    give_away(ca)
    for name in ("server.pem", "server-key.pem"):
        os.chown(ca / name, UID + 1, GID)
        (ca / name).chmod(0o640)
    before = {path.name: (path.read_bytes(), whose(path)) for path in ca.glob("server*")}
    done = est_as(UID, "init", ca, "--renew-server")
    assert done.returncode == 5, done.stderr
    assert f"{ca}/server-key.pem: the file there belongs to user {UID + 1}" in done.stderr
    assert {path.name: (path.read_bytes(), whose(path)) for path in ca.glob("server*")} == before
    assert not list(ca.glob(".server*"))


@pytest.mark.parametrize(
    ("secret", "old", "new"), [(True, 0o640, 0o640), (True, 0o644, 0o640), (False, 0o664, 0o664)]
)
def test_a_file_keeps_its_permissions_but_no_secret_is_for_everybody(
    secret: bool, old: int, new: int, tmp_path: Path
) -> None:
    path = tmp_path / "file.pem"
    path.write_bytes(b"old")
    path.chmod(old)
    write_files([Output(path=path, content=b"new", secret=secret)], overwrite=True)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", new)


def test_a_file_keeps_its_access_list(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"old")
    # user::rw- user:54321:r-- group::--- mask::r-- other::---
    entries = [(1, 6, None), (2, 4, UID), (4, 0, None), (16, 4, None), (32, 0, None)]
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little")
        + rights.to_bytes(2, "little")
        + (0xFFFFFFFF if who is None else who).to_bytes(4, "little")
        for tag, rights, who in entries
    )
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except (AttributeError, OSError):
        pytest.skip("no access lists here")
    write_files([Output(path=path, content=b"new", secret=True)], overwrite=True)
    assert os.getxattr(path, "system.posix_acl_access") == acl


def test_a_directory_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "key.pem").mkdir()
    with pytest.raises(CliError, match=r"cannot write .*key\.pem"):
        write_files([Output(path=tmp_path / "key.pem", content=b"x")], overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@AS_ROOT
def test_root_makes_a_ca_for_the_user_whose_directory_it_is(common_place: Path) -> None:
    ca = common_place / "ca"
    ca.mkdir(mode=0o750)
    os.chown(ca, UID, GID)
    assert est("init", ca).exit_code == 0
    assert whose(ca) == (UID, GID, 0o700)
    ca.chmod(0o750)
    assert {whose(path)[:2] for path in ca.iterdir()} == {(UID, GID)}
    assert whose(ca / "ca-key.pem")[2] == 0o600
    assert whose(ca / "ca.pem")[2] == 0o644
    assert est("init", ca, "--force").exit_code == 0
    assert whose(ca) == (UID, GID, 0o750)
    assert {whose(path)[:2] for path in ca.iterdir()} == {(UID, GID)}
    done = est_as(UID, "certs", "list", ca)
    assert done.returncode == 0, done.stderr


@AS_ROOT
def test_an_empty_directory_is_enough_where_nothing_may_be_made_beside_it(
    common_place: Path,
) -> None:
    ca = common_place / "ca"
    ca.mkdir(mode=0o700)
    os.chown(ca, UID, GID)
    done = est_as(UID, "init", ca)
    assert done.returncode == 0, done.stderr
    assert est_as(UID, "certs", "list", ca).returncode == 0


# Where


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", ""),
        ("init", "", "--force"),
        ("serve", ""),
        ("user", "list", ""),
        ("certs", "list", ""),
        ("init", "ca", "--ca-key-password-file", ""),
        ("enroll", "https://localhost", "--cn", "x", "--out", ""),
        ("enroll", "https://localhost", "--cn", "x", "--trust", ""),
        ("cacerts", "https://localhost", "--out", ""),
        ("demo", "--dir", ""),
        ("init", "~/no-such-directory"),
        ("init", "~nobody-here/ca", "--force"),
        ("enroll", "https://localhost", "--cn", "x", "--out", "~/device"),
    ],
)
def test_an_empty_path_or_one_with_a_tilde_is_no_path(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "precious").write_text("x")
    monkeypatch.chdir(here)
    done = est(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("est: ")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "here",
        "here/precious",
    ]


def test_a_directory_that_is_really_called_so_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert est("init", "./~").exit_code == 0
    assert est("certs", "list", "~").exit_code == 0


@pytest.mark.parametrize("name", ["/", ".", "..", "../here", "../../x/.."])
def test_the_current_directory_and_those_above_it_are_not_moved_aside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "precious").write_text("x")
    monkeypatch.chdir(here)
    done = est("init", name, "--force")
    assert done.exit_code == 2, done.output
    assert "is the current directory or one above it" in done.stderr
    assert "--force" not in est("init", name).stderr
    assert (here / "precious").exists()
    assert len(list(tmp_path.rglob("*"))) == 2


def test_a_home_directory_is_not_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "precious").write_text("x")
    monkeypatch.setenv("HOME", str(home))
    done = est("init", home, "--force")
    assert (done.exit_code, "home directory" in done.stderr) == (2, True)
    assert (home / "precious").exists()


def test_the_empty_current_directory_is_filled_and_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = tmp_path / "ca"
    ca.mkdir(mode=0o711)
    monkeypatch.chdir(ca)
    before = ca.stat().st_ino
    assert est("init", ".").exit_code == 0
    assert (ca.stat().st_ino, stat.S_IMODE(ca.stat().st_mode)) == (before, 0o700)
    assert sorted(path.name for path in Path.cwd().iterdir()) == [
        "ca-key.pem", "ca.pem", "est.db", "est.toml", "server-key.pem", "server.pem",
    ]  # fmt: skip


def test_a_file_and_a_link_are_not_moved_aside(ca: Path, tmp_path: Path) -> None:
    file, link, dangling = tmp_path / "file", tmp_path / "link", tmp_path / "dangling"
    file.write_text("x")
    link.symlink_to(ca)
    dangling.symlink_to(tmp_path / "nowhere")
    for place, words in (
        (file, "is a file, not a directory"),
        (link, f"is a symbolic link; name the directory itself, {ca}"),
        (dangling, "is a symbolic link"),
    ):
        done = est("init", place, "--force")
        assert (done.exit_code, words in done.stderr) == (5, True), done.stderr
    assert (file.read_text(), link.is_symlink(), dangling.is_symlink()) == ("x", True, True)
    assert not list(tmp_path.glob("*.old-*"))


def test_a_directory_that_is_no_ca_s_is_not_moved_aside(ca: Path, tmp_path: Path) -> None:
    other = tmp_path / "etc"
    other.mkdir()
    (other / "passwd").write_text("x")
    done = est("init", other, "--force")
    assert (done.exit_code, "holds something else than a CA" in done.stderr) == (5, True)
    assert "--force" not in est("init", other).stderr
    assert (other / "passwd").read_text() == "x"
    assert not list(tmp_path.glob("*.old-*"))
    # What is left of a CA is enough to know it by.
    for name in ("est.toml", "est.db"):
        (ca / name).unlink()
    assert est("init", ca, "--force").exit_code == 0
    assert (tmp_path / "ca.old-1" / "ca-key.pem").exists()


def test_a_failure_half_way_leaves_an_empty_directory_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = tmp_path / "ca"
    ca.mkdir()
    rename = Path.rename

    def fails_at_the_last(self: Path, target: Path) -> Path:
        if target.name == "est.toml":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_at_the_last)
    done = est("init", ca)
    assert (done.exit_code, "No space left on device" in done.stderr) == (5, True)
    assert list(ca.iterdir()) == []
