"""Who may do what on a server: rows of data, handed to a ServerSession once.

The application answers questions about facts; it can make a policy tighter for one request,
never looser.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.channel import TrustClass
from est_core.codec.authheader import basic_challenge, write_challenge
from est_core.credentials import AuthChallenge
from est_core.model import OPERATIONS, Authentication, Label, Operation


@unique
class ForeignChallenge(Enum):
    """What becomes of a challengePassword on a channel whose binding it is not.

    RFC 7030 3.5 says that a submitted value MUST be verified, so REFUSE is the default. IGNORE
    serves deployments that put an enrollment code of their own there; it gives up the linking.
    """

    REFUSE = "refuse"
    IGNORE = "ignore"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """The rules for an operation, or for one label or one kind of wire of it.

    `label` None and `datagram` None mean any. `certificate_trust` says which trust classes
    count as a client certificate. `accept_ra`: a client whose certificate, issued by the own
    CA, carries id-kp-cmcRA may send linking data of another channel (RFC 7030 3.7).
    `enforce_csrattrs`: a CSR that lacks what /csrattrs asks for is refused.
    """

    operation: Operation
    authentication: Authentication
    label: Label | None = None
    datagram: bool | None = None
    certificate_trust: frozenset[TrustClass] = frozenset({TrustClass.EXPLICIT, TrustClass.IMPLICIT})
    require_pop: bool = False
    accept_ra: bool = False
    enforce_csrattrs: bool = False

    def __post_init__(self) -> None:
        if not self.certificate_trust <= {TrustClass.EXPLICIT, TrustClass.IMPLICIT}:
            raise LocalProtocolError("only a verified certificate can count")


_Key = tuple[Operation, Label | None, bool | None]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPolicy:
    """All rules of one server. RFC 7030 3.2.3, 3.3.2, 3.5, 3.7.

    The row that fits best wins: operation and label, then kind of wire, then the operation
    alone. An operation without a row is not offered. `labels` are the labels that exist; a
    request with any other is answered as not found. `challenges` are sent with a 401 in this
    order; with none, HTTP authentication is not offered.
    Raises LocalProtocolError for two rows with one key, a row for an unknown label, a row that
    needs HTTP authentication where no challenge is offered, and a challenge that no header holds.
    """

    rows: tuple[PolicyRow, ...]
    challenges: tuple[AuthChallenge, ...] = ()
    labels: frozenset[Label] = field(default_factory=frozenset)
    foreign_challenge: ForeignChallenge = ForeignChallenge.REFUSE
    _by_key: Mapping[_Key, PolicyRow] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key = {(row.operation, row.label, row.datagram): row for row in self.rows}
        object.__setattr__(self, "_by_key", by_key)
        if len(by_key) != len(self.rows):
            raise LocalProtocolError("two rows for the same operation, label and wire")
        for row in self.rows:
            if row.label is not None and row.label not in self.labels:
                raise LocalProtocolError(f"a row names label {row.label}, which does not exist")
            if not self.challenges and row.authentication.needs_http:
                raise LocalProtocolError(f"{row.operation.value} needs HTTP authentication")
        for challenge in self.challenges:
            write_challenge(challenge)  # fails here, and not at the first 401

    def row(
        self, operation: Operation, label: Label | None, *, datagram: bool = False
    ) -> PolicyRow | None:
        """Return the row that fits best, or None where the operation is not offered.

        A label that does not exist has no row.
        """
        if label is not None and label not in self.labels:
            return None
        for wanted in ((label, datagram), (label, None), (None, datagram), (None, None)):
            if row := self._by_key.get((operation, *wanted)):
                return row
        return None


@checked
def with_datagram_rows(rows: tuple[PolicyRow, ...]) -> tuple[PolicyRow, ...]:
    """Return the rows, each with its twin for DTLS, where every client shows a certificate.

    Over CoAP there is no HTTP authentication, and RFC 9148 3 wants a client certificate for every
    operation: what is open, or takes a password instead, needs a certificate there. What needs a
    password stays closed. A row for datagrams that is there already is left as it is, and a row
    for streams has no twin.
    """
    given = {(row.operation, row.label) for row in rows if row.datagram}
    twins = (
        replace(
            row,
            datagram=True,
            authentication=_ON_DATAGRAMS.get(row.authentication, row.authentication),
        )
        for row in rows
        if row.datagram is None and (row.operation, row.label) not in given
    )
    return (*rows, *twins)


_ON_DATAGRAMS: Final = MappingProxyType(
    {
        Authentication.OPEN: Authentication.CERT,
        Authentication.CERT_OR_HTTP: Authentication.CERT,
    }
)


@checked
def default_policy(
    *,
    realm: str | None = "est",
    require_pop: bool = False,
    labels: Collection[Label | str] = (),
    foreign_challenge: ForeignChallenge = ForeignChallenge.REFUSE,
) -> ServerPolicy:
    """Return the policy most servers want.

    CA certificates and CSR attributes are open to everybody; enrollment takes a verified client
    certificate or a password; re-enrollment a certificate of the own CA. Over DTLS all of them take
    a certificate (see `with_datagram_rows`). `realm` None offers no HTTP authentication.
    Raises LocalProtocolError for a str among `labels` that is no label.
    """
    rows = tuple(
        PolicyRow(
            operation=operation,
            authentication=row.authentication,
            certificate_trust=row.certificate_trust,
            require_pop=require_pop and row.is_enrollment,
        )
        for operation, row in OPERATIONS.items()
    )
    return ServerPolicy(
        rows=with_datagram_rows(rows),
        challenges=() if realm is None else (basic_challenge(realm),),
        labels=frozenset(Label(label) if isinstance(label, str) else label for label in labels),
        foreign_challenge=foreign_challenge,
    )
