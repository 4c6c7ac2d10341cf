"""Every page of the documentation does what it says, and leads to pages that exist."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PeerFinder
from tests.docs.pages import DOCS, ROOT, blocks, is_program, needs, script, unlike

PAGES = sorted(DOCS.rglob("*.md"))
TIMEOUT_S = 60

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
_BACKGROUND = re.compile(r"> (\S+\.log)(?: 2>&1)? &\n(.*)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    """The page's path below the repository."""
    return str(page.relative_to(ROOT))


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(page: Path, directory: Path, port: int) -> tuple[int, str]:
    """Run a page as a script; return its exit code and what it printed."""
    file = directory / "page.sh"
    file.write_text(script(page, port), "utf-8")
    work = directory / "work"
    work.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(work), "no_proxy": "*"}
    process = subprocess.Popen(
        ["bash", str(file)],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the script and the servers that it started
        printed, _ = process.communicate()
    logs = sorted(work.rglob("*.log")) if process.returncode else []
    return process.returncode, printed + "".join(log.read_text("utf-8") for log in logs)


@pytest.mark.parametrize("page", [page for page in PAGES if is_program(page)], ids=name)
def test_a_page_does_what_it_says(page: Path, peer: PeerFinder, tmp_path: Path) -> None:
    for program in needs(page):
        peer(program)
    port = free_port()
    code, printed = run(page, tmp_path, port)
    assert code == 0, printed
    assert unlike(page, printed, port) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    assert [f"line {block.line}" for block in blocks(page) if not block.is_understood] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_server_in_the_background_is_waited_for(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh" and "&\n" in block.text:
            found = _BACKGROUND.findall(block.text)
            assert [after for _, after in found] == [
                f"until grep -qs serving {log}; do sleep 0.1; done" for log, _ in found
            ]
            assert len(found) == block.text.count(" &\n")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as the usual renderers make them."""
    headings = _HEADING.findall(page.read_text("utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "")) for heading in headings)
    return {text.strip().lower().replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    found, todo = set(), [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in found:
            continue
        found.add(page)
        for target in _LINK.findall(page.read_text("utf-8")):
            place = (page.parent / target.partition("#")[0]).resolve()
            if place.suffix == ".md" and DOCS in place.parents and place.exists():
                todo.append(place)
    decisions = {page for page in PAGES if page.parent.name == "decisions"}  # a folder to browse
    assert sorted(map(name, set(PAGES) - found - decisions)) == []
