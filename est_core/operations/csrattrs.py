"""CSR attributes: /csrattrs, on CoAP /att. RFC 7030 4.5, RFC 8951 4, RFC 9908, RFC 9148 4."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, unique
from typing import ClassVar, Final

from est_core._errors import LocalProtocolError
from est_core._oids import (
    CHALLENGE_PASSWORD,
    EST_IDENTITY_LINKING,
    OTP_CHALLENGE,
    REVOCATION_CHALLENGE,
)
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.codec.media import ContentFormat
from est_core.decisions import Decision
from est_core.events import ClientIdentity, ClientResult, CSRAttrsReceived, ServerQuestion
from est_core.model import NotAvailable, Response
from est_core.operation import Authentication, CoapAnswer, CoapRow, HttpRow, Outcome, PartRow
from est_core.operations.definition import Asking, Inquiry, OperationDefinition, Reading
from est_core.policy import ForeignChallenge, RevocationChallenge
from est_core.values import value_class


@value_class
class ProvideCSRAttrs(Decision):
    """The CSR attributes, or None where the server has no opinion. RFC 7030 4.5.2, RFC 9908."""

    csrattrs: CsrAttrs | None


@unique
class CSRAttrsPurpose(Enum):
    """What CSR attributes are asked for: to tell a client, or to hold its CSR against them."""

    ANSWER = "answer"
    ENFORCE = "enforce"


@value_class
class CSRAttrsRequested(ServerQuestion):
    """Which CSR attributes? Answer: ProvideCSRAttrs, Challenge, Deny, Postpone, Fail.

    With ENFORCE a CSR is at hand, under a policy row that enforces; give what this client would
    be told. Then comes the question whether to issue, or the refusal "csrattrs/missing".
    """

    method: ClassVar[str] = "csr_attrs"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({ProvideCSRAttrs})

    identity: ClientIdentity
    purpose: CSRAttrsPurpose = CSRAttrsPurpose.ANSWER


def _challenges(asking: Asking) -> Iterator[str]:
    """Yield the challenge attributes that enrollment takes here, and a client is to send.

    RFC 8951 4: a server that requires linking MUST list challengePassword; legacy clients know no
    other. Where a challengePassword may be a one-time code, linking needs a place beside it.
    """
    policy = asking.policy
    found = [asking.row_of(each) for each in policy.operations if each.is_enrollment]
    rows = [row for row in found if row is not None]
    linked = [row for row in rows if row.require_pop]
    codes = (policy.foreign_challenge_of(row) is ForeignChallenge.CODE for row in linked)
    if linked and (policy.list_identity_linking or any(codes)):
        yield EST_IDENTITY_LINKING
    if policy.otp_challenge and any(row.authentication.takes_http for row in rows):
        yield OTP_CHALLENGE
    if rows and policy.revocation_challenge is RevocationChallenge.TAKE:
        yield REVOCATION_CHALLENGE
    if linked:
        yield CHALLENGE_PASSWORD


class _CSRAttrs(OperationDefinition):
    __slots__ = ()

    questions = (CSRAttrsRequested,)

    def examine(self, asking: Asking) -> Inquiry:
        question = CSRAttrsRequested(
            label=asking.label, identity=asking.identity, channel=asking.channel
        )
        return Inquiry(question=question)

    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Response:
        """List what the policy wants in a CSR beside what the application says. RFC 7894 4."""
        if not isinstance(decision, ProvideCSRAttrs):
            raise LocalProtocolError("CSR attributes are provided")
        csrattrs = decision.csrattrs
        if challenges := tuple(_challenges(asking)):
            csrattrs = (csrattrs or CsrAttrs(items=())).with_listed(challenges)
        if csrattrs is None or csrattrs.is_empty:
            return NotAvailable(operation=self)
        return self.success(csrattrs.der())

    def read(self, reading: Reading) -> ClientResult:
        response = reading.response
        if isinstance(response, NotAvailable):
            return CSRAttrsReceived(csrattrs=None, not_found=response.status == 404)
        attrs = parse_csrattrs(reading.parts[0], reading.limits)
        return CSRAttrsReceived(csrattrs=None if attrs.is_empty else attrs)


CSRATTRS: Final = _CSRAttrs(
    name="csrattrs",
    method="GET",
    http=HttpRow(tailored=True),
    coap=CoapRow(short_path="att", answers=(CoapAnswer(number=ContentFormat.CSRATTRS),)),
    parts=(PartRow(kind="csrattrs", content_type="application/csrattrs"),),
    outcomes=frozenset({Outcome.NOT_AVAILABLE}),
    authentication=Authentication.OPEN,
)
