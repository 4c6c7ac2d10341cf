"""`python -m fuzz TARGET ...`: feed targets with harmful input, and tell what they did not bear."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Final

from fuzz.engines import ENGINES, best
from fuzz.findings import DIRECTORY, Finding
from fuzz.session import Found, Plan, Reported, Session, broken_on
from fuzz.target import Target

ALL: Final = "all"
_COMMAND: Final = "python -m fuzz"


def main(
    arguments: Sequence[str] | None = None, *, targets: Mapping[str, Target] | None = None
) -> int:
    """Do what is asked for. Returns 0, or 1 if something was found; exits with 2 for wrong usage.

    `targets` are those of a program of one's own, in place of ours.
    """
    # Modules of others' programs are imported already, too late for anybody to watch them.
    engine = best() if targets is None else Plan().engine
    parser = _parser(_COMMAND if targets is None else f"python {sys.argv[0]}", engine)
    options = parser.parse_args(arguments)
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
        if options.repeat is not None:
            return max([_repeat(targets[name], plan, options.repeat) for name in names])
        return max([_fuzz(targets[name], plan, options.findings) for name in names])


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


def _fuzz(target: Target, plan: Plan, directory: Path) -> int:
    def report(finding: Finding) -> None:
        file = finding.write(directory)
        print(finding.text(file), flush=True)

    session = Session(target, plan, report=report)
    code = 0
    try:
        ENGINES[plan.engine](session)
    except Found as found:
        session.report(found.finding)
        code = 1
    except Reported:
        code = 1
    print(session.statistics.line(target), flush=True)
    return code


def _repeat(target: Target, plan: Plan, file: Path) -> int:
    outcome = broken_on(target, file.read_bytes())
    if not isinstance(outcome, BaseException):
        print(f"{target.name}: {outcome}")
        return 0
    finding = Finding(
        target=target,
        data=file.read_bytes(),
        error=outcome,
        seed=plan.seed,
        execution=1,
        engine=plan.engine,
        command=plan.command,
    )
    print(finding.text(file))
    return 1


def _parser(command: str, engine: str) -> argparse.ArgumentParser:
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog=command,
        description="Feed parsers and connections with input that means harm.",
    )
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help=f"what to fuzz; {ALL!r} for everything")
    add("--list", action="store_true", help="list the targets and what each of them promises")
    add("--seconds", type=float, default=usual.seconds, help="for each target (%(default)s)")
    add("--runs", type=int, help="inputs for each target, instead of seconds")
    add("--seed", type=int, default=usual.seed, help="the same seed, the same inputs (%(default)s)")
    add("--engine", choices=ENGINES, default=engine, help="where inputs come from (%(default)s)")
    add("--findings", type=Path, default=DIRECTORY, help="where findings go (%(default)s)")
    add("--repeat", type=Path, metavar="FILE", help="run the target on this input alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
