"""Distribution of CA certificates: /cacerts, on CoAP /crts. RFC 7030 4.1, RFC 9148 4."""

from __future__ import annotations

from typing import ClassVar, Final

from cryptography import x509

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core.asn1.cms import read_bag, write_certs_only
from est_core.asn1.kinds import Kind
from est_core.decisions import Decision
from est_core.events import CACertsReceived, ClientIdentity, ClientResult, ServerQuestion
from est_core.model import Response
from est_core.operation import Authentication, CoapRow, HttpRow, PartRow
from est_core.operations._certificates import CERTS_ONLY, COAP_ANSWERS, told
from est_core.operations.definition import Asking, Inquiry, OperationDefinition, Reading
from est_core.values import value_class


@value_class
class ProvideCACerts(Decision):
    """The CA certificates: the root and every intermediate. RFC 7030 4.1.3."""

    certificates: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        if not self.certificates:
            raise LocalProtocolError("an EST server has CA certificates")


@value_class
class CACertsRequested(ServerQuestion):
    """Which CA certificates? Answer: ProvideCACerts, Challenge, Deny, Postpone, Fail."""

    method: ClassVar[str] = "ca_certs"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({ProvideCACerts})

    identity: ClientIdentity


class _CACerts(OperationDefinition):
    __slots__ = ()

    questions = (CACertsRequested,)

    def examine(self, asking: Asking) -> Inquiry:
        question = CACertsRequested(
            label=asking.label, identity=asking.identity, channel=asking.channel
        )
        return Inquiry(question=question)

    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Response:
        if not isinstance(decision, ProvideCACerts):
            raise LocalProtocolError("CA certificates are provided")
        return self.success(write_certs_only(decision.certificates))

    def read(self, reading: Reading) -> ClientResult:
        bag = read_bag(reading.parts[0], reading.limits)
        if not bag.certificates:
            raise RemoteProtocolError("cms/bad-certificate", told(bag.left_out))
        return CACertsReceived(certificates=bag.certificates, left_out=bag.left_out)


CACERTS: Final = _CACerts(
    name="cacerts",
    method="GET",
    http=HttpRow(),
    coap=CoapRow(short_path="crts", answers=COAP_ANSWERS),
    # Bare: Bouncy Castle below 1.69 wants it exact.
    parts=(
        PartRow(
            kind=CERTS_ONLY,
            content_type="application/pkcs7-mime",
            wanted=Kind.SIGNED_DATA,
            is_folded=True,
        ),
    ),
    authentication=Authentication.OPEN,
)
