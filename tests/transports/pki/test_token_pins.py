"""The PIN of a token: where it may be, who may read it, and who is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from est_transports.pki import Pkcs11Uri, TokenError
from est_transports.pki.token_pins import Pin, pin_file_of, read_pin_file


@pytest.fixture
def pin_file(tmp_path: Path) -> Path:
    path = tmp_path / "the pin"
    path.write_text("1234\nsecond line\n")
    path.chmod(0o600)
    return path


def refused(path: Path) -> str:
    with pytest.raises(TokenError) as caught:
        read_pin_file(path)
    assert caught.value.code == "token/pin-source"
    assert "1234" not in caught.value.message
    return caught.value.message


def test_the_first_line_of_a_file_is_the_pin(pin_file: Path) -> None:
    assert read_pin_file(pin_file) == "1234"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_use_holds_no_pin(pin_file: Path, mode: int) -> None:
    pin_file.chmod(mode)
    assert f"(mode {mode:04o})" in refused(pin_file)


@pytest.mark.parametrize("content", [b"", b"\n1234", b"1" * 256, b"\xff\n"])
def test_a_first_line_that_is_no_pin_is_refused(pin_file: Path, content: bytes) -> None:
    pin_file.write_bytes(content)
    assert "its first line" in refused(pin_file)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing")
    assert "Is a directory" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "no regular file" in refused(tmp_path / "pipe")


@pytest.mark.parametrize(
    "source", ["file:/a%20b", "/a b", "FILE:/a%20b", "file:///a%20b", "file://localhost/a%20b"]
)
def test_a_source_is_a_path_or_a_file_uri(source: str) -> None:
    assert pin_file_of(source) == Path("/a b")


@pytest.mark.parametrize(
    "source", ["|cat /pin", "pin", "file:pin", "file://host/pin", "https://host/pin", "file:/a?b",
               "file:/a%00b"]
)  # fmt: skip
def test_a_command_and_what_is_no_file_here_are_refused(source: str) -> None:
    with pytest.raises(TokenError) as caught:
        pin_file_of(source)
    assert caught.value.code == "token/pin-source"


def test_a_command_is_said_not_to_be_run() -> None:
    with pytest.raises(TokenError, match="commands are not run for a PIN"):
        pin_file_of("|/bin/cat /pin")


def test_a_pin_is_looked_for_once_where_it_was_said_to_be(pin_file: Path) -> None:
    source = Pkcs11Uri(pin_source=f"{pin_file}")
    pin = Pin(source, ask=lambda _: "asked")
    assert pin.get("t") == "1234"
    pin_file.unlink()
    assert pin.get("t") == "1234"
    assert not pin.is_typed
    assert Pin(Pkcs11Uri(pin_value="5"), ask=None).get("t") == "5"


def test_an_option_counts_more_than_the_uri(pin_file: Path) -> None:
    assert Pin(Pkcs11Uri(pin_value="5"), file=pin_file).get("t") == "1234"


def test_a_person_is_asked_once_where_nothing_else_is_said() -> None:
    asked: list[str] = []

    def ask(label: str) -> str | None:
        asked.append(label)
        return "9" * len(asked)

    pin = Pin(Pkcs11Uri(), ask=ask)
    assert [pin.get("my token"), pin.get("my token")] == ["9", "9"]
    assert (asked, pin.is_typed) == (["my token"], True)
    assert "9" not in repr(pin)


def test_without_anybody_to_ask_there_is_none() -> None:
    assert Pin(Pkcs11Uri()).get("t") is None
    pin = Pin(Pkcs11Uri(), ask=lambda _: None)
    assert (pin.get("t"), pin.is_typed) == (None, False)
