"""Simple re-enrollment: /simplereenroll, on CoAP /sren. RFC 7030 4.2.2, RFC 9148 4."""

from __future__ import annotations

from typing import ClassVar, Final

from cryptography import x509

from est_core._errors import Fault, RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest
from est_core.channel import TrustClass
from est_core.checks.renewal import OTHER_NAMES, check_renewal
from est_core.decisions import Decision, Issue, Pend
from est_core.events import ClientIdentity, ServerQuestion
from est_core.operation import Authentication
from est_core.operations._issuing import HTTP, OUTCOMES, PARTS, Issuing, coap_row
from est_core.operations.definition import Asking
from est_core.values import value_class


@value_class
class ReenrollRequested(ServerQuestion):
    """Issue the successor of `current`? Answer: Issue, Pend, Challenge, Deny, Postpone, Fail.

    As EnrollRequested, and subject and subjectAltName are those of `current`. `rekey` says
    that the key is another. Expiry was checked in the handshake; revocation and whether
    `current` is the CA's own are the application's to check. RFC 7030 4.2.2.

    `current` and `rekey` are None where a registration authority (`identity.is_ra`) asks for
    another than itself, RFC 7030 3.7: only the application can know which certificate has the
    names of the CSR. It is to be found, checked and then renewed, or the request denied.
    """

    method: ClassVar[str] = "reenroll"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({Issue, Pend})
    creates: ClassVar[bool] = True

    identity: ClientIdentity
    csr: CertRequest
    linked: bool
    current: x509.Certificate | None
    rekey: bool | None


class _SimpleReenroll(Issuing):
    __slots__ = ()

    questions = (ReenrollRequested,)

    def question(self, asking: Asking, csr: CertRequest, *, linked: bool) -> ReenrollRequested:
        current, rekey = _renewed(asking, csr)
        return ReenrollRequested(
            label=asking.label,
            identity=asking.identity,
            channel=asking.channel,
            csr=csr,
            linked=linked,
            current=current,
            rekey=rekey,
        )


def _renewed(asking: Asking, csr: CertRequest) -> tuple[x509.Certificate, bool] | tuple[None, None]:
    """Return the certificate to be renewed and whether its key changes.

    None where a registration authority asks for another: RFC 7030 3.7, 4.2.2.
    """
    current = asking.identity.certificate
    if current is None:
        raise RemoteProtocolError(
            "renewal/no-certificate", "show the certificate to be renewed", Fault.FORBIDDEN
        )
    try:
        return current, check_renewal(csr, current, asking.limits)
    except RemoteProtocolError as error:
        if asking.identity.is_ra and error.code in OTHER_NAMES:
            return None, None
        raise


SIMPLEREENROLL: Final = _SimpleReenroll(
    name="simplereenroll",
    method="POST",
    http=HTTP,
    coap=coap_row("sren"),
    parts=PARTS,
    outcomes=OUTCOMES,
    is_enrollment=True,
    is_renewal=True,
    authentication=Authentication.CERT,
    certificate_trust=frozenset({TrustClass.EXPLICIT}),
)
