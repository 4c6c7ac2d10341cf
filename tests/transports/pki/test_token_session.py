"""What tokens answer that SoftHSM never does: locked, one try left, pulled, defective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11.types import PROTECTED_AUTH

from est_transports.pki import Pkcs11Uri, TokenError
from est_transports.pki.token_pins import AskPin, Pin
from est_transports.pki.token_session import TokenSession

Flag = pkcs11.TokenFlag
USUAL = Flag.TOKEN_INITIALIZED | Flag.LOGIN_REQUIRED


@dataclass
class FakeToken:
    """A token, its slot, its module and its sessions; what `fails` raises is raised once."""

    flags: int = USUAL
    fails: list[Exception] = field(default_factory=list)
    pins: list[object] = field(default_factory=list)
    closed: int = 0
    label: str = "fake"
    serial: bytes = b"1"
    manufacturer_id: str = ""
    model: str = ""
    slot_description: str = ""
    slot_id: int = 1
    library_description: str = ""
    library_version: tuple[int, int] = (1, 0)

    @property
    def slot(self) -> FakeToken:
        return self

    def get_slots(self, token_present: bool) -> list[FakeToken]:
        self._fail("slots")
        return [self]

    def get_token(self) -> FakeToken:
        return self

    def open(self, *, rw: bool, user_pin: object = None) -> FakeToken:
        self.pins.append(user_pin)
        self._fail("open")
        return self

    def use(self) -> str:
        self._fail("use")
        return "used"

    def close(self) -> None:
        self.closed += 1
        self._fail("close")

    def _fail(self, _where: str) -> None:
        if self.fails and self.fails[0].args == (_where,):
            raise self.fails.pop(0)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> FakeToken:
    found = FakeToken()
    monkeypatch.setattr("est_transports.pki.token_session.load_module", lambda _path: found)
    return found


def session(ask: AskPin | None = None, uri: str = "pkcs11:?pin-value=1234") -> TokenSession:
    place = Pkcs11Uri.parse(uri)
    return TokenSession(place, Path("/fake.so"), Pin(place, ask=ask), answer_s=60)


def use(opened: TokenSession) -> str:
    def does(found: Any, _pin: str | None) -> str:
        return str(found.use())

    return opened.run(does)


def code_of(does: Callable[[], object]) -> str:
    with pytest.raises(TokenError) as caught:
        does()
    assert "1234" not in caught.value.message
    return caught.value.code


def test_one_login_serves_many_uses_and_is_given_up_in_the_end(token: FakeToken) -> None:
    opened = session()
    assert [use(opened), use(opened)] == ["used", "used"]
    assert token.pins == ["1234"]
    opened.close()
    opened.close()
    assert token.closed == 1


def test_a_locked_token_is_not_asked(token: FakeToken) -> None:
    token.flags = USUAL | Flag.USER_PIN_LOCKED
    assert code_of(lambda: use(session())) == "token/pin-locked"
    assert token.pins == []


@pytest.mark.parametrize("error", ["PinLocked", "PinExpired", "UserPinNotInitialized"])
def test_a_token_that_takes_no_pin_is_told_from_a_wrong_pin(error: str, token: FakeToken) -> None:
    token.fails = [getattr(pkcs11, error)("open")]
    assert code_of(lambda: use(session())) == "token/pin-locked"


@pytest.mark.parametrize("error", ["PinIncorrect", "PinInvalid", "PinLenRange"])
def test_a_pin_that_was_refused_is_never_given_again(error: str, token: FakeToken) -> None:
    token.fails = [getattr(pkcs11, error)("open")]
    opened = session()
    assert [code_of(lambda: use(opened)) for _ in range(3)] == ["token/pin-wrong"] * 3
    assert token.pins == ["1234"]


def test_the_last_try_is_for_a_person(token: FakeToken) -> None:
    token.flags = USUAL | Flag.USER_PIN_FINAL_TRY
    assert code_of(lambda: use(session())) == "token/pin-last-try"
    assert token.pins == []
    assert use(session(lambda _label: "4321", "pkcs11:")) == "used"


def test_a_token_with_a_keypad_asks_for_the_pin_itself(token: FakeToken) -> None:
    token.flags = USUAL | Flag.PROTECTED_AUTHENTICATION_PATH
    assert use(session(uri="pkcs11:")) == "used"
    assert token.pins == [PROTECTED_AUTH]


def test_a_token_without_login_gets_no_pin(token: FakeToken) -> None:
    token.flags = Flag.TOKEN_INITIALIZED
    assert use(session(uri="pkcs11:")) == "used"
    assert token.pins == [None]


@pytest.mark.parametrize("error", ["DeviceRemoved", "TokenNotPresent", "SlotIDInvalid"])
def test_a_token_that_is_away_is_said_to_be(error: str, token: FakeToken) -> None:
    token.fails = [getattr(pkcs11, error)("open")]
    assert code_of(lambda: use(session())) == "token/removed"
    token.fails = [getattr(pkcs11, error)("slots")]
    assert code_of(lambda: use(session())) == "token/removed"


@pytest.mark.parametrize("error", ["DeviceRemoved", "SessionHandleInvalid", "UserNotLoggedIn"])
def test_a_session_that_was_lost_is_opened_anew_once(error: str, token: FakeToken) -> None:
    lost = getattr(pkcs11, error)
    opened = session()
    use(opened)
    token.fails = [lost("use")]
    assert use(opened) == "used"
    assert token.pins == ["1234", "1234"], "a PIN that was taken before"
    token.fails = [lost("use"), pkcs11.PKCS11Error("close"), lost("use")]
    assert code_of(lambda: use(opened)) in ("token/removed", "token/failed")
    assert use(opened) == "used"


def test_any_other_error_is_named(token: FakeToken) -> None:
    opened = session()
    use(opened)
    token.fails = [pkcs11.GeneralError("use")]
    with pytest.raises(TokenError, match="the module answers GeneralError") as caught:
        use(opened)
    assert caught.value.code == "token/failed"
    assert use(opened) == "used"
