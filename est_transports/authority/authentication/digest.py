"""Digest answers, against the secrets that were made when a user got a password. RFC 7616."""

from __future__ import annotations

import logging
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
from est_transports.authority.stores import Store, StoreBusy, StoreError, UserRecord
from est_transports.authority.stores.digest_records import read_digest_record

_log: Final = logging.getLogger("est_transports")
# Costs what a real one costs and proves nothing: nobody knows what hashes to zeros.
_NOBODY: Final = "0" * 64


def verify_digest(credentials: DigestCredentials, store: Store) -> Decision:
    """Return Verified for the answer of a user with a secret for its realm and algorithm.

    A user who is unknown costs what one costs who is known. Challenges a user who has a password
    and no secret for this realm: no answer of his can be right until the password is set anew.
    Raises StoreError, and LocalProtocolError for a damaged record.
    """
    user = store.find_user(credentials.user)
    algorithm = DigestAlgorithm.named(credentials.get("algorithm"))
    realm = credentials.get("realm") or ""
    secret = None if user is None or algorithm is None else _secret(user, realm, algorithm)
    is_right = digest_proves(credentials, _NOBODY if secret is None else secret)
    if user is None or (secret is not None and not is_right):
        return Rejected()
    if secret is None:
        _log.warning("user %r has no secret for Digest in realm %r", user.name, realm)
        return Challenge(code="auth/no-digest-secret")
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


def _secret(user: UserRecord, realm: str, algorithm: DigestAlgorithm) -> str | None:
    if user.digest_record is None:
        return None
    record = read_digest_record(user.digest_record)
    return record.secret(algorithm) if record.realm == realm else None
