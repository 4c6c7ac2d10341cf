"""What a running server meets: files that are away or broken, a store that is replaced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from est_transports import _clock
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli import group
from est_transports.service.initialisation import CaSpec, initialise
from tests.any_names import give_any_name
from tests.cli.other_user import AS_ROOT, UID, as_user, common_place, give_away
from tests.cli.serve_process import PASSWORD, USER, ServeProcess, listed, request, serving
from tests.cli.test_serve import workers_of

__all__ = ["common_place"]

LOGIN = f"{USER}:{PASSWORD}"
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
DEADLINE_S = 20.0


def made(directory: Path) -> Path:
    """Return a directory of `est init` with one user."""
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    add_user(directory)
    return give_any_name(directory)


def add_user(directory: Path) -> None:
    arguments = ["user", "add", str(directory), USER, "--password-stdin"]
    done = CliRunner().invoke(group, arguments, input=PASSWORD)
    assert done.exit_code == 0, done.stderr


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return made(tmp_path / "ca")


def status(server: ServeProcess, operation: str = "simpleenroll") -> int:
    """Return what one request on a new connection is answered."""
    connection = server.connect()
    csr = None if operation == "cacerts" else request("x")
    answer = connection.ask(operation, csr, LOGIN)[0]
    connection.close()
    return answer


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Reloading


def away(path: Path) -> Iterator[None]:
    moved = path.rename(path.with_name(f"{path.name}.away"))
    yield
    moved.rename(path)


def directory_instead(path: Path) -> Iterator[None]:
    moved = path.rename(path.with_name(f"{path.name}.away"))
    path.mkdir()
    yield
    path.rmdir()
    moved.rename(path)


def pipe_instead(path: Path) -> Iterator[None]:
    moved = path.rename(path.with_name(f"{path.name}.away"))
    os.mkfifo(path)
    yield
    path.unlink()
    moved.rename(path)


def garbage_instead(path: Path) -> Iterator[None]:
    moved = path.rename(path.with_name(f"{path.name}.away"))
    path.write_bytes(b"garbage\xff" * 100)
    yield
    path.unlink()
    moved.rename(path)


def dangling_link_instead(path: Path) -> Iterator[None]:
    moved = path.rename(path.with_name(f"{path.name}.away"))
    path.symlink_to("nowhere")
    yield
    path.unlink()
    moved.rename(path)


STATES = (away, directory_instead, pipe_instead, garbage_instead, dangling_link_instead)


@WORKERS
def test_no_file_state_that_a_reload_meets_ends_or_changes_the_server(
    workers: str, ca: Path, tmp_path: Path
) -> None:
    shutil.copy(ca / "ca.pem", tmp_path)
    names = ("est.db", "est.toml", "server.pem", "server-key.pem", "ca.pem", "ca-key.pem")
    with serving(ca, "--workers", workers) as server:
        server.directory = tmp_path  # where the clients have the trust anchor
        for name in names:
            for state in STATES:
                step = state(ca / name)
                next(step)
                server.signal(signal.SIGHUP)
                line = server.wait_for("not reloaded, everything stays as it was: ")
                assert name in line, (name, state, line)
                assert status(server, "cacerts") == 200
                assert "Traceback" not in "".join(server.log)
                for _ in step:
                    pass
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded$")
        assert status(server) == 200
        assert server.stop() == 0


def with_codes(ca: Path) -> None:
    """Have the server take one-time codes beside passwords."""
    (ca / "est.toml").write_text('[auth]\nnames = "any"\nschemes = ["basic", "otp"]\n')


def code(ca: Path, name: str) -> str:
    """Return a new code, as a login."""
    done = CliRunner().invoke(group, ["otp", "add", str(ca), name])
    assert done.exit_code == 0, done.stderr
    return f"{name}:{done.stdout.split(',')[-2]}"


def spent_code(server: ServeProcess, login: str) -> int:
    """Return what an enrollment with a code is answered."""
    connection = server.connect()
    found = connection.ask("simpleenroll", request("y"), login)[0]
    connection.close()
    return found


@WORKERS
@pytest.mark.parametrize("content", [None, "ab" * 32], ids=["lost", "another"])
def test_a_secret_that_is_lost_stays_in_use_until_a_restart_which_is_refused(
    content: str | None, workers: str, ca: Path
) -> None:
    with_codes(ca)
    logins = [code(ca, name) for name in ("a", "b")]
    path = ca / "auth-secret.key"
    with serving(ca, "--workers", workers) as server:
        assert spent_code(server, logins[0]) == 200
        path.unlink()
        if content is not None:
            path.write_text(content)
        server.signal(signal.SIGHUP)
        assert str(path) in server.wait_for("not reloaded, everything stays as it was: ")
        assert spent_code(server, logins[1]) == 200
        assert server.stop() == 0
    again = CliRunner().invoke(group, ["serve", str(ca), "--listen", "127.0.0.1:0"])
    assert again.exit_code == 5
    assert f"{path}: is " in again.stderr
    assert "restore it from a backup" in again.stderr
    assert path.exists() == (content is not None)


def test_workers_open_the_store_that_their_parent_asked_about_the_secret(ca: Path) -> None:
    with serving(ca, "--workers", "2") as server:
        with_codes(ca)
        server.signal(signal.SIGHUP)
        for _ in range(3):
            server.wait_for("reloaded$")
        first, second = workers_of(server.process.pid)
        os.kill(first, signal.SIGKILL)
        server.wait_for(f"worker {first} ended")
        until(lambda: len(workers_of(server.process.pid)) == 2)
        os.kill(second, signal.SIGKILL)
        server.wait_for(f"worker {second} ended")
        until(lambda: len(workers_of(server.process.pid)) == 2)
        assert spent_code(server, code(ca, "a")) == 200
        assert "Traceback" not in "".join(server.log)
        assert server.stop() == 0


@WORKERS
def test_a_directory_that_is_away_at_a_reload_changes_nothing(workers: str, ca: Path) -> None:
    with serving(ca, "--workers", workers) as server:
        moved = ca.rename(ca.with_name("away"))
        server.signal(signal.SIGHUP)
        assert "est.toml" in server.wait_for("not reloaded")
        server.directory = moved
        assert status(server, "cacerts") == 200
        server.directory = moved.rename(ca)
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded$")
        assert status(server) == 200


def test_whatever_a_reload_raises_ends_nothing(ca: Path, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        "import sys\nfrom est_transports.cli import main\n"
        "from est_transports.cli.server import serve\n"
        "serve.load_config = lambda path: 1 / 0\n"
        "sys.exit(main(['serve', *sys.argv[1:]]))\n"
    )
    for workers in ("1", "2"):
        with serving(ca, "--workers", workers, command=(str(script),)) as server:
            server.signal(signal.SIGHUP)
            server.wait_for("not reloaded, everything stays as it was: this is a bug")
            assert status(server) == 200
            assert server.stop() == 0


@AS_ROOT
def test_files_that_may_not_be_read_any_more_change_nothing(common_place: Path) -> None:
    ca = made(common_place / "ca")
    give_away(ca)
    with serving(ca, command=(*as_user(UID), "serve")) as server:
        server.directory = ca
        for name in ("est.toml", "server-key.pem", "ca-key.pem"):
            os.chown(ca / name, 0, 0)
            (ca / name).chmod(0o600)
            server.signal(signal.SIGHUP)
            assert f"{name}: Permission denied" in server.wait_for("not reloaded")
            give_away(ca)
        os.chown(ca / "est.db", 0, 0)
        server.signal(signal.SIGHUP)
        line = server.wait_for("not reloaded")
        assert f"user {UID} may not read and write {ca}/est.db: it belongs to user root" in line
        give_away(ca)
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded$")
        assert status(server) == 200


def test_a_worker_that_replaces_a_dead_one_has_what_was_loaded_last(ca: Path) -> None:
    with serving(ca, "--workers", "2") as server:
        (ca / "est.toml").write_text('[auth]\nsimpleenroll = "cert"\n')
        server.signal(signal.SIGHUP)
        for _ in range(3):
            server.wait_for("reloaded$")
        for worker in workers_of(server.process.pid):
            os.kill(worker, signal.SIGKILL)
            server.wait_for(f"worker {worker} ended with -9; another one takes its place")
        until(lambda: len(workers_of(server.process.pid)) == 2)
        assert {status(server) for _ in range(6)} == {403}


# A store that is replaced


def backup(ca: Path, place: Path) -> Path:
    """Copy a store that is in use, as the guide says."""
    with sqlite3.connect(ca / "est.db") as source, sqlite3.connect(place) as target:
        source.backup(target)
    source.close()
    target.close()
    return place


def subjects(ca: Path) -> list[str]:
    return [row["subject"] for row in listed(ca)]


@WORKERS
def test_a_replaced_store_is_refused_until_a_reload_takes_it(
    workers: str, ca: Path, tmp_path: Path
) -> None:
    with serving(ca, "--workers", workers, "--json") as server:
        copy = backup(ca, tmp_path / "copy.db")
        for number in range(4):  # what the log of the old file holds
            connection = server.connect()
            connection.enroll(f"lost-{number}")
            connection.close()
        (ca / "est.db").rename(tmp_path / "old.db")
        copy.rename(ca / "est.db")
        assert status(server) == 500
        assert status(server, "cacerts") == 200
        line = server.wait_for("the store failed")
        assert "was removed or replaced" in line
        assert "reload the server (SIGHUP)" in line
        server.wait_for("until then nobody can enroll, though /cacerts answers")
        server.signal(signal.SIGHUP)
        processes = 3 if workers == "2" else 1
        told: set[int] = set()
        reloaded: set[int] = set()
        while min(len(told), len(reloaded)) < processes:  # their lines come in any order
            line = server.wait_for('is another file than before|"reloaded"')
            (reloaded if '"reloaded"' in line else told).add(json.loads(line)["pid"])
        assert {status(server) for _ in range(6)} == {200}
        assert subjects(ca) == ["CN=x"] * 6
        server.signal(signal.SIGHUP)
        server.wait_for('"reloaded"')
    assert subjects(ca) == ["CN=x"] * 6
    with sqlite3.connect(ca / "est.db") as whole:
        assert whole.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    whole.close()
    # Nothing of the old file went into the new one, and nothing of it is lost.
    os.rename(tmp_path / "old.db", ca / "est.db")
    assert subjects(ca) == [f"CN=lost-{number}" for number in range(4)]


def test_a_store_of_another_ca_or_of_nobody_is_told_by_its_content(
    ca: Path, tmp_path: Path
) -> None:
    with serving(ca) as server:
        assert status(server) == 200
        for content, words in (
            (b"", "is not an EST store"),
            (b"SQLite format 3\0" + bytes(200), "is not an EST store"),
            (backup(ca, tmp_path / "copy.db").read_bytes()[:-4096], "is not whole"),
        ):
            (tmp_path / "new.db").write_bytes(content)
            (tmp_path / "new.db").rename(ca / "est.db")
            server.signal(signal.SIGHUP)
            assert words in server.wait_for("not reloaded")
            assert status(server) == 500
        (ca / "est.db").unlink()
        server.signal(signal.SIGHUP)
        assert "est.db: is not there; put it back" in server.wait_for("not reloaded")
        SqliteStore.create(ca / "est.db").close()
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded$")
        assert status(server) == 401  # nobody is known there
        add_user(ca)
        assert status(server) == 200


def test_a_store_that_was_replaced_is_whole_after_a_restart(ca: Path, tmp_path: Path) -> None:
    with serving(ca) as server:
        copy = backup(ca, tmp_path / "copy.db")
        assert status(server) == 200
        shutil.move(copy, ca / "est.db")
        assert status(server) == 500
        assert server.stop() == 0
    assert not (ca / "est.db-wal").exists()
    with serving(ca) as server:
        assert status(server) == 200
    assert subjects(ca) == ["CN=x"]
