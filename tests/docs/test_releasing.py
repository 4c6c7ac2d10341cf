"""The recipe for a release makes one: its commands are run in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PeerFinder
from tests.docs.pages import DOCS, ROOT, blocks, script, unlike

pytest.importorskip("towncrier", reason="it comes with the extra dev")

PAGE: Final = DOCS / "releasing.md"
MARK: Final = "<!-- test: not run, test_releasing.py runs it -->\n"
IN_A_RELEASE: Final = ("est_core", "est_transports", "docs/changes", "docs/index.md")
PORT: Final = 8443  # nobody listens: it stands for itself
GIT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a maintainer",
    "GIT_AUTHOR_EMAIL": "maintainer@example.org",
    "GIT_COMMITTER_NAME": "a maintainer",
    "GIT_COMMITTER_EMAIL": "maintainer@example.org",
}


def copied(checkout: Path, environment: dict[str, str]) -> None:
    """Make a repository of what a release is made of, with one change that nobody released yet."""
    checkout.mkdir()
    for name in IN_A_RELEASE:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, checkout / name)
    for file in ROOT.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy(file, checkout)
    (checkout / "docs/changes/+of-this-test.added.md").write_text("What this test added.\n")
    for command in ("git init --quiet", "git add --all", "git commit --quiet --message before"):
        subprocess.run(command.split(), cwd=checkout, env=environment, check=True)


def test_the_recipe_makes_a_version(tmp_path: Path, peer: PeerFinder) -> None:
    peer("git")
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text("utf-8").replace(MARK, ""), "utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **GIT, "PATH": path, "HOME": str(tmp_path)}
    checkout = tmp_path / "checkout"
    copied(checkout, environment)
    ran = subprocess.run(
        ["bash", "-c", script(page, PORT)],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    logs = "".join(log.read_text("utf-8") for log in tmp_path.glob("*.log"))
    assert ran.returncode == 0, ran.stdout + logs
    assert unlike(page, ran.stdout, PORT) == []
    changelog = (tmp_path / "release/CHANGELOG.md").read_text("utf-8")
    unreleased, _, rest = changelog.partition("\n## [Unreleased]\n")[2].partition("\n## [0.2.0] - ")
    assert unreleased == ""
    assert "\n### Added\n\n- " in rest
    assert "\n- What this test added.\n" in rest
    assert [file.name for file in (checkout / "docs/changes").iterdir()] == [".gitkeep"]


def test_every_command_of_the_recipe_is_run_or_needs_what_no_test_has() -> None:
    reasons = {block.rest.partition(", ")[2] for block in blocks(PAGE) if block.language == "sh"}
    assert reasons == {
        "test_releasing.py runs it",
        "it needs the network",
        "it takes long, and root",
    }


def test_the_wheel_is_built_with_what_the_extra_dev_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extra = [
        re.split(r"[<>=\[]", line)[0] for line in project["project"]["optional-dependencies"]["dev"]
    ]
    assert {"build", "hatchling", "towncrier"} <= set(extra)
    assert set(project["build-system"]["requires"]) <= set(
        project["project"]["optional-dependencies"]["dev"]
    )
