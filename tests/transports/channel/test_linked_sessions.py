"""Linking over real connections of TLS 1.2, full and resumed: which Finished message counts."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator

import pytest
from OpenSSL import SSL

from est_core import EnrollRequested, default_policy
from est_transports.http.settings import ServiceConfig
from tests.core.cast import csr_der
from tests.pki import pki
from tests.transports.sockets_site import TIMEOUT_S, Running, running
from tests.transports.tls_pair import V12, a_server


class Client:
    """One connection of pyOpenSSL's, which tells both Finished messages and resumes sessions."""

    def __init__(
        self, est: Running, context: SSL.Context, session: SSL.Session | None = None
    ) -> None:
        sock = socket.create_connection(("127.0.0.1", est.port), TIMEOUT_S)
        sock.setblocking(True)
        self._sock = sock
        self.connection = SSL.Connection(context, sock)
        self.connection.set_connect_state()
        if session is not None:
            self.connection.set_session(session)
        self.connection.do_handshake()

    def enroll(self, challenge: bytes | None) -> str:
        """Return the status and the body of the answer to a request that this links."""
        text = None if challenge is None else b64encode(challenge).decode()
        body = b64encode(csr_der(challenge=text))
        self.connection.sendall(
            b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/pkcs10\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.connection.recv(65536)
        head, _, rest = answer.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(rest) < size:
            rest += self.connection.recv(65536)
        return (head.split(b" ", 2)[1] + b" " + rest).decode()

    def close(self) -> SSL.Session:
        """Close the connection as one does whose session is to be resumed."""
        session = self.connection.get_session()
        assert session is not None
        self.connection.shutdown()
        self._sock.close()
        return session

    @property
    def finished(self) -> tuple[bytes, bytes]:
        """The client's Finished message, and the server's."""
        mine, theirs = self.connection.get_finished(), self.connection.get_peer_finished()
        assert mine is not None
        assert theirs is not None
        return mine, theirs


@pytest.fixture
def context() -> SSL.Context:
    """What a client of the EST CA has, with the sessions of its connections."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(pki().client.chain[0])
    context.use_privatekey(pki().client.key)  # type: ignore[arg-type]  # P-256
    return context


@pytest.fixture
def est() -> Iterator[Running]:
    """A server that requires linking and resumes sessions."""
    tls = a_server(version=V12, resumption=True)
    config = ServiceConfig(policy=default_policy(require_pop=True))
    with running(config=config, context_source=lambda: tls) as est:
        yield est


@pytest.mark.req("CB-002", "CB-003", "CB-004", "EST-136")
def test_a_request_is_linked_by_the_first_finished_message_which_a_resumed_session_flips(
    est: Running, context: SSL.Context
) -> None:
    full = Client(est, context)
    mine, theirs = full.finished
    assert full.enroll(theirs).startswith("403 ")
    assert full.enroll(mine).startswith("200 ")
    resumed = Client(est, context, full.close())
    assert resumed.finished != (mine, theirs)
    refused = resumed.enroll(mine)
    assert refused.startswith("403 "), "the value of the session's first connection"
    mine, theirs = resumed.finished
    refused = resumed.enroll(mine)
    assert refused.startswith("403 ")
    assert "in a resumed session the server's Finished message is the first" in refused
    assert resumed.enroll(theirs).startswith("200 ")
    resumed.close()
    questions = [each for each in est.application.asked if isinstance(each, EnrollRequested)]
    assert [(each.linked, each.channel.resumed) for each in questions] == [
        (True, False),
        (True, True),
    ]
    assert questions[0].identity.certificate == questions[1].identity.certificate


@pytest.mark.req("CB-002")
def test_without_resumption_each_connection_has_a_handshake_of_its_own(
    context: SSL.Context,
) -> None:
    tls = a_server(version=V12)
    config = ServiceConfig(policy=default_policy(require_pop=True))
    with running(config=config, context_source=lambda: tls) as est:
        full = Client(est, context)
        again = Client(est, context, full.close())
        mine, theirs = again.finished
        assert again.enroll(theirs).startswith("403 ")
        assert again.enroll(mine).startswith("200 ")
        again.close()
