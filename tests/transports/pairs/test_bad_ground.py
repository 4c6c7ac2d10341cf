"""Disks that refuse, files of others, damage: a clear error, and the running pair as it was."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from est_transports.pairs import PairDirectory, PairError
from tests.cli.other_user import AS_ROOT, GID, UID, common_place
from tests.law.sources import ROOT
from tests.transports.pair_faults import FaultAt, fault_points
from tests.transports.pair_material import (
    REFERENCE,
    anchors,
    enroll,
    filled,
    material,
    other_anchors,
    renew,
)
from tests.transports.pair_model import (
    LIFE,
    REPLACE,
    ROLL_BACK,
    SHORT_LIFE,
    Model,
    Step,
    copy_if_there,
    finish,
    observed,
    snapshots,
)

__all__ = ["common_place"]  # a fixture

TWO = Model(running=(2, False), previous=(1, False))


def _failing(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    "number, code",
    [
        (errno.ENOSPC, "pair/disk-full"),
        (errno.EDQUOT, "pair/disk-full"),
        (errno.EROFS, "pair/not-writable"),
        (errno.EACCES, "pair/not-writable"),
        (errno.EIO, "pair/disk"),
    ],
)
def test_a_disk_that_refuses_a_write_is_told_by_its_reason(
    tmp_path: Path, number: int, code: str
) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        with (
            fault_points(FaultAt(0, _failing(number))),
            pytest.raises(PairError, match=os.strerror(number)) as caught,
        ):
            pairs.begin(material(3).key_pem, None)
        assert caught.value.code == code
        assert str(tmp_path / "pairs" / "3") in caught.value.message
        assert observed(pairs) == TWO


def _refused_at(at: int, path: Path, model: Model, step: Step) -> tuple[int, str]:
    """Take a step on a disk that refuses once, and again; return the points passed, and the code.

    The directory is opened before and after, by the way of which left-overs are removed.
    """
    hook, code, found = FaultAt(at, _failing(errno.EIO)), "", model
    try:
        with fault_points(hook), PairDirectory.open(path, create=True) as pairs:
            step.take(pairs)
            found = observed(pairs)
    except PairError as exc:
        code = exc.code
        with PairDirectory.open(path, create=True) as pairs:
            found = observed(pairs)
    assert found in (model, step.after(model))
    with PairDirectory.open(path, create=True) as pairs:
        if found == model:
            step.take(pairs)
        assert observed(pairs) == step.after(model)
    return hook.seen, code


def test_a_disk_that_refuses_any_one_change_costs_no_pair_and_no_second_try(
    tmp_path: Path,
) -> None:
    """A step that failed is taken again, and life goes on: at each point of the whole life."""
    points, told = 0, 0
    for before, model, step in snapshots(tmp_path, SHORT_LIFE):
        at, end = -1, 0
        while at < end:
            path = tmp_path / "again"
            copy_if_there(before, path)
            passed, code = _refused_at(at, path, model, step)
            end = passed if at < 0 else end  # nothing was refused
            assert code in ("", "pair/disk")
            told += code != ""
            shutil.rmtree(path)
            at += 1
        points += end
    assert points > 200
    assert told > points // 2, "the others were about what can wait"


def test_what_stands_in_place_of_previous_hinders_no_renewal(tmp_path: Path) -> None:
    previous = filled(tmp_path, 1, 2) / "current" / "previous"
    previous.unlink()
    previous.write_text("theirs")
    with PairDirectory.open(tmp_path) as pairs:
        with pytest.raises(PairError, match=r"^pair/foreign: .*previous: is no symbolic link"):
            pairs.roll_back()
        renew(pairs, 3)
        assert observed(pairs) == Model(running=(3, False), previous=(2, False))


def test_a_file_may_not_grow_as_large_as_a_key(tmp_path: Path) -> None:
    """A limit of the system that is real, as a full disk is: a part of the file is there."""
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(PairError, match=r"^pair/disk-full: .*3/key.pem: File too large"):
                pairs.begin(material(3).key_pem, None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert observed(pairs) == TWO
        assert not (tmp_path / "pairs" / "3").exists()
        finish(pairs)


def test_a_number_that_somebody_took_or_removed_is_not_used(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        pairs.roll_back()
    shutil.rmtree(tmp_path / "pairs" / "2")
    for number in (3, 999_999_999_999_999_999):
        (tmp_path / "pairs" / str(number)).write_text("theirs")
    with PairDirectory.open(tmp_path) as pairs:
        assert pairs.previous is None
        assert pairs.begin(material(3).key_pem, None).directory.name == "4"
        assert pairs.previous is None


@pytest.mark.parametrize("switch", [ROLL_BACK, REPLACE])
def test_a_candidate_that_ran_is_none_again_whatever_runs_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: Step
) -> None:
    """Its link could not be removed with the promotion."""
    real = os.unlink

    def unlink(name: str | Path, *, dir_fd: int | None = None) -> None:
        if name == "candidate":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(name, dir_fd=dir_fd)

    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        enroll(pairs, 2)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", unlink)
            pairs.promote(anchors())
            assert observed(pairs) == TWO
            with pytest.raises(PairError, match=r"^pair/disk: .*candidate: Input"):
                switch.take(pairs)
            assert observed(pairs) == TWO
        switch.take(pairs)
        assert observed(pairs) == switch.after(TWO)


def test_a_path_that_is_no_directory_of_pairs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, create in (("none", False), ("file", False), ("file", True), ("empty", False)):
        with pytest.raises(PairError, match=r"^pair/no-directory"):
            PairDirectory.open(tmp_path / name, create=create)
        with pytest.raises(PairError, match=r"^pair/no-directory"):
            PairDirectory.look(tmp_path / name)
    assert os.listdir(tmp_path / "empty") == [], "nothing is left in a directory of others"


# Files of others


@pytest.mark.parametrize("name", ["pairs", "lock", "current", "candidate", ".new.state"])
@pytest.mark.parametrize("kind", ["link", "file", "directory", "pipe"])
def test_what_others_have_at_our_names_is_neither_followed_nor_replaced(
    tmp_path: Path, name: str, kind: str
) -> None:
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "dir"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("theirs")
    path.mkdir()
    planted = path / name
    match kind:
        case "link":
            planted.symlink_to(elsewhere if name == "pairs" else elsewhere / "file")
        case "file":
            planted.write_text("theirs")
        case "directory":
            planted.mkdir()
            (planted / "file").write_text("theirs")
        case "pipe":
            os.mkfifo(planted)
    may_go = name.startswith(".new.") and kind != "directory"
    if (name, kind) in {("pairs", "directory"), ("lock", "file")}:
        renew_in(path)  # it can be used as it is
    elif may_go:
        renew_in(path)
        assert not os.path.lexists(planted)
    else:
        with pytest.raises(PairError) as caught:
            renew_in(path)
        assert caught.value.code == "pair/foreign"
        assert str(planted) in caught.value.message
    assert (elsewhere / "file").read_text() == "theirs"
    assert os.listdir(elsewhere) == ["file"]
    if kind in ("file", "directory") and name not in ("lock", ".new.state"):
        assert os.path.lexists(planted)
    if kind == "directory":
        assert (planted / "file").read_text() == "theirs"


def renew_in(path: Path) -> None:
    with PairDirectory.open(path, create=True) as pairs:
        renew(pairs, 1)
        pairs.save_state("text")
        assert pairs.running is not None


def test_files_of_others_stay_wherever_they_are(tmp_path: Path) -> None:
    filled(tmp_path, 1, 2)
    theirs = [
        *("notes", "est-agent.toml", "pairs/notes", "pairs/01", "pairs/0", "pairs/-1"),
        *("pairs/1/notes", "pairs/2/notes", "pairs/7"),
    ]
    for name in theirs:
        (tmp_path / name).write_text("theirs")
    with PairDirectory.open(tmp_path) as pairs:
        assert observed(pairs) == TWO
        for number in (3, 4):
            renew(pairs, number)
        pairs.begin(material(5).key_pem, None)
        pairs.discard()
    assert [name for name in theirs if (tmp_path / name).read_text() != "theirs"] == []
    assert os.listdir(tmp_path / "pairs" / "1") == ["notes"]


def test_a_link_planted_at_a_name_of_a_pair_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    planted = ("sent", "chain.pem", "trust.pem", "pair.pem", "cert.pem", "previous")
    with PairDirectory.open(filled(tmp_path / "dir", 1)) as pairs:
        pairs.begin(material(2).key_pem, material(2).request)
        files = tmp_path / "dir" / "candidate"
        for name in planted[:4]:
            (files / name).symlink_to(victim)
            (files / f".new.{name}").symlink_to(victim)
        (files / "previous").symlink_to("/etc")
        pairs.mark_sent()
        pairs.receive(material(2).certificate, material(2).chain)
        pairs.promote(anchors())
        assert observed(pairs) == replace(TWO, candidate=None)
    assert victim.read_text() == "theirs"
    assert [name for name in planted[:-1] if (tmp_path / "dir/current" / name).is_symlink()] == []


@pytest.mark.parametrize("name", ["key.pem", "cert.pem", "chain.pem", "trust.pem", "pair.pem"])
def test_a_link_planted_in_a_running_pair_is_not_read(tmp_path: Path, name: str) -> None:
    file = filled(tmp_path / "dir", 1) / "current" / name
    file.rename(tmp_path / "moved")
    file.symlink_to(tmp_path / "moved")
    with (
        PairDirectory.open(tmp_path / "dir") as pairs,
        pytest.raises(PairError, match=rf"^pair/damaged: .*{name}: is no regular file"),
    ):
        _ = pairs.running


# Damage


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _of_another(file: Path) -> None:
    file.write_bytes((file.parent / "previous" / file.name).read_bytes())


def _make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _enlarge(file: Path) -> None:
    file.write_bytes(bytes(1024 * 1024 + 1))


@pytest.mark.parametrize("damage", [_cut, _empty, Path.unlink, _of_another, _make_pipe, _enlarge])
@pytest.mark.parametrize("name", ["key.pem", "cert.pem", "pair.pem"])
def test_a_damaged_pair_is_told_and_the_one_before_is_a_step_away(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    file = filled(tmp_path, 1, 2) / "current" / name
    damage(file)
    with PairDirectory.open(tmp_path) as pairs:
        with pytest.raises(PairError, match=r"^pair/damaged"):
            _ = pairs.running
        pairs.roll_back()
        assert pairs.running is not None
        assert pairs.running.certificate == material(1).certificate


def test_a_damaged_pair_is_replaced_by_a_promotion(tmp_path: Path) -> None:
    _cut(filled(tmp_path, 1, 2) / "current" / "cert.pem")
    with PairDirectory.open(tmp_path) as pairs:
        renew(pairs, 3)
        assert pairs.running is not None
        with pytest.raises(PairError, match=r"^pair/damaged"):
            _ = pairs.previous


@pytest.mark.parametrize("name", ["chain.pem", "trust.pem"])
def test_certificates_that_are_cut_off_are_damage(tmp_path: Path, name: str) -> None:
    _cut(filled(tmp_path, 1) / "current" / name)
    with (
        PairDirectory.open(tmp_path) as pairs,
        pytest.raises(PairError, match=r"^pair/damaged"),
    ):
        _ = pairs.running


def test_a_pair_of_one_key_and_another_certificate_does_not_run(tmp_path: Path) -> None:
    """Not even where all files agree with it."""
    files = filled(tmp_path, 1, 2) / "current"
    key = (files / "previous" / "key.pem").read_bytes()
    whole = key + (files / "cert.pem").read_bytes() + (files / "chain.pem").read_bytes()
    (files / "key.pem").write_bytes(key)
    (files / "pair.pem").write_bytes(whole)
    with (
        PairDirectory.open(tmp_path) as pairs,
        pytest.raises(PairError, match=r"^pair/key-mismatch"),
    ):
        _ = pairs.running
    looked_at = PairDirectory.look(tmp_path).running
    assert looked_at is not None
    with pytest.raises(PairError, match=r"^pair/key-mismatch"):
        looked_at.identity()


@pytest.mark.parametrize("step", ["candidate", "mark_sent", "receive", "promote", "discard"])
def test_a_damaged_candidate_is_told_and_can_be_discarded(tmp_path: Path, step: str) -> None:
    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        enroll(pairs, 2)
        _empty(tmp_path / "candidate" / "key.pem")
        match step:
            case "candidate":
                with pytest.raises(PairError, match=r"^pair/damaged: .*key.pem: is empty"):
                    _ = pairs.candidate
            case "receive":
                with pytest.raises(PairError, match=r"^pair/damaged"):
                    pairs.receive(material(2).certificate)
            case "promote":
                with pytest.raises(PairError, match=r"^pair/damaged"):
                    pairs.promote()
            case _:
                pairs.mark_sent()
        assert pairs.running is not None
        pairs.discard()
        finish(pairs)


def test_a_reference_or_request_that_is_damaged(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        pairs.begin(REFERENCE, material(1).request)
        (tmp_path / "candidate" / "key.uri").write_bytes(b"\xff\n")
        with pytest.raises(PairError, match=r"^pair/damaged: .*key.uri: holds no URI"):
            _ = pairs.candidate
        (tmp_path / "candidate" / "key.uri").write_text("a:b")
        (tmp_path / "candidate" / "request.der").write_bytes(b"x")
        with pytest.raises(PairError, match=r"^pair/damaged: .*is no certificate request"):
            pairs.receive(material(1).certificate)


@pytest.mark.parametrize("link", ["current", "candidate"])
def test_a_link_that_leads_nowhere_is_told_and_removes_nothing(tmp_path: Path, link: str) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        enroll(pairs, 3)
    (tmp_path / link).unlink()
    (tmp_path / link).symlink_to("pairs/99")
    with PairDirectory.open(tmp_path) as pairs:
        with pytest.raises(PairError, match=rf"^pair/damaged: .*99: is missing, and {link}"):
            _ = getattr(pairs, "running" if link == "current" else "candidate")
        if link == "candidate":
            assert pairs.running is not None
            pairs.discard()
        else:
            assert sorted(os.listdir(tmp_path / "pairs")) == ["1", "2", "3", "used"]
            with pytest.raises(PairError, match=r"^pair/no-previous"):
                pairs.roll_back()
            pairs.promote(anchors())
        finish(pairs)


def test_without_current_nothing_with_a_certificate_is_removed(tmp_path: Path) -> None:
    filled(tmp_path, 1, 2)
    (tmp_path / "current").unlink()
    with (
        PairDirectory.open(tmp_path) as pairs,
        pytest.raises(PairError, match=r"^pair/damaged: .*current: is missing, although a"),
    ):
        _ = pairs.running
    assert sorted(os.listdir(tmp_path / "pairs")) == ["1", "2", "used"]
    (tmp_path / "current").symlink_to("pairs/2")
    with PairDirectory.open(tmp_path) as pairs:
        assert observed(pairs) == TWO


# Owners and other file systems


@AS_ROOT
def test_new_pairs_are_for_whom_the_old_ones_are(tmp_path: Path) -> None:
    """Root renews what a service reads."""
    filled(tmp_path, 1)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, UID, GID, follow_symlinks=False)
    (tmp_path / "current").chmod(0o750)
    (tmp_path / "current" / "key.pem").chmod(0o644)
    (tmp_path / "current" / "cert.pem").chmod(0o640)
    with PairDirectory.open(tmp_path) as pairs:
        renew(pairs, 2)
        pairs.save_state("text")
        pairs.replace_anchors(other_anchors())
    found = {path.name: path.stat() for path in (tmp_path / "current").resolve().iterdir()}
    found |= {name: (tmp_path / name).stat() for name in ("state", "lock", "pairs", "current")}
    assert {(each.st_uid, each.st_gid) for each in found.values()} == {(UID, GID)}
    modes = {name: stat.S_IMODE(each.st_mode) for name, each in found.items()}
    assert modes["key.pem"] == 0o640, "a secret is for nobody else, whatever the old one was"
    assert (modes["cert.pem"], modes["current"], modes["pair.pem"]) == (0o640, 0o750, 0o600)


@AS_ROOT
def test_another_user_is_told_who_may(common_place: Path) -> None:
    filled(common_place / "dir", 1)
    program = (
        "import os, sys; from est_transports.pairs import *; PairError, PairDirectory;"
        "os.setgroups([]); os.setresgid(54322, 54322, 54322); os.setresuid(54321, 54321, 54321)\n"
        "try: PairDirectory.open(sys.argv[1])\n"
        "except PairError as exc: print(exc)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, common_place / "dir"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.startswith("pair/not-writable: ")


def test_pairs_may_be_on_another_file_system(tmp_path: Path) -> None:
    """No rename and no link leads from one directory to another."""
    moves = list[tuple[object, object]]()
    real = os.rename

    def rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        moves.append((src_dir_fd, dst_dir_fd))
        real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with PairDirectory.open(tmp_path, create=True) as pairs:
            for step in LIFE:
                step.take(pairs)
    assert len(moves) > len(LIFE)
    assert all(source == target for source, target in moves)


@pytest.mark.parametrize("call", ["open", "readlink"])
def test_a_disk_that_cannot_be_read_is_told_and_nothing_is_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)

    def fail(name: str | Path, *more: int, **named: int) -> object:
        if name in ("cert.pem", "current"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(name, *more, **named)

    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        monkeypatch.setattr(os, call, fail)
        with pytest.raises(PairError, match=r"^pair/disk: .*(cert.pem|current): Input/output"):
            _ = pairs.running
    with pytest.raises(PairError, match=r"^pair/disk: .*(cert.pem|current): Input/output"):
        PairDirectory.look(tmp_path)


def test_a_look_tells_what_others_have_at_our_names(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    (tmp_path / "current").unlink()
    (tmp_path / "current").write_text("theirs")
    with pytest.raises(PairError, match=r"^pair/foreign: .*current: is no symbolic link"):
        PairDirectory.look(tmp_path)
