"""The server's secret: its file, what is derived from it, and the texts that are hashed with it."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.authority.authentication.server_secret import (
    ServerSecret,
    canonical_code,
    new_code,
    new_token,
)
from est_transports.pki.trust import CredentialFileError
from tests.reached import reached, reaches

KEY: Final = bytes(range(32))


def test_a_file_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "auth-secret.key"
    old = os.umask(0)
    try:
        made = ServerSecret.load_or_make(path, os.urandom)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ServerSecret.load_or_make(path, lambda _: pytest.fail("made again")) == made
    assert os.listdir(tmp_path) == ["auth-secret.key"]
    assert made.key.hex() not in repr(made)


def test_of_many_who_make_it_at_once_all_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "auth-secret.key"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ServerSecret.load_or_make(path, os.urandom), range(32)))
    assert len({each.key for each in made}) == 1
    assert os.listdir(tmp_path) == ["auth-secret.key"]


@pytest.mark.parametrize("content", [b"", b"ab", b"g" * 64, b"ab" * 33, b"\xff" * 64])
def test_a_file_that_is_no_secret_is_refused_and_left_as_it_is(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "auth-secret.key"
    path.write_bytes(content)
    with pytest.raises(CredentialFileError, match="secret"):
        ServerSecret.load_or_make(path, os.urandom)
    assert path.read_bytes() == content


def test_a_place_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(CredentialFileError, match="No such file or directory"):
        ServerSecret.load_or_make(tmp_path / "none" / "auth-secret.key", os.urandom)
    with pytest.raises(CredentialFileError, match="Is a directory"):
        ServerSecret.load_or_make(tmp_path, os.urandom)


def test_what_is_derived_is_different_for_each_purpose_and_key() -> None:
    code = new_code(bytes)
    found = set()
    for key in (KEY, KEY[::-1]):
        secret = ServerSecret(key=key)
        found |= {
            secret.nonce_key(),
            secret.simulation_key(),
            secret.token_digest(code),
            secret.code_digest(code),
        }
    assert len(found) == 8
    with pytest.raises(LocalProtocolError):
        ServerSecret(key=KEY[1:])


def test_a_token_and_a_code_have_the_entropy_of_a_key() -> None:
    assert new_token(bytes) == "est_" + "A" * 43
    assert new_code(lambda size: b"\xff" * size) == "7ZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-Z"
    assert len({new_code(os.urandom) for _ in range(1000)}) == 1000


@reaches(spelled=50)
@given(number=st.binary(min_size=16, max_size=16), data=st.data())
def test_a_code_has_one_spelling_for_all_that_a_person_writes(
    number: bytes, data: st.DataObject
) -> None:
    code = new_code(lambda _: number)
    alike = {"0": "0oO", "1": "1iIlL", "-": "- "}
    written = "".join(
        data.draw(st.sampled_from(alike.get(letter, letter + letter.lower()))) for letter in code
    )
    if written != code:
        reached("spelled")
    assert canonical_code(written) == canonical_code(code) == code.replace("-", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 25,
        "A" * 27,
        "U" * 26,
        "é" * 26,
        "ſ" * 26,  # which is S in upper case
        "A" * 26 + "\n",
        "A" * 26 + "-" * 27,
        "-" * 53,
        "correct horse",
    ],
)
def test_what_is_no_code_has_no_spelling_and_no_hash(text: str) -> None:
    assert canonical_code("a-" * 26) == "A" * 26
    assert canonical_code(text) is None
    assert ServerSecret(key=KEY).code_digest(text) is None
