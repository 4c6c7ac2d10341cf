"""A client that shares no code with ours: the standard library's ssl and http.client.

It does what it is told, right or wrong.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.deployment import PASSWORD, USER

BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Answer:
    """Status, header fields and body of one answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class IndependentClient:
    """One connection."""

    def __init__(
        self,
        port: int,
        trust: Path,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        identity: tuple[Path, Path] | None = None,
    ) -> None:
        context = ssl.create_default_context(cafile=str(trust))
        context.minimum_version = context.maximum_version = version
        if identity is not None:
            context.load_cert_chain(*identity)
        self._authorization = BASIC if identity is None else None
        self._http = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        try:
            self._http.connect()
        except OSError as error:
            _close_what_is_left(error)
            raise

    def __enter__(self) -> IndependentClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def tls_unique(self) -> bytes:
        """The channel binding, as this end knows it."""
        assert isinstance(self._http.sock, ssl.SSLSocket)
        binding = self._http.sock.get_channel_binding("tls-unique")
        assert binding is not None
        return binding

    def get(self, operation: str) -> Answer:
        """Ask for something that has no body."""
        return self._ask("GET", operation, None, {})

    def get_with(self, operation: str, authorization: str | None) -> Answer:
        """Ask for it with this Authorization."""
        headers = {} if authorization is None else {"Authorization": authorization}
        return self._ask("GET", operation, None, headers)

    def post(
        self,
        operation: str,
        body: bytes,
        *,
        authorization: str | None = BASIC,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Send a body as application/pkcs10, with more header fields."""
        headers = {"Content-Type": "application/pkcs10", **headers}
        if authorization is not None:
            headers["Authorization"] = authorization
        return self._ask("POST", operation, body, headers)

    def enroll(self, der: bytes) -> Answer:
        """Enroll with a CSR in DER, by certificate if there is one, else by password."""
        body = base64.b64encode(der)
        return self.post("simpleenroll", body, authorization=self._authorization)

    def reenroll(self, der: bytes) -> Answer:
        """Renew with a CSR in DER."""
        return self.post("simplereenroll", base64.b64encode(der), authorization=None)

    def _ask(
        self, method: str, operation: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        self._http.request(method, f"/.well-known/est/{operation}", body, headers)
        response = self._http.getresponse()
        return Answer(response.status, response.headers, response.read())


def _close_what_is_left(error: OSError) -> None:
    """Close the socket that `ssl` made for a connection that was reset before its handshake.

    Nobody else can: it is known to the frame alone that found the reset (CPython 3.11 to 3.13).
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        left = frame.f_locals.get("self")
        if isinstance(left, ssl.SSLSocket):
            left.close()
