"""A person at the terminal decides whom to trust, by the fingerprint that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_transports.cli import main
from est_transports.pki.fingerprints import groups
from tests.application import PASSWORD, USER
from tests.cli.canned import CannedServer, canned_server
from tests.cli.terminal import at_terminal
from tests.pki import TOMORROW, YESTERDAY, Subject, common_name, pki, self_signed

ROOT = pki().ca.certificate
PRINT = ROOT.fingerprint(hashes.SHA256()).hex(":").upper()
QUESTION = 'Trust this CA? Type "yes", or the fingerprint [no]: '
LOGIN = ("--user", f"{USER}:{PASSWORD}")


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


def asked(server: CannedServer) -> list[str]:
    return ["" if each.operation is None else each.operation.name for each in server.records]


@pytest.mark.req("EST-096", "EST-098", "EST-100")
def test_the_person_sees_the_root_and_says_yes_and_the_device_gets_its_certificate(
    server: CannedServer, tmp_path: Path
) -> None:
    options = ("provision", server.url, "--cn", "device-1", "--out", tmp_path, *LOGIN)
    with at_terminal(*options) as terminal:
        terminal.wait_for(QUESTION)
        assert server.connections == 1
        assert "  subject      CN=Test EST CA\n" in terminal.screen
        assert f"  SHA-256      {groups(ROOT)[0]}\n" in terminal.screen
        assert all(f"\n{'':15}{line}\n" in terminal.screen for line in groups(ROOT)[1:])
        assert f"{ROOT.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}\n" in terminal.screen
        terminal.type("yes")
        assert terminal.finish() == 0
    assert x509.load_pem_x509_certificates((tmp_path / "cacerts.pem").read_bytes()) == [ROOT]
    connections = [record.peer for record in server.records]
    assert asked(server)[0] == "cacerts"
    assert connections[0] not in connections[1:], "the rest went over connections that verify"


@pytest.mark.req("EST-096", "EST-098")
@pytest.mark.parametrize(
    "answer", ["", "no", "y", "ja", "yes please", pytest.param(PRINT[:-3], id="a part"), "00" * 32]
)
def test_any_other_answer_trusts_nobody_and_sends_nothing(
    server: CannedServer, tmp_path: Path, answer: str
) -> None:
    options = ("enroll", server.url, "--cn", "device-1", "--out", tmp_path, *LOGIN)
    with at_terminal(*options) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type(answer)
        assert terminal.finish() == 1
    assert "[trust/refused]" in terminal.screen
    assert ("another certificate" in terminal.screen) == (answer == "00" * 32)
    assert asked(server) == ["cacerts"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.req("EST-096")
@pytest.mark.parametrize(
    "answer", ["YES", PRINT, f" SHA256:{PRINT.replace(':', '').lower()} "], ids=range(3)
)
def test_the_fingerprint_itself_is_an_answer(server: CannedServer, answer: str) -> None:
    with at_terminal("cacerts", server.url) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type(answer)
        assert terminal.finish() == 0
    assert f"trusting CN=Test EST CA  SHA-256 {PRINT}" in terminal.screen


@pytest.mark.req("EST-101", "EST-124", "EST-129")
def test_of_several_roots_each_is_asked_for(server: CannedServer, tmp_path: Path) -> None:
    rogue = pki().rogue.certificate
    server.application.ca_certificates = (rogue, pki().intermediate.certificate, ROOT)
    with at_terminal("cacerts", server.url, "--out", tmp_path) as terminal:
        for number in (1, 2):
            terminal.wait_for(f"{number} of 2\n")
            terminal.screen = terminal.screen.partition(f"{number} of 2\n")[2]
            terminal.wait_for(QUESTION)
            terminal.type("yes" if "CN=Test EST CA\n" in terminal.screen else "no")
        assert terminal.finish() == 0
    kept = x509.load_pem_x509_certificates((tmp_path / "cacerts.pem").read_bytes())
    assert set(kept) == {ROOT, pki().intermediate.certificate}


def test_more_roots_than_anybody_compares_are_not_asked_for(server: CannedServer) -> None:
    many = [self_signed(Subject(name=f"CA {n}", ca=True, eku=None)).certificate for n in range(10)]
    server.application.ca_certificates = tuple(many)
    with at_terminal("cacerts", server.url) as terminal:
        for number in range(1, 9):
            terminal.wait_for(f"{number} of 8\n")
            terminal.type("no")
        assert terminal.finish() == 1
    assert "2 more roots were sent" in terminal.screen


def test_what_a_server_writes_is_shown_safely_and_not_at_length(server: CannedServer) -> None:
    name = "\x1b[2J\u202eroot " + "x" * 45
    whole = x509.Name([*common_name(name), *(list(common_name("y" * 60)) * 9)])
    evil = self_signed(Subject(name="", whole=whole, ca=True, eku=None)).certificate
    server.application.ca_certificates = (evil,)
    with at_terminal("cacerts", server.url) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type("no")
        terminal.finish()
    assert "\x1b" not in terminal.screen
    assert "\u202e" not in terminal.screen
    assert max(map(len, terminal.screen.splitlines())) < 400


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        (TOMORROW, TOMORROW + timedelta(days=1), "NOT YET VALID by this machine's clock"),
        (YESTERDAY - timedelta(days=1), YESTERDAY, "EXPIRED by this machine's clock"),
    ],
)
def test_a_root_that_is_not_valid_by_the_clock_is_shown_as_that(
    server: CannedServer, begin: object, end: object, said: str
) -> None:
    subject = Subject(name="A CA", ca=True, eku=None, not_before=begin, not_after=end)  # type: ignore[arg-type]
    server.application.ca_certificates = (self_signed(subject).certificate,)
    with at_terminal("cacerts", server.url) as terminal:
        terminal.wait_for(QUESTION)
        assert said in terminal.screen
        terminal.type("no")
        assert terminal.finish() == 1


def test_control_c_at_the_question_trusts_nobody(server: CannedServer, tmp_path: Path) -> None:
    options = ("provision", server.url, "--cn", "device-1", "--out", tmp_path, *LOGIN)
    with at_terminal(*options) as terminal:
        terminal.wait_for(QUESTION)
        terminal.interrupt()
        assert terminal.finish() == 130
    assert asked(server) == ["cacerts"]
    assert list(tmp_path.iterdir()) == []


# Who is not asked


@pytest.mark.parametrize("command", ["cacerts", "provision", "enroll"])
def test_without_a_terminal_nobody_is_asked_and_the_options_are_named(
    server: CannedServer, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, server.url, *(() if command == "cacerts" else ("--cn", "d"))]) == 2
    err = capsys.readouterr().err
    assert "by which CA must the server be certified?" in err
    assert "--fingerprint SHA256" in err
    assert server.connections == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("csrattrs", "{url}"),
        ("cacerts", "{url}", "--json"),
        ("cacerts", "coaps://localhost", "--cert", "{cert}", "--key", "{key}"),
    ],
    ids=["another command", "--json", "coaps"],
)
def test_other_commands_and_programs_are_not_asked(
    server: CannedServer, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    cert, key = pki().client.write(tmp_path, "device")
    options = [each.format(url=server.url, cert=cert, key=key) for each in arguments]
    with at_terminal(*options) as terminal:
        assert terminal.finish() == 2
    assert "by which CA must the server be certified?" in terminal.screen
    assert server.connections == 0
