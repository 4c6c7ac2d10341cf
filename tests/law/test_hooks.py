"""What git asks before a commit, `.ci/run` asks by the same programs; nothing of it is fetched."""

from __future__ import annotations

import re
from typing import Final

from tests.law.sources import ROOT

HOOKS: Final = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
CI: Final = (ROOT / ".ci" / "run").read_text("utf-8")


def test_ci_runs_what_the_hooks_run() -> None:
    hooks = re.findall(r"^ +entry: \.venv/bin/(.+)$", HOOKS, re.MULTILINE)
    ran = re.findall(r'^"\$scratch/dev/bin/(\w+)"(.*)$', CI, re.MULTILINE)
    assert hooks
    assert set(hooks) <= {program + arguments for program, arguments in ran}


def test_no_hook_is_fetched() -> None:
    assert set(re.findall(r"^ +- repo: (.+)$", HOOKS, re.MULTILINE)) == {"local"}
    assert set(re.findall(r"^ +language: (.+)$", HOOKS, re.MULTILINE)) == {"system"}
