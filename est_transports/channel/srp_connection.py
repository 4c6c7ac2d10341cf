"""tlslite-ng over bytes in memory: handshakes of TLS-SRP, records, and what they come to.

tlslite-ng is the only TLS with SRP that Python has. Its connections are generators over a
socket; here the socket is a piece of memory, and a generator that would wait for it returns. What
a peer can do to it is tlslite-ng's to find out, and whatever it raises becomes a TlsError.
Imported where somebody wants TLS-SRP: the extra `srp` brings tlslite-ng.
"""

from __future__ import annotations

import errno
import logging
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Final

from tlslite.constants import AlertDescription, AlertLevel
from tlslite.errors import (
    TLSAbruptCloseError,
    TLSInsufficientSecurity,
    TLSLocalAlert,
    TLSRemoteAlert,
)
from tlslite.handshakesettings import HandshakeSettings
from tlslite.messages import Alert, Finished
from tlslite.tlsconnection import TLSConnection
from tlslite.utils.dns_utils import is_valid_hostname

from est_core.channel import (
    TLS_UNIQUE_BYTES,
    BindingKind,
    Channel,
    ChannelBinding,
    TlsVersion,
)
from est_transports.channel.client_hello import SRP_SUITES
from est_transports.channel.errors import (
    CLOSED,
    HANDSHAKE,
    NO_SHARED_CIPHER,
    PROTOCOL,
    SRP_REFUSED,
    SRP_THROTTLED,
    TRUNCATED,
    VERSION,
    TlsError,
)
from est_transports.channel.srp_users import SrpEntry, SrpLogin, SrpServerConfig, srp_entry
from est_transports.pki.host_verification import ip_literal
from est_transports.pki.srp_verifiers import srp_identity

_log: Final = logging.getLogger("est_transports")

_TLS_1_2: Final = (3, 3)
_KEY_BITS_MAX: Final = 8192
_SECRETS_DIFFER: Final = frozenset(
    {
        AlertDescription.bad_record_mac,
        AlertDescription.decryption_failed,
        AlertDescription.decrypt_error,
    }
)
"""What a Finished under another key comes to."""
_REFUSALS: Final = _SECRETS_DIFFER | {AlertDescription.unknown_psk_identity}
"""What a server says of a wrong password, or of a name that it does not know. RFC 5054 2.9."""

_NOT_SPOKEN: Final = {
    AlertDescription.handshake_failure: (
        NO_SHARED_CIPHER,
        "the peer does not speak TLS-SRP on this port, or no suite of it in common",
    ),
    AlertDescription.protocol_version: (
        VERSION,
        "the peer does not speak TLS 1.2, which TLS-SRP needs",
    ),
}

_Steps = Iterator[Any]


class Connection(TLSConnection):  # type: ignore[misc]
    """A connection of tlslite-ng that keeps the first Finished, which is tls-unique. RFC 5929 3."""

    def __init__(self, sock: Memory) -> None:
        super().__init__(sock)
        self.closeSocket: bool = False
        self.first_finished: bytes = b""

    def say_close(self) -> _Steps:
        """Say close_notify; unlike `closeAsync`, what the peer still says can be read."""
        alert = Alert().create(AlertDescription.close_notify, AlertLevel.warning)
        yield from self._sendMsg(alert)

    def _sendMsg(self, msg: Any, *args: Any, **options: Any) -> _Steps:  # noqa: N802
        self._note(msg)
        yield from super()._sendMsg(msg, *args, **options)

    def _getMsg(self, *args: Any, **options: Any) -> _Steps:  # noqa: N802
        for result in super()._getMsg(*args, **options):
            self._note(result)
            yield result

    def _note(self, message: object) -> None:
        if isinstance(message, Finished) and not self.first_finished:
            self.first_finished = bytes(message.verify_data)


