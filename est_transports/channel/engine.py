"""One end of a channel, of TLS or DTLS: how far its handshake is, what broke it, and its facts.

An end is NEW, then in its HANDSHAKE, then OPEN; from each of them it may come to FAILED, and from
there to nothing else. That is enough for both protocols: what a peer may say in which order is
OpenSSL's to judge, and what is left is when to ask for the facts (once, between HANDSHAKE and
OPEN: they can still refuse the peer), and that one failure is told again to whoever goes on.
Closing is no state: who has said close_notify can read what the peer still says.
"""

from __future__ import annotations

from enum import Enum, unique

from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.channel import Channel
from est_transports.channel.errors import HANDSHAKE_TOO_LARGE, TlsError
from est_transports.channel.facts import (
    ChannelRules,
    channel_facts,
    handshake_error,
    name_the_server,
)
from est_transports.channel.verification import VerificationRecord


@unique
class State(Enum):
    """How far one end of a channel is."""

    NEW = "new"
    HANDSHAKE = "handshake"
    OPEN = "open"
    FAILED = "failed"


class Engine:
    """What `TlsEngine` and `DtlsEngine` have in common. Not for two threads at a time."""

    __slots__ = (
        "_channel",
        "_connection",
        "_failure",
        "_handshake_bytes",
        "_peer_closed",
        "_record",
        "_rules",
        "_state",
        "_we_closed",
    )

    def __init__(
        self, context: SSL.Context, rules: ChannelRules, record: VerificationRecord
    ) -> None:
        self._rules = rules
        self._record = record
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(record)
        self._state = State.NEW
        self._failure: TlsError | None = None
        self._channel: Channel | None = None
        self._handshake_bytes = 0
        self._peer_closed = False
        self._we_closed = False
        if rules.is_client:
            self._connection.set_connect_state()
            name_the_server(self._connection, rules.server_name)
        else:
            self._connection.set_accept_state()

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is over, False when it needs more of the peer.

        A client begins with the first call. On its side True does not mean that the server
        accepted our certificate: in TLS 1.3 its refusal comes with the first `read`, as
        TlsError("tls/peer-refused-certificate").
        """
        if self._state in (State.NEW, State.HANDSHAKE):
            self._advance()
        self._check_failure()
        return self._state is State.OPEN

    def channel(self) -> Channel:
        """Return the facts about this channel, after the handshake."""
        if self._channel is None:
            raise LocalProtocolError("there is no channel before the handshake is over")
        return self._channel

    def close(self) -> None:
        """Say close_notify, once. What the peer still sends can be read.

        RFC 8446 6.1, RFC 5246 7.2.1.
        """
        if self._state is State.OPEN and not self._we_closed:
            self._we_closed = True
            self._send_close_notify()

    def _advance(self) -> None:
        """Take the handshake as far as it goes. Does not raise: it may fail."""
        self._state = State.HANDSHAKE
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as exc:
            self._fail(handshake_error(exc, self._rules, self._record), exc)
            return
        try:
            self._channel = channel_facts(self._connection, self._rules)
        except TlsError as exc:
            self._refuse_peer()
            self._fail(exc)
            return
        self._state = State.OPEN

    def _refuse_peer(self) -> None:
        """See to it that the peer does not take the handshake, which is over, for a success."""
        raise NotImplementedError

    def _send_close_notify(self) -> None:
        """Have OpenSSL say close_notify."""
        raise NotImplementedError

    def _count_handshake(self, size: int, bytes_max: int) -> None:
        """Count what came before the handshake was over; past `bytes_max` it has failed."""
        self._handshake_bytes += size
        if self._handshake_bytes > bytes_max:
            message = f"the peer sent more than {bytes_max} bytes and no handshake"
            self._fail(TlsError(HANDSHAKE_TOO_LARGE, message))

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _check_open(self) -> None:
        self._check_failure()
        if self._state is not State.OPEN:
            raise LocalProtocolError("the handshake is not over")

    def _check_writable(self) -> None:
        self._check_open()
        if self._we_closed:
            raise LocalProtocolError("nothing can be written after close")

    def _fail(self, failure: TlsError, cause: SSL.Error | None = None) -> TlsError:
        if cause is not None:
            failure.__cause__ = cause
        self._failure = failure
        self._state = State.FAILED
        return failure
