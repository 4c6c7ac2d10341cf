"""What enrollment and re-enrollment have in common: a CSR comes, a certificate goes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core.asn1.certificates import CertificateBag, key_of_unreadable
from est_core.asn1.cms import read_bag, write_certs_only
from est_core.asn1.kinds import Kind
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request, signature_is_valid
from est_core.channel import TrustClass
from est_core.checks.allowed_names import check_names
from est_core.checks.codes import check_revocation_challenge, code_in
from est_core.checks.enforcement import check_csrattrs
from est_core.checks.issued import issued_differences
from est_core.checks.pop import check_linking
from est_core.checks.renewal import public_key_der
from est_core.codec.media import ContentFormat
from est_core.credentials import CodeCredentials
from est_core.decisions import Decision, Issue, Pend
from est_core.events import ClientResult, Enrolled, Failed, ServerQuestion
from est_core.model import Pending, Response
from est_core.operation import CoapRow, HttpRow, Outcome, PartRow
from est_core.operations._certificates import CERTS_ONLY, COAP_ANSWERS, told
from est_core.operations._naming import AllowNames, NamesRequested, check_authenticated_names
from est_core.operations.csrattrs import CSRAttrsPurpose, CSRAttrsRequested, ProvideCSRAttrs
from est_core.operations.definition import Asking, Inquiry, OperationDefinition, Reading
from est_core.policy import ForeignChallenge, NameRule, RevocationChallenge

HTTP: Final = HttpRow(request_type="application/pkcs10")
# The parameter: libEST's client (3.2.0p) compares it byte for byte, the space included.
PARTS: Final = (
    PartRow(
        kind=CERTS_ONLY,
        content_type="application/pkcs7-mime; smime-type=certs-only",
        wanted=Kind.SIGNED_DATA,
        is_folded=True,
    ),
)
OUTCOMES: Final = frozenset({Outcome.PENDING})


def coap_row(short_path: str) -> CoapRow:
    """Return the place on CoAP: PKCS#10 comes, certificates go."""
    return CoapRow(short_path=short_path, request_format=ContentFormat.PKCS10, answers=COAP_ANSWERS)


