"""Who may do what on a server: rows of data, handed to a ServerSession once.

The application answers questions about facts; it can make a policy tighter for one request,
never looser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.auth.scheme import DigestScheme
from est_core.channel import Channel, TrustClass
from est_core.checks.expiry import EXPIRED_DAYS_MAX
from est_core.checks.identity import RegistrationAuthorities
from est_core.checks.manufacturers import Manufacturer
from est_core.codec.authheader import write_challenge
from est_core.credentials import AuthChallenge
from est_core.model import Label
from est_core.operation import Authentication, CoapRow, HttpRow, Operation
from est_core.values import unchecked_value_class, value_class


@unique
class ForeignChallenge(Enum):
    """What becomes of a challengePassword on a channel whose binding it is not.

    RFC 7030 3.5 says that a submitted value MUST be verified, so REFUSE is the default. CODE takes
    it for a one-time code and has the application verify it: a habit of deployed clients, whose
    linking then has estIdentityLinking (RFC 7894) or no place. IGNORE serves deployments that have
    something else there, which nobody verifies.
    """

    REFUSE = "refuse"
    CODE = "code"
    IGNORE = "ignore"


@unique
class RevocationChallenge(Enum):
    """What becomes of a revocationChallenge, by which a certificate is to be revoked later.

    IGNORE does not look at it, which RFC 7894 4 leaves to the policy. REFUSE says to the client
    that nobody would keep it. TAKE is for an application that does: /csrattrs lists it, one that is
    not a single text is refused, and the question whether to issue has it in `csr.challenge`. Keep
    no more of it than a slow hash.
    """

    IGNORE = "ignore"
    REFUSE = "refuse"
    TAKE = "take"


@unique
class NameRule(Enum):
    """Which names a request for a certificate may ask for.

    ANY leaves it to the application, which has the request and who sent it. IDENTITY takes the
    names that the client was authenticated by, and no others: the user, those of its certificate.
    REGISTERED asks the application which names this client may have (`NamesRequested`).
    A registration authority (`registration_authorities`) speaks for others: IDENTITY does not bind
    it.
    """

    ANY = "any"
    IDENTITY = "identity"
    REGISTERED = "registered"


@unique
class ChangedNames(Enum):
    """Which other names than those of its certificate a renewal may ask for. RFC 6402 2.8, 2.12.

    A request does so by a ChangeSubjectName. REFUSE refuses each; REGISTERED asks the application
    which names this client may have (`NamesRequested`); ANY leaves it to the application, which is
    told that the names change.
    """

    REFUSE = "refuse"
    REGISTERED = "registered"
    ANY = "any"


@value_class
class PolicyRow:
    """The rules for an operation, or for one label or one kind of wire of it.

    `label` None and `datagram` None mean any. `certificate_trust` says which trust classes
    count as a client certificate. `registration_authorities` lists those certificates that, issued
    by the own CA and with id-kp-cmcRA, may send requests of others (RFC 7030 3.7).
    `enforce_csrattrs`: a CSR that lacks what /csrattrs asks for is refused. `foreign_challenge`
    None means what the policy says. `names` says which names a CSR may ask for. `expired_days`, for
    a renewal, is for how long a certificate of the own CA counts that has expired, where nothing
    else is wrong with it (RFC 7030 2.3); 0 to EXPIRED_DAYS_MAX. `changed_names`, for a renewal too,
    says which others than the names of its certificate it may ask for; what `names` says holds for
    these as well.
    """

    operation: Operation
    authentication: Authentication
    label: Label | None = None
    datagram: bool | None = None
    certificate_trust: frozenset[TrustClass] = frozenset({TrustClass.EXPLICIT, TrustClass.IMPLICIT})
    require_pop: bool = False
    registration_authorities: RegistrationAuthorities = field(
        default_factory=RegistrationAuthorities
    )
    enforce_csrattrs: bool = False
    foreign_challenge: ForeignChallenge | None = None
    names: NameRule = NameRule.ANY
    expired_days: int = 0
    changed_names: ChangedNames = ChangedNames.REFUSE

    def __post_init__(self) -> None:
        if not 0 <= self.expired_days <= EXPIRED_DAYS_MAX:
            raise LocalProtocolError(f"expired_days is 0 to {EXPIRED_DAYS_MAX}")
        if self.expired_days and not self.operation.is_renewal:
            raise LocalProtocolError("an expired certificate is good for its renewal alone")
        if self.changed_names is not ChangedNames.REFUSE and not self.operation.is_renewal:
            raise LocalProtocolError("only a renewal changes names")
        if not self.certificate_trust <= {TrustClass.EXPLICIT, TrustClass.IMPLICIT}:
            raise LocalProtocolError("only a verified certificate can count")


_Key = tuple[Operation, Label | None, bool | None]
_Place = tuple[tuple[str, ...], str]


@unchecked_value_class
class OperationPaths:
    """Where operations are on one wire: by root and last segment of their path.

    `roots` are those that there are, each once, the longest first. `whole` has the paths without a
    label, of operations that are the last segment of theirs.
    """

    by_place: Mapping[_Place, Operation]
    roots: tuple[tuple[str, ...], ...]
    whole: Mapping[str, Operation]

    @classmethod
    def of(cls, places: Iterable[tuple[_Place, Operation]]) -> OperationPaths:
        """Return the places. Raises LocalProtocolError for two operations in one."""
        found: dict[_Place, Operation] = {}
        for place, operation in places:
            if found.setdefault(place, operation) is not operation:
                raise LocalProtocolError(f"two operations at {_path(place)}")
        return cls(
            by_place=MappingProxyType(found),
            # One may begin as another does, and a label stand for what it does not say.
            roots=tuple(sorted(dict.fromkeys(root for root, _ in found), key=len, reverse=True)),
            whole=MappingProxyType(
                {_path(place): each for place, each in found.items() if not each.item_chars}
            ),
        )


def _path(place: _Place) -> str:
    return "/".join(("", *place[0], place[1]))


@value_class
class ServerPolicy:
    """All rules of one server. RFC 7030 3.2.3, 3.3.2, 3.5, 3.7.

    The row that fits best wins: operation and label, then kind of wire, then the operation alone.
    An operation without a row is not offered, and none on a wire that it has no place on. `labels`
    are the labels that exist; a request with any other is answered as not found. `challenges` are
    sent with a 401 in this order, behind those of `digest`, which have a nonce made for it: clients
    that read one challenge only know Digest and Basic. With neither, HTTP authentication is not
    offered. Every Digest answer is judged by `digest` where there is one; without it, by the
    application alone. `otp_challenge`: a one-time code in the CSR's attribute of that name is
    verified (RFC 7894 3.1); otherwise nobody looks at it. /csrattrs lists it then where enrollment
    takes HTTP credentials. `list_identity_linking`: where linking is required, /csrattrs lists
    estIdentityLinking beside challengePassword; it does so anyway where a challengePassword may be
    a code (RFC 7894 4). `revocation_challenge`: what becomes of the attribute of that name.
    `manufacturers` say how a client is told from others whose certificate a manufacturer's anchor
    verified (`Channel.manufacturer`). Raises LocalProtocolError for two rows with one key, a row
    for an unknown label, a row for a wire that its operation has no place on, two operations in one
    place, a label that is the name of an operation or, for one with an item behind it, its segment
    on CoAP, a row that needs HTTP authentication where no challenge is offered, a challenge that no
    header holds, and two manufacturers of one name.
    """

    rows: tuple[PolicyRow, ...]
    challenges: tuple[AuthChallenge, ...] = ()
    digest: DigestScheme | None = None
    labels: frozenset[Label] = field(default_factory=frozenset)
    foreign_challenge: ForeignChallenge = ForeignChallenge.REFUSE
    otp_challenge: bool = False
    list_identity_linking: bool = False
    revocation_challenge: RevocationChallenge = RevocationChallenge.IGNORE
    manufacturers: tuple[Manufacturer, ...] = ()
    operations: tuple[Operation, ...] = field(init=False, repr=False, compare=False)
    """Those that have a row, each once, in the order of the rows."""
    on_http: OperationPaths = field(init=False, repr=False, compare=False)
    """The operations by root and segment, as HTTP's paths have them."""
    on_coap: OperationPaths = field(init=False, repr=False, compare=False)
    """The same for CoAP: by the short segment, and by the long one, which servers may know too."""
    _by_key: Mapping[_Key, PolicyRow] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key = {(row.operation, row.label, row.datagram): row for row in self.rows}
        if len(by_key) != len(self.rows):
            raise LocalProtocolError("two rows for the same operation, label and wire")
        if len({each.name for each in self.manufacturers}) != len(self.manufacturers):
            raise LocalProtocolError("two manufacturers have one name")
        operations = tuple(dict.fromkeys(row.operation for row in self.rows))
        set_once = object.__setattr__
        set_once(self, "_by_key", by_key)
        set_once(self, "operations", operations)
        set_once(self, "on_http", OperationPaths.of(_http_places(operations)))
        set_once(self, "on_coap", OperationPaths.of(_coap_places(operations)))
        for row in self.rows:
            self._check_row(row)
        for label in self.labels:
            if any(label.text in _taken_by(operation) for operation in operations):
                raise LocalProtocolError(f"label {label} is the name of an operation")
        for challenge in self.challenges:
            write_challenge(challenge)  # fails here, and not at the first 401

    def _check_row(self, row: PolicyRow) -> None:
        name = row.operation.name
        if row.label is not None and row.label not in self.labels:
            raise LocalProtocolError(f"a row names label {row.label}, which does not exist")
        if not self.has_http and not self.takes_code(row) and row.authentication.needs_http:
            raise LocalProtocolError(f"{name} needs HTTP authentication")
        if row.datagram is not None and not row.operation.is_on(datagram=row.datagram):
            wire = "CoAP" if row.datagram else "HTTP"
            raise LocalProtocolError(f"{name} has a row for {wire}, and no place there")

    @property
    def has_http(self) -> bool:
        """True where HTTP authentication is offered."""
        return bool(self.challenges) or self.digest is not None

    def takes_code(self, row: PolicyRow) -> bool:
        """True where a one-time code in a CSR can prove who sends it."""
        return row.operation.is_enrollment and (
            self.otp_challenge or self.foreign_challenge_of(row) is ForeignChallenge.CODE
        )

    def manufacturer(self, name: str) -> Manufacturer | None:
        """Return the manufacturer of that name, or None."""
        return next((each for each in self.manufacturers if each.name == name), None)

    def may_take(self, channel: Channel) -> bool:
        """Return whether the certificate that a client showed may count for anything.

        It is verified, or has expired and no more, and something here forgives that. Whoever has
        shown no such one can be refused before anything is read.
        """
        if channel.expired is TrustClass.EXPLICIT:
            return any(row.expired_days for row in self.rows)
        if channel.expired is TrustClass.IMPLICIT:
            manufacturer = self.manufacturer(channel.manufacturer)
            return manufacturer is not None and manufacturer.accept_expired
        return channel.is_verified

    def foreign_challenge_of(self, row: PolicyRow) -> ForeignChallenge:
        """Return what becomes of a foreign challengePassword under a row."""
        return row.foreign_challenge or self.foreign_challenge

    def row(
        self, operation: Operation, label: Label | None, *, datagram: bool = False
    ) -> PolicyRow | None:
        """Return the row that fits best, or None where the operation is not offered.

        A label that does not exist has no row.
        """
        if not operation.is_on(datagram=datagram):
            return None
        if label is not None and label not in self.labels:
            return None
        for named in (None,) if label is None else (label, None):
            for wire in (datagram, None):
                if row := self._by_key.get((operation, named, wire)):
                    return row
        return None


