"""A device's directory with est-agent.toml, for the server of the command line's tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli import main
from tests.application import PASSWORD, USER
from tests.pki import pki

TOP = f"""trust = "ca.pem"
user = "{USER}"
password_file = "password"
renewal_info = false
"""


@dataclass
class AgentSite:
    """Runs commands as `main` does, for the certificates of `directory`."""

    directory: Path
    capsys: pytest.CaptureFixture[str]
    url: str

    def write(self, *, top: str = "", names: tuple[str, ...] = ("gate",), own: str = "") -> None:
        """Write est-agent.toml, the trust anchor and the password."""
        self.directory.mkdir(exist_ok=True)
        anchor = pki().ca.certificate.public_bytes(Encoding.PEM)
        (self.directory / "ca.pem").write_bytes(anchor)
        (self.directory / "password").write_text(PASSWORD)
        (self.directory / "password").chmod(0o600)
        tables = "".join(f'[certificate.{name}]\ncn = "{name}"\n{own}\n' for name in names)
        text = f'url = "{self.url}"\n{TOP}{top}\n{tables}'
        (self.directory / "est-agent.toml").write_text(text)

    def __call__(self, command: str, *more: str) -> tuple[int, str, str]:
        """Run a command for the directory; return exit code, stdout and stderr."""
        code = main([command, str(self.directory), *more])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err

    def status(self, name: str = "gate") -> dict[str, Any]:
        """Return what `est status --json` says of a certificate."""
        found: list[dict[str, Any]] = json.loads(self("status", name, "--json")[1])
        return found[0]

    def certificate(self, name: str = "gate") -> x509.Certificate:
        """Return the certificate in use, whose files fit each other."""
        place = self.directory / name / "current"
        certificate = x509.load_pem_x509_certificate((place / "cert.pem").read_bytes())
        whole = (place / "pair.pem").read_bytes()
        assert whole.startswith((place / "key.pem").read_bytes())
        return certificate
