"""The audit file of a server: what is issued is on the disk first, the rest follows."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from est_core import (
    SIMPLEENROLL,
    Channel,
    ClientIdentity,
    EnrollRequested,
    Instant,
    Limits,
    TlsVersion,
)
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.testing import FIXED_INSTANT
from est_transports.drive import Record
from est_transports.service.audit import AuditFile, AuditFileError, AuditTrail, entry_of, trail
from est_transports.service.audit.trail import (
    REPEAT_S,
    STRANGERS_AT_ONCE,
    STRANGERS_PER_S,
    NoTrail,
    trail_of,
)
from est_transports.service.config.audit import AuditConfig
from tests.core.cast import csr_der
from tests.pki import pki

PEER: Final = "192.0.2.1:5000"


def refused(number: int = 0) -> Record:
    return Record(
        peer=PEER, operation=SIMPLEENROLL, status=403, code="pop/missing", reason=f"no {number}",
        refusal_id="7K3M9QX2TD",
    )  # fmt: skip


def question() -> EnrollRequested:
    return EnrollRequested(
        label=None, channel=Channel(version=TlsVersion.TLS_1_3, peer_address=PEER),
        identity=ClientIdentity(user="alice"), csr=parse_cert_request(csr_der(), Limits()),
        linked=False,
    )  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = FIXED_INSTANT

    def __call__(self) -> Instant:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now = self.now.after(seconds)


class FullDisk(AuditFile):
    """Takes nothing while it is full."""

    is_full = True

    def append(self, lines: bytes, *, durable: bool = False) -> None:
        if self.is_full:
            raise AuditFileError(f"{self.path}: {os.strerror(errno.ENOSPC)}")
        super().append(lines, durable=durable)


def issue(trail: AuditTrail, note: str = "") -> None:
    trail.issued(question(), pki().client.certificate, note)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_what_is_issued_is_on_the_disk_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    path = tmp_path / "audit.jsonl"
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append(path.read_bytes()))
    trail = AuditTrail(AuditFile(path))
    issue(trail, note="within the grace")
    assert len(synced) == 1
    (entry,) = map(json.loads, synced[0].splitlines())
    assert (entry["event"], entry["user"], entry["note"]) == ("issued", "alice", "within the grace")


def test_a_refusal_is_written_by_a_thread_and_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(AuditFile(path))
    for number in range(600):
        trail.observe(refused(number))
    trail.observe(Record(peer=PEER, status=200))
    trail.close()
    assert [entry["reason"] for entry in entries(path)] == [f"no {each}" for each in range(600)]


def test_after_the_end_it_can_go_on(tmp_path: Path) -> None:
    trail = AuditTrail(AuditFile(tmp_path / "audit.jsonl"))
    trail.close()
    trail.observe(refused())
    trail.close()
    assert len(entries(tmp_path / "audit.jsonl")) == 1


def test_a_disk_that_hangs_keeps_no_event_loop_waiting_and_what_is_missing_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "QUEUED_MAX", 10)
    hangs, has_begun = threading.Event(), threading.Event()

    class Hanging(AuditFile):
        def append(self, lines: bytes, *, durable: bool = False) -> None:
            has_begun.set()
            hangs.wait(20)
            super().append(lines, durable=durable)

    path = tmp_path / "audit.jsonl"
    audit = AuditTrail(Hanging(path))
    audit.observe(refused())
    assert has_begun.wait(20)
    for number in range(1, 18):
        audit.observe(refused(number))
    hangs.set()
    audit.close()
    found = entries(path)
    missing = [entry["missing"] for entry in found if entry["event"] == "gap"]
    assert missing == [7]
    assert sum(entry["event"] == "refused" for entry in found) == 11


def test_clients_that_nobody_knows_cannot_push_the_rest_out(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.jsonl", Clock()
    audit = AuditTrail(AuditFile(path), clock=clock)
    known = replace(refused(), identity=ClientIdentity(user="alice"))
    for _ in range(STRANGERS_AT_ONCE + 5):
        audit.observe(refused())
    audit.observe(known)
    clock.pass_s(2 / STRANGERS_PER_S)
    for _ in range(5):
        audit.observe(refused())
    audit.observe(known)
    audit.close()
    found = entries(path)
    assert sum(entry["event"] == "refused" for entry in found) == STRANGERS_AT_ONCE + 2 + 2
    assert sum(entry.get("user") == "alice" for entry in found) == 2
    assert sum(entry.get("missing", 0) for entry in found) == 5 + 3


def test_at_the_end_it_is_said_what_is_missing(tmp_path: Path) -> None:
    file = FullDisk(tmp_path / "audit.jsonl")
    audit = AuditTrail(file)
    issue(audit)
    file.is_full = False
    audit.close()
    assert [entry["missing"] for entry in entries(file.path)] == [1]


def test_a_record_that_cannot_be_told_does_not_end_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, usual = tmp_path / "audit.jsonl", entry_of

    def broken(record: Record, *arguments: Any, **options: Any) -> Any:
        if record.reason == "no 1":
            raise ValueError("a bug")
        return usual(record, *arguments, **options)

    monkeypatch.setattr(trail, "entry_of", broken)
    audit = AuditTrail(AuditFile(path))
    for number in range(3):
        audit.observe(refused(number))
    audit.close()
    assert [entry["reason"] for entry in entries(path)] == ["no 0", "no 2"]
    assert "could not be put into the audit file" in caplog.text


def test_where_it_is_required_nothing_is_issued_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = FullDisk(tmp_path / "audit.jsonl")
    audit = AuditTrail(file, required=True)
    audit.check()  # nothing is known to be wrong
    with pytest.raises(AuditFileError):
        issue(audit)
    with pytest.raises(AuditFileError):
        audit.check()
    assert "nothing is issued until it can be" in caplog.text
    file.is_full = False
    audit.check()
    issue(audit)
    assert [entry["event"] for entry in entries(file.path)] == ["gap", "issued"]
    assert entries(file.path)[0]["missing"] == 1


def test_where_it_is_not_required_the_log_says_once_in_a_while_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = FullDisk(tmp_path / "audit.jsonl"), Clock()
    audit = AuditTrail(file, clock=clock)
    for _ in range(3):
        audit.check()
        issue(audit)
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert "No space left on device; entries are missing" in line.getMessage()
    clock.pass_s(REPEAT_S)
    issue(audit)
    assert len(caplog.records) == 2
    file.is_full = False
    issue(audit)
    assert [entry.get("missing") for entry in entries(file.path)] == [4, None]


def test_a_refusal_that_cannot_be_written_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditTrail(FullDisk(tmp_path / "audit.jsonl"), required=True)
    audit.observe(refused())
    audit.close()
    assert "cannot be written" in caplog.text


def test_a_disk_that_does_not_sync_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    audit = AuditTrail(AuditFile(tmp_path / "audit.jsonl"))
    audit.observe(refused())
    audit.close()
    assert "Input/output error" in caplog.text


def test_a_process_that_was_forked_writes_its_own_entries(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditTrail(AuditFile(path))
    audit.observe(refused(1))
    audit.close()
    child = os.fork()
    if not child:
        code = 1
        try:
            audit.observe(refused(2))
            issue(audit)
            audit.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    audit.observe(refused(3))
    audit.close()
    assert sorted(str(entry.get("reason")) for entry in entries(path)) == [
        "None", "no 1", "no 2", "no 3",
    ]  # fmt: skip


def test_a_configuration_makes_one_or_none(tmp_path: Path) -> None:
    none = trail_of(AuditConfig())
    assert isinstance(none, NoTrail)
    none.prepare()
    none.check()
    none.issued(question(), pki().client.certificate)
    none.observe(refused())
    none.close()
    audit = trail_of(AuditConfig(file=tmp_path / "a.jsonl", required=True))
    assert isinstance(audit, AuditTrail)
    assert audit.required
    audit.prepare()
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    nowhere = trail_of(AuditConfig(file=tmp_path / "b" / "a.jsonl", required=True))
    with pytest.raises(AuditFileError, match="No such file"):
        nowhere.prepare()