class Memory:
    """What tlslite-ng takes for a socket that does not block: bytes that came, bytes to go."""

    def __init__(self) -> None:
        self.incoming: bytearray = bytearray()
        self.outgoing: bytearray = bytearray()
        self.is_over: bool = False

    def recv(self, size: int) -> bytes:
        """Return bytes that came; b"" at the end of the stream."""
        if not self.incoming and not self.is_over:
            raise OSError(errno.EWOULDBLOCK, "nothing has come")
        taken = bytes(self.incoming[:size])
        del self.incoming[:size]
        return taken

    def send(self, data: bytes) -> int:
        """Take all of it."""
        self.outgoing += data
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Take all of it."""
        self.outgoing += data

    def close(self) -> None:
        """Do nothing: whoever has the real socket closes it."""


class SrpEnd:
    """One end of a TLS-SRP connection. `memory` is where its bytes come from and go to.

    `user` is who logs in. Its methods raise TlsError for whatever the peer does.
    """

    user: str = ""

    def __init__(self) -> None:
        self.memory: Memory = Memory()
        self._connection = Connection(self.memory)
        self._handshake: _Steps = iter(())
        self._is_open = False
        self._reading: _Steps | None = None

    def shake_hands(self) -> bool:
        """Go on with the handshake; True when it is over, False when it needs more bytes."""
        try:
            self._is_open = _is_over(self._handshake)
        except Exception as exc:  # whatever tlslite-ng makes of strange bytes
            raise self._handshake_error(exc) from exc
        if self._is_open:
            self._connection.heartbeat_supported = False  # it answers them, asked to or not
        return self._is_open

    def read(self, bytes_max: int) -> bytes | None:
        """Return what the peer wrote, None when more has to come, b"" after its close_notify."""
        if self._reading is None:
            self._reading = self._connection.readAsync(bytes_max)
        try:
            result = next(self._reading)
        except Exception as exc:  # as above
            raise _tls_error(exc, PROTOCOL) from exc
        if isinstance(result, bytes):
            self._reading = None
            return result
        return None

    def write(self, data: bytes) -> None:
        """Encrypt."""
        self._do(lambda: self._connection.writeAsync(data))

    def say_close(self) -> None:
        """Say close_notify."""
        if not self._connection.closed:
            self._do(self._connection.say_close)

    def channel(self, *, require_ems: bool) -> Channel:
        """Return the facts of the connection, after the handshake."""
        session = self._connection.session
        if session.cipherSuite not in SRP_SUITES or self._connection.version != _TLS_1_2:
            raise TlsError(HANDSHAKE, "the peer chose a suite that was not offered")
        ems = bool(session.extendedMasterSecret)
        first = self._connection.first_finished
        usable = (ems or not require_ems) and len(first) == TLS_UNIQUE_BYTES
        return Channel(
            version=TlsVersion.TLS_1_2,
            binding=ChannelBinding(kind=BindingKind.TLS_UNIQUE, data=first) if usable else None,
            extended_master_secret=ems,
            user=self.user,
        )

    def _do(self, work: Callable[[], _Steps]) -> None:
        try:
            for _ in work():  # memory takes everything: it never waits
                pass
        except Exception as exc:  # as above
            raise _tls_error(exc, PROTOCOL) from exc

    def _handshake_error(self, error: Exception) -> TlsError:
        return _tls_error(error, HANDSHAKE)


class SrpClientEnd(SrpEnd):
    """The end that logs in."""

    def __init__(self, login: SrpLogin, server_name: str) -> None:
        super().__init__()
        self.user: str = login.name
        name, password = srp_identity(login.name, login.password)
        host = server_name.rstrip(".")
        self._handshake = self._connection.handshakeClientSRP(
            bytearray(name),
            bytearray(password),
            settings=_settings(login.bits_min),
            serverName=host if is_valid_hostname(host) and not ip_literal(host) else "",
            async_=True,
        )

    def _handshake_error(self, error: Exception) -> TlsError:
        if isinstance(error, TLSRemoteAlert):
            if error.description in _REFUSALS:
                return TlsError(SRP_REFUSED, "the server refused the SRP name or password")
            if error.description == AlertDescription.insufficient_security:
                message = "the server takes no attempt for that SRP name now, or a larger group"
                return TlsError(SRP_THROTTLED, message)
        return super()._handshake_error(error)


class SrpServerEnd(SrpEnd):
    """The end that somebody logs in to. It is what tlslite-ng takes for its database."""

    def __init__(self, config: SrpServerConfig, peer: str) -> None:
        super().__init__()
        self._config = config
        self._peer = peer
        self._throttled_user: str | None = None
        self._lookup_error: Exception | None = None
        self._handshake = self._connection.handshakeServerAsync(
            verifierDB=self, settings=_settings(config.bits)
        )

    def __getitem__(self, raw_name: bytes) -> tuple[int, int, bytearray, int]:
        """Return prime, generator, salt and verifier.

        The name is in form NFC from here on, as stores have it. Otherwise each spelling of a name
        would have failures of its own, and of names that nobody has a salt of its own.
        """
        name = unicodedata.normalize("NFC", raw_name.decode())
        try:
            entry = self._entry(name)
        except Exception as exc:
            self._lookup_error = exc
            raise
        self.user: str = name
        group = entry.group
        return group.prime, group.generator, bytearray(entry.salt), entry.verifier

    def shake_hands(self) -> bool:
        """Go on with the handshake, and note how an attempt ended.

        A password is tried when the client's last messages are read: who began many handshakes
        at once is asked again then.
        """
        if self.user and not self._config.attempts.may_try(self.user, self._peer):
            raise _throttled(self.user)
        is_over = super().shake_hands()
        if is_over:
            self._config.attempts.succeeded(self.user, self._peer)
        return is_over

    def _entry(self, name: str) -> SrpEntry:
        if not self._config.attempts.may_try(name, self._peer):
            self._throttled_user = name
            raise TLSInsufficientSecurity("too many attempts")  # an alert of its own
        return srp_entry(self._config, name)

    def _handshake_error(self, error: Exception) -> TlsError:
        if self._throttled_user is not None:
            return _throttled(self._throttled_user)
        if self._lookup_error is not None:
            _log.error("a user of TLS-SRP cannot be looked up", exc_info=self._lookup_error)
            return TlsError(HANDSHAKE, "the user cannot be looked up")
        if self.user and isinstance(error, TLSLocalAlert) and error.description in _SECRETS_DIFFER:
            self._config.attempts.failed(self.user, self._peer)
            message = "the password is wrong, or nobody has the SRP name"
            return TlsError(SRP_REFUSED, message, user=self.user)
        return super()._handshake_error(error)


def _throttled(user: str) -> TlsError:
    message = "too many attempts failed from that address, for the SRP name or altogether"
    return TlsError(SRP_THROTTLED, message, user=user)


def _settings(bits_min: int) -> HandshakeSettings:
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = _TLS_1_2
    settings.versions = [_TLS_1_2]
    settings.keyExchangeNames = ["srp_sha"]
    settings.cipherNames = ["aes256", "aes128"]
    settings.macNames = ["sha"]
    settings.minKeySize, settings.maxKeySize = bits_min, _KEY_BITS_MAX
    settings.use_heartbeat_extension = False
    settings.record_size_limit = None
    settings.ticket_count = 0
    settings.max_early_data = 1  # the least: a hello may ask for it, though only TLS 1.3 has it
    return settings


def _is_over(steps: _Steps) -> bool:
    """Go on until it would wait for bytes; True at the end."""
    return all(result != 0 for result in steps)


def _tls_error(error: Exception, code: str) -> TlsError:
    """Return what tlslite-ng raised, in our words. Its own may hold what the peer sent."""
    handshaking = code == HANDSHAKE
    if isinstance(error, TLSAbruptCloseError):
        if handshaking:
            return TlsError(CLOSED, "the peer closed the connection during the handshake")
        return TlsError(TRUNCATED, "the connection ended without the peer's close_notify")
    if isinstance(error, TLSRemoteAlert):
        if handshaking and error.description in _NOT_SPOKEN:
            return TlsError(*_NOT_SPOKEN[error.description])
        return TlsError(code, f"the peer reported: {_alert(error)}")
    if isinstance(error, TLSLocalAlert):
        if error.description == AlertDescription.insufficient_security:
            return TlsError(NO_SHARED_CIPHER, "the peer's SRP group is unknown or too small")
        return TlsError(code, f"the peer broke the protocol: {_alert(error)} was the answer")
    return TlsError(code, f"the peer broke the protocol: {type(error).__name__}")


def _alert(error: TLSLocalAlert | TLSRemoteAlert) -> str:
    return str(AlertDescription.toStr(error.description)).replace("_", " ")
