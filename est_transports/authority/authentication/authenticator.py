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
    Postpone,
    Rejected,
    Verified,
)
from est_core.arguments import checked_throughout
from est_transports.authority.authentication.back_off import Attempt, BackOff
from est_transports.authority.authentication.codes import verify_code
from est_transports.authority.authentication.digest import verify_digest
from est_transports.authority.authentication.gate import Gate, Throttled
from est_transports.authority.authentication.look_ups import (
    BUSY_RETRY_S,
    LookUps,
    failed,
    later,
)
from est_transports.authority.authentication.seldom import SeldomLog
from est_transports.authority.authentication.server_secret import ServerSecret, canonical_code
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

    `passwords`, `look_ups` and `back_off` bound the work of the process, and what may be wrong:
    share them between authenticators. Without `back_off` there is one of its own.
    `verify_token` judges bearer tokens instead of the store: it is called in a thread, by several
    at once. Of Digest the password is judged here and nothing else: nonces are judged by the
    policy's `digest`, without which one answer is as good as the password. Any thread may call.
    Raises LocalProtocolError for a scheme that needs a `secret` and has none.
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
        back_off: BackOff | None = None,
    ) -> None:
        self._store = store
        self._schemes = schemes
        self._passwords = passwords
        self._look_ups = look_ups
        self._now = now
        self._secret = secret
        self._verify_token = verify_token
        self._back_off = BackOff() if back_off is None else back_off
        self._seldom = SeldomLog()
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
            case CodeCredentials(code=code) if Scheme.OTP in schemes:
                return self._looked_up(question, code, lambda: self._code(question))
            case DigestCredentials() if Scheme.DIGEST in schemes:
                return self._digest(question, credentials)
            case BearerCredentials(token=token) if Scheme.BEARER in schemes and self._verify_token:
                verify = self._verify_token
                return self._looked_up(
                    question, token, lambda: verify_token(question, token, verify)
                )
            case _:
                return Rejected()

    def _code_or_password(
        self, question: AuthenticateRequested, credentials: BasicCredentials
    ) -> Decision | Future[Decision]:
        """Judge what came as a code, and if nobody knows it as one, as a password.

        The check of a password is slow on purpose, so the look-up comes first; what has not the
        form of a code needs none. Where a password follows, it is what counts if it is wrong.
        """
        text = credentials.password
        if not (credentials.user and Scheme.BASIC in self._schemes):  # no user has no name
            return self._looked_up(question, text, lambda: self._code(question))
        if canonical_code(text) is None:
            return self._password(question, credentials)
        peer = question.channel.peer_address
        found = self._look_ups.submit(lambda: self._code(question), peer=peer)
        decision: Future[Decision] = Future()

        def go_on(code: Future[Decision]) -> None:
            try:
                known = code.result()
                if not isinstance(known, Rejected):
                    decision.set_result(known)
                    return
                judged = self._password(question, credentials)
                if isinstance(judged, Future):
                    _follow(judged, decision)
                else:
                    decision.set_result(judged)
            except BaseException as exc:  # noqa: BLE001  # raised where somebody waits for it
                decision.set_exception(exc)

        found.add_done_callback(go_on)
        return decision

    def _password(
        self, question: AuthenticateRequested, credentials: BasicCredentials
    ) -> Decision | Future[Decision]:
        peer = question.channel.peer_address
        attempt = self._back_off.password(credentials.user, credentials.password, peer)
        gate = Gate(self._back_off, attempt)
        if (refusal := gate.refusal()) is not None:
            return refusal
        decision: Future[Decision] = Future()

        def settle(checked_user: Future[UserRecord | None]) -> None:
            try:
                decision.set_result(gate.counted(self._identified(checked_user)))
            except BaseException as exc:  # noqa: BLE001  # raised where somebody waits for it
                decision.set_exception(exc)

        self._passwords.submit(
            credentials.user,
            credentials.password,
            self._store,
            peer=peer,
            go_ahead=gate.pass_or_raise,
        ).add_done_callback(settle)
        return decision

    def _identified(self, checked_user: Future[UserRecord | None]) -> Decision:
        """Return who gave the right password, once that is known."""
        try:
            user = checked_user.result()
        except Throttled as exc:
            return exc.decision
        except PasswordBusy as exc:
            self._seldom.tell("passwords", "too busy with passwords: %s", exc)
            return Postpone(retry_after_s=BUSY_RETRY_S)
        except StoreBusy as exc:
            return later("users", exc)
        except (StoreError, LocalProtocolError) as exc:  # the latter: a damaged record
            return failed(exc)
        return Rejected() if user is None else Verified(user=user.name)

    def _digest(
        self, question: AuthenticateRequested, credentials: DigestCredentials
    ) -> Decision | Future[Decision]:
        attempt = self._back_off.digest(credentials.user, question.channel.peer_address)
        return self._gated(
            question, attempt, lambda: verify_digest(credentials, self._store, self._seldom)
        )

    def _looked_up(
        self, question: AuthenticateRequested, text: str, judge: Callable[[], Decision]
    ) -> Decision | Future[Decision]:
        attempt = self._back_off.looked_up(text, question.channel.peer_address)
        return self._gated(question, attempt, judge)

    def _gated(
        self, question: AuthenticateRequested, attempt: Attempt, judge: Callable[[], Decision]
    ) -> Decision | Future[Decision]:
        """Judge in a thread what may be judged, both now and when its turn comes."""
        gate = Gate(self._back_off, attempt)
        if (refusal := gate.refusal()) is not None:
            return refusal
        peer = question.channel.peer_address
        return self._look_ups.submit(lambda: gate.refusal() or gate.counted(judge()), peer=peer)

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
