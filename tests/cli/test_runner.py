"""The command's frame: exit codes, the one error line, lazy commands, files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from est_transports.cli import COMMANDS, main
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, write_files
from est_transports.cli.output import print_table
from est_transports.cli.password_input import ask_password, password_from_stdin
from est_transports.cli.runner import Commands, run
from est_transports.cli.terminal_text import terminal_safe
from est_transports.pki.trust import CredentialFileError

Capture = pytest.CaptureFixture[str]


def command_that(act: Callable[[], object]) -> click.Command:
    """Return a command that does this."""
    return click.Command("test", callback=act)


def raising(exc: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise exc

    return act


@pytest.mark.parametrize(
    ("exc", "code", "words"),
    [
        (CliError("cannot enroll: there", ExitCode.REFUSED, "try harder"), 1, "try harder"),
        (CliError("nobody there", ExitCode.NETWORK), 4, "nobody there"),
        (CredentialFileError(Path("ca.pem"), "no certificate"), 5, "ca.pem: no certificate"),
        (FileNotFoundError(2, "No such file or directory", "x.pem"), 5, "x.pem: No such file"),
        (click.UsageError("no such option"), 2, "--help"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
        (ValueError("secret text"), 70, "this is a bug"),
        (ConnectionResetError(104, "reset"), 70, "this is a bug"),
    ],
)
def test_every_exception_is_one_line_and_one_exit_code(
    exc: BaseException, code: int, words: str, capsys: Capture
) -> None:
    assert run(command_that(raising(exc)), []) == code
    out, err = capsys.readouterr()
    assert out == ""
    line = err.lstrip("\n")  # click ends the line on which the terminal shows ^C
    assert line.startswith("est: ")
    assert words in line
    assert line.count("\n") == 1


def test_an_unexpected_exception_does_not_show_its_text_unless_asked(capsys: Capture) -> None:
    run(command_that(raising(ValueError("secret text"))), [])
    assert "secret text" not in capsys.readouterr().err


def test_verbose_adds_the_traceback(capsys: Capture) -> None:
    assert main(["cacerts", "http://x", "--verbose"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "LocalProtocolError" in err
    assert main(["--verbose", "cacerts", "http://x"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_without_verbose_there_is_no_traceback(capsys: Capture) -> None:
    assert main(["cacerts", "http://x"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_return_value_of_a_command_is_the_exit_code() -> None:
    assert run(command_that(lambda: ExitCode.PENDING), []) == 3
    assert run(command_that(lambda: None), []) == 0


def test_a_reader_that_has_gone_is_not_told_about() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "est_transports", "--help"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (5, "")


@pytest.mark.parametrize("arguments", [[], ["user"], ["certs"]])
def test_a_group_alone_prints_its_help_as_it_is(arguments: list[str], capsys: Capture) -> None:
    assert main([*arguments, "--help"]) == 0
    text = capsys.readouterr().out
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", text)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["user", "--help"], ["init", "ca"]]
)
def test_a_full_disk_on_standard_output_is_a_local_error(
    arguments: list[str], tmp_path: Path
) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "est_transports", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
    words = "est: cannot write to standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (5, words)


def test_last_words_that_cannot_be_printed_leave_the_exit_code(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "est_transports", "certs", "list", str(tmp_path)]
        assert subprocess.run(command, stderr=full).returncode == 5


def test_help_of_the_group_imports_no_command() -> None:
    script = (
        "import sys; from est_transports.cli import main; code = main(['--help']);"
        "loaded = [m for m in sys.modules if m.startswith('est_transports.cli.')];"
        "print(code, loaded, {'trio', 'rich', 'est_core', 'cryptography.x509'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    names = "examples options terminal_text errors output runner".split()
    loaded = [f"est_transports.cli.{name}" for name in names]
    assert done.stdout.splitlines()[-1] == f"0 {loaded} set()"
    for name in COMMANDS:
        assert name in done.stdout


def test_a_client_command_does_not_import_the_server() -> None:
    server = (
        "trio",
        "est_transports.authority.ca",
        "est_transports.authority.stores.sqlite",
        "sqlite3",
    )
    script = (
        # What measures the coverage of this process uses sqlite3 itself.
        "import sys; before = set(sys.modules); import est_transports.cli.client.commands;"
        f"print(sorted({set(server)} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: est {name}")


@pytest.mark.parametrize("name", ["cacerts", "csrattrs", "enroll", "provision", "reenroll"])
def test_the_help_of_a_client_command_says_what_a_url_is(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "URL is https://HOST[:PORT][/LABEL], or coaps://" in text


def test_an_unknown_command_is_a_usage_error(capsys: Capture) -> None:
    assert main(["enroll"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_group_exits_with_our_codes_where_click_runs_it() -> None:
    group = Commands("test")
    group.add_command(command_that(raising(CliError("no", ExitCode.NETWORK))))
    with pytest.raises(SystemExit) as stopped:
        group.main(["test"])
    assert stopped.value.code == 4


def test_text_of_a_peer_cannot_command_a_terminal() -> None:
    assert terminal_safe("a\x1b[31mb\r\nc\u202ed") == "a?[31mb??c?d"
    assert CliError("x\x1b]0;y\x07", ExitCode.REFUSED).line == "est: x?]0;y?"


def test_a_table_for_a_program_is_tab_separated(capsys: Capture) -> None:
    print_table(("a", "b"), [("1", "x\ty"), ("2", "\x1b[0m")])
    assert capsys.readouterr().out == "1\tx?y\n2\t?[0m\n"


def _stdin(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


@pytest.mark.parametrize(
    ("raw", "password"),
    [(b"secret\n", "secret"), (b"with blank \r\nmore\n", "with blank "), ("für".encode(), "für")],
)
def test_the_password_is_the_first_line_of_stdin(
    raw: bytes, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stdin(monkeypatch, raw)
    assert password_from_stdin() == password


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xff\n", b"x" * 1025 + b"\n"])
def test_an_unusable_password_on_stdin_is_a_usage_error(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stdin(monkeypatch, raw)
    with pytest.raises(CliError) as refused:
        password_from_stdin()
    assert refused.value.code is ExitCode.USAGE


def test_nobody_is_asked_for_a_password_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _stdin(monkeypatch, b"secret\n")
    with pytest.raises(CliError, match="no terminal") as refused:
        ask_password("Password")
    assert refused.value.code is ExitCode.USAGE
    assert "--password-stdin" in refused.value.hint


# Files


@pytest.mark.req("EST-296")
def test_files_have_their_modes_whatever_the_umask(tmp_path: Path) -> None:
    place = tmp_path / "new" / "dir"
    old = os.umask(0)
    try:
        write_files(
            [
                Output(path=place / "key.pem", content=b"k", secret=True),
                Output(path=place / "cert.pem", content=b"c"),
            ]
        )
    finally:
        os.umask(old)
    assert (place / "key.pem").stat().st_mode & 0o777 == 0o600
    assert (place / "cert.pem").stat().st_mode & 0o777 == 0o644
    assert place.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in place.iterdir()) == ["cert.pem", "key.pem"]


@pytest.mark.req("EST-296")
def test_an_existing_file_is_never_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"old")
    outputs = [Output(path=tmp_path / name, content=b"new") for name in ("a", "b")]
    with pytest.raises(CliError) as refused:
        write_files(outputs)
    assert refused.value.code is ExitCode.LOCAL
    assert "--force" in refused.value.hint
    assert (tmp_path / "b").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]
    write_files(outputs, overwrite=True)
    assert (tmp_path / "b").read_bytes() == b"new"


def test_a_dangling_link_counts_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CliError):
        write_files([Output(path=tmp_path / "a", content=b"new")])
    assert not (tmp_path / "nowhere").exists()


def test_a_directory_that_is_a_file_is_a_local_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CliError) as refused:
        write_files([Output(path=tmp_path / "file" / "a", content=b"")])
    assert refused.value.code is ExitCode.LOCAL


@pytest.mark.req("EST-296")
def test_if_one_file_cannot_be_staged_nothing_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    outputs = [
        Output(path=tmp_path / "a", content=b"new"),
        Output(path=tmp_path / ("n" * 250), content=b"the temporary name is too long"),
    ]
    with pytest.raises(CliError):
        write_files(outputs, overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_secrets_are_not_in_the_repr_of_an_output() -> None:
    assert "hidden" not in repr(Output(path=Path("k"), content=b"hidden", secret=True))


def test_the_command_runs_as_a_module_and_says_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "est_transports", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith("est, version ")


def test_json_is_one_document(capsys: Capture) -> None:
    from est_transports.cli.output import print_json

    print_json({"a": "\x1b"})
    assert json.loads(capsys.readouterr().out) == {"a": "\x1b"}
