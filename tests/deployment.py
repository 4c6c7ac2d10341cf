"""The server that all foreign clients meet: installed, started and looked after by its command.

Nothing is imported from the implementation; what an operator can type is all there is.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TextIO

from cryptography import x509

from est_transports.pki.serials import printed_serial
from tests.any_names import give_any_name
from tests.programs import TIMEOUT_S, Ended, run

USER: Final = "estuser"
PASSWORD: Final = "estpwd"
EST: Final = (sys.executable, "-m", "est_transports")
ROOT: Final = Path(__file__).resolve().parents[1]

_READY: Final = (
    r"serving https://[^ ]*:(?P<port>[0-9]+)/\.well-known/est "
    r"(?:and coaps://[^ ]*:(?P<coap_port>[0-9]+)/\.well-known/est )?"
)


def est(*arguments: str, stdin: bytes = b"") -> Ended:
    """Run the `est` command to its end."""
    return run(*EST, *arguments, stdin=stdin, directory=ROOT)


class Log:
    """The lines that a server writes, as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()

    def follow(self, stream: TextIO) -> None:
        """Read lines to the end of the stream."""
        with stream:
            for line in stream:
                self._add(line.rstrip("\n"))
        self._add("(the server has ended)", ended=True)

    def _add(self, line: str, *, ended: bool = False) -> None:
        with self._news:
            self.lines.append(line)
            self._ended = ended
            self._news.notify_all()

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Return the first match in any line but the first `after`; fail if it does not come."""

        def find() -> re.Match[str] | None:
            lines = self.lines[after:]
            return next(filter(None, (re.search(pattern, line) for line in lines)), None)

        with self._news:
            self._news.wait_for(lambda: find() or self._ended, TIMEOUT_S)
            found = find()
        assert found, "\n".join([f"the server does not say {pattern!r}", *self.lines])
        return found


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A running `est serve`. `log` has what it writes to standard error."""

    directory: Path
    process: subprocess.Popen[str]
    port: int = 0
    coap_port: int = 0
    log: Log = field(default_factory=Log)

    @property
    def ca_file(self) -> Path:
        """The trust anchor that clients are given."""
        return self.directory / "ca.pem"

    @property
    def ca(self) -> x509.Certificate:
        """The same, parsed."""
        return x509.load_pem_x509_certificate(self.ca_file.read_bytes())

    @property
    def server(self) -> str:
        """The URL without a path."""
        return f"https://localhost:{self.port}"

    def url(self, operation: str) -> str:
        """Return the URL of an operation."""
        return f"{self.server}/.well-known/est/{operation}"

    @property
    def coap_server(self) -> str:
        """The URL without a path, where it was started with --coap."""
        return f"coaps://localhost:{self.coap_port}"

    def records(self) -> list[dict[str, Any]]:
        """Return what the server has recorded of each certificate, oldest first."""
        listed = est("certs", "list", str(self.directory), "--json", "--limit", "10000")
        found: list[dict[str, Any]] = json.loads(listed.checked().out)
        return found

    def record(self, certificate: x509.Certificate) -> dict[str, Any]:
        """Return the record of a certificate; there must be exactly one."""
        serial = printed_serial(certificate.serial_number)
        (found,) = [record for record in self.records() if record["serial"] == serial]
        return found


def prepared(directory: Path, *options: str) -> Path:
    """Do the first half of the operator's guide: init, add a user. Return the directory.

    The commands run once for the same options; further directories are copies, with the same CA.
    """
    directory.mkdir(mode=0o700)
    for name, mode, content in _made(*options):
        file = directory / name
        file.touch(mode)
        file.write_bytes(content)
    return directory


@cache
def _made(*options: str) -> tuple[tuple[str, int, bytes], ...]:
    """The files that the commands leave behind: name, mode and content."""
    with TemporaryDirectory() as place:
        directory = Path(place) / "made"
        init = ("init", str(directory), "--host", "localhost", "--host", "127.0.0.1", *options)
        est(*init).checked()
        user = ("user", "add", str(directory), USER, "--password-stdin")
        est(*user, stdin=PASSWORD.encode()).checked()
        give_any_name(directory)
        files = sorted(directory.iterdir())
        return tuple((file.name, file.stat().st_mode, file.read_bytes()) for file in files)


@contextmanager
def serving(
    directory: Path, *options: str, command: tuple[str, ...] = EST, stops: bool = True
) -> Iterator[Deployment]:
    """Do the second half: serve, on any free port, until the `with` ends.

    With `stops` the server is told to by SIGTERM then, and has to end with exit code 0; without
    it, the test ends the server.
    """
    process = subprocess.Popen(
        [*command, "serve", str(directory), "--listen", "127.0.0.1:0", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr is not None
    deployment = Deployment(directory=directory, process=process)
    reader = threading.Thread(target=deployment.log.follow, args=(process.stderr,))
    reader.start()
    try:
        ready = deployment.log.wait_for(_READY)
        deployment.port, deployment.coap_port = int(ready["port"]), int(ready["coap_port"] or 0)
        yield deployment
        if stops:
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0, "\n".join(deployment.log.lines)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
