"""Certificates that an audit file tells of and a store does not know."""

from __future__ import annotations

import json
from pathlib import Path

from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.unrecorded import unrecorded
from tests.transports.backup_site import made


def line(serial: object, event: str = "issued") -> str:
    issued = {"serial": serial, "subject": "CN=a"}
    return json.dumps({"event": event, "time": "2026-11-28T00:00:00Z", "issued": issued})


def test_those_that_are_only_in_the_audit_file_are_told(tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    store = SqliteStore(ca / "est.db")
    (own,) = store.list_certificates()
    (tmp_path / "audit.jsonl").write_text(
        "\n".join(
            (
                line(own.serial.upper()),
                line("0ABC"),
                line("0ABC"),
                line("DEAD", "refused"),
                line("no serial"),
                line(None),
                '{"event":"issued","issued":3}',
                '{"event":"iss',
            )
        )
    )
    (tmp_path / "audit.jsonl.1").write_text(line("0D") + "\n")
    found = unrecorded(store, (tmp_path / "audit.jsonl", tmp_path / "missing.jsonl"))
    assert [each.serial for each in found] == ["abc", "d"]
    assert found[0].subject == "CN=a"
    store.close()
