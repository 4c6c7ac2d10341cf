"""What a directory of pairs has to hold after each step, as a value, and a life made of such steps.

Every step is all or nothing: whatever happens in the middle of one, the directory is found as the
model has it before that step or after it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from est_transports.pairs import KeyReference, Pair, PairDirectory
from tests.transports.pair_material import anchors, material, other_anchors

MATERIAL: Final = 8
"""So many pairs there are in a life, at most."""

Held = tuple[int, bool]
"""The number of a pair, and whether it has the other trust anchors."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is there: pairs by number, and a candidate with its steps."""

    running: Held | None = None
    previous: Held | None = None
    candidate: tuple[int, bool, bool] | None = None
    """Number, whether it was sent, whether it has a certificate."""
    state: str = ""


@dataclass(frozen=True)
class Step:
    """One call of the API, and what it makes of the model."""

    name: str
    take: Callable[[PairDirectory], object]
    after: Callable[[Model], Model]


def begin(number: int) -> Step:
    """The key and the request of a candidate."""
    new = material(number)
    return Step(
        f"begin {number}",
        lambda pairs: pairs.begin(new.key_pem, new.request),
        lambda model: replace(model, candidate=(number, False, False)),
    )


def _sent(model: Model) -> Model:
    assert model.candidate is not None
    number, _, received = model.candidate
    return replace(model, candidate=(number, True, received))


def _received(model: Model) -> Model:
    assert model.candidate is not None
    number, sent, _ = model.candidate
    return replace(model, candidate=(number, sent, True))


def _promoted(model: Model) -> Model:
    assert model.candidate is not None
    running = (model.candidate[0], False)
    return replace(model, running=running, previous=model.running, candidate=None)


def _replaced(model: Model) -> Model:
    assert model.running is not None
    return replace(model, running=(model.running[0], True))


SEND: Final = Step("send", lambda pairs: pairs.mark_sent(), _sent)
PROMOTE: Final = Step("promote", lambda pairs: pairs.promote(anchors()), _promoted)
ROLL_BACK: Final = Step(
    "roll back",
    lambda pairs: pairs.roll_back(),
    lambda model: replace(model, running=model.previous, previous=model.running),
)
DISCARD: Final = Step(
    "discard", lambda pairs: pairs.discard(), lambda model: replace(model, candidate=None)
)
REPLACE: Final = Step(
    "replace anchors", lambda pairs: pairs.replace_anchors(other_anchors()), _replaced
)


def receive(number: int) -> Step:
    """The candidate's certificate."""
    new = material(number)
    return Step(
        f"receive {number}", lambda pairs: pairs.receive(new.certificate, new.chain), _received
    )


def save(text: str) -> Step:
    """Another state."""
    return Step(
        f"save {text}",
        lambda pairs: pairs.save_state(text),
        lambda model: replace(model, state=text),
    )


def renewal(number: int) -> tuple[Step, ...]:
    """The steps from a key to a running pair."""
    return (begin(number), SEND, receive(number), PROMOTE)


LIFE: Final = (
    *renewal(1),
    save("one"),
    *renewal(2),
    save("two"),
    ROLL_BACK,
    *renewal(3),
    begin(4),
    REPLACE,
    SEND,
    receive(4),
    PROMOTE,
    begin(5),
    DISCARD,
    REPLACE,
    *renewal(6),
)
"""One of each step, in each surrounding that makes a difference."""


SHORT_LIFE: Final = (*renewal(1), save("one"), *renewal(2), ROLL_BACK, begin(3), DISCARD, REPLACE)
"""Each step once at least, and a promotion with a pair to be kept."""


def models(steps: tuple[Step, ...] = LIFE) -> tuple[Model, ...]:
    """Return what is there before the first step, and after each."""
    found = [Model()]
    for step in steps:
        found.append(step.after(found[-1]))
    return tuple(found)


def copy_if_there(before: Path, path: Path) -> None:
    """Copy a directory of pairs; before the first step there is none."""
    if before.exists():
        shutil.copytree(before, path, symlinks=True)


def snapshots(path: Path, steps: tuple[Step, ...] = LIFE) -> Iterator[tuple[Path, Model, Step]]:
    """Yield each step of a life with a copy of the directory before it, and what is there."""
    known = models(steps)
    for place, step in enumerate(steps):
        before = path / f"before-{place}"
        copy_if_there(path / "life", before)
        with PairDirectory.open(path / "life", create=True) as pairs:
            step.take(pairs)
            assert observed(pairs) == known[place + 1]
        yield before, known[place], step


def observed(pairs: PairDirectory) -> Model:
    """Return what is there. Fails where anything does not fit anything else."""
    candidate = pairs.candidate
    found = None
    if candidate is not None:
        assert candidate.key is not None
        assert not isinstance(candidate.key, KeyReference)
        number = _number(candidate.key.public_key())
        assert candidate.request == material(number).request
        if candidate.certificate is not None:
            assert candidate.certificate == material(number).certificate
            assert candidate.chain == material(number).chain
        found = (number, candidate.is_sent, candidate.certificate is not None)
    running, previous = pairs.running, pairs.previous
    if running is not None:
        check_one_file(pairs.path / "current" / "pair.pem", _held(running)[0])
    return Model(
        running=None if running is None else _held(running),
        previous=None if previous is None else _held(previous),
        candidate=found,
        state=pairs.state,
    )


def finish(pairs: PairDirectory) -> None:
    """Go on to a promotion from whatever there is, and see that it runs."""
    candidate = observed(pairs).candidate
    if candidate is None:
        candidate = (MATERIAL, False, False)
        begin(MATERIAL).take(pairs)
    before = observed(pairs)
    for step in (SEND, receive(candidate[0]), PROMOTE):
        step.take(pairs)
        before = step.after(before)
    assert observed(pairs) == before


def check_one_file(path: Path, number: int) -> None:
    """Fail unless that file has one key and its certificate, of that number."""
    raw = path.read_bytes()
    key = load_pem_private_key(raw, None).public_key()
    certificates = x509.load_pem_x509_certificates(raw)
    assert key == certificates[0].public_key()
    assert _number(key) == number


def _held(pair: Pair) -> Held:
    identity = pair.identity()
    number = _number(identity.key.public_key())
    assert identity.chain == (material(number).certificate, *material(number).chain)
    assert pair.anchors in (anchors(), other_anchors())
    return number, pair.anchors == other_anchors()


def _number(public_key: object) -> int:
    for number in range(1, MATERIAL + 1):
        if material(number).key.public_key() == public_key:
            return number
    raise AssertionError("a key that nobody made")
