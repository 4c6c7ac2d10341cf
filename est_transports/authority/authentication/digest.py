"""Digest answers, against the secrets that were made when a user got a password. RFC 7616."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from est_core import (
    Challenge,
    Counted,
    Decision,
    DigestAlgorithm,
    DigestCredentials,
    NonceUseRequested,
    Rejected,
    Replayed,
    Verified,
    digest_proves,
)
from est_transports.authority.authentication.look_ups import failed, later
from est_transports.authority.authentication.seldom import SeldomLog
from est_transports.authority.stores import Store, StoreBusy, StoreError
from est_transports.authority.stores.digest_records import read_digest_record

NO_SECRET: Final = "auth/no-digest-secret"
"""A user who has a password, and nothing that a Digest answer could be checked with."""

# Cost what real ones cost. Everybody can answer with them: such an answer counts for nothing.
_NO_SECRET: Final = "0" * 64
_NOBODY: Final = f"digest1$ZXN0$MD5:{'0' * 32}$SHA-256:{_NO_SECRET}$SHA-512-256:{_NO_SECRET}"


def verify_digest(credentials: DigestCredentials, store: Store, log: SeldomLog) -> Decision:
    """Return Verified for the answer of a user with a secret for its realm and algorithm.

    A user who is unknown costs what one costs who is known: a record is read for him too.
    Challenges a user who has a password and no secret for this realm: no answer of his can be
    right until the password is set anew. Raises StoreError, and LocalProtocolError for a damaged
    record.
    """
    user = store.find_user(credentials.user)
    algorithm = DigestAlgorithm.named(credentials.get("algorithm"))
    realm = credentials.get("realm") or ""
    text = None if user is None else user.digest_record
    record = read_digest_record(_NOBODY if text is None else text)
    secret = None if algorithm is None else record.secret(algorithm)
    is_right = digest_proves(credentials, secret or _NO_SECRET)
    can_be_right = text is not None and record.realm == realm and secret is not None
    if user is None or (can_be_right and not is_right):
        return Rejected()
    if not can_be_right:
        log.tell(user.name, "user %r has no secret for Digest in realm %r", user.name, realm)
        return Challenge(code=NO_SECRET)
    return Verified(user=user.name)


def count_nonce(question: NonceUseRequested, store: Store, now: datetime) -> Decision:
    """Return Counted where the store has seen no such count of the nonce yet."""
    try:
        is_new = store.count_nonce(
            question.nonce, question.count, expires_at=question.expires_at, now=now
        )
    except StoreBusy as exc:
        return later("nonces", exc)
    except StoreError as exc:
        return failed(exc)
    return Counted() if is_new else Replayed()
