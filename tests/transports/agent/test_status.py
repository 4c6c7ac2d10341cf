"""How a certificate stands, as a monitor reads it beside a running agent."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from est_core import Deny, LocalProtocolError
from est_core.life_cycle import Alarm
from est_transports.agent.actions import HookResult
from est_transports.agent.saved import Failure, Saved, plain, saved_of
from est_transports.agent.settings import HookSettings
from est_transports.agent.status import CertificateStatus, Standing, certificate_status
from tests.transports.agent.world import BEGIN, DAY_S, NAME, World


def stands(world: World) -> CertificateStatus:
    return certificate_status(world.directory / NAME, world.settings, world.now())


def test_before_there_is_a_certificate_only_a_failure_needs_a_person(tmp_path: Path) -> None:
    world = World(tmp_path)
    found = stands(world)
    assert (found.standing, found.needs_person, found.certificate) == (Standing.NONE, False, None)
    world.application.pend(600)
    world.work()
    assert (stands(world).standing, stands(world).needs_person) == (Standing.PENDING, False)
    world.application.decide_enrollments(Deny(code="policy/no", reason="no"))
    world.work(force=True)
    found = stands(world)
    assert (found.standing, found.needs_person) == (Standing.NONE, True)
    assert found.last_failure is not None
    assert found.last_failure[0] == "response/status-403"


def test_a_directory_that_was_only_begun_is_that_of_a_device_without_certificate(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    (tmp_path / NAME).mkdir()
    assert stands(world).standing is Standing.NONE
    (tmp_path / NAME / "lock").touch()
    assert stands(world).standing is Standing.NONE
    assert world.work().renewed


def test_a_certificate_is_fine_then_failing_then_late_then_expired(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work()
    found = stands(world)
    assert (found.standing, found.needs_person) == (Standing.FINE, False)
    assert found.next_at is not None
    assert BEGIN + timedelta(days=59) < found.next_at < BEGIN + timedelta(days=76)
    world.application.decide_enrollments(Deny(code="policy/no", reason="no"))
    world.t = 80 * DAY_S
    world.work()
    found = stands(world)
    assert (found.standing, found.needs_person) == (Standing.FAILING, False)
    assert found.next_at is not None
    assert world.now().wall < found.next_at < world.now().wall + timedelta(minutes=2)
    world.t = 89 * DAY_S
    found = stands(world)
    assert (found.alarms, found.needs_person) == (frozenset({Alarm.LATE}), True)
    world.t = 90 * DAY_S
    assert (stands(world).standing, stands(world).needs_person) == (Standing.EXPIRED, True)


def test_a_damaged_state_hides_nothing_of_the_certificate(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work()
    (tmp_path / NAME / "state").write_text("[]")
    found = stands(world)
    assert (found.standing, found.certificate) == (Standing.FINE, world.look())


def test_a_wait_behind_the_end_of_all_dates_is_shown_as_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work()
    world.application.decide_enrollments(Deny(code="policy/no", reason="no"))
    world.work(force=True)
    place = tmp_path / NAME / "state"
    text, waits = re.subn(r'(\\"attempt.*?wait_s\\": )[0-9.]+', r"\g<1>1e300", place.read_text())
    assert waits == 1
    place.write_text(text)
    found = stands(world)
    assert found.standing is Standing.FAILING
    assert found.next_at is not None
    assert found.next_at > BEGIN + timedelta(days=59), "when it would be renewed if nothing failed"


def test_what_is_no_directory_of_pairs_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "current").write_text("somebody's")
    found = stands(world)
    assert (found.standing, found.needs_person) == (Standing.UNREADABLE, True)
    assert found.last_failure is not None
    assert found.last_failure[0].startswith("pair/")


def test_a_lost_link_is_damage_and_no_device_without_certificate(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work()
    (tmp_path / NAME / "current").unlink()
    found = stands(world)
    assert (found.standing, found.needs_person) == (Standing.UNREADABLE, True)
    assert found.last_failure is not None
    assert found.last_failure[0] == "pair/damaged"


def test_a_hook_that_was_removed_from_the_settings_has_not_failed(tmp_path: Path) -> None:
    hook = HookSettings(command=("/usr/bin/reload",))
    world = World(tmp_path, options={"hook": hook}, hook=lambda _: HookResult(problem="ended w 3"))
    world.work()
    assert stands(world).hook_failure is not None
    world.settings = replace(world.settings, hook=None)
    assert (stands(world).hook_failure, stands(world).needs_person) == (None, False)


def test_names_that_were_changed_later_are_noted(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert stands(world).note == ""
    world.work()
    assert stands(world).note == ""
    other = x509.Name.from_rfc4514_string("CN=gate-x")
    more = (x509.DNSName("b.example"),)
    world.settings = replace(world.settings, subject=other, names=more)
    assert "names CN=gate-x, b.example, which the certificate" in stands(world).note
    world.settings = replace(world.settings, subject=x509.Name([]), names=())
    assert stands(world).note == ""


# The text that is kept


def test_what_is_kept_is_read_again_as_it_was(tmp_path: Path) -> None:
    failure = Failure(code="a/b", message="no", at=BEGIN)
    saved = Saved(of="ab", hook_due="cd", failure=failure, hook_failure=failure)
    assert saved_of(saved.text()) == saved
    assert saved_of("") == Saved()
    world = World(tmp_path)
    world.work()
    text = (tmp_path / NAME / "state").read_text()
    assert saved_of(text).text() == text


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "{}",
        "null",
        "[" * 50_000,
        " " * 70_000,
        Saved().text().replace('"of": ""', '"of": 1'),
        Saved().text().replace('"cycle": null', '"cycle": "{}"'),
        Saved(failure=Failure(code="a", message="b", at=BEGIN)).text().replace("+00:00", ""),
        Saved(failure=Failure(code="a", message="b", at=BEGIN)).text().replace('"b"', "7"),
    ],
)
def test_any_other_text_is_no_state(text: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"state"):
        saved_of(text)


def test_what_a_server_says_is_kept_in_one_line_that_a_terminal_does_not_obey() -> None:
    assert plain("one\r\ntwo \x1b[2J\u202e") == "one two [2J"
    assert len(plain("x" * 100_000)) == 500
