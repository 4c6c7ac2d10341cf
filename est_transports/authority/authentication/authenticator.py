"""Which scheme judges which credentials: the one place that decides it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from enum import Enum, unique

from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    BearerCredentials,
    CodeCredentials,
    Decision,
    DigestCredentials,
    LocalProtocolError,
    Rejected,
    Verified,
)
from est_core.arguments import checked_throughout
from est_transports.authority.authentication.codes import verify_code
from est_transports.authority.authentication.digest import verify_digest
from est_transports.authority.authentication.look_ups import LookUps, failed, later
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.authentication.tokens import TokenVerifier, own_tokens, verify_token
from est_transports.authority.stores import Store, StoreBusy, StoreError, UserRecord
from est_transports.authority.stores.passwords import PasswordBusy, PasswordChecks


@unique
class Scheme(Enum):
    """What is taken for credentials, by the words of est.toml."""

    BASIC = "basic"
    """The passwords of users, as they are."""
    DIGEST = "digest"
    BEARER = "bearer"
    OTP = "otp"
    """One-time codes: as a password of Basic, or in the request for a certificate."""

    @property
    def needs_secret(self) -> bool:
        """True if what is looked up, or a nonce, is hashed with the server's secret."""
        return self is not Scheme.BASIC


@checked_throughout
class Authenticator:
    """Judges credentials by the schemes that are taken; what is of another one is rejected.

    `passwords` and `look_ups` bound the work of the process: share them between authenticators.
    `verify_token` judges bearer tokens instead of the store: it is called in a thread, by several
    at once. Any thread may call. Raises LocalProtocolError for a scheme that needs a `secret` and
    has none.
    """

    def __init__(
        self,
        *,
        store: Store,
        schemes: frozenset[Scheme],
        passwords: PasswordChecks,
        look_ups: LookUps,
        now: Callable[[], datetime],
        secret: ServerSecret | None = None,
        verify_token: TokenVerifier | None = None,
    ) -> None:
        self._store = store
        self._schemes = schemes
        self._passwords = passwords
        self._look_ups = look_ups
        self._now = now
        self._secret = secret
        self._verify_token = verify_token
        if Scheme.BEARER in schemes and verify_token is None:
            self._verify_token = own_tokens(store, self._needed(Scheme.BEARER), now)
        if Scheme.OTP in schemes:
            self._needed(Scheme.OTP)

    def authenticate(self, question: AuthenticateRequested) -> Decision | Future[Decision]:
        """Return the decision, or the future of it. Waits for nothing. RFC 7030 3.2.3."""
        credentials, schemes = question.credentials, self._schemes
        match credentials:
            case BasicCredentials() if Scheme.OTP in schemes:
                return self._code_or_password(question, credentials)
            case BasicCredentials() if Scheme.BASIC in schemes:
                return self._password(question, credentials)
            case CodeCredentials() if Scheme.OTP in schemes:
                return self._look_ups.submit(lambda: self._code(question))
            case DigestCredentials() if Scheme.DIGEST in schemes:
                return self._look_ups.submit(lambda: verify_digest(credentials, self._store))
            case BearerCredentials() if self._verify_token and Scheme.BEARER in schemes:
                verify = self._verify_token
                return self._look_ups.submit(lambda: verify_token(question, verify))
            case _:
                return Rejected()

    def _code_or_password(
        self, question: AuthenticateRequested, credentials: BasicCredentials
    ) -> Decision | Future[Decision]:
        """Judge what came as a code, and if nobody knows it as one, as a password.

        The check of a password is slow on purpose, so the look-up comes first.
        """
        found = self._look_ups.submit(lambda: self._code(question))
        if not isinstance(found, Future) or Scheme.BASIC not in self._schemes:
            return found
        decision: Future[Decision] = Future()

        def go_on(code: Future[Decision]) -> None:
            try:
                known = code.result()
                if not isinstance(known, Rejected):
                    decision.set_result(known)
                    return
                _follow(self._password(question, credentials), decision)
            except BaseException as exc:  # noqa: BLE001  # raised where somebody waits for it
                decision.set_exception(exc)

        found.add_done_callback(go_on)
        return decision

    def _password(
        self, question: AuthenticateRequested, credentials: BasicCredentials
    ) -> Future[Decision]:
        decision: Future[Decision] = Future()

        def settle(checked_user: Future[UserRecord | None]) -> None:
            try:
                decision.set_result(_identified(checked_user))
            except BaseException as exc:  # noqa: BLE001  # raised where somebody waits for it
                decision.set_exception(exc)

        self._passwords.submit(
            credentials.user,
            credentials.password,
            self._store,
            peer=question.channel.peer_address,
        ).add_done_callback(settle)
        return decision

    def _code(self, question: AuthenticateRequested) -> Decision:
        return verify_code(question, self._store, self._needed(Scheme.OTP), self._now)

    def _needed(self, scheme: Scheme) -> ServerSecret:
        if self._secret is None:
            raise LocalProtocolError(f"{scheme.value} needs the server's secret")
        return self._secret


def _follow(source: Future[Decision], target: Future[Decision]) -> None:
    def settle(done: Future[Decision]) -> None:
        exc = done.exception()
        if exc is None:
            target.set_result(done.result())
        else:
            target.set_exception(exc)

    source.add_done_callback(settle)


def _identified(checked_user: Future[UserRecord | None]) -> Decision:
    """Return who gave the right password, once that is known."""
    try:
        user = checked_user.result()
    except PasswordBusy as exc:
        return later("passwords", exc)
    except StoreBusy as exc:
        return later("users", exc)
    except (StoreError, LocalProtocolError) as exc:  # the latter: a damaged record
        return failed(exc)
    return Rejected() if user is None else Verified(user=user.name)
