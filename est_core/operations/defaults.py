"""The operations of RFC 7030 that are here, and the policy that most servers want for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from est_core.arguments import checked
from est_core.codec.authheader import basic_challenge
from est_core.model import Label
from est_core.operation import Operation
from est_core.operations.cacerts import CACERTS
from est_core.operations.csrattrs import CSRATTRS
from est_core.operations.definition import OperationDefinition
from est_core.operations.simpleenroll import SIMPLEENROLL
from est_core.operations.simplereenroll import SIMPLEREENROLL
from est_core.policy import ForeignChallenge, PolicyRow, ServerPolicy, with_datagram_rows

OPERATIONS: Final[tuple[OperationDefinition, ...]] = (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
)
"""The operations of EST that are here, in the order of RFC 7030 3.2.2."""


@checked
def default_policy(
    *,
    realm: str | None = "est",
    require_pop: bool = False,
    operations: Collection[Operation] = OPERATIONS,
    labels: Collection[Label | str] = (),
    foreign_challenge: ForeignChallenge = ForeignChallenge.REFUSE,
) -> ServerPolicy:
    """Return the policy most servers want.

    CA certificates and CSR attributes are open to everybody; enrollment takes a verified client
    certificate or a password; re-enrollment a certificate of the own CA. Over DTLS all of them take
    a certificate (see `with_datagram_rows`). `realm` None offers no HTTP authentication. Each of
    `operations` has a row of its own defaults: give `(*OPERATIONS, MINE)` to offer more.
    Raises LocalProtocolError for a str among `labels` that is no label.
    """
    rows = tuple(
        PolicyRow(
            operation=operation,
            authentication=operation.authentication,
            certificate_trust=operation.certificate_trust,
            require_pop=require_pop and operation.is_enrollment,
        )
        for operation in operations
    )
    return ServerPolicy(
        rows=with_datagram_rows(rows),
        challenges=() if realm is None else (basic_challenge(realm),),
        labels=frozenset(Label(label) if isinstance(label, str) else label for label in labels),
        foreign_challenge=foreign_challenge,
    )
