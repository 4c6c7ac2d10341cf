"""A token of software, for tests: SoftHSM, with a directory of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PeerFinder
from tests.programs import TIMEOUT_S

MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
PIN: Final = "123456"
LABEL: Final = "devices"


class SoftToken:
    """A directory with tokens, and the file that holds the PIN of all of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tokens = directory / "tokens"
        self.tokens.mkdir()
        self.config = directory / "softhsm2.conf"
        self.config.write_text(f"directories.tokendir = {self.tokens}\nlog.level = ERROR\n")
        self.module = str(Path(MODULE).resolve())
        self.pin = directory / "pin"
        self.pin.write_text(f"{PIN}\n")
        self.pin.chmod(0o600)

    def uri(self, path: str = f"token={LABEL}", *, pin: str | None = None) -> str:
        """Return a URI with that path; the PIN is in its file, or as `pin` says: "" for none."""
        source = f"&pin-source=file:{self.pin}" if pin is None else pin and f"&{pin}"
        return f"pkcs11:{path}?module-path={MODULE}{source}"

    def add(self, label: str = LABEL) -> None:
        """Make another token."""
        self._run(
            "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN,
            "--so-pin", "12345678",
        )  # fmt: skip

    def tool(self, *arguments: str, label: str = LABEL) -> str:
        """Run pkcs11-tool with the token, logged in, and return what it prints."""
        return self._run(
            "pkcs11-tool", "--module", MODULE, "--token-label", label, "--login", "--pin", PIN,
            *arguments,
        )  # fmt: skip

    def _run(self, *command: str) -> str:
        environment = {**os.environ, "SOFTHSM2_CONF": str(self.config)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def soft_token(
    directory: Path, peer: PeerFinder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SoftToken]:
    """Give this process a token, or skip the test where there is no SoftHSM."""
    for name in ("softhsm2-util", "pkcs11-tool", MODULE):
        peer(name)
    pkcs11 = pytest.importorskip("pkcs11")
    found = SoftToken(directory)
    found.add()
    monkeypatch.setenv("SOFTHSM2_CONF", str(found.config))
    monkeypatch.delenv("PKCS11_MODULE_PATH", raising=False)
    try:
        yield found
    finally:
        # The module reads its configuration when it is initialised: for the next test anew.
        library = pkcs11._loaded.get(found.module)
        if library is not None and library.initialized:
            library.finalize()
