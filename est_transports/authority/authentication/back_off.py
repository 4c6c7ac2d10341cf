"""Back-off after wrong credentials, by user and network, and by network. In bounded memory.

A *pair* is the name of a user and the network that it is tried from. Some wrong passwords of a pair
are free, and some more of a network over all names; they are forgiven evenly over a time. Beyond
that nothing is checked, right or wrong, until one more is forgiven. Nothing is counted by name
alone: whoever guesses at a name from elsewhere does not lock out its owner.

Four rules keep this from hurting those who mean no harm:

* The same wrong password again is no new guess. A device that repeats an outdated one all night
  counts once. A Digest answer is another one each time, so it always counts.
* A right password empties the bucket of its pair, unless the network's is full: who guesses behind
  the address of a fleet with one user would begin anew with each of its log-ins.
* What was right lately from that network goes on when the network's bucket is full. It is known by
  the same password; a wrong one then fills the bucket of its pair although nobody checks it, for
  being compared with the right one it was. So are those of names that nobody has: nothing tells.
* Only what was found wrong counts. Any number may come at once.

Names and passwords are kept as MACs under a key that this process made and never shows.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import field
from math import ceil
from typing import Final

from est_core import Entropy, Instant, LocalProtocolError
from est_core.arguments import checked
from est_core.values import unchecked_value_class, value_class
from est_transports import _clock
from est_transports.fairness.leaky_buckets import KEYS_MAX, LeakyBuckets
from est_transports.fairness.networks import network_of_peer

RIGHT_S: Final = 3600.0
"""For so long after it was right a password goes on where its network's bucket is full."""
ANSWERS_MAX: Final = 8192
"""Wrong passwords that are known again, and as many right ones."""
_KEY_BYTES: Final = 32
_MAC_BYTES: Final = 16
_ROUNDING_S: Final = 1e-3


@value_class
class BackOffLimits:
    """How much may be wrong in `window_s` seconds; zero is no bound.

    `per_user` are wrong passwords of one user from one network, `per_network` those of all names
    from there, `unknown_per_network` tokens and one-time codes from there that nobody knows.
    Raises LocalProtocolError for what is negative, and unless `window_s` is positive.
    """

    per_user: int = 10
    per_network: int = 100
    unknown_per_network: int = 0
    window_s: int = 600

    def __post_init__(self) -> None:
        if min(self.per_user, self.per_network, self.unknown_per_network) < 0 or self.window_s <= 0:
            raise LocalProtocolError("limits of wrong answers are not negative, window_s positive")


@unchecked_value_class
class Attempt:
    """Credentials that are to be judged. `pair` is empty where they name no user."""

    network: str
    pair: bytes = field(repr=False)
    answer: bytes = field(repr=False)
    may_repeat: bool
    """Whether the same credentials would be the same `answer`."""


