"""Where inputs come from: our own mutations, hypothesis, or atheris where it is installed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final

from fuzz.mutation import Mutator
from fuzz.session import Found, Session

ENTIRELY_RANDOM: Final = 0.02
_BATCH: Final = 200

Engine = Callable[[Session], None]


def by_mutation(session: Session) -> None:
    """Run the seeds as they are, then changed ones. The same seed gives the same inputs."""
    chance = Random(f"{session.target.name} {session.plan.seed}")
    mutator = Mutator(chance, session.target)
    for seed in chance.sample(session.pool, len(session.pool)):
        if session.goes_on:
            session.attempt(seed)
    while session.goes_on:
        if chance.random() < ENTIRELY_RANDOM:
            data = chance.randbytes(chance.randrange(64))
        else:
            data = mutator.mutate(chance.choice(session.pool), chance.choice(session.pool))
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
    """Have atheris look for inputs that reach code not seen before. It ends the process.

    Modules that it is to watch are to be imported under `atheris.instrument_imports`.
    """
    import atheris

    plan, target, pool = session.plan, session.target, tuple(session.pool)

    def attempt(data: bytes) -> None:
        try:
            session.attempt(data)
        except Found as found:
            session.report(found.finding)
            os._exit(1)  # all that atheris does with an exception is print it and exit with 77

    def changed(data: bytes, max_bytes: int, number: int) -> bytes:
        chance = Random(number)
        return Mutator(chance, target).mutate(data, chance.choice(pool))[:max_bytes]

    with tempfile.TemporaryDirectory(prefix="est-fuzz-") as directory:
        for number, data in enumerate(pool):
            (Path(directory) / f"{number:04}").write_bytes(data)
        arguments = [
            *(sys.argv[0], directory, f"-seed={plan.seed + 1}"),  # 0 means: choose one
            f"-max_len={target.max_bytes}",
            f"-max_total_time={max(1, round(plan.seconds))}",
            *([] if plan.runs is None else [f"-runs={plan.runs}"]),
        ]
        atheris.Setup(arguments, attempt, custom_mutator=changed)
        atheris.Fuzz()


ENGINES: Final[Mapping[str, Engine]] = MappingProxyType(
    {"mutation": by_mutation, "hypothesis": by_hypothesis, "atheris": by_atheris}
)
