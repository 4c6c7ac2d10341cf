"""Resumed sessions of TLS 1.2 with foreign programs: whose Finished message is the first, flips."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Channel
from est_transports import _clock
from est_transports.channel import server_engine
from est_transports.channel.tls import TlsError
from est_transports.on_sockets import TlsSocket
from tests.conftest import PeerFinder
from tests.pki import pki
from tests.programs import run
from tests.transports.sockets_site import TIMEOUT_S, soon
from tests.transports.tls_pair import V12, a_server

CONNECTIONS = 2
FINISHED = re.compile(
    rb"^(>>>|<<<) TLS 1\.2, Handshake \[length 0010\], Finished\n +14 00 00 0c ([0-9a-f ]+)$",
    re.MULTILINE,
)
BINDING = re.compile(rb"'tls-unique': ([0-9a-f]+)")


@contextmanager
def resuming_server(channels: list[Channel]) -> Iterator[str]:
    """A server that resumes sessions, for two connections, one after the other; its port."""
    context = a_server(version=V12, resumption=True)

    def serve(listener: socket.socket) -> None:
        for _ in range(CONNECTIONS):
            sock, _ = listener.accept()
            with sock, suppress(TlsError, OSError):
                stream = TlsSocket(sock, server_engine(context), _clock.instant)
                channels.append(stream.do_handshake(soon()))
                stream.receive_some(soon())  # a client that just vanishes resumes nothing
                stream.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield str(listener.getsockname()[1])
        thread.join(TIMEOUT_S)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    """The file of the CA."""
    path = tmp_path / "ca.pem"
    path.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    return str(path)


@pytest.mark.req("CB-002", "CB-003", "CB-004", "CB-020")
def test_openssl_sends_or_gets_first_what_our_server_takes_for_tls_unique(
    peer: PeerFinder, ca: str, tmp_path: Path
) -> None:
    channels: list[Channel] = []
    seen = []
    with resuming_server(channels) as port:
        for option in ("-sess_out", "-sess_in"):
            session = (option, str(tmp_path / "session"))
            where = ("-connect", f"127.0.0.1:{port}", "-CAfile", ca, "-tls1_2", "-msg")
            done = run(peer("openssl"), "s_client", *where, *session, stdin=b"x\n").checked()
            seen.append(FINISHED.findall(done.out))
    (first, _), (first_resumed, _) = seen
    assert [channel.resumed for channel in channels] == [False, True]
    assert (first[0], first_resumed[0]) == (b">>>", b"<<<"), "the client's, then the server's"
    for channel, (_, text) in zip(channels, (first, first_resumed), strict=True):
        assert channel.binding is not None
        assert channel.binding.data == bytes.fromhex(text.decode())


@pytest.mark.req("CB-002", "CB-003", "CB-004", "CB-020")
def test_gnutls_has_the_same_tls_unique_in_both_sessions(peer: PeerFinder, ca: str) -> None:
    channels: list[Channel] = []
    with resuming_server(channels) as port:
        only = ("--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2", "--x509cafile", ca)
        done = run(
            peer("gnutls-cli"), "--resume", "--verbose", *only, "-p", port, "localhost",
            stdin=b"x\n",
        )  # fmt: skip
    assert [channel.resumed for channel in channels] == [False, True], done
    told = [bytes.fromhex(text.decode()) for text in BINDING.findall(done.out)]
    assert told == [channel.binding and channel.binding.data for channel in channels]
    assert told[0] != told[1]
