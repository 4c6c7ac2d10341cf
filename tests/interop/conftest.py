"""One server, started once as an operator starts it, and the foreign clients that meet it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PeerFinder
from tests.deployment import Deployment, prepared, serving
from tests.interop.curl_peer import Curl
from tests.interop.java_peer import BouncyCastle
from tests.interop.openssl_peer import OpenSsl
from tests.interop.strongswan_peer import StrongSwan


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The server of all tests here; it must end with exit code 0."""
    with serving(prepared(tmp_path_factory.mktemp("operator") / "est")) as deployment:
        yield deployment


@pytest.fixture
def server(running_server: Deployment) -> Iterator[Deployment]:
    """The same server. What it logs during a test that fails is shown with it."""
    before = len(running_server.log.lines)
    yield running_server
    print(*running_server.log.lines[before:], sep="\n")


@pytest.fixture
def openssl(peer: PeerFinder, tmp_path: Path) -> OpenSsl:
    """The openssl program."""
    return OpenSsl(peer("openssl"), tmp_path)


@pytest.fixture
def curl(peer: PeerFinder, openssl: OpenSsl, server: Deployment, tmp_path: Path) -> Curl:
    """The curl program."""
    return Curl(peer("curl"), openssl, server, tmp_path)


@pytest.fixture
def strongswan(peer: PeerFinder, server: Deployment, tmp_path: Path) -> StrongSwan:
    """StrongSwan's pki program."""
    return StrongSwan(peer("pki"), server, tmp_path)


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Java classes are compiled to, once."""
    return tmp_path_factory.mktemp("classes")


@pytest.fixture
def bouncy_castle(
    peer: PeerFinder, server: Deployment, classes: Path, tmp_path: Path
) -> BouncyCastle:
    """Bouncy Castle's EST client."""
    return BouncyCastle(peer, server, classes, tmp_path)