class Issuing(OperationDefinition):
    """An operation that has a certificate issued for a CSR. RFC 7030 4.2."""

    __slots__ = ()

    @abstractmethod
    def question(self, asking: Asking, csr: CertRequest, *, linked: bool) -> ServerQuestion:
        """Return the question whether to issue. Raises RemoteProtocolError for a refusal."""

    def name_rule(self, asking: Asking, question: ServerQuestion) -> NameRule:
        """Return by what rule the names of a question are judged."""
        return asking.row.names

    def code(self, asking: Asking) -> CodeCredentials | None:
        """Return the one-time code of the CSR where the policy takes one. RFC 7894 4.

        A value that links the CSR to its channel is none. Nothing comes of a CSR that cannot be
        read: what is wrong with it is said to those who are let in.
        """
        if not asking.policy.takes_code(asking.row) or asking.identity.is_ra:
            return None
        try:
            csr = parse_cert_request(asking.payload, asking.limits)
        except RemoteProtocolError:
            return None
        return code_in(
            csr,
            asking.channel,
            challenge_password=asking.policy.foreign_challenge_of(asking.row)
            is ForeignChallenge.CODE,
            otp_challenge=asking.policy.otp_challenge,
        )

    def examine(self, asking: Asking) -> Inquiry:
        """Check the CSR in the order that tells an unknown client least. RFC 7030 3.4, 3.5, 4.2."""
        csr = parse_cert_request(asking.payload, asking.limits)
        if not signature_is_valid(csr):
            raise RemoteProtocolError("csr/bad-signature", "the CSR's signature does not verify")
        foreign = asking.policy.foreign_challenge_of(asking.row)
        linked = check_linking(
            csr,
            asking.channel,
            required=asking.row.require_pop and not asking.identity.is_ra,
            tolerant=asking.identity.is_ra or foreign is ForeignChallenge.IGNORE,
            codes=foreign is ForeignChallenge.CODE,
        )
        asking.binding_use.note(csr, asking.channel, linked=linked)
        if (rule := asking.policy.revocation_challenge) is not RevocationChallenge.IGNORE:
            check_revocation_challenge(csr, asking.limits, taken=rule is RevocationChallenge.TAKE)
        _check_carries_identity(asking, csr)
        question = self.question(asking, csr, linked=linked)
        match self.name_rule(asking, question):
            case NameRule.REGISTERED:
                return Inquiry(question=self._names(asking, _csr_of(question)), then=question)
            case NameRule.IDENTITY if not self.is_renewal and not asking.identity.is_ra:
                # The names of a renewal are compared with those of the certificate it shows.
                check_authenticated_names(
                    csr,
                    asking.identity,
                    asking.limits,
                    rule=asking.row.names.value,
                    own=asking.channel.trust_class is TrustClass.EXPLICIT,
                )
        return _enforcing(asking, question)

    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Inquiry | Response:
        """Hand out a certificate, put the client off, or go on to the next question."""
        match decision:
            case AllowNames(names=names) if inquiry.then is not None:
                rule = self.name_rule(asking, inquiry.then)
                check_names(_csr_of(inquiry.then), names, rule=rule.value)
                return _enforcing(asking, inquiry.then)
            case ProvideCSRAttrs(csrattrs=csrattrs) if inquiry.then is not None:
                if csrattrs is not None:
                    csr = _csr_of(inquiry.then)
                    check_csrattrs(csr, csrattrs, asking.limits, renewal=self.is_renewal)
                return Inquiry(question=inquiry.then)
            case Issue(certificate=certificate):
                if certificate.public_key() != _csr_of(inquiry.question).public_key():
                    raise LocalProtocolError("the certificate is for another key than the CSR's")
                return self.success(write_certs_only([certificate]))
            case Pend(retry_after_s=seconds):
                return Pending(operation=self, retry_after=seconds, code="enroll/pending")
            case _:
                raise LocalProtocolError("a certificate is issued, or pending")

    def _names(self, asking: Asking, csr: CertRequest) -> NamesRequested:
        return NamesRequested(
            label=asking.label,
            channel=asking.channel,
            operation=self,
            identity=asking.identity,
            csr=csr,
        )

    def read(self, reading: Reading) -> ClientResult:
        """Pick the certificate by its key: order and company mean nothing. RFC 5272 4.1."""
        if reading.spki is None or reading.asked is None:
            raise LocalProtocolError("without a CSR nobody is enrolled")
        bag = read_bag(reading.parts[0], reading.limits)
        mine = [each for each in bag.certificates if public_key_der(each) == reading.spki]
        if not mine:
            return _not_among(bag, reading.spki)
        enrolled = Enrolled(
            certificate=mine[0],
            others=tuple(each for each in bag.certificates if each != mine[0]),
            left_out=bag.left_out,
            differences=issued_differences(
                reading.asked, mine[0], now=reading.now, limits=reading.limits
            ),
        )
        return _without_changes(enrolled) if reading.is_strict else enrolled


def _check_carries_identity(asking: Asking, csr: CertRequest) -> None:
    """Return if a manufacturer's device says in its request who it is, where it has to."""
    identity = asking.identity.manufacturer
    manufacturer = None if identity is None else asking.policy.manufacturer(identity.manufacturer)
    if identity is not None and manufacturer is not None:
        manufacturer.check_request(csr, identity, asking.limits)


def _enforcing(asking: Asking, question: ServerQuestion) -> Inquiry:
    """Return the question, behind that for the CSR attributes where these are enforced."""
    if not asking.row.enforce_csrattrs:
        return Inquiry(question=question)
    enforced = CSRAttrsRequested(
        label=asking.label,
        identity=asking.identity,
        channel=asking.channel,
        purpose=CSRAttrsPurpose.ENFORCE,
    )
    return Inquiry(question=enforced, then=question)


def _csr_of(question: ServerQuestion) -> CertRequest:
    csr = getattr(question, "csr", None)
    if not isinstance(csr, CertRequest):
        raise LocalProtocolError("there is no CSR to answer for")
    return csr


def _not_among(bag: CertificateBag, spki: bytes) -> Failed:
    for each in bag.left_out:
        if key_of_unreadable(each.der) == spki:
            message = f"the certificate for the key of the request cannot be read: {each.text}"
            return Failed(
                code="response/unreadable-certificate", message=message, left_out=bag.left_out
            )
    message = "the answer holds no certificate for the key of the request"
    if bag.left_out:
        message = f"{message} that can be read; {told(bag.left_out)}"
    return Failed(code="response/other-key", message=message, left_out=bag.left_out)


def _without_changes(enrolled: Enrolled) -> Enrolled | Failed:
    """Return Failed for a certificate that is dangerously not what was asked for."""
    if not enrolled.is_dangerous:
        return enrolled
    text = "; ".join(each.text for each in enrolled.differences if each.dangerous)
    message = f"the certificate {text}"
    return Failed(code="response/not-as-asked", message=message, enrolled=enrolled)
