"""What goes wrong on a secure channel, in stable codes, and how OpenSSL's words map to them.

OpenSSL reports reasons as text that changes a little between versions ("sslv3 alert bad
certificate" became "ssl/tls alert bad certificate"). Only the parts that RFC 8446 names are
matched, and everything unknown has a general code, so a new wording costs detail and no more.
"""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL

from est_core.arguments import checked


@checked
class TlsError(Exception):
    """A secure channel that cannot be used, or cannot be used any more.

    `code` is `tls/reason`, stable; `message` is one clear sentence that names no secret. `user` is
    whose name a client of TLS-SRP gave, where that is known.
    """

    def __init__(self, code: str, message: str, *, user: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.user = user

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


CLOSED: Final = "tls/closed"
"""The peer went away before the handshake was over."""
TRUNCATED: Final = "tls/truncated"
"""The connection ended without close_notify: the data may be incomplete. RFC 8446 6.1."""
NOT_TLS: Final = "tls/not-tls"
"""The peer's first bytes are no TLS record."""
VERSION: Final = "tls/version"
"""No protocol version in common."""
NO_SHARED_CIPHER: Final = "tls/no-shared-cipher"
"""No cipher suite, group or signature algorithm in common."""
UNTRUSTED_SERVER: Final = "tls/untrusted-server"
"""The client does not trust the server's certificate."""
PEER_REFUSED_CERTIFICATE: Final = "tls/peer-refused-certificate"
"""The peer does not like our certificate, or misses one."""
BAD_SIGNATURE: Final = "tls/bad-signature"
"""The peer did not prove possession of its certificate's key."""
BAD_CERTIFICATE: Final = "tls/bad-certificate"
"""A certificate of the peer is no DER, or it sent too many."""
NO_CERTIFICATE: Final = "tls/no-certificate"
"""The peer showed no certificate where there is no handshake without."""
TIMEOUT: Final = "tls/timeout"
"""The handshake took too long."""
HANDSHAKE: Final = "tls/handshake"
"""Any other failure of a handshake."""
HANDSHAKE_TOO_LARGE: Final = "tls/handshake-too-large"
"""The peer sent more than a handshake needs."""
SRP_REFUSED: Final = "tls/srp-refused"
"""TLS-SRP with a name or a password that the server does not accept."""
SRP_THROTTLED: Final = "tls/srp-throttled"
"""TLS-SRP after too many attempts that failed."""
PROTOCOL: Final = "tls/protocol"
"""A broken or forged record after the handshake, or an alert for ours."""

_CERTIFICATE_LIBRARY: Final = "asn1 encoding routines"
"""Whose errors in a handshake are about a certificate that came."""
_CERTIFICATE_ALERTS: Final = frozenset(
    {
        "bad certificate",
        "unsupported certificate",
        "certificate revoked",
        "certificate expired",
        "certificate unknown",
        "unknown ca",
        "access denied",
        "certificate required",
    }
)
"""Alerts of RFC 8446 6.2 that speak about the receiver's certificate."""

_ALERTS: Final = {
    "protocol version": (VERSION, "the peer accepts none of the TLS versions offered"),
    "insufficient security": (NO_SHARED_CIPHER, "the peer wants stronger parameters"),
    "handshake failure": (
        HANDSHAKE,
        "the peer refused the handshake: no common parameters, or it requires a certificate",
    ),
    "unrecognized name": (HANDSHAKE, "the peer does not serve that host name"),
    "no application protocol": (HANDSHAKE, "the peer does not speak HTTP/1.1 on this port"),
}

_NO_SHARED_CIPHER_TEXT: Final = "no cipher suite, group or signature algorithm in common"
_VERSION_TEXT: Final = "the peer speaks no TLS version from 1.2 on that is enabled here"
_BAD_SIGNATURE_TEXT: Final = "the peer does not hold the private key of its certificate"

_REASONS: Final = {
    "http request": (NOT_TLS, "the peer sent HTTP without TLS"),
    "https proxy request": (NOT_TLS, "the peer sent an HTTP proxy request without TLS"),
    "wrong version number": (NOT_TLS, "the peer does not speak TLS on this port"),
    "packet length too long": (NOT_TLS, "the peer does not speak TLS on this port"),
    "unsupported protocol": (VERSION, _VERSION_TEXT),
    "version too low": (VERSION, _VERSION_TEXT),
    "inappropriate fallback": (VERSION, _VERSION_TEXT),
    "no protocols available": (VERSION, _VERSION_TEXT),
    "no shared cipher": (NO_SHARED_CIPHER, _NO_SHARED_CIPHER_TEXT),
    "no suitable key share": (NO_SHARED_CIPHER, _NO_SHARED_CIPHER_TEXT),
    "no suitable groups": (NO_SHARED_CIPHER, _NO_SHARED_CIPHER_TEXT),
    "no suitable signature algorithm": (NO_SHARED_CIPHER, _NO_SHARED_CIPHER_TEXT),
    "no shared signature algorithms": (NO_SHARED_CIPHER, _NO_SHARED_CIPHER_TEXT),
    "wrong signature type": (NO_SHARED_CIPHER, _NO_SHARED_CIPHER_TEXT),
    "bad signature": (BAD_SIGNATURE, _BAD_SIGNATURE_TEXT),
    "peer did not return a certificate": (NO_CERTIFICATE, "the peer showed no certificate"),
    "read timeout expired": (TIMEOUT, "the peer does not answer"),
    "excessive message size": (HANDSHAKE_TOO_LARGE, "a handshake message is too large"),
}
"""Reasons found at our end while shaking hands."""


@checked
def tls_error(error: SSL.Error, *, handshaking: bool) -> TlsError:
    """Return what an OpenSSL error means, by what was going on when it was raised."""
    if isinstance(error, SSL.SysCallError):
        return _end_of_file(handshaking=handshaking)
    reasons = _reasons(error)
    if handshaking and _CERTIFICATE_LIBRARY in _libraries(error):
        return TlsError(BAD_CERTIFICATE, f"a certificate of the peer cannot be read: {reasons[0]}")
    for reason in reasons:
        alert = reason.partition("alert ")[2]
        if alert:
            return _alert(alert, handshaking=handshaking)
    if handshaking:
        known = next((_REASONS[reason] for reason in reasons if reason in _REASONS), None)
        if known:
            return TlsError(*known)
    text = reasons[0] if reasons else "no reason given"
    if handshaking:
        return TlsError(HANDSHAKE, f"the handshake failed: {text}")
    return TlsError(PROTOCOL, f"the secure channel broke: {text}")


def _end_of_file(*, handshaking: bool) -> TlsError:
    if handshaking:
        return TlsError(CLOSED, "the peer closed the connection during the handshake")
    return TlsError(TRUNCATED, "the connection ended without the peer's close_notify")


def _alert(alert: str, *, handshaking: bool) -> TlsError:
    if alert in _CERTIFICATE_ALERTS:
        return TlsError(PEER_REFUSED_CERTIFICATE, f"the peer refused our certificate: {alert}")
    if alert in _ALERTS and handshaking:
        return TlsError(*_ALERTS[alert])
    return TlsError(HANDSHAKE if handshaking else PROTOCOL, f"the peer reported: {alert}")


def _reasons(error: SSL.Error) -> tuple[str, ...]:
    return tuple(str(entry[2]) for entry in _queue(error))


def _libraries(error: SSL.Error) -> frozenset[str]:
    return frozenset(str(entry[0]) for entry in _queue(error))


def _queue(error: SSL.Error) -> tuple[tuple[object, object, object], ...]:
    # pyOpenSSL raises Error([(library, function, reason), ...]), and Error() for an empty queue.
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return tuple(entry for entry in queue if isinstance(entry, tuple) and len(entry) == 3)