@checked
class BackOff:
    """Decides who may try, for one process. Any thread may call, and no call waits."""

    def __init__(
        self,
        limits: BackOffLimits | None = None,
        *,
        keys_max: int = KEYS_MAX,
        answers_max: int = ANSWERS_MAX,
        clock: Callable[[], Instant] = _clock.instant,
        entropy: Entropy = _clock.entropy,
    ) -> None:
        self.limits: Final = limits or BackOffLimits()
        window_s = float(self.limits.window_s)
        self._window_s = window_s
        self._clock = clock
        self._key = entropy(_KEY_BYTES)
        self._lock = threading.Lock()

        def buckets(capacity: int) -> LeakyBuckets:
            return LeakyBuckets(capacity=capacity, window_s=window_s, keys_max=keys_max)

        self._pairs = buckets(self.limits.per_user)
        self._passwords = _Counts(buckets(self.limits.per_network), answers_max)
        self._looked_up = _Counts(buckets(self.limits.unknown_per_network), answers_max)

    @property
    def remembered(self) -> int:
        """Return how much is remembered: names, networks and passwords together."""
        kept = (self._passwords, self._looked_up)
        return len(self._pairs) + sum(map(len, kept))

    def password(self, user: str, password: str, peer: str) -> Attempt:
        """Return the attempt of a user's password. `peer` as `Channel.peer_address` has it."""
        network = network_of_peer(peer)
        pair = self._mac(b"pair", network, user)
        answer = self._mac(b"password", network, user, password)
        return Attempt(network=network, pair=pair, answer=answer, may_repeat=True)

    def digest(self, user: str, peer: str) -> Attempt:
        """Return the attempt of a user's Digest answer: it counts with his passwords."""
        network = network_of_peer(peer)
        pair = self._mac(b"pair", network, user)
        answer = self._mac(b"digest", network, user)
        return Attempt(network=network, pair=pair, answer=answer, may_repeat=False)

    def looked_up(self, text: str, peer: str) -> Attempt:
        """Return the attempt of a token or a code: who has it is not known before it is found."""
        network = network_of_peer(peer)
        answer = self._mac(b"looked up", network, text)
        return Attempt(network=network, pair=b"", answer=answer, may_repeat=True)

    def wait_s(self, attempt: Attempt) -> int:
        """Return for how many seconds it may not be judged, 0 where it may be now."""
        counts, now = self._of(attempt), self._clock().mono
        with self._lock:
            wait = self._pairs.wait_s(attempt.pair, now) if attempt.pair else 0.0
            if not wait:
                wait = counts.networks.wait_s(attempt.network, now)
                if wait and counts.right.has(attempt.answer, now):
                    return 0
                # Not noted as wrong: nobody judged it, and a flood would push out what was.
                if wait and attempt.pair and not counts.wrong.has(attempt.answer, now):
                    self._pairs.add(attempt.pair, now)
        return _whole(wait)

    def found_wrong(self, attempt: Attempt) -> int:
        """Count what was judged wrong; return for how many seconds its network has to wait.

        Not 0 where only what was right lately was let through to be judged: then the answer is
        that of all others.
        """
        counts, now = self._of(attempt), self._clock().mono
        with self._lock:
            wait = counts.networks.wait_s(attempt.network, now)
            is_repeated = counts.wrong.has(attempt.answer, now)
            if attempt.may_repeat:
                counts.wrong.note(attempt.answer, now + self._window_s)
            if attempt.pair and not is_repeated:
                self._pairs.add(attempt.pair, now)
            if not wait and not is_repeated:
                counts.networks.add(attempt.network, now)
        return _whole(wait)

    def found_right(self, attempt: Attempt) -> None:
        """Note what was judged right."""
        counts, now = self._of(attempt), self._clock().mono
        with self._lock:
            counts.right.note(attempt.answer, now + RIGHT_S)
            if attempt.pair and not counts.networks.wait_s(attempt.network, now):
                self._pairs.empty(attempt.pair)

    def _of(self, attempt: Attempt) -> _Counts:
        return self._passwords if attempt.pair else self._looked_up

    def _mac(self, purpose: bytes, network: str, *texts: str) -> bytes:
        data = bytearray(purpose)
        for text in (network, *texts):
            raw = unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
            data += len(raw).to_bytes(4, "big") + raw
        return hmac.digest(self._key, bytes(data), hashlib.sha256)[:_MAC_BYTES]


def _whole(seconds: float) -> int:
    return max(1, ceil(seconds - _ROUNDING_S)) if seconds else 0


class _Counts:
    """What is counted of passwords, and apart from them of tokens and codes."""

    def __init__(self, networks: LeakyBuckets, answers_max: int) -> None:
        self.networks: Final = networks
        self.wrong: Final = _Lately(answers_max)
        self.right: Final = _Lately(answers_max)

    def __len__(self) -> int:
        return len(self.networks) + len(self.wrong) + len(self.right)


class _Lately:
    """Answers, each until a moment. Of too many the one is forgotten that was noted first."""

    def __init__(self, answers_max: int) -> None:
        self._answers_max = answers_max
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def has(self, answer: bytes, now: float) -> bool:
        return now < self._until.get(answer, now)

    def note(self, answer: bytes, until: float) -> None:
        self._until[answer] = until
        self._until.move_to_end(answer)
        if len(self._until) > self._answers_max:
            self._until.popitem(last=False)


@checked
class BackOffs:
    """The back-off of a process by what is configured: the same one as long as that is the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: BackOff | None = None

    def of(self, limits: BackOffLimits) -> BackOff:
        """Return the one that has these limits: a reload does not forgive what was wrong."""
        with self._lock:
            if self._current is None or self._current.limits != limits:
                self._current = BackOff(limits)
            return self._current
