"""The guide's users of an LDAP directory, against OpenLDAP's slapd."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Postpone, Rejected, Verified
from tests.conftest import PeerFinder, is_installed
from tests.interop.directory_peers import (
    BASE,
    account,
    asked,
    free_port,
    slapd,
    users_of_the_guide,
)
from tests.pki import pki

LOCKED: Final = "pwdAccountLockedTime: 000001010000Z"
EXPIRED: Final = "pwdChangedTime: 20200101000000Z"
ACCOUNTS: Final = "".join(
    (
        account("device-1", "secret"),
        account("gerät-ß", "pässwörd"),
        account("locked", "secret", LOCKED),
        account("expired", "secret", EXPIRED),
        account("twice", "secret"),
        account("twice", "secret", base=f"ou=others,{BASE}"),
        account(r"a\2Cb", "secret"),  # in a DN; its uid is "a,b"
    )
).replace(r"uid: a\2Cb", "uid: a,b")
QUICK_S: Final = 0.3
STARTS_TLS: Final = bytes.fromhex("300c 020101 7807 0a0100 0400 0400")
"""That the first message, which asks for StartTLS, is granted. RFC 4511 4.14.2."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a directory, where there can be one."""
    if not all(map(is_installed, ("slapd", "slapadd", "module:ldap"))):
        yield 0
        return
    with slapd(tmp_path_factory.mktemp("ldap") / "slapd", pki().server, ACCOUNTS) as found:
        yield found


@pytest.fixture(scope="module")
def anchors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the directory's certificate is verified with."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    file.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    return file


def users(peer: PeerFinder, port: int, ca_file: Path, timeout_s: float = 30) -> Any:
    """Return the guide's users of a directory."""
    for each in ("module:ldap", "slapd", "slapadd"):
        peer(each)
    address = ("127.0.0.1", port)
    return users_of_the_guide("ldap_users.py", "LdapUsers", address, BASE, str(ca_file), timeout_s)


def test_a_password_is_good_where_the_directory_lets_its_user_bind(
    peer: PeerFinder, port: int, anchors: Path
) -> None:
    directory = users(peer, port, anchors)
    assert asked(directory, "device-1", "secret") == Verified(user="device-1")
    assert asked(directory, "device-1", "guess") == Rejected()
    assert asked(directory, "nobody", "secret") == Rejected()


@pytest.mark.parametrize(
    ("name", "password", "known_as"),
    [
        ("DEVICE-1", "secret", "device-1"),  # LDAP takes it; what is recorded is one name
        ("gerät-ß", "pässwörd", "gerät-ß"),
        ("a,b", "secret", "a,b"),
    ],
)
def test_the_user_is_called_as_the_directory_calls_it(
    peer: PeerFinder,
    port: int,
    anchors: Path,
    name: str,
    password: str,
    known_as: str,
) -> None:
    assert asked(users(peer, port, anchors), name, password) == Verified(user=known_as)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("device-1", "", id="no password: a bind as nobody, which this slapd allows"),
        pytest.param("", "secret", id="no name"),
        pytest.param("*", "secret", id="any name"),
        pytest.param("device-*", "secret", id="part of a name"),
        pytest.param("device-1)(uid=*", "secret", id="a condition more"),
        pytest.param("*)(objectClass=*))(|(uid=*", "secret", id="another filter"),
        pytest.param("device-1\\", "secret", id="an escape that is cut"),
        pytest.param("device-1\0", "secret", id="NUL"),
        pytest.param(f"uid=device-1,{BASE}", "secret", id="a DN"),
        pytest.param("x" * 100_000, "secret", id="a long name"),
        pytest.param("device-1", "x" * 100_000, id="a long password"),
        pytest.param("gerat-ss", "pässwörd", id="nearly that name"),
        pytest.param("gerät-ß", "password", id="nearly that password"),
        pytest.param("locked", "secret", id="an account that is locked"),
        pytest.param("expired", "secret", id="a password that has expired"),
        pytest.param("twice", "secret", id="two accounts of one name"),
    ],
)
def test_nobody_else_gets_in_and_nothing_breaks(
    peer: PeerFinder, port: int, anchors: Path, name: str, password: str
) -> None:
    assert asked(users(peer, port, anchors), name, password) == Rejected()


def test_a_directory_that_is_another_gets_no_password(
    peer: PeerFinder, port: int, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(pki().rogue.certificate.public_bytes(Encoding.PEM))
    assert isinstance(asked(users(peer, port, other), "device-1", "secret"), Postpone)


def test_a_directory_that_is_dead_makes_clients_come_later(peer: PeerFinder, anchors: Path) -> None:
    directory = users(peer, free_port(), anchors, QUICK_S)
    assert isinstance(asked(directory, "device-1", "secret"), Postpone)


@pytest.mark.parametrize("says", [b"", STARTS_TLS], ids=["at once", "in the TLS handshake"])
def test_a_directory_that_falls_silent_makes_clients_come_later(
    peer: PeerFinder, anchors: Path, says: bytes
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        directory = users(peer, listener.getsockname()[1], anchors, QUICK_S)
        with ThreadPoolExecutor(1) as pool:
            decision = pool.submit(asked, directory, "device-1", "secret")
            silent, _ = listener.accept()
            with closing(silent):
                assert silent.recv(1024)
                silent.sendall(says)
                assert isinstance(decision.result(30), Postpone)
