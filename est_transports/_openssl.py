"""The only reader of pyOpenSSL's private names: two facts that it has no public call for.

Each name is probed when this module is imported. Where one is missing the answer is None, "not
known", and the caller treats the channel as having no channel binding. Nothing else of the
package breaks with a pyOpenSSL that moved its furniture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from OpenSSL import SSL

_Question = Callable[[object], int]

_LIB: Final = getattr(SSL, "_lib", None)
_SESSION_REUSED: Final[_Question | None] = getattr(_LIB, "SSL_session_reused", None)
_EXTMS_SUPPORT: Final[_Question | None] = getattr(_LIB, "SSL_get_extms_support", None)


def session_reused(connection: SSL.Connection) -> bool | None:
    """Return whether the handshake was an abbreviated one, or None if that cannot be known."""
    return _ask(_SESSION_REUSED, connection)


def extended_master_secret(connection: SSL.Connection) -> bool | None:
    """Return whether both ends used the extended master secret (RFC 7627), or None.

    The question makes sense for TLS and DTLS 1.2, once the handshake is over.
    """
    return _ask(_EXTMS_SUPPORT, connection)


def _ask(question: _Question | None, connection: SSL.Connection) -> bool | None:
    pointer = getattr(connection, "_ssl", None)
    if question is None or pointer is None:
        return None
    answer = question(pointer)
    # OpenSSL answers 1, 0, or -1 where the handshake has not settled it.
    return answer == 1 if answer in (0, 1) else None
