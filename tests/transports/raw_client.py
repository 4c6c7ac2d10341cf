"""A TLS client made of pyOpenSSL alone, which can resume sessions as ours will not."""

from __future__ import annotations

from contextlib import suppress

from OpenSSL import SSL

from est_transports.channel.tls import ServerContext, TlsEngine


class RawClient:
    """A client made of pyOpenSSL alone."""

    def __init__(
        self,
        server: ServerContext,
        context: SSL.Context,
        *,
        session: SSL.Session | None = None,
    ) -> None:
        self.context = context
        self.connection = SSL.Connection(self.context, None)
        self.connection.set_connect_state()
        if session is not None:
            self.connection.set_session(session)
        self.engine = TlsEngine(server)

    def shake_hands(self) -> None:
        """Run the handshake to its end."""
        for _ in range(6):
            with suppress(SSL.WantReadError):
                self.connection.do_handshake()
            self.to_server()
            self.engine.handshake()
            self.to_client()

    def to_server(self) -> None:
        """Deliver what the client has to say."""
        try:
            while True:
                self.engine.receive(self.connection.bio_read(65536))
        except SSL.WantReadError:
            pass

    def to_client(self) -> None:
        """Deliver what the server has to say."""
        data = self.engine.outgoing()
        if data:
            self.connection.bio_write(data)

    def finish(self) -> SSL.Session:
        """Exchange a message, close both ways, and return the session."""
        self.engine.write(b"x")
        self.to_client()
        assert self.connection.recv(10) == b"x"
        session = self.connection.get_session()
        assert session is not None
        self.connection.shutdown()
        self.to_server()
        assert self.engine.read() == b""
        self.engine.close()
        self.to_client()
        self.connection.shutdown()
        return session


def resumed(server: ServerContext, context: SSL.Context) -> RawClient:
    """Return a second connection that tried to resume the session of a first one."""
    first = RawClient(server, context)
    first.shake_hands()
    assert not first.engine.channel().resumed
    session = first.finish()
    second = RawClient(server, context, session=session)
    second.shake_hands()
    return second
