"""Codes and tokens are recorded after they were shown: output that fails takes none away."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from est_transports import _clock
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import StoreBusy, StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.server.handing_out import handed_out
from tests.cli.test_server_commands import ca, error_of, est
from tests.cli.test_tokens_and_codes import codes_in, found_code
from tests.recorded_os import Call, record_os

__all__ = ["ca"]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "est_transports", *map(str, arguments)]


def names_of_all(ca: Path) -> list[str]:
    with closing(SqliteStore(ca / "est.db")) as store:
        codes = [each.name for each in store.list_codes()]
        return codes + [each.name for each in store.list_tokens()]


def is_good(ca: Path, token: str) -> bool:
    digest = ServerSecret.load_or_make(ca / "auth-secret.key", _clock.entropy).token_digest(token)
    with closing(SqliteStore(ca / "est.db")) as store:
        return store.find_token(digest) is not None


def gone_reader() -> int:
    """Return the end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def closed() -> int:
    return os.open(os.devnull, os.O_RDONLY)  # writing to it fails


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


OUTPUTS = {
    "a full disk": (full, "No space left on device"),
    "nobody who reads": (gone_reader, "has gone, and nothing was recorded"),
    "not for writing": (closed, "Bad file descriptor"),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_code_that_cannot_be_printed_takes_the_place_of_none(output: str, ca: Path) -> None:
    old = codes_in(est("otp", "add", ca, "a").stdout)["a"]
    make, said = OUTPUTS[output]
    for more in (("a", "--force"), ("b", "c")):
        stdout = make()
        done = subprocess.run(
            command("otp", "add", ca, *more), stdout=stdout, stderr=subprocess.PIPE, text=True
        )
        os.close(stdout)
        assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
        assert said in done.stderr
    assert names_of_all(ca) == ["a"]
    assert found_code(ca, old)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_token_that_cannot_be_printed_takes_the_place_of_none(
    output: str, more: tuple[str, ...], ca: Path
) -> None:
    old = est("token", "add", ca, "a").stdout.strip()
    make, _ = OUTPUTS[output]
    for name in ("a", "b"):
        stdout = make()
        done = subprocess.run(
            command("token", "add", ca, name, "--force", *more),
            stdout=stdout, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.close(stdout)
        assert done.returncode == 5, done.stderr
    assert names_of_all(ca) == ["a"]
    assert is_good(ca, old)


@pytest.mark.parametrize("kind", ["otp", "token"])
def test_without_standard_output_nothing_is_recorded(kind: str, ca: Path) -> None:
    shell = f'exec "$0" -m est_transports {kind} add "$1" a >&-'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, str(ca)], stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 5, done.stderr
    assert "no standard output, and nothing was recorded" in done.stderr
    assert names_of_all(ca) == []


def test_who_is_killed_while_codes_are_printed_has_replaced_none(ca: Path) -> None:
    old = codes_in(est("otp", "add", ca, "d-0001").stdout)["d-0001"]
    # More than fits into a pipe: it cannot be past its output.
    arguments = command("otp", "add", ca, "--count", "9000", "--prefix", "d-", "--force")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"name,code,expires\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert names_of_all(ca) == ["d-0001"]
    assert found_code(ca, old)


def test_a_file_that_cannot_be_written_replaces_neither_codes_nor_the_file(
    ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "codes.csv"
    est("otp", "add", ca, "a", "--out", out)
    before = out.read_bytes()
    disk = record_os(monkeypatch, tmp_path)

    def is_full(call: Call) -> None:
        if call.name == "fsync":
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.before = is_full
    line = error_of(est("otp", "add", ca, "a", "b", "--force", "--out", out))
    assert "No space left on device" in line
    assert out.read_bytes() == before
    assert found_code(ca, codes_in(out.read_text())["a"])
    assert names_of_all(ca) == ["a"]
    assert not list(tmp_path.glob(".codes.csv.*"))


@pytest.mark.parametrize("place", ["/dev/full", "directory", "pipe"])
def test_what_is_no_regular_file_is_not_replaced(place: str, ca: Path, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    out = tmp_path / place
    before = out.stat().st_mode
    line = error_of(est("otp", "add", ca, "a", "--force", "--out", out))
    assert f"cannot write {out}: is " in line
    assert out.stat().st_mode == before
    assert names_of_all(ca) == []
    assert not list(out.parent.glob(f".{out.name}.*"))


@pytest.mark.parametrize("more", [(), ("--force",)])
def test_codes_are_on_the_disk_before_they_are_recorded_and_in_their_place_after(
    more: tuple[str, ...], ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out"
    disk = record_os(monkeypatch, place)
    recorded: list[tuple[str, list[str]]] = []

    def look(call: Call) -> None:
        if call.name in {"fsync", "link", "replace"}:
            recorded.append((call.name, names_of_all(ca)))

    disk.before = look
    done = est("otp", "add", ca, "a", *more, "--out", place / "codes.csv")
    assert done.exit_code == 0, done.stderr
    assert recorded == [
        ("fsync", []),
        ("fsync", []),
        ("replace" if more else "link", ["a"]),
        ("fsync", ["a"]),
    ]
    assert [call.path for call in disk.of("fsync")][1] == place
    assert [path.name for path in place.iterdir()] == ["codes.csv"]


def test_codes_that_cannot_be_moved_to_their_place_stay_where_they_are(
    ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    est("otp", "add", ca, "a")
    disk = record_os(monkeypatch, tmp_path)

    def fail(call: Call) -> None:
        if call.name == "replace":
            raise OSError(errno.EIO, "Input/output error", str(call.path))

    disk.before = fail
    line = error_of(est("otp", "add", ca, "a", "--force", "--out", tmp_path / "codes.csv"))
    (left,) = tmp_path.glob(".codes.csv.*")
    assert f"Input/output error; what was recorded is in {left}" in line
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert found_code(ca, codes_in(left.read_text())["a"])


def test_a_file_that_came_to_be_a_moment_ago_stays_and_so_do_the_codes(
    ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "codes.csv"
    disk = record_os(monkeypatch, tmp_path)

    def somebody_is_faster(call: Call) -> None:
        if call.other == out:
            out.write_text("somebody else's")

    disk.before = somebody_is_faster
    line = error_of(est("otp", "add", ca, "a", "--out", out))
    (left,) = tmp_path.glob(".codes.csv.*")
    assert f"is there already; what was recorded is in {left}" in line
    assert out.read_text() == "somebody else's"
    assert found_code(ca, codes_in(left.read_text())["a"])


@pytest.mark.parametrize(
    ("failure", "left"),
    [
        (CliError("x", ExitCode.LOCAL), 0),
        (StoreBusy("x"), 0),
        (StoreError("x"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_a_file_goes_where_nothing_was_recorded_and_stays_where_nobody_knows(
    failure: BaseException, left: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(failure)), handed_out("secret\n", tmp_path / "codes.csv"):
        raise failure
    assert [path.read_text() for path in tmp_path.iterdir()] == ["secret\n"] * left
    assert ("was recorded is not known" in capsys.readouterr().err) == bool(left)


@pytest.mark.parametrize("failure", [CliError("taken", ExitCode.LOCAL), StoreBusy("taken")])
def test_what_was_printed_and_then_refused_is_told_void(
    failure: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CliError, match="taken; what was printed is void"), handed_out("secret\n"):
        raise failure
    assert capsys.readouterr() == ("secret\n", "")


def test_what_was_printed_and_perhaps_recorded_is_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(StoreError), handed_out("secret\n"):
        raise StoreError("broken")
    assert "what was printed is void, unless the list" in capsys.readouterr().err


@pytest.mark.parametrize("is_file", [True, False])
def test_standard_output_that_is_a_file_is_on_the_disk_first(
    is_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with (tmp_path / "file" if is_file else Path(os.devnull)).open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with handed_out("secret\n"):
            assert synced == ([stdout.fileno()] if is_file else [])


def test_names_are_known_to_be_taken_in_any_form_and_number(ca: Path) -> None:
    est("otp", "add", ca, "Größe")
    est("token", "add", ca, "Größe")
    many = [str(number) for number in range(1000)]
    with closing(SqliteStore(ca / "est.db")) as store:
        for taken in (store.taken_codes, store.taken_tokens):
            assert taken([*many, "Gro\u0308ße", "no:name"]) == ("Größe",)
            assert taken(many) == ()
