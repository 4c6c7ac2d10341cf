"""The commands of who runs a CA, without a server: init, user, certs, and what serve refuses."""

from __future__ import annotations

import json
import os
import pty
import select
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.authority.stores import PREPARED, IssuedRecord
from est_transports.authority.stores.passwords import verify_password
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli import group
from est_transports.cli.errors import ExitCode
from est_transports.pki.serials import printed_serial
from tests.cli.other_user import UID, common_place, est_as
from tests.transports.ca_fakes import make_ca

__all__ = ["common_place"]

PASSWORD = "correct horse"


def est(*arguments: str | Path, stdin: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(group, [str(each) for each in arguments], input=stdin)


def made(directory: Path, *options: str) -> Path:
    done = est("init", directory, *options)
    assert done.exit_code == 0, done.stderr
    return directory


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """A directory of `est init`."""
    return made(tmp_path / "ca")


def error_of(done: Result, code: int = 5) -> str:
    """Return the error, which must be one line, after checking the exit code."""
    assert done.exit_code == code, done.output
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("est: ")
    return done.stderr


# init


def test_init_prints_the_fingerprint_and_the_next_commands(tmp_path: Path) -> None:
    done = est("init", tmp_path / "my ca", "--name", "Plant 7")
    assert done.exit_code == 0
    certificate = x509.load_pem_x509_certificate((tmp_path / "my ca" / "ca.pem").read_bytes())
    assert certificate.fingerprint(hashes.SHA256()).hex(":").upper() in done.stdout
    assert f"est serve '{tmp_path}/my ca'\n" in done.stdout
    assert f"est user add '{tmp_path}/my ca' device-1\n" in done.stdout
    assert "CN=Plant 7" in done.stdout


def test_init_for_a_host_says_how_to_reach_it(tmp_path: Path) -> None:
    done = est("init", tmp_path / "ca", "--host", "est.example", "--host", "192.0.2.7")
    assert "--listen 0.0.0.0:8443" in done.stdout
    assert "https://est.example:8443" in done.stdout
    shown = json.loads(est("init", tmp_path / "two", "--host", "::1", "--json").stdout)
    assert shown["hosts"] == ["::1"]
    assert shown["directory"] == str(tmp_path / "two")


def test_init_overwrites_nothing_without_force(ca: Path) -> None:
    before = (ca / "ca-key.pem").read_bytes()
    line = error_of(est("init", ca))
    assert "not empty" in line
    assert line.endswith(f"; choose another, or use --force, which moves it to {ca}.old-1\n")
    assert (ca / "ca-key.pem").read_bytes() == before
    done = est("init", ca, "--force")
    assert done.exit_code == 0
    assert f"what was in {ca} is now in {ca}.old-1\n" in done.stderr
    assert (ca.with_name("ca.old-1") / "ca-key.pem").read_bytes() == before


def test_init_says_where_a_file_is_in_the_way(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert f"{file}: is a file, not a directory\n" in error_of(est("init", file))
    assert f"{file} is no directory\n" in error_of(est("init", file / "ca"))


def test_init_takes_no_odd_host_and_no_missing_password_file(tmp_path: Path) -> None:
    assert "neither a host name" in error_of(est("init", tmp_path / "ca", "--host", "a/b"), 2)
    missing = tmp_path / "password"
    error_of(est("init", tmp_path / "ca", "--ca-key-password-file", missing))
    assert list(tmp_path.iterdir()) == []


def test_init_encrypts_the_ca_key_with_the_password_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    directory = made(tmp_path / "ca", "--ca-key-password-file", str(tmp_path / "password"))
    assert b"ENCRYPTED" in (directory / "ca-key.pem").read_bytes()
    assert f'key_password_file = "{tmp_path}/password"' in (directory / "est.toml").read_text()
    assert PASSWORD not in (directory / "est.toml").read_text()


# user


def test_users_are_added_listed_and_removed(ca: Path) -> None:
    for name in ("bob", "alice"):
        done = est("user", "add", ca, name, "--password-stdin", stdin=PASSWORD + "\n")
        assert done.exit_code == 0
        assert PASSWORD not in done.output
    assert est("user", "list", ca).stdout == "alice\nbob\n"
    assert json.loads(est("user", "list", ca, "--json").stdout) == [
        {"name": "alice", "digest_realm": None},
        {"name": "bob", "digest_realm": None},
    ]
    assert est("user", "remove", ca, "bob").exit_code == 0
    assert est("user", "list", ca).stdout == "alice\n"
    assert "there is no user bob" in error_of(est("user", "remove", ca, "bob"))


def test_a_user_who_exists_gets_a_new_password_with_force_only(ca: Path) -> None:
    est("user", "add", ca, "bob", "--password-stdin", stdin="old")
    taken = est("user", "add", ca, "bob", "--password-stdin", stdin="new")
    assert "--force" in error_of(taken)
    assert est("user", "add", ca, "bob", "--password-stdin", "--force", stdin="new").exit_code == 0
    store = SqliteStore(ca / "est.db")
    found = store.find_user("bob")
    store.close()
    assert found is not None
    assert verify_password("new", found.password_record)


@pytest.mark.parametrize("name,stdin", [("bob", ""), ("bob", "\n"), ("a:b", "x"), ("", "x")])
def test_an_empty_password_and_an_impossible_name_are_usage_errors(
    name: str, stdin: str, ca: Path
) -> None:
    error_of(est("user", "add", ca, name, "--password-stdin", stdin=stdin), 2)


def test_without_a_terminal_a_password_is_not_waited_for(ca: Path) -> None:
    assert "--password-stdin" in error_of(est("user", "add", ca, "bob"), 2)


def typing(command: list[str], answers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Run a command on a terminal of its own and answer its prompts; return code and screen."""
    ours, theirs = pty.openpty()
    screen = b""
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        for prompt, answer in [*answers, (b"never shown", b"")]:
            seen = len(screen)
            while prompt not in screen[seen:]:
                ready, _, _ = select.select([ours], [], [], 20)
                try:
                    chunk = os.read(ours, 1024) if ready else b""
                except OSError:  # Linux says so when the other end is closed
                    chunk = b""
                if not chunk:
                    break
                screen += chunk
            os.write(ours, answer)
        code = process.wait(20)
    os.close(ours)
    return code, screen


@pytest.mark.parametrize(
    "second,third,added",
    [(b"correct horse\n", b"", True), (b"wrong horse\n", b"\x04", False)],
)
def test_a_password_is_typed_twice_and_not_shown(
    second: bytes, third: bytes, added: bool, ca: Path
) -> None:
    command = [sys.executable, "-m", "est_transports", "user", "add", str(ca), "bob"]
    answers = [(b"Password for bob", b"correct horse\n"), (b"epeat", second)]
    answers += [(b"Password for bob", third)] if third else []
    code, screen = typing(command, answers)
    assert code == (0 if added else 130)
    assert b"horse" not in screen
    assert est("user", "list", ca).stdout == ("bob\n" if added else "")


# certs


def records(ca: Path, *serials: str) -> None:
    """Record a certificate under each of these serials."""
    store = SqliteStore(ca / "est.db")
    (first,) = store.list_certificates()
    for count, serial in enumerate(serials):
        store.record_certificate(replace(first, serial=serial, subject=f"CN=Device {count}"))
    store.close()


def only_first(ca: Path) -> IssuedRecord:
    store = SqliteStore(ca / "est.db")
    found = store.list_certificates(limit=1)[0]
    store.close()
    return found


def only(ca: Path) -> IssuedRecord:
    store = SqliteStore(ca / "est.db")
    (found,) = store.list_certificates()
    store.close()
    return found


def test_certificates_are_listed_in_the_order_of_issue(ca: Path) -> None:
    records(ca, "abc1", "abd2")
    rows = [line.split("\t") for line in est("certs", "list", ca).stdout.splitlines()]
    assert [row[1] for row in rows] == ["CN=localhost", "CN=Device 0", "CN=Device 1"]
    assert {row[3] for row in rows} == {"valid"}
    found = json.loads(est("certs", "list", ca, "--json", "--subject", "DEVICE").stdout)
    assert [row["serial"] for row in found] == ["ABC1", "ABD2"]


@pytest.mark.parametrize("columns", [80, 110, 200])
def test_a_terminal_shows_serials_whole_and_dates_only(
    columns: int, ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records(ca, "f" * 40)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    _, screen = typing([sys.executable, "-m", "est_transports", "certs", "list", str(ca)], [])
    head, _, *lines = screen.decode().splitlines()
    until = f"{only_first(ca).not_after:%Y-%m-%d}"
    assert lines[1].startswith("F" * 40 + "  CN=Device 0")
    assert f"  {until}  valid" in lines[1]
    assert ("operation" in head) == (columns > 80)
    assert len(lines) == (2 if columns > 80 else 3), "what is left out is said"


def test_a_subject_that_does_not_fit_is_cut(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(ca / "est.db")
    first = only_first(ca)
    store.record_certificate(replace(first, serial="f" * 40, subject="CN=" + "long " * 20))
    store.close()
    monkeypatch.setenv("COLUMNS", "80")
    _, screen = typing([sys.executable, "-m", "est_transports", "certs", "list", str(ca)], [])
    assert screen.decode().splitlines()[3].startswith("F" * 40 + "  CN=long long")
    assert "\N{HORIZONTAL ELLIPSIS}" in screen.decode().splitlines()[3]


def test_a_long_list_is_cut_and_can_be_gone_on_with(ca: Path) -> None:
    records(ca, "abc1", "abd2")
    done = est("certs", "list", ca, "--limit", "2", "--json")
    assert len(json.loads(done.stdout)) == 2
    assert "--after ABC1" in done.stderr
    rest = est("certs", "list", ca, "--after", "abc1", "--json")
    assert [row["serial"] for row in json.loads(rest.stdout)] == ["ABD2"]
    assert rest.stderr == ""


@pytest.mark.parametrize(
    "serial", ["abc123", "0xABC123", "0A:BC:12:3", "00 ab C1 23", "serial=ABC123", "abc1"]
)
def test_a_certificate_is_found_by_its_serial_however_written(serial: str, ca: Path) -> None:
    records(ca, "abc123", "abd2")
    found = json.loads(est("certs", "show", ca, serial, "--json").stdout)
    assert (found["serial"], found["subject"]) == ("ABC123", "CN=Device 0")


@pytest.mark.parametrize("typed", ["0499", "499f", "04:99:f", "0499F0AB", "0x499f0ab"])
def test_the_first_digits_as_they_are_printed_find_a_certificate(typed: str, ca: Path) -> None:
    records(ca, "499f0ab", "4990000")
    shown = est("certs", "show", ca, "499f")
    assert "serial: 0499F0AB\n" in shown.stdout
    if typed == "0499":
        assert "2 certificates begin with 0499" in error_of(est("certs", "show", ca, typed), 2)
    else:
        assert est("certs", "show", ca, typed).stdout == shown.stdout


@pytest.mark.parametrize(
    "serial,code,words",
    [
        ("xyz", 2, "hexadecimal"),
        ("0", 2, "hexadecimal"),
        ("abc", 5, "no certificate"),
        ("dddd", 5, "no certificate"),
        ("abcd", 2, "2 certificates begin with"),
    ],
)
def test_a_serial_that_is_none_or_not_one_is_said_to_be(
    serial: str, code: int, words: str, ca: Path
) -> None:
    records(ca, "abcd1", "abcd2")
    assert words in error_of(est("certs", "show", ca, serial), code)


def test_a_certificate_is_shown_in_words_in_json_and_in_pem(ca: Path) -> None:
    record = only(ca)
    certificate = x509.load_der_x509_certificate(record.der)
    words = est("certs", "show", ca, record.serial).stdout
    assert f"serial: {printed_serial(record.serial)}\n" in words
    assert "operation: tls-identity\n" in words
    pem = est("certs", "show", ca, record.serial, "--pem").stdout
    assert x509.load_pem_x509_certificate(pem.encode()) == certificate
    assert json.loads(est("certs", "show", ca, record.serial, "--json").stdout)["pem"] == pem
    assert est("certs", "show", ca, record.serial, "--pem", "--json").exit_code == 2


def test_a_revoked_certificate_says_so(ca: Path) -> None:
    store = SqliteStore(ca / "est.db")
    (record,) = store.list_certificates()
    store.revoke_certificate(record.serial, at=datetime(2026, 1, 1, tzinfo=UTC), reason="lost")
    store.close()
    shown = json.loads(est("certs", "show", ca, record.serial, "--json").stdout)
    assert (shown["state"], shown["revocation_reason"]) == ("revoked", "lost")


# What all of them say about a directory


def test_a_prepared_certificate_is_listed_shown_and_revoked(ca: Path) -> None:
    first = only(ca)
    with closing(SqliteStore(ca / "est.db")) as store:
        der = make_ca().certificate.public_bytes(Encoding.DER)
        store.record_certificate(replace(first, serial="abc1", der=der, state=PREPARED))
    (row,) = est("certs", "list", ca, "--prepared").stdout.splitlines()
    assert row.split("\t")[0] == "ABC1"
    assert row.split("\t")[3] == "prepared"
    assert "state: prepared\n" in est("certs", "show", ca, "abc1").stdout
    found = json.loads(est("certs", "show", ca, "abc1", "--json").stdout)
    assert (found["state"], found["sha256"], found["pem"]) == ("prepared", None, None)
    assert "whether it was signed is not known" in error_of(
        est("certs", "show", ca, "abc1", "--pem"), ExitCode.REFUSED
    )
    assert est("certs", "revoke", ca, "abc1", "--yes").exit_code == 0
    assert "\trevoked\t" in est("certs", "list", ca, "--prepared").stdout


@pytest.mark.parametrize("command", ["serve", "user list", "certs list"])
def test_only_a_directory_that_is_not_there_or_empty_names_the_command_that_makes_it(
    command: str, tmp_path: Path
) -> None:
    missing, empty = tmp_path / "nowhere", tmp_path / "empty"
    empty.mkdir()
    for place in (missing, empty):
        line = error_of(est(*command.split(), place))
        assert f"{place}: is not the directory of a CA; check the path, or make one" in line
        assert f"est init {place}" in line
    line = error_of(est(*command.split(), tmp_path))
    assert line.endswith(f"{tmp_path}: is not the directory of a CA; check the path\n")
    (tmp_path / "file").write_text("")
    assert "is a file, not the directory of a CA" in error_of(
        est(*command.split(), tmp_path / "file")
    )


def test_a_directory_that_may_not_be_read_is_a_local_error(common_place: Path) -> None:
    ca = made(common_place / "ca")
    assert est("certs", "list", ca).exit_code == 0
    ca.chmod(0)
    command = ("certs", "list", ca)
    if os.geteuid() == 0:  # who may read everything, so it is tried by somebody else
        done = est_as(UID, *command)
        code, said = done.returncode, done.stderr
    else:
        here = est(*command)
        code, said = here.exit_code, here.stderr
    assert code == 5, said
    assert said.startswith("est: ")
    assert said.count("\n") == 1
    assert "Permission denied" in said


def _newer_schema(ca: Path) -> None:
    connection = sqlite3.connect(ca / "est.db")
    with connection:
        connection.execute("INSERT INTO schema_migration (number) VALUES (99)")
    connection.close()


def _garbage(ca: Path) -> None:
    (ca / "est.db").write_bytes(b"garbage" * 1000)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "est.toml": (lambda ca: (ca / "est.toml").write_text("[servre]"), "servre"),
    "no store": (
        lambda ca: (ca / "est.db").unlink(),
        "est.db: does not exist; restore it from a backup",
    ),
    "newer store": (_newer_schema, "use a newer release"),
    "broken store": (_garbage, "est.db: "),
    "no ca key": (
        lambda ca: (ca / "ca-key.pem").unlink(),
        "No such file or directory ([ca] key); restore it, or correct [ca] key in est.toml\n",
    ),
    "broken ca key": (lambda ca: (ca / "ca-key.pem").write_text("x"), "ca-key.pem: "),
    "broken certificate": (
        lambda ca: (ca / "server.pem").write_text("x"),
        "server.pem: is neither PEM",
    ),
    "certificate of another key": (
        lambda ca: (ca / "server.pem").write_bytes((ca / "ca.pem").read_bytes()),
        "([tls] key); put the right one there, or correct [tls] key in est.toml\n",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_serve_does_not_start_on_a_broken_directory(what: str, ca: Path) -> None:
    damage, words = BROKEN[what]
    damage(ca)
    assert words in error_of(est("serve", ca))


def test_serve_does_not_start_with_a_wrong_key_password(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("right")
    directory = made(tmp_path / "ca", "--ca-key-password-file", str(password))
    password.write_text("wrong one")
    line = error_of(est("serve", directory))
    assert "password is wrong" in line
    assert "wrong one" not in line


def test_serve_does_not_start_on_a_port_that_is_taken(ca: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = error_of(est("serve", ca, "--listen", f"127.0.0.1:{port}"))
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line
    assert line.endswith("; use another with --listen HOST:PORT\n")


def test_a_number_is_no_place_to_listen(ca: Path) -> None:
    line = error_of(est("serve", ca, "--listen", "8463"), 2)
    assert "did you mean :8463 or 127.0.0.1:8463?" in line


def test_serve_has_a_json_of_its_own() -> None:
    assert "Log in JSON." in est("serve", "--help").stdout


@pytest.mark.parametrize(
    "options",
    [("--listen", "a b"), ("--listen", "::1"), ("--auth", "kerberos"), ("--auth", ""),
     ("--workers", "0"), ("--workers", "x")],
)  # fmt: skip
def test_serve_takes_no_odd_options(options: tuple[str, str], ca: Path) -> None:
    error_of(est("serve", ca, *options), 2)


def test_the_commands_do_not_import_the_event_loop() -> None:
    code = (
        "from est_transports.cli.server import certs, init, serve, users;"
        "import sys; print('trio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
