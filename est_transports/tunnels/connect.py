"""HTTP CONNECT: the tunnel through an HTTP proxy, and how a client logs in to one. RFC 9110 9.3.6.

The first request says nothing of a login, the second answers the proxy's challenge by the strongest
scheme there is: Digest before Basic, which shows the password to everybody on the way. A stale
nonce is answered once more. Heads are read as those of servers are, with the same bounds.
"""

from __future__ import annotations

import re
from typing import Final

import h11

from est_core import Entropy, Limits, RemoteProtocolError
from est_core.client.digest_answers import DigestChallenge, NonceCounts, strongest_challenge
from est_core.codec.authheader import parse_challenges, write_authorization
from est_core.credentials import (
    AuthChallenge,
    AuthScheme,
    BasicCredentials,
    DigestCredentials,
    Password,
)
from est_core.model import shown_text
from est_core.wires.httpmap import ResponseHead
from est_transports.drive.client import ConnectError
from est_transports.http.messages import (
    BodyReader,
    Framing,
    HeadReader,
    Inbox,
    body_size,
    connection_tokens,
    parse_response_head,
)
from est_transports.tunnels.machine import closed, unasked_bytes
from est_transports.tunnels.proxy import Proxy

_HOST: Final = re.compile(r"[0-9A-Za-z_.:-]{1,253}")
_SKIPPED_BYTES: Final = 16 * 1024
"""As much of the page beside a 407 is read to keep the connection; rather than more, a new one."""
_SHOWN_CHARS: Final = 64
_SHOWN_SCHEMES: Final = 5

_STATUSES: Final = {
    403: ("proxy/refused", "does not let this client through"),
    405: ("proxy/no-tunnel", "does not know CONNECT"),
    451: ("proxy/refused", "does not let this client through"),
    501: ("proxy/no-tunnel", "does not know CONNECT"),
    502: ("proxy/server-unreachable", "does not reach the server"),
    503: ("proxy/server-unreachable", "does not reach the server"),
    504: ("proxy/server-unreachable", "has waited for the server in vain"),
}
_TUNNEL_ONLY: Final = "; without a tunnel it would read all that goes through: that is never done"


