"""One login to one token, opened when it is first needed, and opened anew when it was lost.

A PIN is tried once. A token counts wrong ones and locks itself after a few, so a refused PIN is not
given to it again by this process; and a PIN that no person has typed is not tried at all where the
token says that it is the last try: a service that starts again and again would lock it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from est_transports.pki.pkcs11_uri import Pkcs11Uri, TokenError
from est_transports.pki.token_modules import load_module, thread_of
from est_transports.pki.token_pins import PIN_WRONG, Pin

if TYPE_CHECKING:
    from pkcs11 import Session, Token
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - it is a class

T = TypeVar("T")

_SHOWN: Final = 8

NO_TOKEN: Final = "token/not-found"
SEVERAL_TOKENS: Final = "token/ambiguous-token"
NO_PIN: Final = "token/no-pin"
PIN_LOCKED: Final = "token/pin-locked"
LAST_TRY: Final = "token/pin-last-try"
REMOVED: Final = "token/removed"
FAILED: Final = "token/failed"

_CODES: Final = {
    "PinIncorrect": (PIN_WRONG, "the token refuses the PIN, which is not tried again"),
    "PinInvalid": (PIN_WRONG, "the token refuses the PIN, which is not tried again"),
    "PinLenRange": (PIN_WRONG, "the PIN is shorter or longer than PINs of this token are"),
    "PinLocked": (PIN_LOCKED, "the token is locked after too many wrong PINs"),
    "PinExpired": (PIN_LOCKED, "the PIN has expired and has to be changed first"),
    "UserPinNotInitialized": (PIN_LOCKED, "the token has no PIN of a user yet"),
    "TokenNotPresent": (REMOVED, "the token is not in its slot"),
    "TokenNotRecognised": (REMOVED, "the token in the slot is not recognised"),
    "DeviceRemoved": (REMOVED, "the token was removed"),
    "SlotIDInvalid": (REMOVED, "the slot of the token is gone"),
}
"""Errors of python-pkcs11 that have a code and words of their own."""
_LOST: Final = frozenset(
    {
        "DeviceError",
        "DeviceRemoved",
        "KeyHandleInvalid",
        "ObjectHandleInvalid",
        "SessionClosed",
        "SessionHandleInvalid",
        "SlotIDInvalid",
        "TokenNotPresent",
        "UserNotLoggedIn",
    }
)
"""Those after which a new session may do: the token was away, or somebody has logged out."""
_PIN_REFUSED: Final = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange", "PinLocked"})


class TokenSession:
    """The token that a URI names, and a session there. All calls go through `run`."""

    def __init__(self, uri: Pkcs11Uri, module: Path, pin: Pin, *, answer_s: float) -> None:
        self._uri = uri
        self._module = module
        self._pin = pin
        self._answer_s = answer_s
        self._thread = thread_of(module)
        self._session: Session | None = None
        self._label_for_pin: str | None = None
        self._what = f"the token of {uri}"

    def run(self, function: Callable[[Session, str | None], T]) -> T:
        """Return what the function returns, called in the module's thread.

        It gets a session and the PIN, for keys that want that again for each signature. Where the
        session turns out to be lost, it is called once more with a new one. Raises TokenError.
        """
        if self._session is None:
            self._label_for_pin = self._call(self._prepare)
        pin = None
        if self._label_for_pin is not None:
            pin = self._pin.get(self._label_for_pin)  # not in the thread: a person takes time
        return self._call(lambda: self._run(function, pin))

    def close(self) -> None:
        """Log out and close the session, if there is one. Errors are not told."""
        with suppress(TokenError):
            self._call(self._forget)

    def _call(self, function: Callable[[], T]) -> T:
        return self._thread.call(function, self._answer_s, self._what)

    # --- In the thread of the module ---------------------------------------------------------

    def _run(self, function: Callable[[Session, str | None], T], pin: str | None) -> T:
        from pkcs11 import PKCS11Error

        is_new = self._session is None
        try:
            return function(self._opened(pin), pin)
        except PKCS11Error as exc:
            if is_new or type(exc).__name__ not in _LOST:
                raise self._error(exc) from exc
        self._forget()
        try:
            return function(self._opened(pin), pin)
        except PKCS11Error as exc:
            self._forget()
            raise self._error(exc) from exc

    def _prepare(self) -> str | None:
        """Return the label of the token if it wants a PIN from us. Raises TokenError."""
        token = self._found(load_module(self._module))
        return token.label if self._wants_pin(token) else None

    def _wants_pin(self, token: Token) -> bool:
        from pkcs11 import TokenFlag

        wants = token.flags & TokenFlag.LOGIN_REQUIRED
        pad = token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH
        return bool(wants) and not pad

    def _opened(self, pin: str | None) -> Session:
        if self._session is None:
            token = self._found(load_module(self._module))
            self._session = self._login(token, pin)
        return self._session

    def _login(self, token: Token, pin: str | None) -> Session:
        from pkcs11 import PKCS11Error, TokenFlag, UserAlreadyLoggedIn
        from pkcs11.types import PROTECTED_AUTH

        secret: str | object | None = pin
        if token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH:
            secret = PROTECTED_AUTH
        elif self._wants_pin(token):
            self._check_pin(token, pin)
        try:
            return token.open(rw=True, user_pin=secret)
        except UserAlreadyLoggedIn:  # by another session of this process
            return token.open(rw=True)
        except PKCS11Error as exc:
            if type(exc).__name__ in _PIN_REFUSED:
                self._pin.refuse()
            raise

    def _check_pin(self, token: Token, pin: str | None) -> None:
        """Refuse what would cost one of the few tries. Raises TokenError."""
        from pkcs11 import TokenFlag

        if token.flags & TokenFlag.USER_PIN_LOCKED:
            raise TokenError(PIN_LOCKED, f"{self._what}: {_CODES['PinLocked'][1]}")
        if pin is None:
            raise TokenError(NO_PIN, f"{self._what}: there is no PIN to log in with")
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY and not self._pin.is_typed:
            raise TokenError(
                LAST_TRY, f"{self._what}: one more wrong PIN locks it, and nobody typed this one"
            )

    def _found(self, library: Library) -> Token:
        """Return the one token that the URI means. Raises TokenError."""
        from pkcs11 import PKCS11Error, TokenFlag

        present: list[Token] = []
        try:
            for slot in library.get_slots(token_present=True):
                with suppress(PKCS11Error):  # taken out a moment ago, or not one we can use
                    present.append(slot.get_token())
        except PKCS11Error as exc:
            raise self._error(exc) from exc
        present = [each for each in present if each.flags & TokenFlag.TOKEN_INITIALIZED]
        fitting = [each for each in present if self._fits(library, each)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise TokenError(
                SEVERAL_TOKENS, f"{self._what}: {len(fitting)} tokens fit: {_shown(fitting)}"
            )
        there = f"there are {_shown(present)}" if present else "there is none at all"
        raise TokenError(NO_TOKEN, f"{self._what}: there is no such token; {there}")

    def _fits(self, library: Library, token: Token) -> bool:
        uri, slot = self._uri, token.slot
        pairs = (
            (uri.token, token.label),
            (uri.manufacturer, token.manufacturer_id),
            (uri.model, token.model),
            (uri.serial, _text(token.serial)),
            (uri.slot_manufacturer, slot.manufacturer_id),
            (uri.slot_description, slot.slot_description),
            (uri.slot_id, slot.slot_id),
            (uri.library_manufacturer, library.manufacturer_id),
            (uri.library_description, library.library_description),
            (_version(uri.library_version), library.library_version),
        )
        return all(wanted is None or wanted == found for wanted, found in pairs)

    def _forget(self) -> None:
        from pkcs11 import PKCS11Error

        session, self._session = self._session, None
        if session is not None:
            with suppress(PKCS11Error):
                session.close()

    def _error(self, exc: Exception) -> TokenError:
        name = type(exc).__name__
        said = " ".join(str(exc).split())
        code, text = _CODES.get(name, (FAILED, f"the module answers {name} {said}".rstrip()))
        return TokenError(code, f"{self._what}: {text}")


def _shown(tokens: list[Token]) -> str:
    names = [f"token={each.label!r} serial={_text(each.serial)!r}" for each in tokens[:_SHOWN]]
    more = [f"{len(tokens) - _SHOWN} more"] * (len(tokens) > _SHOWN)
    return ", ".join(names + more)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").rstrip(" \0")


def _version(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
