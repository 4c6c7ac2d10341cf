"""strongSwan's `pki` program: makes keys and requests, and is an EST client."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from tests.deployment import Deployment
from tests.programs import Ended, run


class StrongSwan:
    """pki, trusting a deployment's CA and working in `directory`."""

    def __init__(self, program: str, deployment: Deployment, directory: Path) -> None:
        self.program = program
        self.deployment = deployment
        self.directory = directory

    def ca_certificates(self) -> list[x509.Certificate]:
        """Fetch the CA certificates."""
        found = self.directory / "found.pem"
        self._ask("--estca", "--caout", str(found)).checked()
        return x509.load_pem_x509_certificates(found.read_bytes())

    def all_ca_certificates(self) -> list[x509.Certificate]:
        """Fetch the CA certificates where there are several: pki numbers its files."""
        self._ask("--estca", "--caout", str(self.directory / "ca-out.pem")).checked()
        files = sorted(self.directory.glob("ca-out*.pem"))
        return [x509.load_pem_x509_certificate(file.read_bytes()) for file in files]

    def key(self, kind: str, bits: int) -> Path:
        """Make a key: `rsa` or `ecdsa`."""
        made = run(self.program, "--gen", "--type", kind, "--size", str(bits), "--outform", "pem")
        return self._file(f"{kind}-{bits}.key", made.checked().out)

    def request(self, kind: str, key: Path, subject: str, *names: str) -> Path:
        """Make a certificate request in DER. `names` are alternative ones."""
        wanted = [part for name in names for part in ("--san", name)]
        command = ("--req", "--type", kind, "--in", str(key), "--dn", subject, *wanted)
        made = run(self.program, *command, "--outform", "der").checked()
        return self._file(f"{key.stem}.csr", made.out)

    def enroll(self, request: Path, *arguments: str) -> Ended:
        """Send a request; PEM of the certificate is what it prints, if it could verify it."""
        return self._ask("--est", "--in", str(request), *arguments)

    def _ask(self, command: str, *arguments: str) -> Ended:
        where = ("--url", self.deployment.server, "--cacert", str(self.deployment.ca_file))
        return run(self.program, command, *where, "--outform", "pem", *arguments)

    def _file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path
