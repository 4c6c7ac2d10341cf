"""Digest as a server offers it: its challenges, and what is wrong with an answer to one.

Whether the answer proves the password is for who has the secret (`digest_proves`), and whether its
count is a new one for who counts. RFC 7616 3.3 to 3.4.
"""

from __future__ import annotations

import re
from dataclasses import field
from datetime import datetime
from typing import Final, NamedTuple

from est_core._errors import LocalProtocolError
from est_core._instant import Entropy, Instant
from est_core.auth.digest import QOP, DigestAlgorithm
from est_core.auth.nonces import Nonces, NonceState
from est_core.credentials import AuthChallenge, DigestCredentials
from est_core.values import value_class

NONCE_S: Final = 300
_COUNT: Final = re.compile("[0-9A-Fa-f]{8}")
_HEX: Final = re.compile("[0-9A-Fa-f]+")
_CLIENT_NONCE_CHARS: Final = 256


class DigestFlaw(NamedTuple):
    """Why an answer is not worth looking up its user.

    With `message` the client has written it wrongly. Otherwise it is to be challenged again, and
    with `is_stale` it may answer with the password that it has.
    """

    code: str
    message: str = ""
    is_stale: bool = False


@value_class
class DigestScheme:
    """Digest for one realm, with nonces under `key` that are good for `nonce_s` seconds.

    `algorithms` are offered in this order, one challenge each. Clients that read one challenge
    only (Bouncy Castle 1.72, libEST 3.2.0p) know MD5 alone, so that it stands first; others take
    the strongest. Raises LocalProtocolError for no algorithm, and as `Nonces` does.
    """

    realm: str
    key: bytes = field(repr=False)
    entropy: Entropy = field(repr=False, compare=False)
    algorithms: tuple[DigestAlgorithm, ...] = (DigestAlgorithm.MD5, DigestAlgorithm.SHA_256)
    nonce_s: int = NONCE_S
    _nonces: Nonces = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.algorithms or len(set(self.algorithms)) != len(self.algorithms):
            raise LocalProtocolError("Digest has at least one algorithm, and each once")
        nonces = Nonces(key=self.key, realm=self.realm, lifetime_s=self.nonce_s)
        object.__setattr__(self, "_nonces", nonces)

    def challenges(self, now: Instant, *, stale: bool = False) -> tuple[AuthChallenge, ...]:
        """Return a challenge for each algorithm, all with one new nonce."""
        nonce = self._nonces.make(now, self.entropy)
        return tuple(_challenge(self.realm, nonce, each, stale) for each in self.algorithms)

    def flaw(self, credentials: DigestCredentials, now: Instant) -> DigestFlaw | None:
        """Return what is wrong with an answer, whoever gave it, or None.

        Its parameters, the URI that it is for, which has to be the `target` that the credentials
        have, the algorithm, the realm, its nonce.
        """
        if problem := _malformed(credentials):
            return DigestFlaw("auth/bad-digest", problem)
        if credentials.get("uri") != credentials.target:
            return DigestFlaw("auth/digest-uri", "the Digest answer is for another URI")
        algorithm = DigestAlgorithm.named(credentials.get("algorithm"))
        if algorithm not in self.algorithms:
            return DigestFlaw("auth/digest-algorithm")
        if len(credentials.get("response") or "") != algorithm.hex_digits:
            return DigestFlaw("auth/bad-digest", "response is not a hash of the algorithm")
        if credentials.get("realm") != self.realm:
            return DigestFlaw("auth/digest-realm")
        match self._nonces.state(credentials.get("nonce") or "", now):
            case NonceState.FOREIGN:
                return DigestFlaw("auth/foreign-nonce")
            case NonceState.STALE:
                return DigestFlaw("auth/stale-nonce", is_stale=True)
            case NonceState.FRESH:
                return None

    def remembered_until(self, credentials: DigestCredentials, decision_s: int) -> datetime:
        """Return until when a use of an answer's nonce, which has no flaw, has to be remembered.

        That is longer than it is good: who judges an answer with it at the last moment has
        `decision_s` to count it, and must find all uses before.
        """
        return self._nonces.remembered_until(credentials.get("nonce") or "", decision_s)


def _challenge(realm: str, nonce: str, algorithm: DigestAlgorithm, stale: bool) -> AuthChallenge:
    """Return one challenge. MD5 is not named: Bouncy Castle knows no challenge that says stale."""
    parameters = [("realm", realm), ("qop", QOP), ("nonce", nonce)]
    if algorithm is not DigestAlgorithm.MD5:
        parameters.append(("algorithm", algorithm.value))
    if stale:
        parameters.append(("stale", "true"))
    return AuthChallenge(scheme="Digest", parameters=tuple(parameters))


def _malformed(credentials: DigestCredentials) -> str:
    """Return which parameter is not as it has to be, or ""."""
    if (credentials.get("qop") or "").lower() != QOP:
        return "qop is not auth"
    count = credentials.get("nc") or ""
    if not _COUNT.fullmatch(count) or int(count, 16) == 0:
        return "nc is not a count of 8 hexadecimal digits"
    if not 0 < len(credentials.get("cnonce") or "") <= _CLIENT_NONCE_CHARS:
        return f"cnonce has not 1 to {_CLIENT_NONCE_CHARS} characters"
    if not _HEX.fullmatch(credentials.get("response") or ""):
        return "response is not hexadecimal"
    return ""
