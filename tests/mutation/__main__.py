"""`python -m tests.mutation [MODULE ...]`: change the code in small ways, and see who notices.

With `--rules`, take numbered rules out of it one by one, as `removals/*.toml` say, and see whether
a test that is marked with the rule fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import Final

import pytest

from tests.mutation.reasons import reasons
from tests.mutation.record import keep
from tests.mutation.results import ROOT, Results, report
from tests.mutation.session import Mutation, Options

WHERE: Final = ("est_core/**/*.py", "est_transports/**/*.py")


def main() -> int:
    """Do what is asked for. Returns 0; exits with 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    add = parser.add_argument
    add("modules", nargs="*", help="paths or patterns, from the root; everything by default")
    add("--seconds", type=float, default=600.0, help="try mutants for so long (%(default)s)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (%(default)s)")
    add("--budget", type=float, default=20.0, help="seconds of tests for each (%(default)s)")
    add("--sample", type=int, help="of each module try no more than so many, chosen by a seed")
    add("--again", action="store_true", help="try those again that nobody noticed")
    add("--tests", nargs="+", default=["tests"], help="where tests are looked for")
    add("--report", action="store_true", help="print what is known, and try nothing")
    add("--keep", action="store_true", help="write what is known into the record of the sources")
    add("--rules", nargs="*", metavar="ID", help="take these rules out; all, and EST-01*, do too")
    add("--marks", action="store_true", help="with --rules: list marks that no removal bears out")
    options = parser.parse_args()
    if options.rules is not None:
        # It imports hypothesis, which pytest wants to import first where mutants are tried.
        from tests.mutation import removal_run

        return removal_run.main(options.rules, options.jobs, every=options.marks)
    patterns = options.modules or WHERE
    found = sorted({path for pattern in patterns for path in ROOT.glob(pattern)})
    if not found:
        parser.error("there is no such module")
    modules = [path.relative_to(ROOT) for path in found]
    if options.report:
        print("\n".join(report(modules, Results(), reasons())))
        return 0
    if options.keep:
        today = datetime.now(UTC).date().isoformat()
        print(keep(modules, Results(), today, options.sample), "modules")
        return 0
    plugin = Mutation(
        Options(
            modules=modules,
            seconds=options.seconds,
            jobs=options.jobs,
            budget_s=options.budget,
            sample=options.sample,
            again=options.again,
            tests=options.tests,
        )
    )
    arguments = ["-q", "-p", "no:cacheprovider", *options.tests]
    code = pytest.main(arguments, plugins=[plugin])
    return 0 if code is pytest.ExitCode.NO_TESTS_COLLECTED else int(code)


if __name__ == "__main__":
    sys.exit(main())
