"""The agent in a root with next to nothing in it, read-only, and as the first process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deployment import Deployment, est, prepared, serving
from tests.docs.pages import DOCS, ROOT, blocks

PAGE = DOCS / "how-to" / "run-the-agent-in-a-minimal-system.md"
COLLECT = [
    block.text
    for block in blocks(PAGE)
    if block.verb == "not" and block.rest.endswith("test_small_places.py runs it as root")
]
ENTER = """
set -eu
mount --bind "$1" "$1"
mount --bind "$2" "$1/est"
mount -o remount,bind,ro "$1"
exec chroot --userspec=10001:10001 "$1" /bin/busybox env -i /opt/est/bin/est "$@"
""".replace('est "$@"', 'est "${@:3}"')
UID = 10001
WAIT_S = 60
PASSWORD = "correct horse battery"
LEAVES_BEHIND = (
    'hook = ["/bin/sh", "-c", "/bin/busybox sleep 600 & /bin/busybox setsid /bin/busybox true & '
    'exit 0"]\n'
)


def packages(into: Path) -> None:
    """Copy the package and what its extra `client` needs to a directory."""
    wanted, seen = ["est-sansio[client]"], set()
    while wanted:
        requirement = Requirement(wanted.pop())
        if requirement.name in seen:
            continue
        seen.add(requirement.name)
        found = distribution(requirement.name)
        extras = requirement.extras or {""}
        for text in found.requires or ():
            each = Requirement(text)
            if each.marker is None or any(each.marker.evaluate({"extra": x}) for x in extras):
                wanted.append(text)
        if requirement.name == "est-sansio":
            continue
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                target = into / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), target)
    for name in ("est_core", "est_transports"):
        shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))


@dataclass
class Place:
    """A root, and the one directory in it that can be written to."""

    root: Path
    device: Path

    def command(self, *arguments: str) -> list[str]:
        """Return what runs `est` there, as process 1."""
        inside = ["bash", "-c", ENTER, "bash", str(self.root), str(self.device), *arguments]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *inside]

    def est(self, *arguments: str) -> tuple[int, str]:
        """Run `est` there to its end; return exit code and all that it said."""
        done = subprocess.run(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        return done.returncode, done.stdout

    @contextmanager
    def agent(self) -> Iterator[Agent]:
        """Run `est agent` there, from when it looks after its certificates."""
        process = subprocess.Popen(
            self.command("agent", "/est"),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield Agent(process)
        finally:
            process.kill()
            process.wait(WAIT_S)
            assert process.stderr is not None
            process.stderr.close()


class Agent:
    """A running agent; `process` is unshare, which ends as the agent does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.wait_for("looks after")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        self.first = int(children)

    def wait_for(self, words: str) -> None:
        """Read its lines up to one with these words."""
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if words in line:
                return
        raise AssertionError(f"no {words!r} in {seen}")

    def end(self, number: signal.Signals) -> int:
        """Send process 1 a signal and return the exit code."""
        os.kill(self.first, number)
        return self.process.wait(WAIT_S)

    def children(self) -> str:
        """Return the processes whose parent process 1 is, zombies among them."""
        return Path(f"/proc/{self.first}/task/{self.first}/children").read_text().strip()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root that the page collects."""
    if os.geteuid() != 0:
        pytest.skip("only root enters another root")
    for program in ("unshare", "chroot", "ldd", "tar", "busybox"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if subprocess.run(["unshare", "-mp", "--fork", "true"], check=False).returncode:
        pytest.skip("no world of its own can be made here")
    place = tmp_path_factory.mktemp("small")
    packages(place / "packages")
    (place / "bin").mkdir()
    (place / "bin" / "python3").symlink_to(sys.executable)
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", "".join(COLLECT)],
        cwd=place,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place / "root"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server with a user called gate."""
    directory = prepared(tmp_path_factory.mktemp("operator") / "D")
    est("user", "add", str(directory), "gate", "--password-stdin", stdin=PASSWORD.encode())
    with serving(directory) as deployment:
        yield deployment


@pytest.fixture
def place(root: Path, server: Deployment, tmp_path: Path) -> Place:
    """The root, and a directory with what a device is given."""
    device = tmp_path / "est"
    device.mkdir(mode=0o700)
    shutil.copyfile(server.ca_file, device / "ca.pem")
    (device / "password").write_text(PASSWORD)
    (device / "password").chmod(0o600)
    for path in (device, *device.iterdir()):
        os.chown(path, UID, UID)
    found = Place(root, device)
    url = f"https://127.0.0.1:{server.port}"
    code, said = found.est(
        *("agent-init", "/est", "gate", "--url", url, "--trust", "/est/ca.pem", "--cn", "gate"),
        *("--user", "gate", "--password-file", "/est/password"),
    )
    assert code == 0, said
    return found


def add_hook(place: Place) -> None:
    with (place.device / "est-agent.toml").open("a") as file:
        file.write(LEAVES_BEHIND)


def test_a_root_with_nothing_in_it_enrolls_renews_and_says_how_it_stands(place: Place) -> None:
    assert sorted(each.name for each in place.root.iterdir() if each.name in ("tmp", "etc")) == []
    assert place.est("renew", "/est") == (0, "gate: has a new certificate\n")
    first = (place.device / "gate" / "current" / "cert.pem").read_bytes()
    code, said = place.est("status", "/est")
    assert (code, "CN=gate" in said, "fine" in said) == (0, True, True), said
    code, said = place.est("agent", "/est", "--once")
    assert (code, "Traceback" in said) == (0, False), said
    add_hook(place)  # which has no /dev/null to read from
    assert place.est("renew", "/est", "--force") == (0, "gate: has a new certificate\n")
    assert (place.device / "gate" / "current" / "cert.pem").read_bytes() != first
    assert place.est("status", "/est")[0] == 0


def test_without_any_standard_descriptor_it_works_all_the_same(place: Place) -> None:
    command = place.command("agent", "/est", "--once")
    closed = ["bash", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "bash", *command]
    assert subprocess.run(closed, timeout=WAIT_S, check=False).returncode == 0
    assert place.est("status", "/est")[0] == 0


def test_an_agent_that_is_killed_is_started_again_and_a_second_one_is_refused(
    place: Place,
) -> None:
    with place.agent() as agent:
        agent.wait_for("has a new certificate")
        code, said = place.est("renew", "/est")
        assert (code, "[pair/locked]" in said) == (5, True), said
        assert agent.end(signal.SIGKILL) != 0
    with place.agent() as agent:
        assert agent.end(signal.SIGTERM) == 0
    code, said = place.est("status", "/est")
    assert (code, "fine" in said) == (0, True), said


def test_process_1_reaps_what_a_hook_left_behind(place: Place) -> None:
    add_hook(place)
    with place.agent() as agent:
        agent.wait_for("ended well")
        deadline = time.monotonic() + WAIT_S
        while agent.children() and time.monotonic() < deadline:
            os.sched_yield()
        assert agent.children() == ""
        assert agent.end(signal.SIGTERM) == 0
