"""The only reader of pyOpenSSL's private names: what it has no public call for.

Each name is probed when this module is imported. Where a fact cannot be had the answer is None,
"not known", and the caller treats the channel as having no channel binding; without the two calls
that DTLS needs there is no DTLS. Nothing else of the package breaks with a pyOpenSSL that moved
its furniture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from OpenSSL import SSL

_Question = Callable[[object], int]
_Restriction = Callable[[object, bytes], int]

_LIB: Final = getattr(SSL, "_lib", None)
_SESSION_REUSED: Final[_Question | None] = getattr(_LIB, "SSL_session_reused", None)
_EXTMS_SUPPORT: Final[_Question | None] = getattr(_LIB, "SSL_get_extms_support", None)
_CLEAR_ERRORS: Final[Callable[[], None] | None] = getattr(_LIB, "ERR_clear_error", None)
_SET_SIGNATURES: Final[_Restriction | None] = getattr(_LIB, "SSL_CTX_set1_sigalgs_list", None)


def session_reused(connection: SSL.Connection) -> bool | None:
    """Return whether the handshake was an abbreviated one, or None if that cannot be known."""
    return _ask(_SESSION_REUSED, connection)


def extended_master_secret(connection: SSL.Connection) -> bool | None:
    """Return whether both ends used the extended master secret (RFC 7627), or None.

    The question makes sense for TLS and DTLS 1.2, once the handshake is over.
    """
    return _ask(_EXTMS_SUPPORT, connection)


def restrict_signatures(context: SSL.Context, algorithms: str) -> bool:
    """Let a context's handshakes be signed with these algorithms only; False if that cannot be.

    `algorithms` is in the notation of SSL_CTX_set1_sigalgs_list, such as "ECDSA+SHA256".
    """
    pointer = getattr(context, "_context", None)
    if _SET_SIGNATURES is None or _CLEAR_ERRORS is None or pointer is None:
        return False
    return _SET_SIGNATURES(pointer, algorithms.encode("ascii")) == 1


def clear_errors() -> None:
    """Empty this thread's queue of OpenSSL errors.

    DTLS drops a bad record or ClientHello without a word, and OpenSSL leaves what it thought of
    it in the queue. SSL_get_error takes that for a failure of the next connection that wants to
    read: one peer's garbage would end another's association.
    """
    if _CLEAR_ERRORS is not None:
        _CLEAR_ERRORS()


def _ask(question: _Question | None, connection: SSL.Connection) -> bool | None:
    pointer = getattr(connection, "_ssl", None)
    if question is None or pointer is None:
        return None
    answer = question(pointer)
    # OpenSSL answers 1, 0, or -1 where the handshake has not settled it.
    return answer == 1 if answer in (0, 1) else None
