"""Digest answers: from a user's secret to the proof that he knows it. RFC 7616 3.4.

With H the hash of the algorithm, the secret, which the RFC calls H(A1), is H(user:realm:password),
and the answer is H(secret:nonce:nc:cnonce:auth:H(method:uri)). Who has the secret can answer, so it
is kept as a password is.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum, unique
from typing import Final

from cryptography.hazmat.primitives import hashes

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.credentials import DigestCredentials

QOP: Final = "auth"
"""The one quality of protection: over TLS there is nothing to gain from hashing the body too."""


@unique
class DigestAlgorithm(Enum):
    """Algorithms of RFC 7616 3.2, by the tokens that stand in a header; the weakest first."""

    MD5 = "MD5"
    SHA_256 = "SHA-256"
    SHA_512_256 = "SHA-512-256"

    @property
    def hex_digits(self) -> int:
        """Return how long a hash of this algorithm is in hexadecimal."""
        return 32 if self is DigestAlgorithm.MD5 else 64

    def hash_text(self, text: str) -> str:
        """Return the hash of the text in UTF-8, in lower-case hexadecimal."""
        raw = text.encode("utf-8")
        match self:
            case DigestAlgorithm.MD5:
                # What guards it is TLS: RFC 7030 3.2.3 allows it nowhere else.
                return hashlib.md5(raw, usedforsecurity=False).hexdigest()
            case DigestAlgorithm.SHA_256:
                return hashlib.sha256(raw).hexdigest()
            case DigestAlgorithm.SHA_512_256:
                digest = hashes.Hash(hashes.SHA512_256())
                digest.update(raw)
                return digest.finalize().hex()

    @classmethod
    def named(cls, token: str | None) -> DigestAlgorithm | None:
        """Return the algorithm of a header, in any case; without one it is MD5. None if unknown."""
        if token is None:
            return cls.MD5
        return next((each for each in cls if each.value == token.upper()), None)


@checked
def digest_secret(algorithm: DigestAlgorithm, user: str, realm: str, password: str) -> str:
    """Return H(A1), which stands for the password in this realm: keep it as secret. RFC 7616 3.4.2.

    Raises LocalProtocolError for text that is not Unicode, and for a user with a colon.
    """
    if ":" in user:
        raise LocalProtocolError("a user must not have a colon")
    return _hashed(algorithm, user, realm, password)


@checked
def digest_answer(secret: str, credentials: DigestCredentials) -> str:
    """Return what `response` has to be for that secret, by the credentials' other parameters.

    Of `credentials` the request's `method` counts too. Raises LocalProtocolError where a parameter
    is missing, and for an unknown algorithm.
    """
    algorithm = DigestAlgorithm.named(credentials.get("algorithm"))
    if algorithm is None:
        raise LocalProtocolError("an unknown Digest algorithm")
    values = [credentials.get(name) for name in ("nonce", "nc", "cnonce", "uri")]
    nonce, count, client_nonce, uri = (value or "" for value in values)
    if not all(values):
        raise LocalProtocolError("a Digest parameter is missing")
    asked = _hashed(algorithm, credentials.method, uri)
    return _hashed(algorithm, secret, nonce, count, client_nonce, QOP, asked)


@checked
def digest_proves(credentials: DigestCredentials, secret: str) -> bool:
    """True if the answer was made with that secret, compared in constant time.

    Whether its nonce is good is another question. False where a parameter is missing.
    """
    try:
        expected = digest_answer(secret, credentials)
    except LocalProtocolError:
        return False
    given = (credentials.get("response") or "").lower()
    return hmac.compare_digest(expected.encode("ascii"), given.encode("utf-8", "surrogatepass"))


def _hashed(algorithm: DigestAlgorithm, *parts: str) -> str:
    try:
        return algorithm.hash_text(":".join(parts))
    except UnicodeEncodeError:
        pass  # not chained: a UnicodeError keeps all of what it failed on
    raise LocalProtocolError("Digest hashes Unicode text")
