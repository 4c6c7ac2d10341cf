"""Answers to Digest challenges: which of them, with which count of the nonce. RFC 7616 3.3, 3.4.

What makes a challenge strong is its algorithm, wherever it stands. What is sent back of a challenge
is bounded, so that no server can have a client write more than servers read.
"""

from __future__ import annotations

import itertools
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Final

from est_core._errors import RemoteProtocolError
from est_core._instant import Entropy
from est_core._limits import Limits
from est_core.auth.digest import QOP, DigestAlgorithm, digest_answer, digest_secret
from est_core.credentials import AuthChallenge, AuthScheme, DigestCredentials, Password
from est_core.model import shown_text
from est_core.values import value_class

_CLIENT_NONCE_BYTES: Final = 18  # base64 without padding
_NONCES: Final = 16  # of one server; it has a new one for each challenge at most
_SHOWN_CHARS: Final = 32
_SENDABLE: Final = re.compile(r"[\t -~\x80-\xff]*")  # what a quoted-string holds
_STRENGTH: Final = {algorithm: rank for rank, algorithm in enumerate(DigestAlgorithm)}


@value_class
class DigestChallenge:
    """A Digest challenge that can be answered.

    `realm` and `opaque` are as they stood in the header, a character for each octet.
    `names_algorithm`: the answer names it too.
    """

    realm: str
    nonce: str
    algorithm: DigestAlgorithm
    names_algorithm: bool
    opaque: str | None
    is_stale: bool

    def answer(
        self, password: Password, count: int, entropy: Entropy, *, method: str, target: str
    ) -> DigestCredentials:
        """Return the answer that goes with a request; `count` is how often the nonce is used."""
        parameters = [("realm", self.realm), ("nonce", self.nonce), ("uri", target)]
        if self.names_algorithm:
            parameters.append(("algorithm", self.algorithm.value))
        parameters += [
            ("qop", QOP),
            ("nc", f"{count:08x}"),
            ("cnonce", b64encode(entropy(_CLIENT_NONCE_BYTES)).decode("ascii")),
        ]
        secret = digest_secret(self.algorithm, password.user, _text(self.realm), password.password)
        unproven = _credentials(password, parameters, method, target)
        parameters.append(("response", digest_answer(secret, unproven)))
        if self.opaque is not None:
            parameters.append(("opaque", self.opaque))
        return _credentials(password, parameters, method, target)


class NonceCounts:
    """How often a session has used each nonce of its server, and which challenge was last good.

    A nonce comes back: in the next request, and in the next challenge of a server that makes the
    same one for a while. Only the latest are kept. Exchanges of a session may run side by side, so
    that each step here is one that no thread can be in the middle of.
    """

    def __init__(self) -> None:
        self.last: DigestChallenge | None = None
        self._counts: dict[str, Iterator[int]] = {}

    def next_count(self, nonce: str) -> int:
        """Return which use of the nonce the next one is, from 1, and count it."""
        count = next(self._counts.setdefault(nonce, itertools.count(1)))
        for oldest in list(self._counts)[:-_NONCES]:
            self._counts.pop(oldest, None)
        return count


def strongest_challenge(
    challenges: Sequence[AuthChallenge], limits: Limits
) -> DigestChallenge | RemoteProtocolError | None:
    """Return the Digest challenge with the strongest algorithm, whatever their order.

    Where there are some and none can be answered, the error says what is wrong with the first.
    None where there are none.
    """
    found: list[DigestChallenge] = []
    problem: RemoteProtocolError | None = None
    for challenge in challenges:
        if challenge.known_scheme is not AuthScheme.DIGEST:
            continue
        try:
            found.append(_read_untrusted(challenge, limits))
        except RemoteProtocolError as error:
            problem = problem or error
    return max(found, key=lambda each: _STRENGTH[each.algorithm], default=problem)


def _read_untrusted(challenge: AuthChallenge, limits: Limits) -> DigestChallenge:
    """Return the challenge. Raises RemoteProtocolError("auth/unanswerable-challenge")."""
    found = {name.lower(): value for name, value in challenge.parameters}
    if len(found) != len(challenge.parameters):
        raise _unanswerable("has a parameter twice")
    algorithm = DigestAlgorithm.named(found.get("algorithm"))
    if algorithm is None:
        shown = shown_text(found["algorithm"], _SHOWN_CHARS)
        raise _unanswerable(f"is for the algorithm {shown}, which is not known here")
    if "qop" not in found:
        # RFC 2069, which has no count and no nonce of the client.
        raise _unanswerable("has no qop")
    if QOP not in [each.strip(" \t").lower() for each in found["qop"].split(",")]:
        shown = shown_text(found["qop"], _SHOWN_CHARS)
        raise _unanswerable(f"is for qop {shown}, and auth alone is spoken here")
    realm, nonce, opaque = found.get("realm"), found.get("nonce"), found.get("opaque")
    if realm is None or not nonce:
        raise _unanswerable("lacks a realm or a nonce")
    echoed = (realm, nonce, opaque or "")
    if not nonce.isascii() or not all(map(_SENDABLE.fullmatch, echoed)):
        raise _unanswerable("has characters that cannot be sent back")
    if sum(map(len, echoed)) > limits.auth_header_bytes // 4:  # escaped, it is twice as long
        raise _unanswerable("is too long to be sent back")
    return DigestChallenge(
        realm=realm,
        nonce=nonce,
        algorithm=algorithm,
        names_algorithm="algorithm" in found,
        opaque=opaque,
        is_stale=found.get("stale", "").lower() == "true",
    )


def _unanswerable(problem: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        "auth/unanswerable-challenge", f"the server's Digest challenge {problem}"
    )


def _credentials(
    password: Password, parameters: Sequence[tuple[str, str]], method: str, target: str
) -> DigestCredentials:
    return DigestCredentials(
        user=password.user, parameters=tuple(parameters), method=method, target=target
    )


def _text(octets: str) -> str:
    """Return the text of a header's octets: UTF-8 if they are that, else ISO-8859-1.

    Hashed in UTF-8 it gives the octets that came, which are what other servers hash.
    """
    try:
        return octets.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return octets
