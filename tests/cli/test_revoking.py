"""`est certs revoke` and `release`: what is chosen, what is refused, and what is said of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import ManufacturerIdentity
from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import printed_serial, serial_text
from est_transports.pki.trust import load_pem_certificates
from tests.cli.terminal import at_terminal
from tests.cli.test_server_commands import error_of, est, made
from tests.pki import Subject, pki

NOW = datetime.now(UTC)


@dataclass
class Site:
    """A CA of `est init`, whose store gets certificates of a test's own."""

    directory: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(0xABC001))

    @contextmanager
    def store(self) -> Iterator[SqliteStore]:
        with closing(SqliteStore(self.directory / "est.db")) as store:
            yield store

    def record(self, subject: str, **changed: object) -> str:
        """Return the serial number of a new record."""
        number = next(self.numbers)
        with self.store() as store:
            (first,) = store.list_certificates(limit=1)
            new = replace(
                first, serial=serial_text(number), subject=f"CN={subject}", der=b"%d" % number
            )
            new = replace(new, **changed)  # type: ignore[arg-type]  # as the test says
            store.record_certificate(new)
        return printed_serial(new.serial)

    def find(self, serial: str) -> IssuedRecord:
        with self.store() as store:
            found = store.find_certificate(serial)
        assert found is not None
        return found

    def state(self, serial: str) -> str:
        """Return what `est certs list` says of it."""
        rows = est("certs", "list", self.directory).stdout
        found = (line.split("\t") for line in rows.splitlines())
        return next(cells[3] for cells in found if cells[0] == serial)

    def reasons(self, serials: Sequence[str]) -> list[str | None]:
        return [self.find(each).revocation_reason for each in serials]

    def revoke(self, *arguments: str | Path) -> Result:
        return est("certs", "revoke", self.directory, *arguments)

    def release(self, *arguments: str) -> Result:
        return est("certs", "release", self.directory, *arguments)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One directory for the module; each test has records of its own."""
    return Site(made(tmp_path_factory.mktemp("revoking") / "ca"))


def test_a_certificate_is_revoked_for_a_reason_and_once(site: Site) -> None:
    serial = site.record("once")
    done = site.revoke(serial, "--reason", "key-compromise")
    assert done.exit_code == 0
    assert done.stdout == f"revoked {serial}  CN=once  (keyCompromise)\n"
    assert site.reasons([serial]) == ["keyCompromise"]
    again = error_of(site.revoke(serial), 1)
    assert f"certificate {serial} was revoked already, on 20" in again
    assert "(keyCompromise)" in again
    assert site.state(serial) == "revoked"


def test_without_a_reason_it_is_unspecified_and_an_unknown_one_names_all(site: Site) -> None:
    serial = site.record("reasons")
    for word in ("lost", "cACompromise", "removeFromCRL"):
        line = error_of(site.revoke(serial, "--reason", word), 2)
        assert f"'{word}' is none of unspecified, keyCompromise, affiliationChanged," in line
    assert site.reasons([serial]) == [None]
    assert site.revoke(serial).exit_code == 0
    assert site.reasons([serial]) == ["unspecified"]


def test_a_hold_is_released_or_becomes_final(site: Site) -> None:
    first, second = site.record("hold 1"), site.record("hold 2")
    for serial in (first, second):
        done = site.revoke(serial, "--reason", "certificateHold")
        assert done.stdout.startswith(f"put on hold {serial}")
    assert site.state(first) == "on hold"
    assert "is on hold since" in error_of(site.revoke(first, "--reason", "certificateHold"), 1)
    assert site.release(first).stdout == f"released {first}  CN=hold 1\n"
    assert site.reasons([first]) == [None]
    assert "not on hold: it was not revoked" in error_of(site.release(first), 1)
    began = site.find(second).revoked_at
    assert site.revoke(second, "--reason", "superseded").exit_code == 0
    assert site.find(second).revoked_at == began
    assert "(superseded); that is for good" in error_of(site.release(second), 1)
    assert site.release("ffffffff").exit_code == 5
    third = site.record("hold 3")
    site.revoke(third, "--reason", "certificateHold")
    assert json.loads(site.release(third, "--json").stdout)["serial"] == third


def test_of_several_that_are_named_one_that_is_unknown_keeps_all(site: Site) -> None:
    known = site.record("several")
    line = error_of(site.revoke(known, "FFFF00", "--yes"))
    assert "there is no certificate FFFF00" in line
    assert site.reasons([known]) == [None]
    assert "no serial number" in error_of(site.revoke("xyz"), 2)


def test_many_are_revoked_only_by_yes_or_by_a_person(site: Site) -> None:
    serials = [site.record(f"Pump {number}") for number in range(3)]
    other = site.record("other")
    line = error_of(site.revoke("--subject", "pump"), 2)
    assert "3 certificates would be revoked, and there is no terminal to ask on" in line
    assert "--dry-run" in line
    dry = site.revoke("--subject", "pump", "--dry-run")
    assert dry.exit_code == 0
    assert [line.split()[:4] for line in dry.stdout.splitlines()] == [
        ["would", "be", "revoked:", serial] for serial in serials
    ]
    assert site.reasons(serials) == [None] * 3
    done = json.loads(site.revoke("--subject", "pump", "--yes", "--json").stdout)
    assert [each["serial"] for each in done["revoked"]] == serials
    assert (done["dry_run"], done["reason"], done["left"]) == (False, "unspecified", [])
    assert site.reasons([*serials, other]) == ["unspecified"] * 3 + [None]


def test_a_search_asks_also_about_one_and_a_person_may_refuse(site: Site) -> None:
    serials = [site.record(f"valve {number:02}") for number in range(25)]
    command = ["certs", "revoke", str(site.directory), "--subject", "valve"]
    with at_terminal(*command) as shown:
        shown.wait_for("Revoke 25 certificates?")
        assert serials[0] in shown.screen
        assert serials[-1] not in shown.screen
        assert "and 5 more" in shown.screen
        shown.type("n")
        assert shown.finish() == 1
    assert site.reasons(serials) == [None] * 25
    assert "1 certificate would be" in error_of(site.revoke("--subject", "valve 07"), 2)


def test_the_renewals_of_a_users_certificates_are_the_users_too(site: Site) -> None:
    first = site.record("of alice", user="alice")
    renewal = site.record("of alice", user=None, replaces=serial_text(int(first, 16)))
    last = site.record("of alice", user=None, replaces=serial_text(int(renewal, 16)))
    others = site.record("of bob", user="bob")
    assert site.revoke("--user", "alice", "--yes").exit_code == 0
    assert site.reasons([first, renewal, last, others]) == ["unspecified"] * 3 + [None]
    assert "no such certificate that still counts" in error_of(site.revoke("--user", "eve"))
    device = ManufacturerIdentity(manufacturer="acme", value="4711")
    made = site.record("of acme", user=None, manufacturer=device)
    assert site.revoke("--user", "acme/4711", "--yes").exit_code == 0
    assert site.reasons([made]) == ["unspecified"]
    line = error_of(site.revoke("--user", "alice", "--yes"), 1)
    assert "was revoked already" in line
    assert "none of 3 certificates is revoked: certificate " in line


def test_a_renewal_that_was_under_way_is_revoked_with_what_it_renews(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, held = site.record("under way"), site.record("other line")
    renewals: list[str] = []
    revoke_certificates = SqliteStore.revoke_certificates

    def late(store: SqliteStore, serials: Sequence[str], **how: Any) -> bool:
        if not renewals:  # between the search and the revocation
            renewals.append(site.record("under way", replaces=serial_text(int(first, 16))))
            renewals.append(site.record("under way", replaces=serial_text(int(renewals[0], 16))))
        return revoke_certificates(store, serials, **how)

    monkeypatch.setattr(SqliteStore, "revoke_certificates", late)
    done = site.revoke("--subject", "under way", "--yes")
    assert [line.split()[1] for line in done.stdout.splitlines()] == [first, *renewals]
    assert site.reasons([first, *renewals, held]) == ["unspecified"] * 3 + [None]


def test_what_a_search_finds_and_is_revoked_already_is_left_and_told(site: Site) -> None:
    old, new = site.record("twice"), site.record("twice")
    site.revoke(old, "--reason", "superseded")
    done = site.revoke("--subject", "twice", "--yes")
    assert done.stdout.splitlines() == [f"revoked {new}  CN=twice  (unspecified)"]
    assert f"left alone: {old} was revoked already" in done.stderr
    assert site.reasons([old]) == ["superseded"]


def test_a_search_leaves_what_nobody_can_renew_any_more(site: Site) -> None:
    ended = NOW - timedelta(days=2)
    past = site.record("past", not_before=NOW - timedelta(days=9), not_after=ended)
    assert "no such certificate" in error_of(site.revoke("--subject", "past", "--yes"))
    config = site.directory / "est.toml"
    before = config.read_text()
    config.write_text(before + "\n[labels.late]\nrenew_expired_days = 5\n")
    try:
        assert site.revoke("--subject", "past", "--yes").exit_code == 0
    finally:
        config.write_text(before)
    assert site.reasons([past]) == ["unspecified"]


def test_a_file_of_certificates_names_those_and_no_foreign_one(site: Site, tmp_path: Path) -> None:
    ours = pki().ca.issue(Subject(name="in a file"))
    foreign = pki().ca.issue(Subject(name="foreign"))
    der = ours.certificate.public_bytes(Encoding.DER)
    serial = site.record("in a file", serial=serial_text(ours.certificate.serial_number), der=der)
    both, one = tmp_path / "both.pem", tmp_path / "one.der"
    pems = [each.certificate.public_bytes(Encoding.PEM) for each in (ours, foreign)]
    both.write_bytes(b"".join(pems))
    one.write_bytes(der)
    line = error_of(site.revoke("--file", both, "--yes"))
    assert "both.pem: certificate " in line
    assert "is none that this CA issued" in line
    assert site.reasons([serial]) == [None]
    assert site.revoke("--file", one).exit_code == 0
    assert site.reasons([serial]) == ["unspecified"]
    assert site.revoke("--file", tmp_path / "no.pem").exit_code == 5


def test_neither_the_ca_nor_the_servers_certificate_in_use_is_revoked(site: Site) -> None:
    (root,) = load_pem_certificates(site.directory / "ca.pem")
    (server, *_) = load_pem_certificates(site.directory / "server.pem")
    own = printed_serial(server.serial_number)
    for ways in ((printed_serial(root.serial_number),), ("--file", site.directory / "ca.pem")):
        line = error_of(site.revoke(*ways), 1)
        assert "is a certificate of the CA itself" in line
    for ways in ((own,), ("--file", site.directory / "server.pem")):
        line = error_of(site.revoke(*ways), 1)
        assert f"certificate {own} is the server's own TLS certificate" in line
        assert "--renew-server" in line
    assert "the server's own" in error_of(site.revoke("--subject", "localhost", "--yes"), 1)
    assert site.find(own).revoked_at is None


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        ((), "say which certificates"),
        (("AB", "--user", "alice"), "say which certificates"),
        (("--subject", "a", "--user", "alice"), "say which certificates"),
        (("--subject", ""), "not empty"),
        (("--user", ""), "not empty"),
    ],
)
def test_there_is_one_way_to_say_which(site: Site, ways: tuple[str, ...], words: str) -> None:
    assert words in error_of(site.revoke(*ways), 2)
