"""The curl program as an EST client: one command line for each exchange."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from tests.deployment import PASSWORD, USER, Deployment
from tests.interop.openssl_peer import CertificateRequest, OpenSsl
from tests.programs import Ended, run

LOG_IN: Final = ("--basic", "--user", f"{USER}:{PASSWORD}")
ALWAYS: Final = ("--disable", "--noproxy", "*", "--silent", "--show-error")
PKCS10: Final = "application/pkcs10"

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What curl got for one command.

    `statuses` has every status line on the way, 100 and 401 too. `head` is the last answer's,
    as it was sent; `connections` counts those opened for it.
    """

    statuses: tuple[int, ...]
    head: bytes
    body: bytes
    connections: int

    @property
    def status(self) -> int:
        """The last status."""
        return self.statuses[-1]

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields in their order, names as they were written."""
        lines = self.head.decode("ascii").rstrip("\r\n").split("\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]

    def field(self, name: str) -> str:
        """Return the value of a field that must be there exactly once."""
        (value,) = [value for found, value in self.fields if found == name]
        return value


class Curl:
    """curl, trusting a deployment's CA and working in `directory`."""

    def __init__(
        self, program: str, openssl: OpenSsl, deployment: Deployment, directory: Path
    ) -> None:
        self.program = program
        self.openssl = openssl
        self.deployment = deployment
        self.directory = directory

    def run(self, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run curl with the deployment's CA trusted, and without the user's own settings."""
        trust = ("--cacert", str(self.deployment.ca_file))
        return run(self.program, *ALWAYS, *trust, *arguments, stdin=stdin)

    def fetch(self, operation: str, *arguments: str, stdin: bytes = b"") -> Answer:
        """Run one command on an operation's URL. HTTP errors are answers too."""
        head, body = self.directory / "head", self.directory / "body"
        body.write_bytes(b"")  # curl makes no file for an empty body
        places = ("--dump-header", str(head), "--output", str(body))
        url = self.deployment.url(operation)
        told = ("--write-out", "%{num_connects}")
        ended = self.run(*arguments, *places, *told, url, stdin=stdin).checked()
        heads = head.read_bytes()
        starts = [found.start() for found in _STATUS_LINE.finditer(heads)]
        return Answer(
            statuses=tuple(int(status) for status in _STATUS_LINE.findall(heads)),
            head=heads[starts[-1] :],
            body=body.read_bytes(),
            connections=int(ended.out),
        )

    def post(self, operation: str, body: bytes, *arguments: str, media: str = PKCS10) -> Answer:
        """POST a body, from standard input."""
        sent = ("--header", f"Content-Type: {media}", "--data-binary", "@-")
        return self.fetch(operation, *sent, *arguments, stdin=body)

    def enroll(self, request: CertificateRequest, *arguments: str) -> x509.Certificate:
        """Enroll with the password, as the operator's guide says; return the certificate."""
        body = base64.b64encode(request.der)
        return self.certificate(self.post("simpleenroll", body, *LOG_IN, *arguments))

    def certificate(self, answer: Answer) -> x509.Certificate:
        """Return the one certificate in a successful answer."""
        assert answer.status == 200, answer.body
        (certificate,) = self.openssl.certificates(base64.b64decode(answer.body))
        return certificate
