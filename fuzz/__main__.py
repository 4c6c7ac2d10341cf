"""`python -m fuzz TARGET ...`: feed targets with harmful input, and tell what they did not bear."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    suppress,
)
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Final, TypeVar

from fuzz.coverage import Line, Lines
from fuzz.engines import ENGINES, best
from fuzz.findings import DIRECTORY, Finding
from fuzz.kept import read_kept, write_kept
from fuzz.minimal import minimal
from fuzz.session import Found, Plan, Reported, Session, broken_on
from fuzz.target import Target

ALL: Final = "all"
INTERRUPTED: Final = 130
_COMMAND: Final = "python -m fuzz"
_Number = TypeVar("_Number", int, float)


def main(
    arguments: Sequence[str] | None = None, *, targets: Mapping[str, Target] | None = None
) -> int:
    """Do what is asked for. Returns 0, or 1 if something was found; exits with 2 for wrong usage.

    Interrupted, it says how far it came and returns INTERRUPTED, or 1 if something was found.

    `targets` are those of a program of one's own, in place of ours.
    """
    # Modules of others' programs are imported already, too late for anybody to watch them.
    engine = best() if targets is None else Plan().engine
    parser = _parser(_COMMAND if targets is None else f"python {sys.argv[0]}", engine)
    options = parser.parse_args(arguments)
    if options.engine == "atheris" and find_spec("atheris") is None:
        parser.error("atheris is not installed")
    targets = _ours(options.engine) if targets is None else targets
    if options.list:
        width = max(map(len, targets))
        print("\n".join(f"{name:{width}}  {each.invariant}" for name, each in targets.items()))
        return 0
    unknown = [name for name in options.targets if name not in {*targets, ALL}]
    if unknown or not options.targets:
        parser.error(f"no target {unknown[0]!r}" if unknown else "name a target, or see --list")
    names = list(targets) if ALL in options.targets else options.targets
    plan = Plan(
        seconds=options.seconds,
        runs=options.runs,
        seed=options.seed,
        engine=options.engine,
        command=parser.prog,
    )
    with _no_logs():
        if options.repeat is None:
            chosen = [targets[name] for name in names]
            return _fuzz_all(chosen, plan, options.findings, minimise=options.minimise)
        try:
            data = options.repeat.read_bytes()
        except OSError as exc:
            parser.error(f"{options.repeat}: {exc.strerror}")
        return max([_repeat(targets[name], plan, options.repeat, data) for name in names])


@contextmanager
def _no_logs() -> Iterator[None]:
    """Log nothing in the body: servers log what went wrong, and here everything does."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _ours(engine: str) -> Mapping[str, Target]:
    """Import the targets, and with them what they test: watched, if the engine watches."""
    watching: AbstractContextManager[object] = nullcontext()
    if engine == "atheris":
        import atheris

        watching = atheris.instrument_imports(include=["est_core", "est_transports"])
    with redirect_stderr(StringIO()), watching:  # it names every module
        from fuzz.targets import TARGETS
    return TARGETS


def _fuzz_all(targets: Sequence[Target], plan: Plan, directory: Path, *, minimise: bool) -> int:
    code, reached, known = 0, set[Line](), set[Line]()
    for target in targets:
        lines = Lines(target.modules) if target.modules else None
        result = _fuzz(target, plan, directory, lines, minimise=minimise)
        code = code or result
        if result == INTERRUPTED:
            break
        if lines is not None:
            reached |= lines.reached
            known |= lines.all
    if len(targets) > 1 and reached:  # atheris counts them in another process, for each target
        share = 100 * len(reached) // len(known)
        print(f"in all: {len(reached)} of {len(known)} lines, {share} %", flush=True)
    return code


def _fuzz(
    target: Target, plan: Plan, directory: Path, lines: Lines | None, *, minimise: bool
) -> int:
    def report(finding: Finding) -> None:
        try:
            file = finding.write(directory)
        except OSError as exc:
            print(f"cannot write the finding: {exc}; its input is {finding.data.hex()}")
            file = directory / "NOT-WRITTEN"
        print(finding.text(file), flush=True)

    session = Session(target, plan, report=report, lines=lines)
    code = 0
    try:
        ENGINES[plan.engine](session)
    except Found as found:
        session.report(found.finding)
        code = 1
    except Reported:
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    print(session.statistics.line(target), flush=True)
    if minimise and code != INTERRUPTED:
        _minimise(target, session.gained)
    return code


def _minimise(target: Target, gained: Sequence[bytes]) -> None:
    """Keep the smallest inputs of a run and of those before that reach what the seeds do not."""
    if target.kept is None or not target.is_repeatable:
        print(f"{target.name}: nothing is kept of it, for its inputs do not repeat themselves")
        return
    inputs = minimal(target, Lines(target.modules), (*read_kept(target.kept), *gained))
    write_kept(target.kept, inputs)
    print(f"{target.name}: {len(inputs)} inputs, {sum(map(len, inputs))} bytes kept", flush=True)


def _repeat(target: Target, plan: Plan, file: Path, data: bytes) -> int:
    outcome = broken_on(target, data)
    if not isinstance(outcome, BaseException):
        print(f"{target.name}: {outcome.text} ({outcome.reach.name.lower()})")
        return 0
    finding = Finding(
        target=target,
        data=data,
        error=outcome,
        seed=plan.seed,
        execution=1,
        engine=plan.engine,
        command=plan.command,
    )
    print(finding.text(file))
    return 1


def _positive(kind: Callable[[str], _Number]) -> Callable[[str], _Number]:
    """Return a reader of numbers. A run of no length would find nothing, and say all is well."""

    def read(text: str) -> _Number:
        with suppress(ValueError):
            number = kind(text)
            if number > 0:
                return number
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")

    return read


def _parser(command: str, engine: str) -> argparse.ArgumentParser:
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog=command,
        description="Feed parsers and connections with input that means harm.",
    )
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help=f"what to fuzz; {ALL!r} for everything")
    add("--list", action="store_true", help="list the targets and what each of them promises")
    add(
        "--seconds",
        type=_positive(float),
        default=usual.seconds,
        help="for each target (%(default)s)",
    )
    add("--runs", type=_positive(int), help="inputs for each target, instead of seconds")
    add("--seed", type=int, default=usual.seed, help="the same seed, the same inputs (%(default)s)")
    add("--engine", choices=ENGINES, default=engine, help="where inputs come from (%(default)s)")
    add("--findings", type=Path, default=DIRECTORY, help="where findings go (%(default)s)")
    add(
        "--minimise",
        action="store_true",
        help="keep the smallest inputs that reach lines which the seeds do not",
    )
    add("--repeat", type=Path, metavar="FILE", help="run the target on this input alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
