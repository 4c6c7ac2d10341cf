"""What a user has given to log in with, and which challenges it answers."""

from __future__ import annotations

from typing import Final

from est_core import (
    AuthScheme,
    BasicCredentials,
    BearerCredentials,
    Credentials,
    CredentialsRequested,
    EstUri,
    Password,
)
from est_core import Login as LoginAnswer
from est_transports.cli.output import say, warn
from est_transports.cli.password_input import ask_password

_OF_TOKEN: Final = frozenset({AuthScheme.BEARER})
_OF_CODE: Final = frozenset({AuthScheme.BASIC})
_OF_PASSWORD: Final = frozenset({AuthScheme.BASIC, AuthScheme.DIGEST})


class Login:
    """Answers a server's challenges: with a token, a one-time code, or one user's password.

    It asks for the password where it must. What was given once and refused is not given again.
    `is_unasked`: it is sent with every request, without being asked for.
    `refused` says that it happened, `sent` that something went out at all. Only the server of
    `uri` is given anything: not one that it points to. `implicit` says that it is trusted for
    third parties' sake only, which is worth a warning.
    """

    def __init__(
        self,
        user: str | None,
        password: str | None,
        *,
        uri: EstUri,
        token: str | None = None,
        code: str | None = None,
        is_unasked: bool = False,
        implicit: bool = False,
    ) -> None:
        self.user = user
        self.implicit: bool = implicit
        self.refused: bool = False
        self.sent: bool = False
        self._origin = uri.origin
        self._password = password
        self._token = token
        self._code = code
        self._is_unasked = is_unasked
        self._typed: str | None = None

    @property
    def is_given(self) -> bool:
        """True if there is something to log in with."""
        return not (self.user is None and self._token is None and self._code is None)

    @property
    def schemes(self) -> frozenset[AuthScheme]:
        """Return the schemes that what was given goes by; none where nothing was."""
        if self._token is not None:
            return _OF_TOKEN
        if self._code is not None:
            return _OF_CODE
        return frozenset() if self.user is None else _OF_PASSWORD

    @property
    def text(self) -> str:
        """What was given, in words."""
        if self._token is not None:
            return "the token"
        return f"user {self.user}" if self._code is None else "the code"

    @property
    def remedy(self) -> str:
        """What to do about its refusal."""
        if self._token is not None:
            return "check the token: it may have expired, or be for something else"
        if self._code is not None:
            return "check the code: it may be used up, expired, or for another user"
        return "check the name and the password"

    def __call__(self, question: CredentialsRequested) -> LoginAnswer | None:
        """Return the answer to a challenge, or to none at all, or None."""
        if question.uri.origin != self._origin or not self.is_given:
            return None
        self.refused = question.attempt > 1
        if question.challenges and not question.schemes & self.schemes:
            return None
        if self.refused and (self.user is None or self._password is not None or self._code):
            return None
        self._warn()
        if self._token is not None:
            return BearerCredentials(token=self._token)
        code, user = self._code, self.user or ""
        if code is not None:
            return Password(user=user, password=code, basic_only=True)
        return Password(user=user, password=self._given_password(user))

    def unasked(self) -> Credentials | None:
        """Return what is sent without waiting for a challenge, None unless that is wanted."""
        if not self._is_unasked:
            return None
        self._warn()
        if self._token is not None:
            return BearerCredentials(token=self._token)
        user = self.user or ""
        password = self._given_password(user) if self._code is None else self._code
        return BasicCredentials(user=user, password=password)

    def _warn(self) -> None:
        self.sent = True
        if self.implicit:
            # EST-046: any CA of the system's could have made this server.
            what = "password" if self._token is None else "token"
            warn(f"the {what} goes to a server that only the system's trust store vouches for")
            self.implicit = False

    def _given_password(self, user: str) -> str:
        if self._password is None and (self._typed is None or self.refused):
            if self.refused:
                say(f"the server refuses that password of {user}")
            self._typed = ask_password(f"Password of {user}")
        return self._password or self._typed or ""
