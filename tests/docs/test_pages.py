"""Every page of the documentation does what it says, and leads to pages that exist."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import PeerFinder, is_installed
from tests.docs.pages import DOCS, ROOT, blocks, is_program, needs, pages, script, unlike

PAGES = pages()
PROGRAMS = [page for page in PAGES if is_program(page)]
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
AT_THE_TOP = [ROOT / file for file in TOP]
TIMEOUT_S = 60

Ran = tuple[int, str, int]
"""Exit code, what was printed, and the port that the page was given."""

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
_BACKGROUND = re.compile(r"> (\S+\.log)(?: 2>&1)? &\n(.*)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    """The page's path below the repository."""
    return str(page.relative_to(ROOT))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, no two the same."""
    with ExitStack() as probes:
        ports = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def run(page: Path, directory: Path, port: int) -> Ran:
    """Run a page as a script."""
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
    printed += "".join(log.read_text("utf-8") for log in logs)
    return process.returncode, printed, port


@pytest.fixture(scope="module")
def ran(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path], Ran]]:
    """Return what a page has done. The pages that were chosen run side by side, from now on."""
    chosen = {
        item.callspec.params["page"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_a_page_does_what_it_says
    }
    pages = [page for page in PROGRAMS if page in chosen and all(map(is_installed, needs(page)))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {
            page: pool.submit(run, page, tmp_path_factory.mktemp("page"), port)
            for page, port in zip(pages, free_ports(len(pages)), strict=True)
        }
        yield lambda page: running[page].result()
        for each in running.values():
            each.cancel()  # those that have not begun, where the tests were told to stop


@pytest.mark.parametrize("page", PROGRAMS, ids=name)
def test_a_page_does_what_it_says(page: Path, peer: PeerFinder, ran: Callable[[Path], Ran]) -> None:
    for program in needs(page):
        peer(program)
    code, printed, port = ran(page)
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
            assert [after for log, after in found if not _waits(after, log)] == []
            assert len(found) == block.text.count(" &\n")


def _waits(line: str, log: str) -> bool:
    wait = rf"until grep -qs (\w+|'[\w ]+') {re.escape(log)}; do sleep 0\.1; done"
    return re.fullmatch(wait, line) is not None


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as the usual renderers make them."""
    headings = _HEADING.findall(page.read_text("utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "")) for heading in headings)
    return {text.strip().lower().replace(" ", "-") for text in plain}


@pytest.mark.parametrize(
    "page",
    [*PAGES, *AT_THE_TOP],
    ids=name,
)
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


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_stay_below_docs_for_the_site_has_nothing_else(page: Path) -> None:
    targets = _LINK.findall(_CODE.sub("", page.read_text("utf-8")))
    files = [target.partition("#")[0] for target in targets if "://" not in target]
    places = {file: (page.parent / file).resolve() for file in files if file.endswith(".md")}
    assert [file for file, place in places.items() if DOCS not in place.parents] == []


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
