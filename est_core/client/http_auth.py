"""The HTTP authentication of one client exchange: what answers which challenge, and how often.

RFC 7030 3.2.3, RFC 9110 11.6.1. Only servers that are authorised get this far. Credentials are sent
unasked or answer a challenge that asks for their scheme; a password answers by the strongest scheme
of those offered (RFC 7616 3.7), and what was refused is not tried by a weaker one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._instant import Entropy
from est_core._limits import Limits
from est_core.client.digest_answers import DigestChallenge, NonceCounts, strongest_challenge
from est_core.credentials import (
    AuthChallenge,
    AuthScheme,
    BasicCredentials,
    BearerCredentials,
    CodeCredentials,
    Credentials,
    DigestCredentials,
    Login,
    MalformedCredentials,
    Password,
)
from est_core.events import CredentialsRequested, Failed
from est_core.model import Challenged, Response, shown_text
from est_core.uri import EstUri

_SHOWN_SCHEMES: Final = 4
_SHOWN_CHARS: Final = 32
_SCHEMES: Final = {
    BasicCredentials: AuthScheme.BASIC,
    BearerCredentials: AuthScheme.BEARER,
    DigestCredentials: AuthScheme.DIGEST,
}


def sendable(credentials: Login | None) -> Login | None:
    """Return the credentials. Raises LocalProtocolError for those that no header carries."""
    if isinstance(credentials, MalformedCredentials):
        raise LocalProtocolError("malformed credentials are for reading only")
    if isinstance(credentials, CodeCredentials):
        raise LocalProtocolError("a code that goes into the CSR is given to `enroll`")
    return credentials


class HttpAuth:
    """What a client says about itself in its Authorization headers, and what became of it.

    `given` is what the session has: a password waits for a challenge, or for the nonce of an
    earlier one in `counts`; anything else goes with every request. `home` is the server that the
    client set out to reach. `entropy` may come later; without it there are no answers to Digest.
    """

    def __init__(
        self,
        given: Login | None,
        home: EstUri,
        limits: Limits,
        counts: NonceCounts,
        entropy: Entropy | None,
    ) -> None:
        self.entropy = entropy
        self._given = given
        self._home = home
        self._limits = limits
        self._counts = counts
        self._challenge: DigestChallenge | None = None
        self._is_unasked = not isinstance(given, Password)  # of what is sent
        self._is_of_session = True  # and no answer to a question
        self._may_be_old = True  # what was said, if anything: its nonce may have expired since
        self._was_stale = False
        self._sent: Credentials | None = None
        self._refusals = 0
        self._offered: tuple[AuthChallenge, ...] = ()

    def of_request(self, method: str, target: str) -> Credentials | None:
        """Return the credentials of the next request, which has this method and target."""
        given = self._given
        if isinstance(given, Password):
            given = self._by_digest(given, method, target)
        self._sent = given
        return given

    def _by_digest(self, password: Password, method: str, target: str) -> DigestCredentials | None:
        challenge, entropy = self._challenge or self._counts.last, self.entropy
        if challenge is None or entropy is None:
            return None
        count = self._counts.next_count(challenge.nonce)
        return challenge.answer(password, count, entropy, method=method, target=target)

    def challenged(self, response: Challenged, uri: EstUri) -> CredentialsRequested | Failed | None:
        """Return what a 401 of the server at `uri` leads to: a question, the end, or None.

        With None the next request has an answer. There are servers that take a password and never
        say so: their 401 names no scheme, though it MUST (RFC 9110 15.5.2). Theirs is a question
        without challenges, but only while nothing was sent to them, and only of the server the
        client set out for: whatever it redirects to has to name what it wants.
        """
        self._offered = response.challenges
        if isinstance(self._given, Password) and self._is_answered_again(response):
            return self._answer(self._given, response)
        was_sent = self._sent is not None
        self._refusals += was_sent
        if was_sent:
            self._counts.last = None
            if not self._offered:
                return self._refused(response)
            if self._is_unasked and not self._is_offered(self._sent):
                return self._not_offered(response, "sent unasked")
        may_guess = uri.scheme == "https" and uri.origin == self._home.origin
        if not self._offered and not may_guess:
            return self.given_up(response)
        if self._refusals >= self._limits.credential_tries:
            return self._refused(response)
        return CredentialsRequested(uri=uri, challenges=self._offered, attempt=self._refusals + 1)

    def _is_answered_again(self, response: Challenged) -> bool:
        """True if a 401 refuses nothing that the password has said, so that it answers.

        It was not said yet, or with a nonce that may have expired; or the server says that it has,
        to which there is one answer, for else there would be no end.
        """
        if self._may_be_old:
            return True
        fresh = strongest_challenge(response.challenges, self._limits)
        is_stale = isinstance(fresh, DigestChallenge) and fresh.is_stale
        is_stale, self._was_stale = is_stale and not self._was_stale, is_stale
        return is_stale

    def provide(self, credentials: Login | None, response: Challenged | None) -> Failed | None:
        """Use these from now on, as the answer to the last question, or fail. None gives up."""
        if credentials is None or response is None:
            return self.given_up(response)
        self._is_unasked = self._is_of_session = False
        self._given, self._sent = credentials, None
        if isinstance(credentials, Password):
            return self._answer(credentials, response)
        if self._offered and not self._is_offered(credentials):
            return self._not_offered(response, "given")
        return None

    def given_up(self, response: Response | None) -> Failed:
        """Return the failure of a client that has nothing to answer that 401 with."""
        if self._refusals and isinstance(response, Challenged):
            return self._refused(response)
        if self._offered:
            code = "auth/no-credentials"
            message = "the server wants credentials and there are none to give"
        else:
            code = "auth/no-challenge"
            message = "the server wants to know who is asking, and does not say how"
        return Failed(code=code, message=_with_reason(message, response), response=response)

    def forget_refusals(self) -> None:
        """The credentials were good: a Digest nonce will have expired when they are used again."""
        self._refusals = 0
        self._may_be_old, self._was_stale = True, False

    def forget(self) -> None:
        """Give nothing of it to another server: it has to ask for its own."""
        self._given = self._challenge = self._sent = None

    def _answer(self, password: Password, response: Challenged) -> Failed | None:
        """Have the next request answer one of the challenges; without any, by Basic."""
        self._may_be_old = False
        try:
            challenge = _chosen(password, self._offered, self._limits, self.entropy)
        except RemoteProtocolError as error:
            message = _with_reason(error.message, response)
            return Failed(code=error.code, message=message, response=response)
        if challenge is None:
            self._given = BasicCredentials(user=password.user, password=password.password)
            return None
        self._given, self._challenge = password, challenge
        if self._is_of_session:
            self._counts.last = challenge
        return None

    def _is_offered(self, credentials: Credentials | None) -> bool:
        scheme = _SCHEMES.get(type(credentials))
        return scheme in [challenge.known_scheme for challenge in self._offered]

    def _not_offered(self, response: Challenged, how: str) -> Failed:
        message = f"the server takes {_named(self._offered)}, and other credentials were {how}"
        return Failed(
            code="auth/scheme-not-offered",
            message=_with_reason(message, response),
            response=response,
        )

    def _refused(self, response: Challenged) -> Failed:
        message = _with_reason("the server refuses the credentials", response)
        return Failed(code="auth/refused", message=message, response=response)


def _chosen(
    password: Password,
    challenges: Sequence[AuthChallenge],
    limits: Limits,
    entropy: Entropy | None,
) -> DigestChallenge | None:
    """Return the Digest challenge to answer, None for Basic.

    Raises RemoteProtocolError "auth/scheme-not-offered", "auth/no-entropy",
    "auth/unanswerable-challenge".
    """
    found = strongest_challenge(challenges, limits)
    may_digest = isinstance(found, DigestChallenge) and not password.basic_only
    if may_digest and entropy is not None:
        return found if isinstance(found, DigestChallenge) else None
    if not challenges or AuthScheme.BASIC in [each.known_scheme for each in challenges]:
        return None
    if may_digest:
        raise RemoteProtocolError(
            "auth/no-entropy", "the server takes Digest, and the client has no source of entropy"
        )
    if isinstance(found, RemoteProtocolError) and not password.basic_only:
        raise found
    speaks = "by Basic alone" if password.basic_only else "by Basic or Digest"
    raise RemoteProtocolError(
        "auth/scheme-not-offered",
        f"the server takes {_named(challenges)}, and what was given goes {speaks}",
    )


def _named(challenges: Sequence[AuthChallenge]) -> str:
    """Return the schemes of challenges, to be shown."""
    schemes = dict.fromkeys(shown_text(each.scheme, _SHOWN_CHARS) for each in challenges)
    shown = list(schemes)[:_SHOWN_SCHEMES]
    return ", ".join(shown) + (", ..." if len(schemes) > len(shown) else "")


def _with_reason(message: str, response: Response | None) -> str:
    return f"{message}: {response.reason}" if response and response.reason else message
