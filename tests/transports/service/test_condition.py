"""`est check`: what is found in a directory, how bad it is, and that nothing is changed."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from est_core import Instant
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.crls import CrlSchedule, make_crl
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_schema import MIGRATIONS
from est_transports.cli import group
from est_transports.service.condition import Condition, Finding, findings_of, worst_of
from est_transports.service.config.reader import load_config
from est_transports.service.loading import load_service
from tests.docs.toml_edit import edited
from tests.transports.backup_site import NOW, contents, made


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return made(tmp_path / "ca")


def edit(ca: Path, text: str) -> None:
    config = ca / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), text), "utf-8")


def found(
    ca: Path, about: str, *, days: int = 0, notice: int = 30, quick: bool = True
) -> list[Finding]:
    """Return the findings about something that are not fine."""
    now = replace(NOW, wall=NOW.wall + timedelta(days=days))
    every = findings_of(ca, now=now, notice=timedelta(days=notice), quick=quick)
    return [each for each in every if each.about == about and each.condition is not Condition.OK]


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_new_directory_is_fine_and_nothing_is_changed(ca: Path) -> None:
    # They want a secret and a responder's key, and none is there yet.
    edit(ca, '[auth]\nschemes = ["bearer"]\n[publication]\nlisten = ["127.0.0.1:0"]\n')
    before = contents(ca)
    findings = findings_of(ca, now=NOW)
    assert worst_of(findings) is Condition.OK, findings
    assert {each.about for each in findings} == {
        "config", "disk", "modes", "server", "store", "clock", "files", "expiry", "records",
    }  # fmt: skip
    assert contents(ca) == before


def _write_est_toml(ca: Path) -> None:
    (ca / "est.toml").write_text("[sever]\n")


def _swap_keys(ca: Path) -> None:
    (ca / "ca-key.pem").rename(ca / "x")
    (ca / "server-key.pem").rename(ca / "ca-key.pem")
    (ca / "x").rename(ca / "server-key.pem")


def _lose_the_secret(ca: Path) -> None:
    edit(ca, '[auth]\nschemes = ["bearer"]\n')
    assert est("token", "add", ca, "g", "--expires", "never")[0] == 0
    (ca / "auth-secret.key").unlink()


def _take_another_secret(ca: Path) -> None:
    _lose_the_secret(ca)
    (ca / "auth-secret.key").write_text("0" * 64)
    (ca / "auth-secret.key").chmod(0o600)


def _damage_the_store(ca: Path) -> None:
    content = bytearray((ca / "est.db").read_bytes())
    content[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    (ca / "est.db").write_bytes(content)


def _lose_a_device(ca: Path) -> None:
    with closing(sqlite3.connect(ca / "est.db")) as connection:
        connection.execute("INSERT INTO device_name VALUES ('gone', 1, 'name', 'name')")
        connection.commit()


def _store_of_a_newer_release(ca: Path) -> None:
    with closing(sqlite3.connect(ca / "est.db")) as connection:
        connection.execute("INSERT INTO schema_migration (number) VALUES (1000)")
        connection.commit()


def _another_audit_file(ca: Path) -> None:
    lines = [{"event": "issued", "issued": {"serial": f"{n}AA"}} for n in range(1, 6)]
    (ca / "audit.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))


@pytest.mark.parametrize(
    ("damage", "about", "condition", "words"),
    [
        (_write_est_toml, "config", Condition.CRITICAL, "unknown table"),
        (lambda ca: (ca / "est.toml").unlink(), "config", Condition.CRITICAL, "No such file"),
        (_swap_keys, "files", Condition.CRITICAL, "server.pem"),
        (lambda ca: (ca / "ca-key.pem").unlink(), "files", Condition.CRITICAL, "No such file"),
        (lambda ca: (ca / "ca.pem").write_text("x"), "files", Condition.CRITICAL, "ca.pem"),
        (_lose_the_secret, "files", Condition.CRITICAL, "is missing"),
        (_take_another_secret, "files", Condition.CRITICAL, "is another secret"),
        (_damage_the_store, "store", Condition.CRITICAL, "est.db"),
        (_lose_a_device, "store", Condition.CRITICAL, "device_name"),
        (_store_of_a_newer_release, "store", Condition.CRITICAL, "newer release"),
        (lambda ca: (ca / "est.db").unlink(), "store", Condition.CRITICAL, "does not exist"),
        (lambda ca: (ca / "ca-key.pem").chmod(0o640), "modes", Condition.WARNING, "mode 0640"),
        (lambda ca: (ca / "ca-key.pem").chmod(0o644), "setting", Condition.WARNING, "everybody"),
        (lambda ca: (ca / "root-key.pem").touch(), "setting", Condition.WARNING, "still here"),
        (lambda ca: edit(ca, '[auth]\nnames = "any"\n'), "setting", Condition.WARNING, "any"),
        (_another_audit_file, "records", Condition.WARNING, "and 2 more"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(
    damage: Callable[[Path], object], about: str, condition: Condition, words: str, ca: Path
) -> None:
    damage(ca)
    finding = one(found(ca, about, quick=False))
    assert finding.condition is condition
    assert words in finding.text
    assert "\n" not in finding.text + finding.remedy


@pytest.mark.parametrize(
    ("days", "notice", "condition", "words"),
    [
        (0, 400, Condition.WARNING, "expires in"),
        (350, 30, Condition.WARNING, "expires in"),
        (350, 5, None, ""),
        (380, 30, Condition.CRITICAL, "no client connects"),
    ],
)
def test_the_server_s_certificate_ends(
    days: int, notice: int, condition: Condition | None, words: str, ca: Path
) -> None:
    findings = found(ca, "expiry", days=days, notice=notice)
    assert [each.condition for each in findings] == ([condition] if condition else [])
    if condition:
        assert words in findings[0].text
        assert "--renew-server" in findings[0].remedy


def test_the_list_that_the_ca_made_last_lapses(ca: Path) -> None:
    store = SqliteStore(ca / "est.db")
    authority: ReferenceCA = load_service(load_config(ca / "est.toml"), store=store).authority.ca
    make_crl(authority, store, CrlSchedule(), now=NOW.wall)
    store.close()
    assert not found(ca, "expiry", days=1)
    assert "lapses in" in one(found(ca, "expiry", days=6)).text
    lapsed = one(found(ca, "expiry", days=8))
    assert (lapsed.condition, "est crl" in lapsed.remedy) == (Condition.CRITICAL, True)
    edit(ca, "[crl]\nenabled = false\n")
    assert not found(ca, "expiry", days=8)


def test_a_clock_that_was_later_is_told(ca: Path) -> None:
    assert one(found(ca, "clock", days=-2)).remedy == "set the clock"
    early = Instant(mono=0.0, wall=NOW.wall - timedelta(minutes=2))
    assert "clock" in {
        each.about for each in findings_of(ca, now=early) if each.condition is Condition.OK
    }


def test_a_disk_that_fills_is_told(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(ca)
    for free, condition in ((10 << 20, Condition.WARNING), (10, Condition.CRITICAL)):
        blocks = free // real.f_frsize
        changed = os.statvfs_result((*real[:4], blocks, *real[5:]))
        monkeypatch.setattr(os, "statvfs", lambda _path, changed=changed: changed)
        assert one(found(ca, "disk")).condition is condition
    monkeypatch.setattr(os, "statvfs", _no_statvfs)
    assert not found(ca, "disk")


def _no_statvfs(_path: object) -> None:
    raise OSError(38, "Function not implemented")


def test_an_older_store_is_left_as_it_is(ca: Path) -> None:
    with closing(sqlite3.connect(ca / "est.db")) as connection:
        connection.execute(f"DELETE FROM schema_migration WHERE number = {len(MIGRATIONS)}")
        connection.commit()
    finding = one(found(ca, "store"))
    assert (finding.condition, "est serve" in finding.remedy) == (Condition.WARNING, True)
    with closing(sqlite3.connect(ca / "est.db")) as connection:
        (last,) = connection.execute("SELECT max(number) FROM schema_migration").fetchone()
    assert last == len(MIGRATIONS) - 1


def test_an_audit_file_that_is_off_or_unreadable(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from est_transports.service import condition

    def unreadable(_store: object, _files: object) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(condition, "unrecorded", unreadable)
    assert "Permission denied" in one(found(ca, "records")).text
    edit(ca, "[audit]\nenabled = false\n")
    assert not found(ca, "records")


# The command


def est(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(group, [str(each) for each in arguments])
    return done.exit_code, done.stdout


def test_monitoring_gets_a_line_and_an_exit_code(ca: Path) -> None:
    code, printed = est("check", ca)
    assert (code, printed.partition(":")[0]) == (0, "EST OK")
    assert len(printed.splitlines()) > 8
    code, printed = est("check", ca, "--days", "400", "--quick")
    assert (code, printed.partition(":")[0]) == (1, "EST WARNING")
    edit(ca, '[auth]\nnames = "any"\n')
    assert "(and 1 more)" in est("check", ca, "--days", "400", "--quick")[1]
    (ca / "ca-key.pem").unlink()
    code, printed = est("check", ca, "--json")
    assert code == 2
    assert json.loads(printed)["condition"] == "critical"
    assert est("check", ca / "nowhere")[0] == 2
