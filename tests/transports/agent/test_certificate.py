"""The agent of one certificate: got, renewed, put off, refused, and where a process may end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from est_core import CSRAttrsRequested, Deny, Enrolled, Fail, Postpone, ReenrollRequested
from est_core.asn1.pkcs10 import CertRequest
from est_core.life_cycle import Alarm, WhenExpired
from est_transports.agent.actions import HookResult
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.saved import saved_of
from est_transports.agent.settings import HookFailure, HookSettings
from est_transports.pairs import PairDirectory, PairError
from tests.transports.agent.world import BEGIN, DAY_S, NAME, QUIET, Cut, Killed, World

HOOK = HookSettings(command=("/usr/bin/reload", "it"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_device_without_certificate_gets_one_and_renews_it_in_its_window(world: World) -> None:
    assert world.work().renewed
    first = world.look()
    assert first is not None
    assert first.subject.rfc4514_string() == "CN=gate"
    assert not world.work().renewed
    world.t = 59 * DAY_S
    assert not world.work().renewed
    world.t = 85 * DAY_S
    outcome = world.work()
    assert (outcome.renewed, outcome.code) == (True, "")
    second = world.look()
    assert second is not None
    assert second.subject == first.subject
    assert second.public_key() != first.public_key()
    assert isinstance(world.application.enrollments[-1], ReenrollRequested)


def test_without_rekey_the_key_stays(tmp_path: Path) -> None:
    world = World(tmp_path, policy=replace(QUIET, rekey=False))
    world.work()
    first = world.look()
    world.work(force=True)
    second = world.look()
    assert first is not None
    assert second is not None
    assert first != second
    assert first.public_key() == second.public_key()


def test_a_year_with_servers_that_are_away_loses_no_certificate(tmp_path: Path) -> None:
    away = lambda t: 100 * DAY_S < t < 107 * DAY_S or 200 * DAY_S < t < 202 * DAY_S  # noqa: E731
    world = World(tmp_path, life=timedelta(days=20), unreachable=away,
                  policy=replace(QUIET, look_again_s=DAY_S))  # fmt: skip
    for _ in range(183):
        list(world.run(days=2))
        certificate = world.look()
        assert certificate is not None
        assert (
            certificate.not_valid_before_utc <= world.now().wall < certificate.not_valid_after_utc
        )
    assert 25 <= len(world.application.issued) <= 35


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: -3650 * DAY_S if 30 * DAY_S < t < 200 * DAY_S else 0.0,
        lambda t: 3 * DAY_S if t > 50 * DAY_S else 0.0,
        lambda t: -56 * 365 * DAY_S if t > 10 * DAY_S else 0.0,
    ],
    ids=["ten years back", "three days ahead", "1970"],
)
def test_a_clock_that_is_set_wrong_loses_no_certificate_and_renews_in_no_loop(
    tmp_path: Path, wrong: Any
) -> None:
    world = World(tmp_path, life=timedelta(days=20), wrong=wrong,
                  policy=replace(QUIET, look_again_s=12 * 3600.0))  # fmt: skip
    for _ in range(120):
        list(world.run(days=1, reboot_every_s=DAY_S / 2))
        certificate = world.look()
        assert certificate is not None
        true = world.now().wall - timedelta(seconds=world.wrong(world.t))
        assert certificate.not_valid_before_utc <= true < certificate.not_valid_after_utc
    assert len(world.application.issued) <= 20


def test_a_clock_that_is_unset_gets_a_first_certificate_by_a_floor(tmp_path: Path) -> None:
    years = 56 * 365 * DAY_S
    world = World(tmp_path, wrong=lambda _: -years)
    outcome = world.work()
    assert (outcome.renewed, outcome.code) == (False, "response/not-yet-valid")
    world.settings = replace(world.settings, clock_floor=BEGIN - timedelta(days=100))
    assert world.work(force=True).renewed
    for _ in range(25):
        list(world.run(days=5, reboot_every_s=DAY_S))
        true = BEGIN + timedelta(seconds=world.t)
        certificate = world.look()
        assert certificate is not None
        assert certificate.not_valid_before_utc <= true < certificate.not_valid_after_utc
    assert len(world.application.issued) <= 4


# Put off, refused


def test_what_is_put_off_is_asked_again_with_the_same_key_by_another_process(world: World) -> None:
    world.application.pend(600)
    outcome = world.work()
    assert (outcome.pending, outcome.renewed, outcome.code) == (True, False, "")
    assert world.has_candidate()
    world.t += 300
    assert world.work().pending
    assert len(world.application.enrollments) == 1, "Retry-After is honoured"
    world.t += 301
    assert world.work().renewed
    first, second = world.application.enrollments
    assert first.csr.spki == second.csr.spki
    assert first.csr.subject_der == second.csr.subject_der


def test_what_was_put_off_outlives_a_server_that_is_away(world: World) -> None:
    world.application.pend(600)
    world.work()
    world.t += 601
    for from_where in ("cacerts", "simpleenroll"):
        world.unreachable = lambda _, where=from_where: world.asked[-1] == where  # type: ignore[misc]
        assert world.work(force=True).code == "connect/refused"
        assert world.has_candidate()
    world.unreachable = lambda _: False
    assert world.work(force=True).renewed
    first, second = world.application.enrollments
    assert first.csr.spki == second.csr.spki


def test_a_refusal_keeps_the_pair_gives_up_the_key_and_waits_longer(world: World) -> None:
    world.work()
    before = world.look()
    world.t = 85 * DAY_S
    world.application.decide_enrollments(Deny(code="policy/no", reason="not today"))
    waits = []
    for _ in range(4):
        outcome = world.work()
        assert outcome.code == "response/status-403"
        assert "not today" in outcome.message
        assert not world.has_candidate()
        waits.append(outcome.until.mono - world.t)
        world.t = outcome.until.mono + 1.0
    assert waits == sorted(waits)
    assert world.look() == before


@pytest.mark.parametrize("answer", [Postpone(retry_after_s=7000), Fail(code="app/no")])
def test_what_the_server_cannot_do_now_is_asked_when_it_says(world: World, answer: Any) -> None:
    world.work()
    world.t = 70 * DAY_S
    world.application.decide_enrollments(answer)
    outcome = world.work(force=True)
    assert outcome.code.startswith("response/status-5")
    waited = outcome.until.mono - world.t
    assert waited >= (3600 if isinstance(answer, Postpone) else 45)


def test_csr_attributes_that_fail_do_not_keep_a_device_from_enrolling(world: World) -> None:
    world.application.answers[CSRAttrsRequested] = Fail(code="app/no")
    assert world.work().renewed


# Certificates that are not used


def _another_name(world: World, csr: CertRequest) -> x509.Certificate:
    return world.certificate(csr, subject=x509.Name.from_rfc4514_string("CN=other"))


def _expired(world: World, csr: CertRequest) -> x509.Certificate:
    return world.certificate(csr, begin=timedelta(days=-3), life=timedelta(days=1))


def _of_a_ca(world: World, csr: CertRequest) -> x509.Certificate:
    return world.certificate(csr, ca=True)


@pytest.mark.parametrize(
    ("issue", "code", "words"),
    [
        (_another_name, "response/not-as-asked", "is for CN=other"),
        (_expired, "response/not-as-asked", "is expired since"),
        (_of_a_ca, "response/not-as-asked", "is that of a CA"),
    ],
)
def test_a_certificate_that_is_dangerous_takes_nobodys_place(
    world: World, issue: Any, code: str, words: str
) -> None:
    world.work()
    before = world.look()
    world.application.certify = lambda csr: issue(world, csr)
    outcome = world.work(force=True)
    assert (outcome.renewed, outcome.code) == (False, code)
    assert words in outcome.message
    assert world.look() == before
    world.application.certify = world.certify
    world.t = outcome.until.mono
    assert world.work(force=True).renewed


def test_a_certificate_for_another_key_takes_nobodys_place(world: World) -> None:
    world.work()
    before = world.look()
    other = world.application.issued[0]
    world.tamper = lambda answer: (
        Enrolled(certificate=other, others=()) if isinstance(answer, Enrolled) else answer
    )
    outcome = world.work(force=True)
    assert (outcome.renewed, outcome.code) == (False, "response/other-key")
    assert world.look() == before


def test_a_certificate_valid_from_tomorrow_is_kept_and_used_tomorrow(world: World) -> None:
    world.work()
    before = world.look()
    world.application.certify = lambda csr: world.certificate(csr, begin=timedelta(days=1))
    outcome = world.work(force=True)
    assert (outcome.renewed, outcome.code) == (False, "response/not-yet-valid")
    assert world.look() == before
    issued = len(world.application.issued)
    world.t += 1.1 * DAY_S
    assert world.work(force=True).renewed
    assert len(world.application.issued) == issued, "it is not asked for again"
    assert world.look() == world.application.issued[-1]


def test_a_certificate_valid_once_the_pair_has_expired_does_not_hinder_another(
    world: World,
) -> None:
    world.work()
    world.t = 70 * DAY_S
    world.application.certify = lambda csr: world.certificate(csr, begin=timedelta(days=20))
    assert world.work(force=True).code == "response/not-yet-valid"
    assert not world.has_candidate()
    world.application.certify = world.certify
    assert world.work(force=True).renewed


def test_without_a_pair_any_certificate_is_waited_for(world: World) -> None:
    """The clock may be unset, and each request would be another certificate."""
    world.application.certify = lambda csr: world.certificate(csr, begin=timedelta(days=20_000))
    assert world.work().code == "response/not-yet-valid"
    assert world.has_candidate()


def test_the_same_certificate_again_is_no_renewal(tmp_path: Path) -> None:
    world = World(tmp_path, policy=replace(QUIET, rekey=False))
    world.work()
    first = world.look()
    assert first is not None
    world.application.certify = lambda _: first
    world.t = 85 * DAY_S
    outcome = world.work()
    assert (outcome.renewed, outcome.code) == (False, "response/same-certificate")
    assert not world.has_candidate()
    world.t = 89 * DAY_S
    assert Alarm.LATE in world.work().alarms
    world.application.certify = world.certify
    assert world.work(force=True).renewed


def test_a_certificate_that_lasts_no_longer_is_taken_and_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The CA's own certificate ends soon, and nothing that a device does helps."""
    world.work()
    world.t = 85 * DAY_S
    world.application.certify = lambda csr: world.certificate(csr, life=timedelta(days=5))
    assert world.work().renewed
    assert "it lasts no longer than the one before" in caplog.text
    caplog.clear()
    world.application.certify = world.certify
    for _ in range(2):  # in one and the same second
        assert world.work(force=True).renewed
    assert "no longer" not in caplog.text


