"""What renewals have left behind, and its revocation by command."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from est_transports import _clock
from est_transports.authority import IssuedRecord, SqliteStore
from est_transports.cli import group
from est_transports.cli.server.superseded import superseded
from est_transports.service.initialisation import CaSpec, initialise

NOW = _clock.instant().wall.replace(microsecond=0)
DAY = timedelta(days=1)
FIRST = IssuedRecord(
    serial="a1",
    subject="CN=gate",
    not_before=NOW - 20 * DAY,
    not_after=NOW + 90 * DAY,
    der=b"d",
    spki_sha256=b"s",
    issued_at=NOW - 20 * DAY,
    operation="simpleenroll",
)


def line(text: str) -> list[IssuedRecord]:
    """Return records of which each replaces another: "b2<a1" is b2 in the place of a1."""
    found = []
    for day, item in enumerate(text.split()):
        serial, _, replaces = item.partition("<")
        at = FIRST.issued_at + day * DAY
        found.append(replace(FIRST, serial=serial, replaces=replaces or None, issued_at=at))
    return found


@pytest.mark.parametrize(
    ("records", "left"),
    [
        ("a1", ""),
        ("a1 b2<a1", ""),
        ("a1 b2<a1 b3<a1", ""),
        ("a1 b2<a1 c3<b2", "a1"),
        ("a1 b2<a1 c3<b2 d4<c3", "a1 b2"),
        ("a1 b2<a1 b3<a1 c4<b3", "a1 b2"),
        ("a1 b2<a1 c3<b2 b4<a1", ""),
        ("a1 b2<a1 c3<b2 b4<a1 c5<b4", "a1"),
        ("a1 b2<f0 c3<b2", "f0"),
    ],
    ids=[
        "never renewed",
        "not known to be used",
        "asked for twice",
        "used",
        "used twice",
        "an answer that was lost",
        "gone back to",
        "gone back to and used",
        "of one that is not on record",
    ],
)
def test_what_is_replaced_is_left_behind_once_what_replaces_it_was_used(
    records: str, left: str
) -> None:
    assert superseded(line(records)) == frozenset(left.split())


def test_a_command_revokes_what_was_left_behind_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    with closing(SqliteStore(directory / "est.db")) as store:
        for record in line("a111 b222<a111 b333<a111 c444<b333 d555<c444 e666"):
            store.record_certificate(record)

    def revoke(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(group, ["certs", "revoke", str(directory), *options])
        return done.exit_code, done.stdout

    code, dry = revoke("--superseded", "--dry-run")
    assert (code, len(dry.splitlines())) == (0, 3)
    code, done = revoke("--superseded", "--yes")
    assert code == 0
    assert all(each.endswith("(superseded)") for each in done.splitlines())
    with closing(SqliteStore(directory / "est.db")) as store:
        revoked = {each.serial for each in store.list_certificates() if each.revoked_at}
    assert revoked == {"a111", "b222", "b333"}
    assert revoke("--superseded", "--yes")[0] != 0, "there is nothing more"
    assert revoke("--superseded", "--user", "gate")[0] == 2
