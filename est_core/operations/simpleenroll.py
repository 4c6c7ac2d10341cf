"""Simple enrollment: /simpleenroll, on CoAP /sen. RFC 7030 4.2.1, RFC 9148 4."""

from __future__ import annotations

from typing import ClassVar, Final

from est_core.asn1.pkcs10 import CertRequest
from est_core.decisions import Decision, Issue, Pend
from est_core.events import ClientIdentity, ServerQuestion
from est_core.operation import Authentication
from est_core.operations._issuing import HTTP, OUTCOMES, PARTS, Issuing, coap_row
from est_core.operations.definition import Asking
from est_core.values import value_class


@value_class
class EnrollRequested(ServerQuestion):
    """Issue a certificate? Answer: Issue, Pend, Challenge, Deny, Postpone, Fail.

    The CSR's signature is verified, and its channel binding where it has one or needs one
    (`linked` says that it was there and matched). RFC 7030 4.2.
    """

    method: ClassVar[str] = "enroll"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({Issue, Pend})
    creates: ClassVar[bool] = True

    identity: ClientIdentity
    csr: CertRequest
    linked: bool


class _SimpleEnroll(Issuing):
    __slots__ = ()

    questions = (EnrollRequested,)

    def question(self, asking: Asking, csr: CertRequest, *, linked: bool) -> EnrollRequested:
        return EnrollRequested(
            label=asking.label,
            identity=asking.identity,
            channel=asking.channel,
            csr=csr,
            linked=linked,
        )


SIMPLEENROLL: Final = _SimpleEnroll(
    name="simpleenroll",
    method="POST",
    http=HTTP,
    coap=coap_row("sen"),
    parts=PARTS,
    outcomes=OUTCOMES,
    is_enrollment=True,
    authentication=Authentication.CERT_OR_HTTP,
)
