"""The guide's users of a RADIUS server, against FreeRADIUS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from est_core import Postpone, Rejected, Verified
from tests.conftest import PeerFinder, is_installed
from tests.interop.directory_peers import SECRET, asked, freeradius, users_of_the_guide

USERS: Final = {
    "device-1": 'Cleartext-Password := "secret"',
    "gerät-ß": 'Cleartext-Password := "pässwörd"',
    "expired": 'Cleartext-Password := "secret", Expiration := "1 Jan 2020"',
    "locked": "Auth-Type := Reject",
    "x" * 253: f'Cleartext-Password := "{"y" * 128}"',
}
QUICK_S: Final = 0.3


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a RADIUS server, where there can be one."""
    if not all(map(is_installed, ("freeradius", "module:pyrad"))):
        yield 0
        return
    with freeradius(tmp_path_factory.mktemp("radius") / "freeradius", USERS) as found:
        yield found


def users(peer: PeerFinder, port: int, secret: bytes = SECRET, timeout_s: float = 15) -> Any:
    """Return the guide's users of a RADIUS server."""
    peer("module:pyrad")
    peer("freeradius")
    arguments = ("127.0.0.1", port, secret, timeout_s)
    return users_of_the_guide("radius_users.py", "RadiusUsers", *arguments)


@pytest.mark.parametrize(
    ("name", "password"),
    [("device-1", "secret"), ("gerät-ß", "pässwörd"), ("x" * 253, "y" * 128)],
)
def test_a_password_is_good_where_the_server_accepts_it(
    peer: PeerFinder, port: int, name: str, password: str
) -> None:
    assert asked(users(peer, port), name, password) == Verified(user=name)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("device-1", "guess", id="a wrong password"),
        pytest.param("device-1", "", id="no password"),
        pytest.param("", "secret", id="no name"),
        pytest.param("nobody", "secret", id="nobody"),
        pytest.param("expired", "secret", id="an account that has expired"),
        pytest.param("locked", "secret", id="an account that is locked"),
        pytest.param("x" * 254, "y" * 128, id="a name with no room in the request"),
        pytest.param("ä" * 127, "secret", id="a name with no room in UTF-8"),
        pytest.param("x" * 253, "y" * 129, id="a password with no room in the request"),
        pytest.param("gerät-ß", "password", id="nearly that password"),
        pytest.param("%{User-Password}", "secret", id="what FreeRADIUS expands in its own files"),
    ],
)
def test_nobody_else_gets_in_and_nothing_breaks(
    peer: PeerFinder, port: int, name: str, password: str
) -> None:
    assert asked(users(peer, port), name, password) == Rejected()


def test_with_another_shared_secret_clients_come_later(peer: PeerFinder, port: int) -> None:
    other = users(peer, port, b"not the shared secret", QUICK_S)
    assert isinstance(asked(other, "device-1", "secret"), Postpone)


def test_an_answer_without_message_authenticator_lets_nobody_in(
    peer: PeerFinder, tmp_path: Path
) -> None:
    """Whoever is on the way can forge one: BlastRADIUS, CVE-2024-3596."""
    users(peer, 1)
    with freeradius(tmp_path / "freeradius", USERS, signs=False) as unsigned:
        decision = asked(users(peer, unsigned, timeout_s=QUICK_S), "device-1", "secret")
    assert isinstance(decision, Postpone)


def test_a_server_that_is_dead_or_hangs_makes_clients_come_later(peer: PeerFinder) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        assert isinstance(asked(users(peer, port, timeout_s=QUICK_S), "a", "b"), Postpone)
    assert isinstance(asked(users(peer, port, timeout_s=QUICK_S), "a", "b"), Postpone)
