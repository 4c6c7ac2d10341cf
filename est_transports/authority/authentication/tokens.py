"""Bearer tokens: opaque ones that were handed out here, with a time and a scope. RFC 6750."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from est_core import (
    AuthenticateRequested,
    Challenge,
    Decision,
    Deny,
    Rejected,
    Verified,
)
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import Store, TokenRecord

_DECODED_CHARS: Final = 512  # libEST's bound

TokenVerifier = Callable[[AuthenticateRequested, str], Decision]
"""Judges a token of a question: Verified with whose it is, Rejected, Challenge, Deny, Postpone."""


def verify_token(question: AuthenticateRequested, token: str, verify: TokenVerifier) -> Decision:
    """Return what is decided about a token: as it came, and as libEST's client wraps one.

    That client (3.2.0p) sends base64 of the token that its user gave.
    """
    decision: Decision = Rejected()
    for text in _spellings(token):
        decision = verify(question, text)
        if not isinstance(decision, Rejected):
            break
    return decision


def own_tokens(store: Store, secret: ServerSecret, now: Callable[[], datetime]) -> TokenVerifier:
    """Return the verifier of the tokens in a store, where there is a keyed hash of each."""

    def verify(question: AuthenticateRequested, token: str) -> Decision:
        record = store.find_token(secret.token_digest(token))
        if record is None:
            return Rejected()
        if record.expires_at is not None and now() >= record.expires_at:
            return Challenge(code="auth/token-expired")
        if not _covers(record, question):
            reason = "the token is not for this label, or not for this operation"
            return Deny(code="auth/token-scope", reason=reason)
        return Verified(user=record.name)

    return verify


def _covers(record: TokenRecord, question: AuthenticateRequested) -> bool:
    label = "" if question.label is None else question.label.text
    return (record.labels is None or label in record.labels) and (
        record.operations is None or question.operation.name in record.operations
    )


def _spellings(token: str) -> Iterator[str]:
    yield token
    try:
        text = base64.b64decode(token, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return
    if 0 < len(text) <= _DECODED_CHARS and text.isprintable():
        yield text