def test_an_alarm_is_logged_when_it_comes_up_and_where_nothing_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, policy=replace(QUIET, look_again_s=DAY_S))
    world.work()
    world.t = 80 * DAY_S
    world.application.pend(29 * 86400)
    list(world.run(days=9))
    assert caplog.messages.count("gate: needs somebody: late") == 1
    list(world.run(days=5))
    assert "gate: needs somebody: expired" in caplog.messages


def test_an_expired_certificate_enrolls_anew_by_option_only(tmp_path: Path) -> None:
    for number, option in enumerate(WhenExpired):
        directory = tmp_path / option.value
        directory.mkdir()
        world = World(directory, policy=replace(QUIET, when_expired=option))
        world.work()
        world.t = 91 * DAY_S
        outcome = world.work()
        assert (Alarm.EXPIRED in outcome.alarms) == (option is WhenExpired.STOP)
        asked = [each for each in world.asked if each.startswith("simple")]
        assert asked[1:] == [[], ["simplereenroll"], ["simpleenroll"]][number]


def test_a_damaged_state_is_told_and_begun_anew(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.work()
    before = world.look()
    (world.directory / NAME / "state").write_text('{"cycle": 1')
    outcome = world.work()
    assert (outcome.renewed, outcome.code) == (False, "")
    assert "agent/damaged-state" in caplog.text
    assert world.look() == before
    world.t = 85 * DAY_S
    assert world.work().renewed


def test_a_pair_that_somebody_else_got_is_renewed_when_its_dates_say(world: World) -> None:
    world.work()
    (world.directory / NAME / "state").unlink()
    world.t = 89.9 * DAY_S
    assert world.work().renewed


# Hooks


def test_the_hook_runs_once_for_each_certificate_with_what_it_needs(tmp_path: Path) -> None:
    world = World(tmp_path, options={"hook": HOOK})
    world.work()
    world.work()
    world.work(force=True)
    assert [each.environment["EST_EVENT"] for each in world.hooks] == ["enrolled", "renewed"]
    hook = world.hooks[-1]
    assert hook.command == HOOK.command
    place = Path(hook.environment["EST_CERTIFICATE"])
    assert place == tmp_path / NAME / "current" / "cert.pem"
    assert x509.load_pem_x509_certificate(place.read_bytes()) == world.look()
    assert hook.environment["EST_NAME"] == NAME


def test_a_hook_that_fails_is_told_and_the_certificate_stays(tmp_path: Path) -> None:
    world = World(tmp_path, options={"hook": HOOK}, hook=lambda _: HookResult(problem="ended w 3"))
    outcome = world.work()
    assert (outcome.renewed, outcome.code) == (True, "")
    assert "ended w 3" in outcome.hook_problem


def test_a_hook_that_failed_runs_again_when_asked_and_nothing_is_renewed(tmp_path: Path) -> None:
    world = World(tmp_path, options={"hook": HOOK}, hook=lambda _: HookResult(problem="ended w 3"))
    world.work()
    before = world.look()
    results = [HookResult(problem="ended w 4"), HookResult()]
    world.hook = lambda _: results.pop(0)
    assert again(world) == (True, False, "hook /usr/bin/reload ended w 4")
    assert again(world) == (True, False, "")
    assert again(world) == (False, False, "")
    assert [each.environment["EST_EVENT"] for each in world.hooks] == ["enrolled"] * 3
    assert world.look() == before


def test_a_hook_that_fails_after_a_roll_back_too_rolls_nothing_back_again(tmp_path: Path) -> None:
    world = World(tmp_path, options={"hook": replace(HOOK, on_failure=HookFailure.ROLL_BACK)})
    world.work()
    before = world.look()
    world.hook = lambda _: HookResult(problem="ended w 3")
    world.work(force=True)
    assert again(world) == (True, False, "hook /usr/bin/reload ended w 3")
    assert world.look() == before
    assert [each.environment["EST_EVENT"] for each in world.hooks[2:]] == ["rolled-back"] * 2


def again(world: World) -> tuple[bool, bool, str]:
    """Ask for the hook that failed: whether there is one, what was renewed, what it ended in."""
    with PairDirectory.open(world.directory / NAME, create=True) as pairs:
        agent = CertificateAgent(
            world.settings, pairs, clock=world.now, entropy=world.chance.randbytes
        )
        is_due = agent.retry_hook()
        outcome = world.drive(agent)
    return is_due, outcome.renewed, outcome.hook_problem


def test_a_hook_that_fails_rolls_back_by_option(tmp_path: Path) -> None:
    hook = replace(HOOK, on_failure=HookFailure.ROLL_BACK)
    world = World(tmp_path, options={"hook": hook})
    world.work()
    before = world.look()
    results = [HookResult(problem="ended with 1"), HookResult(), HookResult()]
    world.hook = lambda _: results.pop(0)
    outcome = world.work(force=True)
    assert (outcome.renewed, outcome.code) == (False, "agent/hook-failed")
    assert world.look() == before
    assert [each.environment["EST_EVENT"] for each in world.hooks[1:]] == ["renewed", "rolled-back"]
    world.t = outcome.until.mono
    assert world.work(force=True).renewed


# A process that ends anywhere


def _points(directory: Path) -> list[str]:
    directory.mkdir()
    world = World(directory, options={"hook": HOOK, "verify_live": True})
    world.work()
    cut = Cut()
    world.work(cut, force=True)
    return cut.passed


def test_wherever_the_process_ends_there_is_a_pair_and_the_next_one_goes_on(
    tmp_path: Path,
) -> None:
    points = _points(tmp_path / "counted")
    assert {"after begin", "after mark_sent", "after receive", "before promote"} <= set(points)
    for at, point in enumerate(points, 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(directory, options={"hook": HOOK, "verify_live": True})
        world.work()
        first = world.look()
        with pytest.raises(Killed):
            world.work(Cut(at), force=True)
        between = world.look()
        assert between is not None, point
        outcome = world.work(force=between == first)
        assert outcome.code == "", point
        assert world.look() != first, point
        hooked = [each.environment["EST_EVENT"] for each in world.hooks]
        assert hooked[1:] in (["renewed"], ["renewed", "renewed"]), point
        sent = [each.csr.spki for each in world.application.enrollments[1:]]
        assert len(set(sent)) == 1, f"{point}: one key, however often it is sent"


def test_what_is_known_of_the_certificate_before_does_not_count_for_the_new_one(
    world: World,
) -> None:
    world.work()
    world.t = 70 * DAY_S
    world.application.decide_enrollments(Deny(code="policy/no", reason="no"))
    world.work(force=True)
    world.application.decide_enrollments(world.application.issue)
    with pytest.raises(Killed):
        world.work(Cut("after promote"), force=True)
    world.work()
    state = saved_of((world.directory / NAME / "state").read_text()).cycle
    assert state is not None
    assert (state.failures, state.received_at) == (0, world.now().wall)
    assert state.age_s < DAY_S


def test_wherever_the_first_enrollment_ends_the_next_process_goes_on(tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    counted.mkdir()
    cut = Cut()
    World(counted).work(cut)
    for at, point in enumerate(cut.passed, 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(directory)
        with pytest.raises(Killed):
            world.work(Cut(at))
        assert world.work().code == "", point
        assert world.look() is not None, point
        assert len({each.csr.spki for each in world.application.enrollments}) == 1, point


class FullDisk(Cut):
    """A disk that takes nothing more from the first of these steps on."""

    def __init__(self, *points: str) -> None:
        super().__init__()
        self._points, self._is_full = points, False

    def __call__(self, point: str) -> None:
        super().__call__(point)
        self._is_full |= point in self._points
        if self._is_full and point.startswith("before ") and "ask" not in point:
            raise PairError("pair/disk-full", "the disk is full")


@pytest.mark.parametrize(
    "point",
    ["before save_state", "before begin", "before mark_sent", "before receive", "before promote"],
)
def test_a_disk_that_fills_up_is_told_and_the_pair_stays_until_there_is_room(
    world: World, point: str
) -> None:
    world.work()
    before = world.look()
    outcome = world.work(FullDisk(point), force=True)
    assert (outcome.renewed, outcome.code) == (False, "pair/disk-full")
    assert world.t < outcome.until.mono <= world.t + 3600
    assert world.look() == before
    assert world.work(force=True).renewed


def test_two_agents_do_not_share_a_directory(world: World) -> None:
    with PairDirectory.open(world.directory / NAME, create=True, holder="est agent") as pairs:
        CertificateAgent(world.settings, pairs)
        with pytest.raises(Exception, match="est agent"):
            world.work()
