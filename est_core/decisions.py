"""What an application answers to a question of a server exchange.

Each is one thing the application can tell the exchange: most are imperatives, Verified and
Rejected state what the credentials are. Which are legal is said by the question that they answer
(`ServerQuestion.answers`); an illegal one is a LocalProtocolError and changes nothing. Those of one
operation alone are in its module, see `est_core.operations`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Final

from cryptography import x509

from est_core._errors import LocalProtocolError, check_code
from est_core.codec.authheader import write_challenge
from est_core.codec.retry import MAX_DELAY_S
from est_core.credentials import AuthChallenge
from est_core.values import value_class


class Decision:
    """What an application answers. Every decision is one."""

    __slots__ = ()


@value_class
class Verified(Decision):
    """The credentials are good; `user` is who they belong to.

    None is refused, as any other type: a look-up that found nobody must not let nobody in.
    `context` is the application's own: it comes back in `ClientIdentity.context`.
    """

    user: str
    context: object = field(default=None, repr=False, compare=False)


@value_class
class Rejected(Decision):
    """The credentials are wrong. Answered with 401 and the challenges of the policy."""


@value_class
class Counted(Decision):
    """This count of the nonce was used for the first time, and is on record. RFC 7616 3.4.3."""


@value_class
class Replayed(Decision):
    """This count of the nonce, or a higher one, was used before. Answered with 401, as stale."""


@value_class
class Challenge(Decision):
    """HTTP credentials are wanted, whatever the policy was content with. RFC 7030 3.2.3.

    While credentials are being judged: others are. At any other question: credentials that the
    request carries and nobody looked at are judged first (AuthenticateRequested), then the
    question comes again with `identity.user`; without any, the answer is a 401. `challenges`
    take the place of the policy's, where a scheme wants fresh values. A Digest answer is judged by
    `ServerPolicy.digest` all the same where there is one, and asked about after that: to judge
    Digest with challenges of its own, an application leaves that None.
    """

    challenges: tuple[AuthChallenge, ...] = ()
    code: str = "auth/challenged"

    def __post_init__(self) -> None:
        check_code(self.code)
        for challenge in self.challenges:
            write_challenge(challenge)  # fails here, and not in the answer


@value_class
class Issue(Decision):
    """Hand out this certificate, which the CA has signed and recorded. RFC 7030 4.2.3.

    `note` is for the log and the audit file: why, where that is not plain.
    """

    certificate: x509.Certificate
    note: str = field(default="", compare=False)


@value_class
class Pend(Decision):
    """Accepted, not ready; the client asks again later. RFC 7030 4.2.3."""

    retry_after_s: int

    def __post_init__(self) -> None:
        _check_delay(self.retry_after_s)


@value_class
class Deny(Decision):
    """Not allowed. `code` is `area/reason` for the log, `reason` is shown to the client.

    Of `reason` the client sees `Limits.error_text_chars` printable characters at most.
    With `content`, it is what the request asks for that is refused, and not the client.
    `note` is what the log and the audit file say beside that, and the client is not told.
    Raises LocalProtocolError for a code that is not of that form.
    """

    code: str
    reason: str
    content: bool = False
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_code(self.code)


@value_class
class Postpone(Decision):
    """Cannot be done now: the application is busy or its CA is away. Nothing was accepted."""

    retry_after_s: int
    code: str = "server/busy"
    reason: str = "busy, try again later"

    def __post_init__(self) -> None:
        check_code(self.code)
        _check_delay(self.retry_after_s)


@value_class
class Fail(Decision):
    """The application broke. The client learns nothing but that."""

    code: str = "server/internal"

    def __post_init__(self) -> None:
        check_code(self.code)


def _check_delay(seconds: int) -> None:
    if not 0 < seconds <= MAX_DELAY_S:
        raise LocalProtocolError(f"retry_after_s must be a whole number, 1 to {MAX_DELAY_S}")


COMMON: Final[frozenset[type[Decision]]] = frozenset({Challenge, Deny, Postpone, Fail})
"""What answers any question: prove more, you may not, not now, and it cannot be done."""
