"""The fuzzer finds what is there to be found, says how to see it again, and repeats itself."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.__main__ import main
from fuzz.choices import Choices, pack, steps, unpack
from fuzz.engines import ENGINES
from fuzz.findings import Finding, shrunk
from fuzz.mutation import Mutator
from fuzz.session import Found, Plan, Session, TookTooLong, broken_on
from fuzz.target import Result, Shape, Target, accepted, passed, stopped
from fuzz.targets import TARGETS
from fuzz.tree import parse
from tests.damage import damaged
from tests.law.sources import ROOT
from tests.reached import reached, reaches

REQUEST = (ROOT / "tests/vectors/rfc7030/a4-serverkeygen-request.der").read_bytes()


def breaks_on_two_zeros(data: bytes) -> Result:
    """It does not, which is a lie."""
    if b"\0\0" in data[2:]:
        raise IndexError("two zeros")
    return passed(str(len(data) % 3))


def never_ends(data: bytes) -> Result:
    """It ends, which is a lie too."""
    while data:
        try:
            sum(range(1000))
        except Exception:  # noqa: BLE001  # as code under test may do
            continue
    return stopped("")


def bears_all(data: bytes) -> Result:
    """Nothing happens."""
    return accepted(str(len(data) % 5))


def a_target(run: Callable[[bytes], Result], *seeds: bytes, shape: Shape = Shape.PLAIN) -> Target:
    return Target(run=run, seeds=lambda: seeds, shape=shape, words=(b"\0\0",), max_bytes=512)


LIAR = a_target(breaks_on_two_zeros, b"abcdefgh", b"12345678")


def finding_of(target: Target, engine: str = "mutation", seed: int = 0) -> Finding:
    plan = Plan(seconds=20, seed=seed, engine=engine)
    session = Session(target, plan, report=lambda _finding: None)
    with pytest.raises(Found) as found:
        ENGINES[engine](session)
    return found.value.finding


@pytest.mark.parametrize("engine", ["mutation", "hypothesis"])
def test_what_breaks_is_found_and_made_small(engine: str) -> None:
    finding = finding_of(LIAR, engine)
    assert isinstance(finding.error, IndexError)
    assert len(finding.data) == 4
    assert finding.data.endswith(b"\0\0")


@pytest.mark.parametrize("name", ["csrattrs", "httpmap-server", "coap-server-connection"])
def test_hypothesis_changes_inputs_of_every_shape(name: str) -> None:
    session = Session(TARGETS[name], Plan(runs=150, engine="hypothesis"), report=print)
    ENGINES["hypothesis"](session)
    assert session.statistics.executions == 150
    assert session.statistics.outcomes > 5


def test_the_same_seed_makes_the_same_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []

        def record(data: bytes) -> Result:
            seen.append(data)
            return passed(str(len(data) % 7))

        target = a_target(record, REQUEST, b"GET / HTTP/1.1\r\nA: 1\r\n\r\n", pack([b"a", b"b"]))
        plan = Plan(runs=300, seed=seed)
        ENGINES["mutation"](Session(target, plan, report=print))
        return seen

    assert inputs(7) == inputs(7)
    assert inputs(7) != inputs(8)
    assert len(inputs(7)) == 300


def test_a_finding_is_made_again_by_the_command_that_it_names() -> None:
    first = finding_of(LIAR, seed=3)
    plan = Plan(runs=first.execution, seed=3)
    with pytest.raises(Found) as again:
        ENGINES["mutation"](Session(LIAR, plan, report=print))
    assert (again.value.finding.data, again.value.finding.execution) == (
        first.data,
        first.execution,
    )


def test_an_input_that_takes_too_long_is_a_finding_whatever_the_code_catches() -> None:
    assert isinstance(broken_on(a_target(never_ends), b"x"), TookTooLong)
    assert broken_on(a_target(never_ends), b"") == stopped("")


def test_only_the_main_thread_is_watched_and_others_run_all_the_same() -> None:
    outcomes: list[Result | BaseException] = []
    thread = threading.Thread(target=lambda: outcomes.append(broken_on(LIAR, b"abc")))
    thread.start()
    thread.join()
    assert outcomes == [passed("0")]


def test_a_warning_is_a_finding() -> None:
    def warns(_data: bytes) -> Result:
        warnings.warn("odd", stacklevel=1)
        return stopped("")

    assert isinstance(broken_on(a_target(warns), b""), UserWarning)


def test_a_finding_is_written_with_the_command_that_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = {"liar": LIAR, "honest": a_target(bears_all, b"abc")}
    usual = ["--seconds", "0.05", "--findings", str(tmp_path)]
    assert main(["honest", *usual], targets=targets) == 0
    assert list(tmp_path.iterdir()) == []
    assert main(["all", *usual, "--seed", "5"], targets=targets) == 1
    said = capsys.readouterr().out
    (file,) = tmp_path.glob("*.bin")
    text = file.with_suffix(".txt").read_text("utf-8")
    assert text.strip() in said
    assert f" breaks-on-two-zeros --repeat {file}" in text
    assert "--seed 5 --runs " in text
    assert "It does not, which is a lie." in text
    assert "IndexError: two zeros" in text
    assert main(["liar", "--repeat", str(file)], targets=targets) == 1
    assert main(["honest", "--repeat", str(file)], targets=targets) == 0


def test_logs_are_off_while_it_runs_and_on_again_afterwards(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def logs(data: bytes) -> Result:
        logging.getLogger("est_transports").error("%r went wrong", data)
        return stopped("")

    assert main(["logs", "--runs", "3"], targets={"logs": a_target(logs, b"x")}) == 0
    assert caplog.records == []
    logging.getLogger("est_transports").error("now")
    assert [record.getMessage() for record in caplog.records] == ["now"]


def test_the_list_has_every_target_with_its_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(TARGETS)
    assert all(TARGETS[line.split()[0]].invariant in line for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing-known"],
        ["media", "--engine", "luck"],
        ["media", "--seconds", "0"],
        ["media", "--seconds", "nan"],
        ["media", "--runs", "0"],
        ["media", "--repeat", "no/such/file"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_an_engine_that_is_not_installed_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)
    with pytest.raises(SystemExit) as stop:
        main(["media", "--engine", "atheris"])
    assert stop.value.code == 2


def test_an_interrupt_ends_it_with_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(data: bytes) -> Result:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(data)
        return stopped("")

    ran: list[bytes] = []
    targets = {"long": a_target(interrupted, b"x"), "next": a_target(bears_all)}
    assert main(["all"], targets=targets) == 130
    assert "interrupted: 3 executions" in capsys.readouterr().out
    assert len(ran) == 2


def test_an_interrupt_does_not_lose_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(data: bytes) -> Result:
        tries.append(data)
        if len(tries) == 2:  # it is being made small
            raise KeyboardInterrupt
        raise IndexError("on everything")

    tries: list[bytes] = []
    arguments = ["breaks", "--findings", str(tmp_path)]
    assert main(arguments, targets={"breaks": a_target(breaks, b"abcdef")}) == 1
    (file,) = tmp_path.glob("*.bin")
    assert file.read_bytes() == b"abcdef"


def test_a_finding_that_cannot_be_written_is_told_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["liar", "--findings", str(tmp_path / "file")], targets={"liar": LIAR}) == 1
    said = capsys.readouterr().out
    assert "cannot write the finding" in said
    assert "IndexError: two zeros" in said


def test_code_that_ends_the_process_is_a_finding() -> None:
    def ends(data: bytes) -> Result:
        raise SystemExit(0)

    assert isinstance(broken_on(a_target(ends), b""), SystemExit)


def test_atheris_runs_a_target_and_finds_what_breaks(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="it comes with the extra fuzz")
    usual = [sys.executable, "-m", "fuzz", "--engine", "atheris", "--findings", str(tmp_path)]
    result = subprocess.run(
        [*usual, "media", "uri", "--runs", "500"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    media, uri = result.stdout.splitlines()
    assert media.startswith("media: 500 executions in ")
    assert uri.startswith("uri: 500 executions in ")


def test_what_atheris_finds_is_reported_as_ever(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("atheris", reason="it comes with the extra fuzz")
    targets = {"liar": a_target(breaks_on_two_zeros, b"\1\0\2", b"abc")}
    usual = ["liar", "--engine", "atheris", "--runs", "100000", "--findings", str(tmp_path)]
    assert main(usual, targets=targets) == 1
    assert "IndexError: two zeros" in capfd.readouterr().out
    assert len(list(tmp_path.glob("*.bin"))) == 1


@given(parts=st.lists(st.binary(max_size=300), max_size=10))
def test_parts_are_unpacked_as_they_were_packed(parts: list[bytes]) -> None:
    assert list(unpack(pack(parts))) == parts
    assert [number for number, _ in steps(pack(parts), 3)] == [
        part[0] if part else 0 for part in parts[:3]
    ]


@given(data=st.binary(max_size=40), below=st.integers(1, 1000))
def test_choices_are_in_range_and_the_first_ones_at_the_end(data: bytes, below: int) -> None:
    choices = Choices(data)
    while not choices.is_over:
        assert 0 <= choices.number(below) < below
    assert (choices.number(below), choices.flag(), choices.pick("abc")) == (0, False, "a")
    assert (choices.part(), choices.rest()) == (b"", b"")


TREES = (REQUEST, b"\x30\x81\x03\x02\x01\x01", b"\x30\x80\0\0")


@reaches(tree=15)
@given(data=damaged(TREES) | st.binary(max_size=60))
def test_a_tree_is_written_as_it_was_read_but_for_the_form_of_lengths(data: bytes) -> None:
    tree = parse(data)
    if tree is not None:
        reached("tree")
        written = b"".join(node.der() for node in tree)
        again = parse(written)
        assert again is not None
        assert b"".join(node.der() for node in again) == written


def test_a_request_is_a_tree_down_to_its_key_and_extensions() -> None:
    tree = parse(REQUEST)
    assert tree is not None
    assert b"".join(node.der() for node in tree) == REQUEST
    assert len([node for root in tree for node in root.walk()]) > 20


@given(data=st.binary(max_size=80), other=st.binary(max_size=80), number=st.integers(0, 10**6))
@pytest.mark.parametrize("shape", Shape)
def test_any_input_of_any_shape_can_be_changed(
    shape: Shape, data: bytes, other: bytes, number: int
) -> None:
    mutator = Mutator(Random(number), a_target(bears_all, shape=shape))
    for source in (data, REQUEST, pack([data, other])):
        assert isinstance(mutator.mutate(source, other), bytes)


def test_a_changed_element_leaves_the_lengths_around_it_right() -> None:
    mutator = Mutator(Random(1), a_target(bears_all))
    changed = [mutator.element(REQUEST, b"") for _ in range(100)]
    assert len(set(changed)) > 60
    assert all(parse(each) is not None for each in changed)


@reaches(failed=30)
@given(data=st.binary(max_size=200) | st.lists(st.sampled_from(b"\0\1\2"), max_size=80).map(bytes))
def test_shrinking_keeps_what_fails_and_nothing_else(data: bytes) -> None:
    def fails(smaller: bytes) -> bool:
        return smaller.count(b"\0") >= 2

    if fails(data):
        reached("failed")
        assert shrunk(data, fails) == b"\0\0"


def test_shrinking_lowers_lengths_and_what_they_count() -> None:
    def fails(smaller: bytes) -> bool:
        return (
            len(smaller) > 1 and len(smaller) > smaller[0] and 0xFF in smaller[1 : smaller[0] + 1]
        )

    assert shrunk(b"\x09abcdef\xffxy", fails) == b"\x01\xff"


def test_shrinking_gives_up_after_its_tries() -> None:
    tried: list[bytes] = []

    def fails(smaller: bytes) -> bool:
        tried.append(smaller)
        return True

    shrunk(bytes(100), lambda smaller: fails(smaller) and len(smaller) > 50, tries=20)
    assert len(tried) == 20
