"""What a store keeps of credentials that are not passwords: tokens, codes, nonces, SRP verifiers.

Tokens and codes have the entropy of a key: what is kept is a keyed hash, which is looked up by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final, Protocol

from est_core import LocalProtocolError
from est_core.values import value_class

DIGEST_BYTES: Final = 32
MAX_USES: Final = 1_000_000


@value_class
class TokenRecord:
    """A bearer token. `digest` is its keyed hash; `name` is whose it is.

    `labels` and `operations` are where it counts, None for everywhere; the label "" is none.
    Raises LocalProtocolError for a digest of another length, and times that are not UTC.
    """

    name: str
    digest: bytes = field(repr=False)
    labels: frozenset[str] | None = None
    operations: frozenset[str] | None = None
    created_at: datetime
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        _check_digest(self.digest)
        _check_times(self.created_at, self.expires_at)


@value_class
class CodeRecord:
    """A one-time code, and how often it was used. `digest` is its keyed hash.

    `name` is the user that it proves. With a `label` it counts there alone; "" is without one.
    Raises LocalProtocolError as TokenRecord, and unless 0 <= uses <= uses_max.
    """

    name: str
    digest: bytes = field(repr=False)
    label: str | None = None
    uses_max: int = 1
    uses: int = 0
    created_at: datetime
    expires_at: datetime

    def __post_init__(self) -> None:
        _check_digest(self.digest)
        _check_times(self.created_at, self.expires_at)
        if not (0 < self.uses_max <= MAX_USES and 0 <= self.uses <= self.uses_max):
            raise LocalProtocolError(f"a code has 1 to {MAX_USES} uses")


@value_class
class CodeUse:
    """One use of the code with that keyed hash, at that time, for one request.

    `request` is a digest of what makes a request the same one when it is repeated; it is used once
    for each code.
    """

    digest: bytes = field(repr=False)
    request: bytes
    at: datetime


@value_class
class SrpRecord:
    """The verifier of a user's password, by the group of RFC 5054 with that many bits."""

    name: str
    salt: bytes = field(repr=False)
    verifier: bytes = field(repr=False)
    bits: int


class TokenStore(Protocol):
    """Where tokens are. Names are bounded as those of users are."""

    def add_token(self, record: TokenRecord, *, replace: bool = False) -> bool:
        """Add a token. False, and nothing written, if the name is taken and not to be replaced."""

    def find_token(self, digest: bytes) -> TokenRecord | None:
        """Return the token with that keyed hash, or None."""

    def list_tokens(self, *, limit: int = 100, after: str | None = None) -> tuple[TokenRecord, ...]:
        """Return at most `limit` tokens by name, those after the name `after`."""

    def remove_token(self, name: str) -> bool:
        """Remove a token. False if there is none of that name."""


class CodeStore(Protocol):
    """Where one-time codes are."""

    def add_codes(self, records: Sequence[CodeRecord], *, replace: bool = False) -> tuple[str, ...]:
        """Add codes, all of them or none; return the names that were taken, which is why not.

        With `replace` a code whose name is taken is replaced, and what it was spent for forgotten.
        Raises LocalProtocolError for a name that occurs twice.
        """

    def find_code(self, digest: bytes) -> CodeRecord | None:
        """Return the code with that keyed hash, or None."""

    def list_codes(self, *, limit: int = 100, after: str | None = None) -> tuple[CodeRecord, ...]:
        """Return at most `limit` codes by name, those after the name `after`."""

    def remove_code(self, name: str) -> bool:
        """Remove a code, and what it was spent for. False if there is none of that name."""

    def remove_codes(self, names: Sequence[str]) -> None:
        """Remove codes, all or none, and what they were spent for. Unknown names are ignored."""


class NonceStore(Protocol):
    """Where the counts of Digest nonces are."""

    def count_nonce(self, nonce: str, count: int, *, expires_at: datetime, now: datetime) -> bool:
        """Return True if no such count of the nonce, nor a higher one, was seen, and write it down.

        That is one step, whoever else does it at the same time. Nonces whose `expires_at` is before
        `now` are forgotten in passing, and no others: an answer may be judged while its nonce is
        good and counted when it is not (`NonceUseRequested.expires_at`).
        """


class SecretStore(Protocol):
    """Where it is noted which secret of the server tokens and codes are hashed with."""

    def needs_secret(self, *, now: datetime) -> bool:
        """Return True if there are tokens or codes that are not over: without it they are void."""

    def find_secret_check(self) -> bytes | None:
        """Return the check value of the secret that was used last, or None."""

    def keep_secret_check(self, value: bytes, *, now: datetime) -> bool:
        """Return True if what is hashed here is hashed with the secret of that check value.

        A store that has noted none, or needs the one that it noted no more, notes this one. That is
        one step, whoever else does it at the same time.
        """


class SrpStore(Protocol):
    """Where the verifiers of TLS-SRP are."""

    def add_srp_user(self, record: SrpRecord, *, replace: bool = False) -> bool:
        """Add a user. False, and nothing written, if the name is taken and not to be replaced."""

    def find_srp_user(self, name: str) -> SrpRecord | None:
        """Return the user of that name, or None."""

    def list_srp_users(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[SrpRecord, ...]:
        """Return at most `limit` users by name, those after the name `after`."""

    def remove_srp_user(self, name: str) -> bool:
        """Remove a user. False if there is none of that name."""


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise LocalProtocolError(f"a keyed hash has {DIGEST_BYTES} bytes")


def _check_times(*moments: datetime | None) -> None:
    for moment in moments:
        if moment is not None and moment.utcoffset() != timedelta(0):
            raise LocalProtocolError("the times of a record are aware and in UTC")
