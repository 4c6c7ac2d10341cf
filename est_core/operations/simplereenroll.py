"""Simple re-enrollment: /simplereenroll, on CoAP /sren. RFC 7030 4.2.2, RFC 9148 4."""

from __future__ import annotations

from typing import ClassVar, Final

from cryptography import x509

from est_core._errors import Fault, RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest
from est_core.channel import TrustClass
from est_core.checks.changed_names import with_changed_names
from est_core.checks.renewal import OTHER_NAMES, check_renewal
from est_core.decisions import Decision, Issue, Pend
from est_core.events import ClientIdentity, ServerQuestion
from est_core.operation import Authentication
from est_core.operations._issuing import HTTP, OUTCOMES, PARTS, Issuing, coap_row
from est_core.operations.definition import Asking
from est_core.policy import ChangedNames, NameRule
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

    `renamed`: the client asks for other names than those of `current`, by a ChangeSubjectName, and
    the policy lets it (`PolicyRow.changed_names`). `csr` has these as its own then, so that what
    is made of it has the new names. RFC 6402 2.8.
    """

    method: ClassVar[str] = "reenroll"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({Issue, Pend})
    creates: ClassVar[bool] = True

    identity: ClientIdentity
    csr: CertRequest
    linked: bool
    current: x509.Certificate | None
    rekey: bool | None
    renamed: bool = False


class _SimpleReenroll(Issuing):
    __slots__ = ()

    questions = (ReenrollRequested,)

    def question(self, asking: Asking, csr: CertRequest, *, linked: bool) -> ReenrollRequested:
        renamed = _renamed(asking, csr)
        current, rekey = _renewed(asking, csr)
        return ReenrollRequested(
            label=asking.label,
            identity=asking.identity,
            channel=asking.channel,
            csr=renamed or csr,
            linked=linked,
            current=current,
            rekey=rekey,
            renamed=renamed is not None,
        )

    def name_rule(self, asking: Asking, question: ServerQuestion) -> NameRule:
        """Return by what rule names are judged: those that change, by more than others."""
        renamed = isinstance(question, ReenrollRequested) and question.renamed
        if renamed and asking.row.changed_names is ChangedNames.REGISTERED:
            return NameRule.REGISTERED
        return asking.row.names


def _renamed(asking: Asking, csr: CertRequest) -> CertRequest | None:
    """Return the request for the names that it changes to; None where it changes none.

    RFC 6402 2.12: what policy does not let is refused, and not ignored. A registration authority
    renews what others have, under the names that they have, and a certificate that has expired is
    good for its own names alone.
    """
    renamed = with_changed_names(csr, asking.limits)
    if renamed is None:
        return None
    identity, rule = asking.identity, asking.row.changed_names
    if rule is ChangedNames.REFUSE or identity.is_ra or identity.is_expired:
        who = "here"
        if rule is not ChangedNames.REFUSE:
            who = "to a registration authority" if identity.is_ra else "once it has expired"
        raise RemoteProtocolError(
            "renewal/change-subject-name", f"a change of names is not offered {who}", Fault.CONTENT
        )
    return renamed


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