def _taken_by(operation: Operation) -> tuple[str, ...]:
    """Return what no label may be called: a path would say two things."""
    if operation.item_chars and isinstance(operation.coap, CoapRow):
        return (operation.name, operation.coap.short_path)
    return (operation.name,)


def _http_places(operations: Iterable[Operation]) -> Iterator[tuple[_Place, Operation]]:
    for each in operations:
        if isinstance(each.http, HttpRow):
            yield (each.root, each.name), each


def _coap_places(operations: Iterable[Operation]) -> Iterator[tuple[_Place, Operation]]:
    for each in operations:
        if isinstance(each.coap, CoapRow):
            yield from (((each.root, name), each) for name in {each.coap.short_path, each.name})


@checked
def with_datagram_rows(rows: tuple[PolicyRow, ...]) -> tuple[PolicyRow, ...]:
    """Return the rows, each with its twin for DTLS, where every client shows a certificate.

    Over CoAP there is no HTTP authentication, and RFC 9148 3 wants a client certificate for every
    operation: what is open, or takes a password instead, needs a certificate there. What needs a
    password stays closed, but for who has a certificate and a one-time code in the CSR. A row for
    datagrams that is there already is left as it is, and a row for streams has no twin.
    """
    given = {(row.operation, row.label) for row in rows if row.datagram}
    twins = (
        replace(
            row,
            datagram=True,
            authentication=_ON_DATAGRAMS.get(row.authentication, row.authentication),
        )
        for row in rows
        if row.datagram is None
        and (row.operation, row.label) not in given
        and row.operation.is_on(datagram=True)
    )
    return (*rows, *twins)


_ON_DATAGRAMS: Final = MappingProxyType(
    {
        Authentication.OPEN: Authentication.CERT,
        Authentication.CERT_OR_HTTP: Authentication.CERT,
        Authentication.HTTP: Authentication.CERT_AND_HTTP,
    }
)
