"""Where inputs come from: our own mutations, hypothesis, or atheris where it is installed."""

from __future__ import annotations

import importlib.util
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final, NoReturn

from fuzz.mutation import Mutator
from fuzz.session import Found, Reported, Session

ENTIRELY_RANDOM: Final = 0.02
FROM_GOOD: Final = 0.5
_BATCH: Final = 200
_COUNTS: Final = struct.Struct("5Q")

Engine = Callable[[Session], None]


def by_mutation(session: Session) -> None:
    """Run the seeds as they are, then changed ones. The same seed gives the same inputs.

    Half of the inputs come from one that was accepted: most of the pool is what was refused, each
    for another reason, and with a change more it is refused again. Where a number of inputs is
    given, half of them are changed ones, however many seeds there are.
    """
    chance = Random(f"{session.target.name} {session.plan.seed}")
    mutator = Mutator(chance, session.target)
    first = len(session.pool)
    if session.plan.runs is not None:
        first = min(first, -(-session.plan.runs // 2))
    for seed in chance.sample(session.pool, first):
        if session.goes_on:
            session.attempt(seed)
    while session.goes_on:
        if chance.random() < ENTIRELY_RANDOM:
            data = chance.randbytes(chance.randrange(64))
        else:
            is_good = session.good and chance.random() < FROM_GOOD
            data = chance.choice(session.good if is_good else session.pool)
            data = mutator.mutate(data, chance.choice(session.pool))
        session.attempt(data)


def by_hypothesis(session: Session) -> None:
    """Have hypothesis choose the changes, and what to try in place of what failed.

    It knows how to make a failing input simple. Slower by far.
    """
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    target, seeds = session.target, tuple(session.pool)

    def changed(chance: Random, data: bytes, other: bytes) -> bytes:
        return Mutator(chance, target).mutate(data, other)

    some = st.sampled_from(seeds)
    chances = st.randoms(use_true_random=False)
    inputs = st.one_of(st.binary(max_size=64), st.builds(changed, chances, some, some))
    number = session.plan.seed
    while session.goes_on:

        @seed(number)
        @settings(
            max_examples=_BATCH,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(data=inputs)
        def run(data: bytes) -> None:
            if session.goes_on:
                session.attempt(data)

        run()
        number += 1


def by_atheris(session: Session) -> None:
    """Have atheris look for inputs that reach code not seen before. Raises Reported.

    Modules that it is to watch are to be imported under `atheris.instrument_imports`. It ends the
    process it runs in, which therefore is another one.
    """
    with (
        mmap.mmap(-1, _COUNTS.size) as counts,
        tempfile.TemporaryDirectory(prefix="est-fuzz-") as corpus,
    ):
        for number, data in enumerate(session.pool):
            (Path(corpus) / f"{number:04}").write_bytes(data)
        child = os.fork()
        if child == 0:
            _run_atheris(session, corpus, counts)
        _, status = os.waitpid(child, 0)
        session.gained += (file.read_bytes() for file in sorted(Path(corpus).iterdir()))
        ours = session.statistics
        ours.executions, ours.outcomes, ours.passed, ours.accepted, ours.lines = _COUNTS.unpack(
            counts[:]
        )
    session.statistics.seconds = session.elapsed_s
    if os.waitstatus_to_exitcode(status) != 0:
        raise Reported


def _run_atheris(session: Session, corpus: str, counts: mmap.mmap) -> NoReturn:
    import atheris

    plan, target, pool = session.plan, session.target, tuple(session.pool)

    def attempt(data: bytes) -> None:
        try:
            session.attempt(data)
        except Found as found:
            session.report(found.finding)
            os._exit(1)  # all that atheris does with an exception is print it and exit with 77
        finally:
            ours = session.statistics
            counts[:] = _COUNTS.pack(
                *(ours.executions, ours.outcomes, ours.passed, ours.accepted, ours.lines)
            )

    def changed(data: bytes, max_bytes: int, number: int) -> bytes:
        chance = Random(number)
        return Mutator(chance, target).mutate(data, chance.choice(pool))[:max_bytes]

    arguments = [
        *(sys.argv[0], corpus, f"-seed={plan.seed + 1}"),  # 0 means: choose one
        f"-max_len={target.max_bytes}",
        "-verbosity=0",
        f"-max_total_time={max(1, round(plan.seconds))}",
        *([] if plan.runs is None else [f"-runs={plan.runs}"]),
    ]
    atheris.Setup(arguments, attempt, custom_mutator=changed)
    atheris.Fuzz()
    raise AssertionError("atheris came back")


ENGINES: Final[Mapping[str, Engine]] = MappingProxyType(
    {"mutation": by_mutation, "hypothesis": by_hypothesis, "atheris": by_atheris}
)


def best() -> str:
    """Return the name of the engine that finds most: atheris where it is installed.

    Elsewhere `mutation`, which makes eight times as many inputs as hypothesis, and the same ones
    from the same seed.
    """
    return "mutation" if importlib.util.find_spec("atheris") is None else "atheris"