class ConnectTunnel:
    """A Tunnel through an HTTP proxy."""

    def __init__(
        self, proxy: Proxy, host: str, port: int, *, entropy: Entropy, limits: Limits
    ) -> None:
        if not _HOST.fullmatch(host):
            raise ConnectError("proxy/target", "this is no host that a proxy can be asked for")
        self.is_open: bool = False
        self.needs_connection: bool = True
        self._proxy = proxy
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._entropy = entropy
        self._limits = limits
        self._counts = NonceCounts()
        self._challenge: DigestChallenge | None = None
        self._logs_in = False
        self._was_stale = False
        self._start()

    def _start(self) -> None:
        self._inbox = Inbox()
        self._expect_head()

    def _expect_head(self) -> None:
        self._head = HeadReader()
        self._interim_bytes = 0
        self._page: BodyReader | None = None

    def begin(self) -> bytes:
        """Return the request, for a new connection."""
        self._start()
        self.needs_connection = False
        return self._request()

    def receive(self, data: bytes) -> bytes:
        """Take what the proxy says, and return the next request, if there is one."""
        self._inbox.unread += data
        self._inbox.ended |= not data
        try:
            return self._next()
        except RemoteProtocolError as exc:
            if exc.code == "http/truncated":
                raise closed(self._proxy) from exc
            message = f"{self._proxy} does not answer as an HTTP proxy does: {exc.message}"
            raise ConnectError("proxy/malformed", message) from exc

    def _next(self) -> bytes:
        while self._page is None:
            left = self._limits.head_bytes - self._interim_bytes
            raw = self._head.read(self._inbox, max_bytes=left, request=False)
            if raw is None:
                return b""
            head, version = parse_response_head(raw)
            if head.status < 200:  # RFC 9110 15.2: any number of them, as long as a head in all
                self._interim_bytes += len(raw)
                self._head = HeadReader()
                continue
            if self._is_final(head, version):
                return b""
        return self._skip(self._page)

    def _is_final(self, head: ResponseHead, version: bytes) -> bool:
        """Return whether nothing more is to be read; raise ConnectError for a refusal."""
        if 200 <= head.status < 300:
            # "A client MUST ignore any Content-Length or Transfer-Encoding header fields received
            # in a successful response to CONNECT." RFC 9110 9.3.6.
            if self._inbox.unread:
                raise unasked_bytes(self._proxy)
            self.is_open = True
            return True
        if head.status != 407:
            raise self._refusal(head)
        self._choose(head)
        size = body_size(head.headers, version=version, otherwise=Framing.UNTIL_CLOSE)
        ends = b"close" in connection_tokens(head.headers) or version == b"1.0"
        if ends or size.framing is not Framing.COUNTED or size.length > _SKIPPED_BYTES:
            self.needs_connection = True
            return True
        self._page = BodyReader(
            size, max_bytes=_SKIPPED_BYTES, max_raw_bytes=_SKIPPED_BYTES, keep=False
        )
        return False

    def _skip(self, page: BodyReader) -> bytes:
        """Read the page beside a 407 to its end, and return the next request then."""
        if self._inbox.ended:
            self.needs_connection = True
        elif page.read(self._inbox):
            if not self._inbox.unread:
                self._expect_head()
                return self._request()
            self.needs_connection = True  # what follows answers nothing that was asked
        return b""

    def _request(self) -> bytes:
        headers = [("Host", self._target)]
        if (credentials := self._credentials()) is not None:
            headers.append(("Proxy-Authorization", write_authorization(credentials)))
        wire = h11.Connection(h11.CLIENT)
        request = h11.Request(method="CONNECT", target=self._target, headers=headers)
        return wire.send(request) + wire.send(h11.EndOfMessage())

    def _credentials(self) -> BasicCredentials | DigestCredentials | None:
        if not self._logs_in:
            return None
        user, password = self._proxy.user or "", self._proxy.password or ""
        challenge = self._challenge
        if challenge is None:
            return BasicCredentials(user=user, password=password)
        return challenge.answer(
            Password(user=user, password=password),
            self._counts.next_count(challenge.nonce),
            self._entropy,
            method="CONNECT",
            target=self._target,
        )

    def _choose(self, head: ResponseHead) -> None:
        """Choose how to log in by a 407. Raises ConnectError where that is not to be had."""
        values = [
            value.decode("latin-1") for name, value in head.headers if name == b"proxy-authenticate"
        ]
        challenges = parse_challenges(values, self._limits)
        asked = _named(challenges)
        if self._proxy.user is None:
            raise ConnectError(
                "proxy/login-required", f"{self._proxy} wants a login, by {asked}, and has none"
            )
        found = strongest_challenge(challenges, self._limits)
        if self._logs_in and not self._is_stale(found):
            raise self._login_refused()
        self._logs_in = True
        self._challenge = found if isinstance(found, DigestChallenge) else None
        is_basic = any(each.known_scheme is AuthScheme.BASIC for each in challenges)
        if self._challenge is None and not is_basic:
            reason = f": {found.message}" if isinstance(found, RemoteProtocolError) else ""
            raise ConnectError(
                "proxy/login-scheme",
                f"{self._proxy} takes a login by {asked}, which is not supported: Basic and "
                f"Digest are{reason}",
            )

    def _is_stale(self, found: object) -> bool:
        """Return whether the proxy has only had the nonce for too long. It may say so once."""
        again = isinstance(found, DigestChallenge) and found.is_stale and not self._was_stale
        self._was_stale |= again
        return again and self._challenge is not None

    def _login_refused(self) -> ConnectError:
        return ConnectError("proxy/login-refused", f"{self._proxy} refuses the login")

    def _refusal(self, head: ResponseHead) -> ConnectError:
        if head.status == 401 and self._logs_in:  # so tinyproxy 1.11 answers a wrong password
            return self._login_refused()
        code, what = _STATUSES.get(head.status, ("proxy/status", "opens no tunnel"))
        said = shown_text(head.phrase.decode("latin-1"), _SHOWN_CHARS)
        answered = f"answered {head.status} {said}".rstrip()
        why = _TUNNEL_ONLY if code == "proxy/no-tunnel" else ""
        return ConnectError(code, f"{self._proxy} {what}: it {answered}{why}")


def _named(challenges: tuple[AuthChallenge, ...]) -> str:
    schemes = dict.fromkeys(shown_text(each.scheme, _SHOWN_CHARS) for each in challenges)
    return ", ".join(list(schemes)[:_SHOWN_SCHEMES]) or "no scheme that it names"
