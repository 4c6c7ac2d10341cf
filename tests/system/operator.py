"""An operator at work: `est init`, `est user add`, `est serve`, as subprocesses on loopback."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from est_transports.stores import IssuedRecord
from est_transports.stores.sqlite import SqliteStore

USER, PASSWORD = "estuser", "estpwd"
EST = (sys.executable, "-m", "est_transports")


def est(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command of `est` to its end."""
    return subprocess.run(
        [*EST, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def made(directory: Path) -> Path:
    """Return the directory, with a CA and one user in it."""
    for arguments, stdin in (
        (("init", str(directory), "--host", "localhost", "--host", "127.0.0.1"), ""),
        (("user", "add", str(directory), USER, "--password-stdin"), PASSWORD),
    ):
        done = est(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
    return directory


@dataclass
class Serving:
    """`est serve` in a process of its own, until the `with` ends."""

    directory: Path
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = EST
    port: int = 0
    log: list[str] = field(default_factory=list)

    def __enter__(self) -> Serving:
        arguments = ("serve", str(self.directory), "--listen", "127.0.0.1:0", *self.options)
        self.process = subprocess.Popen(
            [*self.command, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        if not ready.wait(30) or not self.port:
            self._end()
            raise AssertionError("est serve did not start:\n" + "".join(self.log))
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self._end()

    def _end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self, ready: threading.Event) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"https://127\.0\.0\.1:(\d+)", line)
            if found and not self.port:
                self.port = int(found[1])
                ready.set()
        ready.set()

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def trust(self) -> Path:
        """The trust anchor for clients."""
        return self.directory / "ca.pem"

    def certificates(self) -> list[IssuedRecord]:
        """The enrolled certificates that are on record."""
        store = SqliteStore(self.directory / "est.db")
        try:
            rows = store.list_certificates(limit=10_000)
        finally:
            store.close()
        return [row for row in rows if row.operation in ("simpleenroll", "simplereenroll")]

    def listed(self) -> list[str]:
        """The subjects that `est certs list` shows."""
        done = est("certs", "list", str(self.directory), "--json")
        assert done.returncode == 0, done.stderr
        return [row["subject"] for row in json.loads(done.stdout)]
