"""Answers of an EST-coaps server that need no exchange, and what is recorded of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import quote

from est_core import CertificateFailure, Channel, Fault, Refused, RemoteProtocolError
from est_core.model import shown_text
from est_core.wires.coapmap import Code, RequestHead

RETRY_S: Final = 10
_FAILURE_CHARS: Final = 100
METHODS: Final[dict[int, str]] = {Code.GET: "GET", Code.POST: "POST"}


def method_of(head: RequestHead) -> str:
    """Return the method's name; empty for one that EST does not use."""
    return METHODS.get(head.code, "")


def target_of(head: RequestHead) -> str:
    """Return the path that the client asked for, as URIs have it."""
    return "".join(f"/{quote(segment, safe='')}" for segment in head.path)


BUSY: Final = Refused(
    operation=None,
    fault=Fault.BUSY,
    retry_after=RETRY_S,
    code="server/busy",
    reason="busy, try again later",
)
STOPPING: Final = replace(BUSY, code="server/stopping", reason="the server is about to stop")


def unverified(channel: Channel) -> Refused:
    """Return the refusal of a client whose certificate does not count."""
    reason = "a client certificate that the server can verify is required"
    if channel.failure_kind is not CertificateFailure.UNVERIFIED:
        reason += f": {shown_text(channel.failure, _FAILURE_CHARS)}"
    error = RemoteProtocolError(channel.failure_kind.value, reason, Fault.FORBIDDEN)
    return Refused.of_error(error)
