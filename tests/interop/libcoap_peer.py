"""libcoap's clients as EST-coaps clients: one command line, and one association, a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.deployment import Deployment
from tests.pki import Entity
from tests.programs import Ended, run

ANSWER_TIMEOUT: Final = ("-B", "30")  # seconds for an answer
SHOWN: Final = ("-v", "6")  # every message that is sent or received

_RESPONSE: Final = re.compile(r"^v:1 t:\w+ c:([2-5])\.(\d\d) .*?\[ ?(.*?) ?\]", re.MULTILINE)
_FORMAT: Final = re.compile(r"Content-Format:([^ ,]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client got. `codes` are those of all messages, 2.31 and all, as 231."""

    codes: tuple[int, ...]
    content_format: str
    payload: bytes
    ended: Ended

    @property
    def code(self) -> int:
        """The last code; 0 where there was none."""
        return self.codes[-1] if self.codes else 0

    @property
    def certificate(self) -> x509.Certificate:
        """The one certificate of a bag."""
        assert (self.code, self.content_format) == (204, "281"), self.ended
        (found,) = pkcs7.load_der_pkcs7_certificates(self.payload)
        return found


class CoapClient:
    """The client at `program`, which trusts a deployment's CA and works in `directory`."""

    def __init__(self, program: str, deployment: Deployment, directory: Path) -> None:
        self._program = program
        self._deployment = deployment
        self._directory = directory

    @property
    def is_gnutls(self) -> bool:
        """True for the client with GnuTLS."""
        return self._program.endswith("gnutls")

    def ask(self, path: str, *options: str, identity: Entity | None, body: bytes = b"") -> Answer:
        """Send a request, a POST if it has a body, with that certificate or with none."""
        out = self._directory / "answer"
        out.unlink(missing_ok=True)
        command = [self._program, *SHOWN, *ANSWER_TIMEOUT, "-R", str(self._deployment.ca_file)]
        if identity is not None:
            certificate, key = identity.write(self._directory, "identity")
            command += ["-c", str(certificate), "-j", str(key)]
        if body:
            sent = self._directory / "body"
            sent.write_bytes(body)
            command += ["-m", "post", "-f", str(sent)]
        url = f"{self._deployment.coap_server}/{path}"
        ended = run(*command, "-o", str(out), *options, url)
        said = ended.out.decode("utf-8", "replace") + ended.err
        found = _RESPONSE.findall(said)
        format_ = _FORMAT.search(found[-1][2]) if found else None
        return Answer(
            codes=tuple(int(kind) * 100 + int(detail) for kind, detail, _ in found),
            content_format=format_[1] if format_ else "",
            payload=out.read_bytes() if out.exists() else b"",
            ended=ended,
        )

    def enroll(
        self, csr: bytes, *options: str, identity: Entity | None, operation: str = "sen"
    ) -> Answer:
        """Send a request for a certificate."""
        path = f".well-known/est/{operation}"
        return self.ask(path, "-t", "286", *options, identity=identity, body=csr)
