"""The HTTP authentication of one client exchange: which credentials go out, and for how long.

RFC 7030 3.2.3, RFC 9110 11.6.1. Only servers that are authorised get this far.
"""

from __future__ import annotations

from est_core._limits import Limits
from est_core.client.answers import sendable
from est_core.credentials import Credentials
from est_core.events import CredentialsRequested, Failed
from est_core.model import Challenged, Response
from est_core.uri import EstUri


class HttpAuth:
    """What a client says about itself in its Authorization headers, and what became of it.

    `credentials` go with every request, None for none. Raises LocalProtocolError for malformed
    ones. `home` is the server that the client set out to reach.
    """

    def __init__(self, credentials: Credentials | None, home: EstUri, limits: Limits) -> None:
        self.credentials: Credentials | None = sendable(credentials)
        self._home = home
        self._limits = limits
        self._refusals = 0
        self._has_scheme = True

    def challenged(self, response: Challenged, uri: EstUri) -> CredentialsRequested | Failed:
        """Return what a 401 of the server at `uri` leads to: a question, or the end.

        There are servers that take a password and never say so: their 401 names no scheme, though
        it MUST (RFC 9110 15.5.2). Theirs is a question without challenges, but only while nothing
        was sent to them, and only of the server the client set out for: whatever it redirects to
        has to name what it wants.
        """
        was_sent = self.credentials is not None
        self._refusals += was_sent
        self._has_scheme = bool(response.challenges)
        if was_sent and not self._has_scheme:
            return self._refused(response)
        may_guess = uri.scheme == "https" and uri.origin == self._home.origin
        if not self._has_scheme and not may_guess:
            return self.given_up(response)
        if self._refusals >= self._limits.credential_tries:
            return self._refused(response)
        return CredentialsRequested(
            uri=uri, challenges=response.challenges, attempt=self._refusals + 1
        )

    def given_up(self, response: Response | None) -> Failed:
        """Return the failure of a client that has nothing to answer that 401 with."""
        if self._has_scheme:
            code = "auth/no-credentials"
            message = "the server wants credentials and there are none to give"
        else:
            code = "auth/no-challenge"
            message = "the server wants to know who is asking, and does not say how"
        return Failed(code=code, message=_with_reason(message, response), response=response)

    def forget_refusals(self) -> None:
        """The credentials were good: a Digest nonce will have expired when they are used again."""
        self._refusals = 0

    def _refused(self, response: Challenged) -> Failed:
        message = _with_reason("the server refuses the credentials", response)
        return Failed(code="auth/refused", message=message, response=response)


def _with_reason(message: str, response: Response | None) -> str:
    return f"{message}: {response.reason}" if response and response.reason else message
